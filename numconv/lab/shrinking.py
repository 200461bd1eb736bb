"""Smaller problems than a given one: what a check tries, to show what is wrong on as few numbers as it can."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

from numconv.lab.cases import ConvCase, PoolCase
from numconv.lab.questions import Question, changed


def smaller(q: Question) -> Iterator[Question]:
    """Questions that differ from this one in one thing, the largest steps first. Not all of them are problems."""
    if q.last:
        yield replace(q, last=False)
    if q.more:
        yield replace(q, more={})
    for case in _convolutions(q.case) if isinstance(q.case, ConvCase) else _poolings(q.case):
        yield replace(q, case=replace(case, name="smaller"))


def _convolutions(c: ConvCase) -> Iterator[ConvCase]:
    if c.groups > 1:
        yield replace(c, groups=1, ci=max(c.ci // c.groups, 1), co=max(c.co // c.groups, 1))
        yield replace(c, groups=2, ci=2 * max(c.ci // c.groups, 1), co=2 * max(c.co // c.groups, 1))
    for name in ("n", "ci", "co"):
        for value in _steps(getattr(c, name), c.groups if name != "n" else 1):
            yield replace(c, **{name: value})  # type: ignore[arg-type]
    yield from _axes(c, {"spatial": 1, "kernel": 1, "stride": 1, "dilation": 1, "output_padding": 0})


def _poolings(c: PoolCase) -> Iterator[PoolCase]:
    for name in ("n", "c"):
        for value in _steps(getattr(c, name), 1):
            yield replace(c, **{name: value})  # type: ignore[arg-type]
    if c.ceil_mode:
        yield replace(c, ceil_mode=False)
    yield from _axes(c, {"spatial": 1, "kernel": 1, "stride": 1, "dilation": 1})


def _axes(c: Any, least: dict[str, int]) -> Iterator[Any]:
    """With one number of one axis made smaller, or no padding on one side."""
    known = {f.name for f in fields(c)}
    for axis in range(len(c.spatial)):  # together: a kernel, or its padding, alone may fit no more
        plain = {name: changed(getattr(c, name), axis, 1) for name in ("kernel", "dilation")}
        plain["padding"] = changed(c.padding, axis, (0, 0))
        if any(getattr(c, name) != value for name, value in plain.items()):
            yield replace(c, **plain)
    for name, low in least.items():
        if name not in known:
            continue
        values = getattr(c, name)
        for axis, value in enumerate(values):
            for lower in _steps(value, low) if low else ([0] if value else []):
                yield replace(c, **{name: changed(values, axis, lower)})
    for axis, pair in enumerate(c.padding):
        for side in (0, 1):
            if pair[side]:
                less = (0, pair[1]) if side == 0 else (pair[0], 0)
                yield replace(c, padding=changed(c.padding, axis, less))


def _steps(value: int, least: int) -> list[int]:
    """The least, a half and one less, of what is a multiple of the least."""
    tried = (least, value // 2 // least * least, value - least)
    return list(dict.fromkeys(v for v in tried if least <= v < value))
