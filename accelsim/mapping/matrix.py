"""Matrix products and convolutions: which tiles, and how long it takes.

A search is three small things: the legal tilings, a lower bound that orders them, and what each one takes. What is
legal in a small memory is legal in a larger one, because tile sizes do not depend on capacities; so a larger or faster
memory never slows an op at a fixed clock. Only what is legal depends on what is free, so that one search serves an op
in all its surroundings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from accelsim.base.errors import MappingError
from accelsim.base.units import PS_PER_S, ROUNDING, ceil_div
from accelsim.hardware.device import MatrixUnit, Role, SystolicArray, VectorUnit
from accelsim.hardware.spatial import SpatialArray
from accelsim.kernels.pipeline import pipeline_time
from accelsim.mapping.counted import counted
from accelsim.mapping.finish import finished
from accelsim.mapping.hierarchy import InnerTile, Levels, Outer, tile_sizes
from accelsim.mapping.machine import LONG_RUN_BYTES, Machine
from accelsim.mapping.memo import Memo
from accelsim.mapping.models import Gemm, MatrixModel, gemm_of, matrix_model
from accelsim.mapping.on_chip import Array, Traffic, busy_seconds, largest
from accelsim.mapping.power import Clocked, clocked
from accelsim.mapping.task import Placement, Task
from accelsim.mapping.vector import elementary_counts, vector_cycles, windowed
from accelsim.trace import Count
from accelsim.workload.ops import Conv2d, Matmul

NEARLY = 0.01
"""As fast as the fastest, to an array that prefers little traffic."""

AT_ONCE = 64
"""Outer tilings whose inner tiles are looked at together."""


@dataclass(frozen=True, slots=True)
class Tiling:
    """Tiles of a product: those that come from beyond the chip, k innermost, and those inside them.

    ``n_outer``: the loop over n is outside the one over m.
    """

    m: int
    k: int
    n: int
    n_outer: bool
    again_a: int
    """How often all of A is loaded."""
    again_b: int
    cycles: float
    """Of all steps on the unit."""
    on_chip_ps: float
    """Of the busiest on-chip memory, at the nominal clock."""
    fill_ps: float = 0.0
    """Before the unit's first cycle and after its last, on inner levels, at the nominal clock."""
    inner: tuple[int, ...] | None = None
    """Its inner tiles, by number for each depth; None where no memory is nearer than the outermost."""


@dataclass(frozen=True, slots=True)
class Operand:
    """One side of a product: the bytes of one repeat and where they come from or go to."""

    name: str
    role: Role
    size: float
    channel: str | None


def matrix_unit(machine: Machine, dtype: str) -> MatrixUnit | VectorUnit:
    """The unit that multiplies this format: the matrix unit, else SIMD lanes."""
    core = machine.device.core
    if core.matrix is not None and core.matrix.macs_per_cycle(dtype) > 0:
        return core.matrix
    if core.vector.macs_per_cycle(dtype) > 0:
        return core.vector
    raise MappingError(
        f"{machine.device.name} does not multiply in {dtype}; want one of {', '.join(machine.device.dtypes)}"
    )


@dataclass(frozen=True)
class _Candidate:
    """A tiling that may be the best, and what nothing can undercut."""

    bound_ps: float
    loaded: float
    """Bytes from beyond the chip that depend on the tiling."""
    outer: int
    inner: tuple[int, ...] | None
    on_chip_ps: float
    fill_ps: float
    energy_pj: tuple[float, float]


@dataclass(frozen=True)
class _Product:
    """A product on a machine, wherever its operands are: what no placement changes."""

    op: Matmul | Conv2d
    machine: Machine
    model: MatrixModel
    unit: MatrixUnit | VectorUnit

    @property
    def slack(self) -> float:
        """How much longer than the fastest tiling one may take that loads less."""
        prefers = self.unit.prefers if isinstance(self.unit, SystolicArray | SpatialArray) else "latency"
        return NEARLY if prefers == "dram" else 0.0

    @property
    def weight_role(self) -> Role:
        """What the second operand is: products of attention have none."""
        return "weight" if self.op.inputs[1].role == "weight" else "activation"

    @property
    def gemm(self) -> Gemm:
        return self.model.gemm

    @cached_property
    def tiles(self) -> tuple[Array, Array, Array, npt.NDArray[np.bool_]]:
        """Every outer tiling: sizes along m, k and n, and the order."""
        g, (quantum_m, quantum_k, quantum_n) = self.gemm, self.model.quanta
        sizes = tile_sizes(g.m, quantum_m), tile_sizes(g.k, quantum_k), tile_sizes(g.n, quantum_n)
        at_m, at_k, at_n, order = np.indices((*(len(along) for along in sizes), 2)).reshape(4, -1)
        # With one step along m or n both orders are the same.
        both = (at_m < len(sizes[0]) - 1) & (at_n < len(sizes[2]) - 1)
        kept = np.flatnonzero(both | (order == 0))
        m, k, n = (
            np.array(along, dtype=np.float64)[at[kept]] for along, at in zip(sizes, (at_m, at_k, at_n), strict=True)
        )
        return m, k, n, order[kept].astype(bool)

    @cached_property
    def steps(self) -> tuple[Array, Array, Array]:
        """Steps along m, k and n."""
        g, (m, k, n, _) = self.gemm, self.tiles
        return np.ceil(g.m / m), np.ceil(g.k / k), np.ceil(g.n / n)

    @cached_property
    def loads(self) -> tuple[Array, Array]:
        """How often all of A and all of B are loaded.

        A tile is loaded anew whenever the step before used another one, so a loop inside its own loops repeats it.
        """
        n_outer = self.tiles[3]
        m_steps, k_steps, n_steps = self.steps
        again_a = np.where(np.where(n_outer, m_steps * k_steps, k_steps) > 1, n_steps, 1.0)
        again_b = np.where(np.where(n_outer, k_steps, n_steps * k_steps) > 1, m_steps, 1.0)
        return again_a, again_b

    @cached_property
    def cycles(self) -> Array:
        """Cycles of all steps on the unit, with no tiles inside."""
        return self.model.total_cycles(self.tiles[0])

    @cached_property
    def levels(self) -> Levels:
        """On-chip memories by depth."""
        return Levels(self.model, self.machine, self.weight_role, self.unit.freq_hz)

    def unit_traffic(self, parts: int) -> list[Traffic]:
        """Traffic between the unit and the memories nearest to it, the streamed dimension cut into parts."""
        return [*self.model.traffic(parts)]

    @cached_property
    def parts(self) -> Array:
        """Into how many parts each outer tiling cuts the streamed dimension; 1 where the unit holds nothing still."""
        if not self.model.nested:
            return np.ones_like(self.steps[0])
        return self.steps["mkn".index(self.model.streamed)]

    @cached_property
    def on_chip(self) -> tuple[Array, Array, Array]:
        """Time of the busiest on-chip memory [ps], energy of all work on the chip [pJ] and fill, of every outer tiling.

        With tiles inside, the least that any of them takes.
        """
        if self.levels.depth > 1:
            m, k, n, n_outer = self.tiles
            least = self.levels.costs(Outer(m, k, n, n_outer), [], {}, {})
            return least.on_chip_ps, least.on_chip_pj + self.fixed_pj, least.fill_ps
        # What the unit holds still comes once for each part: traffic is straight in their number.
        parts, index = np.unique(self.parts, return_inverse=True)
        one, two = self.unit_traffic(1), self.unit_traffic(2)
        reads: dict[str, list[Array]] = {}
        writes: dict[str, list[Array]] = {}
        energy = np.full_like(parts, self.fixed_pj)
        for t, u in zip(one, two, strict=True):
            read = t.read_bytes + (parts - 1) * (u.read_bytes - t.read_bytes)
            written = t.write_bytes + (parts - 1) * (u.write_bytes - t.write_bytes)
            reads.setdefault(t.memory, []).append(read)
            writes.setdefault(t.memory, []).append(written)
            energy = energy + read * self.machine.price_pj(f"{t.memory}.read")
            energy = energy + written * self.machine.price_pj(f"{t.memory}.write")
        seconds = [
            busy_seconds(self.machine.sram[name], reads[name], writes[name], self.machine.cores) for name in reads
        ]
        busy = np.broadcast_to(largest(seconds), parts.shape) * PS_PER_S
        return busy[index], energy[index], np.zeros(len(index))

    @cached_property
    def ps_per_cycle(self) -> float:
        return PS_PER_S / self.unit.freq_hz

    @cached_property
    def once_ps(self) -> float:
        """Before the first and after the last useful cycle, at the nominal clock [ps]."""
        return self.model.fill_cycles * self.ps_per_cycle + self.levels.latency_ps

    @cached_property
    def finish_ps(self) -> float:
        """Epilogue of one repeat on the vector unit [ps]."""
        vector = self.machine.device.core.vector
        cycles = vector_cycles(self.op, vector, self.op.dtype, self.machine.cores)
        return cycles * PS_PER_S / vector.freq_hz / self.gemm.repeats

    @cached_property
    def step_cycles(self) -> Memo[tuple[int, int, int], float]:
        """Cycles of a step on a tile."""
        return Memo(lambda tile: self.model.step_cycles(*tile))

    @cached_property
    def b_share(self) -> Memo[tuple[int, int], float]:
        """Part of B that a tile takes."""
        return Memo(lambda tile: self.gemm.b_share(*tile))

    @cached_property
    def fixed_pj(self) -> float:
        """Energy that no tiling changes: arithmetic and registers [pJ]."""
        return self.machine.dynamic_pj(self.work_counts)[0]

    @cached_property
    def work_counts(self) -> tuple[Count, ...]:
        """Actions that no tiling changes: arithmetic and registers."""
        macs, dtype = executed_macs(self.op), self.op.dtype
        counts = [Count(f"mac.{dtype}", "-", macs), *elementary_counts(self.op, dtype)]
        counts += [
            Count("register", operand, round(bits * macs)) for operand, bits in self.model.register_bits_per_mac()
        ]
        return tuple(counts)


@dataclass(frozen=True)
class _Search:
    """A product with its operands placed: everything but the tiling is fixed.

    ``sources`` and ``sink`` are those of its ``Placement``.
    """

    product: _Product
    sources: tuple[str | None, ...]
    sink: str | None

    @cached_property
    def a(self) -> Operand:
        return Operand("input", "activation", self.product.gemm.a_bytes, self.sources[0])

    @cached_property
    def b(self) -> Operand:
        return Operand("weight", self.product.weight_role, self.product.gemm.b_bytes, self.sources[1])

    @cached_property
    def c(self) -> Operand:
        return Operand("output", "activation", self.product.gemm.c_bytes, self.sink)

    @cached_property
    def extras(self) -> tuple[Operand, ...]:
        """Operands of the epilogue, of one repeat: they come along with the result."""
        pairs = zip(self.product.op.inputs[2:], self.sources[2:], strict=True)
        return tuple(
            Operand(
                "weight" if t.role == "weight" else "input",
                "weight" if t.role == "weight" else "activation",
                t.bytes / self.product.gemm.repeats,
                channel,
            )
            for t, channel in pairs
        )

    @cached_property
    def ps_per_byte(self) -> Memo[str | None, float]:
        """Time of a byte on a channel in long runs [ps]; none where nothing has to come."""
        return Memo(
            lambda channel: (
                0.0
                if channel is None
                else PS_PER_S / self.product.machine.channels[channel] * self.slower[channel, LONG_RUN_BYTES]
            )
        )

    @cached_property
    def slower(self) -> Memo[tuple[str, float], float]:
        """How many times longer bytes take on a channel, in runs of some length and in this op's mix."""
        return Memo(lambda key: self.product.machine.slower(*key, self.read_share))

    @cached_property
    def read_share(self) -> float:
        """Of the bytes between chip and DRAM, each counted once, those that are read."""
        written = self.c.size if self.c.channel is not None and self.product.machine.is_dram(self.c.channel) else 0.0
        sides = (self.a, self.b, *self.extras)
        read = sum(x.size for x in sides if x.channel is not None and self.product.machine.is_dram(x.channel))
        return read / (read + written) if written else 1.0

    def scattered(self, t: Tiling) -> tuple[float, float, float]:
        """How many times longer tiles of A, B and C are on their way than if each lay in one piece.

        Matrices lie by rows, images pixel by pixel: a tile as wide as its matrix is one piece, another one as many as
        it has rows (of one tap's channels).
        """
        g, width = self.product.gemm, self.product.gemm.element_bits / 8
        tapped = min(t.k, g.k / g.taps)
        runs = (
            t.m * g.k if t.k == g.k else tapped,
            t.k * g.n if t.n == g.n or g.b_quanta != (1, 1) else t.n,
            t.m * g.n if t.n == g.n else t.n,
        )

        def longer(side: Operand, run: float) -> float:
            if side.channel is None:
                return 1.0
            return self.slower[side.channel, run * width] / self.slower[side.channel, LONG_RUN_BYTES]

        return longer(self.a, runs[0]), longer(self.b, runs[1]), longer(self.c, runs[2])

    # --- tilings -------------------------------------------------------------------------------------------------

    @cached_property
    def loaded(self) -> Array:
        """Bytes of A and B from beyond the chip, of one repeat."""
        again_a, again_b = self.product.loads
        sizes = [operand.size if operand.channel else 0.0 for operand in (self.a, self.b)]
        return sizes[0] * again_a + sizes[1] * again_b

    def tiling(
        self, i: int, inner: tuple[int, ...] | None = None, on_chip_ps: float | None = None, fill_ps: float = 0
    ) -> Tiling:
        """The tiling with that index; with what inner tiles make of it."""
        m, k, n, n_outer = self.product.tiles
        again_a, again_b = self.product.loads
        busy = float(self.product.on_chip[0][i]) if on_chip_ps is None else on_chip_ps
        return Tiling(
            int(m[i]), int(k[i]), int(n[i]), bool(n_outer[i]),
            int(again_a[i]), int(again_b[i]), float(self.product.cycles[i]), busy, fill_ps, inner,
        )  # fmt: skip

    @cached_property
    def tile_bytes(self) -> dict[str, Array]:
        """Room that one buffer of every outer tile takes, by memory; what is on chip already takes none.

        With tiles inside, sums are theirs to place.
        """
        g = self.product.gemm
        m, k, n, _ = self.product.tiles
        room: dict[str, Array] = {}

        def take(role: Role, size: Array) -> None:
            memory = self.product.machine.buffer(role)
            if memory is not None:
                room[memory.name] = room[memory.name] + size if memory.name in room else size

        share_a, share_c = (m / g.m) * (k / g.k), (m / g.m) * (n / g.n)
        if self.a.channel:
            take("activation", g.a_bytes * share_a)
        if self.b.channel:
            take(self.b.role, g.b_bytes * g.b_share(k, n))
        if self.c.channel:
            take("activation", g.c_bytes * share_c)
        for extra in self.extras:
            if extra.channel and extra.role == "activation":
                take("activation", extra.size * share_c)
        if self.product.levels.depth == 1:
            take("partial_sum", self.product.model.partial_sum_bytes(m, n, self.product.steps[1]))
        return room

    @cached_property
    def _room_wanted(self) -> list[tuple[str, Array]]:
        return [
            (name, size * 2 if self.product.machine.sram[name].double_buffered else size)
            for name, size in self.tile_bytes.items()
        ]

    def legal(self, free: Mapping[str, int]) -> npt.NDArray[np.bool_]:
        """Which outer tilings fit, two buffers of each tile where the memory is double-buffered."""
        fits = np.ones(len(self.product.tiles[0]), dtype=bool)
        for name, size in self._room_wanted:
            fits &= size <= free[name]
        if not fits.any():
            raise MappingError(*self._misfits(free))
        return fits

    def _misfits(self, free: Mapping[str, int]) -> list[str]:
        op = self.product.op.name
        return [
            f"op {op}: its smallest tiles want {round(size.min())} bytes of {name}, {free[name]} are free"
            for name, size in self._room_wanted
            if (size > free[name]).all()
        ] or [f"op {op}: no tiling fits into on-chip memory"]

    # --- cost ------------------------------------------------------------------------------------------------------

    @cached_property
    def away_ps(self) -> float:
        """From asking memories beyond the chip for the first operands to their coming [ps]."""
        return self.product.machine.latency_ps(self.sources)

    @cached_property
    def result_ps(self) -> float:
        """Moving the result of one repeat, and what the epilogue adds to it [ps]."""
        return sum(x.size * self.ps_per_byte[x.channel] for x in (self.c, *self.extras))

    @cached_property
    def _bounds(self) -> tuple[Array, Array, Array, Array]:
        """Of every outer tiling [ps]: its cycles, the last tile's epilogue, first load and last store, channels."""
        g = self.product.gemm
        m, k, n, _ = self.product.tiles
        m_steps, _, n_steps = self.product.steps
        again_a, again_b = self.product.loads
        a_ps, b_ps = self.a.size * self.ps_per_byte[self.a.channel], self.b.size * self.ps_per_byte[self.b.channel]
        first = np.maximum(a_ps * (m / g.m) * (k / g.k), b_ps * g.b_share(k, n))
        last = (g.m - (m_steps - 1) * m) / g.m * ((g.n - (n_steps - 1) * n) / g.n)
        by_channel: dict[str, float | Array] = {}
        loads: list[tuple[str | None, float | Array]] = [
            (self.a.channel, a_ps * again_a),
            (self.b.channel, b_ps * again_b),
        ]
        results = [(x.channel, x.size * self.ps_per_byte[x.channel]) for x in (self.c, *self.extras)]
        for channel, size in (*loads, *results):
            if channel:
                by_channel[channel] = by_channel.get(channel, 0.0) + size * g.repeats
        channels = np.zeros_like(m)
        for busy in by_channel.values():
            channels = np.maximum(channels, busy)
        return (
            self.product.cycles * self.product.ps_per_cycle,
            self.product.finish_ps * last,
            first + self.result_ps * last,
            channels,
        )

    def lower_bound_ps(self, i: npt.NDArray[np.int64], on_chip_ps: Array, fill_ps: Array, on_chip_pj: Array) -> Array:
        """What no schedule of outer tilings ``i`` beats: the core with its edges, each channel, its power [ps]."""
        cycles, finish, edges, channels = (part[i] for part in self._bounds)
        core = np.maximum(cycles, on_chip_ps) + (self.product.once_ps + fill_ps)
        window = self.window_ps(resident=False)
        bound: Array = np.maximum(core + np.maximum(finish + edges, window), channels)
        power_w = self.product.machine.power_w
        if power_w is not None:
            burst = self.product.machine.run.burst_s * PS_PER_S
            hot = np.flatnonzero((on_chip_pj + self.off_chip_pj[i]) / power_w - burst > bound)
            if len(hot):
                # A slower clock takes less energy and longer: the best of all.
                clocks = np.array(self.product.machine.clocks)[:, None]
                scales = np.array(self.product.machine.energy_scales)[:, None]
                busy = core[hot] / clocks + np.maximum(finish[hot] / clocks + edges[hot], window)
                needed = (on_chip_pj[hot] * scales + self.off_chip_pj[i[hot]]) / power_w - burst
                bound[hot] = np.maximum(np.maximum(busy, channels[hot]), needed).min(axis=0)
        return bound + self.away_ps

    @cached_property
    def off_chip_pj(self) -> Array:
        """Energy of all that crosses the chip's edge, off the chip, of every outer tiling [pJ]."""
        return self._crossing_pj[1]

    @cached_property
    def _crossing_pj(self) -> tuple[Array, Array]:
        """Energy of all that crosses the chip's edge, on and off the chip, of every outer tiling [pJ]."""
        again_a, again_b = self.product.loads
        on_chip, off_chip = np.zeros_like(again_a), np.zeros_like(again_a)
        repeats = self.product.gemm.repeats
        for operand, times in ((self.a, again_a), (self.b, again_b)):
            on, off = self.product.machine.dynamic_pj(self._crossing(operand, round(operand.size * repeats), 0))
            on_chip, off_chip = on_chip + on * times, off_chip + off * times
        for operand, read, written in self._once:
            on, off = self.product.machine.dynamic_pj(self._crossing(operand, read, written))
            on_chip, off_chip = on_chip + on, off_chip + off
        return on_chip, off_chip

    def pipeline_ps(self, t: Tiling, fraction: float, *, resident: bool) -> float:
        """The tile pipeline at a fraction of the clock; ``resident``: B is on chip already [ps]."""
        g = self.product.gemm
        steps = (ceil_div(g.m, t.m), ceil_div(g.k, t.k), ceil_div(g.n, t.n))
        m, k, n = (
            (full, extent - (count - 1) * full)
            for full, extent, count in ((t.m, g.m, steps[0]), (t.k, g.k, steps[1]), (t.n, g.n, steps[2]))
        )
        # On-chip memories that are slower than the unit stretch every step alike; they run on its clock.
        work_ps = max(t.cycles * self.product.ps_per_cycle, 1e-9)
        stretch = max(1.0, t.on_chip_ps / work_ps) * self.product.ps_per_cycle / fraction
        a_ps = self.a.size * self.ps_per_byte[self.a.channel] / (g.m * g.k)
        b_ps = 0.0 if resident else self.b.size * self.ps_per_byte[self.b.channel]
        finish_ps, store_ps = self.product.finish_ps / fraction / (g.m * g.n), self.result_ps / (g.m * g.n)
        if self.product.machine.dram_runs:
            longer_a, longer_b, longer_c = self.scattered(t)
            a_ps, b_ps, store_ps = a_ps * longer_a, b_ps * longer_b, store_ps * longer_c
        piped = pipeline_time(
            (g.repeats, *((steps[2], steps[0]) if t.n_outer else (steps[0], steps[2])), steps[1], *self.channel_ids),
            t.n_outer,
            (
                *[self.product.step_cycles[x, y, z] * stretch for x in m for y in k for z in n],
                *[x * y * a_ps for x in m for y in k],
                *[self.product.b_share[y, z] * b_ps for y in k for z in n],
                *[x * z * finish_ps for x in m for z in n],
                *[x * z * store_ps for x in m for z in n],
            ),
            self.buffers,
        )
        busy = max(work_ps * stretch / self.product.ps_per_cycle, self.product.finish_ps * g.repeats / fraction)
        edges = (self.product.once_ps + t.fill_ps) / fraction + self.away_ps
        return max(piped, busy + self.window_ps(resident=resident)) + edges

    def window_ps(self, *, resident: bool) -> float:
        """Loads before the first step and stores after the last that nothing hides [ps]."""
        if not self.product.machine.calibration.window_bytes:
            return 0.0
        repeats = self.product.gemm.repeats
        loads = (self.a,) if resident else (self.a, self.b)
        return sum(
            windowed(
                {x.name: x.size * repeats for x in side if x.channel},
                {x.name: x.size * repeats * self.ps_per_byte[x.channel] for x in side if x.channel},
                self.product.machine,
            )
            for side in (loads, (self.c,))
        )

    @cached_property
    def channel_ids(self) -> tuple[int, int, int]:
        """The channels of A, B and what goes out, numbered."""
        sink = self.c.channel or next((x.channel for x in self.extras if x.channel), None)
        names = (self.a.channel, self.b.channel, sink)
        ids = {name: i for i, name in enumerate(dict.fromkeys(names))}
        return ids[names[0]], ids[names[1]], ids[names[2]]

    @cached_property
    def buffers(self) -> int:
        """Two where every memory that takes tiles is double-buffered, else transfers and work take turns."""
        names = {*self.tile_bytes}
        if self.product.levels.depth > 1 and self.product.levels.paths["output"]:
            names.add(self.product.levels.paths["output"][0].name)
        return 2 if all(self.product.machine.sram[name].double_buffered for name in names) else 1

    def outcome(self, candidate: _Candidate) -> tuple[Tiling, Clocked]:
        """A candidate's time at the clock that its power allows, once for each."""
        key = candidate.outer, candidate.inner
        if key not in self._outcomes:
            t = self.tiling(candidate.outer, candidate.inner, candidate.on_chip_ps, candidate.fill_ps)
            found = clocked(
                self.product.machine,
                candidate.energy_pj,
                lambda fraction: self.pipeline_ps(t, fraction, resident=False),
            )
            self._outcomes[key] = t, found
        return self._outcomes[key]

    @cached_property
    def _outcomes(self) -> dict[tuple[int, tuple[int, ...] | None], tuple[Tiling, Clocked]]:
        return {}

    def resident_ps(self, t: Tiling, outcome: Clocked) -> float:
        """A tiling's time at that clock with all of B on chip before it starts; its energy is the same [ps]."""
        if not self.prefetchable:
            return outcome.duration
        key = t, outcome.fraction
        if key not in self._residents:
            alone = self.pipeline_ps(t, outcome.fraction, resident=True)
            self._residents[key] = min(max(alone, outcome.floor), outcome.duration)
        return self._residents[key]

    @cached_property
    def _residents(self) -> dict[tuple[Tiling, float], float]:
        return {}

    @property
    def prefetchable(self) -> bool:
        return self.product.machine.device.prefetches_weights and self.b.role == "weight" and self.b.channel is not None

    # --- the search --------------------------------------------------------------------------------------------------

    @cached_property
    def _order(self) -> tuple[npt.NDArray[np.int64], Array]:
        """Outer tilings in the order of their lower bounds, of those that are bounded alike first what loads least."""
        busy, energy, fill = self.product.on_chip
        every = np.arange(len(busy))
        bounds = self.lower_bound_ps(every, busy, fill, energy + self._crossing_pj[0])
        return np.lexsort((self.loaded, bounds)), bounds

    def candidates(self, free: Mapping[str, int], limit: Callable[[], float]) -> Iterator[_Candidate]:
        """Every tiling that may be the best, by groups in the order of lower bounds; none that ``limit`` excludes."""
        order, bounds = self._order
        fits = self.legal(free)
        order = order[fits[order]]
        if self.product.levels.depth == 1:
            busy, energy, _ = self.product.on_chip
            crossing, off = self._crossing_pj
            for i in order.tolist():
                if bounds[i] >= limit():
                    return
                pj = float(energy[i] + crossing[i]), float(off[i])
                yield _Candidate(float(bounds[i]), float(self.loaded[i]), i, None, float(busy[i]), 0.0, pj)
            return
        found = False
        for start in range(0, len(order), AT_ONCE):
            chunk = order[start : start + AT_ONCE]
            if bounds[chunk[0]] >= limit():
                return
            for candidate in self._inside(chunk, [], free, limit):
                found = True
                yield candidate
        if not found and limit() == float("inf"):
            raise MappingError(*self._misfits(free))

    def _inside(
        self,
        outer: npt.NDArray[np.int64],
        inner: list[npt.NDArray[np.int64]],
        free: Mapping[str, int],
        limit: Callable[[], float],
    ) -> Iterator[_Candidate]:
        """Every way to nest tiles in these that may be the best; ``inner`` are the tiles of the depths that are chosen.

        At a depth that is not the last the choices are bounded, and followed in the order of their bounds.
        """
        m, k, n, n_outer = self.product.tiles
        column, levels = outer[:, None], self.product.levels
        row = levels.choices[len(inner)]
        tiles = [*(c.at(chosen[:, None]) for c, chosen in zip(levels.choices, inner, strict=False)), row]
        room = {name: size[column] for name, size in self.tile_bytes.items()}
        costs = levels.costs(Outer(m[column], k[column], n[column], n_outer[column]), tiles, room, free)
        # Nothing is gained by memories that wait for the unit.
        busy = np.maximum(costs.on_chip_ps, (self.product.cycles * self.product.ps_per_cycle)[column])
        lines, places = np.nonzero(costs.legal)
        fill = costs.fill_ps[lines, places]
        energy = costs.on_chip_pj[lines, places] + self.product.fixed_pj + self._crossing_pj[0][outer[lines]]
        bounds = self.lower_bound_ps(outer[lines], busy[lines, places], fill, energy)
        last = len(tiles) == levels.depth - 1
        if last:
            kept = np.flatnonzero(bounds < limit())
            starts = np.flatnonzero(np.diff(lines[kept], prepend=-1))
            fronts = [
                own[
                    _front(
                        busy[lines[own], places[own]], fill[own], energy[own], self.product.machine.power_w is not None
                    )
                ]
                for own in np.split(kept, starts[1:])
                if len(own)
            ]
            order = np.concatenate(fronts) if fronts else kept
            order = order[np.lexsort((energy[order], self.loaded[outer[lines[order]]], bounds[order]))]
        else:
            order = np.argsort(bounds, kind="stable")
        for start in range(0, len(order), AT_ONCE):
            chunk = order[start : start + AT_ONCE]
            if bounds[chunk[0]] >= limit():
                return
            deeper = [*(c[lines[chunk]] for c in inner), places[chunk]]
            if not last:
                yield from self._inside(outer[lines[chunk]], deeper, free, limit)
                continue
            for at, *chosen in zip(chunk.tolist(), *(d.tolist() for d in deeper), strict=True):
                if bounds[at] >= limit():
                    return
                i = int(outer[lines[at]])
                pj = float(energy[at]), float(self.off_chip_pj[i])
                on_chip_ps = float(busy[lines[at], places[at]])
                loaded = float(self.loaded[i])
                yield _Candidate(float(bounds[at]), loaded, i, tuple(chosen), on_chip_ps, float(fill[at]), pj)

    def best(self, free: Mapping[str, int]) -> tuple[Tiling, Clocked]:
        """The fastest tiling; of those that are as fast, or nearly where traffic is preferred, what loads least."""
        fastest = float("inf")
        found: list[tuple[float, Tiling, Clocked]] = []
        slack = self.product.slack

        def limit() -> float:
            return fastest * (1 + slack) * (1 - ROUNDING)

        for candidate in self.candidates(free, limit):
            tiling, outcome = self.outcome(candidate)
            fastest = min(fastest, outcome.duration)
            found.append((candidate.loaded, tiling, outcome))
        near = [one for one in found if one[2].duration <= fastest * (1 + max(slack, ROUNDING))]
        _, tiling, outcome = min(near, key=lambda one: one[0])
        return tiling, outcome

    # --- counts ------------------------------------------------------------------------------------------------------

    def moved(self, t: Tiling) -> list[tuple[Operand, int, int]]:
        """Bytes read from and written to beyond the chip, by operand, of all repeats."""
        repeats = self.product.gemm.repeats
        return [
            (self.a, round(self.a.size * repeats) * t.again_a, 0),
            (self.b, round(self.b.size * repeats) * t.again_b, 0),
            *self._once,
        ]

    @cached_property
    def _once(self) -> list[tuple[Operand, int, int]]:
        """What moves once, whatever the tiling: the result and what the epilogue adds to it."""
        repeats = self.product.gemm.repeats
        return [
            (self.c, 0, round(self.c.size * repeats)),
            *((extra, round(extra.size * repeats), 0) for extra in self.extras),
        ]

    def traffic(self, t: Tiling) -> list[Traffic]:
        """On-chip traffic."""
        if t.inner is None:
            parts = {"m": (self.product.gemm.m, t.m), "k": (self.product.gemm.k, t.k), "n": (self.product.gemm.n, t.n)}[
                self.product.model.streamed
            ]
            return self.product.unit_traffic(ceil_div(*parts) if self.product.model.nested else 1)
        m, k, n = (np.array([[float(size)]]) for size in (t.m, t.k, t.n))
        return self.product.levels.traffic(Outer(m, k, n, np.array([[t.n_outer]])), t.inner)

    def _crossing(self, operand: Operand, read: int, written: int) -> list[Count]:
        """Actions of bytes between chip and beyond: what comes is written to the buffer, what goes is read from it."""
        if operand.channel is None:
            return []
        counts = [*self.product.machine.count(operand.channel, operand.name, read, written)]
        memory = self.product.machine.buffer(operand.role)
        if memory is not None:
            counts.append(Count(f"{memory.name}.write", operand.name, read))
            counts.append(Count(f"{memory.name}.read", operand.name, written))
        return counts

    def counts(self, t: Tiling) -> tuple[Count, ...]:
        """Every action of the op."""
        crossing = [count for moved in self.moved(t) for count in self._crossing(*moved)]
        return tuple(
            count for count in (*self.product.work_counts, *_traffic_counts(self.traffic(t)), *crossing) if count.amount
        )

    def channel_bytes(self, t: Tiling) -> dict[str, int]:
        """Bytes over each channel."""
        total: dict[str, int] = {}
        for operand, read, written in self.moved(t):
            if operand.channel is not None and read + written:
                total[operand.channel] = total.get(operand.channel, 0) + read + written
        return total

    def describe(self, t: Tiling) -> str:
        """Its tiles, for people."""
        inside: tuple[InnerTile, ...] = () if t.inner is None else self.product.levels.tiles(t.inner)
        nested = "".join(f", inside it {tile}" for tile in inside)
        return f"{t.m}x{t.k}x{t.n}, {'n' if t.n_outer else 'm'} outside{nested}; {self.product.model.describe()}"


def _traffic_counts(traffic: list[Traffic]) -> list[Count]:
    return [
        count
        for t in traffic
        for count in (
            Count(f"{t.memory}.read", t.operand, t.read_bytes),
            Count(f"{t.memory}.write", t.operand, t.write_bytes),
        )
    ]


def _front(busy: Array, fill: Array, energy: Array, counts_energy: bool) -> npt.NDArray[np.int64]:
    """Of mappings those that no other beats in time and fill, and in energy where that counts."""
    order = np.lexsort((energy, fill, busy))
    least = np.minimum.accumulate(fill[order])
    shorter = np.concatenate(([True], fill[order][1:] < least[:-1]))
    if not counts_energy:
        return order[shorter]
    kept: list[int] = []
    for i in order.tolist():
        if not any(fill[j] <= fill[i] and energy[j] <= energy[i] for j in kept):
            kept.append(i)
    return np.array(kept)


def check_sparsity(op: Matmul | Conv2d, unit: object, machine: Machine) -> None:
    """Refuse sparse weights on a unit that does not skip their zeros."""
    kept, of = op.inputs[1].sparsity
    patterns: tuple[str, ...] = getattr(unit, "sparsity", ())
    if kept != of and f"{kept}:{of}" not in patterns:
        raise MappingError(
            f"op {op.name}: {machine.device.name} does not skip the zeros of {kept}:{of} weights; "
            f"want {' or '.join(patterns) if patterns else 'dense ones'}"
        )


def executed_macs(op: Matmul | Conv2d) -> int:
    """Multiply-accumulates that are done: those with kept weights."""
    kept, of = op.inputs[1].sparsity
    return ceil_div(op.macs * kept, of)


def map_matrix(op: Matmul | Conv2d, machine: Machine, placement: Placement) -> Task:
    """Map a product to the unit that multiplies its format: tiles, time, traffic and counts.

    Raises MappingError where no unit multiplies the format or no tiling fits.
    """
    search = _search(op, machine, placement)
    tiling, outcome = search.best(dict(placement.free_bytes))
    cycles = tiling.cycles + search.product.model.fill_cycles
    early = (search.b.channel, int(search.b.size * search.product.gemm.repeats)) if search.b.channel else None
    return finished(
        op,
        machine,
        outcome,
        unit="matrix",
        freq_hz=search.product.unit.freq_hz,
        cycles=cycles,
        compute_s=cycles / search.product.unit.freq_hz,
        on_chip_s=tiling.on_chip_ps / PS_PER_S,
        channel_bytes=search.channel_bytes(tiling),
        counts=search.counts(tiling),
        tiling=search.describe(tiling),
        macs=executed_macs(op),
        resident=search.resident_ps(tiling, outcome),
        prefetch=early if search.prefetchable else None,
    )


def _search(op: Matmul | Conv2d, machine: Machine, placement: Placement) -> _Search:
    """The search for an op with its operands so placed; the machine keeps it for other surroundings."""
    if id(op) not in machine.searches or machine.searches[id(op)][0].op is not op:
        machine.searches[id(op)] = _product(op, machine), {}
    product: _Product
    by_place: dict[object, _Search]
    product, by_place = machine.searches[id(op)]
    place = placement.sources, placement.sink
    if place not in by_place:
        by_place[place] = _Search(product, *place)
    return by_place[place]


def _product(op: Matmul | Conv2d, machine: Machine) -> _Product:
    unit = matrix_unit(machine, op.dtype)
    check_sparsity(op, unit, machine)
    model = matrix_model(unit, gemm_of(op), op.dtype, machine.device, machine.cores)
    if machine.count_cycles:
        model = counted(model, op.name, machine.seed)
    return _Product(op, machine, model, unit)
