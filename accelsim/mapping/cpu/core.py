"""A machine as loops of SIMD instructions see it: clocks, caches, and what crosses between them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from accelsim.base.dtypes import DTYPES, bits
from accelsim.base.errors import MappingError
from accelsim.base.units import PS_PER_S
from accelsim.hardware.cpu import CpuExecution, CpuFactors, Licence
from accelsim.hardware.device import Memory
from accelsim.mapping.finish import finished
from accelsim.mapping.machine import Machine
from accelsim.mapping.power import clocked
from accelsim.mapping.task import Placement, Task
from accelsim.trace import Count
from accelsim.workload.ops import Conv2d, Matmul, Norm, Op, Tensor

Array = npt.NDArray[np.float64]
Number = TypeVar("Number", float, Array)
"""One value, or one for each plan."""

BLOCK_SHARE = 0.5
"""Of a cache, for the block that stays; the rest is for what streams past (ASSUMED; BLIS leaves it a few ways)."""
KEPT_SHARE = 0.75
"""Of a cache, that keeps what a loop comes back to when it has gone through all of it: least recently used lines of a
full cache are those that are wanted next (ASSUMED)."""


@dataclass(frozen=True)
class Cpu:
    """A machine as its threads see it, one on a core.

    Levels count from 0, the first cache, to ``len(caches)``, what lies beyond them. Edge ``j`` (from 1) is where bytes
    of level ``j`` come to level ``j - 1``.
    """

    machine: Machine

    @cached_property
    def factors(self) -> CpuFactors:
        """The family's."""
        factors = self.machine.device.factors
        assert isinstance(factors, CpuFactors)
        return factors

    @cached_property
    def execution(self) -> CpuExecution:
        """How its cores run loops."""
        execution = self.machine.device.core.execution
        assert isinstance(execution, CpuExecution)
        return execution

    @cached_property
    def caches(self) -> tuple[Memory, ...]:
        """Nearest first."""
        return tuple(self.machine.sram.values())

    @property
    def beyond(self) -> int:
        """The level behind the last cache."""
        return len(self.caches)

    @cached_property
    def private(self) -> int:
        """The last cache of a core's own."""
        return max(i for i, cache in enumerate(self.caches) if cache.scope == "core")

    @cached_property
    def last(self) -> int:
        """The last cache."""
        return self.beyond - 1

    @property
    def shared(self) -> Memory | None:
        """The last cache, where the cores share it."""
        return self.caches[-1] if self.caches[-1].scope == "device" else None

    @property
    def nominal_hz(self) -> float:
        """The clock at which its caches have the bandwidths that its file says."""
        return self.machine.device.core.vector.freq_hz

    def clock_hz(self, licence: Licence, threads: Array, nominal_hz: float) -> Array:
        """Clock of each number of threads [Hz]."""
        clock = np.full_like(threads, nominal_hz)
        steps = self.execution.clocks(licence)
        for cores, hz in reversed(steps):
            clock = np.where((threads <= cores) | (cores == steps[-1][0]), hz, clock)
        return clock

    def level_of(self, of_core: Number, of_all: Number) -> Number:
        """The nearest cache that holds so many bytes of each core, of all together; the last where none does."""
        level = of_core * 0 + self.last
        for i in range(self.last - 1, -1, -1):
            fits = (of_core if self.caches[i].scope == "core" else of_all) <= self.caches[i].capacity_bytes * KEPT_SHARE
            level = np.where(fits, i, level) if isinstance(level, np.ndarray) else i if fits else level
        return level

    def draws(self, level: int) -> float:
        """What one core gets out of a level that it shares [bytes/s]."""
        if level < self.beyond:
            memory: Memory | None = self.caches[level]
        else:
            memory = self.machine.device.dram
        lines, port = self.execution.outstanding_lines, self.execution.port_bytes_per_cycle
        passes = math.inf if port is None else port * self.nominal_hz * self.factors.cache
        if memory is None or lines is None or not memory.latency_s:
            return passes
        return min(passes, lines * self.execution.line_bytes / memory.latency_s)

    def crossing_s(self, level: int, read: Number, written: Number, threads: Array, clock_hz: Array) -> Array:
        """Time that a thread's bytes take between a cache and the one before it [s]; ``threads`` move as many each.

        A cache with a write port of its own takes what is written while it gives what is read. A core waits only for
        what it reads from a cache that it shares.
        """
        memory = self.caches[level]
        rate = memory.bandwidth_bytes_per_s * self.factors.cache
        if memory.write_bandwidth_bytes_per_s is None:
            busy_s = (read + written) / rate
        else:
            busy_s = largest(read / rate, written / (memory.write_bandwidth_bytes_per_s * self.factors.cache))
        if memory.scope == "core":
            return np.asarray(busy_s * self.nominal_hz / clock_hz)
        return np.maximum(read / self.draws(level), busy_s * threads)

    def together_s(self, times: Sequence[Number]) -> Number:
        """Time of work and transfers that hide each other as well as they do here."""
        longest = times[0]
        for time in times[1:]:
            longest = largest(longest, time)
        p = self.factors.overlap
        some = np.maximum(longest, 1e-30) if isinstance(longest, np.ndarray) else max(longest, 1e-30)
        total = sum((time / some) ** p for time in times)
        return some * total ** (1 / p)  # type: ignore[no-any-return]

    def fork_join_s(self, threads: Array) -> Array:
        """Starting and joining threads."""
        return np.log2(threads) * self.factors.fork_join_s


_DIVIDER = frozenset({"div", "sqrt", "reciprocal"})
"""Functions that the divider computes; others are polynomials in the lanes."""


def function_cycles(op: Op, cpu: Cpu, dtype: str | None = None) -> float:
    """Cycles of an op's elementary operations on one core (its epilogue's, of a product), in its format or another.

    Raises MappingError where the lanes have no format that is wide enough.
    """
    vector, factors, work = cpu.machine.device.core.vector, cpu.factors, op.elementary
    dtype = dtype or op.dtype
    if work.add + work.mul and not vector.rate(dtype):
        raise MappingError(f"op {op.name}: the vector unit computes nothing in {dtype}")
    divided = isinstance(op, Norm) or (bool(op.functions) and op.functions <= _DIVIDER)
    issue = factors.vector_issue * (1.0 if divided else factors.functions)
    plain = (work.add + work.mul) / (vector.rate(dtype) * factors.vector_issue) if work.add + work.mul else 0.0
    special = work.special / (vector.special_per_cycle * issue)
    return max(plain, special) if vector.special_beside else plain + special


RESCALED = 5
"""Operations on a sum of integers that becomes a result of 8 bits: to a float, scale and bias at once, back, and two to
narrow it with saturation (oneDNN's int8 products; Intel's fused ResNet-50 of MLPerf v3.0: cast_mul_add_relu_cast)."""
WIDENED = 2
"""On a further operand of 8 bits before it can be added: to 32 bits, to a float."""


def finish_cycles(op: Matmul | Conv2d, cpu: Cpu) -> float:
    """Cycles of one core from sums to results: narrowing and the epilogue, in as many bits as integer sums have."""
    sums = DTYPES[op.dtype].accumulator
    if DTYPES[op.dtype].kind != "int" or bits(sums) <= bits(op.outputs[0].dtype):
        narrowed = op.outputs[0].elements if bits(sums) > bits(op.outputs[0].dtype) else 0
        return (function_cycles(op, cpu) if op.epilogue else 0.0) + _plain_cycles(narrowed, sums, cpu)
    further = sum(tensor.elements for tensor in op.inputs[2:])
    own = _plain_cycles(RESCALED * op.outputs[0].elements + WIDENED * further, sums, cpu)
    return own + (function_cycles(op, cpu, sums) if op.epilogue else 0.0)


def _plain_cycles(operations: int, dtype: str, cpu: Cpu) -> float:
    rate = cpu.machine.device.core.vector.rate(dtype) * cpu.factors.vector_issue
    return operations / rate if operations else 0.0


def largest(one: Number, other: Number) -> Number:
    """The larger of two, or of each pair."""
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.maximum(one, other)
    return max(one, other)


def role_name(tensor: Tensor) -> str:
    """How energy by operand calls it."""
    return "weight" if tensor.role == "weight" else "input"


def channels_of(op: Op, placement: Placement) -> Iterator[tuple[Tensor, str | None, int]]:
    """Inputs, with where they come from and the bytes that are looked at."""
    for tensor, channel in zip(op.inputs, placement.sources, strict=True):
        yield tensor, channel, op.bytes_read(tensor)


@dataclass(frozen=True, slots=True)
class Phase:
    """Work and transfers at one time; times at the clock that the licence allows [s]."""

    on_core_s: tuple[float, ...]
    """What follows the cores' clock."""
    off_core_s: tuple[float, ...]
    """What does not: shared caches, DRAM, the host's link."""

    def time_s(self, cpu: Cpu, fraction: float) -> float:
        """Its time at a fraction of that clock."""
        return cpu.together_s([*(time / fraction for time in self.on_core_s), *self.off_core_s])


@dataclass(frozen=True, kw_only=True)
class Loop:
    """An op as the loops that it became."""

    op: Op
    unit: str
    """``matrix`` or ``vector``."""
    freq_hz: float
    """The clock that its licence and its threads allow."""
    fixed_s: float
    """Starting and joining threads."""
    phases: tuple[Phase, ...]
    compute_s: float
    """What the arithmetic of the busiest core needs alone."""
    cache_s: float
    """What the busiest edge between caches needs alone."""
    channel_bytes: Mapping[str, int]
    counts: tuple[Count, ...]
    tiling: str
    macs: int = 0


def task_of(loop: Loop, cpu: Cpu) -> Task:
    """Run loops at the clock that their power allows."""
    machine = cpu.machine
    energy_pj = machine.dynamic_pj(loop.counts)

    def time_ps(fraction: float) -> float:
        return (loop.fixed_s + sum(phase.time_s(cpu, fraction) for phase in loop.phases)) * PS_PER_S

    return finished(
        loop.op,
        machine,
        clocked(machine, energy_pj, time_ps),
        unit=loop.unit,
        freq_hz=loop.freq_hz,
        cycles=loop.compute_s * loop.freq_hz,
        compute_s=loop.compute_s,
        on_chip_s=loop.cache_s,
        channel_bytes=loop.channel_bytes,
        counts=loop.counts,
        tiling=loop.tiling,
        macs=loop.macs,
    )
