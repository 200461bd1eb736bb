"""Models as graphs of operations: traced from the tape, simplified, and run at full speed.

`trace` makes a graph of a function of Tensors; each pass makes a graph of a graph; `Executor` runs one.
"""

from numconv.graph.clean import simplified
from numconv.graph.executor import Executor
from numconv.graph.fold import folded
from numconv.graph.fuse import fused
from numconv.graph.graph import Batch, Graph, Node, Part, sized
from numconv.graph.join import joined
from numconv.graph.layout import channels_last
from numconv.graph.memory import planned_buffers
from numconv.graph.plans import planned
from numconv.graph.trace import filled, trace

__all__ = [
    "Batch",
    "Executor",
    "Graph",
    "Node",
    "Part",
    "channels_last",
    "filled",
    "folded",
    "fused",
    "joined",
    "optimised",
    "planned",
    "planned_buffers",
    "simplified",
    "sized",
    "trace",
]


def optimised(graph: Graph, n: int = 1) -> Graph:
    """A graph through all passes, ready for `Executor`; algorithms are chosen for a batch of `n`."""
    return joined(planned(channels_last(fused(folded(simplified(graph)))), n))
