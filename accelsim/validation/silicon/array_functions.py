"""Ops as a library of array functions computes them: one function after another, each over whole arrays.

The sequences are those of ``accelsim measure`` with numpy (``accelsim.study.measure.numpy_backend``), results in place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import singledispatch

from accelsim.workload.graph import Graph
from accelsim.workload.ops import Attention, Elementwise, Norm, Op, Reduction, Softmax, Tensor
from accelsim.workload.transforms import unfuse_attention


def in_array_functions(ops: Iterable[Op]) -> tuple[Op, ...]:
    """The array functions that compute ``ops``."""
    return tuple(part for op in ops for part in _parts(op))


@singledispatch
def _parts(op: Op) -> Iterator[Op]:
    yield op


def _function(function: str, *inputs: Tensor, into: Tensor) -> Elementwise:
    return Elementwise(name=function, function=function, inputs=inputs, outputs=(into,))


def _reduction(of: Tensor, rows: int) -> tuple[Reduction, Tensor]:
    result = Tensor(name=f"{of.name}.reduced", shape=(rows, 1), dtype=of.dtype)
    return Reduction(name="reduce", inputs=(of,), outputs=(result,)), result


@_parts.register
def _(op: Softmax) -> Iterator[Op]:
    """Maximum, difference, exponential, sum, quotient."""
    x, y = op.inputs[0], op.outputs[0]
    greatest, most = _reduction(x, op.rows)
    yield greatest
    yield _function("sub", x, most, into=y)
    yield _function("exp", y, into=y)
    added, total = _reduction(y, op.rows)
    yield added
    yield _function("div", y, total, into=y)


@_parts.register
def _(op: Norm) -> Iterator[Op]:
    """Moments by two reductions and a square, then quotient, scale and shift (RMS norm: no mean and no shift)."""
    x, gamma, y = op.inputs[0], op.inputs[1], op.outputs[0]
    square = replace(y, name="square")
    centred = x
    if op.name == "layernorm":
        summed, mean = _reduction(x, op.rows)
        yield summed
        yield _function("sub", x, mean, into=y)
        centred = y
    yield _function("mul", centred, into=square)
    second, moment = _reduction(square, op.rows)
    yield second
    yield _function("div", centred, moment, into=y)
    yield _function("mul", y, gamma, into=y)
    if op.name == "layernorm":
        yield _function("add", y, gamma, into=y)


@_parts.register
def _(op: Elementwise) -> Iterator[Op]:
    """GELU by its approximation with tanh, in nine functions; others as they are."""
    if op.function != "gelu":
        yield op
        return
    x, y = op.inputs[0], op.outputs[0]
    yield _function("mul", x, into=y)
    yield _function("mul", y, into=y)
    yield _function("add", y, into=y)
    yield _function("mul", y, x, into=y)
    yield _function("mul", y, into=y)
    yield _function("tanh", y, into=y)
    yield _function("add", y, into=y)
    yield _function("mul", y, x, into=y)
    yield _function("mul", y, into=y)


@_parts.register
def _(op: Attention) -> Iterator[Op]:
    """Two products with scaling, mask and softmax between them; scaling and mask in place."""
    scores = None
    for part in unfuse_attention(Graph(name=op.name, ops=(op,), batch=op.batch)).ops:
        if isinstance(part, Elementwise) and scores is not None:
            yield replace(part, inputs=(scores, *part.inputs[1:]), outputs=(scores,))
            continue
        if isinstance(part, Softmax) and scores is not None:
            yield from _parts(replace(part, inputs=(scores,), outputs=(scores,)))
            continue
        scores = part.outputs[0] if scores is None else scores
        yield part
