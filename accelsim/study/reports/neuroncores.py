"""The cores of one chip used in four ways: one of them, a copy each, a pipeline, and two models side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from accelsim.analysis.findings import BarChart, Cell, Findings, Remark, Table
from accelsim.analysis.result import Result
from accelsim.base.errors import ConfigError, InputError
from accelsim.hardware.loader import load_device
from accelsim.hardware.part import Text
from accelsim.placement import Placed, simulate_together
from accelsim.simulation import Options, simulate
from accelsim.study.reports.common import Batches, StudySpec, none_ran, number, weight_bytes_per_item


class Spec(StudySpec):
    """What the study says: a device with cores of its own, a model that fits on chip and one that does not."""

    device: Text
    fits: Text
    does_not_fit: Text
    batches: Batches


@dataclass(frozen=True, slots=True)
class _Way:
    name: str
    model: str
    result: Result


def findings(spec: Spec) -> Findings:
    """Run each model each way."""
    device = load_device(spec.device)
    cores = device.core.count
    if device.core.gang or cores < 2:
        have = "one op is spread over all of its cores" if device.core.gang else "it has one core"
        raise ConfigError(f"device: got {spec.device!r}: {have}; want a device with several cores of their own")
    ways: list[_Way] = []
    left_out: list[str] = []
    for model in (spec.fits, spec.does_not_fit):
        for batch in spec.batches:
            for name, options in (
                ("one core", Options(batch=batch)),
                (f"{cores} copies", Options(batch=batch, parallel="data")),
                (f"{cores}-stage pipeline", Options(batch=batch, parallel="pipeline")),
            ):
                try:
                    ways.append(_Way(name, model, simulate(spec.device, model, options=options)))
                except InputError as error:
                    left_out.append(f"{model} at batch {batch}, {name}: {'; '.join(error.problems)}")
    if not ways:
        raise none_ran(left_out)
    half = cores // 2
    try:
        both = simulate_together(
            spec.device,
            [Placed(spec.fits, 0, half - 1), Placed(spec.does_not_fit, half, cores - 1)],
            options=Options(batch=max(spec.batches)),
        )
        ways += [
            _Way(f"{half} copies beside the other model", model, result)
            for model, result in zip((spec.fits, spec.does_not_fit), both, strict=True)
        ]
    except InputError as error:
        left_out.append(f"{spec.fits} beside {spec.does_not_fit}: {'; '.join(error.problems)}")
    return Findings(
        title=spec.title,
        lead=(
            f"{spec.device} has {cores} cores with memories of their own on one DRAM. {spec.fits} keeps its "
            "weights "
            f"on chip when a pipeline spreads them over the cores, {spec.does_not_fit} does not. Latency is "
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
        rows=tuple(f"{w.model} b{w.result.batch}, {w.name}" for w in ways),
        parts=((label, tuple(values)),),
    )


def _of(ways: Sequence[_Way], model: str, word: str, batch: int) -> Result | None:
    return next((w.result for w in ways if w.model == model and word in w.name and w.result.batch == batch), None)


def _remarks(spec: Spec, ways: Sequence[_Way]) -> list[Remark]:
    remarks = []
    device = load_device(spec.device)
    for which, model in enumerate((spec.fits, spec.does_not_fit)):
        for batch in spec.batches:
            one, copies, piped = (_of(ways, model, word, batch) for word in ("one core", "copies", "pipeline"))
            if one is None or copies is None or piped is None:
                continue
            read = [weight_bytes_per_item(r, device) / 1e6 for r in (copies, piped, one)]
            rates = [r.throughput_items_per_s for r in (copies, piped, one)]
            steps = [r.latency_s * 1e3 for r in (copies, piped, one)]
            less, wins = read[1] < read[0], rates[1] > rates[0]
            remarks.append(
                Remark(
                    f"{model} at batch {batch}: copies give {number(rates[0])} items/s, the pipeline "
                    f"{number(rates[1])}, "
                    f"one core {number(rates[2])}: {'the pipeline wins' if wins else 'copies win'}. Weights read from "
                    "DRAM "
                    f"for an item: {number(read[0])} MB, {number(read[1])} MB and {number(read[2])} MB. Latency of a "
                    "step: "
                    f"{number(steps[0])} ms, {number(steps[1])} ms and {number(steps[2])} ms.",
                    spec.claim(which),
                    "bears out" if (less and wins if which == 0 else not wins) else "qualifies",
                )
            )
    for model in (spec.fits, spec.does_not_fit):
        beside = _of(ways, model, "beside", max(spec.batches))
        if beside is None:
            continue
        alone = simulate_together(
            spec.device,
            [Placed(model, 0, device.core.count // 2 - 1)],
            options=Options(batch=beside.batch),
        )[0]
        lost = 1 - beside.throughput_items_per_s / alone.throughput_items_per_s
        remarks.append(
            Remark(
                f"Beside the other model, {model} on half of the cores loses {number(100 * lost, 2)} % of the "
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
            w.model, w.name, w.result.cores, w.result.batch, w.result.latency_s * 1e3,
            w.result.throughput_items_per_s, w.result.dram_bytes / w.result.batch / 1e6,
            weight_bytes_per_item(w.result, device) / 1e6, w.result.energy_per_item_j * 1e3, w.result.average_power_w,
        )
        for w in ways
    )  # fmt: skip
    return Table("ways", columns, rows)
