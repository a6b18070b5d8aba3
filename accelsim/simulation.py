"""The whole path in one page: device and workload -> lanes -> program -> trace -> result."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from accelsim.analysis import energy as energy_of
from accelsim.analysis import roofline
from accelsim.analysis.result import OpResult, Result
from accelsim.base.dtypes import DTYPES
from accelsim.base.errors import MappingError, WorkloadError, nearest
from accelsim.base.units import PS_PER_S, s_from_ps
from accelsim.engine import run
from accelsim.hardware.device import Device
from accelsim.hardware.energy import EnergyTable, energy_table_of, load_energy_table
from accelsim.hardware.loader import device_sha256, load_device
from accelsim.mapping import Machine
from accelsim.schedule import Lane, Site, plan_lane, program, runs_on, shares, stages
from accelsim.trace import Span, Trace
from accelsim.workload.graph import Graph
from accelsim.workload.library import load_workload
from accelsim.workload.transforms import fold_batch_norm, fuse_epilogues, set_precision

Parallel = Literal["data", "pipeline"]
Workload = str | os.PathLike[str] | Graph | Callable[[int], Graph]


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to run: everything of a simulation but device and workload."""

    batch: int | None = None
    precision: str | None = None
    cores: int | None = None
    parallel: Parallel | None = None
    steps: int | None = None
    start: Literal["warm", "cold"] = "warm"
    host: bool = False
    """Inputs come from the host and outputs go there."""
    energy_table: str | None = None
    seed: int = 0


def simulate(
    device: str | os.PathLike[str] | Device,
    workload: Workload,
    *,
    overrides: Mapping[str, Any] | None = None,
    params: Mapping[str, int] | None = None,
    options: Options | None = None,
    **kwargs: Any,
) -> Result:
    """Run a workload on a device and say how long it takes and what it costs.

    ``device`` is a shipped name, a path or a ``Device``; ``workload`` a shipped name, a path, a ``Graph``, or a
    function from a batch size to one. Keyword arguments are the fields of ``Options``. Raises InputError for what
    cannot be.
    """
    options = options or Options(**kwargs)
    chosen = device if isinstance(device, Device) else load_device(device, overrides or {})
    dtype, warnings = precision_for(chosen, options.precision)
    build = _builder(workload, params or {})
    whole = build(options.batch)
    cores, lane_count = _cores(chosen, options, whole.batch)
    table = load_energy_table(options.energy_table) if options.energy_table else energy_table_of(chosen)
    site = _site(chosen, table, cores, lane_count, whole, options)

    lanes = _lanes(site, whole, build, dtype, chosen, options, lane_count)
    pipeline = options.parallel == "pipeline"
    steps = options.steps or (4 * lane_count if pipeline else 1)
    plan = program(lanes, site, steps=steps, cold=options.start == "cold", pipeline=pipeline)
    trace = run(plan)
    job = _Outcome(chosen, table, site, lanes, trace, whole, dtype, cores * lane_count, steps, options)
    return job.result(
        overrides=dict(overrides or {}),
        params=whole.params,
        warnings=(*warnings, *whole.notes, *_warnings(chosen, site, lanes)),
    )


def precision_for(device: Device, asked: str | None) -> tuple[str, list[str]]:
    """The format to compute in, and what to say of it. Raises MappingError for one that the device lacks."""
    dtype = asked or device.default_dtype
    if dtype not in DTYPES:
        raise MappingError(
            f"precision {dtype!r}: unknown{nearest(dtype, DTYPES)}; want one of {', '.join(device.dtypes)}"
        )
    if device.computes(dtype):
        return dtype, []
    if dtype in device.autocast:
        instead = device.autocast[dtype]
        return instead, [f"{dtype} is cast to {instead}: {device.name} does not multiply in {dtype}"]
    raise MappingError(f"{device.name} does not multiply in {dtype}; want one of {', '.join(device.dtypes)}")


def _builder(workload: Workload, params: Mapping[str, int]) -> Callable[[int | None], Graph]:
    if isinstance(workload, Graph):
        graph = workload

        def same(batch: int | None) -> Graph:
            if batch not in (None, graph.batch):
                raise WorkloadError(
                    f"{graph.name}: this graph is built for batch {graph.batch}, not {batch}; "
                    "give a name, a path or a function from a batch to a graph"
                )
            return graph

        return same
    if callable(workload):
        function = workload
        return lambda batch: function(batch or 1)
    name = os.fspath(workload)
    return lambda batch: load_workload(name, batch=batch, params=params)


def _cores(device: Device, options: Options, batch: int) -> tuple[int, int]:
    """Cores to a lane, and lanes. Raises MappingError for numbers that cannot be."""
    have, asked = device.core.count, options.cores
    if asked is not None and not 1 <= asked <= have:
        raise MappingError(f"cores: got {asked}; {device.name} has 1 to {have}")
    if options.parallel is None:
        if not device.core.gang and (asked or 1) > 1:
            raise MappingError(
                f"cores: an op runs on one core of {device.name}; to use {asked}, say how: "
                "--parallel data (a replica on each) or --parallel pipeline (a stage on each)"
            )
        return (asked or have if device.core.gang else 1), 1
    lanes = asked or have
    if options.parallel == "data" and batch < lanes:
        raise MappingError(
            f"batch {batch} cannot be split over {lanes} replicas; want --batch {lanes} or more, or fewer --cores"
        )
    return 1, lanes


def _site(device: Device, table: EnergyTable, cores: int, lanes: int, graph: Graph, options: Options) -> Site:
    """What the lanes are planned for: the device with its share of power, and its host."""
    power, host = device.power, None
    budget = None
    if power.tdp_w is not None:
        link_w = (
            device.host.link.bandwidth_bytes_per_s * 8 * device.host.link.energy_pj_per_bit / PS_PER_S
            if device.host
            else 0
        )
        budget = max(power.tdp_w - power.static_w - link_w, 0.01 * (power.tdp_w - power.static_w)) / lanes
    if device.host is not None:
        other = load_device(device.host.device)
        host_power = None if other.power.tdp_w is None else other.power.tdp_w - other.power.static_w
        host = Machine(other, energy_table_of(other), other.core.count, host_power, prefix="host.")
    if options.start == "cold" and device.host is None:
        raise MappingError(f"start cold: {device.name} has no host to load weights from; want --start warm")
    if options.host and device.host is None:
        raise MappingError(f"host: {device.name} has no host link; want a run without --host")
    machine = Machine(device, table, cores, budget)
    on_host = frozenset(t.name for t in graph.inputs) if options.host else frozenset()
    to_host = frozenset(t.name for t in graph.outputs) if options.host else frozenset()
    return Site(machine, host, on_host=on_host, to_host=to_host)


def _prepared(graph: Graph, dtype: str, device: Device) -> Graph:
    """The graph as the device's compiler sees it: in its format, batch norms folded, epilogues fused."""
    graph = fold_batch_norm(set_precision(graph, dtype))
    if not device.fuses_epilogue:
        return graph
    return fuse_epilogues(graph, functions=device.limits.functions if device.limits else None)


def _lanes(
    site: Site,
    whole: Graph,
    build: Callable[[int | None], Graph],
    dtype: str,
    device: Device,
    options: Options,
    count: int,
) -> list[Lane]:
    if options.parallel == "pipeline":
        graph = _prepared(whole, dtype, device)
        if len(graph.ops) < count:
            raise MappingError(
                f"{graph.name} has {len(graph.ops)} ops; want no more than that many stages, got {count}"
            )
        lanes = stages(graph, site, count)
    elif options.parallel == "data":
        by_share = {
            share: plan_lane(_prepared(build(share), dtype, device), site, lanes=count)
            for share in dict.fromkeys(shares(whole.batch, count))
        }
        lanes = [by_share[share] for share in shares(whole.batch, count)]
    else:
        lanes = [plan_lane(_prepared(whole, dtype, device), site)]
    _check_capacity(site, lanes)
    return lanes


def _check_capacity(site: Site, lanes: Sequence[Lane]) -> None:
    """Refuse weights that the device's memory cannot hold."""
    memory = site.machine.device.path("weight")[-1]
    wanted = sum(lane.graph.weight_bytes for lane in lanes)
    capacity = site.machine.capacity_bytes(memory)
    if wanted > capacity:
        raise MappingError(
            f"the weights take {wanted} bytes; {memory.name} of {site.machine.device.name} holds {capacity}"
        )


def _warnings(device: Device, site: Site, lanes: Sequence[Lane]) -> list[str]:
    notes = []
    if device.power.tdp_w is None:
        notes.append(f"no TDP is published for {device.name}: no power limit is applied")
    lane = lanes[0]
    fallen = [op for each in lanes for op in each.graph.ops if not runs_on(op, device)]
    if fallen and site.host is not None:
        kinds: dict[str, int] = {}
        for op in fallen:
            what = " ".join([op.kind, *sorted(op.functions)])
            kinds[what] = kinds.get(what, 0) + 1
        listed = ", ".join(f"{n} x {what}" for what, n in kinds.items())
        notes.append(
            f"{len(fallen)} ops run on the host ({site.host.device.name}), for {device.name} lacks them: {listed}"
        )
    backing = site.machine.backing("activation")
    if backing is not None and not site.machine.is_dram(backing):
        streamed = {
            t.name: t.bytes
            for op in lane.graph.ops
            if runs_on(op, device)
            for t in (*op.activations, *op.outputs)
            if t.name not in lane.plan.resident
        }
        if streamed:
            buffer = site.machine.buffer("activation")
            where = buffer.name if buffer else "the chip"
            notes.append(
                f"{len(streamed)} tensors ({sum(streamed.values()) / 1e6:.1f} MB) do not stay in {where}: "
                f"they go over {site.machine.local(backing)} to host memory"
            )
    return notes


@dataclass(frozen=True)
class _Outcome:
    """A finished run, about to be folded into a result."""

    device: Device
    table: EnergyTable
    site: Site
    lanes: Sequence[Lane]
    trace: Trace
    graph: Graph
    dtype: str
    cores: int
    steps: int
    options: Options

    def result(self, *, overrides: dict[str, Any], params: Mapping[str, int], warnings: tuple[str, ...]) -> Result:
        """All folds together."""
        own = energy_of.of_device(self.trace.spans, self.device)
        per_step = 1 / self.steps
        total_s = s_from_ps(self.trace.end_ps)
        parts = {k: v * per_step for k, v in energy_of.breakdown_j(own, self.device, self.table).items()}
        parts["static"] = self.device.power.static_w * total_s * per_step
        energy_j = sum(parts.values())
        latency_s, throughput = self._times()
        memories = energy_of.memory_bytes(own, [m.name for m in self.device.memory])
        memories = {name: {k: v // self.steps for k, v in both.items()} for name, both in memories.items()}
        dram = self.device.dram
        macs = sum(span.macs for span in self.trace.spans) // self.steps
        own_macs = sum(span.macs for span in own)
        peak = self.device.peak_macs_per_s(self.dtype, self.cores)
        hosts = {}
        if self.site.host is not None:
            hosts[self.site.host.device.name] = (self.site.host.device, self.site.host.energy)
        return Result(
            device={"name": self.device.name, "sha256": device_sha256(self.device), "overrides": overrides},
            workload={"name": self.graph.name, "sha256": _graph_sha256(self.graph), "params": dict(params)},
            batch=self.graph.batch,
            precision=self.dtype,
            fidelity="tile",
            seed=self.options.seed,
            clock_hz=self._clock_hz(own),
            start=self.options.start,
            cores=self.cores,
            parallel=self.options.parallel,
            steps=self.steps,
            energy_table=self.table.name,
            latency_s=latency_s,
            throughput_items_per_s=throughput,
            roofline_latency_s=self._roofline_s(),
            naive_roofline_latency_s=roofline.naive_roofline_s(
                set_precision(self.graph, self.dtype), self.device, dtype=self.dtype, cores=self.cores
            ),
            energy_j=energy_j,
            energy_per_item_j=energy_j / self.graph.batch,
            average_power_w=energy_j * self.steps / total_s,
            host_energy_j=energy_of.hosts_energy_j(self.trace.spans, hosts) * per_step,
            macs=macs,
            dram_bytes=sum(memories[dram.name].values()) if dram else 0,
            mac_utilization=own_macs / (peak * total_s),
            energy_breakdown_j=parts,
            energy_by_operand_j={
                k: v * per_step for k, v in energy_of.by_operand_j(own, self.device, self.table).items()
            },
            bytes_by_memory=memories,
            ops=tuple(self._op(span, hosts) for span in self.trace.spans if span.step == 0),
            warnings=warnings,
            peak_macs_per_s=peak,
            dram_bandwidth_bytes_per_s=dram.bandwidth_bytes_per_s if dram else 0.0,
            tdp_w=self.device.power.tdp_w,
            accelsim_version=_version(),
            trace=self.trace,
        )

    def _times(self) -> tuple[float, float]:
        """Latency of the first step, and items a second once the pipeline is full."""
        ends = [max(s.end_ps for s in self.trace.spans if s.step == step) for step in range(self.steps)]
        latency_s = s_from_ps(ends[0])
        if self.steps == 1:
            return latency_s, self.graph.batch / latency_s
        first = (self.steps - 1) // 2
        return latency_s, self.graph.batch * (self.steps - 1 - first) / s_from_ps(ends[-1] - ends[first])

    def _clock_hz(self, spans: Sequence[Span]) -> float:
        macs = sum(span.macs for span in spans)
        if not macs:
            return max((span.clock_hz for span in spans), default=0.0)
        return sum(span.macs * span.clock_hz for span in spans) / macs

    def _roofline_s(self) -> float:
        """Of one step: what cannot be avoided, given where things are at its start."""
        unavoidable: dict[str, int] = {}
        machine = self.site.machine
        weights, activations = machine.backing("weight"), machine.backing("activation")
        for lane in self.lanes:
            if weights is not None:
                on_device = [op for op in lane.graph.ops if runs_on(op, self.device)]
                if on_device:
                    size = roofline.weight_bytes_read(on_device, without=lane.plan.kept)
                    unavoidable[weights] = unavoidable.get(weights, 0) + size
            if activations is not None and machine.is_dram(activations):
                ends = {t.name: t.bytes for t in (*lane.graph.inputs, *lane.graph.outputs)}
                used = {
                    t.name: max(
                        op.bytes_read(t) if t in op.inputs else t.bytes
                        for op in lane.graph.ops
                        if t in (*op.inputs, *op.outputs)
                    )
                    for t in (*lane.graph.inputs, *lane.graph.outputs)
                    if any(t in (*op.inputs, *op.outputs) for op in lane.graph.ops if runs_on(op, self.device))
                }
                del ends
                unavoidable[activations] = unavoidable.get(activations, 0) + sum(used.values())
        transfers = [s for s in self.trace.spans if s.step == 0 and s.kind == "transfer"]
        for span in transfers:
            link, size = span.channel_bytes[0]
            unavoidable[link] = unavoidable.get(link, 0) + size
        host = self.site.host
        first = [span for span in self.trace.spans if span.step == 0]
        return roofline.roofline_s(
            first,
            self.device,
            cores=self.cores,
            unavoidable_bytes=unavoidable,
            host=(host.device, host.cores) if host else None,
        )

    def _op(self, span: Span, hosts: Mapping[str, tuple[Device, EnergyTable]]) -> OpResult:
        device, table = hosts.get(span.device, (self.device, self.table))
        dram = device.dram.name if device.dram else ""
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
            bound="host" if span.device in hosts else span.bound,
            dram_read_bytes=moved["read"],
            dram_write_bytes=moved["write"],
            energy_j=energy_of.span_energy_j(span, device, table),
        )


def _graph_sha256(graph: Graph) -> str:
    return hashlib.sha256(repr((graph.name, graph.batch, graph.ops)).encode()).hexdigest()


def _version() -> str:
    try:
        return version("accelsim")
    except PackageNotFoundError:
        return "0+source"
