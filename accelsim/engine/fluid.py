"""Channels as shared fluids: flows that slow each other down, with their remaining work kept exactly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import simpy

from accelsim.base.units import PS_PER_S

FULL = Fraction(1)


@dataclass(eq=False)
class Flow:
    """Work that draws on channels.

    ``demands``: bytes/ps on each channel at full speed; ``remaining``: ps at full speed. A ``yielding`` flow takes only
    what the others leave, on one channel, and as much of that as there is.
    """

    demands: dict[str, Fraction]
    remaining: Fraction
    done: simpy.Event
    yielding: bool = False
    progress: Fraction = field(default=Fraction(0))


class Channels:
    """Max-min fair sharing (Bertsekas and Gallager, Data Networks, 6.5.2) of each channel among its flows.

    A flow progresses at the smallest ``granted / demanded`` over its channels, at most at full speed.
    """

    def __init__(self, env: simpy.Environment, bytes_per_s: Mapping[str, float]) -> None:
        self.env = env
        self.capacity = {name: Fraction(rate) / PS_PER_S for name, rate in bytes_per_s.items()}
        self.flows: list[Flow] = []
        self._since = 0
        self._version = 0

    def start(self, demands: Mapping[str, Fraction], duration_ps: Fraction | int, *, yielding: bool = False) -> Flow:
        """Begin a flow that would take ``duration_ps`` alone; its ``done`` event fires when it has."""
        flow = Flow(dict(demands), Fraction(duration_ps), self.env.event(), yielding)
        self._advance()
        self.flows.append(flow)
        self._share()
        return flow

    def stop(self, flow: Flow) -> Fraction:
        """End a flow early; what remained of it [ps at full speed]."""
        self._advance()
        if flow in self.flows:
            self.flows.remove(flow)
            self._share()
        return max(Fraction(0), flow.remaining)

    def _advance(self) -> None:
        elapsed = int(self.env.now) - self._since
        self._since = int(self.env.now)
        if elapsed:
            for flow in self.flows:
                flow.remaining -= flow.progress * elapsed

    def _share(self) -> None:
        """Give every flow its progress and wake when the first of them ends."""
        self._version += 1
        if not self.flows:
            return
        first = self.flows[0]
        if len(self.flows) == 1 and all(demand <= self.capacity[name] for name, demand in first.demands.items()):
            first.progress = FULL  # most often so
            self._wake_in(math.ceil(first.remaining))
            return
        demanding = [flow for flow in self.flows if not flow.yielding]
        for flow in demanding:
            flow.progress = FULL
        left = dict(self.capacity)
        for channel, capacity in self.capacity.items():
            users = [flow for flow in demanding if flow.demands.get(channel)]
            if not users:
                continue
            if len(users) == 1 and users[0].demands[channel] <= capacity:  # most often so, and at full speed
                left[channel] -= users[0].demands[channel]
                continue
            for flow, granted in zip(users, fair([f.demands[channel] for f in users], capacity), strict=True):
                flow.progress = min(flow.progress, granted / flow.demands[channel])
                left[channel] -= granted
        yielding = [flow for flow in self.flows if flow.yielding]
        for flow in yielding:
            ((channel, demand),) = flow.demands.items()
            sharers = sum(channel in other.demands for other in yielding)
            flow.progress = min(FULL, left[channel] / sharers / demand)
        ends = [math.ceil(flow.remaining / flow.progress) for flow in self.flows if flow.progress > 0]
        if ends:
            self._wake_in(min(ends))

    def _wake_in(self, duration_ps: int) -> None:
        version = self._version
        timeout = self.env.timeout(max(0, duration_ps))
        timeout.callbacks.append(lambda _: self._wake(version))

    def _wake(self, version: int) -> None:
        if version != self._version:
            return
        self._advance()
        ended = [flow for flow in self.flows if flow.remaining <= 0]
        self.flows = [flow for flow in self.flows if flow.remaining > 0]
        for flow in ended:
            flow.done.succeed()
        self._share()


def fair(demands: list[Fraction], capacity: Fraction) -> list[Fraction]:
    """Max-min fair shares of a capacity: small demands are met, the rest is split evenly.

    >>> [str(share) for share in fair([Fraction(1), Fraction(5), Fraction(6)], Fraction(9))]
    ['1', '4', '4']
    """
    shares = [Fraction(0)] * len(demands)
    left = capacity
    order = sorted(range(len(demands)), key=lambda i: demands[i])
    for position, i in enumerate(order):
        shares[i] = min(demands[i], left / (len(order) - position))
        left -= shares[i]
    return shares
