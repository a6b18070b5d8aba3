"""Program -> trace: the event kernel's first home. Prints nothing, writes nothing, keeps no global."""

from __future__ import annotations

import math
from collections.abc import Generator
from fractions import Fraction

import simpy

from accelsim.base.units import PS_PER_S
from accelsim.engine.fluid import Channels, Flow
from accelsim.schedule.program import Job, Program
from accelsim.trace import Span, Trace

__all__ = ["run"]


def run(program: Program) -> Trace:
    """Play a program: every job waits for what it needs, holds its resource, and is as fast as its channels allow."""
    env = simpy.Environment()
    machine = _Machine(env, program)
    for job in program.jobs:
        env.process(machine.play(job))
    env.run()
    assert len(machine.spans) == len(program.jobs), "a job never ran: its needs form a cycle"
    order = {job.name: i for i, job in enumerate(program.jobs)}
    return Trace(tuple(sorted(machine.spans, key=lambda span: (span.start_ps, order[span.name]))))


class _Machine:
    """The resources, channels and events of one run."""

    def __init__(self, env: simpy.Environment, program: Program) -> None:
        self.env = env
        self.channels = Channels(env, program.channels)
        self.rates = {name: Fraction(rate) / PS_PER_S for name, rate in program.channels.items()}
        self.resources = {job.resource: simpy.Resource(env) for job in program.jobs}
        self.started = {job.prefetch_during: env.event() for job in program.jobs if job.prefetch_during is not None}
        self.ended = {job.name: env.event() for job in program.jobs}
        self.ends_ps: dict[str, int] = {}
        self.tasks = {job.name: job.task for job in program.jobs}
        self.early: dict[str, Flow] = {}
        self.spans: list[Span] = []

    def play(self, job: Job) -> Generator[simpy.Event, None, None]:
        """One job, from its first wait to its span."""
        if job.prefetch_during is not None:
            self.env.process(self.prefetch(job))
        if len(job.needs) == 1:
            yield self.ended[job.needs[0]]
        elif job.needs:
            yield self.env.all_of([self.ended[name] for name in job.needs])
        wait_ps = self._readable_ps(job) - int(self.env.now)
        if wait_ps > 0:
            yield self.env.timeout(wait_ps)
        with self.resources[job.resource].request() as turn:
            yield turn
            start_ps = int(self.env.now)
            early_bytes = self._stop_prefetch(job)
            if job.name in self.started:
                self.started[job.name].succeed()
            duration_ps, demands = _alone(job, early_bytes, self.rates)
            yield self.channels.start(demands, duration_ps).done
            self.spans.append(_span(job, start_ps, int(self.env.now), early_bytes))
        self.ends_ps[job.name] = int(self.env.now)
        self.ended[job.name].succeed()

    def _readable_ps(self, job: Job) -> int:
        """When all results that a job reads have become readable [ps]; what it reads has ended."""
        return max((self.ends_ps[name] + self.tasks[name].wait_ps(job.task) for name in job.reads), default=0)

    def prefetch(self, job: Job) -> Generator[simpy.Event, None, None]:
        """Fetch weights while the job before runs, as far as others leave the channel idle and room is there."""
        assert job.prefetch_during is not None
        yield self.started[job.prefetch_during]
        channel = job.task.prefetch_channel
        assert channel is not None
        rate = self.rates[channel]
        self.early[job.name] = self.channels.start({channel: rate}, job.prefetch_bytes / rate, yielding=True)

    def _stop_prefetch(self, job: Job) -> Fraction:
        """Bytes of its weights that have come."""
        flow = self.early.pop(job.name, None)
        if flow is None or job.task.prefetch_channel is None:
            return Fraction(0)
        return job.prefetch_bytes - self.channels.stop(flow) * self.rates[job.task.prefetch_channel]


def _alone(job: Job, early_bytes: Fraction, rates: dict[str, Fraction]) -> tuple[int, dict[str, Fraction]]:
    """Duration of a job alone on the machine [ps], and what it then asks of each channel [bytes/ps]."""
    task = job.task
    duration_ps = task.duration_ps
    if early_bytes and task.prefetch_channel is not None:
        shortened = task.duration_ps - early_bytes / rates[task.prefetch_channel]
        duration_ps = max(task.resident_ps, math.ceil(shortened))
    demands = {}
    for channel, size in task.channel_bytes:
        left = size - (early_bytes if channel == task.prefetch_channel else 0)
        if left > 0 and duration_ps:
            demands[channel] = min(Fraction(left) / duration_ps, rates[channel])
    return duration_ps, demands


def _span(job: Job, start_ps: int, end_ps: int, early_bytes: Fraction) -> Span:
    task = job.task
    return Span(
        name=job.name,
        op=task.op,
        kind=task.kind,
        device=task.device,
        resource=job.resource,
        step=job.step,
        replica=job.replica,
        start_ps=start_ps,
        end_ps=end_ps,
        macs=task.macs,
        dtype=task.dtype,
        compute_cycles=task.compute_cycles,
        clock_hz=task.clock_hz,
        bound=task.bound,
        counts=task.counts,
        channel_bytes=task.channel_bytes,
        prefetched_bytes=int(early_bytes),
        energy_scale=task.energy_scale,
        tiling=task.tiling,
        bounds_s=task.bounds_s,
    )
