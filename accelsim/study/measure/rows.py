"""A file of measurements: what stands in it, what is missing, and one row after another."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from accelsim.base.csv_rows import SIZES, csv_text, parse_csv
from accelsim.base.errors import InputError
from accelsim.study.measure import machine
from accelsim.study.measure.backend import Backend
from accelsim.study.measure.cases import Case
from accelsim.study.measure.timing import Budget, Timing, time_call

COLUMNS = (
    *("device", "op", "dtype"), *SIZES,
    *("extra", "latency_us", "power_w", "framework", "timing", "source_repo", "licence"),
)  # fmt: skip
"""Those of ``ops.csv``."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A case and what was measured; ``timing`` is None where the library has no such kernel."""

    case: Case
    timing: Timing | None


def missing(cases: Sequence[Case], backend: Backend, file: Path) -> list[Case]:
    """Cases that the file does not hold yet, measured alike; the file is not touched.

    Raises InputError for a file of something else.
    """
    held = {_key(row) for row in _rows(file)}
    return [case for case in cases if _key(_plain(case, backend)) not in held]


def measure(
    cases: Sequence[Case], backend: Backend, file: Path, budget: Budget, *, room_bytes: int = 2**31
) -> Iterator[Measured]:
    """Time one case after another and append each to the file before the next begins.

    Cases whose largest operand takes more than ``room_bytes``, and those that the library has no kernel for, yield
    without a row.
    """
    facts = machine.facts()
    _end_whole(file)
    if not file.exists() or not file.stat().st_size:
        _append(file, _line(COLUMNS))
    for case in cases:
        call = backend.prepare(case) if case.bytes <= room_bytes else None
        if call is None:
            yield Measured(case, None)
            continue
        timing = time_call(call, budget, wait=backend.wait)
        _append(file, _line(_cells(case, backend, timing, budget, facts)))
        yield Measured(case, timing)


def _plain(case: Case, backend: Backend) -> dict[str, str]:
    """What makes a row the same measurement as another."""
    return {
        "device": backend.device,
        "op": case.op,
        "dtype": case.dtype,
        **{column: str(size) for column, size in case.sizes},
        "framework": backend.framework,
        "extra": f"threads={backend.threads_of(case.op)}",
    }


def _key(row: dict[str, str]) -> tuple[str, ...]:
    threads = next((part for part in row.get("extra", "").split(";") if part.startswith("threads=")), "")
    return (*(row.get(column, "") for column in ("device", "op", "dtype", *SIZES, "framework")), threads)


def _cells(case: Case, backend: Backend, timing: Timing, budget: Budget, facts: dict[str, str]) -> list[str]:
    plain = _plain(case, backend)
    measured = {
        "spread": f"{timing.spread:.4f}",
        "median_us": f"{timing.median_s * 1e6:.4f}",
        "least_us": f"{timing.least_s * 1e6:.4f}",
        "samples": str(timing.samples),
        "calls": str(timing.calls),
    }
    extra = ";".join([plain["extra"], *(f"{key}={value}" for key, value in {**measured, **facts}.items())])
    row = {
        **plain,
        "extra": extra,
        "latency_us": f"{timing.taken_s * 1e6:.4f}",
        "timing": budget.timing + backend.synchronised,
        "source_repo": f"accelsim measure {backend.name}",
        "licence": "the measurer's own",
    }
    return [row.get(column, "") for column in COLUMNS]


def _line(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _append(file: Path, line: str) -> None:
    """Write a whole line in one go, so that an interruption leaves whole lines."""
    with file.open("a", encoding="utf-8", newline="") as out:
        out.write(line)
        out.flush()
        os.fsync(out.fileno())


def _rows(file: Path) -> list[dict[str, str]]:
    """What the file holds in whole lines; a crash may have cut the last one short."""
    if not file.exists():
        return []
    text = csv_text(file)
    whole = text[: text.rfind("\n") + 1]
    columns, rows = parse_csv(whole, file)
    if tuple(columns) != COLUMNS and (whole or not _line(COLUMNS).startswith(text)):
        raise InputError(f"{file}: has other columns than a file of measurements; want a new file, or one of these")
    return [cells for _, cells in rows]


def _end_whole(file: Path) -> None:
    """Take away a last line that was cut short."""
    if file.is_file():
        with file.open("r+b") as lines:
            lines.truncate(lines.read().rfind(b"\n") + 1)
