"""The whole path in one page: device and workload -> lanes -> program -> trace -> result."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from accelsim.analysis.result import Result
from accelsim.analysis.summary import Run, summarize
from accelsim.base.dtypes import DTYPES
from accelsim.base.errors import InputError, MappingError, WorkloadError, nearest
from accelsim.base.units import BITS_PER_BYTE, PS_PER_S
from accelsim.engine import run
from accelsim.hardware.device import Device, GpuExecution
from accelsim.hardware.energy import EnergyTable, energy_table_of, load_energy_table
from accelsim.hardware.loader import device_sha256, load_device
from accelsim.mapping import Machine
from accelsim.schedule import Lane, Program, Site, live_bytes, plan_in_chunks, program, runs_on, shares, stages
from accelsim.trace import Trace
from accelsim.workload.graph import Graph
from accelsim.workload.library import load_workload
from accelsim.workload.transforms import fold_batch_norm, fuse_epilogues, set_precision, sparsify, unfuse_attention
from accelsim.workload.wide import absorb_casts, keep_wide

MOST_SPARSE = 1024
"""Longest run of weights that a sparsity pattern speaks of."""

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
    sparsity: str | None = None
    """``2:4``: of every four weights along a reduction two are kept."""
    energy_table: str | None = None
    fidelity: Literal["tile", "cycle"] = "tile"
    seed: int = 0
    graph: bool = False
    """A GPU's kernels are captured in a graph once and launched from there."""

    def __post_init__(self) -> None:
        problems = [
            f"{name}: got {getattr(self, name)!r}; want {wanted}"
            for name, (right, wanted) in _RIGHT.items()
            if not right(getattr(self, name))
        ]
        if problems:
            raise InputError(*problems)


def _one_of(*known: object) -> tuple[Callable[[object], bool], str]:
    return lambda value: value in known, f"one of {', '.join(map(str, known))}"


def _whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _count(value: object) -> bool:
    return value is None or _whole(value, 1)


def _text(value: object) -> bool:
    return value is None or isinstance(value, str)


_RIGHT: dict[str, tuple[Callable[[object], bool], str]] = {
    "batch": (_count, "a whole number >= 1"),
    "precision": (_text, "the name of a number format"),
    "cores": (_count, "a whole number >= 1"),
    "parallel": _one_of(None, "data", "pipeline"),
    "steps": (_count, "a whole number >= 1"),
    "start": _one_of("warm", "cold"),
    "host": (lambda value: isinstance(value, bool), "True or False"),
    "sparsity": (_text, "text, as 2:4"),
    "energy_table": (_text, "the name of a node, or a path"),
    "fidelity": _one_of("tile", "cycle"),
    "seed": (lambda value: _whole(value, 0), "a whole number >= 0"),
    "graph": (lambda value: isinstance(value, bool), "True or False"),
}
"""What each option may be, and how to say it."""


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
    planned = plan(device, workload, overrides=overrides, params=params, options=options or _options(kwargs))
    return planned.result(planned.trace)


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A workload on a device, laid out and not yet run."""

    device: Device
    overrides: Mapping[str, Any]
    options: Options
    graph: Graph
    """As it came, before formats and fusing."""
    precise: Graph
    """The same in the format that it runs in."""
    dtype: str
    site: Site
    lanes: Sequence[Lane]
    cores: int
    """Of all its lanes."""
    table: EnergyTable
    """What its actions are priced with."""
    warnings: tuple[str, ...]

    @property
    def steps(self) -> int:
        """As asked, or enough for a pipeline to be steady."""
        return self.options.steps or (6 * len(self.lanes) if self.options.parallel == "pipeline" else 1)

    @cached_property
    def program(self) -> Program:
        """Jobs of all its steps."""
        return self.program_of(self.steps)

    def program_of(self, steps: int) -> Program:
        """Jobs of so many steps."""
        return program(
            self.lanes,
            self.site,
            steps=steps,
            cold=self.options.start == "cold",
            pipeline=self.options.parallel == "pipeline",
        )

    @cached_property
    def trace(self) -> Trace:
        """Its program, played."""
        return run(self.program)

    def link_w(self) -> float:
        """What the device's link to the host draws on average while its program runs [W]; 0 without a power limit."""
        if self.device.power.tdp_w is None or self.device.host is None:
            return 0.0
        action = f"{self.device.host.link.name}.transfer"
        # Jobs are looked at before anything is played: most runs move nothing over the link.
        moved = sum(count.amount for job in self.program.jobs for count in job.task.counts if count.action == action)
        if not moved:
            return 0.0
        return moved * self.site.machine.price_pj(action) / self.trace.end_ps

    def result(self, trace: Trace, steps: int | None = None) -> Result:
        """What a trace of its program says."""
        return summarize(
            Run(
                machine=self.site.machine,
                table=self.table,
                host=self.site.host,
                graph=self.precise,
                lanes=self.lanes,
                cores=self.cores,
                steps=steps or self.steps,
                dtype=self.dtype,
                trace=trace,
            ),
            device={
                "name": self.device.name,
                "sha256": device_sha256(self.device),
                "overrides": dict(self.overrides),
            },
            workload={
                "name": self.graph.name,
                "sha256": self.graph.sha256,
                "params": dict(self.graph.params),
            },
            fidelity=self.options.fidelity,
            seed=self.options.seed,
            start=self.options.start,
            parallel=self.options.parallel,
            warnings=(*self.warnings, *self.graph.notes, *_warnings(self.site, self.lanes)),
            accelsim_version=_version(),
        )


def plan(
    device: str | os.PathLike[str] | Device,
    workload: Workload,
    *,
    overrides: Mapping[str, Any] | None = None,
    params: Mapping[str, int] | None = None,
    options: Options,
    neighbours: int = 0,
) -> Planned:
    """Lay a workload out on a device; ``neighbours`` are cores that other workloads keep busy at the same time.

    Of a limited power, what the link to the host draws on average is set aside. It is known when the work is laid out
    as if it drew nothing, which takes no longer than with less power; where that turns out to be too little, the most
    that it can draw is. Raises InputError for what cannot be.
    """
    laid_out = partial(_laid_out, device, workload, overrides or {}, params or {}, options, neighbours)
    free = laid_out(0.0)
    link_w = free.link_w()
    if not link_w:
        return free
    planned = laid_out(link_w)
    return planned if planned.link_w() <= link_w else laid_out(_most_link_w(free.device))


def _laid_out(
    device: str | os.PathLike[str] | Device,
    workload: Workload,
    overrides: Mapping[str, Any],
    params: Mapping[str, int],
    options: Options,
    neighbours: int,
    link_w: float,
) -> Planned:
    """The same, with a part of the power set aside for the link."""
    chosen = _device(device, overrides)
    dtype, warnings = precision_for(chosen, options.precision)
    build = _builder(workload, params, options.sparsity)
    whole = build(options.batch)
    precise = set_precision(whole, dtype)

    def part(items: int) -> Graph:
        return precise if items == whole.batch else set_precision(build(items), dtype)

    cores, lane_count = _cores(chosen, options, whole.batch)
    site = _site(chosen, cores, (lane_count, neighbours), link_w, precise, options)
    table = site.machine.energy
    if options.energy_table is not None:
        table = load_energy_table(options.energy_table)
        warnings.append(
            f"fixed clock: energy is priced with {table.name}, clocks are those of {site.machine.energy.name}"
        )
    return Planned(
        device=chosen,
        overrides=overrides,
        options=options,
        graph=whole,
        precise=precise,
        dtype=dtype,
        site=site,
        lanes=_lanes(site, precise, part, dtype, options, lane_count),
        cores=cores * lane_count,
        table=table,
        warnings=tuple(warnings),
    )


def check_room(
    device: str | os.PathLike[str] | Device,
    workload: Workload,
    *,
    overrides: Mapping[str, Any] | None = None,
    params: Mapping[str, int] | None = None,
    options: Options,
) -> None:
    """Raise MappingError where the device's memory cannot hold a workload; nothing is planned or run."""
    chosen = _device(device, overrides or {})
    dtype, _ = precision_for(chosen, options.precision)
    build = _builder(workload, params or {}, options.sparsity)
    whole = build(options.batch)
    cores, lane_count = _cores(chosen, options, whole.batch)
    site = _site(chosen, cores, (lane_count, 0), 0.0, whole, options)
    replicas = shares(whole.batch, lane_count) if options.parallel == "data" else [whole.batch]
    by_share = {share: _prepared(set_precision(build(share), dtype), dtype, chosen) for share in {*replicas}}
    check_capacity(site, [by_share[share] for share in replicas])


def _options(asked: Mapping[str, Any]) -> Options:
    unknown = [
        f"{name}: unknown{nearest(name, _RIGHT)}; want one of {', '.join(_RIGHT)}"
        for name in asked
        if name not in _RIGHT
    ]
    if unknown:
        raise InputError(*unknown)
    return Options(**asked)


def _device(device: object, overrides: Mapping[str, Any]) -> Device:
    """A device from its name, path or itself."""
    if isinstance(device, Device):
        if overrides:
            raise InputError("overrides: want the device by its name or path, not as a Device")
        return device
    if not isinstance(device, str | os.PathLike):
        raise InputError(f"device: got {device!r}; want a name, a path or a Device")
    return load_device(device, {str(key): value for key, value in overrides.items()})


def precision_for(device: Device, asked: str | None) -> tuple[str, list[str]]:
    """The format to compute in, and what to say of it. Raises MappingError for one that the device lacks."""
    dtype = asked or device.default_dtype
    if dtype not in DTYPES:
        raise MappingError(
            f"precision {dtype!r}: unknown{nearest(dtype, DTYPES)}; want one of {', '.join(device.dtypes)}"
        )
    if device.limits and dtype in (device.limits.compiler_lacks or ()):
        raise MappingError(
            f"{device.name} multiplies in {dtype}, but its compiler does not offer it; "
            "--set limits.compiler_lacks=none runs what the units could do"
        )
    if device.computes(dtype):
        return dtype, []
    if dtype in device.autocast:
        instead = device.autocast[dtype]
        return instead, [f"{dtype} is cast to {instead}: {device.name} does not multiply in {dtype}"]
    raise MappingError(f"{device.name} does not multiply in {dtype}; want one of {', '.join(device.dtypes)}")


def _builder(workload: Workload, params: Mapping[str, int], sparsity: str | None) -> Callable[[int | None], Graph]:
    """A function from a batch size to the workload, its weights thinned out where that is asked for."""
    dense = _dense_builder(workload, params)
    if sparsity is None:
        return dense
    kept, _, of = sparsity.partition(":")
    if not (kept.isdecimal() and of.isdecimal() and 1 <= int(kept) <= int(of) <= MOST_SPARSE):
        raise WorkloadError(f"sparsity {sparsity!r}: want N:M with 1 <= N <= M <= {MOST_SPARSE}, as 2:4")
    return lambda batch: sparsify(dense(batch), int(kept), int(of))


def _dense_builder(workload: Workload, params: Mapping[str, int]) -> Callable[[int | None], Graph]:
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
    if not isinstance(workload, str | os.PathLike):
        raise WorkloadError(
            f"workload: got {workload!r}; want a name, a path, a Graph or a function from a batch to one"
        )
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


def _most_link_w(device: Device) -> float:
    """What the link to the host draws at its full bandwidth [W]."""
    assert device.host is not None
    link = device.host.link
    return link.bandwidth_bytes_per_s * BITS_PER_BYTE * link.energy_pj_per_bit / PS_PER_S


def _site(device: Device, cores: int, lanes: tuple[int, int], link_w: float, graph: Graph, options: Options) -> Site:
    """What the lanes, and neighbours beside them, are planned for: the device with its share of power, and its host."""
    power, host = device.power, None
    budget = None
    if power.tdp_w is not None:
        share = (power.tdp_w - power.static_w) / sum(lanes)
        # A link that would want all of it leaves the cores a hundredth.
        budget = max(share - link_w / lanes[0], 0.01 * share)
    if device.host is not None:
        other = load_device(device.host.device)
        host_power = None if other.power.tdp_w is None else other.power.tdp_w - other.power.static_w
        host = Machine(other, energy_table_of(other), other.core.count, host_power, prefix="host.")
    if options.start == "cold" and device.host is None:
        raise MappingError(f"start cold: {device.name} has no host to load weights from; want --start warm")
    if options.graph and not isinstance(device.core.execution, GpuExecution):
        raise MappingError(f"graph: {device.name} is no GPU; want a run without --graph")
    if options.host and device.host is None:
        raise MappingError(f"host: {device.name} has no host link; want a run without --host")
    machine = Machine(
        device,
        energy_table_of(device),
        cores,
        budget,
        count_cycles=options.fidelity == "cycle",
        seed=options.seed,
        captured=options.graph,
    )
    # A cache stays in device memory from step to step.
    on_host = frozenset(t.name for t in graph.inputs if t.role != "kv_cache") if options.host else frozenset()
    to_host = frozenset(t.name for t in graph.outputs if t.role != "kv_cache") if options.host else frozenset()
    return Site(machine, host, on_host=on_host, to_host=to_host)


def _prepared(graph: Graph, dtype: str, device: Device) -> Graph:
    """The graph (in ``dtype``) as the device's compiler sees it: wider where need be, fused as it can."""
    wide, functions = device.wide_format(dtype), device.limits.functions if device.limits else None
    asked = (dtype, device.fuses_attention, wide, device.fuses_epilogue, functions)
    if asked not in graph.derived:
        ready = fold_batch_norm(graph)
        if not device.fuses_attention:
            ready = unfuse_attention(ready)
        if wide is not None:
            ready = keep_wide(ready, dtype, wide)
        if device.fuses_epilogue:
            ready = fuse_epilogues(ready, functions=functions)
        graph.derived[asked] = ready if wide is None else absorb_casts(ready)
    return graph.derived[asked]


def _lanes(
    site: Site, whole: Graph, build: Callable[[int], Graph], dtype: str, options: Options, count: int
) -> list[Lane]:
    device = site.machine.device

    def part(items: int) -> Graph:
        return _prepared(build(items), dtype, device)

    # What cannot be is refused before anything is planned.
    if options.parallel == "data":
        by_share = {share: part(share) for share in dict.fromkeys(shares(whole.batch, count))}
        graphs = [by_share[share] for share in shares(whole.batch, count)]
        check_capacity(site, graphs)
        planned = {share: plan_in_chunks(graph, part, site, lanes=count) for share, graph in by_share.items()}
        return [planned[share] for share in shares(whole.batch, count)]
    graph = _prepared(whole, dtype, device)
    check_capacity(site, [graph])
    if options.parallel is None:
        return [plan_in_chunks(graph, part, site)]
    if len(graph.ops) < count:
        raise MappingError(f"{graph.name} has {len(graph.ops)} ops; want no more stages than that, got {count}")
    lanes = stages(graph, site, count)
    check_capacity(site, [lane.graph for lane in lanes])
    return lanes


def check_capacity(site: Site, graphs: Sequence[Graph]) -> None:
    """Refuse weights, and activations that live at one time, that the device's memory cannot hold; a lane a graph."""
    device = site.machine.device
    memory = device.path("weight")[-1]
    capacity = site.machine.capacity_bytes(memory)
    weights = sum(graph.weight_bytes for graph in graphs)
    if weights > capacity:
        raise MappingError(f"the weights take {weights:,} bytes; {memory.name} of {device.name} holds {capacity:,}")
    backing = site.machine.backing("activation")
    if memory.kind == "dram" and backing is not None and site.machine.is_dram(backing):
        live = sum(max(live_bytes(graph)) for graph in graphs)
        if weights + live > capacity:
            raise MappingError(
                f"{weights:,} bytes of weights and {live:,} of activations at one time do not fit into {memory.name} "
                f"of {device.name}, which holds {capacity:,}; want a smaller batch"
            )


def _warnings(site: Site, lanes: Sequence[Lane]) -> Iterator[str]:
    """What a reader of the result should know."""
    device = site.machine.device
    if device.power.tdp_w is None:
        yield f"no TDP is published for {device.name}: no power limit is applied"
    fallen = [op for lane in lanes for op in lane.graph.ops if not runs_on(op, device)]
    if fallen and site.host is not None:
        kinds = Counter(" ".join([op.kind, *sorted(op.functions)]) for op in fallen)
        listed = ", ".join(f"{n} x {what}" for what, n in kinds.items())
        run = "op runs" if len(fallen) == 1 else "ops run"
        yield f"{len(fallen)} {run} on the host ({site.host.device.name}): {device.name} does not have {listed}"
    if any(lane.chunks > 1 for lane in lanes):
        lane = max(lanes, key=lambda lane: lane.chunks)
        yield (
            f"a step is done in {lane.chunks} parts of {lane.graph.batch}: activations of more items do not stay on "
            "chip, "
            "and weights that are read again cost less"
        )
    yield from _overflow(site, lanes[0])


def _overflow(site: Site, lane: Lane) -> Iterator[str]:
    """Activations that have no memory but the host's behind the buffer, and do not stay in it."""
    backing, buffer = site.machine.backing("activation"), site.machine.buffer("activation")
    if backing is None or site.machine.is_dram(backing) or buffer is None:
        return
    device = site.machine.device
    hosted = {t.name for op in lane.graph.ops if not runs_on(op, device) for t in (*op.activations, *op.outputs)}
    streamed = {
        t.name: t.bytes
        for op in lane.graph.ops
        for t in (*op.activations, *op.outputs)
        if t.name not in lane.plan.resident and t.name not in hosted
    }
    if streamed:
        yield (
            f"{len(streamed)} tensors ({sum(streamed.values()) / 1e6:.1f} MB) do not stay in {buffer.name}: "
            f"they go over {site.machine.local(backing)} to host memory"
        )


def _version() -> str:
    try:
        return version("accelsim")
    except PackageNotFoundError:
        return "0+source"
