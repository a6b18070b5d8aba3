"""VGG-16's convolutions on Eyeriss, batch 3: Chen et al., IEEE JSSC 52(1), 2017, Table VI."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from accelsim.validation import eyeriss
from accelsim.validation.eyeriss import Tolerances
from accelsim.validation.rows import Row, Suite

SMALL = 14.0
CHANNELS = "CONV5: ours adds 12 channels in the array, the chip 8; time is the same"
TOLERANCES = {
    "latency": Tolerances(1, {}),
    "total latency": Tolerances(8, {}, "which loads and stores the chip hides is printed nowhere; ours: filters alone"),
    "buffer traffic": Tolerances(0.1, {f"CONV5-{i}": SMALL for i in (1, 2, 3)}, CHANNELS),
    "DRAM traffic": Tolerances(4, {}, "zeros of a result are taken from the next image, after pooling"),
    "power": Tolerances(16, {}, "energies fitted on AlexNet; registers and buffers of one cost whatever their width"),
}
"""The errors as they are, rounded up; targets of the means: latency 10, traffic 15, power 15."""


def rows(data: Path | None) -> Iterator[Row]:
    """Thirteen layers."""
    yield from eyeriss.rows("eyeriss_vgg16", "vgg16_conv", eyeriss.TABLE_VI, "Table VI", TOLERANCES)


SUITE = Suite(
    title="Eyeriss: VGG-16's convolutions",
    about=f"{eyeriss.ABOUT} No peer publishes VGG-16; multiply-accumulates over active PEs are 45 % off.",
    rows=rows,
)
