"""All folds together: a run becomes a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from accelsim.analysis import energy
from accelsim.analysis.result import OpResult, Result
from accelsim.analysis.roofline import naive_roofline_s, roofline_s, unavoidable_bytes
from accelsim.base.units import PS_PER_S, s_from_ps
from accelsim.hardware.device import Device
from accelsim.hardware.energy import EnergyTable
from accelsim.mapping import Machine
from accelsim.schedule import Lane
from accelsim.trace import Span, Trace
from accelsim.workload.graph import Graph


@dataclass(frozen=True, kw_only=True)
class Run:
    """What ran, on what, and what happened."""

    machine: Machine
    table: EnergyTable
    """What its actions are priced with."""
    host: Machine | None
    graph: Graph
    """The whole step's workload, in the format that it ran in, before anything was fused."""
    lanes: Sequence[Lane]
    cores: int
    steps: int
    dtype: str
    trace: Trace

    @property
    def device(self) -> Device:
        """The device, its host apart."""
        return self.machine.device

    @property
    def hosts(self) -> dict[str, tuple[Device, EnergyTable]]:
        """The host and its prices, by name."""
        return {self.host.device.name: (self.host.device, self.host.energy)} if self.host else {}

    @property
    def first_step(self) -> list[Span]:
        """Spans of the first step."""
        return [span for span in self.trace.spans if span.step == 0]


def summarize(run: Run, **said: Any) -> Result:
    """Fold a run into a result; ``said`` are the fields that tell how it was asked for."""
    own = energy.of_device(run.trace.spans, run.device)
    total_s = s_from_ps(run.trace.end_ps)
    parts = _per_step(energy.breakdown_j(own, run.device, run.table), run.steps)
    parts["static"] = run.device.power.static_w * total_s / run.steps
    energy_j = sum(parts.values())
    latency_s, throughput = times(run.trace, run.graph.batch, run.steps)
    memories = {
        name: {what: size // run.steps for what, size in both.items()}
        for name, both in energy.memory_bytes(own, [m.name for m in run.device.memory]).items()
    }
    dram = run.device.dram
    peak = run.device.peak_macs_per_s(run.dtype, run.cores)
    return Result(
        batch=run.graph.batch,
        precision=run.dtype,
        clock_hz=_mean_clock_hz(own, (run.device.core.matrix or run.device.core.vector).freq_hz),
        cores=run.cores,
        steps=run.steps,
        energy_table=run.table.name,
        latency_s=latency_s,
        throughput_items_per_s=throughput,
        roofline_latency_s=roofline_s(
            run.first_step,
            run.device,
            cores=run.cores,
            unavoidable_bytes=unavoidable_bytes(run.first_step, run.lanes, run.machine),
            host=(run.host.device, run.host.cores) if run.host else None,
        ),
        naive_roofline_latency_s=naive_roofline_s(run.graph, run.device, dtype=run.dtype, cores=run.cores),
        energy_j=energy_j,
        energy_per_item_j=energy_j / run.graph.batch,
        average_power_w=energy_j * run.steps / total_s,
        host_energy_j=energy.hosts_energy_j(run.trace.spans, run.hosts) / run.steps,
        macs=sum(span.macs for span in run.trace.spans) // run.steps,
        dram_bytes=sum(memories[dram.name].values()) if dram else 0,
        mac_utilization=sum(span.macs for span in own) / (peak * total_s),
        energy_breakdown_j=parts,
        energy_by_operand_j=_per_step(energy.by_operand_j(own, run.device, run.table), run.steps),
        bytes_by_memory=memories,
        ops=tuple(_op(span, run) for span in run.first_step),
        peak_macs_per_s=peak,
        dram_bandwidth_bytes_per_s=dram.bandwidth_bytes_per_s if dram else 0.0,
        tdp_w=run.device.power.tdp_w,
        trace=run.trace,
        **said,
    )


def times(trace: Trace, batch: int, steps: int) -> tuple[float, float]:
    """Latency of the first step [s], and items a second in the steady state.

    That is over the steps between the first third, while a pipeline fills, and the last one, while it drains and the
    stages that still work have the memory to themselves.
    """
    ends = [0] * steps
    for span in trace.spans:
        ends[span.step] = max(ends[span.step], span.end_ps)
    latency_s = s_from_ps(ends[0])
    if steps == 1:
        return latency_s, batch / latency_s
    third = steps // 3
    first, last = (third, steps - 1 - third) if steps >= 6 else (0, steps - 1)
    return latency_s, batch * (last - first) / s_from_ps(ends[last] - ends[first])


def _per_step(total: Mapping[str, float], steps: int) -> dict[str, float]:
    return {name: value / steps for name, value in total.items()}


def _mean_clock_hz(spans: Sequence[Span], nominal_hz: float) -> float:
    """Weighted by multiply-accumulates; the nominal clock where the device computed nothing."""
    macs = sum(span.macs for span in spans)
    if not macs:
        return max((span.clock_hz for span in spans), default=0.0) or nominal_hz
    return sum(span.macs * span.clock_hz for span in spans) / macs


def _op(span: Span, run: Run) -> OpResult:
    hosted = span.device in run.hosts
    device, table = run.hosts.get(span.device, (run.device, run.table))
    dram = device.dram.name if device.dram and not hosted else ""
    moved = {what: sum(c.amount for c in span.counts if c.action == f"{dram}.{what}") for what in ("read", "write")}
    cycles = round(span.duration_ps * span.clock_hz / PS_PER_S)
    return OpResult(
        name=span.op,
        kind=span.kind,
        device=span.device,
        core=span.resource,
        dtype=span.dtype,
        macs=span.macs,
        start_s=s_from_ps(span.start_ps),
        end_s=s_from_ps(span.end_ps),
        compute_cycles=span.compute_cycles,
        stall_cycles=max(0, cycles - span.compute_cycles),
        clock_hz=span.clock_hz,
        bound="host" if hosted else span.bound,
        dram_read_bytes=moved["read"],
        dram_write_bytes=moved["write"],
        energy_j=energy.span_energy_j(span, device, table),
    )
