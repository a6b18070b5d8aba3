"""The cores of one chip used in four ways: one of them, a copy each, a pipeline, and two models side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from accelsim.analysis.findings import BarChart, Cell, Findings, Remark, Table
from accelsim.analysis.result import Result
from accelsim.base.errors import InputError
from accelsim.hardware.loader import load_device
from accelsim.hardware.part import Text
from accelsim.placement import Placed, simulate_together
from accelsim.simulation import Options, simulate
from accelsim.study.reports.common import StudySpec, number, weight_bytes_per_item


class Model(BaseModel):
    """A workload and the items in a step of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    workload: Text
    batch: int = Field(ge=1, description="a whole number >= 1")


class Spec(StudySpec):
    """What the study says: a device with cores of its own, a model that fits on chip and one that does not."""

    device: Text
    fits: Model
    does_not_fit: Model


@dataclass(frozen=True, slots=True)
class _Way:
    name: str
    model: Model
    result: Result


def findings(spec: Spec) -> Findings:
    """Run each model each way."""
    device = load_device(spec.device)
    cores = device.core.count
    ways: list[_Way] = []
    left_out: list[str] = []
    for model in (spec.fits, spec.does_not_fit):
        for name, options in (
            ("one core", Options(batch=model.batch)),
            (f"{cores} copies", Options(batch=model.batch, parallel="data")),
            (f"{cores}-stage pipeline", Options(batch=model.batch, parallel="pipeline")),
        ):
            try:
                ways.append(_Way(name, model, simulate(spec.device, model.workload, options=options)))
            except InputError as error:
                left_out.append(f"{model.workload}, {name}: {'; '.join(error.problems)}")
    half = cores // 2
    both = simulate_together(
        spec.device,
        [Placed(spec.fits.workload, 0, half - 1), Placed(spec.does_not_fit.workload, half, cores - 1)],
        options=Options(batch=min(spec.fits.batch, spec.does_not_fit.batch)),
    )
    ways += [
        _Way(f"{half} copies beside the other model", model, result)
        for model, result in zip((spec.fits, spec.does_not_fit), both, strict=True)
    ]
    return Findings(
        title=spec.title,
        lead=(
            f"{spec.device} has {cores} cores with memories of their own on one DRAM. {spec.fits.workload} keeps its "
            "weights "
            f"on chip when a pipeline spreads them over the cores, {spec.does_not_fit.workload} does not. Latency is "
            "one step "
            "from end to end, throughput the steady state; copies split a step's items between them."
        ),
        remarks=tuple(_remarks(spec, ways)),
        charts=(
            _bars(ways, "throughput", "Items per second", "", [w.result.throughput_items_per_s for w in ways]),
            _bars(ways, "latency", "Latency of a step", "s", [w.result.latency_s for w in ways]),
            _bars(ways, "traffic", "DRAM bytes for an item", "B", [w.result.dram_bytes / w.result.batch for w in ways]),
        ),
        tables=(_table(spec, ways),),
        left_out=tuple(left_out),
    )


def _bars(ways: Sequence[_Way], name: str, label: str, unit: str, values: Sequence[float]) -> BarChart:
    return BarChart(
        name=name,
        caption=f"{label}, by how the cores are used.",
        label=label,
        unit=unit,
        rows=tuple(f"{w.model.workload} b{w.result.batch}, {w.name}" for w in ways),
        parts=((label, tuple(values)),),
    )


def _of(ways: Sequence[_Way], model: Model, word: str) -> Result | None:
    return next((w.result for w in ways if w.model is model and word in w.name), None)


def _remarks(spec: Spec, ways: Sequence[_Way]) -> list[Remark]:
    remarks = []
    device = load_device(spec.device)
    for number_of, model in enumerate((spec.fits, spec.does_not_fit)):
        one, copies, piped = (_of(ways, model, word) for word in ("one core", "copies", "pipeline"))
        if one is None or copies is None or piped is None:
            continue
        read = [weight_bytes_per_item(r, device) / 1e6 for r in (one, copies, piped)]
        better = "the pipeline wins" if piped.throughput_items_per_s > copies.throughput_items_per_s else "copies win"
        remarks.append(
            Remark(
                f"{model.workload} at batch {model.batch}: copies give {number(copies.throughput_items_per_s)} "
                "items/s, the "
                f"pipeline {number(piped.throughput_items_per_s)}, one core {number(one.throughput_items_per_s)}; "
                f"{better}. "
                f"Weights read from DRAM for an item: {number(read[1])} MB, {number(read[2])} MB and "
                f"{number(read[0])} "
                f"MB. Latency of a step: {number(copies.latency_s * 1e3)} ms, {number(piped.latency_s * 1e3)} ms and "
                f"{number(one.latency_s * 1e3)} ms.",
                spec.claim(number_of),
                ("bears out" if read[2] < read[1] else "contradicts") if number_of == 0 else "qualifies",
            )
        )
    for model in (spec.fits, spec.does_not_fit):
        beside = _of(ways, model, "beside")
        if beside is None:
            continue
        alone = simulate_together(
            spec.device,
            [Placed(model.workload, 0, device.core.count // 2 - 1)],
            options=Options(batch=beside.batch),
        )[0]
        lost = 1 - beside.throughput_items_per_s / alone.throughput_items_per_s
        remarks.append(
            Remark(
                f"Beside the other model, {model.workload} on half of the cores loses {number(100 * lost, 2)} % of the "
                "throughput that it has there alone: they share the DRAM.",
                spec.claim(2),
                "bears out",
            )
        )
    return remarks


def _table(spec: Spec, ways: Sequence[_Way]) -> Table:
    device = load_device(spec.device)
    columns = (
        "workload", "way", "cores", "batch", "latency_ms", "items_per_s", "dram_mb_per_item", "dram_weight_mb_per_item",
        "mj_per_item", "power_w",
    )  # fmt: skip
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            w.model.workload, w.name, w.result.cores, w.result.batch, w.result.latency_s * 1e3,
            w.result.throughput_items_per_s, w.result.dram_bytes / w.result.batch / 1e6,
            weight_bytes_per_item(w.result, device) / 1e6, w.result.energy_per_item_j * 1e3, w.result.average_power_w,
        )
        for w in ways
    )  # fmt: skip
    return Table("ways", columns, rows)
