"""Whole networks that were timed, beside what a run of ours says: rows of ``models.csv`` and its like."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from accelsim.analysis.result import Result
from accelsim.base.dtypes import size_bytes
from accelsim.base.errors import InputError, nearest
from accelsim.hardware.device import Device
from accelsim.hardware.family import GpuFactors
from accelsim.hardware.loader import load_device
from accelsim.simulation import Options, simulate
from accelsim.validation.document import SCHEMA
from accelsim.validation.rows import Row, spread
from accelsim.validation.silicon.build import UnmodelledError
from accelsim.validation.silicon.networks import Network, network_of
from accelsim.validation.silicon.pages import Pages, read_pages, step_s
from accelsim.validation.silicon.rows import Check, Measurement, read_measurements
from accelsim.validation.silicon.run_protocol import RunProtocol, of_model, precision_of, run_protocol_of
from accelsim.validation.silicon.systems import device_of_row
from accelsim.workload.graph import Graph
from accelsim.workload.library import load_workload
from accelsim.workload.pruning import pruned_to

SUITE = "models"
WANTED = ("device", "model", "task", "throughput_per_s", "latency_ms", "source")
CHECKS: tuple[Check, ...] = (
    lambda row: row.whole("n_devices", 1),
    lambda row: row.whole("batch", 1),
    lambda row: row.real("throughput_per_s", 0),
    lambda row: row.real("latency_ms", 0),
    lambda row: row.real("consistency", 0, least=0),
)
"""Of a row of ``models.csv``; each of these cells may be empty."""
CONSISTENT = (0.6, 1.6)
"""Of a row's batch over latency, against its throughput; outside of it the two are not of one run (the data's
README)."""

IN_SECONDS = 1000
"""What that is times where a latency was noted in seconds."""


@dataclass(frozen=True, slots=True)
class Ours:
    """What we say of a row."""

    quantity: str
    unit: str
    reference: float
    value: float
    software: bool
    """What was measured is the software's doing."""
    bound: str
    workload: str
    batch: int
    precision: str


@dataclass(frozen=True)
class Judged:
    """A row and what we say of it, or why we say nothing."""

    row: Measurement
    device: str | None
    ours: Ours | None
    why_not: str = ""

    @property
    def error_pct(self) -> float:
        """``100 (ours - measured) / measured``; only where there is a prediction."""
        assert self.ours is not None
        return 100 * (self.ours.value - self.ours.reference) / self.ours.reference


def judge(file: Path, *, device: str | None = None) -> tuple[Sequence[str], list[Judged]]:
    """The file's columns, and each of its rows of inference (of one device) judged; training comes later.

    Raises InputError for a file that cannot be read, cells that are wrong, and where no row is of inference or of
    the device.
    """
    columns, rows = read_measurements(file, WANTED, CHECKS)
    tasks = sorted({row.text("task") for row in rows})
    rows = [row for row in rows if row.text("task") == "inference"]
    if not rows:
        raise InputError(f"{file}: no row has the task 'inference'; there are {', '.join(map(repr, tasks))}")
    if device is not None:
        have = sorted({row.text("device") for row in rows})
        rows = [row for row in rows if row.text("device").lower() == device.lower()]
        if not rows:
            raise InputError(f"--device {device!r}: no row of {file} has it{nearest(device, have)}")
    pages = read_pages(rows)
    return columns, [_judged(row, pages) for row in rows]


def _judged(row: Measurement, pages: Pages) -> Judged:
    found: Device | None = None
    try:
        found = device_of_row(row)
        return Judged(row, found.name, _ours(row, found, pages))
    except UnmodelledError as error:
        return Judged(row, found.name if found else None, None, str(error))
    except InputError as error:
        return Judged(row, found.name if found else None, None, error.problems[0])


def _ours(row: Measurement, device: Device, pages: Pages) -> Ours:
    protocol = run_protocol_of(row)
    least_s = pages.least_s.get(row.number, 0.0)
    row = protocol.told(row, pages.places[row.number])
    batch = _batch(row, protocol)
    network = network_of(
        *map(row.text, ("model", "seq_or_input", "notes", "source")), batch=batch, unit=row.text("throughput_unit")
    )
    if protocol.sequence is not None and network.params and network.params[0][0] == "seq_len":
        network = replace(network, params=(("seq_len", protocol.sequence),))
    network = replace(network, params=tuple((key, protocol.pads.get(key, value)) for key, value in network.params))
    precision = precision_of(row, protocol)
    quantity, reference = _reference(row, protocol)
    cores = device.core.count
    spread = cores if protocol.batch_is_per_core and not device.core.gang else _instances(row, protocol, cores)
    software = _software(device, protocol)
    result = _run(device.name, replace(network, counted=1, repeats=1, then=None), precision, batch * spread, software)
    our_s = network.repeats * result.latency_s + protocol.host_s
    if network.then is not None:
        our_s += _run(device.name, network.then, precision, batch * spread, software).latency_s
    rate = result.throughput_items_per_s * result.latency_s / our_s
    prepared = _prepared_per_s(network, result.precision, protocol)
    devices = row.whole("n_devices", 1) / (cores if protocol.counts_cores else 1)
    consistent = _consistent(row, protocol, batch * spread * devices)
    asked = _asked(row) if protocol.threads_wait and consistent else 1.0
    value = our_s * 1e3 * asked if quantity == "latency" else min(rate, prepared) * devices * network.counted
    small = protocol.software_below_batch is not None and batch < protocol.software_below_batch
    flat = (step_s(row) or math.inf) < protocol.software_below_growth * least_s
    return Ours(
        quantity=quantity,
        unit="ms" if quantity == "latency" else "items/s",
        reference=reference,
        value=value,
        software=protocol.software or small or flat or not consistent,
        bound="host" if quantity == "throughput" and prepared < rate else next(iter(result.bound_share), ""),
        workload=network.workload,
        batch=batch,
        precision=result.precision,
    )


def _asked(row: Measurement) -> float:
    """Requests in flight for each core, one of which it works on: what one waits for, over its own time."""
    found = re.search(r"cores=([0-9]+)\D.*threads=([0-9]+)", row.text("notes").lower())
    return max(1.0, int(found[2]) / int(found[1])) if found and int(found[1]) else 1.0


def _prepared_per_s(network: Network, precision: str, protocol: RunProtocol) -> float:
    """Items a second that a host prepares which works beside the device."""
    if protocol.host_bytes_per_s is None:
        return math.inf
    inputs = load_workload(network.workload, batch=1, params=dict(network.params)).inputs
    return protocol.host_bytes_per_s / sum(size_bytes(tensor.elements, precision) for tensor in inputs)


def _reference(row: Measurement, protocol: RunProtocol) -> tuple[str, float]:
    """The quantity that the protocol counts, or the other one where the row lacks it."""
    order = ("latency", "throughput") if protocol.quantity == "latency" else ("throughput", "latency")
    columns = {"latency": "latency_ms", "throughput": "throughput_per_s"}
    for quantity in order:
        value = row.real(columns[quantity], 0)
        if value:
            return quantity, value
    raise UnmodelledError("neither a latency nor a throughput is said")


def _batch(row: Measurement, protocol: RunProtocol) -> int:
    if row.text("batch"):
        return row.whole("batch")
    found = of_model(protocol.batch_of, row) or protocol.batch
    if found is None:
        raise UnmodelledError("the batch is not said")
    return found


def _instances(row: Measurement, protocol: RunProtocol, cores: int) -> int:
    """Copies of the network that share the cores, each with a batch of its own: together one batch, spread over all."""
    return max(1, cores // (of_model(protocol.instance_cores, row) or cores))


def _consistent(row: Measurement, protocol: RunProtocol, items: float) -> bool:
    """Whether latency and throughput are of one run, as far as the row says both; ``items``: of all batches at once."""
    throughput, latency = row.real("throughput_per_s", 0), row.real("latency_ms", 0)
    if protocol.in_flight and throughput and latency:
        return protocol.in_flight[0] <= items / (latency / 1e3) / throughput <= protocol.in_flight[1]
    told = row.real("consistency", 1, least=0)
    return any(CONSISTENT[0] <= told / times <= CONSISTENT[1] for times in (1, IN_SECONDS))


def _software(device: Device, protocol: RunProtocol) -> tuple[tuple[str, bool | float], ...]:
    """What a device's file would say if it had been measured with a protocol's software."""
    changes: list[tuple[str, bool | float]] = [] if protocol.fuses else [("fuses_epilogue", False)]
    if not protocol.fuses_attention:
        changes.append(("fuses_attention", False))
    if protocol.direct_ops is not None and isinstance(device.factors, GpuFactors):
        changes.append(("factors.conv.direct_ops", protocol.direct_ops))
    return tuple(changes)


@cache
def _run(
    device: str, network: Network, precision: str, batch: int, software: tuple[tuple[str, bool | float], ...]
) -> Result:
    """One run, all cores at work; rows that ask for the same share it."""
    core = load_device(device).core
    options = Options(batch=batch, precision=precision)
    if not core.gang and core.count > 1 and batch > 1:
        options = replace(options, parallel="data", cores=min(core.count, batch))
    overrides = dict(software)
    if network.pruned_to is not None:
        return simulate(device, _pruned(network), overrides=overrides, options=options)
    return simulate(device, network.workload, overrides=overrides, params=dict(network.params), options=options)


@cache
def _pruned(network: Network) -> Callable[[int], Graph]:
    """A builder of the network with so many operations left, the same share of channels everywhere."""
    assert network.pruned_to is not None

    def build(batch: int) -> Graph:
        return load_workload(network.workload, batch=batch, params=dict(network.params))

    return pruned_to(build, network.pruned_to / 2)


def as_rows(judged: Iterable[Judged]) -> list[Row]:
    """What has a prediction, as rows of a suite."""
    return [
        Row(
            suite=SUITE,
            name=name_of(one),
            quantity=one.ours.quantity if not one.ours.software else f"{one.ours.quantity}, software",
            unit=one.ours.unit,
            reference=one.ours.reference,
            ours=one.ours.value,
            source=one.row.text("source"),
        )
        for one in judged
        if one.ours is not None
    ]


def name_of(one: Judged) -> str:
    """A row in a few words."""
    row = one.row
    said = [row.text("device"), row.text("model"), row.text("scenario")]
    if one.ours is not None:
        said += [one.ours.precision, f"batch={one.ours.batch}"]
    if row.text("n_devices") not in {"", "1"}:
        said.append(f"devices={row.text('n_devices')}")
    return " ".join(part for part in said if part)


@dataclass(frozen=True, slots=True)
class Group:
    """A device: how many of its rows could be run, and the errors of those that measured the device [%]."""

    device: str
    rows: int
    run: int
    judged: int
    """Of those that ran, rows that are not the software's doing."""
    median_ape_pct: float | None = None
    mape_pct: float | None = None
    bias_pct: float | None = None
    worst_pct: float | None = None

    @property
    def coverage_pct(self) -> float:
        """Share of the rows that could be run."""
        return 100 * self.run / self.rows

    def to_dict(self) -> dict[str, Any]:
        """Under the names of the JSON."""
        return {slot: getattr(self, slot) for slot in self.__slots__} | {"coverage_pct": self.coverage_pct}


def groups(judged: Iterable[Judged]) -> list[Group]:
    """By our device, or by the file's name where we have none."""
    by: dict[str, list[Judged]] = {}
    for one in judged:
        by.setdefault(one.device or one.row.text("device"), []).append(one)
    return [_group(name, members) for name, members in sorted(by.items())]


def _group(name: str, members: Sequence[Judged]) -> Group:
    run = [one for one in members if one.ours is not None]
    errors = [one.error_pct for one in run if one.ours is not None and not one.ours.software]
    return Group(
        device=name,
        rows=len(members),
        run=len(run),
        judged=len(errors),
        **(spread(errors) | {"worst_pct": max(errors, key=abs)} if errors else {}),
    )


def unmodelled(judged: Iterable[Judged]) -> Counter[tuple[str, str]]:
    """Why rows were not run: device and reason, and how many."""
    return Counter((one.device or one.row.text("device"), one.why_not) for one in judged if one.ours is None)


def to_json(judged: Sequence[Judged]) -> str:
    """Schema ``accelsim.validation/1``, with errors by device and what was not run beside the rows."""
    rows = as_rows(judged)
    errors = [one.error_pct for one in judged if one.ours is not None and not one.ours.software]
    suite: dict[str, Any] = {
        "suite": SUITE,
        "n": len(errors),
        "rows": len(judged),
        "unmodelled": len(judged) - len(rows),
    }
    if errors:
        suite |= spread(errors)
    plain = {
        "schema": SCHEMA,
        "suites": [suite],
        "groups": [group.to_dict() for group in groups(judged)],
        "unmodelled": [
            {"device": device, "reason": why, "rows": n} for (device, why), n in sorted(unmodelled(judged).items())
        ],
        "rows": [row.to_dict() for row in rows],
    }
    return json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_csv(columns: Sequence[str], judged: Iterable[Judged]) -> str:
    """Every row of inference as it came, with what we say of it after it."""
    out = io.StringIO()
    lines = csv.writer(out, lineterminator="\n")
    ours = ("quantity", "measured", "predicted", "error_pct", "software", "bound", "workload", "why_not")
    lines.writerow([*columns, *(f"our_{name}" for name in ours)])
    for one in judged:
        lines.writerow([*(one.row.text(column) for column in columns), *_said(one)])
    return out.getvalue()


def _said(one: Judged) -> list[str]:
    if one.ours is None:
        return [""] * 7 + [one.why_not]
    o = one.ours
    numbers = [f"{o.reference:.6g}", f"{o.value:.6g}", f"{one.error_pct:.2f}"]
    return [o.quantity, *numbers, "yes" if o.software else "", o.bound, o.workload, ""]


def cells(group: Group) -> Mapping[str, str]:
    """A device as a line of a table."""

    def percent(value: float | None, sign: str = "") -> str:
        return "-" if value is None else f"{value:{sign}.1f}"

    return {
        "device": group.device,
        "rows": str(group.rows),
        "run": str(group.run),
        "run %": f"{group.coverage_pct:.0f}",
        "judged": str(group.judged),
        "median %": percent(group.median_ape_pct),
        "mean %": percent(group.mape_pct),
        "bias %": percent(group.bias_pct, "+"),
        "worst %": percent(group.worst_pct, "+"),
    }
