"""Attention as one kernel of a CPU: products, mask and softmax of blocks in turn, their scores in a cache."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from accelsim.mapping.cpu.core import Cpu, Loop, task_of
from accelsim.mapping.cpu.gemm import product_loop
from accelsim.mapping.cpu.stream import stream_loop
from accelsim.mapping.machine import Machine
from accelsim.mapping.task import Placement, Task
from accelsim.workload.graph import Graph
from accelsim.workload.ops import Attention, Matmul
from accelsim.workload.transforms import unfuse_attention


def map_attention(op: Attention, machine: Machine, placement: Placement) -> Task:
    """Map attention: the loops of its parts one after another, each on its own threads; no scores leave the caches.

    Blocks that a causal mask leaves empty are computed as if they were not. Raises MappingError where no unit
    multiplies the format.
    """
    cpu = Cpu(machine)
    where = {tensor.name: channel for tensor, channel in zip(op.inputs, placement.sources, strict=True)}
    where |= {op.outputs[0].name: placement.sink}
    loops = []
    for part in unfuse_attention(Graph(name=op.name, ops=(op,), batch=op.batch)).ops:
        own = replace(
            placement,
            sources=tuple(where.get(tensor.name) for tensor in part.inputs),
            sink=where.get(part.outputs[0].name),
        )
        loops.append(product_loop(part, machine, own) if isinstance(part, Matmul) else stream_loop(part, machine, own))
    channel_bytes: Counter[str] = Counter()
    for loop in loops:
        channel_bytes.update(loop.channel_bytes)
    longest = max(loops, key=lambda loop: loop.compute_s)
    return task_of(
        Loop(
            op=op,
            unit="matrix",
            freq_hz=longest.freq_hz,
            fixed_s=sum(loop.fixed_s for loop in loops),
            phases=tuple(phase for loop in loops for phase in loop.phases),
            compute_s=sum(loop.compute_s for loop in loops),
            cache_s=sum(loop.cache_s for loop in loops),
            channel_bytes=channel_bytes,
            counts=tuple(count for loop in loops for count in loop.counts),
            tiling="; ".join(loop.tiling for loop in loops),
            macs=sum(loop.macs for loop in loops),
        ),
        cpu,
    )
