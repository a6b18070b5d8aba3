"""Devices side by side on the same work: each as it is used, with what an item costs in time, joules and dollars."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from accelsim.analysis.result import Result
from accelsim.base.errors import InputError
from accelsim.hardware.device import Device
from accelsim.hardware.loader import load_device
from accelsim.simulation import check_room
from accelsim.study.sweep import Point, in_parallel

SECONDS_PER_HOUR = 3600
MILLION = 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A run in a comparison."""

    point: Point
    result: Result
    usd_per_million: float | None
    """Dollars for a million items at the device's hourly price, always busy; None where it has no price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A run that cannot be, and why."""

    point: Point
    why: str


@dataclass(frozen=True, slots=True)
class Order:
    """What a comparison is sorted by."""

    key: Callable[[Entry], float | None]
    """Smaller is better; entries without one come last."""
    wording: str


ORDERS: dict[str, Order] = {
    "latency": Order(lambda e: e.result.latency_s, "has the shortest latency"),
    "throughput": Order(lambda e: -e.result.throughput_items_per_s, "has the highest throughput"),
    "energy": Order(lambda e: e.result.energy_per_item_j, "needs the least energy an item"),
    "cost": Order(lambda e: e.usd_per_million, "costs the least an item"),
}


def usd_per_million(device: Device, items_per_s: float) -> float | None:
    """Dollars for a million items at so many a second, the device always busy; None where it has no price."""
    if device.price is None:
        return None
    return device.price.usd_per_hour / device.price.devices / SECONDS_PER_HOUR / items_per_s * MILLION


def as_used(point: Point) -> Point:
    """The point with all cores at work: where an op runs on one core only, a replica of the model on each.

    What the point says itself is kept.
    """
    options = point.options
    core = load_device(point.device, point.overrides).core
    if core.gang or core.count == 1 or options.parallel is not None or options.cores is not None:
        return point
    batch = options.batch or 1
    if batch == 1:
        return point
    return replace(point, options=replace(options, parallel="data", cores=min(core.count, batch)))


def compare(points: Iterable[Point]) -> tuple[list[Entry], list[Refused]]:
    """Run every point as its device is used; those that cannot be run are told apart."""
    outcomes = list(in_parallel(_attempt, list(points)))
    return (
        [one for one in outcomes if isinstance(one, Entry)],
        [one for one in outcomes if isinstance(one, Refused)],
    )


def _attempt(point: Point) -> Entry | Refused:
    try:
        return entry(as_used(point))
    except InputError as error:
        return Refused(point=point, why="; ".join(error.problems))


def entry(point: Point) -> Entry:
    """Run a point and price it. Raises InputError for what cannot be run."""
    result = point.run()
    device = load_device(point.device, point.overrides)
    return Entry(point=point, result=result, usd_per_million=usd_per_million(device, result.throughput_items_per_s))


def ranked(entries: Sequence[Entry], by: str) -> list[Entry]:
    """Best first, workload by workload in the order in which they came.

    Raises InputError for an order that there is not.
    """
    if by not in ORDERS:
        raise InputError(f"--by {by!r}: want one of {', '.join(ORDERS)}")
    key = ORDERS[by].key
    workloads = list(dict.fromkeys(e.result.workload["name"] for e in entries))

    def place(one: Entry) -> tuple[int, bool, float, str]:
        value = key(one)
        return workloads.index(one.result.workload["name"]), value is None, value or 0.0, one.result.device["name"]

    return sorted(entries, key=place)


def largest_batch(point: Point, most: int) -> int:
    """The largest batch, a power of two and no more than ``most``, that the device's memory holds; 0 for none."""
    batch = 0
    while max(1, 2 * batch) <= most:
        larger = as_used(replace(point, options=replace(point.options, batch=max(1, 2 * batch))))
        try:
            check_room(
                larger.device,
                larger.workload,
                overrides=larger.overrides,
                params=larger.params,
                options=larger.options,
            )
        except InputError:
            break
        batch = max(1, 2 * batch)
    return batch
