"""A systolic array, cell by cell and cycle by cycle: it computes the product and counts the cycles that this takes.

Slow on purpose and simple enough to be believed: closed forms are held against it. One register for the moving operand
and one for the sum in every cell, both written once a cycle.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def stream_folds(moving: Ints, still: Ints, gap: int, out: Ints, inputs: Ints, sums: Ints) -> int:
    """Stream lines through an array that holds one fold's tile after the other still; cycles from the first line on.

    ``moving[f, m, r]`` enters row r at cycle ``f * gap + m + r``, meets ``still[f, r, c]`` in each column c and steps
    to the right; sums step down and leave below the last row into ``out[f, m, c]``. ``gap`` is the time from a fold's
    first line to the next one's: at least the lines of a fold. ``inputs`` and ``sums`` (rows x cols zeros) are the
    registers.
    """
    folds, lines, rows = moving.shape
    cols = still.shape[2]
    left = folds * lines * cols
    cycle = 0
    while left > 0:
        # From the last cell to the first, so that each reads what its neighbours held a cycle ago.
        for r in range(rows - 1, -1, -1):
            for c in range(cols - 1, -1, -1):
                # The line that is in this cell now entered the array r + c cycles ago.
                age = cycle - r - c
                fold = age // gap if age >= 0 else -1
                line = age - fold * gap
                if fold < 0 or fold >= folds or line >= lines:
                    inputs[r, c] = 0
                    sums[r, c] = 0
                    continue
                inputs[r, c] = moving[fold, line, r] if c == 0 else inputs[r, c - 1]
                above = sums[r - 1, c] if r > 0 else 0
                sums[r, c] = above + inputs[r, c] * still[fold, r, c]
                if r == rows - 1:
                    out[fold, line, c] = sums[r, c]
                    left -= 1
        cycle += 1
    return cycle


def grow_outputs(a: Ints, b: Ints, out: Ints, across: Ints, down: Ints) -> int:
    """Let a fold's outputs grow in their cells while both operands stream past; cycles until the last product.

    ``a[r, k]`` enters row r at cycle ``k + r`` and steps right, ``b[k, c]`` enters column c at cycle ``k + c`` and
    steps down; ``out[r, c]`` stays. ``across`` and ``down`` (rows x cols zeros) are the registers.
    """
    rows, depth = a.shape
    cols = b.shape[1]
    cycle = 0
    left = rows * cols * depth
    while left > 0:
        for r in range(rows - 1, -1, -1):
            for c in range(cols - 1, -1, -1):
                k = cycle - r - c
                if k < 0 or k >= depth:
                    across[r, c] = 0
                    down[r, c] = 0
                    continue
                across[r, c] = a[r, k] if c == 0 else across[r, c - 1]
                down[r, c] = b[k, c] if r == 0 else down[r - 1, c]
                out[r, c] += across[r, c] * down[r, c]
                left -= 1
        cycle += 1
    return cycle


@cache
def _compiled(function: Any) -> Any:
    from numba import njit

    return njit(cache=True)(function)


def _padded(matrix: Ints, rows: int, cols: int) -> Ints:
    """Zeros to whole tiles of ``rows x cols``."""
    extra = (-matrix.shape[0] % rows, -matrix.shape[1] % cols)
    return np.pad(matrix, ((0, extra[0]), (0, extra[1])))


def multiply_ws(a: Ints, b: Ints, rows: int, cols: int, *, overlap: bool) -> tuple[Ints, int]:
    """``A @ B`` with B held still, k over the rows and n over the columns, and the cycles of all folds.

    A fold's tile shifts in during ``rows`` cycles. ``overlap``: into a second set of registers while the fold before
    streams, and lines follow each other without a break; else each fold loads, streams and drains alone.
    """
    m = a.shape[0]
    padded_a, padded_b = _padded(a, 1, rows), _padded(b, rows, cols)
    k_folds, n_folds = padded_b.shape[0] // rows, padded_b.shape[1] // cols
    moving = np.empty((k_folds * n_folds, m, rows), dtype=np.int64)
    still = np.empty((k_folds * n_folds, rows, cols), dtype=np.int64)
    for fold in range(k_folds * n_folds):
        n, k = divmod(fold, k_folds)
        moving[fold] = padded_a[:, k * rows : (k + 1) * rows]
        still[fold] = padded_b[k * rows : (k + 1) * rows, n * cols : (n + 1) * cols]
    out = np.zeros((k_folds * n_folds, m, cols), dtype=np.int64)

    def registers() -> tuple[Ints, Ints]:
        return np.zeros((rows, cols), dtype=np.int64), np.zeros((rows, cols), dtype=np.int64)

    run = _compiled(stream_folds)
    if overlap:
        cycles = rows + run(moving, still, max(m, rows), out, *registers())
    else:
        cycles = sum(
            rows + run(moving[f : f + 1], still[f : f + 1], m, out[f : f + 1], *registers()) for f in range(len(moving))
        )
    product = out.reshape(n_folds, k_folds, m, cols).sum(axis=1).transpose(1, 0, 2).reshape(m, n_folds * cols)
    return product[:, : b.shape[1]], int(cycles)


def multiply_os(a: Ints, b: Ints, rows: int, cols: int) -> tuple[Ints, int]:
    """``A @ B`` with outputs held still, m over the rows and n over the columns, and the cycles of all folds."""
    padded_a, padded_b = _padded(a, rows, 1), _padded(b, 1, cols)
    product = np.zeros((padded_a.shape[0], padded_b.shape[1]), dtype=np.int64)
    run, cycles = _compiled(grow_outputs), 0
    for m in range(0, padded_a.shape[0], rows):
        for n in range(0, padded_b.shape[1], cols):
            out = np.zeros((rows, cols), dtype=np.int64)
            room = np.zeros((2, rows, cols), dtype=np.int64)
            tile_a, tile_b = padded_a[m : m + rows].copy(), padded_b[:, n : n + cols].copy()
            cycles += run(tile_a, tile_b, out, room[0], room[1])
            product[m : m + rows, n : n + cols] = out
    return product[: a.shape[0], : b.shape[1]], int(cycles)


def multiply_is(a: Ints, b: Ints, rows: int, cols: int) -> tuple[Ints, int]:
    """``A @ B`` with A held still, k over the rows and m over the columns: ``(B' A')'`` with A' in the cells."""
    product, cycles = multiply_ws(b.T.copy(), a.T.copy(), rows, cols, overlap=False)
    return product.T, cycles
