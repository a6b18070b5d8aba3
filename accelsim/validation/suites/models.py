"""Whole networks timed on silicon: every row of inference of ``models.csv`` whose network and device are built."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from accelsim.validation.document import markdown_table
from accelsim.validation.rows import Row, Suite
from accelsim.validation.silicon.models import Judged, as_rows, cells, groups, judge

FILE = "models.csv"


@cache
def _judged(file: Path) -> Sequence[Judged]:
    return judge(file)[1]


def rows(data: Path | None) -> Iterable[Row]:
    """Rows that could be run; ``accelsim validate models`` also names those that could not."""
    assert data is not None
    return as_rows(_judged(data / FILE))


def more(data: Path | None) -> Iterable[str]:
    """Errors by device: rows that could be run, and of those the ones that measured the device, not its software."""
    assert data is not None
    judged = _judged(data / FILE)
    yield "`run`: rows whose network and device are built; `judged`: those of them that measured the device."
    yield ""
    yield from markdown_table([cells(group) for group in groups(judged) if group.run], ("device",))
    yield ""
    none = [group.device for group in groups(judged) if not group.run]
    yield f"No row could be run of: {', '.join(none)}."


SUITE = Suite(
    title="whole networks on silicon",
    about=(
        "Throughput and latency of whole networks that others measured (MLPerf, DeepLearningExamples, AWS Neuron, "
        "Vitis-AI, NeuSight ...), each run as its source ran it. `accelsim validate models` prints errors by device, "
        "how many of its rows could be run, and why the others could not. Rows in which the software, not the device, "
        "was measured (queues of a server, eager frameworks at small batches) stay, apart from the errors."
    ),
    rows=rows,
    more=more,
    needs=(FILE,),
    cheap=False,
)
