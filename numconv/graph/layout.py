"""One layout for the whole net: channels last from the first convolution on, turned at the borders only.

Values are marked as they come: a convolution or whatever follows one gives its result channels last; an operation that
knows no layouts gets a view with the channels first again. Views cost nothing, and kernels read any strides.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from numconv.graph.fold import FIRSTS
from numconv.graph.fuse import CONVOLUTIONS
from numconv.graph.graph import Graph, Node
from numconv.problem import LAST

_POOLS = tuple(
    f"{kind}_pool{n}d" for kind in ("max", "avg", "lp", "weighted_avg", "adaptive_avg", "adaptive_max")
    for n in (1, 2, 3)
)  # fmt: skip
_IMAGES = (
    *CONVOLUTIONS, *_POOLS, "global_avg_pool", "global_max_pool", "batch_norm", "interpolate", "group_norm",
    "local_response_norm", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle",
)  # fmt: skip
_ELEMENTWISE = (
    "add", "sub", "mul", "div", "pow", "neg", "exp", "log", "sqrt", "sin", "cos", "abs", "sign", "maximum", "minimum",
    "clamp", "where", "compare", "astype", "relu", "relu6", "leaky_relu", "elu", "gelu", "sigmoid", "tanh", "silu",
    "hardswish",
)  # fmt: skip
_ALONG = ("concatenate", "softmax", "log_softmax")
_REDUCTIONS = ("sum", "mean", "amax", "amin")


def channels_last(graph: Graph) -> Graph:
    """The graph with images ``(N, *spatial, C)`` inside."""
    return _Turner(graph).turned()


class _Turner:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.shapes, self.dtypes = dict(graph.shapes), dict(graph.dtypes)
        self.weights: dict[str, Any] = {}
        self.nodes: list[Node] = []
        self.last: set[str] = set()
        self.views: dict[str, str] = {}

    def turned(self) -> Graph:
        for node in self.graph.nodes:
            self.nodes.append(self._image(node) or self._follower(node) or self._plain(node))
        outputs = tuple(self._first(name) for name in self.graph.outputs)
        weights = {**self.graph.weights, **self.weights}
        return replace(
            self.graph, nodes=tuple(self.nodes), outputs=outputs, weights=weights, shapes=self.shapes,
            dtypes=self.dtypes,
        )  # fmt: skip

    # --- values

    def _view(self, name: str, axes: tuple[int, ...]) -> str:
        """A value with its axes in another order."""
        if name not in self.views:
            self.views[name] = view = f"{name}.turned"
            self.shapes[view] = tuple(self.shapes[name][axis] for axis in axes)
            self.dtypes[view] = self.dtypes[name]
            self.nodes.append(Node("permute", (name,), (view,), {"axes": axes}))
        return self.views[name]

    def _first(self, name: Any) -> Any:
        """A value as the graph had it."""
        if name not in self.last:
            return name
        ndim = len(self.shapes[name])
        return self._view(name, (0, ndim - 1, *range(1, ndim - 1)))

    def _last(self, name: Any) -> Any:
        """A value of at least two axes with the channels last."""
        if name in self.last or not isinstance(name, str):
            return name
        axes = _axes(len(self.shapes[name]))
        if name not in self.graph.weights:
            return self._view(name, axes)
        turned = f"{name}.turned"
        self.weights[turned] = weight = self.graph.weights[name].transpose(axes)
        self.shapes[turned], self.dtypes[turned] = weight.shape, weight.dtype
        return turned

    def _mark(self, node: Node, shapes: bool = True) -> Node:
        """A node whose results have channels last."""
        for name in node.outputs:
            old = self.shapes[name]
            if len(old) > 2 and shapes:
                self.last.add(name)
                self.shapes[name] = tuple(old[axis] for axis in _axes(len(old)))
        return node

    # --- operations

    def _plain(self, node: Node) -> Node:
        return replace(node, inputs=tuple(self._first(i) if isinstance(i, str) else i for i in node.inputs))

    def _image(self, node: Node) -> Node | None:
        """An operation that has a data format."""
        if node.operation not in _IMAGES or node.attributes.get("data_format") not in FIRSTS:
            return None
        x = node.inputs[0]
        shape = self.graph.shapes[x]
        if node.operation[-2:] in ("1d", "2d", "3d") and len(shape) != int(node.operation[-2]) + 2:
            return None
        if x not in self.last and node.operation not in CONVOLUTIONS:
            return None
        inputs = [self._last(x), *node.inputs[1:]]
        if node.operation in CONVOLUTIONS:
            if any(i not in self.graph.weights for i in node.inputs[1:3] if i is not None):
                return None
            inputs[3] = None if inputs[3] is None else self._last(inputs[3])
        node = replace(node, inputs=tuple(inputs)).but(data_format=LAST)
        return self._mark(node)

    def _follower(self, node: Node) -> Node | None:
        """An operation that does not care, or names axes."""
        if not any(i in self.last for i in node.inputs if isinstance(i, str)):
            return None
        ndim = len(self.shapes[node.output])
        if node.operation in _ELEMENTWISE:
            return self._elementwise(node, ndim)
        x = node.inputs[0]
        if node.operation in _ALONG:
            places = {axis: place for place, axis in enumerate(_axes(ndim))}
            if all(isinstance(i, str) for i in node.inputs):
                node = replace(node, inputs=tuple(map(self._last, node.inputs)))
                return self._mark(node.but(axis=places[node.attributes["axis"] % ndim]))
        if node.operation in _REDUCTIONS and node.attributes["axis"] is not None:
            return self._reduction(node, len(self.shapes[x]))
        if node.operation == "index" and (index := _slices(node.attributes["index"], ndim)) is not None:
            return self._mark(node.but(index=tuple(index[axis] for axis in _axes(ndim))))
        if node.operation == "reshape" and all(length == 1 for length in self.shapes[x][1:-1]):
            return node.but(shape=self.shapes[node.output])
        return None

    def _elementwise(self, node: Node, ndim: int) -> Node | None:
        inputs = []
        for i in node.inputs:
            if isinstance(i, str) and i not in self.last:
                missing = ndim - len(self.shapes[i])
                if missing and i not in self.graph.weights:
                    return None
                if missing:
                    name = f"{i}.{ndim}d"
                    weight = self.graph.weights[i].reshape((1,) * missing + self.graph.weights[i].shape)
                    self.weights[name] = weight = weight.transpose(_axes(ndim))
                    self.shapes[name], self.dtypes[name] = weight.shape, weight.dtype
                    inputs.append(name)
                    continue
            inputs.append(i)
        return self._mark(replace(node, inputs=tuple(i if _new(i, self.weights) else self._last(i) for i in inputs)))

    def _reduction(self, node: Node, ndim: int) -> Node | None:
        axis = node.attributes["axis"]
        reduced = {a % ndim for a in ((axis,) if isinstance(axis, int) else axis)}
        places = {axis: place for place, axis in enumerate(_axes(ndim))}
        kept = [a for a in range(ndim) if a not in reduced]
        if not node.attributes["keepdims"] and kept != sorted(kept, key=places.__getitem__):
            return None
        node = node.but(axis=tuple(sorted(places[a] for a in reduced)))
        return self._mark(node, shapes=node.attributes["keepdims"])


def _new(name: Any, weights: Any) -> bool:
    return isinstance(name, str) and name in weights


def _axes(ndim: int) -> tuple[int, ...]:
    """Axes of a channels-first value in channels-last order."""
    return (0, *range(2, ndim), 1)


def _slices(index: Any, ndim: int) -> tuple[slice, ...] | None:
    """An index of slices alone, one an axis."""
    parts = index if isinstance(index, tuple) else (index,)
    if not all(isinstance(part, slice) for part in parts):
        return None
    return (*parts, *(slice(None),) * (ndim - len(parts)))
