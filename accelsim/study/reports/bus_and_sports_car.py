"""Energy of an inference against batch on devices for training and for inference, and where they cross."""

from __future__ import annotations

import math
from collections.abc import Sequence

from accelsim.analysis.findings import Cell, Findings, Line, LineChart, Panel, Remark, Table
from accelsim.study.compare import Entry
from accelsim.study.reports.common import Batches, Names, StudySpec, grid, listed, number, ran, told


class Spec(StudySpec):
    """What the study says."""

    buses: Names
    """Devices for training."""
    sports_cars: Names
    """Devices for inference."""
    workloads: Names
    batches: Batches


def findings(spec: Spec) -> Findings:
    """Run all of them, and find for each pair the batch from which the bus needs less energy an item."""
    entries, refused = ran(grid((*spec.buses, *spec.sports_cars), spec.workloads, spec.batches))
    curves: dict[tuple[str, str], list[Entry]] = {}
    for e in entries:
        curves.setdefault((e.point.workload, e.point.device), []).append(e)
    crossings = [
        (workload, bus, car, _crossing(curves[workload, bus], curves[workload, car]))
        for workload in spec.workloads
        for bus in spec.buses
        for car in spec.sports_cars
        if _both(curves.get((workload, bus), ()), curves.get((workload, car), ()))
    ]
    return Findings(
        title=spec.title,
        lead=(
            f"Energy of an item of {listed(list(spec.workloads))} at batch {spec.batches[0]} to {spec.batches[-1]} on "
            "devices "
            f"built for training ({listed(list(spec.buses))}) and for inference ({listed(list(spec.sports_cars))}), "
            "idle "
            "power included, the device always busy. A crossing is the batch, between two that were run, at which the "
            "lines "
            "of a pair meet (in logarithms)."
        ),
        remarks=tuple(_remarks(spec, curves, crossings)),
        charts=(
            LineChart(
                name="energy",
                caption="Energy of an item against batch; first the devices for training, then those for inference.",
                x_label="Batch size (items)",
                y_label="Energy per item",
                y_unit="J",
                panels=tuple(
                    Panel(
                        workload,
                        tuple(
                            Line(device, tuple((float(e.result.batch), e.result.energy_per_item_j) for e in runs))
                            for (of, device), runs in curves.items()
                            if of == workload
                        ),
                    )
                    for workload in spec.workloads
                    if any(of == workload for of, _ in curves)
                ),
            ),
        ),
        tables=(_runs(entries), _crossings(crossings)),
        left_out=told(refused),
    )


def _both(bus: Sequence[Entry], car: Sequence[Entry]) -> set[int]:
    """Batches that both could run."""
    return {e.result.batch for e in bus} & {e.result.batch for e in car}


def _crossing(bus: Sequence[Entry], car: Sequence[Entry]) -> float | None:
    """The batch from which on the bus needs less; 0 where it always does, None where it never does."""
    joules = {e.result.batch: e.result.energy_per_item_j for e in car}
    points = [
        (e.result.batch, math.log(e.result.energy_per_item_j / joules[e.result.batch]))
        for e in bus
        if e.result.batch in joules
    ]
    if all(gap <= 0 for _, gap in points):
        return 0.0
    if points[-1][1] > 0:
        return None
    last = max(i for i, (_, gap) in enumerate(points) if gap > 0)
    (b0, g0), (b1, g1) = points[last], points[last + 1]
    return float(b0 * (b1 / b0) ** (g0 / (g0 - g1)))


def _remarks(
    spec: Spec, curves: dict[tuple[str, str], list[Entry]], crossings: Sequence[tuple[str, str, str, float | None]]
) -> list[Remark]:
    remarks = []
    for workload in spec.workloads:
        ones = {d: runs[0].result for (of, d), runs in curves.items() if of == workload}
        buses, cars = ([ones[d] for d in names if d in ones] for names in (spec.buses, spec.sports_cars))
        if not buses or not cars:
            continue
        bus, car = (min(side, key=lambda r: r.energy_per_item_j) for side in (buses, cars))
        ratio = bus.energy_per_item_j / car.energy_per_item_j
        remarks.append(
            Remark(
                f"One item of {workload} at a time: the thriftiest device for training ({bus.device['name']}) needs "
                f"{number(ratio)} times the energy of the thriftiest for inference ({car.device['name']}).",
                spec.claim(0),
                "bears out" if ratio > 1.1 else "contradicts" if ratio < 0.9 else "qualifies",
            )
        )
    met = [(w, b, c, x) for w, b, c, x in crossings if x]
    always = sum(x == 0.0 for *_, x in crossings)
    never = sum(x is None for *_, x in crossings)
    text = (
        f"Of {len(crossings)} pairs the device for training needs less energy from the first batch on in {always}, "
        "never in "
        f"{never}, and from some batch on in {len(met)}"
    )
    if met:
        text += ": " + "; ".join(f"{b} against {c} on {w} from {number(x, 2)} items" for w, b, c, x in met)
    remarks.append(Remark(text + ".", spec.claim(1), "bears out" if met else "qualifies"))
    return remarks


def _runs(entries: Sequence[Entry]) -> Table:
    columns = ("workload", "device", "precision", "batch", "mj_per_item", "latency_ms", "items_per_s", "power_w")
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            e.result.workload["name"], e.result.device["name"], e.result.precision, e.result.batch,
            e.result.energy_per_item_j * 1e3, e.result.latency_s * 1e3, e.result.throughput_items_per_s,
            e.result.average_power_w,
        )
        for e in entries
    )  # fmt: skip
    return Table("runs", columns, rows)


def _crossings(crossings: Sequence[tuple[str, str, str, float | None]]) -> Table:
    said = tuple(
        (workload, bus, car, "never" if x is None else "always" if x == 0.0 else float(x))
        for workload, bus, car, x in crossings
    )
    return Table("crossings", ("workload", "bus", "sports_car", "bus_thriftier_from_batch"), said)
