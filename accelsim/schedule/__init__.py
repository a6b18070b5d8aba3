"""Tasks -> program: order, cores, replicas, stages, and what stays on chip. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from accelsim.schedule.chunks import plan_in_chunks
from accelsim.schedule.lane import DEVICE, HOST, Lane, Site, link_task, plan_lane, runs_on
from accelsim.schedule.parallel import shares, stages
from accelsim.schedule.program import Job, Program
from accelsim.schedule.residency import live_bytes

__all__ = [
    "Job",
    "Lane",
    "Program",
    "Site",
    "live_bytes",
    "plan_in_chunks",
    "plan_lane",
    "program",
    "runs_on",
    "shares",
    "stages",
]


def program(lanes: Sequence[Lane], site: Site, *, steps: int, cold: bool, pipeline: bool) -> Program:
    """Jobs of ``steps`` steps on each lane; in a pipeline the lanes are stages of one step, else replicas of it.

    A core takes its jobs in order, step after step, and a lane begins a step when it has ended the one before; in a
    pipeline also not before the next stage has ended the step two before, so that no more than two results wait
    between them. ``cold``: every lane's weights come over the host link first. A tensor that several stages want
    crosses the link once, for the first of them.
    """
    jobs: dict[str, Job] = {}
    channels = dict(site.machine.channels)
    if site.host is not None:
        channels |= site.host.channels
    last_on_core: dict[int, str] = {}
    for step in range(steps):
        for number, lane in enumerate(lanes):
            replica = 0 if pipeline else number
            core = "cores" if site.machine.device.core.gang and len(lanes) == 1 else f"core{number}"
            if cold and step == 0:
                load = _load(lane, replica)
                jobs[load.name] = load
                last_on_core[number] = load.name
            # The last job of a lane in a step is what later steps wait for.
            gate = [_name(step - 1, replica, lane.items[-1].name, lane.chunks - 1)] if step else []
            if pipeline and number + 1 < len(lanes) and step >= 2:
                gate.append(_name(step - 2, replica, lanes[number + 1].items[-1].name))
            for chunk in range(lane.chunks):
                for job in _jobs(lane, step, replica, core, last_on_core, number, gate, chunk):
                    jobs.setdefault(job.name, job)
                gate = [_name(step, replica, lane.items[-1].name, chunk)]
    return Program(tuple(jobs.values()), channels, steps)


def _name(step: int, replica: int, item: str, chunk: int = 0) -> str:
    return f"s{step}.r{replica}.{f'c{chunk}.' if chunk else ''}{item}"


def _load(lane: Lane, replica: int) -> Job:
    size = lane.graph.weight_bytes
    task = link_task("weights from host", size, "weight", lane.machine, to_host=False)
    name = f"load.r{replica}.{lane.graph.ops[0].name}"
    return Job(name=name, task=task, resource=_link(lane), needs=(), step=0, replica=replica)


def _link(lane: Lane) -> str:
    host = lane.machine.device.host
    assert host is not None
    return host.link.name


def _jobs(
    lane: Lane,
    step: int,
    replica: int,
    core: str,
    last_on_core: dict[int, str],
    number: int,
    gate: Sequence[str],
    chunk: int,
) -> Iterator[Job]:
    """Jobs of one chunk of a lane in one step; what waits for nothing of its own lane waits for ``gate``."""
    own = {item.name for item in lane.items}
    for item in lane.later if chunk else lane.items:
        reads = tuple(_name(step, replica, name, chunk) for name in item.needs)
        needs = [*reads]
        if not own & {*item.needs}:
            needs += gate
        before = last_on_core.get(number)
        if item.where == DEVICE:
            if before is not None:
                needs.append(before)
            last_on_core[number] = _name(step, replica, item.name, chunk)
        yield Job(
            name=_name(step, replica, item.name, chunk),
            task=item.task,
            resource=core if item.where == DEVICE else HOST if item.where == HOST else _link(lane),
            needs=tuple(dict.fromkeys(needs)),
            reads=reads,
            step=step,
            replica=replica,
            prefetch_bytes=item.prefetch_bytes,
            prefetch_during=before if item.where == DEVICE and item.prefetch_bytes else None,
        )
