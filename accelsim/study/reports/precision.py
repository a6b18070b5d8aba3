"""Number formats from FP64 to INT4 on every device that has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from accelsim.analysis.findings import Cell, Findings, Line, LineChart, Panel, Remark, Table
from accelsim.base.dtypes import DTYPES, bits
from accelsim.hardware.loader import load_device
from accelsim.study.compare import Entry
from accelsim.study.reports.common import Batch, Formats, Names, StudySpec, grid, listed, number, ran, told
from accelsim.study.sweep import Point


class Spec(StudySpec):
    """What the study says."""

    devices: Names
    formats: Formats
    workload: str
    batch: Batch = 8
    params: dict[str, int] = {}  # noqa: RUF012 - pydantic copies it


def findings(spec: Spec) -> Findings:
    """Run the workload in each format on each device that multiplies in it."""
    points = [
        p
        for device in spec.devices
        for name in spec.formats
        if load_device(device).computes(name)
        for p in grid([device], [spec.workload], [spec.batch], params={spec.workload: spec.params}, precision=name)
    ]
    # What the units could do is the question here, whether or not a compiler offers it.
    points = [replace(p, overrides={"limits.compiler_lacks": "none"}) if _is_withheld(p) else p for p in points]
    entries, refused = ran(
        points, f"none of {listed(list(spec.devices))} multiplies in any of {listed(list(spec.formats))}"
    )
    by_device = {d: [e for e in entries if e.point.device == d] for d in spec.devices}
    by_device = {d: sorted(own, key=lambda e: -bits(e.result.precision)) for d, own in by_device.items() if own}
    return Findings(
        title=spec.title,
        lead=(
            f"{spec.workload} at batch {spec.batch} in each format that a device multiplies in; a format that it lacks "
            "is not "
            "run. Tensors are as wide as the format (TF32 occupies 32 bits), sums are wider. On a GPU, formats that "
            "the "
            "tensor cores have run there, the others on the SIMD lanes."
        ),
        remarks=tuple(_remarks(spec, by_device)),
        charts=(
            _chart(by_device, "latency", "Latency", "s", lambda e: e.result.latency_s),
            _chart(by_device, "energy", "Energy per item", "J", lambda e: e.result.energy_per_item_j),
        ),
        tables=(_table(entries),),
        left_out=told(refused),
    )


def _is_withheld(point: Point) -> bool:
    limits = load_device(point.device).limits
    return limits is not None and point.options.precision in (limits.compiler_lacks or ())


def _chart(by_device: Mapping[str, Sequence[Entry]], name: str, label: str, unit: str, value: object) -> LineChart:
    assert callable(value)

    def lines(kind: str) -> tuple[Line, ...]:
        return tuple(
            Line(device, points)
            for device, own in by_device.items()
            if (points := tuple((float(bits(e.result.precision)), value(e)) for e in _one_a_width(own, kind)))
        )

    panels = tuple(
        Panel(title, drawn) for title, kind in (("floats", "float"), ("integers", "int")) if (drawn := lines(kind))
    )
    return LineChart(
        name=name,
        caption=f"{label} against the width of the format; of two formats of one width the faster is drawn.",
        x_label="Width of the format (bits)",
        y_label=label,
        y_unit=unit,
        panels=panels,
    )


def _one_a_width(own: Sequence[Entry], kind: str) -> list[Entry]:
    best: dict[int, Entry] = {}
    for e in own:
        if DTYPES[e.result.precision].kind == kind:
            width = bits(e.result.precision)
            if width not in best or e.result.latency_s < best[width].result.latency_s:
                best[width] = e
    return [best[width] for width in sorted(best)]


def _pj_per_mac(e: Entry) -> float:
    return e.result.energy_breakdown_j["mac"] / e.result.macs * 1e12 if e.result.macs else 0.0


def _unit(e: Entry) -> str:
    matrix = load_device(e.point.device).core.matrix
    return "matrix" if matrix is not None and matrix.macs_per_cycle(e.result.precision) else "lanes"


def _bound(e: Entry) -> str:
    return next(iter(e.result.bound_share), "")


def _table(entries: Sequence[Entry]) -> Table:
    columns = (
        "device", "precision", "bits", "unit", "peak_tops", "latency_ms", "items_per_s", "dram_mb", "pj_per_mac",
        "mj_per_item", "main_bound", "mac_utilization",
    )  # fmt: skip
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            e.point.device, e.result.precision, bits(e.result.precision), _unit(e), e.result.peak_macs_per_s * 2 / 1e12,
            e.result.latency_s * 1e3, e.result.throughput_items_per_s, e.result.dram_bytes / 1e6, _pj_per_mac(e),
            e.result.energy_per_item_j * 1e3, _bound(e), e.result.mac_utilization,
        )
        for e in entries
    )  # fmt: skip
    return Table("runs", columns, rows)


def _remarks(spec: Spec, by_device: Mapping[str, Sequence[Entry]]) -> list[Remark]:
    remarks = [*_pairs(spec, by_device, "fp32", "fp16", 0), *_pairs(spec, by_device, "fp32", "int8", 1)]
    for device, own in by_device.items():
        tensor, lanes = ([e for e in own if _unit(e) == unit] for unit in ("matrix", "lanes"))
        if tensor and lanes:
            fast, wide = (min(side, key=lambda e: e.result.latency_s) for side in (tensor, lanes))
            remarks.append(
                Remark(
                    f"{device}: the best format of its matrix unit ({fast.result.precision}) takes "
                    f"{number(fast.result.latency_s * 1e3)} ms, bound by {_bound(fast)}; the best of its SIMD lanes "
                    "alone "
                    f"({wide.result.precision}) {number(wide.result.latency_s * 1e3)} ms, bound by {_bound(wide)}.",
                    spec.claim(2),
                    "bears out" if fast.result.latency_s < wide.result.latency_s else "contradicts",
                )
            )
    return remarks


def _pairs(spec: Spec, by_device: Mapping[str, Sequence[Entry]], wide: str, narrow: str, which: int) -> list[Remark]:
    """How far a narrower format helps, on each device that has both."""
    both = [
        (device, found[wide], found[narrow])
        for device, own in by_device.items()
        if {wide, narrow} <= (found := {e.result.precision: e for e in own}).keys()
    ]
    if not both:
        return []
    said = [
        f"{device} {number(a.result.latency_s / b.result.latency_s)} times as fast on "
        f"{number(100 * b.result.energy_per_item_j / a.result.energy_per_item_j)} % of the energy "
        f"({number(_pj_per_mac(a) / max(_pj_per_mac(b), 1e-30))} times less a multiply-accumulate)"
        for device, a, b in both
    ]
    less = [_pj_per_mac(a) / max(_pj_per_mac(b), 1e-30) for _, a, b in both]
    narrower = bits(wide) / bits(narrow)
    holds = sum(ratio >= narrower for ratio in less)
    return [
        Remark(
            f"From {wide} to {narrow} tensors take {number(narrower)} times fewer bytes; " + "; ".join(said) + ".",
            spec.claim(which),
            "bears out" if holds == len(both) else "qualifies" if holds else "contradicts",
        )
    ]
