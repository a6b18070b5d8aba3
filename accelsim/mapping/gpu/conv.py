"""Convolutions and their gradients on a GPU: the fastest of the algorithms that a library has.

Implicit product (any shape), Winograd (3 x 3, no stride, on SIMD lanes), Fourier transforms (no stride, on SIMD lanes)
and, where there are groups, direct convolution. Algorithms as cuDNN's guide names them; Winograd's as Lavin and Gray
give them (CVPR 2016), with 2 x 2 results a tile in one kernel after another has transformed the filters, or in four
with 4 x 4. Multiply-accumulates are those that are executed, so that a Winograd convolution may beat the roofline of
the direct one and never its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from accelsim.base.dtypes import DTYPES, bits
from accelsim.base.units import BITS_PER_BYTE, ceil_div
from accelsim.hardware.device import TensorCores, VectorUnit
from accelsim.hardware.family import GemmFactors
from accelsim.mapping.gpu.gemm import product_of, reread, tensor_tiles
from accelsim.mapping.gpu.grid import SPLITS, Grid, Product, fastest, joined
from accelsim.mapping.gpu.kernel import (
    VECTOR_BYTES,
    Gpu,
    Kernel,
    Moved,
    beyond,
    channel_bytes,
    crossing_counts,
    task_of,
)
from accelsim.mapping.gpu.simt import simt_tiles
from accelsim.mapping.machine import Machine
from accelsim.mapping.matrix import check_sparsity, executed_macs, matrix_unit
from accelsim.mapping.models import Gemm, gemm_of
from accelsim.mapping.task import Placement, Task
from accelsim.mapping.vector import elementary_counts
from accelsim.trace import Count
from accelsim.workload.gradients import FilterGradient, InputGradient
from accelsim.workload.ops import Conv2d

CHANNEL_BYTES = 64
"""Tensor cores take channels of one tap at a time, in blocks of so many bytes: 32 in FP16, the shortest k of a tile."""
FEW_CHANNELS = 4
"""Of images and the like there are kernels that take all channels of several taps at a time, filled up to so many
(CUTLASS's few-channels iterators, TensorRT's first layers)."""
FOURIER_SIDES = (16, 32)
"""Of the tiles that cuDNN transforms (``fft2d_r2c_16x16`` and ``fft2d_r2c_32x32`` in profiles of it)."""
FUSED_TILE = ((512, 32, 8),)
"""Of a block that keeps its transforms in shared memory: 16 points of 32 tiles, 32 filters, 8 channels a step (ASSUMED,
after the kernels of Lavin and Gray)."""


@dataclass(frozen=True, slots=True)
class Transform:
    """Winograd's ``F(out x out, 3 x 3)``: additions and multiplications of a tile (Lavin and Gray, CVPR 2016)."""

    out: int
    data: int
    filter: int
    inverse: int

    @property
    def points(self) -> int:
        """Products that a tile of results takes, for each pair of channels."""
        return (self.out + 2) ** 2


F2 = Transform(out=2, data=32, filter=28, inverse=24)
F4 = Transform(out=4, data=156, filter=72, inverse=90)


@dataclass(frozen=True)
class Algorithm:
    """A way to compute a convolution; times at the nominal clock [s]."""

    name: str
    macs: int
    """That it executes."""
    product_s: float
    """Multiply-accumulates of the busiest core, with what surrounds them."""
    adds_s: float
    """Additions of transforms on the lanes, where no product hides them."""
    l2_s: float
    """L2 during the product."""
    dram_s: float
    """DRAM during the product."""
    moved_l2_s: float
    """L2 of the kernels around the product, one after another."""
    moved_dram_s: float
    kernels: int
    counts: tuple[Count, ...]
    """Beside multiply-accumulates, the epilogue and what crosses beyond L2."""
    moved: tuple[Moved, ...]
    between_s: float
    """Starts and ends of its kernels."""
    overlap: float

    def time(self, fraction: float) -> float:
        """Duration at a fraction of the nominal clock, the first launch apart [s]."""
        inner = joined(self.product_s / fraction, self.l2_s / fraction, self.dram_s, self.overlap)
        around = max(self.moved_l2_s / fraction, self.moved_dram_s)
        return self.between_s + inner + self.adds_s / fraction + around


def map_conv(op: Conv2d, machine: Machine, placement: Placement) -> Task:
    """Map a convolution or a gradient of one to the fastest algorithm.

    Raises MappingError where no unit multiplies the format or its zeros are not skipped.
    """
    unit = matrix_unit(machine, op.dtype)
    check_sparsity(op, unit, machine)
    assert isinstance(unit, TensorCores | VectorUnit)
    library = _Library(op, Gpu(machine), placement, unit)
    best = min(library.algorithms(), key=lambda algorithm: algorithm.time(1.0))
    return task_of(
        Kernel(
            op=op,
            unit="matrix",
            freq_hz=unit.freq_hz,
            time=best.time,
            compute_s=best.product_s + best.adds_s,
            l2_s=best.l2_s + best.moved_l2_s,
            channel_bytes=channel_bytes(best.moved),
            counts=(
                Count(f"mac.{op.dtype}", "-", best.macs),
                *elementary_counts(op, op.dtype),
                *best.counts,
                *crossing_counts(best.moved, machine),
            ),
            tiling=best.name,
            macs=best.macs,
            kernels=best.kernels,
        ),
        machine,
    )


@dataclass(frozen=True)
class _Roles:
    """A convolution without a stride as transforms see it: the tiles along the results of the convolution itself.

    ``m x k x n`` is the product at each point of a transform; bytes are of one point.
    """

    tiles_in: int
    """Tiles that are transformed on the way in, images and (of a gradient of filters) results."""
    filters: int
    """Filters that are transformed on the way in."""
    tiles_out: int
    filters_out: int
    m: int
    k: int
    n: int


def _is_forward(op: Conv2d) -> bool:
    return not isinstance(op, InputGradient | FilterGradient)


@dataclass(frozen=True)
class _Library:
    """The algorithms for one op."""

    op: Conv2d
    gpu: Gpu
    placement: Placement
    unit: TensorCores | VectorUnit

    def algorithms(self) -> Iterator[Algorithm]:
        """All that can compute it."""
        op = self.op
        yield self.implicit()
        few = op.c_in // op.groups <= FEW_CHANNELS and self.gpu.machine.run.few_channels
        if isinstance(self.unit, TensorCores) and few and _is_forward(op):
            yield self.few_channels()
        if op.groups > 1:
            yield self.direct()
        plain = op.stride == (1, 1) and op.dilation == (1, 1) and op.groups == 1
        dense = op.inputs[1].sparsity[0] == op.inputs[1].sparsity[1]
        if plain and dense and isinstance(self.unit, VectorUnit) and DTYPES[op.dtype].kind == "float":
            if (op.kh, op.kw) == (3, 3):
                yield self.winograd()
                if not isinstance(op, FilterGradient):
                    yield self.fused_winograd()
            for side in FOURIER_SIDES:
                if op.dtype == "fp32" and 1 < max(op.kh, op.kw) <= side // 2:
                    yield self.fourier(side)

    # --- what they have in common ------------------------------------------------------------------------------------

    @property
    def factors(self) -> GemmFactors:
        """Of products on the unit that multiplies the format."""
        factors = self.gpu.factors
        if self.unit is self.gpu.machine.device.core.matrix and factors.tensor is not None:
            return factors.tensor
        return factors.simt

    @property
    def rate(self) -> float:
        """Peak of one core [MAC/s]."""
        kept, of = self.op.inputs[1].sparsity
        return self.unit.macs_per_cycle(self.op.dtype) * self.unit.freq_hz * of / kept

    @property
    def lanes_per_s(self) -> float:
        """Additions and multiplications of all cores."""
        machine = self.gpu.machine
        vector = machine.device.core.vector
        return vector.rate(self.op.dtype) * vector.freq_hz * machine.cores

    def between_s(self, kernels: int) -> float:
        """Starts and ends of kernels, one launch apart."""
        kernel = self.gpu.factors.kernel
        return kernels * kernel.kernel_s + (kernels - 1) * kernel.launch_s

    def roles(self, out: tuple[int, int]) -> _Roles:
        """For tiles of ``out`` results."""
        op = self.op
        size = (op.h_in, op.w_in) if isinstance(op, InputGradient) else (op.h_out, op.w_out)
        tiles = op.batch * ceil_div(size[0], out[0]) * ceil_div(size[1], out[1])
        c_in, c_out = (op.c_out, op.c_in) if isinstance(op, InputGradient) else (op.c_in, op.c_out)
        if isinstance(op, FilterGradient):
            return _Roles(tiles * (c_in + c_out), 0, 0, c_in * c_out, m=c_out, k=tiles, n=c_in)
        return _Roles(tiles * c_in, c_in * c_out, tiles * c_out, 0, m=tiles, k=c_in, n=c_out)

    # --- algorithms --------------------------------------------------------------------------------------------------

    def implicit(self) -> Algorithm:
        """The product that it is, its operands' addresses worked out on the way; k is not split going forward."""
        op, gemm, conv = self.op, gemm_of(self.op), self.gpu.factors.conv
        moved = beyond(op, self.placement)
        splits = SPLITS if isinstance(op, FilterGradient) else (1,)
        if isinstance(self.unit, TensorCores):
            product = product_of(self._in_blocks(gemm), self.placement, moved, self.rate * conv.tensor)
            tiles = tensor_tiles(self._tiles, gemm.element_bits)
            grid = fastest(self.gpu, product, self.factors, tiles, splits)
        else:
            product = product_of(gemm, self.placement, moved, self.rate * conv.implicit)
            grid = fastest(self.gpu, replace(product, step_s=conv.step_s), self.factors, splits=splits)
        return self._of_grid(f"implicit product, {grid.text}", grid, executed_macs(op), reread(moved, grid))

    @property
    def _tiles(self) -> tuple[tuple[int, int, int], ...]:
        """The library's thread-block tiles for convolutions on tensor cores."""
        least = self.gpu.factors.conv.least_tile
        return tuple(tile for tile in self.factors.tiles if tile[0] * tile[1] >= least) or self.factors.tiles

    def few_channels(self) -> Algorithm:
        """The same with the channels of several taps side by side along k; each is a narrower load."""
        op, gemm = self.op, gemm_of(self.op)
        moved = beyond(op, self.placement)
        channels = op.c_in // op.groups
        packed = replace(gemm, k=gemm.k // channels * FEW_CHANNELS)
        load_bytes = FEW_CHANNELS * bits(op.inputs[0].dtype) / BITS_PER_BYTE
        product = replace(
            product_of(packed, self.placement, moved, self.rate * self.gpu.factors.conv.tensor),
            feed_times=VECTOR_BYTES / load_bytes,
        )
        tiles = tensor_tiles(self._tiles, gemm.element_bits)
        grid = fastest(self.gpu, product, self.factors, tiles, splits=(1,))
        return self._of_grid(f"few channels, {grid.text}", grid, executed_macs(op), reread(moved, grid))

    def _in_blocks(self, gemm: Gemm) -> Gemm:
        """The product with whole blocks of channels."""
        op = self.op
        block = max(1, CHANNEL_BYTES * BITS_PER_BYTE // bits(op.inputs[0].dtype))
        channels = (op.c_out if isinstance(op, InputGradient) else op.c_in) // op.groups
        whole = ceil_div(channels, block) * block
        if isinstance(op, FilterGradient):
            return replace(gemm, n=gemm.n // channels * whole)
        return replace(gemm, k=gemm.k // channels * whole)

    def fused_winograd(self) -> Algorithm:
        """Tiles of 2 x 2 results in one kernel, after one that transforms the filters (cuDNN's generateWinogradTiles).

        Transformed filters are 16/9 as large. What of them does not fit into L2 beside the image goes through DRAM.
        """
        op, gpu, roles, moved = self.op, self.gpu, self.roles((F2.out, F2.out)), beyond(self.op, self.placement)
        product = product_of(gemm_of(op), self.placement, moved, self.rate * gpu.factors.conv.fused)
        filters = product.b_bytes
        turned = math.ceil(filters * F2.points / 9)
        spilled = 1.0 - min(1.0, gpu.l2_room_bytes / (turned + product.a_bytes))
        product = replace(
            product,
            m=roles.m * F2.points,
            k=roles.k,
            n=roles.n,
            b_bytes=turned,
            b_beyond=spilled > 0,
            step_s=gpu.factors.conv.step_s,
        )
        grid = fastest(gpu, product, self.factors, FUSED_TILE, splits=(1,))
        share = gpu.factors.conv.transform
        adds = roles.tiles_in * F2.data + roles.filters * F2.filter + roles.tiles_out * F2.inverse
        macs = F2.points * roles.m * roles.k * roles.n
        through = math.ceil(turned * spilled)
        crossing = [*reread(moved, grid), Moved("weight", gpu.machine.backing("activation"), through, through)]
        one = self._of_grid(f"Winograd F(2x2, 3x3), {grid.text}", grid, macs, crossing, adds)
        beyond_bytes = through + (filters if self.placement.sources[1] is not None else 0)
        return replace(
            one,
            moved_l2_s=(filters + turned) / (gpu.l2_bytes_per_s * share),
            moved_dram_s=beyond_bytes / (gpu.dram_bytes_per_s * share),
            kernels=2,
            between_s=self.between_s(2),
        )

    def winograd(self) -> Algorithm:
        """Tiles of 4 x 4 results: transforms of images and filters, products at each point, the way back."""
        roles = self.roles((F4.out, F4.out))
        adds = roles.tiles_in * F4.data + roles.filters * F4.filter + (roles.tiles_out + roles.filters_out) * F4.inverse
        element = bits(self.op.inputs[0].dtype) // BITS_PER_BYTE
        return self._transformed("Winograd F(4x4, 3x3)", roles, F4.points, element, 1, adds)

    def fourier(self, side: int) -> Algorithm:
        """Square tiles, of whose transforms half are kept: the others are their conjugates."""
        op = self.op
        roles = self.roles((side - op.kh + 1, side - op.kw + 1))
        transforms = roles.tiles_in + roles.filters + roles.tiles_out + roles.filters_out
        adds = math.ceil(transforms * 2.5 * side * side * math.log2(side * side))
        return self._transformed(f"Fourier {side}x{side}", roles, side * (side // 2 + 1), 8, 2, adds)

    def direct(self) -> Algorithm:
        """Every multiply-accumulate loads its pixel from the first cache; filters stay in registers."""
        op, gpu = self.op, self.gpu
        moved = beyond(op, self.placement)
        size = bits(op.inputs[0].dtype) / BITS_PER_BYTE
        vector = gpu.machine.device.core.vector
        macs, lanes = op.macs, vector.macs_per_cycle(op.dtype) * vector.freq_hz
        fetch_s = macs * size / (gpu.shared_bytes_per_s * gpu.machine.cores)
        issue_s = macs * gpu.factors.conv.direct_ops / (vector.rate("fp32") * vector.freq_hz * gpu.machine.cores)
        compute_s = max(fetch_s, issue_s, macs / (min(lanes or self.rate, self.rate) * gpu.machine.cores))
        touched = sum(t.bytes for t in (*op.inputs, *op.outputs))
        dram_s = sum(n / gpu.machine.channels[name] for name, n in channel_bytes(moved).items())
        return Algorithm(
            name="direct",
            macs=executed_macs(op),
            product_s=compute_s,
            adds_s=0.0,
            l2_s=touched / gpu.l2_bytes_per_s,
            dram_s=dram_s,
            moved_l2_s=0.0,
            moved_dram_s=0.0,
            kernels=1,
            counts=(Count(f"{gpu.l2.name}.read", "input", touched),),
            moved=tuple(moved),
            between_s=self.between_s(1),
            overlap=self.factors.overlap,
        )

    def _of_grid(self, name: str, grid: Grid, macs: int, moved: list[Moved], adds: int = 0) -> Algorithm:
        """One kernel; ``adds`` of transforms take turns with its products."""
        l2 = self.gpu.l2.name
        return Algorithm(
            name=name,
            macs=macs,
            product_s=grid.compute_s,
            adds_s=adds / self.lanes_per_s,
            l2_s=grid.l2_s,
            dram_s=grid.dram_s,
            moved_l2_s=0.0,
            moved_dram_s=0.0,
            kernels=1,
            counts=(
                Count(f"add.{self.op.dtype}", "-", adds),
                Count(f"{l2}.read", "input", math.ceil(grid.l2_bytes)),
                Count(f"{l2}.write", "output", self.op.outputs[0].bytes),
            ),
            moved=tuple(moved),
            between_s=self.between_s(1),
            overlap=self.factors.overlap,
        )

    def _transformed(
        self, name: str, roles: _Roles, points: int, element_bytes: int, parts: int, adds: int
    ) -> Algorithm:
        """Four kernels: two transforms, a batch of products (of complex numbers, where ``parts`` is 2), the way back.

        What does not fit into L2 between them goes through DRAM.
        """
        op, gpu = self.op, self.gpu
        a, b, c = (points * size * element_bytes for size in (roles.m * roles.k, roles.k * roles.n, roles.m * roles.n))
        product = Product(
            repeats=points,
            m=roles.m,
            n=roles.n * parts,
            k=roles.k * parts,
            a_bytes=a,
            b_bytes=b,
            c_bytes=c,
            tile_bits=bits(op.dtype),
            accumulator_bits=bits(DTYPES[op.dtype].accumulator),
            macs_per_s=self.rate,
            a_beyond=False,
            b_beyond=False,
            other_bytes=0.0,
        )
        tiles = simt_tiles(gpu.factors.simt, points)
        grid = fastest(gpu, product, self.factors, tiles, splits=SPLITS if isinstance(op, FilterGradient) else (1,))
        moved = beyond(op, self.placement)
        kept = a + b + c
        spilled = 1.0 - min(1.0, gpu.l2_room_bytes / kept)
        backing = gpu.machine.backing("activation")
        through = math.ceil(kept * spilled)
        if through:
            moved.append(Moved("input", backing, read_bytes=through, written_bytes=through))
        crossing = channel_bytes(moved)
        outside = sum(t.bytes for t in (*op.inputs, *op.outputs))
        share, l2 = gpu.factors.conv.transform, gpu.l2.name
        return Algorithm(
            name=f"{name}, {grid.text}",
            macs=points * roles.m * roles.k * parts * roles.n * parts,
            product_s=grid.compute_s,
            adds_s=adds / self.lanes_per_s,
            l2_s=grid.l2_s,
            dram_s=0.0,
            moved_l2_s=(outside + kept) / (gpu.l2_bytes_per_s * share),
            moved_dram_s=sum(size / (gpu.machine.channels[channel] * share) for channel, size in crossing.items()),
            kernels=4,
            counts=(
                Count(f"add.{op.dtype}", "-", adds),
                Count(f"{l2}.read", "input", math.ceil(grid.l2_bytes + c + outside)),
                Count(f"{l2}.write", "output", kept),
            ),
            moved=tuple(moved),
            between_s=self.between_s(4),
            overlap=self.factors.overlap,
        )
