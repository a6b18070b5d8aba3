"""Long short-term memories, step by step: what is known beforehand is multiplied for all steps at once."""

from __future__ import annotations

from accelsim.workload.layers import Layers, weight
from accelsim.workload.ops import Elementwise, Matmul, Move, Tensor


def lstm(net: Layers, name: str, x: Tensor, width: int) -> Tensor:
    """A layer over all steps of ``[batch, length, depth]``."""
    batch, length, _ = x.shape
    net.dense(f"{name}.input", x, 4 * width)
    state = Tensor(name=f"{name}.state", shape=(batch, width))
    for step in range(length):
        # The part of the gates that is this step's: what it is called does not say of which layer, for only one layer's
        # are there at a time.
        part = Tensor(name=f"gates{step}", shape=(batch, 4 * width))
        state = cell(net, f"{name}.{step}", part, state, name)
    return net.add(Move, f"{name}.stack", (state,), (batch, length, width))


def cell(net: Layers, name: str, gates: Tensor, state: Tensor, layer: str) -> Tensor:
    """One step: gates of the input and of the state before, functions of the four, a new state (Hochreiter 1997)."""
    width = state.shape[1]
    y = product(net, f"{name}.recurrent", state, f"{layer}.recurrent", 4 * width)
    y = net.elementwise(f"{name}.add", "add", y, gates)
    y = net.elementwise(f"{name}.sigmoid", "sigmoid", y)
    memory = Tensor(name=f"{layer}.memory", shape=state.shape)
    memory = net.add(Elementwise, f"{name}.update", (y, memory), state.shape, function="mul")
    return net.elementwise(f"{name}.tanh", "tanh", memory)


def product(net: Layers, name: str, x: Tensor, shared: str, width: int, *, bias: bool = True) -> Tensor:
    """``x W + b`` with weights of that name, which other steps have too."""
    rows, depth = x.shape
    y = net.add(
        Matmul, name, (x, weight(f"{shared}.weight", depth, width)), (rows, width), m=rows, k=depth, n=width
    )  # fmt: skip
    return net.elementwise(f"{name}.bias", "add", y, weight(f"{shared}.bias.weight", width)) if bias else y
