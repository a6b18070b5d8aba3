"""Kernels timed on the user's own machine, as rows with the columns of ``ops.csv``.

``measure`` yields one row for each case as soon as it is timed; what a file holds already is skipped, so that a run
can be stopped and goes on where it was.
"""

from __future__ import annotations

from accelsim.study.measure.cases import OPS, Case, cases
from accelsim.study.measure.rows import COLUMNS, Measured, measure, missing
from accelsim.study.measure.timing import Budget, Timing, time_call

__all__ = ["COLUMNS", "OPS", "Budget", "Case", "Measured", "Timing", "cases", "measure", "missing", "time_call"]
