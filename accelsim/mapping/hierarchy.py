"""Tiles within tiles: how a product moves through all on-chip memories of its operands' paths.

The outermost on-chip memory of a path (depth 0) holds tiles that come from beyond the chip; ``matrix`` searches those.
Here are the tiles of the memories nearer to the unit: a size along m, k and n and an order of the loops for each depth.
A tile is moved anew whenever the step before used another one, so an operand moves as often as the loops outside its
innermost loop of more than one step say (Parashar et al., Timeloop, ISPASS 2019).

Sizes to choose from depend on no capacity, and nothing that is left out could be faster: of the dimension that is
innermost nearest to the unit only the smallest size is kept, as a larger one takes more room and moves no less.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations

import numpy as np
import numpy.typing as npt

from accelsim.base.units import PS_PER_S, ceil_div
from accelsim.hardware.device import Memory
from accelsim.mapping.machine import Machine
from accelsim.mapping.models import Dimension, MatrixModel
from accelsim.mapping.on_chip import Amount, Array, Traffic, busy_seconds, largest

DIMENSIONS: tuple[Dimension, ...] = ("m", "k", "n")
ORDERS: tuple[tuple[Dimension, ...], ...] = tuple(permutations(DIMENSIONS))
"""Loops of a depth, outermost first."""
_STANDS = {
    (place, dimension): np.array([order[place] == dimension for order in ORDERS])
    for place in range(len(DIMENSIONS))
    for dimension in DIMENSIONS
}
BESIDE: Mapping[str, Dimension] = {"input": "n", "weight": "m", "output": "k"}
"""The dimension that does not index an operand."""


def tile_sizes(extent: int, quantum: int) -> list[int]:
    """``quantum`` times powers of two below ``extent``, and ``extent``: independent of any capacity.

    >>> tile_sizes(1000, 128)
    [128, 256, 512, 1000]
    """
    sizes = []
    size = quantum
    while size < extent:
        sizes.append(size)
        size *= 2
    return [*sizes, extent]


@dataclass(frozen=True, slots=True)
class InnerTile:
    """A tile of one depth, and its loops, outermost first."""

    m: int
    k: int
    n: int
    order: tuple[Dimension, ...]

    def __str__(self) -> str:
        return f"{self.m}x{self.k}x{self.n} {''.join(self.order)}"


@dataclass(frozen=True)
class Outer:
    """Tiles of depth 0, one or many, as a column: sizes, and whether the loop over n is outside the one over m."""

    m: Array
    k: Array
    n: Array
    n_outer: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Choice:
    """Tiles of one inner depth, as a row to choose from or a column of chosen ones: sizes, and numbers of orders."""

    size: dict[Dimension, Array]
    order: npt.NDArray[np.int64]

    def at(self, index: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Choice:
        """Return some of the entries, in the index' shape."""
        return Choice({d: values[index] for d, values in self.size.items()}, self.order[index])


@dataclass(frozen=True)
class Boundary:
    """What moves between two memories of an operand's path."""

    depth: int
    operand: str
    far: Memory
    near: Memory
    into: Amount
    """Bytes towards the unit."""
    out: Amount
    """Bytes back."""


@dataclass(frozen=True)
class Costs:
    """What inner tiles cost: arrays of (outer tiles, inner tiles)."""

    legal: npt.NDArray[np.bool_]
    on_chip_ps: Array
    """Of the slowest of the unit and all on-chip memories, in steady state, at the nominal clock."""
    fill_ps: Array
    """First tiles on their way in, and the last on its way out, which nothing hides."""
    on_chip_pj: Array
    """Of all on-chip traffic but what crosses the chip's edge."""


class Levels:
    """The memories of a product's operands by depth, and all that can be done with them.

    ``weight_role`` is the role of the second operand: ``weight``, or ``activation`` where both are made on the way.
    """

    def __init__(self, model: MatrixModel, machine: Machine, weight_role: str, freq_hz: float) -> None:
        self.model, self.machine, self.freq_hz = model, machine, freq_hz
        roles = {"input": "activation", "weight": weight_role, "output": "partial_sum", "result": "activation"}
        self.paths = {
            operand: tuple(m for m in reversed(machine.device.memory) if m.kind == "sram" and role in m.holds)
            for operand, role in roles.items()
        }
        self.depth = max(1, *(len(path) for path in self.paths.values())) if model.nested else 1

    # --- choices -----------------------------------------------------------------------------------------------------

    @cached_property
    def sizes(self) -> dict[Dimension, list[int]]:
        """Sizes along each dimension, at every depth."""
        gemm = self.model.gemm
        extents = {"m": gemm.m, "k": gemm.k, "n": gemm.n}
        return {d: tile_sizes(extents[d], q) for d, q in zip(DIMENSIONS, self.model.quanta, strict=True)}

    @cached_property
    def choices(self) -> list[Choice]:
        """The tiles to choose from at every inner depth."""
        return [self._tiles(innermost=depth == self.depth - 1) for depth in range(1, self.depth)]

    def _tiles(self, *, innermost: bool) -> Choice:
        """Every size and order at a depth, but for those that another one makes needless."""
        axes = [np.array(self.sizes[d], dtype=np.float64) for d in DIMENSIONS]
        m, k, n, order = np.indices((*(len(axis) for axis in axes), len(ORDERS))).reshape(4, -1)
        every = Choice({"m": axes[0][m], "k": axes[1][k], "n": axes[2][n]}, order)
        if not innermost:
            return every
        keep = np.zeros(len(order), bool)
        for number, loops in enumerate(ORDERS):
            last = loops[-1]
            # Of orders that differ only outside the last loop one will do: nothing is inside that could tell.
            if loops[:-1] == tuple(d for d in DIMENSIONS if d != last):
                small = (every.size[last] == self.sizes[last][0]) | (last == self.model.streamed)
                keep |= (order == number) & small
        return every.at(keep)

    def tiles(self, inner: tuple[int, ...]) -> tuple[InnerTile, ...]:
        """The inner tiles with those numbers, outermost first."""
        return tuple(
            InnerTile(
                int(choice.size["m"][i]), int(choice.size["k"][i]), int(choice.size["n"][i]),
                ORDERS[int(choice.order[i])],
            )
            for choice, i in zip(self.choices, inner, strict=True)
        )  # fmt: skip

    # --- traffic -----------------------------------------------------------------------------------------------------

    @cached_property
    def _extent(self) -> dict[Dimension, int]:
        gemm = self.model.gemm
        return {"m": gemm.m, "k": gemm.k, "n": gemm.n}

    def _again(self, outer: Outer, tiles: Sequence[Choice]) -> list[dict[str, Amount]]:
        """How often each operand moves into the tiles of each inner depth.

        The loops of the dimension beside an operand repeat it, down to the last that has one of its own inside.
        """
        counted: dict[str, Amount] = dict.fromkeys(BESIDE, 1.0)
        reached: dict[str, Amount] = dict.fromkeys(BESIDE, 1.0)

        def loop(dimension: Dimension, bound: Array, trips: Array, where: npt.NDArray[np.bool_]) -> None:
            """Go one loop further inside, in those mappings that have it there."""
            for operand, beside in BESIDE.items():
                if beside == dimension:
                    reached[operand] = np.where(where, trips, reached[operand])
                else:
                    counted[operand] = np.where(where & (bound > 1), reached[operand], counted[operand])

        size: dict[Dimension, Array] = {"m": outer.m, "k": outer.k, "n": outer.n}
        first = ~outer.n_outer
        loops: list[tuple[Dimension, npt.NDArray[np.bool_]]] = [
            ("m", first), ("n", ~first), ("n", first), ("m", ~first), ("k", first | ~first),
        ]  # fmt: skip
        for dimension, where in loops:
            steps = np.ceil(self._extent[dimension] / size[dimension])
            loop(dimension, steps, steps, where)
        found = []
        for tile in tiles:
            own = tile.size
            steps_of = {d: (np.ceil(size[d] / own[d]), np.ceil(self._extent[d] / own[d])) for d in DIMENSIONS}
            for place in range(len(DIMENSIONS)):
                for dimension in DIMENSIONS:
                    loop(dimension, *steps_of[dimension], _STANDS[place, dimension][tile.order])
            size = tile.size
            found.append(dict(counted))
        return found

    @cached_property
    def _sums(self) -> float:
        """Bytes of all unfinished sums of one repeat."""
        gemm = self.model.gemm
        m, n = np.array([float(gemm.m)]), np.array([float(gemm.n)])
        return float(self.model.partial_sum_bytes(m, n, np.array([2.0]))[0])

    def _boundaries(self, again: list[dict[str, Amount]]) -> list[Boundary]:
        """Between every two memories of a path; at depths of which nothing is said, everything once."""
        gemm = self.model.gemm
        whole = {"input": gemm.a_bytes, "weight": gemm.b_bytes, "output": self._sums, "result": gemm.c_bytes}
        found = []
        for depth in range(1, self.depth):
            for operand, path in self.paths.items():
                if depth >= len(path):
                    continue
                size = whole[operand] * gemm.repeats
                times = again[depth - 1] if depth <= len(again) else dict.fromkeys(BESIDE, 1.0)
                far, near = path[depth - 1], path[depth]
                if operand == "result":
                    found.append(Boundary(depth, "output", far, near, 0.0, size))
                elif operand == "output":
                    back = (times[operand] - 1) * size
                    found.append(Boundary(depth, operand, far, near, back, back))
                else:
                    found.append(Boundary(depth, operand, far, near, times[operand] * size, 0.0))
        return found

    @cached_property
    def _unit_traffic(self) -> dict[int, list[Traffic]]:
        """Traffic of the unit by the parts that the streamed dimension is cut into."""
        streamed = self.model.streamed
        parts = {ceil_div(self._extent[streamed], size) for size in self.sizes[streamed]}
        return {number: [*self.model.traffic(number)] for number in sorted(parts)}

    def _unit(self, innermost: Choice | None) -> list[tuple[str, str, Amount, Amount]]:
        """(memory, operand, bytes read, bytes written) by the unit, for every choice; the least where none is made."""
        if innermost is None:
            return [(t.memory, t.operand, float(t.read_bytes), float(t.write_bytes)) for t in self._unit_traffic[1]]
        streamed = self.model.streamed
        parts = np.ceil(self._extent[streamed] / innermost.size[streamed])
        index = np.searchsorted(np.array([*self._unit_traffic]), parts)
        return [
            (
                of_one[0].memory,
                of_one[0].operand,
                np.array([float(t.read_bytes) for t in of_one])[index],
                np.array([float(t.write_bytes) for t in of_one])[index],
            )
            for of_one in zip(*self._unit_traffic.values(), strict=True)
        ]

    # --- costs -------------------------------------------------------------------------------------------------------

    def costs(self, outer: Outer, tiles: Sequence[Choice], room: Mapping[str, Array], free: Mapping[str, int]) -> Costs:
        """What ``tiles`` of the first inner depths cost under ``outer``; with all of them exactly, else at least.

        ``room`` is what the tiles of depth 0 take of each memory, sums not included, and ``free`` what there is.
        """
        whole = len(tiles) == self.depth - 1
        again = self._again(outer, tiles)
        boundaries = self._boundaries(again)
        legal = self._legal(outer, tiles, again, room, free)
        unit = self._unit(tiles[-1] if whole else None)
        longest = tiles[-1].size["m"] if tiles else outer.m
        cycles = self.model.total_cycles(longest.ravel()).reshape(longest.shape)
        time = largest([cycles * (PS_PER_S / self.freq_hz), self._busy_ps(unit, [])])
        for depth in reversed(range(1, self.depth)):
            here = [b for b in boundaries if b.depth == depth]
            if all(b.near.double_buffered for b in here):
                time = largest([time, self._busy_ps([], here)])
            else:  # it is filled and used in turns
                time = time + self._busy_ps([], here)
        time = largest([time, self._busy_ps(unit, boundaries)])
        every = (time, self._fill_ps(tiles), self._energy_pj(unit, boundaries))
        return Costs(legal, *(np.broadcast_to(np.asarray(x, dtype=np.float64), legal.shape) for x in every))

    def _energy_pj(self, unit: list[tuple[str, str, Amount, Amount]], boundaries: list[Boundary]) -> Amount:
        def price(memory: str, action: str) -> float:
            return self.machine.price_pj(f"{memory}.{action}")

        total: Amount = 0.0
        for memory, _, read, written in unit:
            total = total + read * price(memory, "read") + written * price(memory, "write")
        for b in boundaries:
            total = total + b.into * (price(b.far.name, "read") + price(b.near.name, "write"))
            total = total + b.out * (price(b.near.name, "read") + price(b.far.name, "write"))
        return total

    def _busy_ps(self, unit: list[tuple[str, str, Amount, Amount]], boundaries: list[Boundary]) -> Amount:
        """Time of the busiest memory with such traffic."""
        reads: dict[str, list[Amount]] = {}
        writes: dict[str, list[Amount]] = {}
        for memory, _, read, written in unit:
            reads.setdefault(memory, []).append(read)
            writes.setdefault(memory, []).append(written)
        for b in boundaries:
            reads.setdefault(b.far.name, []).append(b.into)
            writes.setdefault(b.near.name, []).append(b.into)
            reads.setdefault(b.near.name, []).append(b.out)
            writes.setdefault(b.far.name, []).append(b.out)
        return largest(
            [
                busy_seconds(self.machine.sram[name], reads.get(name, []), writes.get(name, []), self.machine.cores)
                * PS_PER_S
                for name in {**reads, **writes}
            ]
        )

    def _fill_ps(self, tiles: Sequence[Choice]) -> Amount:
        """The first tiles of image and filters through each level in turn, and the last results on their way back."""
        total: Amount = 0.0
        for depth in range(1, self.depth):
            sizes = self._sizes(tiles[depth - 1]) if depth <= len(tiles) else self._least_sizes
            paths = {operand: path for operand, path in self.paths.items() if depth < len(path)}
            first = [
                Boundary(depth, operand, path[depth - 1], path[depth], sizes[operand], 0.0)
                for operand, path in paths.items()
                if operand in ("input", "weight")
            ]
            last = [
                Boundary(depth, operand, path[depth - 1], path[depth], 0.0, sizes[operand])
                for operand, path in paths.items()
                if operand == "result"
            ]
            latency = max((b.far.latency_s for b in first), default=0.0) * PS_PER_S
            total = total + latency + self._busy_ps([], first) + self._busy_ps([], last)
        return total

    @cached_property
    def _least_sizes(self) -> dict[str, Array]:
        least = {d: np.array([float(self.sizes[d][0])]) for d in DIMENSIONS}
        return self._sizes(Choice(least, np.zeros(1, np.int64)))

    def _sizes(self, tile: Choice) -> dict[str, Array]:
        """Bytes of a tile of image, filters and results."""
        gemm = self.model.gemm
        m, k, n = (tile.size[d] for d in DIMENSIONS)
        return {
            "input": gemm.a_bytes * (m / gemm.m) * (k / gemm.k),
            "weight": gemm.b_bytes * gemm.b_share(k, n),
            "result": gemm.c_bytes * (m / gemm.m) * (n / gemm.n),
        }

    def _legal(
        self,
        outer: Outer,
        tiles: Sequence[Choice],
        again: list[dict[str, Amount]],
        room: Mapping[str, Array],
        free: Mapping[str, int],
    ) -> npt.NDArray[np.bool_]:
        """Where tiles nest, and all of a memory's, two of each where it is double-buffered, fit."""
        before: dict[Dimension, Array] = {"m": outer.m, "k": outer.k, "n": outer.n}
        fits = outer.m > 0
        taken: dict[str, Amount] = dict(room)
        for depth, tile in enumerate(tiles, start=1):
            for d in DIMENSIONS:
                fits = fits & (tile.size[d] <= before[d])
            before = tile.size
            for operand, size in self._sizes(tile).items():
                path = self.paths[operand]
                if depth < len(path):
                    name = path[depth].name
                    taken[name] = taken.get(name, 0.0) + size
        if len(tiles) == self.depth - 1:
            for name, size in self._sum_rooms(outer, tiles, again):
                taken[name] = taken.get(name, 0.0) + size
        for name, amount in taken.items():
            fits = fits & (amount * (2 if self.machine.sram[name].double_buffered else 1) <= free[name])
        return fits

    def _sum_rooms(
        self, outer: Outer, tiles: Sequence[Choice], again: list[dict[str, Amount]]
    ) -> Iterator[tuple[str, Array]]:
        """Room for unfinished sums: at the end of their path always, further out where they come back."""
        path = self.paths["output"]
        k_steps = np.ceil(self.model.gemm.k / tiles[-1].size["k"])
        every = [(outer.m, outer.n), *((t.size["m"], t.size["n"]) for t in tiles)]
        for depth, memory in enumerate(path):
            m, n = every[depth]
            if depth == len(path) - 1:
                yield memory.name, self.model.partial_sum_bytes(m, n, k_steps)
            else:
                all_of_it = self.model.partial_sum_bytes(m, n, np.full_like(m, 2.0))
                yield memory.name, np.where(again[depth]["output"] > 1, all_of_it, 0.0)

    # --- one choice --------------------------------------------------------------------------------------------------

    def traffic(self, outer: Outer, inner: tuple[int, ...]) -> list[Traffic]:
        """All on-chip traffic of one outer and one choice of inner tiles."""
        tiles = [choice.at(np.array([i])) for choice, i in zip(self.choices, inner, strict=True)]

        def whole(amount: Amount) -> int:
            return round(float(np.ravel(amount)[0]))

        found = [
            Traffic(memory, operand, whole(read), whole(written))
            for memory, operand, read, written in self._unit(tiles[-1])
        ]
        for b in self._boundaries(self._again(outer, tiles)):
            into, out = whole(b.into), whole(b.out)
            found += [Traffic(b.far.name, b.operand, into, out), Traffic(b.near.name, b.operand, out, into)]
        return found

    @cached_property
    def latency_ps(self) -> float:
        """From asking the nearest memories for the first operands to their coming to the unit."""
        nearest = [path[-1] for operand, path in self.paths.items() if path and operand in ("input", "weight")]
        return max((memory.latency_s for memory in nearest), default=0.0) * PS_PER_S
