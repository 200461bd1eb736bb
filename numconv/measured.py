"""What was measured on this machine, kept between processes: JSON files in the folder of the compiled kernels.

`tuned.json` holds times of algorithms, by numconv's version, processor, number of threads and problem:
{"0.1.0 | Xeon | 2 threads | operation=conv2d n=1 ...": {"im2col": {"prepare": 1e-4, "run": 2e-3}, ...}}.
`machine.json` holds what the machine can do at most, by processor: {"Xeon": {"fma_1": 88.0, ...}}.

What cannot be read counts as never measured, and what cannot be written is remembered by this process alone.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, NamedTuple

from numconv.options import get_num_threads

try:
    import fcntl
except ImportError:  # Windows: of two that write at the same moment, one may be forgotten
    fcntl = None  # type: ignore[assignment]

TUNED, MACHINE = "tuned.json", "machine.json"


def place() -> str:
    """The folder that `NUMCONV_CACHE_DIR` or the platform names."""
    if wanted := os.environ.get("NUMCONV_CACHE_DIR"):
        return os.path.abspath(wanted)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or os.path.expanduser(r"~\AppData\Local")
    elif sys.platform == "darwin":
        base = os.path.expanduser("~/Library/Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME", "")
        base = base if os.path.isabs(base) else os.path.expanduser("~/.cache")
    return os.path.join(base, "numconv")


@functools.cache
def cpu_name() -> str:
    """The processor's name as the system gives it."""
    import platform

    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


class Times(NamedTuple):
    """Seconds that an algorithm takes to pack a weight and to run."""

    prepare: float
    run: float


class Ceilings(NamedTuple):
    """GFLOP/s of float32 and GB/s, of one thread and of all."""

    fma_1: float
    fma_all: float
    bandwidth_1: float
    bandwidth_all: float


class _Read(NamedTuple):
    stamp: Any  # of the file when it was read
    entries: dict[str, Any]


_read: dict[str, _Read] = {}  # by path
_unwritten: dict[str, dict[str, Any]] = {}  # by path


def entries(name: str) -> dict[str, Any]:
    """The entries of a file, read again when it has changed; none where it is missing or broken. Not to be changed."""
    path = os.path.join(place(), name)
    try:
        status = os.stat(path)
        stamp: Any = status.st_mtime_ns, status.st_size, status.st_ino
    except OSError:
        stamp = None
    found = _read.get(path)
    if found is None or found.stamp != stamp:
        found = _read[path] = _Read(stamp, _parsed(path))
    return found.entries | _unwritten.get(path, {})


def _parsed(path: str) -> dict[str, Any]:
    import json  # not with numconv: most processes need none

    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def keep(name: str, added: dict[str, Any]) -> str:
    """Put entries into a file, beside those that are there. The reason why they are not on disk, if so."""
    path = os.path.join(place(), name)
    try:
        if os.environ.get("NUMCONV_CACHE") == "0":
            raise OSError("switched off by NUMCONV_CACHE=0")
        os.makedirs(place(), mode=0o700, exist_ok=True)
        with _alone(place()):
            _replace(path, _parsed(path) | added)
    except OSError as error:
        _unwritten[path] = _unwritten.get(path, {}) | added
        return str(error)
    return ""


@contextlib.contextmanager
def _alone(folder: str) -> Iterator[None]:
    """Keep other threads and processes from writing into the folder meanwhile, where the system can."""
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # a child forked meanwhile would hold it on
        os.close(descriptor)


def _replace(path: str, content: dict[str, Any]) -> None:
    """Write a file of which others see all or nothing."""
    import json

    temporary = f"{path}.{os.getpid()}.{threading.get_ident()}.tmp"
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def key(problem: Any) -> str:
    """What times are found by: version, processor, number of threads and every field of the problem."""
    version = sys.modules["numconv"].__version__
    asked = " ".join(f"{f.name}={getattr(problem, f.name)}" for f in fields(problem) if f.compare)
    return f"{version} | {cpu_name()} | {get_num_threads()} threads | {asked}"


def times(problem: Any) -> dict[str, Times]:
    """Times of the algorithms that were timed on a problem, by name; none where it was not."""
    found: Any = entries(TUNED).get(key(problem))
    try:
        return {name: Times(float(each["prepare"]), float(each["run"])) for name, each in found.items()}
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        return {}


def keep_times(problem: Any, found: dict[str, Times]) -> str:
    """Remember times. The reason why they are not on disk, if so."""
    return keep(TUNED, {key(problem): {name: each._asdict() for name, each in found.items()}})


def fastest(found: dict[str, Times], packed: bool) -> str:
    """The name of the fastest of those timed, "" where none was; `packed` where the weight is packed beforehand."""
    return min(found, key=lambda name: found[name].run + (0 if packed else found[name].prepare), default="")


def ceilings() -> Ceilings | None:
    """What this machine was measured to do at most, if it was."""
    found: Any = entries(MACHINE).get(cpu_name())
    try:
        rates = Ceilings(*(float(found[name]) for name in Ceilings._fields))
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return rates if min(rates) > 0 else None
