"""Loops that stream: elementwise functions, reductions, norms, softmax, copies."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from accelsim.base.dtypes import bits
from accelsim.mapping.cpu.core import Array, Cpu, Loop, Phase, function_cycles, role_name, task_of
from accelsim.mapping.cpu.gemm import PARTS
from accelsim.mapping.machine import Machine
from accelsim.mapping.task import Placement, Task
from accelsim.mapping.vector import elementary_counts
from accelsim.trace import Count
from accelsim.workload.ops import Op, Reduction, Tensor


@dataclass(frozen=True, slots=True)
class _Flow:
    """Bytes of all threads, both directions, and the level that they come from or go to, by number of threads."""

    operand: str
    read: int
    written: int
    level: Array
    channel: str | None


@dataclass(frozen=True)
class _Stream:
    """An op whose operands stream through the lanes; arrays are over numbers of threads."""

    op: Op
    cpu: Cpu
    placement: Placement

    @cached_property
    def threads(self) -> Array:
        return np.array([part for part in PARTS if part <= self.cpu.machine.cores], dtype=np.float64)

    @cached_property
    def clock_hz(self) -> Array:
        return self.cpu.clock_hz("stream", self.threads, self.cpu.nominal_hz)

    @cached_property
    def touched(self) -> int:
        fresh = sum(t.bytes for t in self.op.outputs if not self._in_place(t))
        return sum(self.op.bytes_read(t) for t in self.op.inputs) + fresh

    def _in_place(self, result: Tensor) -> bool:
        """Whether a result is written over an input, whose lines are there by then."""
        return any(result.name == tensor.name for tensor in self.op.inputs)

    @cached_property
    def on_chip(self) -> Array:
        """The nearest level that holds what a thread touches."""
        return self.cpu.level_of(self.touched / self.threads, np.full_like(self.threads, self.touched))

    def _level(self, channel: str | None) -> Array:
        return self.on_chip if channel is None else np.full_like(self.on_chip, self.cpu.beyond)

    @cached_property
    def flows(self) -> list[_Flow]:
        """Operands once, lines of results that are read before they are written, and rows that a pass comes back to."""
        op, fetch = self.op, not self.cpu.factors.whole_lines
        flows = [
            _Flow(role_name(tensor), op.bytes_read(tensor), 0, self._level(channel), channel)
            for tensor, channel in zip(op.inputs, self.placement.sources, strict=True)
        ]
        sink = self.placement.sink
        flows += [
            _Flow("output", t.bytes if fetch and not self._in_place(t) else 0, t.bytes, self._level(sink), sink)
            for t in op.outputs
        ]
        if op.passes > 1:
            read, rows = op.bytes_read(op.inputs[0]), max(1, getattr(op, "rows", 1))
            row = np.full_like(self.threads, read / rows)
            again = np.minimum(self.cpu.level_of(row, row * self.threads), self._level(self.placement.sources[0]))
            flows.append(_Flow(role_name(op.inputs[0]), read * (op.passes - 1), 0, again, None))
        return flows

    @cached_property
    def compute_s(self) -> Array:
        cycles = function_cycles(self.op, self.cpu)
        if isinstance(self.op, Reduction):
            cycles *= self.cpu.factors.vector_issue / self.cpu.factors.reduce_issue
        return cycles / self.threads / self.clock_hz

    @cached_property
    def first_s(self) -> Array:
        """Loads and stores of the first cache, side by side where it has a port for stores."""
        cache = self.cpu.caches[0]
        read = sum(flow.read if flow.operand != "output" else 0 for flow in self.flows)
        written = sum(flow.written for flow in self.flows)
        loads, stores = read / cache.bandwidth_bytes_per_s, written / cache.write_rate
        both = loads + stores if cache.write_bandwidth_bytes_per_s is None else max(loads, stores)
        return both / self.threads * self.cpu.nominal_hz / self.clock_hz

    @cached_property
    def edges(self) -> list[Array]:
        """Time of every edge, nearest first."""
        cpu, times = self.cpu, []
        for edge in range(1, cpu.beyond + 1):
            read, written = np.zeros_like(self.threads), np.zeros_like(self.threads)
            for flow in self.flows:
                read = read + flow.read / self.threads * (flow.level >= edge)
                written = written + flow.written / self.threads * (flow.level >= edge)
            if edge < cpu.beyond:
                times.append(cpu.crossing_s(edge, read, written, self.threads, self.clock_hz))
            else:
                shared = sum(n / cpu.machine.channels[channel] for channel, n in self.channel_bytes.items())
                times.append(np.maximum(read / cpu.draws(edge), shared))
        return times

    @cached_property
    def channel_bytes(self) -> dict[str, int]:
        """Bytes over each channel, both directions; the same for any number of threads."""
        total: dict[str, int] = {}
        for flow in self.flows:
            if flow.channel is not None:
                total[flow.channel] = total.get(flow.channel, 0) + flow.read + flow.written
        return total

    def best(self) -> int:
        """The place of the fastest number of threads."""
        total = self.cpu.fork_join_s(self.threads) + self.cpu.together_s([self.compute_s, self.first_s, *self.edges])
        return int(total.argmin())

    def counts(self, i: int) -> Iterator[Count]:
        """Actions: loads and stores of the first cache, and every edge a read of one memory and a write of another."""
        cpu = self.cpu
        yield from elementary_counts(self.op, self.op.dtype)
        yield Count("register", "-", 2 * self.op.elementary.total * bits(self.op.dtype))
        for flow in self.flows:
            fetched = flow.read if flow.operand != "output" else 0
            yield Count(f"{cpu.caches[0].name}.read", flow.operand, fetched)
            yield Count(f"{cpu.caches[0].name}.write", flow.operand, flow.written)
            for edge in range(1, int(flow.level[i]) + 1):
                near = cpu.caches[edge - 1].name
                yield Count(f"{near}.write", flow.operand, flow.read)
                yield Count(f"{near}.read", flow.operand, flow.written)
                if edge < cpu.beyond:
                    far = cpu.caches[edge].name
                    yield Count(f"{far}.read", flow.operand, flow.read)
                    yield Count(f"{far}.write", flow.operand, flow.written)
                elif flow.channel is not None:
                    yield from cpu.machine.count(flow.channel, flow.operand, flow.read, flow.written)


def map_stream(op: Op, machine: Machine, placement: Placement) -> Task:
    """Map an op whose operands stream through the lanes of as many threads as are worth starting."""
    return task_of(stream_loop(op, machine, placement), Cpu(machine))


def stream_loop(op: Op, machine: Machine, placement: Placement) -> Loop:
    """The loop of such an op."""
    cpu = Cpu(machine)
    stream = _Stream(op, cpu, placement)
    i = stream.best()
    edges = [float(edge[i]) for edge in stream.edges]
    on, off = edges[: cpu.private], edges[cpu.private :]
    threads = int(stream.threads[i])
    return Loop(
        op=op,
        unit="vector",
        freq_hz=float(stream.clock_hz[i]),
        fixed_s=float(cpu.fork_join_s(stream.threads)[i]),
        phases=(Phase((float(stream.compute_s[i]), float(stream.first_s[i]), *on), tuple(off)),),
        compute_s=float(stream.compute_s[i]),
        cache_s=max([float(stream.first_s[i]), *edges[:-1]]),
        channel_bytes=stream.channel_bytes,
        counts=tuple(stream.counts(i)),
        tiling=f"{threads} thread{'s' if threads != 1 else ''}, {math.ceil(op.passes)} passes",
    )
