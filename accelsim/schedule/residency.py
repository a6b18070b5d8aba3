"""What stays on chip between ops.

A plan is an arena of ``limit`` bytes at the bottom of the buffer, and a budget for weights that are kept between steps.
Both are taken from a grid that does not depend on the capacity, so every plan of a smaller memory is also one of a
larger memory, where it leaves more room for tiles: with the fastest plan chosen, more capacity never slows a workload.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass

from accelsim.workload.graph import Graph
from accelsim.workload.ops import Tensor

SMALLEST_ARENA_BYTES = 2**16
SMALLEST_KEEP_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Plan:
    """Tensors that never leave the chip while they live, and the room that they take."""

    resident: frozenset[str]
    occupied_bytes: tuple[int, ...]
    """Bytes of the activations' buffer taken while each op runs."""
    kept: frozenset[str]
    """Weights that stay on chip from step to step."""
    kept_bytes: int


def grid(capacity_bytes: int, wanted_bytes: int, smallest: int) -> Iterator[int]:
    """Nothing, ``smallest`` times powers of two up to the capacity and below ``wanted``, and ``wanted`` where it fits.

    >>> list(grid(400_000, 150_000, 65536))
    [0, 65536, 131072, 150000]
    """
    yield 0
    size = smallest
    while size < min(capacity_bytes + 1, wanted_bytes):
        yield size
        size *= 2
    if 0 < wanted_bytes <= capacity_bytes:
        yield wanted_bytes


@dataclass(frozen=True, slots=True)
class _Life:
    """A tensor from the op that makes it to the last that reads it; a cache stays."""

    tensor: Tensor
    first: int
    last: int


def _lives(graph: Graph, eligible: Set[str]) -> list[_Life]:
    """Shortest lives first, then in the order of their birth."""
    position = {op.name: i for i, op in enumerate(graph.ops)}
    lives = []
    for name in graph.tensors:
        if name not in eligible:
            continue
        maker = graph.producer.get(name)
        first = position[maker.name] if maker else 0
        readers = () if graph.tensors[name].role == "kv_cache" else graph.consumers[name]
        last = max((position[op.name] for op in readers), default=len(graph.ops) - 1)
        lives.append(_Life(graph.tensors[name], first, last))
    return sorted(lives, key=lambda life: (life.last - life.first, life.first, life.tensor.name))


def _arena(lives: list[_Life], limit: int) -> list[tuple[_Life, int]]:
    """Place tensors at the lowest address that is free for all their life; those that end above ``limit`` stay out."""
    placed: list[tuple[_Life, int]] = []
    taken: dict[int, list[tuple[int, int]]] = {}
    """Addresses in use while each op runs."""
    for life in lives:
        size, ops = life.tensor.bytes, range(life.first, life.last + 1)
        address = 0
        for start, end in sorted({span for op in ops for span in taken.get(op, ())}):
            if start - address >= size:
                break
            address = max(address, end)
        if address + size <= limit:
            placed.append((life, address))
            for op in ops:
                taken.setdefault(op, []).append((address, address + size))
    return placed


def _height(placed: list[tuple[_Life, int]]) -> int:
    """Where the highest tensor ends: an arena that holds everything."""
    return max((start + life.tensor.bytes for life, start in placed), default=0)


def _kept(graph: Graph, budget: int) -> tuple[frozenset[str], int]:
    """Weights in the order of their use, as long as they fit."""
    kept: set[str] = set()
    total = 0
    for tensor in graph.weights:
        if total + tensor.bytes <= budget:
            kept.add(tensor.name)
            total += tensor.bytes
    return frozenset(kept), total


def plans(
    graph: Graph, *, arena_bytes: int, eligible: Sequence[Set[str]], keep_bytes: int, shared: bool
) -> Iterator[Plan]:
    """Every plan: arenas of up to ``arena_bytes`` for activations, and weights kept in up to ``keep_bytes``.

    ``eligible`` are choices of activations that may stay. ``shared``: both lie in one memory, of ``arena_bytes``.
    """
    seen: set[tuple[frozenset[str], frozenset[str]]] = set()
    for names in eligible:
        lives = _lives(graph, names)
        wanted = _height(_arena(lives, sum(life.tensor.bytes for life in lives)))
        arenas = {limit: _arena(lives, limit) for limit in _arena_sizes(arena_bytes, wanted)}
        for budget in grid(keep_bytes, graph.weight_bytes, SMALLEST_KEEP_BYTES):
            kept, kept_bytes = _kept(graph, budget)
            for limit, placed in arenas.items():
                resident = frozenset(life.tensor.name for life, _ in placed)
                if (shared and limit + budget > arena_bytes) or (resident, kept) in seen:
                    continue
                seen.add((resident, kept))
                yield Plan(resident, _occupied(placed, len(graph.ops)), kept, kept_bytes)


def _arena_sizes(capacity_bytes: int, wanted_bytes: int) -> list[int]:
    """Powers of two and what lies half way between them."""
    halves = grid(capacity_bytes, wanted_bytes, SMALLEST_ARENA_BYTES * 3 // 2)
    return sorted({*grid(capacity_bytes, wanted_bytes, SMALLEST_ARENA_BYTES), *halves})


def _occupied(placed: list[tuple[_Life, int]], n_ops: int) -> tuple[int, ...]:
    """Height of the arena during each op."""
    occupied = [0] * n_ops
    for life, start in placed:
        for i in range(life.first, life.last + 1):
            occupied[i] = max(occupied[i], start + life.tensor.bytes)
    return tuple(occupied)


def live_bytes(graph: Graph) -> list[int]:
    """Bytes of activations that live during each op: from the op that makes them to the last that reads them."""
    live = [0] * len(graph.ops)
    for life in _lives(graph, {name for name, tensor in graph.tensors.items() if tensor.role != "weight"}):
        for i in range(life.first, life.last + 1):
            live[i] += life.tensor.bytes
    return live
