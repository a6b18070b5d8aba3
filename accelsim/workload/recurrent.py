"""Long short-term memories, step by step: what is known beforehand is multiplied for all steps at once."""

from __future__ import annotations

from accelsim.workload.layers import Layers
from accelsim.workload.ops import Elementwise, Move, Tensor


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
    y = net.dense(f"{name}.recurrent", state, 4 * state.shape[1], shared=f"{layer}.recurrent")
    return gated(net, name, net.elementwise(f"{name}.add", "add", y, gates), state.shape, layer)


def gated(net: Layers, name: str, gates: Tensor, shape: tuple[int, ...], layer: str) -> Tensor:
    """A new state of that shape: functions of the four gates and of the layer's memory."""
    y = net.elementwise(f"{name}.sigmoid", "sigmoid", gates)
    memory = Tensor(name=f"{layer}.memory", shape=shape)
    memory = net.add(Elementwise, f"{name}.update", (y, memory), shape, function="mul")
    return net.elementwise(f"{name}.tanh", "tanh", memory)
