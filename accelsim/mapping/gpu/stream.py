"""Kernels that stream: elementwise functions, reductions, norms, softmax, copies."""

from __future__ import annotations

from accelsim.base.dtypes import bits
from accelsim.mapping.gpu.kernel import Gpu, Kernel, beyond, channel_bytes, crossing_counts, operand_name, task_of
from accelsim.mapping.machine import Machine
from accelsim.mapping.task import Placement, Task
from accelsim.mapping.vector import elementary_counts, vector_cycles
from accelsim.trace import Count
from accelsim.workload.ops import Op


def map_stream(op: Op, machine: Machine, placement: Placement) -> Task:
    """Map an op whose operands stream through the lanes: the slowest of lanes, L2 and DRAM."""
    gpu = Gpu(machine)
    vector = machine.device.core.vector
    compute_s = vector_cycles(op, vector, op.dtype, machine.cores) / vector.freq_hz
    moved = beyond(op, placement)
    touched = sum(op.bytes_read(t) for t in op.inputs) + sum(t.bytes for t in op.outputs)
    l2_s = touched / gpu.l2_bytes_per_s
    channels = channel_bytes(moved)
    dram_s = sum(size / machine.channels[name] for name, size in channels.items())
    kernel_s = gpu.factors.kernel.kernel_s
    l2 = gpu.l2.name
    counts = [
        *elementary_counts(op, op.dtype),
        Count("register", "-", 2 * op.elementary.total * bits(op.dtype)),
        *(Count(f"{l2}.read", operand_name(t), op.bytes_read(t)) for t in op.inputs),
        *(Count(f"{l2}.write", "output", t.bytes) for t in op.outputs),
        *crossing_counts(moved, machine),
    ]
    return task_of(
        Kernel(
            op=op,
            unit="vector",
            freq_hz=vector.freq_hz,
            time=lambda fraction: kernel_s + max(compute_s / fraction, l2_s / fraction, dram_s),
            compute_s=compute_s,
            l2_s=l2_s,
            channel_bytes=channels,
            counts=tuple(counts),
            tiling="one pass",
        ),
        machine,
    )
