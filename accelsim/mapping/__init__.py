"""(op, device) -> task: tiles, cycles, bytes at every memory level, counts of actions. Pure."""

from __future__ import annotations

from functools import singledispatch

from accelsim.mapping.machine import Machine
from accelsim.mapping.matrix import map_matrix
from accelsim.mapping.task import Placement, Task
from accelsim.mapping.vector import map_vector
from accelsim.workload.ops import Conv2d, Matmul, Op

__all__ = ["Machine", "Placement", "Task", "map_op"]


@singledispatch
def map_op(op: Op, machine: Machine, placement: Placement) -> Task:
    """Map ``op`` to ``machine``: kinds with a unit of their own register here, all others go to the vector unit."""
    return map_vector(op, machine, placement)


@map_op.register
def _(op: Matmul, machine: Machine, placement: Placement) -> Task:
    return map_matrix(op, machine, placement)


@map_op.register
def _(op: Conv2d, machine: Machine, placement: Placement) -> Task:
    return map_matrix(op, machine, placement)
