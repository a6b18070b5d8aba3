"""What the bank-level DRAM model says of reads, worked out once: efficiency against run length, by type.

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


@cache
def _curves() -> dict[str, tuple[float, ...]]:
    data = tomllib.loads((resource_dir("hwconfigs") / FILE).read_text(encoding="utf-8"))
    return {name: tuple(values) for name, values in data["read_efficiency"].items()}


def curve_names() -> list[str]:
    """DRAM types that have a curve."""
    return sorted(_curves())


def read_efficiency(dram_type: str, run_bytes: float) -> float:
    """Share of the peak bandwidth that reads of ``run_bytes`` at random places reach; straight in log2 between points.

    Never falls as runs get longer. Raises ConfigError for a type without a curve.
    """
    if dram_type not in _curves():
        names = curve_names()
        raise ConfigError(
            f"dram type {dram_type!r} has no timing{nearest(dram_type, names)}; want one of {', '.join(names)}"
        )
    curve = _curves()[dram_type]
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
        f"# Share of peak bandwidth that reads in runs of {RUNS[0]}, {RUNS[1]}, ... {RUNS[-1]} bytes reach.",
        "[read_efficiency]",
    ]
    for name in dram_names():
        dram = load_dram(name)
        values = ", ".join(f"{efficiency(dram, run):.4f}" for run in RUNS)
        lines.append(f"{name} = [{values}]")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(played())
