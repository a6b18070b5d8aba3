"""Kernels timed on GPUs and CPUs: every row of ``ops.csv`` that has a model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from accelsim.validation.document import markdown_table
from accelsim.validation.rows import Row, Suite
from accelsim.validation.silicon.judge import Judged, as_rows, cells, groups, judge, overall, unmodelled

FILE = "ops.csv"


@cache
def _judged(file: Path) -> Sequence[Judged]:
    return judge(file)[1]


def rows(data: Path | None) -> Iterable[Row]:
    """Rows that have a prediction; ``accelsim validate ops`` also names those that have none."""
    assert data is not None
    return as_rows(_judged(data / FILE))


def more(data: Path | None) -> Iterable[str]:
    """Errors by device, op and format beside a plain roofline's, and what is not modelled."""
    assert data is not None
    judged = _judged(data / FILE)
    said = overall(judged)
    yield (
        f"{said['n']} of {said['rows']} rows: mean error {said['mape_pct']:.1f} %, "
        f"median {said['median_ape_pct']:.1f} %, bias {said['bias_pct']:+.1f} %; "
        f"a plain roofline is {said['roofline_mape_pct']:.1f} % off. These are all rows, those that factors were "
        "fitted on and those that they were not; the families' files say both."
    )
    yield ""
    yield from markdown_table([cells(group) for group in groups(judged)], ("device", "op", "format"))
    yield ""
    yield from (f"- not modelled, {n} rows: {why}" for why, n in sorted(unmodelled(judged).items()))


SUITE = Suite(
    title="kernels on GPUs and CPUs",
    about=(
        "Kernels that others timed (aiconfigurator, NeuSight, DeepBench, LLMCompass, Vidur ...), each predicted from "
        "its device's file, its family's factors and the protocol of the source. `accelsim validate ops` prints "
        "errors by device, op and format beside a plain roofline's, and counts the rows that have no model. What is "
        "known of the worst rows, kind by kind: docs/silicon.md, 'Where it is worst, and why'."
    ),
    rows=rows,
    more=more,
    needs=(FILE,),
    cheap=False,
)
