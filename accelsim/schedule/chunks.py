"""A batch that does not stay on chip, in parts that do: the weights are read again, the activations stay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from accelsim.base.errors import MappingError, WorkloadError
from accelsim.schedule.lane import Lane, Site, least_ps, plan_lane, runs_on
from accelsim.workload.graph import Graph

MOST_PARTS = 2**17
"""Ops of a step done in parts: each is planned in time, and a batch of a million items is not done one by one."""


def plan_in_chunks(whole: Graph, part: Callable[[int], Graph], site: Site, *, lanes: int = 1) -> Lane:
    """Lay out a batch at once, or halved as often as that is faster.

    ``part(n)`` is the graph for ``n`` items. Compilers of devices whose activations live on chip cut a batch so
    (AWS Neuron, TensorRT's strategies for DLA); kernels that stream from DRAM gain nothing. Halves do not depend on the
    memory, so that a larger one only adds to what is possible. Raises MappingError where no part leaves room for tiles.
    """
    best: Lane | None = None
    refusal: MappingError | None = None
    try:
        best = plan_lane(whole, site, lanes=lanes)
    except MappingError as error:
        refusal = error
    if best is not None and not _spills(best):
        return best
    chunks = 2
    while whole.batch % chunks == 0 and chunks * len(whole.ops) <= MOST_PARTS:
        try:
            graph = part(whole.batch // chunks)
            if best is None or chunks * least_ps(graph, site) < best.cost_ps(lanes):
                lane = replace(plan_lane(graph, site, lanes=lanes), chunks=chunks)
                if best is None or lane.cost_ps(lanes) < best.cost_ps(lanes):
                    best = lane
        except MappingError as error:
            refusal = refusal or error
        except WorkloadError:  # it is what it is: a graph that was given, not built
            break
        chunks *= 2
    if best is None:
        assert refusal is not None
        raise refusal
    return best


def _spills(lane: Lane) -> bool:
    """Whether a tensor that the device makes and reads again leaves the chip between."""
    graph, device = lane.graph, lane.machine.device
    if device.core.execution is not None:
        return False
    return any(
        t.name not in lane.plan.resident and graph.consumers[t.name] and t.role == "activation"
        for op in graph.ops
        if runs_on(op, device)
        for t in op.outputs
    )
