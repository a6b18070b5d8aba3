"""Ops as kernels on a GPU: grids of thread blocks in waves over the cores, through shared memory, L2 and DRAM."""

from __future__ import annotations

from functools import singledispatch

from accelsim.hardware.device import GpuExecution
from accelsim.mapping.gpu.attention import map_attention
from accelsim.mapping.gpu.conv import map_conv
from accelsim.mapping.gpu.gemm import map_gemm
from accelsim.mapping.gpu.stream import map_stream
from accelsim.mapping.machine import Machine
from accelsim.mapping.task import Placement, Task
from accelsim.workload.ops import Attention, Conv2d, Matmul, Op


def map_gpu(execution: GpuExecution, op: Op, machine: Machine, placement: Placement) -> Task:
    """Map ``op`` to kernels of a GPU; a ``placement`` without a channel says that an operand is in L2."""
    return map_kernel(op, machine, placement)


@singledispatch
def map_kernel(op: Op, machine: Machine, placement: Placement) -> Task:
    """Map one kind of op: those with a kernel of their own register here, all others stream."""
    return map_stream(op, machine, placement)


map_kernel.register(Matmul, map_gemm)
map_kernel.register(Conv2d, map_conv)
map_kernel.register(Attention, map_attention)
