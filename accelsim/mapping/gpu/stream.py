"""Kernels that stream: elementwise functions, reductions, norms, softmax, copies, gathers.

A kernel moves its operands at the rate of DRAM or of L2, whichever it needs. One that works on rows gives each row to a
block of threads (or a warp), which loads a vector a thread at a time, one load after another, and goes through the row
as often as the op has passes; what it comes back to is in the core's first cache, if the rows of all blocks that run
side by side leave room, and else comes from where it came from. So short rows and few rows are bound by latency, not by
bandwidth. The shapes of blocks are those of PyTorch 2.1 (``SoftMax.cu``, ``PersistentSoftmax.cuh``,
``layer_norm_kernel.cu``) and, for root-mean-square norms and gated activations, of vLLM (``layernorm_kernels.cu``,
``activation_kernels.cu``), which serving frameworks share.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import singledispatch

from accelsim.base.dtypes import bits
from accelsim.base.units import ceil_div
from accelsim.hardware.device import GpuExecution
from accelsim.mapping.gpu.kernel import (
    VECTOR_BYTES,
    Gpu,
    Kernel,
    Moved,
    beyond,
    channel_bytes,
    crossing_counts,
    operand_name,
    task_of,
)
from accelsim.mapping.machine import STEADY, Machine, Run
from accelsim.mapping.task import Placement, Task
from accelsim.mapping.vector import elementary_counts, vector_cycles
from accelsim.trace import Count
from accelsim.workload.ops import Elementwise, Norm, Op, Softmax

WARP_COLS = 1024
"""Longest row that PyTorch gives to a warp, which keeps it in registers."""
MOST_THREADS = 1024
"""Of a block."""
NORM_REGISTERS = 48
"""Of a thread of PyTorch's layer norm (ASSUMED)."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows as blocks of threads work on them."""

    count: int
    threads: int
    """That share a row."""
    steps: float
    """Loads and stores of a thread, one after another, of a whole row; one of four elements is the unit."""
    registers: int = 32
    """Of a thread."""
    row_bytes: int = 0
    """Read again by later passes."""
    again: int = 0
    """Such passes."""
    reductions: int = 0
    """Across the threads of a row."""
    loads: float | None = None
    """Of ``steps``, where loads are of more than four elements: so many times a thread waits."""
    missed: bool = False
    """The passes are kernels of their own: nothing is kept between them."""


@singledispatch
def rows_of(op: Op, run: Run = STEADY) -> Rows | None:
    """How an op works on rows; None for one that takes its elements as they lie."""
    return None


@rows_of.register
def _(op: Softmax, run: Run = STEADY) -> Rows:
    """A warp for a short row, kept in registers; a block for a long one, with a power of two of threads, three passes.

    What is left over from whole rounds of vectors is loaded element by element.
    """
    size = bits(op.dtype) // 8 or 1
    if op.cols <= WARP_COLS and op.cols * size <= 4 * WARP_COLS:
        padded = 1 << (op.cols - 1).bit_length()
        return Rows(op.rows, 32, 2 * max(1.0, padded / 32 / 4), reductions=2)
    vector = max(1, VECTOR_BYTES // size)
    threads = 1 << max(5, (max(1, min(op.cols // vector, MOST_THREADS) // 2) - 1).bit_length())
    rounds, rest = divmod(op.cols, vector * threads)
    single, times = ceil_div(rest, threads), op.passes + 1
    return Rows(
        op.rows,
        threads,
        steps=times * (rounds * max(1.0, vector / 4) + single),
        row_bytes=op.cols * size,
        again=op.passes - 1,
        reductions=2,
        loads=times * (rounds + single),
    )


@rows_of.register
def _(op: Norm, run: Run = STEADY) -> Rows:
    """Layer norm: vectors of four where they are aligned, else two kernels; root-mean-square norm: single elements.

    What has a scale and no shift is taken for a root-mean-square norm.
    """
    size = bits(op.dtype) // 8 or 1
    row_bytes, again = op.cols * size, op.passes - 1
    if op.rms:
        threads = min(MOST_THREADS, 32 * ceil_div(op.cols, 32))
        steps = op.passes * ceil_div(op.cols, threads)
        return Rows(op.rows, threads, steps, row_bytes=row_bytes, again=again, reductions=1)
    aligned = op.cols % 4 == 0
    steps = (op.passes + 1) * ceil_div(op.cols, 4 * run.norm_threads)
    return Rows(op.rows, run.norm_threads, steps, NORM_REGISTERS, row_bytes, again, 1, missed=not aligned)


@rows_of.register
def _(op: Elementwise, run: Run = STEADY) -> Rows | None:
    """A gated activation: a block a row, single elements."""
    if op.function != "silu" or not op.epilogue:
        return None
    cols = op.outputs[0].shape[-1]
    threads = min(MOST_THREADS, 32 * ceil_div(cols, 32))
    return Rows(ceil_div(op.outputs[0].elements, cols), threads, 2 * ceil_div(cols, threads))


def blocks_per_core(rows: Rows, execution: GpuExecution) -> int:
    """Blocks that run on one core side by side."""
    by_threads = execution.max_warps * execution.warp_threads // rows.threads
    by_registers = execution.registers // (rows.threads * rows.registers)
    blocks = execution.max_blocks if rows.threads > 32 else execution.max_blocks * 4
    return max(1, min(by_threads, by_registers, blocks))


@dataclass(frozen=True)
class _Stream:
    """A streaming op on a GPU; times at the nominal clock [s]."""

    gpu: Gpu
    op: Op
    placement: Placement

    @property
    def rows(self) -> Rows | None:
        return rows_of(self.op, self.gpu.machine.run)

    @property
    def execution(self) -> GpuExecution:
        execution = self.gpu.machine.device.core.execution
        assert isinstance(execution, GpuExecution)
        return execution

    def missed(self) -> float:
        """Share of what later passes read that the first cache no longer has."""
        rows, factors = self.rows, self.gpu.factors.stream
        if rows is None or not rows.again:
            return 0.0
        if rows.missed:
            return 1.0
        live = blocks_per_core(rows, self.execution) * rows.row_bytes
        share = live / self.gpu.machine.device.path("activation")[0].capacity_bytes
        return min(1.0, max(0.0, (share - factors.rows_kept) / factors.rows_fade))

    def again_bytes(self) -> int:
        """Of the first input, read again beyond the first cache."""
        rows = self.rows
        return 0 if rows is None else math.ceil(self.op.bytes_read(self.op.inputs[0]) * rows.again * self.missed())

    def latency_s(self) -> float:
        """Of the rows that one core's blocks take one after another."""
        rows, factors = self.rows, self.gpu.factors.stream
        if rows is None:
            return 0.0
        cores, blocks = self.gpu.machine.cores, blocks_per_core(rows, self.execution)
        turns = ceil_div(rows.count, cores * blocks)
        threads = min(blocks, ceil_div(rows.count, cores)) * rows.threads
        full = threads / (self.execution.max_warps * self.execution.warp_threads)
        loads = rows.steps if rows.loads is None else rows.loads
        cycles = rows.reductions * factors.reduction_cycles + max(
            loads * factors.latency_cycles, rows.steps * full * factors.step_cycles
        )
        return turns * cycles / self.gpu.machine.device.core.vector.freq_hz

    def lanes_s(self) -> float:
        """Of the arithmetic; a power is a long routine."""
        machine = self.gpu.machine
        vector = machine.device.core.vector
        cycles = vector_cycles(self.op, vector, self.op.dtype, machine.cores)
        if isinstance(self.op, Elementwise) and self.op.function == "pow":
            work = self.op.outputs[0].elements * self.gpu.factors.stream.power_ops
            cycles = max(cycles, work / (vector.rate("fp32") or vector.rate(self.op.dtype)) / machine.cores)
        return cycles / vector.freq_hz


def _moved(stream: _Stream) -> Iterator[Moved]:
    """Operands once, and the first input again as far as passes miss it."""
    for i, one in enumerate(beyond(stream.op, stream.placement)):
        again = stream.again_bytes() if i == 0 and stream.op.inputs else 0
        yield Moved(one.operand, one.channel, one.read_bytes + again, one.written_bytes)


def map_stream(op: Op, machine: Machine, placement: Placement) -> Task:
    """Map an op whose operands stream through the lanes."""
    gpu = Gpu(machine)
    factors = gpu.factors.stream
    stream = _Stream(gpu, op, placement)
    moved = list(_moved(stream))
    channels = channel_bytes(moved)
    again = stream.again_bytes()
    touched = sum(op.bytes_read(t) for t in op.inputs) + sum(t.bytes for t in op.outputs) + again
    l2_s = touched / (gpu.l2.bandwidth_bytes_per_s * factors.l2)
    dram_s = sum(size / _rate(name, gpu) for name, size in channels.items())
    latency_s, lanes_s = stream.latency_s(), stream.lanes_s()

    def time(fraction: float) -> float:
        bytes_s = max(dram_s, l2_s / fraction, lanes_s / fraction)
        # What both take part in adds up as squares: neither hides the other near where they are alike (ASSUMED).
        return factors.kernel_s + math.hypot(bytes_s, latency_s / fraction)

    l2, near = gpu.l2.name, machine.device.path("activation")[0].name
    rows = stream.rows
    kept = 0 if rows is None else rows.again * op.bytes_read(op.inputs[0]) - again
    counts = [
        *elementary_counts(op, op.dtype),
        Count("register", "-", 2 * op.elementary.total * bits(op.dtype)),
        Count(f"{near}.read", "input", kept),
        *(
            Count(f"{l2}.read", operand_name(t), op.bytes_read(t) + (again if i == 0 else 0))
            for i, t in enumerate(op.inputs)
        ),
        *(Count(f"{l2}.write", "output", t.bytes) for t in op.outputs),
        *crossing_counts(moved, machine),
    ]
    return task_of(
        Kernel(
            op=op,
            unit="vector",
            freq_hz=machine.device.core.vector.freq_hz,
            time=time,
            compute_s=max(lanes_s, latency_s),
            l2_s=l2_s,
            channel_bytes=channels,
            counts=tuple(counts),
            tiling=_describe(stream),
        ),
        machine,
    )


def _rate(channel: str, gpu: Gpu) -> float:
    """What a stream gets out of a channel [bytes/s]."""
    dram = gpu.machine.device.dram
    if dram is not None and gpu.machine.is_dram(channel):
        return dram.bandwidth_bytes_per_s * gpu.factors.stream.dram
    return gpu.machine.channels[channel]


def _describe(stream: _Stream) -> str:
    rows = stream.rows
    if rows is None:
        return "one pass"
    passes = f", {rows.again + 1} passes, {stream.missed():.0%} missed" if rows.again else ""
    return f"{rows.count} rows of {rows.threads} threads{passes}"
