"""What several studies share: their files' common keys, runs on many devices, and small folds over results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from accelsim.analysis.result import Result
from accelsim.base.errors import ConfigError, capped
from accelsim.hardware.device import Device
from accelsim.hardware.loader import load_device
from accelsim.hardware.part import DTypeName, Text, whole
from accelsim.simulation import Options
from accelsim.study.compare import Entry, Refused, compare
from accelsim.study.sweep import Point

T = TypeVar("T")


def once_by(said: Callable[[T], str]) -> Callable[[tuple[T, ...]], tuple[T, ...]]:
    """A check that no two values are ``said`` alike; it raises ValueError."""

    def check(values: tuple[T, ...]) -> tuple[T, ...]:
        texts = [said(value) for value in values]
        twice = [text for text in dict.fromkeys(texts) if texts.count(text) > 1]
        if twice:
            raise ValueError(f"want each once; {', '.join(twice)} stands twice")
        return values

    return check


def once(values: tuple[T, ...]) -> tuple[T, ...]:
    """The values, of which none may stand twice. Raises ValueError."""
    check: Callable[[tuple[T, ...]], tuple[T, ...]] = once_by(str)
    return check(values)


Names = Annotated[tuple[Text, ...], AfterValidator(once), Field(min_length=1, description="a list of names")]
Formats = Annotated[
    tuple[DTypeName, ...], AfterValidator(once), Field(min_length=1, description="a list of number formats")
]
Batch = Annotated[
    int,
    BeforeValidator(whole),
    Field(ge=1, le=2**20, strict=True, description="a whole number from 1 to 2^20"),
]
Batches = Annotated[
    tuple[Batch, ...],
    AfterValidator(once),
    AfterValidator(lambda batches: tuple(sorted(batches))),
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


def ran(points: Sequence[Point], nothing: str = "nothing to run") -> tuple[list[Entry], list[Refused]]:
    """Run every point as its device is used; those that cannot be run are told apart.

    Raises ConfigError where none can be: with the reasons, or with ``nothing`` where there is no point at all.
    """
    entries, refused = compare(points)
    if not entries:
        raise none_ran(told(refused) or (nothing,))
    return entries, refused


def none_ran(reasons: Sequence[str]) -> ConfigError:
    """The error of a study of which nothing could be run."""
    return ConfigError(*(f"nothing could be run: {reason}" for reason in capped(reasons, "{} more reasons")))


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
