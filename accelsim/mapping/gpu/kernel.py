"""What all kernels of a GPU have in common: their machine's rates, and how one becomes a task."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from accelsim.base.units import PS_PER_S
from accelsim.hardware.device import Memory
from accelsim.hardware.energy import CORE_CYCLE
from accelsim.hardware.family import GpuFactors
from accelsim.mapping.finish import finished
from accelsim.mapping.machine import Machine
from accelsim.mapping.power import clocked
from accelsim.mapping.task import Placement, Task
from accelsim.trace import Count
from accelsim.workload.ops import Op, Tensor

VECTOR_BYTES = 16
"""Widest load of a thread (``LDG.E.128``)."""


@dataclass(frozen=True)
class Gpu:
    """A machine as a kernel sees it; rates at the nominal clock."""

    machine: Machine

    @cached_property
    def factors(self) -> GpuFactors:
        """The family's."""
        factors = self.machine.device.factors
        assert isinstance(factors, GpuFactors)
        return factors

    @cached_property
    def l2(self) -> Memory:
        """The outermost on-chip memory, which all cores share."""
        memory = self.machine.buffer("activation")
        assert memory is not None
        return memory

    @cached_property
    def l2_bytes_per_s(self) -> float:
        """What kernels get out of L2 [bytes/s]."""
        return self.l2.bandwidth_bytes_per_s * self.factors.bandwidth.l2

    @cached_property
    def core_l2_bytes_per_s(self) -> float:
        """What one core can draw from L2: bytes in flight over the latency (Little's law) [bytes/s]."""
        bandwidth = self.factors.bandwidth
        return bandwidth.in_flight_bytes / bandwidth.l2_latency_s

    @cached_property
    def core_dram_bytes_per_s(self) -> float:
        """What one core can draw from DRAM [bytes/s]."""
        bandwidth = self.factors.bandwidth
        return bandwidth.in_flight_bytes / bandwidth.dram_latency_s

    @cached_property
    def shared_bytes_per_s(self) -> float:
        """Of one core's shared memory, at its nominal clock [bytes/s]."""
        return self.machine.device.path("activation")[0].bandwidth_bytes_per_s

    @cached_property
    def l2_room_bytes(self) -> float:
        """Of L2, for what is read again."""
        return self.l2.capacity_bytes

    @cached_property
    def dram_bytes_per_s(self) -> float:
        """What kernels get out of DRAM [bytes/s]."""
        name = self.machine.backing("activation")
        assert name is not None
        return self.machine.channels[name]


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """An op as the kernels that it became; times at the nominal clock [s]."""

    op: Op
    unit: str
    """``matrix`` or ``vector``."""
    freq_hz: float
    time: Callable[[float], float]
    """Its duration at a fraction of the nominal clock, launch apart [s]."""
    compute_s: float
    """What the busiest arithmetic unit needs alone."""
    l2_s: float
    """What L2 needs alone."""
    channel_bytes: Mapping[str, int]
    """Over DRAM (or the host's link), by channel, both directions."""
    counts: tuple[Count, ...]
    tiling: str
    macs: int = 0
    kernels: int = 1
    cores: int | None = None
    """That get blocks; absent: all."""


def task_of(kernel: Kernel, machine: Machine) -> Task:
    """Run a kernel at the clock that its power allows."""
    cores = machine.cores if kernel.cores is None else min(kernel.cores, machine.cores)
    # Cycles of the cores that have blocks, from the kernel's start to its end at its clock.
    cycle_pj = machine.price_pj(CORE_CYCLE)
    cycles_per_s = kernel.freq_hz * cores if cycle_pj else 0.0
    outcome = clocked(
        machine,
        machine.dynamic_pj(kernel.counts),
        lambda fraction: kernel.time(fraction) * PS_PER_S,
        cycles_per_s * cycle_pj / PS_PER_S,
    )
    counts = kernel.counts
    if cycles_per_s:
        cycles = kernel.time(outcome.fraction) * outcome.fraction * cycles_per_s
        counts = (*counts, Count(CORE_CYCLE, "-", math.floor(cycles)))
    return finished(
        kernel.op,
        machine,
        outcome,
        unit=kernel.unit,
        freq_hz=kernel.freq_hz,
        cycles=kernel.compute_s * kernel.freq_hz,
        compute_s=kernel.compute_s,
        on_chip_s=kernel.l2_s,
        channel_bytes=kernel.channel_bytes,
        counts=counts,
        tiling=kernel.tiling,
        macs=kernel.macs,
        kernels=kernel.kernels,
    )


@dataclass(frozen=True, slots=True)
class Moved:
    """Bytes of an operand that cross between L2 and beyond; ``channel`` None where it is in L2."""

    operand: str
    channel: str | None
    read_bytes: int = 0
    written_bytes: int = 0


def operand_name(tensor: Tensor) -> str:
    """How energy by operand calls it."""
    return "weight" if tensor.role == "weight" else "input"


def beyond(op: Op, placement: Placement) -> list[Moved]:
    """Every operand once from and to where the placement says it is."""
    moved = [
        Moved(operand_name(tensor), channel, read_bytes=op.bytes_read(tensor))
        for tensor, channel in zip(op.inputs, placement.sources, strict=True)
    ]
    return [*moved, *(Moved("output", placement.sink, written_bytes=t.bytes) for t in op.outputs)]


def channel_bytes(moved: Iterable[Moved]) -> dict[str, int]:
    """Bytes over each channel, both directions."""
    total: dict[str, int] = {}
    for one in moved:
        if one.channel is not None:
            total[one.channel] = total.get(one.channel, 0) + one.read_bytes + one.written_bytes
    return total


def crossing_counts(moved: Iterable[Moved], machine: Machine) -> list[Count]:
    """Actions of what crosses: DRAM (or link) on one side, L2 on the other."""
    memory = machine.buffer("activation")
    counts: list[Count] = []
    for one in moved:
        if one.channel is None:
            continue
        counts += machine.count(one.channel, one.operand, one.read_bytes, one.written_bytes)
        if memory is not None:
            counts.append(Count(f"{memory.name}.write", one.operand, one.read_bytes))
            counts.append(Count(f"{memory.name}.read", one.operand, one.written_bytes))
    return counts
