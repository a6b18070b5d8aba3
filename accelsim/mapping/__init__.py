"""(op, device) -> task: tiles, cycles, bytes at every memory level, counts of actions. Pure."""

from __future__ import annotations

from functools import singledispatch

from accelsim.base.errors import MappingError
from accelsim.hardware.cpu import CpuExecution
from accelsim.hardware.device import GpuExecution, RowStationary
from accelsim.mapping.attention import map_attention
from accelsim.mapping.cpu import map_cpu
from accelsim.mapping.gpu import map_gpu
from accelsim.mapping.machine import Machine
from accelsim.mapping.matrix import map_matrix, matrix_unit
from accelsim.mapping.row_stationary import map_row_stationary
from accelsim.mapping.spatial import SpatialModel
from accelsim.mapping.task import Placement, Task
from accelsim.mapping.vector import map_vector
from accelsim.workload.ops import Attention, Conv2d, Matmul, Op

__all__ = ["Machine", "Placement", "SpatialModel", "Task", "map_op"]


def map_op(op: Op, machine: Machine, placement: Placement) -> Task:
    """Map ``op`` to ``machine``; raises MappingError for what it cannot run."""
    if machine.count_cycles and machine.device.core.execution is not None:
        raise MappingError(f"op {op.name}: fidelity cycle plays systolic arrays only; want --fidelity tile")
    return map_on(machine.device.core.execution, op, machine, placement)


@singledispatch
def map_on(execution: object, op: Op, machine: Machine, placement: Placement) -> Task:
    """Map ``op`` by how the cores execute: those that run kernels of threads register here.

    All others move tiles of the op to and from buffers.
    """
    return map_tiles(op, machine, placement)


map_on.register(CpuExecution, map_cpu)
map_on.register(GpuExecution, map_gpu)


@singledispatch
def map_tiles(op: Op, machine: Machine, placement: Placement) -> Task:
    """Map ``op`` to units with buffers: kinds with a unit of their own register here, others go to the vector unit."""
    return map_vector(op, machine, placement)


map_tiles.register(Attention, map_attention)


@map_tiles.register(Matmul)
@map_tiles.register(Conv2d)
def _(op: Matmul | Conv2d, machine: Machine, placement: Placement) -> Task:
    return map_product(matrix_unit(machine, op.dtype), op, machine, placement)


@singledispatch
def map_product(unit: object, op: Matmul | Conv2d, machine: Machine, placement: Placement) -> Task:
    """Map a product to ``unit`` by a search over tiles of its ``matrix_model``.

    Units that do not work in tiles of m, k and n, for they know a convolution's rows, register here.
    """
    return map_matrix(op, machine, placement)


map_product.register(RowStationary, map_row_stationary)
