"""What the last cache of a GPU or CPU still holds when an op comes to read it: least recently used goes first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Set

from accelsim.schedule.residency import Plan
from accelsim.workload.graph import Graph


def cached_plan(graph: Graph, capacity_bytes: int, eligible: Set[str]) -> Plan:
    """Activations that are still in the cache at each of their reads, and the weights where a whole step fits.

    Tensors pass through the cache whole, weights too; the least recently used leave first, and what an op touches at
    once has to fit together, or it pushes itself out. A cache of that kind holds
    whatever a smaller one would (Mattson et al., IBM Systems Journal 9(2), 1970), so that a larger one never slows a
    step. One step after another touches everything in the same order: weights stay only where all that a step
    touches fits. A result that is read from the cache for the last time is not written back: the allocator reuses its
    memory, and the next result overwrites it there.
    """
    cache: OrderedDict[str, int] = OrderedDict()
    held = 0
    missed: set[str] = set()
    made: set[str] = set()
    for op in graph.ops:
        if sum({t.name: t.bytes for t in (*op.inputs, *op.outputs)}.values()) > capacity_bytes:
            missed |= {t.name for t in (*op.inputs, *op.outputs)}
        for tensor in (*op.inputs, *op.outputs):
            if tensor.name in made and tensor.name not in cache:
                missed.add(tensor.name)
            held -= cache.pop(tensor.name, 0)
            cache[tensor.name] = tensor.bytes
            held += tensor.bytes
            while held > capacity_bytes:
                _, size = cache.popitem(last=False)
                held -= size
        made |= {t.name for t in op.outputs}
    touched = sum(t.bytes for t in graph.tensors.values())
    kept = frozenset(t.name for t in graph.weights) if touched <= capacity_bytes else frozenset()
    resident = frozenset(
        name for name in eligible if name in made and name not in missed and graph.tensors[name].bytes <= capacity_bytes
    )
    return Plan(resident, (0,) * len(graph.ops), kept, 0)
