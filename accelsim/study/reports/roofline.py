"""All devices under their roofs, by number format, with the ops of some networks."""

from __future__ import annotations

from collections.abc import Sequence

from accelsim.analysis.findings import Cell, Findings, Remark, Roof, RoofChart, Table
from accelsim.base.dtypes import bits
from accelsim.hardware.loader import load_device
from accelsim.hardware.part import DTypeName
from accelsim.study.reports.common import Batch, Formats, Names, StudySpec, listed, none_ran, number
from accelsim.workload.graph import Graph
from accelsim.workload.library import load_workload
from accelsim.workload.ops import Op
from accelsim.workload.transforms import set_precision


class Spec(StudySpec):
    """What the study says."""

    devices: Names
    formats: Formats
    workloads: Names
    batch: Batch = 1
    marked_in: DTypeName
    """The format in which the networks' intensities are drawn."""


def findings(spec: Spec) -> Findings:
    """Roofs from the device files, intensities from the graphs; nothing is simulated."""
    devices = [load_device(name) for name in spec.devices]
    panels = []
    rows: list[tuple[Cell, ...]] = []
    for name in spec.formats:
        roofs = []
        for device in devices:
            if device.dram is None or not device.computes(name):
                continue
            roof = Roof(device.name, 2 * device.peak_macs_per_s(name), device.dram.bandwidth_bytes_per_s)
            roofs.append(roof)
            rows.append(
                (device.name, name, roof.peak_ops_per_s / 1e12, roof.bytes_per_s / 1e9, _ridge(roof))
            )  # fmt: skip
        if roofs:
            panels.append((name, tuple(roofs)))
    if not panels:
        devices_said, formats_said = listed(list(spec.devices)), listed(list(spec.formats))
        raise none_ran([f"none of {devices_said} has a DRAM and multiplies in any of {formats_said}"])
    graphs = [set_precision(load_workload(name, batch=spec.batch), spec.marked_in) for name in spec.workloads]
    marks = tuple((graph.name, _intensities(graph)) for graph in graphs)
    without = [device.name for device in devices if device.dram is None]
    return Findings(
        title=spec.title,
        lead=(
            "Peak operations (two for each multiply-accumulate) and DRAM bandwidth from the device files. The ticks at "
            "the "
            f"foot are the products of {listed(list(spec.workloads))} at batch {spec.batch} in {spec.marked_in}: their "
            "operations over their inputs, weights and outputs, each once from DRAM."
        ),
        remarks=tuple(_remarks(spec, panels, marks)),
        charts=(
            RoofChart(
                name="roofline",
                caption=f"Rooflines by format; ticks are ops of networks at batch {spec.batch} in {spec.marked_in}.",
                panels=tuple(panels),
                marks=marks,
            ),
        ),
        tables=(
            Table("roofs", ("device", "format", "peak_tops", "dram_gb_per_s", "ridge_ops_per_byte"), tuple(rows)),
            Table(
                "ops",
                ("workload", "op", "kind", "gmac", "mb", "ops_per_byte"),
                tuple(
                    (g.name, op.name, op.kind, op.macs / 1e9, _size(op) / 1e6, 2 * op.macs / _size(op))
                    for g in graphs
                    for op in g.ops
                    if op.macs
                ),
            ),
        ),
        left_out=tuple(f"{name}: has no DRAM of its own" for name in without),
    )


def _ridge(roof: Roof) -> float:
    return roof.peak_ops_per_s / roof.bytes_per_s


def _size(op: Op) -> int:
    return sum(op.bytes_read(t) for t in op.inputs) + sum(t.bytes for t in op.outputs)


def _intensities(graph: Graph) -> tuple[float, ...]:
    return tuple(sorted({2 * op.macs / _size(op) for op in graph.ops if op.macs}))


def _remarks(
    spec: Spec,
    panels: Sequence[tuple[str, tuple[Roof, ...]]],
    marks: Sequence[tuple[str, tuple[float, ...]]],
) -> list[Remark]:
    remarks = []
    for name, roofs in panels:
        low, high = min(roofs, key=_ridge), max(roofs, key=_ridge)
        remarks.append(
            Remark(
                f"{name}: ridges lie between {number(_ridge(low))} ({low.name}) and {number(_ridge(high))} "
                f"({high.name}) "
                f"operations a byte; the highest peak is {max(roofs, key=lambda r: r.peak_ops_per_s).name}'s."
            )
        )
    marked = next((roofs for name, roofs in panels if name == spec.marked_in), ())
    for workload, values in marks:
        if not marked:
            break
        median_ridge = sorted(_ridge(roof) for roof in marked)[len(marked) // 2]
        below = sum(value < median_ridge for value in values)
        remarks.append(
            Remark(
                f"{workload} at batch {spec.batch}: {below} of {len(values)} different intensities lie below the "
                "median ridge "
                f"in {spec.marked_in} ({number(median_ridge)} operations a byte, of {bits(spec.marked_in)}-bit "
                "numbers): "
                "there memory is the limit.",
                spec.claim(0),
                "bears out" if below > len(values) / 2 else "qualifies",
            )
        )
    return remarks
