"""A file of measured kernels judged: every row with its prediction, and errors by device and op."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from accelsim.base.csv_rows import SIZES, raise_for
from accelsim.base.errors import InputError, nearest
from accelsim.validation.document import SCHEMA
from accelsim.validation.rows import Row, spread, summary
from accelsim.validation.silicon.build import UnmodelledError
from accelsim.validation.silicon.predict import Prediction, predict
from accelsim.validation.silicon.rows import Measurement, read_measurements

SUITE = "ops"


@dataclass(frozen=True)
class Judged:
    """A measured row and what we say of it, or why we say nothing."""

    row: Measurement
    ours: Prediction | None
    why_not: str = ""

    @property
    def error_pct(self) -> float:
        """``100 (ours - measured) / measured``; only where there is a prediction."""
        assert self.ours is not None
        return 100 * (self.ours.predicted_us - self.row.latency_us) / self.row.latency_us

    @property
    def power_error_pct(self) -> float | None:
        """The same of the power that was noted; None where it was not or there is no prediction."""
        measured = self.row.power_w
        if self.ours is None or measured is None:
            return None
        return 100 * (self.ours.shown_w - measured) / measured

    @property
    def roofline_error_pct(self) -> float:
        """The same of the plain roofline."""
        assert self.ours is not None
        return 100 * (self.ours.roofline_us - self.row.latency_us) / self.row.latency_us


def judge(file: Path, *, device: str | None = None, op: str | None = None) -> tuple[Sequence[str], list[Judged]]:
    """The file's columns, and each of its rows (of one device, of one op) judged.

    Raises InputError for a file that cannot be read, a device or op that no row has, and rows that are wrong.
    """
    columns, rows = read_measurements(file)
    chosen = _chosen(_chosen(rows, "device", device, file), "op", op, file)
    judged: list[Judged] = []
    wrong: list[str] = []
    for row in chosen:
        try:
            judged.append(Judged(row, predict(row)))
        except UnmodelledError as error:
            judged.append(Judged(row, None, str(error)))
        except InputError as error:
            wrong += [f"{file}, {problem}" for problem in error.problems]
    raise_for(wrong)
    return columns, judged


def _chosen(rows: Sequence[Measurement], column: str, asked: str | None, file: Path) -> Sequence[Measurement]:
    if asked is None:
        return rows
    found = [row for row in rows if row.text(column).lower() == asked.lower()]
    if not found:
        have = sorted({row.text(column) for row in rows})
        raise InputError(
            f"--{column} {asked!r}: no row of {file} has it{nearest(asked, have)}; there are {', '.join(have)}"
        )
    return found


def as_rows(judged: Iterable[Judged]) -> list[Row]:
    """What has a prediction, as rows of a suite."""
    return [
        Row(
            suite=SUITE,
            name=name_of(one.row),
            quantity="latency",
            unit="us",
            reference=one.row.latency_us,
            ours=one.ours.predicted_us,
            source=one.row.text("source_repo"),
        )
        for one in judged
        if one.ours is not None
    ]


def name_of(row: Measurement) -> str:
    """A row in a few words: device, op, format and sizes."""
    sizes = [f"{column}={row.text(column)}" for column in SIZES if row.text(column)]
    return " ".join([row.text("device"), row.text("op"), row.text("dtype"), *sizes])


@dataclass(frozen=True, slots=True)
class Group:
    """Errors of rows that belong together [%]."""

    device: str
    op: str
    dtype: str
    n: int
    mape_pct: float
    median_ape_pct: float
    bias_pct: float
    worst_pct: float
    roofline_mape_pct: float
    power_mape_pct: float | None
    """Of those rows whose power was measured; None where none was."""

    def to_dict(self) -> dict[str, Any]:
        """Under the names of the JSON."""
        return {slot: getattr(self, slot) for slot in self.__slots__}


def groups(judged: Iterable[Judged]) -> list[Group]:
    """By device, op and format, in the order of their names; rows without a prediction are in none."""
    by: dict[tuple[str, str, str], list[Judged]] = {}
    for one in judged:
        if one.ours is not None:
            by.setdefault((one.row.text("device"), one.row.text("op"), one.row.text("dtype")), []).append(one)
    return [_group(*key, members) for key, members in sorted(by.items())]


def _group(device: str, op: str, dtype: str, members: Sequence[Judged]) -> Group:
    errors = [one.error_pct for one in members]
    return Group(
        device=device,
        op=op,
        dtype=dtype,
        n=len(members),
        **spread(errors),
        worst_pct=max(errors, key=abs),
        roofline_mape_pct=fmean(abs(one.roofline_error_pct) for one in members),
        power_mape_pct=power_summary(members).get("power_mape_pct"),
    )


def power_summary(judged: Iterable[Judged]) -> dict[str, float]:
    """Rows whose power was measured and has a prediction, mean error and bias; empty where there is none."""
    errors = [one.power_error_pct for one in judged]
    known = [error for error in errors if error is not None]
    if not known:
        return {}
    return {"power_rows": len(known), **{f"power_{name}": value for name, value in spread(known).items()}}


def unmodelled(judged: Iterable[Judged]) -> Counter[str]:
    """Why rows have no prediction, and how many for each reason."""
    return Counter(one.why_not for one in judged if one.ours is None)


def overall(judged: Sequence[Judged]) -> dict[str, Any]:
    """A suite's summary, with the plain roofline's mean error and the rows that have no prediction."""
    rows = as_rows(judged)
    said = summary(SUITE, rows) if rows else {"suite": SUITE, "n": 0}
    if rows:
        said["roofline_mape_pct"] = fmean(abs(one.roofline_error_pct) for one in judged if one.ours is not None)
    return {**said, **power_summary(judged), "rows": len(judged), "unmodelled": sum(unmodelled(judged).values())}


def to_json(judged: Sequence[Judged]) -> str:
    """Schema ``accelsim.validation/1``, with errors by group and what is not modelled beside the rows."""
    plain = {
        "schema": SCHEMA,
        "suites": [overall(judged)],
        "groups": [group.to_dict() for group in groups(judged)],
        "unmodelled": [{"reason": why, "rows": n} for why, n in sorted(unmodelled(judged).items())],
        "rows": [
            {**row.to_dict(), "roofline": one.ours.roofline_us, "bound": one.ours.bound, "line": one.row.number}
            for row, one in zip(as_rows(judged), (o for o in judged if o.ours is not None), strict=True)
            if one.ours is not None
        ],
    }
    return json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_csv(columns: Sequence[str], judged: Iterable[Judged]) -> str:
    """Every row as it came, with ``predicted_us``, ``roofline_us``, ``bound``, ``predicted_power_w`` and more after it.

    ``predicted_power_w`` is what the meter shows, ``kernel_power_w`` what the kernel draws.
    """
    out = io.StringIO()
    lines = csv.writer(out, lineterminator="\n")
    lines.writerow(
        [*columns, "predicted_us", "roofline_us", "bound", "predicted_power_w", "kernel_power_w", "tiling", "why_not"]
    )
    for one in judged:
        cells = [one.row.text(column) for column in columns]
        lines.writerow([*cells, *_said(one.ours), one.why_not])
    return out.getvalue()


def _said(ours: Prediction | None) -> list[str]:
    if ours is None:
        return [""] * 6
    return [
        f"{ours.predicted_us:.4f}",
        f"{ours.roofline_us:.4f}",
        ours.bound,
        f"{ours.shown_w:.1f}",
        f"{ours.power_w:.1f}",
        ours.tiling,
    ]


def cells(group: Group) -> Mapping[str, str]:
    """A group as a line of a table."""
    return {
        "device": group.device,
        "op": group.op,
        "format": group.dtype,
        "rows": str(group.n),
        "mean %": f"{group.mape_pct:.1f}",
        "median %": f"{group.median_ape_pct:.1f}",
        "bias %": f"{group.bias_pct:+.1f}",
        "worst %": f"{group.worst_pct:+.0f}",
        "roofline %": f"{group.roofline_mape_pct:.1f}",
        **({} if group.power_mape_pct is None else {"power %": f"{group.power_mape_pct:.1f}"}),
    }
