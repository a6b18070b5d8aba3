"""Where the items of a batch lie: which axis of each tensor carries them, followed from the inputs through every op.

A file often has its batch baked into the shapes of its Reshape, Expand and Concat nodes. So shapes are inferred at the
file's own batch, where they hang together, and then the axis that carries the batch is scaled in every tensor: the
result is the network at any batch, exactly linear in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import accumulate
from operator import mul

from accelsim.workload.network import MAKES_NO_SENSE, SHAPE_READERS, Network, Node, Shape

Rule = Callable[[Network, Node, str, int], int | None]
"""(network, node, the input that carries the batch, its axis) -> the axis in the node's outputs."""

RULES: dict[str, Rule] = {}


def rule(*op_types: str) -> Callable[[Rule], Rule]:
    """Register how ops of these types pass the batch on."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(op_types, function))
        return function

    return register


def follow(net: Network, of_inputs: Mapping[str, int]) -> dict[str, int]:
    """Return the batch axis of every tensor that has one, given those of the inputs."""
    axes = dict(of_inputs)
    for node in net.nodes:
        carrier = next((name for name in node.reads if name in axes), None)
        if carrier is None or node.op_type in SHAPE_READERS or net.kinds[node.makes[0]] != "data":
            continue
        if node.op_type in RECURRENT:
            axes.update(_recurrent_axes(node))
            continue
        try:
            axis = RULES.get(node.op_type, aligned)(net, node, carrier, axes[carrier])
        except MAKES_NO_SENSE as error:
            raise node.broken(error) from None
        if axis is not None:
            axes.update({name: axis for name in node.makes if axis < len(net.shapes.get(name, ()))})
    return axes


def scale(shape: Shape, axis: int | None, own: int, batch: int) -> Shape:
    """Return ``shape`` with ``axis`` taken from the file's ``own`` batch to ``batch``.

    >>> scale((197, 12, 64), 1, 1, 8)
    (197, 96, 64)
    """
    if axis is None:
        return shape
    return (*shape[:axis], max(1, shape[axis] // own) * batch, *shape[axis + 1 :])


def reshaped_axis(before: Shape, after: Shape, axis: int) -> int | None:
    """Where the numbers that lie along ``axis`` are after a reshape: the axis at which as many lie outside it.

    >>> reshaped_axis((1, 197, 768), (1, 197, 12, 64), 0), reshaped_axis((197, 1, 768), (197, 12, 64), 1)
    (0, 1)
    """
    if not after:
        return None
    outside = list(accumulate(before[:axis], mul, initial=1))[-1]
    starts = list(accumulate(after[:-1], mul, initial=1))
    if axis < len(after) and starts[axis] == outside:
        return axis
    exact = [i for i, start in enumerate(starts) if start == outside]
    return exact[0] if exact else max(i for i, start in enumerate(starts) if start <= outside)


def aligned(net: Network, node: Node, carrier: str, axis: int) -> int | None:
    """Broadcasting counts axes from the last one; an op that lowers the rank keeps the first ones."""
    rank_in, rank_out = len(net.shape(carrier)), len(net.shape(node.makes[0]))
    return axis + max(0, rank_out - rank_in)


@rule("Reshape", "Flatten")
def _reshape(net: Network, node: Node, carrier: str, axis: int) -> int | None:
    return reshaped_axis(net.shape(carrier), net.shape(node.outputs[0]), axis)


@rule("Transpose")
def _transpose(net: Network, node: Node, carrier: str, axis: int) -> int | None:
    rank = len(net.shape(carrier))
    return node.integers("perm", range(rank - 1, -1, -1)).index(axis)


@rule("Squeeze")
def _squeeze(net: Network, node: Node, carrier: str, axis: int) -> int | None:
    shape, axes = net.shape(carrier), net.axes(node)
    if axes is None:
        return reshaped_axis(shape, net.shape(node.outputs[0]), axis)
    gone = {a % len(shape) for a in axes}
    return None if axis in gone else axis - sum(a < axis for a in gone)


@rule("Unsqueeze")
def _unsqueeze(net: Network, node: Node, carrier: str, axis: int) -> int | None:
    rank = len(net.shape(node.outputs[0]))
    axes = net.axes(node)
    if axes is None:
        return reshaped_axis(net.shape(carrier), net.shape(node.outputs[0]), axis)
    new = {a % rank for a in axes}
    return [i for i in range(rank) if i not in new][axis]


@rule(
    *(
        f"Reduce{name}"
        for name in ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare")
    ),
    *("ArgMax", "ArgMin"),
)
def _reduce(net: Network, node: Node, carrier: str, axis: int) -> int | None:
    rank = len(net.shape(carrier))
    arg = node.op_type.startswith("Arg")
    axes = (node.integer("axis", 0),) if arg else net.axes(node)
    gone = {a % rank for a in axes} if axes else set(range(rank))
    if axis in gone:
        return None
    return axis if node.integer("keepdims", 1) else axis - sum(a < axis for a in gone)


@rule("Gather")
def _gather(net: Network, node: Node, carrier: str, axis: int) -> int | None:
    along = node.integer("axis", 0) % max(1, len(net.shape(node.inputs[0])))
    if carrier != node.inputs[0]:
        return along + axis
    if axis == along:
        return None
    return axis if axis < along else axis + len(net.shape(node.inputs[1])) - 1


@rule("Gemm")
def _gemm(net: Network, node: Node, carrier: str, axis: int) -> int | None:
    return {node.inputs[0]: 0, node.inputs[1]: 1}.get(carrier, axis)


@rule("Einsum")
def _einsum(net: Network, node: Node, carrier: str, axis: int) -> int | None:
    terms, _, out = str(node.attributes["equation"]).replace(" ", "").partition("->")
    label = terms.split(",")[node.inputs.index(carrier)][axis : axis + 1]
    return out.index(label) if label and label in out else None


@rule("OneHot")
def _one_hot(net: Network, node: Node, carrier: str, axis: int) -> int | None:
    rank = len(net.shape(carrier)) + 1
    return axis + (node.integer("axis", -1) % rank <= axis)


RECURRENT = frozenset({"LSTM", "GRU", "RNN"})


def recurrent_input_axes(node: Node) -> dict[str, int]:
    """Return the batch axis of what a recurrent node reads: x, the steps of each item, and the first states."""
    states = 0 if node.integer("layout", 0) else 1
    read = {0: states, 4: 0, 5: states, 6: states}
    return {node.inputs[i]: axis for i, axis in read.items() if i < len(node.inputs) and node.inputs[i]}


def _recurrent_axes(node: Node) -> dict[str, int]:
    """ONNX layout 0 is [steps, directions, batch, hidden] and [directions, batch, hidden]; layout 1 is batch first."""
    first = node.integer("layout", 0)
    axes = (0, 0, 0) if first else (2, 1, 1)
    return {name: axis for name, axis in zip(node.outputs, axes, strict=False) if name}
