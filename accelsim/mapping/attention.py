"""Attention on cores with buffers: the array multiplies other blocks while the vector unit takes one's softmax."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from accelsim.base.dtypes import size_bytes
from accelsim.base.errors import MappingError
from accelsim.base.units import PS_PER_S, ceil_div
from accelsim.hardware.device import RowStationary
from accelsim.mapping.finish import finished
from accelsim.mapping.machine import Machine
from accelsim.mapping.matrix import map_matrix, matrix_unit
from accelsim.mapping.power import clocked
from accelsim.mapping.task import Placement, Task
from accelsim.mapping.vector import beyond, elementary_counts, vector_cycles, windowed
from accelsim.trace import Count
from accelsim.workload.ops import Attention, Matmul, Tensor

BLOCK = 128
"""Queries of a block at most, as of a tile along m; it does not depend on what fits, so that more room never hurts."""

SOFTMAX_PASSES = 3
"""Maximum, exponentials and their sum, division."""


def map_attention(op: Attention, machine: Machine, placement: Placement) -> Task:
    """Map attention: blocks of queries of each head go through both units, their scores stay on chip.

    Raises MappingError where two blocks of scores do not fit, or where no unit multiplies the format in tiles.
    """
    unit, vector = matrix_unit(machine, op.dtype), machine.device.core.vector
    if isinstance(unit, RowStationary):
        raise MappingError(f"op {op.name}: attention in one kernel wants an array that multiplies tiles")
    products = _products(op)
    blocks = op.batch * op.kv_heads * ceil_div(products[0].m, BLOCK)
    square = size_bytes(op.batch * op.heads * op.q_len * op.keys_seen, op.dtype)
    _check_room(op, machine, placement, ceil_div(2 * square, blocks))
    # Alone and at the nominal clock, everything on chip; the whole op's power sets its clock.
    free = replace(machine, power_w=None)
    parts = [map_matrix(product, free, Placement((None, None), None, machine.all_free)) for product in products]
    scores_ps, context_ps = (float(part.duration_ps - part.launch_ps) for part in parts)
    softmax_ps = vector_cycles(op, vector, op.dtype, machine.cores) * PS_PER_S / vector.freq_hz
    near = [*_softmax_traffic(square, machine)]
    on_chip_ps = sum(dict(part.bounds_s)["sram"] for part in parts) * PS_PER_S + _passing_ps(square, machine)
    core_ps = max(on_chip_ps, side_by_side(blocks, scores_ps, softmax_ps, context_ps))

    beyond_counts, loads, stores = beyond(op, machine, placement)
    edges_ps, channels_ps = 0.0, dict.fromkeys({*loads, *stores}, 0.0)
    for side in (loads, stores):
        times = {name: size * PS_PER_S / machine.channels[name] for name, size in side.items()}
        edges_ps += max(windowed(side, times, machine), sum(times.values()) / blocks)
        for name, time in times.items():
            channels_ps[name] += time
    mix = {name: loads.get(name, 0) / (loads.get(name, 0) + stores.get(name, 0)) for name in channels_ps}
    channel_ps = max((t * machine.slower(name, read_share=mix[name]) for name, t in channels_ps.items()), default=0.0)

    counts = [*elementary_counts(op, op.dtype), *near, *beyond_counts]
    counts += [count for part in parts for count in part.counts]
    outcome = clocked(
        machine, machine.dynamic_pj(counts), lambda fraction: max(core_ps / fraction + edges_ps, channel_ps)
    )
    return finished(
        op,
        machine,
        outcome,
        unit="matrix",
        freq_hz=unit.freq_hz,
        cycles=max(scores_ps + context_ps, softmax_ps) * unit.freq_hz / PS_PER_S,
        compute_s=max(scores_ps + context_ps, softmax_ps) / PS_PER_S,
        on_chip_s=on_chip_ps / PS_PER_S,
        channel_bytes={name: loads.get(name, 0) + stores.get(name, 0) for name in channels_ps},
        counts=counts,
        tiling=f"{blocks} blocks of scores, products and softmax side by side",
        macs=sum(part.macs for part in parts),
    )


def side_by_side(blocks: int, scores: float, softmax: float, context: float) -> float:
    """Time until all blocks have gone through scores, softmax and context, given the time of each for all blocks.

    The array takes turns: the scores of the next block, then the context of this one. Either the vector unit is never
    idle between its first and last block, or the array waits for the first and for the last softmax alone.
    """
    s, v, c = scores / blocks, softmax / blocks, context / blocks
    if blocks == 1:
        return s + v + c
    return max(s + softmax + c, scores + context + max(0.0, v - s) + max(0.0, v - c))


def _products(op: Attention) -> tuple[Matmul, Matmul]:
    """Queries with keys, and weights with values; query heads that share keys stand below each other."""
    query, key, value, *_ = op.inputs
    repeats, rows, keys = op.batch * op.kv_heads, op.heads // op.kv_heads * op.q_len, op.keys_seen
    square = Tensor(name=f"{op.name}.scores", shape=(repeats, rows, keys), dtype=query.dtype)
    slim = Tensor(name=f"{op.name}.context", shape=(repeats, rows, op.head_dim), dtype=query.dtype)
    seen = (repeats, keys, op.head_dim)
    return (
        Matmul(
            name=op.name, batch=repeats, m=rows, k=op.head_dim, n=keys,
            inputs=(replace(query, shape=slim.shape), replace(key, shape=seen)), outputs=(square,),
        ),
        Matmul(
            name=op.name, batch=repeats, m=rows, k=keys, n=op.head_dim,
            inputs=(square, replace(value, shape=seen)), outputs=(slim,),
        ),
    )  # fmt: skip


def _check_room(op: Attention, machine: Machine, placement: Placement, wanted: int) -> None:
    memory = machine.buffer("activation")
    if memory is not None and wanted > dict(placement.free_bytes)[memory.name]:
        raise MappingError(
            f"op {op.name}: two blocks of scores take {wanted} bytes of {memory.name}, "
            f"{dict(placement.free_bytes)[memory.name]} are free"
        )


def _softmax_traffic(square: int, machine: Machine) -> Iterator[Count]:
    """Scores are read in every pass and written once."""
    memory = machine.buffer("activation")
    if memory is not None:
        yield Count(f"{memory.name}.read", "input", SOFTMAX_PASSES * square)
        yield Count(f"{memory.name}.write", "output", square)


def _passing_ps(square: int, machine: Machine) -> float:
    """Time of that traffic [ps]."""
    memory = machine.buffer("activation")
    if memory is None:
        return 0.0
    copies = machine.cores if memory.scope == "core" else 1
    read, write = SOFTMAX_PASSES * square / memory.bandwidth_bytes_per_s, square / memory.write_rate
    together = read + write if memory.write_bandwidth_bytes_per_s is None else max(read, write)
    return together / copies * PS_PER_S
