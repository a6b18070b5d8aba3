"""Which factors of a family each class of kernels may fit, and the limits that physics sets them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from accelsim.base.csv_rows import raise_for
from accelsim.base.errors import InputError
from accelsim.hardware.cpu import CpuFactors
from accelsim.hardware.device import Device
from accelsim.hardware.family import GpuFactors
from accelsim.mapping.matrix import matrix_unit
from accelsim.validation.silicon.build import UnmodelledError, build
from accelsim.validation.silicon.calibrate import Factor, factor_value
from accelsim.validation.silicon.predict import predicted_on, whole
from accelsim.validation.silicon.rows import Measurement
from accelsim.workload.ops import Attention, Conv2d, Matmul, Op

FEWEST_ROWS = 16
"""Of a class of kernels, to fit anything on."""


@dataclass(frozen=True, slots=True)
class KernelClass:
    """Kernels that share factors."""

    name: str
    factors: tuple[Factor, ...]


def _product(section: str, text: str) -> KernelClass:
    return KernelClass(
        text,
        (
            Factor(f"{section}.issue", 0.3, 1.0),
            Factor(f"{section}.feed", 0.0, 8.0),
            Factor(f"{section}.step_s", 0.0, 2e-6),
            Factor(f"{section}.cold_step_s", 0.0, 2e-6),
            Factor(f"{section}.store", 0.02, 1.0),
            Factor(f"{section}.prologue_s", 0.0, 1e-5),
            Factor(f"{section}.block_s", 0.0, 5e-6),
            Factor(f"{section}.split_s", 0.0, 1e-5),
            Factor(f"{section}.overlap", 1.0, 16.0),
        ),
    )


TENSOR = _product("tensor", "products on tensor cores")
SIMT = _product("simt", "products on SIMD lanes")
CONVOLUTION = KernelClass(
    "convolutions",
    (
        Factor("conv.implicit", 0.1, 1.0),
        Factor("conv.tensor", 0.1, 1.0),
        Factor("conv.step_s", 0.0, 3e-6),
        Factor("conv.fused", 0.1, 1.0),
        Factor("conv.transform", 0.1, 1.0),
    ),
)
STREAM = KernelClass(
    "streams",
    (
        Factor("stream.kernel_s", 0.0, 5e-6),
        Factor("stream.dram", 0.3, 1.0),
        Factor("stream.l2", 0.1, 1.0),
        Factor("stream.reduction_cycles", 0.0, 4000.0),
        Factor("stream.step_cycles", 0.0, 400.0),
        Factor("stream.latency_cycles", 0.0, 4000.0),
    ),
)
ATTENTION = KernelClass(
    "attention",
    (
        Factor("attention.issue", 0.2, 1.0),
        Factor("attention.hidden", 0.0, 1.0),
        Factor("attention.block_s", 0.0, 1e-5),
        Factor("attention.decode_block_s", 0.0, 1e-5),
        Factor("attention.step_s", 0.0, 3e-6),
        Factor("attention.start_s", 0.0, 2e-5),
        Factor("attention.decode_start_s", 0.0, 2e-5),
        Factor("attention.combine_s", 0.0, 3e-5),
        Factor("attention.dram", 0.2, 1.0),
    ),
)
CPU_LOOPS = KernelClass(
    "loops of a CPU",
    (
        Factor("dispatch_s", 0.0, 2e-5),
        Factor("fork_join_s", 0.0, 2e-5),
        Factor("dram", 0.3, 1.0),
        Factor("cache", 0.1, 1.0),
        Factor("overlap", 1.0, 16.0),
        Factor("fma_issue", 0.2, 1.0),
        Factor("pack", 0.05, 1.0),
        Factor("vector_issue", 0.05, 1.0),
        Factor("reduce_issue", 0.02, 1.0),
    ),
)
CLASSES = (TENSOR, SIMT, CONVOLUTION, STREAM, ATTENTION, CPU_LOOPS)
"""In the order in which they are fitted."""


def kernel_class(device: Device, op: Op) -> KernelClass:
    """The class of an op's kernels on a device."""
    if isinstance(device.factors, CpuFactors):
        return CPU_LOOPS
    assert isinstance(device.factors, GpuFactors)
    if isinstance(op, Attention):
        return ATTENTION
    if isinstance(op, Conv2d):
        return CONVOLUTION
    if not isinstance(op, Matmul):
        return STREAM
    on_matrix = matrix_unit(whole(device), op.dtype) is device.core.matrix
    return TENSOR if on_matrix and device.factors.tensor is not None else SIMT


def rows_by_class(
    device: Device, rows: Iterable[Measurement]
) -> tuple[dict[KernelClass, list[Measurement]], dict[str, int]]:
    """Rows by the class of their kernels, and how many rows have no model and why.

    A row of several ops belongs to the class of its last one. Raises InputError for a device without a family's
    factors and for rows that are wrong.
    """
    if device.factors is None:
        raise InputError(f"{device.name} has no factors: only GPUs and CPUs of a family are fitted")
    machine = whole(device)
    found: dict[KernelClass, list[Measurement]] = {}
    lacking: dict[str, int] = {}
    wrong: list[str] = []
    for row in rows:
        try:
            predicted_on(machine, row)
            found.setdefault(kernel_class(device, build(row)[-1]), []).append(row)
        except UnmodelledError as error:
            lacking[str(error)] = lacking.get(str(error), 0) + 1
        except InputError as error:
            wrong += error.problems
    raise_for(wrong)
    return {kind: found[kind] for kind in CLASSES if kind in found}, lacking


def fittable(device: Device, kind: KernelClass) -> Sequence[Factor]:
    """The factors of a class that a device's family has and that lie within their limits."""
    return tuple(_within(device, kind.factors))


def _within(device: Device, factors: Iterable[Factor]) -> Iterator[Factor]:
    for factor in factors:
        try:
            value = factor_value(device, factor.path)
        except InputError:
            continue
        if factor.low <= value <= factor.high:
            yield factor
