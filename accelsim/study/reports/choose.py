"""Which device serves a steady rate of requests within a latency limit at the least cost."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import AfterValidator, Field

from accelsim.analysis.findings import Cell, Findings, Remark, Table, WinnerMap
from accelsim.hardware.loader import load_device
from accelsim.hardware.part import Positive, Text
from accelsim.study.compare import MILLION, SECONDS_PER_HOUR, Entry
from accelsim.study.reports.common import Batches, Names, StudySpec, grid, number, once, ran, told
from accelsim.study.sweep import Point

Numbers = Annotated[
    tuple[Positive, ...],
    AfterValidator(once),
    Field(min_length=1, description="a list of numbers > 0"),
]


class Spec(StudySpec):
    """What the study says."""

    workloads: Names
    devices: Names
    batches: Batches
    rates_per_s: Numbers
    limits_ms: Numbers
    idle_gpu: Text
    """A device that is rented whole and mostly idle at low rates ..."""
    slice_of_one: Text
    """... against one that is rented in slices ..."""
    cpu: Text
    """... and a CPU."""


@dataclass(frozen=True, slots=True)
class _Offer:
    """A device at a batch: what it takes and what it costs."""

    device: str
    batch: int
    latency_s: float
    items_per_s: float
    usd_per_hour: float


@dataclass(frozen=True, slots=True)
class _Deal:
    """The cheapest way to serve a rate within a limit."""

    offer: _Offer
    devices: int
    latency_s: float
    usd_per_million: float
    utilization: float


def serve(offers: Iterable[_Offer], rate_per_s: float, limit_s: float) -> _Deal | None:
    """The cheapest of the offers that serve a steady rate within a limit; None where none does.

    Requests come evenly spaced and are dealt out evenly to as many devices as it takes; the first of a batch waits
    until the batch is full, so that latency is ``(batch - 1) / (rate / devices) + step``. No queue forms at a steady
    rate that the devices can serve. A million items cost what the devices cost while they come.
    """
    deals = []
    for offer in offers:
        devices = math.ceil(rate_per_s / offer.items_per_s)
        latency_s = (offer.batch - 1) * devices / rate_per_s + offer.latency_s
        if latency_s <= limit_s:
            cost = devices * offer.usd_per_hour / SECONDS_PER_HOUR / rate_per_s * MILLION
            deals.append(_Deal(offer, devices, latency_s, cost, rate_per_s / (devices * offer.items_per_s)))
    return min(deals, key=lambda deal: (deal.usd_per_million, deal.offer.device, deal.offer.batch), default=None)


def findings(spec: Spec) -> Findings:
    """Run every device at every batch, and find the cheapest for each rate and limit."""
    for name in (spec.idle_gpu, spec.slice_of_one, spec.cpu):
        load_device(name)
    entries, refused = ran([_from_host(p) for p in grid(spec.devices, spec.workloads, spec.batches)])
    unpriced = sorted({e.point.device for e in entries if e.usd_per_million is None})
    offers = {
        w: [_offer(e) for e in entries if e.point.workload == w and e.usd_per_million is not None]
        for w in spec.workloads
    }
    deals = {
        (w, rate, limit): serve(offers[w], rate, limit / 1e3)
        for w in spec.workloads
        for limit in spec.limits_ms
        for rate in spec.rates_per_s
    }
    return Findings(
        title=spec.title,
        lead=(
            "For each steady rate of requests and each limit on the latency of one: the device, the batch and the "
            "number of "
            "devices that serve it at the least cost for a million requests, at on-demand prices of whole instances "
            "divided "
            "by their devices. Requests come evenly, over the link from the host and back; the first of a batch waits "
            "until it is full. There are no queues "
            "and "
            "no spares: those come with requests over time."
        ),
        remarks=tuple(_remarks(spec, offers, deals)),
        charts=tuple(
            WinnerMap(
                name=f"{w}_map",
                caption=f"{w}: the cheapest device at each rate of requests and limit on latency.",
                x_label="Requests per second",
                y_label="Latency limit (ms)",
                xs=tuple(number(rate) for rate in spec.rates_per_s),
                ys=tuple(number(limit) for limit in spec.limits_ms),
                cells=tuple(
                    tuple(_winner(deals[w, rate, limit]) for rate in spec.rates_per_s) for limit in spec.limits_ms
                ),
            )
            for w in spec.workloads
        ),
        tables=(_deals(deals), _offers(offers)),
        left_out=(*told(refused), *(f"{device}: no price is known" for device in unpriced)),
    )


def _from_host(point: Point) -> Point:
    """Requests come from the host and answers go back to it, where the device has one."""
    if load_device(point.device).host is None:
        return point
    return replace(point, options=replace(point.options, host=True))


def _winner(deal: _Deal | None) -> str:
    return "" if deal is None else deal.offer.device


def _offer(e: Entry) -> _Offer:
    price = load_device(e.point.device).price
    assert price is not None
    return _Offer(
        e.point.device,
        e.result.batch,
        e.result.latency_s,
        e.result.throughput_items_per_s,
        price.usd_per_hour / price.devices,
    )


def _remarks(
    spec: Spec,
    offers: dict[str, list[_Offer]],
    deals: dict[tuple[str, float, float], _Deal | None],
) -> list[Remark]:
    remarks = []
    loosest = max(spec.limits_ms)
    slow, fast = min(spec.rates_per_s), max(spec.rates_per_s)
    for w in spec.workloads:
        few, many = deals[w, slow, loosest], deals[w, fast, loosest]
        if few is not None and many is not None:
            remarks.append(
                Remark(
                    f"{w} within {number(loosest)} ms: at {number(slow)} requests a second {few.offer.device} is "
                    "cheapest "
                    f"({number(few.usd_per_million)} $ a million, {number(100 * few.utilization)} % busy); at "
                    f"{number(fast)} it is {many.offer.device} ({number(many.usd_per_million)} $ a million at batch "
                    f"{many.offer.batch}, {many.devices} of them, {number(100 * many.utilization)} % busy).",
                    spec.claim(0),
                    "bears out" if few.offer.device != many.offer.device else "qualifies",
                )
            )
        three = {
            device: serve([o for o in offers[w] if o.device == device], slow, loosest / 1e3)
            for device in (spec.idle_gpu, spec.slice_of_one, spec.cpu)
        }
        costs = {device: deal.usd_per_million for device, deal in three.items() if deal is not None}
        if len(costs) > 1:
            order = sorted(costs, key=lambda device: costs[device])
            said = ", ".join(f"{device} {number(costs[device])} $" for device in order)
            cheaper = costs.get(spec.slice_of_one, math.inf) < costs.get(spec.idle_gpu, 0.0)
            remarks.append(
                Remark(
                    f"{w} at {number(slow)} requests a second within {number(loosest)} ms, a million of them: {said}.",
                    spec.claim(1),
                    "bears out" if cheaper else "contradicts",
                )
            )
    return remarks


def _deals(deals: dict[tuple[str, float, float], _Deal | None]) -> Table:
    columns = (
        "workload", "rate_per_s", "limit_ms", "device", "batch", "devices", "latency_ms", "usd_per_million",
        "utilization",
    )  # fmt: skip
    rows: list[tuple[Cell, ...]] = []
    for (w, rate, limit), deal in deals.items():
        if deal is None:
            rows.append((w, rate, limit, "nobody", None, None, None, None, None))
        else:
            rows.append(
                (
                    w, rate, limit, deal.offer.device, deal.offer.batch, deal.devices, deal.latency_s * 1e3,
                    deal.usd_per_million, deal.utilization,
                )
            )  # fmt: skip
    return Table("deals", columns, tuple(rows))


def _offers(offers: dict[str, list[_Offer]]) -> Table:
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (w, o.device, o.batch, o.latency_s * 1e3, o.items_per_s, o.usd_per_hour)
        for w, own in offers.items()
        for o in own
    )
    return Table("offers", ("workload", "device", "batch", "latency_ms", "items_per_s", "usd_per_hour"), rows)
