"""A suite's rows for people and for programs: JSON, CSV, and the page ``docs/validation.md``."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from accelsim.validation.catalogue import load_suite
from accelsim.validation.rows import Row, Suite, summary

SCHEMA = "accelsim.validation/1"
COLUMNS = (
    "suite",
    "name",
    "quantity",
    "unit",
    "reference",
    "ours",
    "error_pct",
    "peer_error_pct",
    "tolerance_pct",
    "source",
    "why",
)
MOST_ROWS = 60
"""Of a suite that the page lists; of a longer one the page shows the worst."""

WORST_ROWS = 10


def to_json(ran: Mapping[str, Sequence[Row]]) -> str:
    """All suites that ran, under schema ``accelsim.validation/1``."""
    plain = {
        "schema": SCHEMA,
        "suites": [summary(name, rows) for name, rows in ran.items()],
        "rows": [row.to_dict() for rows in ran.values() for row in rows],
    }
    return json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_csv(ran: Mapping[str, Sequence[Row]]) -> str:
    """All rows."""
    out = io.StringIO()
    lines = csv.writer(out, lineterminator="\n")
    lines.writerow(COLUMNS)
    for rows in ran.values():
        for row in rows:
            plain = row.to_dict()
            lines.writerow([_cell(plain.get(column, "")) for column in COLUMNS])
    return out.getvalue()


def markdown_table(rows: Sequence[Mapping[str, str]], left: Sequence[str]) -> list[str]:
    """Rows with the same keys as a table; columns of ``left`` are aligned there, the others to the right."""
    if not rows:
        return []
    names = [*rows[0]]
    return [
        f"| {' | '.join(names)} |",
        f"|{'|'.join('---' if name in left else '--:' for name in names)}|",
        *(f"| {' | '.join(row.values())} |" for row in rows),
    ]


def _cell(value: Any) -> Any:
    return repr(value) if isinstance(value, float) else value


def page(ran: Mapping[str, Sequence[Row]], data: Path | None = None) -> str:
    """The page ``docs/validation.md``; ``data`` is the folder of measured files, where suites say more with it."""
    return "\n".join(
        [
            "# Validation: ours against silicon and papers",
            "",
            "Written by `accelsim validate --write-docs docs/validation.md`; do not edit. Every suite and every row of",
            "it is here or in `accelsim validate --csv FILE`: none is left out, and references are never moved. Errors",
            "are `100 (ours - reference) / reference`. A suite's mean is over its latencies and throughputs, all of",
            "them. Measured files are not part of the project: `--data DIR` or `$ACCELSIM_DATA` says where they are.",
            "",
            "| suite | rows in the mean | mean error, % | median, % | bias, % | worst, % | of |",
            "|---|--:|--:|--:|--:|--:|---|",
            *(_headline(summary(name, rows)) for name, rows in ran.items()),
            "",
            *(section(name, load_suite(name), rows, data) for name, rows in ran.items()),
        ]
    )


def _headline(said: Mapping[str, Any]) -> str:
    worst = said["worst"]
    numbers = (said["mape_pct"], said["median_ape_pct"])
    return (
        f"| [{said['suite']}](#{said['suite']}) | {said['n']} | {' | '.join(f'{x:.1f}' for x in numbers)} | "
        f"{_signed(said['bias_pct'])} | {_signed(worst['error_pct'])} | {worst['name']} |"
    )


def section(name: str, suite: Suite, rows: Sequence[Row], data: Path | None = None) -> str:
    """One suite's part of the page; it ends with an empty line."""
    shown, exact = rows, sum(row.ours == row.reference for row in rows)
    lines = [f"<a id='{name}'></a>", f"## {suite.title}", "", suite.about, ""]
    if suite.more is not None:
        lines += [*suite.more(data), ""]
    if len(rows) > MOST_ROWS:
        shown = sorted(rows, key=lambda row: -abs(row.error_pct))[:WORST_ROWS]
        lines += [
            f"{len(rows)} rows, {exact} of them equal to the reference; the {WORST_ROWS} that are furthest from it "
            f"(`accelsim validate {name} --csv FILE` writes all):",
            "",
        ]
    lines += [
        "| | quantity | reference | ours | unit | error, % | peer's, % | asserted, % |",
        "|---|---|--:|--:|---|--:|--:|--:|",
        *(f"| {' | '.join(cells(row))} |" for row in shown),
        "",
        *_reasons(shown),
        "Sources: " + "; ".join(dict.fromkeys(row.source for row in shown)) + ".",
        "",
    ]
    return "\n".join(lines)


def cells(row: Row) -> tuple[str, ...]:
    """A row of a table: name, quantity, reference, ours, unit, error, peer's error, tolerance."""
    return (
        row.name,
        row.quantity,
        _number(row.reference),
        _number(row.ours),
        row.unit,
        _signed(row.error_pct),
        "" if row.peer_error_pct is None else f"{row.peer_error_pct:.1f}",
        "" if row.tolerance_pct is None else f"{row.tolerance_pct:g}",
    )


def _reasons(rows: Sequence[Row]) -> list[str]:
    """Why each tolerance is not smaller, once for the rows that share a reason."""
    by_reason: dict[str, list[str]] = {}
    for row in rows:
        if row.why:
            by_reason.setdefault(row.why, []).append(row.name)
    if not by_reason:
        return []
    return [
        "Why the asserted bounds are not smaller:",
        "",
        *(f"- {', '.join(n)}: {w}." for w, n in by_reason.items()),
        "",
    ]


def _number(value: float) -> str:
    return f"{value:.0f}" if float(value).is_integer() or abs(value) >= 10_000 else f"{value:.4g}"


def _signed(value: float) -> str:
    text = f"{value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text
