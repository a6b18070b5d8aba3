"""Ops as loops on the cores of a CPU: micro-kernels of SIMD or tile instructions over caches."""

from __future__ import annotations

from functools import singledispatch

from accelsim.hardware.cpu import CpuExecution
from accelsim.mapping.cpu.attention import map_attention
from accelsim.mapping.cpu.gemm import map_product
from accelsim.mapping.cpu.stream import map_stream
from accelsim.mapping.machine import Machine
from accelsim.mapping.task import Placement, Task
from accelsim.workload.ops import Attention, Conv2d, Matmul, Op


def map_cpu(execution: CpuExecution, op: Op, machine: Machine, placement: Placement) -> Task:
    """Map ``op`` to loops on a CPU; a ``placement`` without a channel says that an operand is in a cache."""
    return map_loops(op, machine, placement)


@singledispatch
def map_loops(op: Op, machine: Machine, placement: Placement) -> Task:
    """Map one kind of op: those with loops of their own register here, all others stream."""
    return map_stream(op, machine, placement)


map_loops.register(Matmul, map_product)
map_loops.register(Conv2d, map_product)
map_loops.register(Attention, map_attention)
