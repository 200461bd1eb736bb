"""Which channel feeds which, through one layer or several, as a sheet."""

from __future__ import annotations

from typing import Any

from numconv.drawing.shapes import EM, Box, Line, Shape, Sheet, Text, channel_role

LIMIT = 48
SIDE, GAP, ACROSS, MARGIN, HEAD = 24.0, 8.0, 150.0, 18.0, 54.0
SIZE = 13.0


Stage = tuple[str, int, int, int, int]  # name, channels in and out, groups, weights
Link = tuple[int, int]


def channels_sheet(layers: tuple[Any, ...]) -> Sheet:
    """The picture of `draw_channels`."""
    stages = [stage for layer in layers for stage in _stages(layer)]
    if not stages or stages[0][0] == "ChannelShuffle":
        raise ValueError(f"layers must begin with a convolution, got {[name for name, *_ in stages]}")
    columns, links = _connected(stages)
    if max(map(len, columns)) > LIMIT:
        raise ValueError(f"a picture shows at most {LIMIT} channels, got {max(map(len, columns))}")
    return _sheet(stages, columns, links)


def _stages(layer: Any) -> list[Stage]:
    from numconv import nn

    if isinstance(layer, nn.Sequential):
        return [stage for child in layer for stage in _stages(child)]
    name = type(layer).__name__
    if isinstance(layer, nn.ChannelShuffle):
        return [(name, 0, 0, layer.groups, 0)]
    if hasattr(layer, "in_channels") and hasattr(layer, "groups"):
        return [(name, layer.in_channels, layer.out_channels, layer.groups, layer.weight.numel())]
    if isinstance(layer, nn.Linear | nn.Flatten | nn.Unflatten) or not isinstance(layer, nn.Module):
        raise TypeError(f"layers must be convolutions, ChannelShuffle or act on each channel by itself, got {name}")
    return []


def _connected(stages: list[Stage]) -> tuple[list[list[int]], list[list[Link]]]:
    """(the colour of each channel before and after each stage, the links from channels before to those after)."""
    _, channels, _, groups, _ = stages[0]
    columns, links = [[c * groups // channels for c in range(channels)]], []
    for name, before, after, groups, _ in stages:
        colours = columns[-1]
        if name == "ChannelShuffle":
            each = len(colours) // groups
            if each * groups != len(colours):
                raise ValueError(f"groups of ChannelShuffle must divide {len(colours)} channels, got {groups}")
            moved = [(g * each + c, c * groups + g) for g in range(groups) for c in range(each)]
            links.append(moved)
            columns.append([colours[a] for a, _ in sorted(moved, key=lambda link: link[1])])
            continue
        if before != len(colours):
            raise ValueError(f"{name} takes {before} channels, but {len(colours)} come in")
        per = after // groups
        links.append([(a, b) for b in range(after) for a in range(before) if a * groups // before == b // per])
        columns.append([b // per for b in range(after)])
    return columns, links


def _reach(columns: list[list[int]], links: list[list[Link]]) -> list[int]:
    """How many of the first channels each of the last depends on."""
    seen: list[set[int]] = [{c} for c in range(len(columns[0]))]
    for pairs, after in zip(links, columns[1:]):
        following: list[set[int]] = [set() for _ in after]
        for a, b in pairs:
            following[b] |= seen[a]
        seen = following
    return [len(s) for s in seen]


def _sheet(stages: list[Stage], columns: list[list[int]], links: list[list[Link]]) -> Sheet:
    tall = max(map(len, columns)) * (SIDE + GAP) - GAP
    titles = [
        f"{name} {groups} groups" if name == "ChannelShuffle"
        else f"{name} {before} → {after}" + (f", groups {groups}" if groups > 1 else "")
        for name, before, after, groups, _ in stages
    ]  # fmt: skip
    across = max(ACROSS, max(len(title) for title in titles) * 11 * EM + 20)

    def corner(column: int, channel: int) -> tuple[float, float]:
        count = len(columns[column])
        space = (tall - count * SIDE) / max(count - 1, 1) if count > 1 else 0
        space = min(space, 2 * SIDE)
        used = count * SIDE + (count - 1) * space
        return MARGIN + column * (SIDE + across), HEAD + MARGIN + (tall - used) / 2 + channel * (SIDE + space)

    shapes: list[Shape] = []
    for i, pairs in enumerate(links):
        for a, b in pairs:
            (x, y), (to_x, to_y) = corner(i, a), corner(i + 1, b)
            shapes.append(Line(x + SIDE, y + SIDE / 2, to_x, to_y + SIDE / 2, channel_role(columns[i][a])))
    for i, colours in enumerate(columns):
        for c, colour in enumerate(colours):
            x, y = corner(i, c)
            shapes.append(Box(x, y, SIDE, SIDE, channel_role(colour)))
            shapes.append(Text(x + SIDE / 2, y + SIDE / 2, str(c), 11))
    reach = _reach(columns, links)
    seen = str(min(reach)) if min(reach) == max(reach) else f"{min(reach)} to {max(reach)}"
    weights = sum(weights for *_, weights in stages)
    sentence = f"each result depends on {seen} of {len(columns[0])} input channels; {weights:,} weights"
    title = "; ".join(titles)
    ends = MARGIN + len(links) * (SIDE + across) + SIDE
    width = max(ends, MARGIN + max(len(title) * 1.08, len(sentence)) * SIZE * EM) + MARGIN
    bottom = HEAD + MARGIN + tall
    base: list[Shape] = [
        Box(0, 0, width, bottom + 46, "ground"),
        Text(MARGIN, 24, title, SIZE, "text", "start", True),
        *(
            Text(corner(i, 0)[0] + SIDE + across / 2, HEAD, text, 11, "faint")
            for i, text in enumerate(titles if len(titles) > 1 else [])
        ),
        *shapes,
        Text(MARGIN, bottom + 26, sentence, SIZE, "text", "start"),
    ]
    return Sheet(width, bottom + 46, base, [[]], title)
