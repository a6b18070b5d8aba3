"""A spatial array: loops of a convolution laid out along two axes, the others in time.

A step takes ``u`` iterations of every loop at once, ``u`` its unrolling; so a loop of extent ``e`` takes
``ceil(e / u)`` steps and the op the product of these. In a step an operand is read once for all cells that differ only
in loops which do not index it (multicast), and a sum is written once for all cells that add to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np

from accelsim.base.units import ceil_div
from accelsim.hardware.device import Device, Memory
from accelsim.hardware.spatial import SpatialArray, Unrolling
from accelsim.mapping.models import Dimension, Gemm, MatrixModel, matrix_model, nearest_to
from accelsim.mapping.on_chip import Array, Number, Traffic, on_chip_seconds

LEAST_ROWS = 64
"""Tiles along m are no shorter than this, unless the product is."""


@lru_cache(maxsize=4096)
def touched(outs: int, taps: int, stride: int, dilation: int, pad: int, size: int, by: tuple[int, int]) -> int:
    """Places of one dimension of an image that a filter touches, summed over all steps.

    ``outs`` results and ``taps`` of the filter are taken ``by`` so many at a time; a place that several of a step share
    is counted once in it, padding is not counted.

    >>> touched(4, 3, 1, 1, 0, 6, (1, 1)), touched(4, 3, 1, 1, 0, 6, (4, 3))
    (12, 6)
    """
    places = np.arange(outs)[:, None] * stride + np.arange(taps) * dilation - pad
    inside = (places >= 0) & (places < size)
    outs_at_once, taps_at_once = by
    if outs_at_once == 1 or taps_at_once == 1:  # no two of a step are the same
        return int(inside.sum())
    return sum(
        len(np.unique(places[block][inside[block]]))
        for out in range(0, outs, outs_at_once)
        for tap in range(0, taps, taps_at_once)
        for block in [np.s_[out : out + outs_at_once, tap : tap + taps_at_once]]
    )


@dataclass(frozen=True)
class SpatialModel:
    """A product on a spatial array in one layout of its loops.

    A repeat of ``gemm`` is a turn of ``groups`` groups (or products of a batch) side by side, its bytes those of all.
    """

    unit: SpatialArray
    layout: Unrolling
    gemm: Gemm
    groups: float
    rate: float
    memories: tuple[Memory, ...]

    nested = True

    # --- steps -------------------------------------------------------------------------------------------------------

    @cached_property
    def _whole_m(self) -> int:
        """Steps along m: rows of a matrix may be laid out as any image."""
        u, conv = self.layout.factor, self.gemm.conv
        if conv is None:
            return ceil_div(self.gemm.m, u("batch") * u("h_out") * u("w_out"))
        images, rows, cols = (
            ceil_div(extent, u(loop))
            for loop, extent in (("batch", conv.batch), ("h_out", conv.h_out), ("w_out", conv.w_out))
        )
        return images * rows * cols

    @cached_property
    def _taps(self) -> tuple[int, int]:
        """Taps of a filter, and steps over them."""
        conv = self.gemm.conv
        if conv is None:
            return 1, 1
        u = self.layout.factor
        return conv.kh * conv.kw, ceil_div(conv.kh, u("kh")) * ceil_div(conv.kw, u("kw"))

    def _steps_m(self, m: Number) -> Number:
        """A part of m takes its share of the steps of all, rounded up."""
        return _ceil(self._whole_m * (m / self.gemm.m))

    def _steps_k(self, k: int) -> int:
        """Of parts of k that hold whole filters; less than one takes a filter's steps."""
        u = self.layout.factor
        if self.gemm.conv is None:
            return ceil_div(k, u("c_in") * u("kh") * u("kw"))
        taps, steps = self._taps
        return ceil_div(ceil_div(k, taps), u("c_in")) * steps

    def _steps_n(self, n: int) -> int:
        return ceil_div(n, self.layout.factor("c_out"))

    # --- what the search asks ----------------------------------------------------------------------------------------

    @property
    def quanta(self) -> tuple[int, int, int]:
        """Whole strips of an image, whole filters of the channels that stand side by side, and kernels."""
        u, conv = self.layout.factor, self.gemm.conv
        strip = u("batch") * u("h_out") * u("w_out") if conv is None else u("h_out") * conv.w_out
        depth = u("c_in") * u("kh") * u("kw") if conv is None else u("c_in") * self._taps[0]
        return strip * ceil_div(LEAST_ROWS, strip), depth, u("c_out")

    @property
    def fill_cycles(self) -> float:
        """Once an op."""
        return self.unit.fill_cycles

    def total_cycles(self, tile_m: Array) -> Array:
        """Every step; a part of m that is no whole number of steps is rounded up."""
        gemm = self.gemm
        steps = np.ceil(gemm.m / tile_m)
        along_m = (steps - 1) * self._steps_m(tile_m) + self._steps_m(gemm.m - (steps - 1) * tile_m)
        cycles: Array = along_m * (self._steps_k(gemm.k) * self._steps_n(gemm.n) * gemm.repeats / self.rate)
        return cycles

    def step_cycles(self, m: int, k: int, n: int) -> float:
        """Steps of a tile of one turn."""
        return self._steps_m(float(m)) * self._steps_k(k) * self._steps_n(n) / self.rate

    def partial_sum_bytes(self, m: Array, n: Array, k_steps: Array) -> Array:
        """Sums wait until the last k: in the cells while they stay there, else those of a row of kernels."""
        if self.unit.stationary == "output":
            width = np.where(k_steps > 1, n, 0.0)
        else:
            width = np.where(k_steps > 1, n, np.minimum(n, self.layout.factor("c_out")))
        size: Array = m * width * (self.groups * self.gemm.accumulator_bits / 8)
        return size

    @property
    def _macs(self) -> float:
        gemm = self.gemm
        return gemm.repeats * self.groups * gemm.m * gemm.k * gemm.n

    @cached_property
    def input_words(self) -> int:
        """Distinct words of the image that the steps of one turn over kernels and channels touch, over the whole op."""
        gemm, conv, u = self.gemm, self.gemm.conv, self.layout.factor
        if conv is None:
            return round(gemm.repeats * self.groups) * gemm.m * gemm.k
        rows = touched(
            conv.h_out, conv.kh, conv.stride[0], conv.dilation[0], conv.pad[0], conv.h_in, (u("h_out"), u("kh"))
        )
        cols = touched(
            conv.w_out, conv.kw, conv.stride[1], conv.dilation[1], conv.pad[1], conv.w_in, (u("w_out"), u("kw"))
        )
        return conv.batch * conv.c_in * rows * cols

    @property
    def again(self) -> tuple[int, int, int]:
        """How often image, filters and sums come to the cells: in each step of the loops that do not index them.

        The one that stays in the cells comes once.
        """
        again = (self._steps_n(self.gemm.n), self._whole_m, self._steps_k(self.gemm.k))
        kept = ("input", "weight", "output").index(self.unit.stationary)
        return tuple(1 if i == kept else times for i, times in enumerate(again))  # type: ignore[return-value]

    @property
    def streamed(self) -> Dimension:
        """The loops that do not index what stays in the cells."""
        streams: dict[str, Dimension] = {"input": "n", "weight": "m", "output": "k"}
        return streams[self.unit.stationary]

    def traffic(self, parts: int = 1) -> Iterator[Traffic]:
        """Words of every step from the nearest memories; what stays in the cells comes once for each of ``parts``."""
        gemm = self.gemm
        image, filters, sums = self.again
        kept = self.unit.stationary
        read = self.input_words * image * (parts if kept == "input" else 1) * gemm.element_bits / 8
        weights = gemm.repeats * gemm.b_bytes * filters * (parts if kept == "weight" else 1)
        visits = sums * (parts if kept == "output" else 1)
        moved = round(self._macs / gemm.k * visits * gemm.accumulator_bits / 8)
        activation, weight, partial_sum = (
            nearest_to(self.memories, role) for role in ("activation", "weight", "partial_sum")
        )
        if activation is not None:
            yield Traffic(activation, "input", round(read), 0)
            yield Traffic(activation, "output", 0, round(gemm.repeats * gemm.c_bytes))
        if weight is not None:
            yield Traffic(weight, "weight", round(weights), 0)
        if partial_sum is not None:
            yield Traffic(partial_sum, "output", moved, moved)

    def register_bits_per_mac(self) -> tuple[tuple[str, float], ...]:
        """A word is latched once for the cells that share it in a step, a sum once for the cells that add to it."""
        gemm = self.gemm
        image, filters, _ = self.again
        return (
            ("input", self.input_words * image * gemm.element_bits / self._macs),
            ("weight", filters * gemm.element_bits / gemm.m),
            ("output", self._steps_k(gemm.k) / gemm.k * gemm.accumulator_bits),
        )

    def describe(self) -> str:
        """Loops on rows and columns, and what stays."""

        def axis(loops: dict[str, int]) -> str:
            return " ".join(f"{loop} {by}" for loop, by in loops.items()) or "1"

        return f"{axis(self.layout.rows)} x {axis(self.layout.cols)}, {self.unit.stationary} stationary"


def _ceil(value: Number) -> Number:
    """Rounded up, but not for the last bit of a share."""
    less = value * (1 - 1e-12)
    return np.ceil(less) if isinstance(less, np.ndarray) else float(math.ceil(less))


@matrix_model.register
def _(unit: SpatialArray, gemm: Gemm, dtype: str, device: Device, cores: int) -> MatrixModel:
    """The layout that cells and memories together bound least."""
    on_chip = tuple(m for m in device.memory if m.kind == "sram")
    by_name = {m.name: m for m in on_chip}
    models = [_laid_out(unit, layout, gemm, unit.macs_per_cycle_per_cell[dtype], on_chip) for layout in unit.unrollings]

    def seconds(model: SpatialModel) -> tuple[float, float]:
        compute = float(model.total_cycles(np.array([float(gemm.m)]))[0]) / unit.freq_hz
        moved = on_chip_seconds(model.traffic(), by_name, cores)
        return max(compute, moved), compute + moved

    return min(models, key=seconds)


def _laid_out(
    unit: SpatialArray, layout: Unrolling, gemm: Gemm, rate: float, memories: tuple[Memory, ...]
) -> SpatialModel:
    turns = ceil_div(gemm.repeats, layout.factor("groups"))
    groups = gemm.repeats / turns
    turn = replace(
        gemm, repeats=turns, a_bytes=gemm.a_bytes * groups, b_bytes=gemm.b_bytes * groups, c_bytes=gemm.c_bytes * groups
    )
    return SpatialModel(unit, layout, turn, groups, rate, memories)
