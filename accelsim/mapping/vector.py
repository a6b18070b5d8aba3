"""Vector work: elementwise functions, reductions, softmax, norms, pooling, gathers and data movement."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from accelsim.base.dtypes import bits
from accelsim.base.errors import MappingError
from accelsim.base.units import PS_PER_S
from accelsim.hardware.device import Role, VectorUnit
from accelsim.kernels.pipeline import pipeline_time
from accelsim.mapping.finish import finished
from accelsim.mapping.machine import Machine
from accelsim.mapping.on_chip import busy_seconds
from accelsim.mapping.power import Clocked, clocked
from accelsim.mapping.task import Placement, Task
from accelsim.trace import Count
from accelsim.workload.ops import Gather, Op, Tensor

PIECE_BYTES = 4096
"""A stream is cut into pieces of no less than this; smaller ones gain nothing (ASSUMED: one DRAM page)."""


def vector_cycles(op: Op, vector: VectorUnit, dtype: str, cores: int) -> float:
    """Cycles of the op's elementary operations on ``cores`` vector units; its special functions go beside them."""
    work, dtype = op.elementary, _elementary_format(op, dtype)
    plain = work.add + work.mul
    if not work.total:
        return 0.0
    rate = vector.rate(dtype)
    if plain and not rate:
        raise MappingError(f"op {op.name}: the vector unit computes nothing in {dtype}")
    plain_cycles = plain / rate if plain else 0.0
    special_cycles = work.special / vector.special_per_cycle
    return (max(plain_cycles, special_cycles) if vector.special_beside else plain_cycles + special_cycles) / cores


def _elementary_format(op: Op, dtype: str) -> str:
    """The format that elementary operations are done in: that of a product's epilogue, where it has one."""
    return op.epilogue[0].dtype if op.epilogue else dtype


def elementary_counts(op: Op, dtype: str) -> Iterator[Count]:
    """Counts of the op's elementary operations."""
    work, dtype = op.elementary, _elementary_format(op, dtype)
    yield Count(f"add.{dtype}", "-", work.add)
    yield Count(f"mul.{dtype}", "-", work.mul)
    yield Count(f"special.{dtype}", "-", work.special)


def _role(tensor: Tensor) -> Role:
    return "weight" if tensor.role == "weight" else "activation"


def _operand(tensor: Tensor) -> str:
    return "weight" if tensor.role == "weight" else "input"


def _on_chip(op: Op, machine: Machine) -> tuple[float, list[Count]]:
    """Time of the activations' buffer [ps], and its counts: every pass reads the inputs, results are written once.

    A row that a pass comes back to is in the buffer by then, so only the first pass may go beyond the chip.
    """
    memory = machine.buffer("activation")
    if memory is None:
        return 0.0, []
    reads = [op.bytes_read(t) * op.passes for t in op.inputs]
    writes = [t.bytes for t in op.outputs]
    counts = [Count(f"{memory.name}.read", _operand(t), size) for t, size in zip(op.inputs, reads, strict=True)] + [
        Count(f"{memory.name}.write", "output", size) for size in writes
    ]
    return float(busy_seconds(memory, reads, writes, machine.cores)) * PS_PER_S, counts


def beyond(op: Op, machine: Machine, placement: Placement) -> tuple[list[Count], dict[str, int], dict[str, int]]:
    """Counts of what comes from and goes beyond the chip, and its bytes in and out by channel."""
    counts: list[Count] = []
    loads: dict[str, int] = {}
    stores: dict[str, int] = {}

    def move(channel: str, operand: str, role: Role, read: int, written: int) -> None:
        counts.extend(machine.count(channel, operand, read, written))
        memory = machine.buffer(role)
        if memory is not None:
            counts.append(Count(f"{memory.name}.write", operand, read))
            counts.append(Count(f"{memory.name}.read", operand, written))

    for tensor, channel in zip(op.inputs, placement.sources, strict=True):
        if channel is not None:
            size = op.bytes_read(tensor)
            loads[channel] = loads.get(channel, 0) + size
            move(channel, _operand(tensor), _role(tensor), size, 0)
    if placement.sink is not None:
        size = sum(t.bytes for t in op.outputs)
        stores[placement.sink] = size
        move(placement.sink, "output", "activation", 0, size)
    return counts, loads, stores


def _share(channel: str, loads: Mapping[str, int], stores: Mapping[str, int]) -> float:
    """Of the bytes over a channel, those that are read."""
    read, written = loads.get(channel, 0), stores.get(channel, 0)
    return read / (read + written) if written else 1.0


def windowed(sizes: Mapping[str, float], times_ps: Mapping[str, float], machine: Machine) -> float:
    """Time of the part of a transfer that work cannot hide, by channel: a window of it, or all [ps]."""
    total = sum(sizes.values())
    if not total:
        return 0.0
    return min(1.0, machine.calibration.window_bytes / total) * sum(times_ps.values())


def _pieces(op: Op, machine: Machine, placement: Placement) -> set[int]:
    """Numbers of pieces to try: the fewest whose buffers fit, and as many as are worth it.

    More pieces overlap better, so that the larger number is at least as fast and does not depend on the room. A
    room that is too small for these asks for smaller ones still; they are timed alike, or less room would be faster.
    """
    streamed = sum(
        op.bytes_read(t) for t, channel in zip(op.inputs, placement.sources, strict=True) if channel is not None
    ) + (sum(t.bytes for t in op.outputs) if placement.sink is not None else 0)
    memory = machine.buffer("activation")
    fewest = 1
    if memory is not None and streamed:
        room = dict(placement.free_bytes)[memory.name] // (2 if memory.double_buffered else 1)
        if room < 1:
            raise MappingError(f"op {op.name}: nothing of {memory.name} is free for pieces of its operands")
        fewest = _power_of_two(streamed / room)
    most = _power_of_two(streamed / PIECE_BYTES)
    return {min(fewest, most), most}


def _power_of_two(least: float) -> int:
    """The smallest power of two that is no less."""
    return 1 << max(0, math.ceil(least) - 1).bit_length()


@dataclass(frozen=True, slots=True)
class _Stream:
    """Operands in, work, results out, cut into pieces; times of all of it [ps]."""

    work_ps: float
    first_ps: float
    """Loads over the channel of most operands."""
    second_ps: float
    """Loads over another channel."""
    store_ps: float
    channels: tuple[int, int, int]
    buffers: int

    def time_ps(self, pieces: int, fraction: float) -> float:
        """End of the last piece's store, at a fraction of the clock."""
        compute, first, store = self.work_ps / fraction / pieces, self.first_ps / pieces, self.store_ps / pieces
        # With one n and one k tile a second operand would be loaded once: its time goes with the first piece.
        times = (compute,) * 8 + (first,) * 4 + (self.second_ps,) * 4 + (0.0,) * 4 + (store,) * 4
        return pipeline_time((1, pieces, 1, 1, *self.channels), False, times, self.buffers)


def map_vector(op: Op, machine: Machine, placement: Placement) -> Task:
    """Map an op to the vector units: pieces stream in, are worked on in all its passes, and stream out."""
    vector = machine.device.core.vector
    cycles = vector_cycles(op, vector, op.dtype, machine.cores)
    memory = machine.buffer("activation")
    on_chip_ps, on_chip_counts = _on_chip(op, machine)
    beyond_counts, loads, stores = beyond(op, machine, placement)
    work_ps = max(cycles * PS_PER_S / vector.freq_hz, on_chip_ps)
    ps_per_byte = {
        channel: PS_PER_S
        / machine.channels[channel]
        * machine.slower(channel, read_share=_share(channel, loads, stores))
        for channel in (*loads, *stores)
    }
    load_ps = {channel: size * ps_per_byte[channel] for channel, size in loads.items()}
    if isinstance(op, Gather) and placement.sources[0] is not None:
        # Rows of a table lie at random places.
        channel, row = placement.sources[0], op.outputs[0]
        slower = machine.slower(channel, row.shape[-1] * bits(row.dtype) / 8)
        load_ps[channel] += (slower - 1) * op.bytes_read(op.inputs[0]) * PS_PER_S / machine.channels[channel]
    store_ps = {channel: size * ps_per_byte[channel] for channel, size in stores.items()}
    ids = {name: i for i, name in enumerate(dict.fromkeys((*loads, *stores)))}
    first, second = ([*load_ps, None, None])[:2]
    counts = tuple(
        c
        for c in (
            *elementary_counts(op, op.dtype),
            Count("register", "-", 2 * op.elementary.total * bits(op.dtype)),
            *on_chip_counts,
            *beyond_counts,
        )
        if c.amount
    )

    stream = _Stream(
        work_ps,
        load_ps.get(first or "", 0.0),
        load_ps.get(second or "", 0.0),
        sum(store_ps.values()),
        (ids.get(first or "", 0), ids.get(second or "", 0), ids.get(placement.sink or "", 0)),
        1 if memory is not None and not memory.double_buffered else 2,
    )
    window_ps = windowed(loads, load_ps, machine) + windowed(stores, store_ps, machine)
    near_ps, away_ps = memory.latency_s * PS_PER_S if memory else 0.0, machine.latency_ps(placement.sources)
    energy_pj = machine.dynamic_pj(counts)
    outcomes: list[tuple[Clocked, int]] = []
    for pieces in sorted(_pieces(op, machine, placement)):

        def time(fraction: float, pieces: int = pieces) -> float:
            return max(stream.time_ps(pieces, fraction), work_ps / fraction + window_ps) + near_ps / fraction + away_ps

        outcomes.append((clocked(machine, energy_pj, time), pieces))
    outcome, pieces = min(outcomes, key=lambda pair: (pair[0].duration, pair[1]))
    return finished(
        op,
        machine,
        outcome,
        unit="vector",
        freq_hz=vector.freq_hz,
        cycles=cycles,
        compute_s=cycles / vector.freq_hz,
        on_chip_s=on_chip_ps / PS_PER_S,
        channel_bytes={name: loads.get(name, 0) + stores.get(name, 0) for name in ids},
        counts=counts,
        tiling=f"{pieces} piece{'s' if pieces != 1 else ''}",
    )
