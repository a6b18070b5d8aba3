"""Convolutional networks with fewer channels, the same share of them everywhere.

What a pruner leaves is different from layer to layer, and vendors publish how many operations are left, not where. The
same share of the channels of every layer is the plain stand-in: work falls as its square.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from accelsim.base.errors import WorkloadError
from accelsim.workload.graph import Graph
from accelsim.workload.ops import Conv2d, Matmul, Move, Op, Tensor

DIVISIBLE = 2
"""What the channels that stay are a multiple of, the default of Vitis AI's pruner (UNVERIFIED, recalled)."""
PARTS = 1000
"""Shares are looked for in steps of one in so many."""


def prune_channels(graph: Graph, kept: float) -> Graph:
    """Return a graph of convolutions with that share of the channels of each, but of images and of results.

    Depthwise convolutions follow what they read, and so does all that stands between convolutions.
    """
    if not 0 < kept <= 1:
        raise WorkloadError(f"{graph.name}: want a share of channels above 0 and up to 1, got {kept:g}")
    inner = _feeding_products(graph)
    new: dict[str, Tensor] = {}
    return replace(graph, ops=tuple(_pruned(op, new, kept if op.name in inner else 1.0) for op in graph.ops))


def pruned_to(build: Callable[[int], Graph], macs: float) -> Callable[[int], Graph]:
    """Return a builder of the network with the share of channels that comes nearest to so many MACs an item."""
    kept = _share(build, macs)
    return lambda batch: prune_channels(build(batch), kept)


def _share(build: Callable[[int], Graph], macs: float) -> float:
    one = build(1)
    low, high = 1, PARTS
    while low < high:
        middle = (low + high) // 2
        if prune_channels(one, middle / PARTS).macs < macs:
            low = middle + 1
        else:
            high = middle
    below, above = max(1, low - 1) / PARTS, low / PARTS
    return min((below, above), key=lambda kept: abs(prune_channels(one, kept).macs - macs))


def _feeding_products(graph: Graph) -> frozenset[str]:
    """Convolutions whose results some later product reads: the channels of the others are what the network says."""
    feeds: set[str] = set()
    found: set[str] = set()
    for op in reversed(graph.ops):
        if any(t.name in feeds for t in op.outputs):
            if isinstance(op, Conv2d):
                found.add(op.name)
            feeds.update(t.name for t in op.activations)
        elif isinstance(op, Conv2d | Matmul):
            feeds.update(t.name for t in op.activations)
    return frozenset(found)


def _pruned(op: Op, new: dict[str, Tensor], kept: float) -> Op:
    """The op on what is left of its operands; enters its results and weights into ``new``."""
    inputs = [new.get(t.name, t) for t in op.inputs]
    sizes: dict[str, Any] = {}
    if isinstance(op, Conv2d):
        c_in = inputs[0].shape[1]
        depthwise = op.groups == op.c_in == op.c_out
        if op.groups > 1 and not depthwise:
            raise WorkloadError(f"op {op.name}: grouped convolutions cannot be pruned evenly")
        channels = c_in if depthwise else _left(op.c_out, kept)
        sizes = {"c_in": c_in, "c_out": channels, "groups": c_in if depthwise else 1}
        inputs[1] = replace(inputs[1], shape=(channels, 1 if depthwise else c_in, op.kh, op.kw))
    elif isinstance(op, Matmul) and len(inputs[0].shape) == 4 and inputs[1].role == "weight":
        sizes = {"k": inputs[0].elements // op.m}
        inputs[1] = replace(inputs[1], shape=(sizes["k"], op.n))
        channels = op.n
    else:
        before, after = _channels(op.inputs), _channels(inputs)
        joined = isinstance(op, Move) and len(after) > 1
        channels = sum(after) if joined else max(after, default=0)
        was = sum(before) if joined else max(before, default=0)
        inputs = [
            replace(t, shape=(channels,)) if t.role == "weight" and t.shape == (was,) and was else t for t in inputs
        ]
    outputs = tuple(
        replace(t, shape=(t.shape[0], channels, *t.shape[2:])) if len(t.shape) == 4 and channels else t
        for t in op.outputs
    )
    new.update({t.name: t for t in (*inputs, *outputs)})
    return replace(op, inputs=tuple(inputs), outputs=outputs, **sizes)


def _left(channels: int, kept: float) -> int:
    if kept == 1:
        return channels
    return min(channels, max(1, round(channels * kept / DIVISIBLE)) * DIVISIBLE)


def _channels(tensors: list[Tensor] | tuple[Tensor, ...]) -> list[int]:
    return [t.shape[1] for t in tensors if len(t.shape) == 4 and t.role != "weight"]
