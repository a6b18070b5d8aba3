"""Whole networks timed on silicon: every row of inference of ``models.csv`` whose network and device are built."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from accelsim.validation.rows import Row, Suite
from accelsim.validation.silicon.models import as_rows, judge

FILE = "models.csv"


def rows(data: Path | None) -> Iterable[Row]:
    """Rows that could be run; ``accelsim validate models`` also names those that could not."""
    assert data is not None
    return as_rows(judge(data / FILE if data.is_dir() else data)[1])


SUITE = Suite(
    title="whole networks on silicon",
    about=(
        "Throughput and latency of whole networks that others measured (MLPerf, DeepLearningExamples, AWS Neuron, "
        "Vitis-AI, NeuSight ...), each run as its source ran it. `accelsim validate models` prints errors by device, "
        "how "
        "many of its rows could be run, and why the others could not. Rows in which the software, not the device, was "
        "measured (queues of a server, eager frameworks at small batches) stay, apart from the errors."
    ),
    rows=rows,
    needs=(FILE,),
    cheap=False,
)
