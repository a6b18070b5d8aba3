"""What a suite says: rows of reference and ours, and the folds over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

TIMING = ("latency", "throughput")
"""Quantities that a suite's mean error is over."""

ROUNDING_PCT = 1e-6
"""What rounding may add to an error that is asserted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One number that was measured or published, and ours."""

    suite: str
    name: str
    quantity: str
    """``latency``, ``throughput``, ``power``, ``traffic``, ... ; the first two are what ``mape_pct`` is over."""
    unit: str
    reference: float
    ours: float
    source: str
    """Where the reference comes from."""
    peer_error_pct: float | None = None
    """The best error that another simulator or model is known to have on it."""
    tolerance_pct: float | None = None
    """Asserted bound of the error's magnitude; None where nothing is asserted."""
    why: str = ""
    """Why the tolerance is not smaller."""

    @property
    def error_pct(self) -> float:
        """``100 (ours - reference) / reference``."""
        return 100.0 * (self.ours - self.reference) / self.reference

    def to_dict(self) -> dict[str, Any]:
        """Under the names of schema ``accelsim.validation/1``; optional keys only where there is something."""
        plain: dict[str, Any] = {
            "suite": self.suite,
            "name": self.name,
            "quantity": self.quantity,
            "unit": self.unit,
            "reference": self.reference,
            "ours": self.ours,
            "error_pct": self.error_pct,
            "source": self.source,
        }
        more = {"peer_error_pct": self.peer_error_pct, "tolerance_pct": self.tolerance_pct, "why": self.why or None}
        return plain | {key: value for key, value in more.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """References, and how to compare with them.

    ``rows`` gets the folder of measured files: a Path where the suite needs any, else None.
    """

    title: str
    about: str
    """What is compared with what, and how: a paragraph for ``docs/validation.md``."""
    rows: Callable[[Path | None], Iterable[Row]]
    needs: tuple[str, ...] = ()
    """Measured files, which are not part of the project."""
    more: Callable[[Path | None], Iterable[str]] | None = None
    """Further lines of Markdown for the page, as tables of errors by group."""
    cheap: bool = True
    """Takes no more than a second or two, and nothing that is not in the project."""


def timing(rows: Sequence[Row]) -> list[Row]:
    """The rows that a mean is over: all latencies and throughputs, or all rows where there are none."""
    return [row for row in rows if row.quantity in TIMING] or [*rows]


def spread(errors: Sequence[float]) -> dict[str, float]:
    """Mean and median of absolute errors, and their bias [%]."""
    return {
        "mape_pct": fmean(map(abs, errors)),
        "median_ape_pct": median(map(abs, errors)),
        "bias_pct": fmean(errors),
    }


def summary(suite: str, rows: Sequence[Row]) -> dict[str, Any]:
    """A suite's errors in a few numbers: all its latency or throughput rows, none left out."""
    counted = timing(rows)
    worst = max(counted, key=lambda row: abs(row.error_pct))
    return {
        "suite": suite,
        "n": len(counted),
        **spread([row.error_pct for row in counted]),
        "worst": {
            "name": worst.name,
            "quantity": worst.quantity,
            "unit": worst.unit,
            "reference": worst.reference,
            "ours": worst.ours,
            "error_pct": worst.error_pct,
        },
        "rows": len(rows),
    }


def broken(rows: Iterable[Row]) -> list[str]:
    """A line for each row whose error is beyond its asserted tolerance."""
    return [
        f"{row.suite}: {row.name}, {row.quantity}: ours is {row.error_pct:+.2f} % off, "
        f"asserted is {row.tolerance_pct:g} %"
        for row in rows
        if row.tolerance_pct is not None and abs(row.error_pct) > row.tolerance_pct + ROUNDING_PCT
    ]
