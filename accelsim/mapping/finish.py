"""The end of every mapping: what was found becomes a task."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from accelsim.base.units import PS_PER_S, whole_ps
from accelsim.mapping.machine import Machine
from accelsim.mapping.power import Clocked
from accelsim.mapping.task import Task
from accelsim.trace import Count
from accelsim.workload.ops import Op


def finished(
    op: Op,
    machine: Machine,
    outcome: Clocked,
    *,
    unit: str,
    freq_hz: float,
    cycles: float,
    compute_s: float,
    on_chip_s: float,
    channel_bytes: Mapping[str, int],
    counts: Iterable[Count],
    tiling: str,
    macs: int = 0,
    resident: float | None = None,
    prefetch: tuple[str, int] | None = None,
    kernels: int = 1,
) -> Task:
    """Add the launch, name the bound, round to whole picoseconds.

    ``freq_hz``, ``compute_s`` (of the unit alone) and ``on_chip_s`` (of the busiest on-chip memory) are at the nominal
    clock. ``resident`` is the duration with all weights on chip [ps] (the outcome's own, unless given), ``prefetch``
    the channel and bytes of weights that could come early.
    """
    launch_s = machine.launch_s
    launch_ps = whole_ps(launch_s * PS_PER_S)
    bounds_s = {
        "compute": compute_s / outcome.fraction,
        "sram": on_chip_s / outcome.fraction,
        "latency": launch_s,
    }
    for channel, size in channel_bytes.items():
        bounds_s["dram" if machine.is_dram(channel) else "link"] = size / machine.channels[channel]
    early_channel, early_bytes = prefetch or (None, 0)
    return Task(
        op=op.name,
        kind=op.kind,
        device=machine.device.name,
        unit=unit,
        dtype=op.dtype,
        duration_ps=whole_ps(outcome.duration) + launch_ps,
        resident_ps=whole_ps(outcome.duration if resident is None else resident) + launch_ps,
        launch_ps=launch_ps,
        prefetch_channel=early_channel,
        prefetch_bytes=early_bytes,
        channel_bytes=tuple((name, size) for name, size in channel_bytes.items() if size),
        macs=macs,
        compute_cycles=math.ceil(cycles),
        clock_hz=freq_hz * outcome.fraction,
        energy_scale=outcome.energy_scale,
        bound=max(bounds_s, key=lambda name: bounds_s[name]),
        bounds_s=tuple(bounds_s.items()),
        counts=tuple(count for count in counts if count.amount),
        tiling=tiling,
        kernels=kernels,
        result_ps=whole_ps(machine.calibration.result_latency_s * PS_PER_S),
        by_item=len(op.outputs[0].shape) > 2 and op.outputs[0].shape[0] > 1,
    )
