"""Latency, throughput, energy and dollars against batch, from one item to as many as memory holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, Field

from accelsim.analysis.findings import Cell, Chart, Findings, Line, LineChart, Panel, Remark, Table
from accelsim.hardware.loader import load_device
from accelsim.study.compare import Entry, largest_batch
from accelsim.study.reports.common import (
    Batch,
    Batches,
    Group,
    Names,
    StudySpec,
    grid,
    listed,
    number,
    once_by,
    ran,
    told,
    weight_bytes_per_item,
)

KNEE_SHARE = 0.9
"""The knee: the smallest batch that reaches this share of the best throughput."""


class Spec(StudySpec):
    """What a study of batching says."""

    workloads: Names
    groups: Annotated[tuple[Group, ...], AfterValidator(once_by(lambda group: group.name))] = Field(
        min_length=1, description="a list of [[groups]] with name and devices"
    )
    batches: Batches
    most_held: Batch = 65536
    """The search for the largest batch that memory holds ends here."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A device's runs of a workload, batch by batch."""

    device: str
    workload: str
    entries: tuple[Entry, ...]
    holds: int
    """The largest batch (a power of two) that memory holds."""

    @property
    def knee(self) -> int:
        """Index of the smallest batch that has nine tenths of the best throughput."""
        rates = [e.result.throughput_items_per_s for e in self.entries]
        return next(i for i, rate in enumerate(rates) if rate >= KNEE_SHARE * max(rates))

    @property
    def gain(self) -> float:
        """Throughput at the largest batch over that at the smallest."""
        return self.entries[-1].result.throughput_items_per_s / self.entries[0].result.throughput_items_per_s


def findings(spec: Spec) -> Findings:
    """Run every device at every batch that it holds."""
    devices = list(dict.fromkeys(d for group in spec.groups for d in group.devices))
    holds = {(p.device, p.workload): largest_batch(p, spec.most_held) for p in grid(devices, spec.workloads, [1])}
    points = [
        p
        for p in grid(devices, spec.workloads, spec.batches)
        # What holds nothing is tried once, so that the reason is told; what was not looked for is tried, too.
        if (p.options.batch or 1) < 2 * (holds[p.device, p.workload] or spec.batches[0])
        or holds[p.device, p.workload] * 2 > spec.most_held
    ]
    entries, refused = ran(points)
    curves = [
        Curve(device, workload, runs, holds[device, workload])
        for workload in spec.workloads
        for device in devices
        if (runs := tuple(e for e in entries if (e.point.device, e.point.workload) == (device, workload)))
    ]
    return Findings(
        title=spec.title,
        lead=(
            f"{listed(list(spec.workloads))} at batch {spec.batches[0]} to {spec.batches[-1]} on {len(devices)} "
            "devices, each in its own format and with all its cores (a replica of the model on each, where an op runs "
            "on one core only). The knee, ringed, is the smallest batch that reaches nine tenths of the best "
            "throughput. "
            "The largest batch is the largest power of two whose weights and live activations memory holds"
            f" (looked for up to {spec.most_held})."
        ),
        remarks=tuple(_remarks(spec, curves)),
        charts=tuple(chart for workload in spec.workloads for chart in _charts(spec, workload, curves)),
        tables=(_runs(curves), _knees(curves)),
        left_out=told(refused),
    )


def _remarks(spec: Spec, curves: Sequence[Curve]) -> list[Remark]:
    most, least = max(curves, key=lambda c: c.gain), min(curves, key=lambda c: c.gain)
    falling = [c for c in curves if len(c.entries) > 1 and _weights(c, 0) > 0]
    remarks = [
        Remark(
            f"Batching gains most on {most.device} ({most.workload}): {number(most.gain)} times the throughput from "
            f"batch {most.entries[0].result.batch} to {most.entries[-1].result.batch}; least on {least.device} "
            f"({least.workload}): {number(least.gain)} times.",
            spec.claim(0),
            "bears out" if most.gain > 1.5 else "contradicts",
        )
    ]
    if falling:
        shrunk = [c for c in falling if _weights(c, -1) < 0.75 * _weights(c, 0)]
        best = max(falling, key=lambda c: _weights(c, 0) / max(_weights(c, -1), 1e-9))
        remarks.append(
            Remark(
                f"Bytes of weights read from DRAM for an item fall with the batch on {len(shrunk)} of {len(falling)} "
                f"pairs of device and model; on {best.device} ({best.workload}) from "
                f"{number(_weights(best, 0) / 1e6)} MB to {number(_weights(best, -1) / 1e6)} MB.",
                spec.claim(1),
                "bears out" if len(shrunk) > len(falling) / 2 else "qualifies",
            )
        )
    early = [c for c in curves if c.knee < len(c.entries) - 1]
    if early:
        knees = sorted((c.entries[c.knee].result.batch, c.device, c.workload) for c in early)
        remarks.append(
            Remark(
                f"The knee lies between batch {knees[0][0]} ({knees[0][1]}, {knees[0][2]}) and {knees[-1][0]} "
                f"({knees[-1][1]}, {knees[-1][2]}): beyond it latency grows and little else."
            )
        )
    return remarks


def _weights(curve: Curve, which: int) -> float:
    return weight_bytes_per_item(curve.entries[which].result, load_device(curve.device))


def _charts(spec: Spec, workload: str, curves: Sequence[Curve]) -> list[Chart]:
    own = {c.device: c for c in curves if c.workload == workload}
    groups = [(g.name, [own[d] for d in g.devices if d in own]) for g in spec.groups]

    def chart(name: str, caption: str, label: str, unit: str, value: str) -> Chart | None:
        panels = []
        for title, members in groups:
            lines = [_line(c, value) for c in members]
            drawn = tuple(line for line in lines if line is not None)
            if drawn:
                panels.append(Panel(title, drawn))
        if not panels:
            return None
        return LineChart(
            name=f"{workload}_{name}",
            caption=f"{caption} of {workload} against batch; the ring is the knee.",
            x_label="Batch size (items)",
            y_label=label,
            y_unit=unit,
            panels=tuple(panels),
        )

    drawn = (
        chart("throughput", "Throughput", "Items per second", "", "throughput"),
        chart("latency", "Latency of one step", "Latency", "s", "latency"),
        chart("energy", "Energy of an item", "Energy per item", "J", "energy"),
        chart("cost", "Dollars for a million items, the device always busy,", "USD per million items", "", "cost"),
    )
    return [one for one in drawn if one is not None]


_VALUES: dict[str, Callable[[Entry], float | None]] = {
    "throughput": lambda e: e.result.throughput_items_per_s,
    "latency": lambda e: e.result.latency_s,
    "energy": lambda e: e.result.energy_per_item_j,
    "cost": lambda e: e.usd_per_million,
}


def _line(curve: Curve, value: str) -> Line | None:
    points = [(float(e.result.batch), _VALUES[value](e)) for e in curve.entries]
    if any(y is None for _, y in points):
        return None
    return Line(curve.device, tuple((x, float(y or 0.0)) for x, y in points), curve.knee)


def _runs(curves: Sequence[Curve]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for curve in curves:
        device = load_device(curve.device)
        for e in curve.entries:
            r = e.result
            bound = next(iter(r.bound_share), "")
            rows.append(
                (
                    curve.workload, curve.device, r.precision, r.cores, r.batch, r.latency_s * 1e3,
                    r.throughput_items_per_s, r.energy_per_item_j * 1e3, r.average_power_w, e.usd_per_million,
                    weight_bytes_per_item(r, device), bound,
                )
            )  # fmt: skip
    columns = (
        "workload", "device", "precision", "cores", "batch", "latency_ms", "items_per_s", "energy_per_item_mj",
        "power_w", "usd_per_million_items", "dram_weight_bytes_per_item", "main_bound",
    )  # fmt: skip
    return Table("runs", columns, tuple(rows))


def _knees(curves: Sequence[Curve]) -> Table:
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            c.workload, c.device, c.entries[c.knee].result.batch, c.holds, c.gain,
            c.entries[c.knee].result.latency_s * 1e3, c.entries[c.knee].result.throughput_items_per_s,
        )
        for c in curves
    )  # fmt: skip
    columns = (
        "workload", "device", "knee_batch", "largest_batch_held", "throughput_gain", "knee_latency_ms",
        "knee_items_per_s",
    )  # fmt: skip
    return Table("knees", columns, rows)
