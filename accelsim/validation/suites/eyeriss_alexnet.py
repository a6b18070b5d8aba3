"""AlexNet's convolutions on Eyeriss, batch 4: Chen et al., IEEE JSSC 52(1), 2017, Table V."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from accelsim.validation import eyeriss
from accelsim.validation.eyeriss import Tolerances
from accelsim.validation.rows import Row, Suite

FIRST = "CONV1: the chip fits 96 filters' sums beside one strip of images, ours keeps room for the next strip: 48"
TOLERANCES = {
    "latency": Tolerances(1.5, {"CONV5": 9}, "CONV5: the paper's passes are shorter than those of CONV4, of one shape"),
    "total latency": Tolerances(4, {"CONV1": 28, "CONV5": 14}, FIRST),
    "buffer traffic": Tolerances(2, {"CONV1": 15}, FIRST),
    "DRAM traffic": Tolerances(7.5, {"CONV1": 36}, FIRST),
    "power": Tolerances(6.5, {}, "two numbers for five powers"),
}
"""The errors as they are, rounded up; targets of the means: latency 6, traffic 15, power 15."""


def rows(data: Path | None) -> Iterator[Row]:
    """Five layers."""
    yield from eyeriss.rows("eyeriss_alexnet", "alexnet_conv", eyeriss.TABLE_V, "Table V", TOLERANCES)


SUITE = Suite(
    title="Eyeriss: AlexNet's convolutions",
    about=f"{eyeriss.ABOUT} Peers on latency: MAESTRO 4.3 % with mappings by hand and no DRAM, nn-dataflow 11.4 %.",
    rows=rows,
)
