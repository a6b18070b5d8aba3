"""Several workloads on one device at once, each on cores of its own, sharing memory, link and power."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from accelsim.analysis.result import Result
from accelsim.base.errors import InputError, MappingError
from accelsim.engine import run
from accelsim.hardware.device import Device
from accelsim.hardware.loader import load_device
from accelsim.schedule import Job, Program
from accelsim.simulation import Options, Planned, check_capacity, plan
from accelsim.trace import Trace

LEAST_STEPS = 6
"""Of each workload, so that a middle third is steady while the others still run."""

MOST_STEPS = 600
"""Of the workload with the shortest step."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A workload and the cores that are its own."""

    workload: str
    first: int
    last: int

    @property
    def cores(self) -> int:
        """How many."""
        return self.last - self.first + 1

    def __str__(self) -> str:
        where = f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}"
        return f"{self.workload}:{where}"


def read_placement(text: str) -> list[Placed]:
    """Read ``resnet50:0-1,bert_base:2-3``. Raises InputError with everything that is wrong in it.

    >>> [str(placed) for placed in read_placement("resnet50:0-1,bert_base:3")]
    ['resnet50:0-1', 'bert_base:3']
    """
    placed: list[Placed] = []
    problems: list[str] = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*(.+):([0-9]{1,6})(?:-([0-9]{1,6}))?\s*", part)
        if found is None:
            problems.append(f"--place {part.strip()!r}: want WORKLOAD:CORE or WORKLOAD:FIRST-LAST, as resnet50:0-1")
            continue
        first, last = int(found[2]), int(found[3] or found[2])
        if last < first:
            problems.append(f"--place {part.strip()}: want the first core before the last")
        placed.append(Placed(found[1], first, last))
    owners: dict[int, Placed] = {}
    for one in placed:
        for core in range(one.first, min(one.last, one.first + 10**4) + 1):
            other = owners.setdefault(core, one)
            if other is not one:
                problems.append(f"--place {one}: core {core} is taken by {other}")
                break
    if problems:
        raise InputError(*problems)
    return placed


def simulate_together(
    device: str | os.PathLike[str] | Device,
    placed: Sequence[Placed],
    *,
    overrides: Mapping[str, Any] | None = None,
    params: Mapping[str, int] | None = None,
    options: Options | None = None,
) -> tuple[Result, ...]:
    """Run workloads side by side, and say of each what it gets: a result each, in the order given.

    ``options`` hold for each of them (batch, precision ...); on several cores a workload runs as replicas, unless
    ``options.parallel`` makes it a pipeline. Each repeats its step for as long as the longest of them takes for
    six, so that all contend all the time. Idle power is theirs by their cores. Raises InputError for what cannot be.
    """
    options = options or Options()
    chosen = device if isinstance(device, Device) else load_device(device, overrides)
    _check(chosen, placed, options)
    busy = sum(one.cores for one in placed)
    plans = [
        plan(
            _with_idle_share(chosen, one.cores / busy),
            one.workload,
            params=params,
            options=_of_one(options, one),
            neighbours=busy - one.cores,
        )
        for one in placed
    ]
    check_capacity(plans[0].site, [lane.graph for planned in plans for lane in planned.lanes])
    steps = _steps(plans)
    trace = run(_merged([p.program_of(n) for p, n in zip(plans, steps, strict=True)], placed))
    return tuple(
        _result(planned, count, number, trace, chosen, placed, overrides or {})
        for number, (planned, count) in enumerate(zip(plans, steps, strict=True))
    )


def _check(device: Device, placed: Sequence[Placed], options: Options) -> None:
    problems = [
        f"--place {one}: {device.name} has cores 0 to {device.core.count - 1}"
        for one in placed
        if one.last >= device.core.count
    ]
    if device.core.gang:
        problems = [f"--place: one op is spread over all cores of {device.name}; want a device with cores of their own"]
    if options.cores is not None:
        problems.append("--place says which cores; want it without --cores")
    if problems:
        raise MappingError(*problems)


def _of_one(options: Options, one: Placed) -> Options:
    if one.cores == 1:
        return replace(options, parallel=None)
    return replace(options, parallel=options.parallel or "data", cores=one.cores)


def _with_idle_share(device: Device, share: float) -> Device:
    """The device with a share of its idle power; what it may draw beyond that stays what it is."""
    power = device.power
    idle_w = power.static_w * share
    tdp_w = None if power.tdp_w is None else power.tdp_w - power.static_w + idle_w
    return device.model_copy(update={"power": power.model_copy(update={"static_w": idle_w, "tdp_w": tdp_w})})


def _steps(plans: Sequence[Planned]) -> list[int]:
    """Steps of each, so that all take about as long."""
    alone_ps = [run(planned.program_of(1)).end_ps for planned in plans]
    longest = LEAST_STEPS * max(alone_ps)
    return [min(MOST_STEPS, max(LEAST_STEPS, round(longest / each))) for each in alone_ps]


def _merged(programs: Sequence[Program], placed: Sequence[Placed]) -> Program:
    """One program of all, their jobs in turn by step, each on its own cores."""
    jobs = [
        _moved(job, f"{number}/", placed[number].first)
        for step in range(max(p.steps for p in programs))
        for number, one in enumerate(programs)
        for job in one.jobs
        if job.step == step
    ]
    channels = {name: rate for one in programs for name, rate in one.channels.items()}
    return Program(tuple(jobs), channels, max(p.steps for p in programs))


def _moved(job: Job, prefix: str, first_core: int) -> Job:
    own_core = re.fullmatch(r"core([0-9]+)", job.resource)
    return replace(
        job,
        name=prefix + job.name,
        resource=f"core{first_core + int(own_core[1])}" if own_core else job.resource,
        needs=tuple(prefix + name for name in job.needs),
        reads=tuple(prefix + name for name in job.reads),
        prefetch_during=prefix + job.prefetch_during if job.prefetch_during else None,
    )


def _result(
    planned: Planned,
    steps: int,
    number: int,
    trace: Trace,
    device: Device,
    placed: Sequence[Placed],
    overrides: Mapping[str, Any],
) -> Result:
    own = Trace(tuple(span for span in trace.spans if span.name.startswith(f"{number}/")))
    others = ", ".join(str(one) for one in placed if one is not placed[number])
    result = replace(planned, overrides=overrides).result(own, steps)
    beside = f"runs beside {others}" if others else "runs alone"
    return replace(
        result,
        tdp_w=device.power.tdp_w,
        warnings=(f"on cores {placed[number].first} to {placed[number].last}, {beside}", *result.warnings),
    )
