"""A study's folder: its page, its figures and its numbers, the same bytes for the same findings."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from accelsim.analysis.findings import Cell, Findings, Remark, Table
from accelsim.report.charts import draw
from accelsim.report.style import figure_bytes

MOST_ROWS = 40
"""Of a table that the page shows; the file has all."""


def study_files(findings: Findings, command: str) -> dict[str, bytes]:
    """Every file by its name: ``README.md``, and for each chart a PDF and a PNG, for each table a CSV.

    A chart that has nothing to draw is left out.
    """
    files: dict[str, bytes] = {}
    captions: dict[str, str] = {}
    for chart in findings.charts:
        if chart.is_empty:
            continue
        plot = draw(chart)
        captions[chart.name] = plot.caption
        files[f"{chart.name}.pdf"] = figure_bytes(plot.figure, "pdf")
        files[f"{chart.name}.png"] = figure_bytes(plot.figure, "png")
    for table in findings.tables:
        files[f"{table.name}.csv"] = table_csv(table).encode()
    files["README.md"] = page(findings, captions, command).encode()
    return files


def table_csv(table: Table) -> str:
    """All rows; numbers as Python writes them, so that nothing is lost."""
    out = io.StringIO()
    lines = csv.writer(out, lineterminator="\n")
    lines.writerow(table.columns)
    lines.writerows([_exact(cell) for cell in row] for row in table.rows)
    return out.getvalue()


def _exact(cell: Cell) -> str:
    return "" if cell is None else repr(cell) if isinstance(cell, float) else str(cell)


def page(findings: Findings, captions: dict[str, str], command: str) -> str:
    """The page in Markdown: what was done, what one sees, the figures, the numbers."""
    lines = [
        f"# {findings.title}",
        "",
        f"Written by `{command}`; do not edit. Numbers are the simulator's, not measurements.",
        "",
        findings.lead,
        "",
        "## What one sees",
        "",
        *(_remark(remark) for remark in findings.remarks),
        "",
    ]
    for name, caption in captions.items():
        lines += [f"![{name}]({name}.png)", "", f"*{caption}* ([PDF]({name}.pdf))", ""]
    for table in findings.tables:
        lines += [f"## Numbers: [{table.name}.csv]({table.name}.csv)", "", *_table(table), ""]
    if findings.left_out:
        lines += ["## Not run", "", *(f"- {line}" for line in findings.left_out), ""]
    return "\n".join(lines)


def _remark(remark: Remark) -> str:
    text = f"- {remark.text}"
    if remark.claim:
        text += f'\n  *This {remark.verdict or "is about"}:* "{remark.claim}"'
    return text


def _table(table: Table) -> Sequence[str]:
    shown = table.rows[:MOST_ROWS]
    lines = [
        "| " + " | ".join(table.columns) + " |",
        "|" + "---|" * len(table.columns),
        *("| " + " | ".join(_short(cell) for cell in row) + " |" for row in shown),
    ]
    if len(shown) < len(table.rows):
        lines.append(f"\n... and {len(table.rows) - len(shown)} more rows in the file.")
    return lines


def _short(cell: Cell) -> str:
    return "" if cell is None else f"{cell:.4g}" if isinstance(cell, float) else str(cell)
