"""Kernels timed on GPUs and CPUs: every row of ``ops.csv`` that has a model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from accelsim.validation.rows import Row, Suite
from accelsim.validation.silicon.judge import as_rows, judge

FILE = "ops.csv"


def rows(data: Path | None) -> Iterable[Row]:
    """Rows that have a prediction; ``accelsim validate ops`` also names those that have none."""
    assert data is not None
    return as_rows(judge(data / FILE if data.is_dir() else data)[1])


SUITE = Suite(
    title="kernels on GPUs and CPUs",
    about=(
        "Kernels that others timed (aiconfigurator, NeuSight, DeepBench, LLMCompass, Vidur ...), each predicted from "
        "its device's file, its family's factors and the protocol of the source. `accelsim validate ops` prints "
        "errors by device, op and format beside a plain roofline's, and counts the rows that have no model."
    ),
    rows=rows,
    needs=(FILE,),
    cheap=False,
)
