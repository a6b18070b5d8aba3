"""The rows behind every table that is shown: text and pages draw the same sheets, each in its own way."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from accelsim.analysis.result import OpResult, Result
from accelsim.hardware.device import Device
from accelsim.hardware.energy import EnergyRow
from accelsim.report.naming import facets, labels, op_utilization, varied
from accelsim.report.scale import MISSING, capacity, column, percent, ratio, si, significant, trim
from accelsim.workload.graph import Graph
from accelsim.workload.ops import Op

TOP_OPS = 12


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a sheet. Where it is narrow, columns of the highest ``rank`` go first; those of rank 0 stay."""

    name: str
    left: bool = False
    rank: int = 0
    shrink: bool = False
    """Its cells may lose their middle, after the columns that can go have gone."""
    wrap: bool = False
    """Its cells may take several lines."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table as a value; ``totals`` is how many of its last rows are not rows like the others."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    totals: int = 0


def headline_rows(
    result: Result, precision_note: str = "", nominal_clock_hz: float | None = None
) -> list[tuple[str, str, str]]:
    """Name, value and remark of everything that stands at the top of a run's report."""
    per_second = result.dram_bytes / result.latency_s if result.latency_s else 0.0
    rows = [
        ("Precision", result.precision, precision_note),
        ("Latency", si(result.latency_s, "s"), f"one step of {result.batch}, {result.start} start"),
        (
            "Roofline",
            si(result.roofline_latency_s, "s"),
            f"latency is {ratio(result.latency_s, result.roofline_latency_s)} this; "
            f"drawn by hand: {si(result.naive_roofline_latency_s, 's')}",
        ),
        ("Throughput", f"{si(result.throughput_items_per_s)} items/s", _parallel(result)),
        ("Energy", f"{si(result.energy_per_item_j, 'J')}/item", _energy_remark(result)),
        ("Power", si(result.average_power_w, "W"), _power_remark(result)),
        ("Utilisation", percent(result.mac_utilization), f"of {si(2 * result.peak_macs_per_s, 'OPS')} peak"),
        (
            "DRAM traffic",
            si(result.dram_bytes, "B"),
            f"a step; mean {si(per_second, 'B/s')} of {si(result.dram_bandwidth_bytes_per_s, 'B/s')}",
        ),
        ("Clock", si(result.clock_hz, "Hz"), _clock_remark(result.clock_hz, nominal_clock_hz)),
    ]
    if result.host_energy_j:
        host = f"of the host, a step; not in the {si(result.energy_j, 'J')} of the device"
        rows.append(("Host energy", si(result.host_energy_j, "J"), host))
    changed = [f"{key}={value}" for key, value in facets(result).items() if "." in key and "param." not in key]
    return rows + ([("Changed", f"{len(changed)}", ", ".join(changed))] if changed else [])


def _parallel(result: Result) -> str:
    cores = f"{result.cores} core{'s' if result.cores != 1 else ''}"
    return f"{cores}, {result.parallel} parallel, {result.steps} steps" if result.parallel else f"{cores} in use"


def _energy_remark(result: Result) -> str:
    total = result.energy_j or 1.0
    largest = sorted(result.energy_breakdown_j.items(), key=lambda part: -part[1])[:3]
    parts = ", ".join(f"{name} {joules / total:.0%}" for name, joules in largest if joules > 0)
    return f"{parts} ({result.energy_table})" if parts else result.energy_table


def _power_remark(result: Result) -> str:
    if result.tdp_w is None:
        return "no TDP published: no limit applied"
    return f"{percent(result.average_power_w / result.tdp_w)} of {si(result.tdp_w, 'W')} TDP"


def _clock_remark(clock_hz: float, nominal_hz: float | None) -> str:
    if nominal_hz is None:
        return ""
    if clock_hz < nominal_hz * 0.9995:
        return f"throttled by power from {si(nominal_hz, 'Hz')}"
    return "nominal"


@dataclass(frozen=True, slots=True)
class OpRow:
    """An op, its replicas taken together."""

    name: str
    kind: str
    bound: str
    where: str
    latency_s: float
    share: float
    utilization: float | None
    dram_bytes: int
    energy_j: float


def op_rows(result: Result) -> list[OpRow]:
    """Ops, longest first; time is the mean over replicas, bytes and energy are their sum."""
    groups: dict[tuple[str, str], list[OpResult]] = {}
    for op in result.ops:
        groups.setdefault((op.name, op.kind), []).append(op)
    total = sum(op.latency_s for op in result.ops) or 1.0
    rows = [_op_row(name, ops, result, total) for (name, _), ops in groups.items()]
    return sorted(rows, key=lambda row: -row.share)


def _op_row(name: str, ops: Sequence[OpResult], result: Result, total_s: float) -> OpRow:
    seconds = sum(op.latency_s for op in ops)
    longest = max(ops, key=lambda op: op.latency_s)
    cores = list(dict.fromkeys(op.core for op in ops))
    used = [u for u in (op_utilization(op, result) for op in ops) if u is not None]
    return OpRow(
        name=name,
        kind=longest.kind,
        bound=longest.bound,
        where=cores[0] if len(cores) == 1 else f"{len(cores)} cores",
        latency_s=seconds / len(ops),
        share=seconds / total_s,
        utilization=sum(used) / len(used) if used else None,
        dram_bytes=sum(op.dram_read_bytes + op.dram_write_bytes for op in ops),
        energy_j=sum(op.energy_j for op in ops),
    )


def ops_sheet(result: Result, *, top: int | None = TOP_OPS) -> Sheet:
    """Rows of the ``top`` ops by time, all of them where it is None; the rest in one row."""
    rows = op_rows(result)
    shown = rows if top is None or len(rows) <= top + 1 else rows[:top]
    rest = rows[len(shown) :]
    sums = [rest] if rest else []
    time_unit, times = column([r.latency_s for r in shown] + [sum(r.latency_s for r in rs) for rs in sums], "s")
    byte_unit, sizes = column([float(r.dram_bytes) for r in shown] + [float(sum(r.dram_bytes for r in rest))], "B")
    energy_unit, joules = column([r.energy_j for r in shown] + [sum(r.energy_j for r in rs) for rs in sums], "J")
    columns = (
        Column("op", left=True, shrink=True),
        Column("kind", left=True, rank=1),
        Column("bound", left=True),
        Column("where", left=True, rank=2),
        Column(time_unit),
        Column("share"),
        Column("util"),
        Column(f"DRAM {byte_unit}"),
        Column(energy_unit),
    )
    cells = [
        (r.name, r.kind, r.bound, r.where, times[i], percent(r.share), percent(r.utilization), sizes[i], joules[i])
        for i, r in enumerate(shown)
    ]
    if rest:
        share = percent(sum(row.share for row in rest))
        cells.append((f"{len(rest)} more ops", "", "", "", times[-1], share, "", sizes[-1], joules[-1]))
    return Sheet(columns, tuple(cells), totals=len(sums))


def sweep_sheet(results: Sequence[Result], varied_names: Sequence[str] | None = None) -> Sheet:
    """One row for each run, by what differs between them."""
    names = [*(varied(results) if varied_names is None else varied_names)] or ["device"]
    numeric = {name for name in names if all(_is_number(facets(result).get(name, "")) for result in results)}
    columns = (
        *(Column(name, left=name not in numeric, shrink=name not in numeric) for name in names),
        Column("latency"),
        Column("x roof", rank=2),
        Column("items/s"),
        Column("J/item"),
        Column("power", rank=3),
        Column("util", rank=1),
        Column("bound", left=True),
    )
    rows = (
        (
            *(facets(result).get(name, MISSING) for name in names),
            si(result.latency_s, "s"),
            ratio(result.latency_s, result.roofline_latency_s).removesuffix("x"),
            si(result.throughput_items_per_s),
            si(result.energy_per_item_j, "J"),
            si(result.average_power_w, "W"),
            percent(result.mac_utilization),
            main_bound(result),
        )
        for result in results
    )
    return Sheet(columns, tuple(rows))


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).replace("e", "", 1).replace("+", "", 1).replace("-", "", 2).isdigit()


def shared_facets(results: Sequence[Result], shown: Iterable[str]) -> list[str]:
    """Shared facets that a reader asks for first and no column shows: ``workload resnet50``."""
    seen = set(shown)
    return [
        f"{name} {', '.join(dict.fromkeys(facets(result)[name] for result in results))}"
        for name in ("workload", "device", "batch", "precision")
        if results and name not in seen
    ]


def main_bound(result: Result) -> str:
    """Name what bounds most of the time, and how much of it."""
    shares = result.bound_share
    if not shares:
        return MISSING
    bound, share = next(iter(shares.items()))
    return f"{bound} {share:.0%}"


def compare_sheet(results: Sequence[Result]) -> Sheet:
    """Compare runs with the first of them: how many times faster, more productive, thriftier."""
    columns = (
        Column("run", left=True, shrink=True),
        Column("latency"),
        Column("faster"),
        Column("items/s", rank=2),
        Column("more"),
        Column("J/item"),
        Column("less"),
        Column("power", rank=3),
        Column("util", rank=1),
        Column("bound", left=True),
    )
    first = results[0]
    rows = (
        (
            name,
            si(result.latency_s, "s"),
            ratio(first.latency_s, result.latency_s),
            si(result.throughput_items_per_s),
            ratio(result.throughput_items_per_s, first.throughput_items_per_s),
            si(result.energy_per_item_j, "J"),
            ratio(first.energy_per_item_j, result.energy_per_item_j),
            si(result.average_power_w, "W"),
            percent(result.mac_utilization),
            main_bound(result),
        )
        for name, result in zip(labels(results), results, strict=True)
    )
    return Sheet(columns, tuple(rows))


def energy_sheet(rows: Sequence[EnergyRow], unit_pj: float | None = None) -> Sheet:
    """Costs relative to ``unit_pj`` (adding two int32, unless given), with a bar on a log scale.

    Sources stand as numbers, in the order of :func:`energy_sources`.
    """
    relative = [row.pj / unit_pj if unit_pj else row.relative for row in rows]
    positive = [value for value in relative if value > 0] or [1.0]
    number = {source: str(i) for i, source in enumerate(energy_sources(rows), start=1)}
    columns = (
        Column("action", left=True, shrink=True),
        Column("bits"),
        Column("pJ"),
        Column("relative"),
        Column("", left=True, rank=1),
        Column("source"),
    )
    return Sheet(
        columns,
        tuple(
            (
                row.name,
                str(row.bits),
                f"{row.pj:.4g}",
                ratio(times, 1.0),
                _log_bar(times, min(positive), max(positive)),
                number.get(row.source, ""),
            )
            for row, times in zip(rows, relative, strict=True)
        ),
    )


def energy_sources(rows: Sequence[EnergyRow]) -> list[str]:
    """Each source once, in the order in which they come."""
    return list(dict.fromkeys(row.source for row in rows if row.source))


def _log_bar(value: float, low: float, high: float, length: int = 16) -> str:
    if value <= low or high <= low:
        return ""
    return "#" * max(1, round(length * math.log(value / low) / math.log(high / low)))


def _field_value(key: str, value: object) -> str:
    """Write a field of a device file as people do: its unit is the end of its name."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(
            f"{name} {each:g}" if isinstance(each, float) else f"{name} {each}" for name, each in value.items()
        )
    if isinstance(value, tuple | list):
        return ", ".join("x".join(map(str, each)) if isinstance(each, tuple) else str(each) for each in value)
    if isinstance(value, int | float):
        return _quantity(key, value)
    return str(value)


def _quantity(key: str, value: int | float) -> str:
    if key.endswith("capacity_bytes"):
        return capacity(value)
    for ending, unit in (("bytes_per_s", "B/s"), ("_hz", "Hz"), ("_s", "s"), ("_w", "W")):
        if key.endswith(ending):
            return trim(value, unit)
    if "_pj_per" in key:
        return f"{value:g} pJ/{key.rpartition('_')[2]}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def device_sections(device: Device) -> list[tuple[str, list[tuple[str, str]], str]]:
    """Name, fields and source of every part of a device, in the order of its file."""
    return list(_sections("", device))


def _sections(path: str, part: BaseModel) -> Iterable[tuple[str, list[tuple[str, str]], str]]:
    fields: list[tuple[str, str]] = []
    below: list[tuple[str, BaseModel]] = []
    for key in type(part).model_fields:
        value = getattr(part, key)
        inner = f"{path}.{key}" if path else key
        if isinstance(value, BaseModel):
            below.append((inner, value))
        elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            below += [(getattr(each, "name", inner), each) for each in value]
        elif key not in {"source", "name", "description"} and value not in (None, "", {}, ()):
            fields.append((key, _field_value(key, value)))
    yield path, fields, str(getattr(part, "source", ""))
    for name, each in below:
        yield from _sections(name, each)


def device_peaks_sheet(device: Device) -> Sheet:
    """Peak of each format, and its ridge: the operations per DRAM byte at which both limits meet."""
    rows = ((dtype, *_roof(device, dtype)) for dtype in device.dtypes)
    return Sheet((Column("format", left=True), Column("peak"), Column("DRAM"), Column("ridge op/B")), tuple(rows))


def roofs_sheet(devices: Sequence[Device], precision: str | None = None) -> Sheet:
    """Roofs of several devices, in ``precision`` (or what each casts it to), or in every format that they have."""
    rows: list[tuple[str, ...]] = []
    for device in devices:
        if precision is None:
            chosen = [*device.dtypes]
        else:
            dtype = precision if device.computes(precision) else device.autocast.get(precision, "")
            chosen = [dtype] if dtype else []
        rows += [(device.name, dtype, *_roof(device, dtype)) for dtype in chosen]
        if not chosen:
            rows.append((device.name, f"no {precision}", MISSING, MISSING, MISSING))
    columns = (
        Column("device", left=True, shrink=True),
        Column("format", left=True),
        Column("peak"),
        Column("DRAM"),
        Column("ridge op/B"),
    )
    return Sheet(columns, tuple(rows))


def _roof(device: Device, dtype: str) -> tuple[str, str, str]:
    """Peak, DRAM bandwidth and ridge."""
    peak = 2 * device.peak_macs_per_s(dtype)
    if device.dram is None:
        return si(peak, "OPS"), MISSING, MISSING
    bandwidth = device.dram.bandwidth_bytes_per_s
    return si(peak, "OPS"), si(bandwidth, "B/s"), f"{peak / bandwidth:.4g}"


def devices_sheet(devices: Sequence[Device]) -> Sheet:
    """One row for each device: peak in its default format, memory, power."""
    columns = (
        Column("device", left=True),
        Column("cores"),
        Column("default", left=True),
        Column("peak"),
        Column("on chip", rank=2),
        Column("DRAM"),
        Column("", rank=1),
        Column("TDP"),
        Column("nm", rank=3),
    )
    return Sheet(columns, tuple(_device_row(device) for device in devices))


def _device_row(device: Device) -> tuple[str, ...]:
    on_chip = sum(
        memory.capacity_bytes * (device.core.count if memory.scope == "core" else 1)
        for memory in device.memory
        if memory.kind == "sram"
    )
    dram = device.dram
    return (
        device.name,
        str(device.core.count),
        device.default_dtype,
        si(2 * device.peak_macs_per_s(device.default_dtype), "OPS"),
        capacity(on_chip),
        si(dram.bandwidth_bytes_per_s, "B/s") if dram else MISSING,
        capacity(dram.capacity_bytes) if dram else "",
        MISSING if device.power.tdp_w is None else trim(device.power.tdp_w, "W"),
        f"{device.process_nm:g}",
    )


def workloads_sheet(graphs: Sequence[Graph]) -> Sheet:
    """One row for each workload: how much there is to compute and to read."""
    columns = (
        Column("workload", left=True, shrink=True),
        Column("ops"),
        Column("batch", rank=1),
        Column("MACs"),
        Column("parameters"),
        Column("MAC/weight", rank=2),
    )
    rows = (
        (
            graph.name,
            str(len(graph.ops)),
            str(graph.batch),
            si(float(graph.macs)),
            si(float(graph.parameters)),
            significant(graph.macs / graph.parameters) if graph.parameters else MISSING,
        )
        for graph in graphs
    )
    return Sheet(columns, tuple(rows))


def workload_totals(graph: Graph) -> list[tuple[str, str]]:
    """Totals of a workload."""
    return [
        ("ops", str(len(graph.ops))),
        ("batch", str(graph.batch)),
        *((f"param.{key}", str(value)) for key, value in sorted(graph.params.items())),
        ("MACs", si(float(graph.macs), "MAC", 4)),
        ("elementary operations", si(float(graph.elementary.total), "op", 4)),
        ("parameters", si(float(graph.parameters), "", 4)),
        ("weights", si(float(graph.weight_bytes), "B", 4)),
        ("inputs", si(float(sum(t.bytes for t in graph.inputs)), "B", 4)),
        ("outputs", si(float(sum(t.bytes for t in graph.outputs)), "B", 4)),
        *([("source", graph.source)] if graph.source else []),
    ]


def kinds_sheet(graph: Graph) -> Sheet:
    """Ops of a workload by kind."""
    kinds: dict[str, list[Op]] = {}
    for op in graph.ops:
        kinds.setdefault(op.kind, []).append(op)
    macs_unit, macs = column([float(sum(op.macs for op in ops)) for ops in kinds.values()], "MAC")
    elementary_unit, elementary = column(
        [float(sum(op.elementary.total for op in ops)) for ops in kinds.values()], "op"
    )
    columns = (Column("kind", left=True), Column("ops"), Column(macs_unit), Column("share"), Column(elementary_unit))
    rows = (
        (kind, str(len(ops)), macs[i], _share(sum(op.macs for op in ops), graph.macs), elementary[i])
        for i, (kind, ops) in enumerate(kinds.items())
    )
    return Sheet(columns, tuple(rows))


def _share(part: float, whole: float) -> str:
    return percent(part / whole) if whole else MISSING


def graph_ops_sheet(graph: Graph, *, top: int | None = None) -> Sheet:
    """Ops of a workload in order, the first ``top`` of them, and their totals."""
    shown = graph.ops[:top] if top is not None else graph.ops
    macs_unit, macs = column([float(op.macs) for op in shown] + [float(graph.macs)], "MAC")
    byte_unit, weights = column(
        [float(sum(t.bytes for t in op.weights)) for op in shown] + [float(graph.weight_bytes)], "B"
    )
    columns = (
        Column("op", left=True, shrink=True),
        Column("kind", left=True),
        Column("result", left=True, rank=1),
        Column(macs_unit),
        Column("share"),
        Column(f"weights {byte_unit}"),
    )
    rows = []
    for i, op in enumerate(shown):
        shape = "x".join(map(str, op.outputs[0].shape)) if op.outputs else ""
        kind = f"{op.kind} +{len(op.epilogue)}" if op.epilogue else op.kind
        rows.append((op.name, kind, shape, macs[i], _share(op.macs, graph.macs), weights[i]))
    hidden = len(graph.ops) - len(shown)
    more = [(f"{hidden} more ops", "", "", "", "", "")] if hidden else []
    total = ("total", "", "", macs[-1], "", weights[-1])
    return Sheet(columns, (*rows, *more, total), totals=1 + len(more))
