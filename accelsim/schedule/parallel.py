"""Several cores at once: replicas that split a batch, and stages that pass it on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from accelsim.schedule.lane import DEVICE, HOST, Lane, Site, plan_lane, runs_on
from accelsim.workload.graph import Graph
from accelsim.workload.ops import Op


def shares(batch: int, replicas: int) -> list[int]:
    """Items of a step for each replica, as even as can be.

    >>> shares(6, 4)
    [2, 2, 1, 1]
    """
    return [batch // replicas + (1 if i < batch % replicas else 0) for i in range(replicas)]


def partition(weights: Sequence[int], parts: int) -> list[int]:
    """Cut a sequence into ``parts`` runs, none empty, whose largest sum is smallest; returns where each run ends.

    The smallest bound under which a greedy fill needs no more than ``parts`` runs, found by bisection.

    >>> partition([1, 2, 3, 4, 5], 2)
    [3, 5]
    """

    def cuts(bound: int) -> list[int]:
        ends: list[int] = []
        total = 0
        for i, weight in enumerate(weights):
            if i and (total + weight > bound or len(weights) - i <= parts - 1 - len(ends)):
                ends.append(i)
                total = 0
            total += weight
        return [*ends, len(weights)]

    low, high = max(weights), sum(weights)
    while low < high:
        middle = (low + high) // 2
        if len(cuts(middle)) <= parts:
            high = middle
        else:
            low = middle + 1
    return cuts(low)


def _subgraph(graph: Graph, start: int, end: int) -> Graph:
    return replace(graph, ops=graph.ops[start:end], notes=())


def _crossing(graph: Graph, ends: Sequence[int]) -> frozenset[str]:
    """Tensors that are made in one stage and read in another."""
    stage: dict[str, int] = {}
    start = 0
    for number, end in enumerate(ends):
        for op in graph.ops[start:end]:
            stage[op.name] = number
        start = end
    return frozenset(
        name
        for name, maker in graph.producer.items()
        if any(stage[reader.name] != stage[maker.name] for reader in graph.consumers[name])
    )


def stages(graph: Graph, site: Site, count: int) -> list[Lane]:
    """A lane for each of ``count`` pipeline stages, balanced by time, each keeping its weights on chip where they fit.

    The times to balance by are those of the whole graph on one core at first, then those of the stages so made; the
    split whose slowest stage is fastest is kept.
    """
    times = _times(graph, [plan_lane(graph, site)])
    best: tuple[int, list[Lane]] | None = None
    for _ in range(3):
        ends = partition(times, count)
        outside = _crossing(graph, ends)
        elsewhere = {name: _maker(graph.producer[name], site) for name in outside}
        crossing = replace(site, outside=site.outside | outside, elsewhere=elsewhere)
        starts = [0, *ends[:-1]]
        lanes = [
            plan_lane(_subgraph(graph, start, end), crossing, lanes=count)
            for start, end in zip(starts, ends, strict=True)
        ]
        slowest = max(lane.chain_ps for lane in lanes)
        if best is None or slowest < best[0]:
            best = slowest, lanes
        times = _times(graph, lanes)
    assert best is not None
    return best[1]


def _maker(op: Op, site: Site) -> tuple[str, str]:
    """The item that makes an op's results, and where."""
    return op.name, DEVICE if runs_on(op, site.machine.device) else HOST


def _times(graph: Graph, lanes: Sequence[Lane]) -> list[int]:
    """Time of each op, with the transfers in front of it [ps]."""
    times: dict[str, int] = {}
    names = {op.name for op in graph.ops}
    for lane in lanes:
        waiting = 0
        for item in lane.items:
            waiting += item.task.duration_ps
            if item.name in names:
                times[item.name] = waiting
                waiting = 0
    return [max(1, times[op.name]) for op in graph.ops]
