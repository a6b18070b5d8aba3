"""What the bank-level DRAM model says, worked out once: efficiency against run length and mix, by type.

``hwconfigs/dram_curves.toml`` holds it, so that a run need not play the model; ``python -m
accelsim.hardware.dram_curve`` writes the file anew, and a test holds it to the model.
"""

from __future__ import annotations

import math
import sys
import tomllib
from functools import cache

from accelsim.base.errors import ConfigError, nearest
from accelsim.base.resources import resource_dir

FILE = "dram_curves.toml"
RUNS: tuple[int, ...] = tuple(2**i for i in range(5, 21))
"""Lengths of contiguous runs at random places [bytes]."""


READ_PARTS = 4
"""Mixes: from none of the bytes read to all of them, in so many parts."""


@cache
def _curves() -> dict[str, tuple[tuple[float, ...], ...]]:
    """By type: for each mix, from writes alone to reads alone, the efficiency of each run length."""
    data = tomllib.loads((resource_dir("hwconfigs") / FILE).read_text(encoding="utf-8"))
    return {name: tuple(map(tuple, rows)) for name, rows in data["efficiency"].items()}


def curve_names() -> list[str]:
    """DRAM types that have a curve."""
    return sorted(_curves())


def curve_efficiency(dram_type: str, run_bytes: float, read_fraction: float = 1.0) -> float:
    """Share of the peak bandwidth that runs of ``run_bytes`` at random places reach, so much of the bytes being read.

    Where there are reads and writes, they are two operands' in turn. Straight in log2 between run lengths, and in the
    time of a byte between mixes. Never falls as runs get longer. Raises ConfigError for a type without a curve.
    """
    if dram_type not in _curves():
        names = curve_names()
        raise ConfigError(
            f"dram type {dram_type!r} has no timing{nearest(dram_type, names)}; want one of {', '.join(names)}"
        )
    curves = _curves()[dram_type]
    place = read_fraction * READ_PARTS
    low = min(int(place), READ_PARTS - 1)
    slow, fast = _along(curves[low], run_bytes), _along(curves[low + 1], run_bytes)
    return 1 / ((low + 1 - place) / slow + (place - low) / fast)


def _along(curve: tuple[float, ...], run_bytes: float) -> float:
    """Efficiency at a run length between the played ones."""
    if run_bytes <= RUNS[0]:
        return curve[0] * run_bytes / RUNS[0]
    place: float = math.log2(run_bytes / RUNS[0])
    if place >= len(RUNS) - 1:
        return curve[-1]
    low = int(place)
    return curve[low] + (curve[low + 1] - curve[low]) * (place - low)


def played() -> str:
    """The file's text, from the model itself."""
    from accelsim.hardware.dram import dram_names, efficiency, load_dram

    lines = [
        "# Written by `python -m accelsim.hardware.dram_curve` from the timings in dram/*.toml; do not edit.",
        f"# Share of peak bandwidth that runs of {RUNS[0]}, {RUNS[1]}, ... {RUNS[-1]} bytes reach. A row for each mix:",
        f"# 0/{READ_PARTS}, 1/{READ_PARTS}, ... {READ_PARTS}/{READ_PARTS} of the bytes are read.",
        "[efficiency]",
    ]
    for name in dram_names():
        dram = load_dram(name)
        lines.append(f"{name} = [")
        for part in range(READ_PARTS + 1):
            streams = 1 if part in (0, READ_PARTS) else 2
            values = ", ".join(f"{efficiency(dram, run, part / READ_PARTS, streams):.4f}" for run in RUNS)
            lines.append(f"    [{values}],")
        lines.append("]")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(played())
