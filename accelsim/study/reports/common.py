"""What several studies share: their files' common keys, runs on many devices, and small folds over results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from accelsim.analysis.result import Result
from accelsim.hardware.device import Device
from accelsim.hardware.loader import load_device
from accelsim.hardware.part import Text
from accelsim.simulation import Options
from accelsim.study.compare import Refused
from accelsim.study.sweep import Point

Names = Annotated[tuple[Text, ...], Field(min_length=1, description="a list of names")]
Batches = Annotated[
    tuple[Annotated[int, Field(ge=1, le=2**20)], ...],
    Field(min_length=1, description="a list of whole numbers from 1 to 2^20"),
]


class StudySpec(BaseModel):
    """What every study file may say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: Text
    claims: tuple[Text, ...] = ()
    """Sentences of the sources that the study is about, in the order in which its remarks take them up."""

    def claim(self, number: int) -> str:
        """The n-th sentence; empty where there are fewer."""
        return self.claims[number] if number < len(self.claims) else ""


class Group(BaseModel):
    """Devices that are drawn together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Text
    devices: Names


def grid(
    devices: Iterable[str],
    workloads: Iterable[str],
    batches: Iterable[int],
    *,
    params: Mapping[str, Mapping[str, int]] | None = None,
    precision: str | None = None,
) -> list[Point]:
    """A point for each combination, batch varying fastest; ``params`` are by workload."""
    return [
        Point(
            device=device,
            workload=workload,
            params=(params or {}).get(workload, {}),
            options=Options(batch=batch, precision=precision),
        )
        for workload in workloads
        for device in devices
        for batch in batches
    ]


def weight_bytes_per_item(result: Result, device: Device) -> float:
    """Bytes of weights that come from the DRAM for an item."""
    if device.dram is None:
        return 0.0
    read = f"{device.dram.name}.read"
    moved = sum(
        count.amount
        for span in result.trace.spans
        if span.device == device.name
        for count in span.counts
        if count.action == read and count.operand == "weight"
    )
    return moved / result.steps / result.batch


def told(refused: Iterable[Refused]) -> tuple[str, ...]:
    """What could not be run, a line for each reason."""
    return tuple(dict.fromkeys(f"{one.point.workload} on {one.point.device}: {one.why}" for one in refused))


def number(value: float, digits: int = 3) -> str:
    """A number in running text: ``1.2``, ``3400``, ``0.004``.

    >>> number(1234.5), number(0.00123), number(12.0)
    ('1230', '0.00123', '12')
    """
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:.0f}" if abs(rounded) >= 10 ** (digits - 1) else f"{rounded:g}"


def listed(words: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def described(device: str) -> str:
    """A device's description up to the colon: its name and make."""
    return load_device(device).description.partition(":")[0]
