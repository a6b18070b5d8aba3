"""Convolutions on a row-stationary array: logical sets of PEs, processing passes, and a search over them.

Chen et al., "Eyeriss: An Energy-Efficient Reconfigurable Accelerator for Deep Convolutional Neural Networks", JSSC
52(1), 2017, and "Eyeriss: A Spatial Architecture ...", ISCA 2016, whose letters are kept here. A PE convolves a row of
the image with a row of a filter. A set of ``R x e`` PEs makes ``e`` rows of outputs: filter rows run along its rows,
image rows along its diagonals, sums up its columns. ``r t`` sets stand side by side, ``r`` for other channels, ``t``
for other filters, and a PE interleaves ``q`` channels and ``p`` filters. A pass computes ``n`` images with that; the
sums of ``m`` filters wait in the global buffer (GLB) until all channels have been added.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from accelsim.base.dtypes import DTYPES
from accelsim.base.errors import MappingError
from accelsim.base.units import PS_PER_S, ceil_div
from accelsim.hardware.device import Memory, RowStationary
from accelsim.mapping.finish import finished
from accelsim.mapping.machine import Machine
from accelsim.mapping.matrix import check_sparsity
from accelsim.mapping.power import clocked
from accelsim.mapping.task import Placement, Task
from accelsim.mapping.vector import elementary_counts, vector_cycles
from accelsim.trace import Count
from accelsim.workload.ops import Conv2d, Matmul, Tensor

Array = npt.NDArray[np.float64]

RUN_BITS = 5
PAIRS = 3
"""A word of run-length code: three pairs of a run of up to 31 zeros and a value, and a bit for the end (JSSC 2017)."""

NEAR = 0.05
"""What the mapper of ``prefers = "dram"`` takes for equal. Inferred, see ``_frugal``."""
BUSY = 0.9
"""Share of the most PEs that can be active which that mapper does not go below. Inferred, see ``_frugal``."""


# --- what is computed, and on what -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shape:
    """A convolution, in the paper's letters; a matrix product is one of 1 x 1 on images of one pixel."""

    N: int
    """Images."""
    G: int
    """Groups."""
    C: int
    """Channels of a group."""
    M: int
    """Filters of a group."""
    R: int
    S: int
    E: int
    F: int
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    input_zeros: float = 0.0
    output_zeros: float = 0.0
    element_bits: int = 16

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.N * self.G * self.C * self.M * self.R * self.S * self.E * self.F


def shape_of(op: Matmul | Conv2d) -> Shape:
    """The convolution that an op is."""
    sizes: tuple[int, ...]
    if isinstance(op, Matmul):
        sizes, stride, dilation = (op.m, op.batch, op.k, op.n, 1, 1, 1, 1), (1, 1), (1, 1)
    else:
        channels, filters = op.c_in // op.groups, op.c_out // op.groups
        sizes = (op.batch, op.groups, channels, filters, op.kh, op.kw, op.h_out, op.w_out)
        stride, dilation = op.stride, op.dilation
    return Shape(
        *sizes,
        stride=stride,
        dilation=dilation,
        input_zeros=op.inputs[0].zeros,
        output_zeros=op.outputs[0].zeros,
        element_bits=DTYPES[op.dtype].bits,
    )


@dataclass(frozen=True, slots=True)
class Chip:
    """What a mapping has to fit, and how fast it is fed; a cycle is one of the array's clock."""

    rows: int
    cols: int
    ifmap_words: int
    filter_words: int
    psum_words: int
    psum_bits: int
    row_words: int
    pass_setup_cycles: float
    run_length_coded: bool
    gates_zeros: bool
    prefers: str
    macs_per_cycle: float
    """Of a PE."""
    glb_bytes: int
    filter_bytes: int
    read_bytes_per_cycle: float
    """Of the GLB's port for sums and of its port for images."""
    write_bytes_per_cycle: float
    filter_bytes_per_cycle: float
    input_cycles_per_byte: float
    """Of what images come over from beyond the chip; 0 where they are on it."""
    weight_cycles_per_byte: float
    output_cycles_per_byte: float


@dataclass(frozen=True, slots=True)
class Mapping:
    """A way to run a convolution, and what it costs; bytes are of the whole op."""

    f: int
    """Columns of outputs in a pass."""
    e: int
    r: int
    t: int
    q: int
    p: int
    n: int
    m: int
    active: int
    """PEs at work in a full pass."""
    passes: int
    cycles: float
    """Processing: from the first pass's start to the last one's end."""
    total_cycles: float
    """With the loads and stores beyond the chip that nothing hides."""
    psum_bytes: int
    """Sums to the GLB, and as many back: to be added to, and at last to leave."""
    ifmap_bytes: int
    """Image bytes from the GLB."""
    filter_read_bytes: int
    """Filter bytes from their buffer, and as many into it from beyond."""
    loaded_bytes: int
    """Image bytes that come from beyond the chip, as they lie in the GLB."""
    dram_input_bytes: int
    """The same as they cross: in run-length code where that is shorter."""
    dram_output_bytes: int

    def __str__(self) -> str:
        return f"e={self.e} r={self.r} t={self.t} q={self.q} p={self.p} n={self.n} m={self.m} f={self.f}"

    @property
    def glb_bytes(self) -> int:
        """Bytes between buffers and array, as Tables V and VI of JSSC 2017 count them."""
        return 2 * self.psum_bytes + self.ifmap_bytes + self.filter_read_bytes

    @property
    def dram_bytes(self) -> int:
        """Bytes over the chip's edge."""
        return self.dram_input_bytes + self.filter_read_bytes + self.dram_output_bytes


def coded_share(zeros: float, element_bits: int) -> float:
    """Size in run-length code over plain size: ``(1 - z) / (1 - z**32)`` pairs an element; plain where that is less.

    JSSC 2017: 64 bits hold three 16-bit values with the runs of zeros before them.

    >>> round(coded_share(0.75, 16), 3)
    0.333
    """
    reach = 2**RUN_BITS
    pairs = 1 / reach if zeros >= 1 else (1 - zeros) / (1 - math.pow(zeros, reach))
    word = PAIRS * (element_bits + RUN_BITS) + 1
    return min(1.0, pairs * word / (PAIRS * element_bits))


# --- the candidates --------------------------------------------------------------------------------------------------


def ladder(extent: int, *, most: int) -> list[int]:
    """``2**i`` and ``3 * 2**i`` below ``extent``, and ``extent``, none above ``most``; independent of it otherwise.

    >>> ladder(20, most=64), ladder(20, most=10)
    ([1, 2, 3, 4, 6, 8, 12, 16, 20], [1, 2, 3, 4, 6, 8])
    """
    sizes = {extent} | {b << i for b in (1, 3) for i in range(extent.bit_length()) if b << i < extent}
    return sorted(size for size in sizes if size <= most)


def strip_heights(extent: int, *, most: int) -> list[int]:
    """Rows of outputs that a set may make: all up to 16, and what cuts the plane into equal strips.

    >>> strip_heights(56, most=60)[-4:]
    [16, 19, 28, 56]
    """
    sizes = {*range(1, min(extent, 16) + 1)} | {ceil_div(extent, strips) for strips in range(1, extent + 1)}
    return sorted(size for size in sizes if size <= most)


@dataclass(frozen=True, slots=True)
class _Fold:
    """A filter that is higher than the array or wider than a PE's registers is cut into equal parts."""

    h: int
    s: int
    parts: int

    @classmethod
    def of(cls, shape: Shape, chip: Chip) -> _Fold:
        high = ceil_div(shape.R, chip.rows)
        wide = ceil_div(shape.S, min(chip.ifmap_words, chip.filter_words))
        return cls(ceil_div(shape.R, high), ceil_div(shape.S, wide), high * wide)


@dataclass(frozen=True, slots=True)
class _Table:
    """Candidates as columns."""

    e: Array
    r: Array
    t: Array
    q: Array
    p: Array
    n: Array
    m: Array


def _sets(chip: Chip, h: int, e: int) -> int:
    """Sets of ``h x e`` that the array holds; one that is wider than it is folded into segments, one above another."""
    segments = ceil_div(e, chip.cols)
    return chip.rows // (h * segments) * (chip.cols // e if segments == 1 else 1)


def _columns_of_a_pass(shape: Shape, chip: Chip) -> int:
    return ceil_div(shape.F, ceil_div(shape.F, chip.row_words))


def _candidates(shape: Shape, chip: Chip, fold: _Fold) -> _Table:
    """Every mapping that fits registers and buffers.

    Registers hold ``q s`` image words, ``p q s`` filter words and ``p`` sums. The GLB holds the sums of ``n m`` planes
    of ``e`` rows, the pass's images, and one image's more, so that the next loads while this is worked on; the filter
    buffer a pass's filters. Several images in a pass only where a set spans their planes, and other channels beside
    (``r``) only where a set is not folded. ASSUMED are that one image, and the last two: what JSSC 2017 prints is so.
    """
    blocks = []
    f = _columns_of_a_pass(shape, chip)
    width = (f - 1) * shape.stride[1] + (shape.S - 1) * shape.dilation[1] + 1
    for e in strip_heights(shape.E, most=chip.rows // fold.h * chip.cols):
        sets = _sets(chip, fold.h, e)
        if not sets:
            continue
        grid = np.meshgrid(
            ladder(shape.C, most=1 if e > chip.cols else sets),
            ladder(shape.M, most=sets),
            ladder(shape.C, most=chip.ifmap_words // fold.s),
            ladder(shape.M, most=chip.psum_words),
            ladder(shape.N, most=shape.N if e == shape.E and f == shape.F else 1),
            indexing="ij",
        )
        r, t, q, p, n = (axis.ravel() for axis in grid)
        height = (e - 1) * shape.stride[0] + (shape.R - 1) * shape.dilation[0] + 1
        image_bytes = (n + 1) * q * r * (height * width * shape.element_bits // 8)
        plane_bytes = n * (e * f * chip.psum_bits // 8)
        filter_bytes = p * t * q * r * (fold.h * fold.s * shape.element_bits // 8)
        fits = (r * t <= sets) & (p * q * fold.s <= chip.filter_words) & (filter_bytes <= chip.filter_bytes)
        fits &= (q * r < 2 * shape.C) & (p * t < 2 * shape.M)
        fits &= image_bytes + np.minimum(p * t, shape.M) * plane_bytes <= chip.glb_bytes
        r, t, q, p, n, image_bytes, plane_bytes = (x[fits] for x in (r, t, q, p, n, image_bytes, plane_bytes))
        for k in ladder(shape.M, most=shape.M):
            m = np.minimum(p * t * k, shape.M)
            fits = (p * t * (k - 1) < shape.M) & (image_bytes + m * plane_bytes <= chip.glb_bytes)
            blocks.append(np.stack([np.full(fits.sum(), e), *(x[fits] for x in (r, t, q, p, n, m))]))
    rows = np.concatenate(blocks, axis=1) if blocks else np.empty((7, 0))
    return _Table(*rows.astype(np.float64))


# --- the cost --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Costs:
    """What each candidate of a table takes."""

    passes: Array
    cycles: Array
    total_cycles: Array
    psum: Array
    ifmap: Array
    filters: Array
    loaded: Array
    dram_input: Array
    dram_output: float


def _costs(shape: Shape, chip: Chip, fold: _Fold, c: _Table) -> _Costs:
    """Time and traffic of every candidate.

    A pass loads its filters, then multiplies ``n F p q S`` times in every PE, while sums go out of and into the GLB, a
    port each, and images come over a third; then there is its set-up. All sums go to the GLB once in a pass over
    ``q r`` channels and come back once, the last time to leave. Images come from the GLB for every ``p t`` filters, and
    from beyond for every ``m``; strips overlap by ``R - stride`` rows, and the padding counts, as in the paper. Filters
    come from beyond for every strip and ``n`` images, unless one pass has them all.
    """
    element, total = shape.element_bits / 8, shape.N * shape.G
    f = _columns_of_a_pass(shape, chip)
    tiles = ceil_div(shape.F, f)
    strips, batches = np.ceil(shape.E / c.e), np.ceil(shape.N / c.n)
    channel_steps, filter_steps = np.ceil(shape.C / (c.q * c.r)), np.ceil(shape.M / (c.p * c.t))
    steps = shape.G * channel_steps * filter_steps * fold.parts
    visits = steps * strips * tiles

    height = (c.e - 1) * shape.stride[0] + (shape.R - 1) * shape.dilation[0] + 1
    width = (f - 1) * shape.stride[1] + (shape.S - 1) * shape.dilation[1] + 1
    image = total * shape.C * (shape.E / c.e * height) * tiles * width * element
    psum = total * shape.M * shape.E * shape.F * channel_steps * fold.parts * chip.psum_bits / 8
    ifmap = image * filter_steps * fold.parts
    again = np.where(channel_steps * filter_steps * fold.parts > 1, strips * tiles * batches, 1.0)
    filters = shape.G * shape.M * shape.C * shape.R * shape.S * element * again
    loaded = image * np.ceil(shape.M / c.m)
    coded = chip.run_length_coded
    dram_input = loaded * (coded_share(shape.input_zeros, shape.element_bits) if coded else 1.0)
    dram_output = total * shape.M * shape.E * shape.F * element
    dram_output *= coded_share(shape.output_zeros, shape.element_bits) if coded else 1.0

    load = c.p * c.t * c.q * c.r * fold.h * fold.s * element / chip.filter_bytes_per_cycle
    multiply = shape.N * f * c.p * c.q * fold.s / chip.macs_per_cycle
    passes = visits * batches
    loads = np.where(again > 1, passes, steps)
    busy = np.maximum(
        visits * multiply + loads * load, psum / min(chip.read_bytes_per_cycle, chip.write_bytes_per_cycle)
    )
    cycles = np.maximum(busy, ifmap / chip.read_bytes_per_cycle) + chip.pass_setup_cycles * passes
    exposed = dram_input * chip.input_cycles_per_byte + dram_output * chip.output_cycles_per_byte
    total_cycles = np.maximum(cycles, filters * chip.weight_cycles_per_byte) + exposed
    return _Costs(passes, cycles, total_cycles, psum, ifmap, filters, loaded, dram_input, dram_output)


# --- the choice ------------------------------------------------------------------------------------------------------


def _quickest(c: _Table, costs: _Costs, shape: Shape, fold: _Fold) -> int:
    """Least time; then least traffic beyond the chip, then least in it."""
    order = (_glb(costs), costs.dram_input + costs.filters, costs.total_cycles)
    return int(np.lexsort(order)[0])


def _frugal(c: _Table, costs: _Costs, shape: Shape, fold: _Fold) -> int:
    """Least traffic beyond the chip at good use of the array, as Eyeriss' own mappings have it.

    Of the mappings that deal out filters evenly and keep ``BUSY`` of the PEs active that can be, and of those within
    ``NEAR`` of the fewest bytes read from beyond the chip, and of those within ``NEAR`` of the least time: the least
    GLB traffic. The rule, ``NEAR`` and ``BUSY`` are inferred from the traffic that Tables V and VI of JSSC 2017 print:
    these mappings were chosen by people or a program, not by physics, so that nothing else could say.
    """
    good = (shape.M % (c.p * c.t) == 0) & (shape.M % c.m == 0)
    active = fold.h * c.e * c.r * c.t
    good &= active >= BUSY * active[good].max()
    for cost in (costs.dram_input + costs.filters, costs.cycles):
        good &= cost <= cost[good].min() * (1 + NEAR)
    order = (costs.cycles, np.where(good, _glb(costs), np.inf))
    return int(np.lexsort(order)[0])


def _glb(costs: _Costs) -> Array:
    glb: Array = 2 * costs.psum + costs.ifmap + costs.filters
    return glb


@lru_cache(maxsize=1024)
def best_mapping(shape: Shape, chip: Chip) -> Mapping | None:
    """The mapping that the chip's mapper prefers; None where none fits."""
    fold = _Fold.of(shape, chip)
    table = _candidates(shape, chip, fold)
    if not table.e.size:
        return None
    costs = _costs(shape, chip, fold, table)
    choose = _frugal if chip.prefers == "dram" else _quickest
    i = choose(table, costs, shape, fold)
    e, r, t, q, p, n, m = (int(x[i]) for x in (table.e, table.r, table.t, table.q, table.p, table.n, table.m))
    return Mapping(
        f=_columns_of_a_pass(shape, chip),
        e=e,
        r=r,
        t=t,
        q=q,
        p=p,
        n=n,
        m=m,
        active=fold.h * e * r * t,
        passes=int(costs.passes[i]),
        cycles=float(costs.cycles[i]),
        total_cycles=float(costs.total_cycles[i]),
        psum_bytes=round(costs.psum[i]),
        ifmap_bytes=round(costs.ifmap[i]),
        filter_read_bytes=round(costs.filters[i]),
        loaded_bytes=round(costs.loaded[i]),
        dram_input_bytes=round(costs.dram_input[i]),
        dram_output_bytes=round(costs.dram_output),
    )


# --- the task --------------------------------------------------------------------------------------------------------


def chip_of(unit: RowStationary, machine: Machine, placement: Placement, dtype: str) -> Chip:
    """What a mapping has to fit: a device with what an op's placement leaves free."""
    glb, filters = machine.buffer("activation"), machine.buffer("weight")
    if glb is None or filters is None:
        raise MappingError(f"{machine.device.name}: want on-chip memories that hold activations and weights")
    free = dict(placement.free_bytes)

    def per_byte(channel: str | None) -> float:
        return unit.freq_hz / machine.channels[channel] if channel else 0.0

    return Chip(
        rows=unit.rows,
        cols=unit.cols,
        ifmap_words=unit.ifmap_words,
        filter_words=unit.filter_words,
        psum_words=unit.psum_words,
        psum_bits=unit.psum_bits,
        row_words=unit.row_words,
        pass_setup_cycles=unit.pass_setup_cycles,
        run_length_coded=unit.run_length_coded,
        gates_zeros=unit.gates_zeros,
        prefers=unit.prefers,
        macs_per_cycle=unit.macs_per_cycle_per_cell[dtype],
        glb_bytes=free[glb.name],
        filter_bytes=free[filters.name],
        read_bytes_per_cycle=glb.bandwidth_bytes_per_s / unit.freq_hz,
        write_bytes_per_cycle=glb.write_rate / unit.freq_hz,
        filter_bytes_per_cycle=filters.bandwidth_bytes_per_s / unit.freq_hz,
        input_cycles_per_byte=per_byte(placement.sources[0]),
        weight_cycles_per_byte=per_byte(placement.sources[1]),
        output_cycles_per_byte=per_byte(placement.sink),
    )


def array_counts(shape: Shape, chip: Chip, mapping: Mapping, dtype: str) -> Iterator[Count]:
    """Arithmetic, registers and the network between buffers and PEs.

    A multiply-accumulate reads an image word, a filter word and a sum, and writes the sum; where the image word is zero
    a gated PE does only the first (JSSC 2017). A word is written once into every PE that it is sent to:
    image words along the diagonals of ``t`` sets, filter words along ``e`` columns; sums go up ``R r`` PEs.
    """
    fold = _Fold.of(shape, chip)
    zeros = shape.input_zeros if chip.gates_zeros else 0.0
    done = round(shape.macs * (1 - zeros))
    height = (mapping.e - 1) * shape.stride[0] + (shape.R - 1) * shape.dilation[0] + 1
    image_bits = round(8 * mapping.ifmap_bytes * fold.h * mapping.e * mapping.t / height)
    filter_bits = 8 * mapping.filter_read_bytes * mapping.e
    yield Count(f"mac.{dtype}", "-", done)
    yield Count("register", "input", shape.macs * shape.element_bits + image_bits)
    yield Count("register", "weight", done * shape.element_bits + filter_bits)
    yield Count("register", "output", 2 * done * chip.psum_bits)
    yield Count("array", "input", image_bits)
    yield Count("array", "weight", filter_bits)
    yield Count("array", "output", 8 * mapping.psum_bytes * fold.h * mapping.r)


def _buffer_counts(mapping: Mapping, glb: Memory, filters: Memory, placement: Placement) -> Iterator[Count]:
    yield Count(f"{glb.name}.read", "input", mapping.ifmap_bytes)
    yield Count(f"{glb.name}.read", "output", mapping.psum_bytes)
    yield Count(f"{glb.name}.write", "output", mapping.psum_bytes)
    yield Count(f"{filters.name}.read", "weight", mapping.filter_read_bytes)
    if placement.sources[0] is not None:
        yield Count(f"{glb.name}.write", "input", mapping.loaded_bytes)
    if placement.sources[1] is not None:
        yield Count(f"{filters.name}.write", "weight", mapping.filter_read_bytes)


def _crossings(
    op: Matmul | Conv2d, mapping: Mapping, placement: Placement
) -> Iterator[tuple[str | None, str, int, int]]:
    """Channel, operand, bytes read and written."""
    yield placement.sources[0], "input", mapping.dram_input_bytes, 0
    yield placement.sources[1], "weight", mapping.filter_read_bytes, 0
    yield placement.sink, "output", 0, mapping.dram_output_bytes
    extras: Sequence[tuple[Tensor, str | None]] = [*zip(op.inputs[2:], placement.sources[2:], strict=True)]
    for tensor, channel in extras:
        yield channel, "weight" if tensor.role == "weight" else "input", tensor.bytes, 0


def map_row_stationary(unit: RowStationary, op: Matmul | Conv2d, machine: Machine, placement: Placement) -> Task:
    """Map a convolution or a product to a row-stationary array.

    ``compute_cycles`` are those of processing; the task's duration adds the loads of images and stores of results,
    which the chip does not hide (JSSC 2017, Tables V and VI: total against processing latency).
    """
    check_sparsity(op, unit, machine)
    shape, chip = shape_of(op), chip_of(unit, machine, placement, op.dtype)
    mapping = best_mapping(shape, chip)
    glb, filters = machine.buffer("activation"), machine.buffer("weight")
    assert glb is not None
    assert filters is not None
    if mapping is None:
        raise MappingError(
            f"op {op.name}: no row-stationary mapping fits {machine.device.name}: "
            f"{chip.glb_bytes} bytes for images and sums and {chip.filter_bytes} for filters are free"
        )
    crossings = [x for x in _crossings(op, mapping, placement) if x[0] is not None]
    counts = [*array_counts(shape, chip, mapping, op.dtype), *elementary_counts(op, op.dtype)]
    counts += _buffer_counts(mapping, glb, filters, placement)
    channel_bytes: dict[str, int] = {}
    for channel, operand, read, written in crossings:
        assert channel is not None
        counts += machine.count(channel, operand, read, written)
        channel_bytes[channel] = channel_bytes.get(channel, 0) + read + written
    ps_per_cycle = PS_PER_S / unit.freq_hz
    vector = machine.device.core.vector
    finish_ps = vector_cycles(op, vector, op.dtype, machine.cores) * PS_PER_S / vector.freq_hz
    core_ps = max(mapping.cycles * ps_per_cycle, finish_ps)
    beyond_ps = max(0.0, mapping.total_cycles - mapping.cycles) * ps_per_cycle
    least_ps = max(
        (size * PS_PER_S / machine.channels[channel] for channel, size in channel_bytes.items()), default=0.0
    )

    near_ps, away_ps = max(glb.latency_s, filters.latency_s) * PS_PER_S, machine.latency_ps(placement.sources)

    def time(fraction: float) -> float:
        return max(core_ps / fraction + beyond_ps, least_ps) + near_ps / fraction + away_ps

    outcome = clocked(machine, machine.dynamic_pj(counts), time)
    sums_s = mapping.psum_bytes / min(glb.bandwidth_bytes_per_s, glb.write_rate)
    return finished(
        op,
        machine,
        outcome,
        unit="matrix",
        freq_hz=unit.freq_hz,
        cycles=mapping.cycles,
        compute_s=shape.macs / (mapping.active * chip.macs_per_cycle * unit.freq_hz),
        on_chip_s=max(sums_s, mapping.ifmap_bytes / glb.bandwidth_bytes_per_s),
        channel_bytes=channel_bytes,
        counts=counts,
        tiling=f"{mapping}; {mapping.active} of {unit.rows}x{unit.cols} PEs active, {mapping.passes} passes",
        macs=op.macs,
    )
