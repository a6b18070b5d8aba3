"""Pages of tables: which of its page's tables a row is from, and the shortest step in that table.

Pages repeat a table for every format that was measured, and say which above it, where rows that were taken from them do
not. Rows are in the order of their page, so of rows that differ in nothing but their numbers the first is of the first
table, the second of the second, and so on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from accelsim.base.dtypes import DTYPES
from accelsim.validation.silicon.rows import Measurement

SAME = ("source", "device", "n_devices", "model", "runtime", "scenario")


def heading(row: Measurement) -> str:
    """The headings above a row's table: of the notes what stands before the bar."""
    return row.text("notes").partition(" | ")[0]


def words(row: Measurement) -> str:
    """What a page's row says of its network, as its name."""
    parts = (part.strip() for part in row.text("notes").partition(" | ")[2].split(";"))
    return ";".join(part for part in parts if part.lower().startswith(("model=", "dataset=", "beam")))


@dataclass(frozen=True)
class Pages:
    """Of every row, by its line: the place of its table, and the shortest step that its table shows [s]."""

    places: Mapping[int, int]
    least_s: Mapping[int, float]


def read_pages(rows: Iterable[Measurement]) -> Pages:
    """Look at the rows of a file, in its order."""
    seen: dict[tuple[str, ...], int] = defaultdict(int)
    places: dict[int, int] = {}
    steps: dict[tuple[object, ...], list[tuple[int, float | None]]] = defaultdict(list)
    for row in rows:
        section = (*(row.text(column) for column in SAME), heading(row), _format(row), words(row))
        key = (*section, row.text("batch"), row.text("seq_or_input"))
        places[row.number] = seen[key]
        steps[(*section, row.text("seq_or_input"), seen[key])].append((row.number, step_s(row)))
        seen[key] += 1
    least = {}
    for table in steps.values():
        known = [seconds for _, seconds in table if seconds is not None]
        if len(known) > 1:
            least.update({number: min(known) for number, _ in table})
    return Pages(places, least)


def step_s(row: Measurement) -> float | None:
    """Time of a step that a throughput of items means; None where it is of tokens, frames and the like."""
    unit = row.text("throughput_unit").lower()
    if not row.text("batch") or any(word in unit for word in ("tok", "frames", "samples")):
        return _milliseconds(row)
    rate = row.real("throughput_per_s", 0)
    return row.whole("batch") / rate if rate else _milliseconds(row)


def _milliseconds(row: Measurement) -> float | None:
    return row.real("latency_ms", 0) / 1e3 or None


def _format(row: Measurement) -> str:
    """A row's format; empty where its cell holds something else, as a number that was taken for one."""
    cell = row.text("precision").strip().lower()
    return "" if cell[:1].isdigit() and cell not in DTYPES else cell
