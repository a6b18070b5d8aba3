"""What ops that a device lacks cost, when they fall back to the host: support taken away, function by function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from accelsim.analysis.findings import Cell, Findings, Line, LineChart, Panel, Remark, Table
from accelsim.analysis.result import Result
from accelsim.base.errors import InputError
from accelsim.hardware.device import Device, Function, OpKind
from accelsim.hardware.loader import load_device
from accelsim.hardware.part import Text
from accelsim.simulation import Options, simulate
from accelsim.study.reports.common import Batch, StudySpec, none_ran, number, once, once_by
from accelsim.workload.library import load_workload
from accelsim.workload.ops import FUNCTIONS


class Case(BaseModel):
    """A device and a workload, and the kinds and functions that are taken away one after another."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: Text
    workload: Text
    batch: Batch
    taken: Annotated[
        tuple[Literal[OpKind, Function], ...],
        AfterValidator(once),
        Field(min_length=1, description="a list of kinds of op and functions"),
    ]
    """Kinds of op (``softmax``) or functions (``gelu``), in the order in which they go."""


class Spec(StudySpec):
    """What the study says."""

    cases: Annotated[
        tuple[Case, ...],
        AfterValidator(once_by(lambda case: f"{case.workload} on {case.device} at batch {case.batch}")),
    ] = Field(min_length=1, description="a list of [[cases]]")


@dataclass(frozen=True, slots=True)
class _Step:
    case: Case
    lacking: tuple[str, ...]
    share: float
    """Of the workload's ops that run on the host."""
    away: float
    """Of the time in which the host or the link works."""
    result: Result


def findings(spec: Spec) -> Findings:
    """Take support away step by step, and run again."""
    steps: list[_Step] = []
    left_out: list[str] = []
    for case in spec.cases:
        device = load_device(case.device)
        for count in range(len(case.taken) + 1):
            lacking = case.taken[:count]
            try:
                steps.append(_step(case, device, lacking))
            except InputError as error:
                without = f" without {', '.join(lacking)}" if lacking else ""
                left_out.append(f"{case.workload} on {case.device}{without}: {'; '.join(error.problems)}")
                if not lacking:
                    break  # there is nothing to compare with
    if not steps:
        raise none_ran(left_out)
    return Findings(
        title=spec.title,
        lead=(
            "Support for kinds of op and functions is taken away one after another; what a device lacks runs on its "
            "host, with "
            "the transfers over the link that this takes. The share is of the ops that are left after fusing."
        ),
        remarks=tuple(_remarks(spec, steps)),
        charts=(
            LineChart(
                name="slowdown",
                caption="Slowdown against the share of ops that run on the host.",
                x_label="Ops on the host (%)",
                y_label="Times slower",
                panels=(
                    Panel(
                        "",
                        tuple(
                            Line(f"{case.workload}, {case.device}", points)
                            for case in spec.cases
                            if (points := _points(case, steps))
                        ),
                    ),
                ),
            ),
        ),
        tables=(_table(steps),),
        left_out=tuple(left_out),
    )


def _step(case: Case, device: Device, lacking: Sequence[str]) -> _Step:
    limits = device.limits
    graph = load_workload(case.workload, batch=case.batch)
    kinds = limits.ops if limits and limits.ops is not None else tuple(sorted({op.kind for op in graph.ops} | _COMMON))
    functions = limits.functions if limits and limits.functions is not None else tuple(sorted(FUNCTIONS))
    sets = {
        "limits.ops": [kind for kind in kinds if kind not in lacking],
        "limits.functions": [function for function in functions if function not in lacking],
    }
    result = simulate(
        case.device, case.workload, overrides=sets if lacking else None, options=Options(batch=case.batch)
    )
    ops = [op for op in result.ops if op.kind != "transfer"]
    hosted = [op for op in ops if op.device != device.name]
    spans = [s for s in result.trace.spans if s.device != device.name or s.kind == "transfer"]
    away_ps = sum(span.duration_ps for span in spans)
    return _Step(case, tuple(lacking), len(hosted) / len(ops), min(1.0, away_ps / result.trace.end_ps), result)


_COMMON = frozenset({"matmul", "conv2d", "elementwise", "reduction", "softmax", "norm", "pool", "gather", "move"})


def _points(case: Case, steps: Sequence[_Step]) -> tuple[tuple[float, float], ...]:
    own = [s for s in steps if s.case is case]
    if not own:
        return ()
    base = own[0].result.latency_s
    worst: dict[float, float] = {}
    for s in own:
        if s.share > 0:
            x = 100 * s.share
            worst[x] = max(worst.get(x, 0.0), s.result.latency_s / base)
    return tuple(sorted(worst.items()))


def _remarks(spec: Spec, steps: Sequence[_Step]) -> list[Remark]:
    remarks = []
    for case in spec.cases:
        own = [s for s in steps if s.case is case]
        if len(own) < 2:
            continue
        base, last = own[0], own[-1]
        slower = last.result.latency_s / base.result.latency_s
        first = next((s for s in own if s.share > base.share), None)
        early = (
            f" The first step, without {first.lacking[-1]}, puts {number(100 * first.share)} % of the ops on the host "
            "and "
            f"makes it {number(first.result.latency_s / base.result.latency_s)} times slower."
            if first is not None
            else ""
        )
        remarks.append(
            Remark(
                f"{case.workload} on {case.device} at batch {case.batch}: without {', '.join(last.lacking)} "
                f"{number(100 * last.share)} % of the ops run on the host, and a step takes {number(slower)} times as "
                "long; "
                f"host and link work for {number(100 * last.away)} % of it.{early}",
                spec.claim(0),
                "bears out" if slower > 1.05 else "contradicts",
            )
        )
    return remarks


def _table(steps: Sequence[_Step]) -> Table:
    columns = (
        "workload", "device", "batch", "lacking", "host_ops_pct", "host_and_link_time_pct", "latency_ms",
        "times_slower", "mj_per_item", "host_mj_per_item",
    )  # fmt: skip
    base = {s.case: s.result.latency_s for s in steps if not s.lacking}
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            s.case.workload, s.case.device, s.case.batch, " ".join(s.lacking), 100 * s.share, 100 * s.away,
            s.result.latency_s * 1e3, s.result.latency_s / base[s.case] if s.case in base else None,
            s.result.energy_per_item_j * 1e3, s.result.host_energy_j / s.result.batch * 1e3,
        )
        for s in steps
    )  # fmt: skip
    return Table("steps", columns, rows)
