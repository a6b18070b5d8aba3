"""What the mapping says of a measured kernel, under the protocol that it was measured by."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

from accelsim.base.errors import ConfigError, MappingError, WorkloadError
from accelsim.base.units import PS_PER_S
from accelsim.hardware.device import Device
from accelsim.hardware.energy import energy_table_of
from accelsim.hardware.loader import aliases, device_names, load_device
from accelsim.mapping import Machine, Placement, Task, map_op
from accelsim.validation.silicon.array_functions import in_array_functions
from accelsim.validation.silicon.build import UnmodelledError, build
from accelsim.validation.silicon.meter import Loop
from accelsim.validation.silicon.protocol import Protocol, protocol_for
from accelsim.validation.silicon.rows import Measurement
from accelsim.workload.ops import Conv2d, Op, Tensor


@dataclass(frozen=True, slots=True)
class Prediction:
    """Ours, beside what was measured."""

    predicted_us: float
    roofline_us: float
    """The larger of MACs at nominal peak and every operand once at the DRAM's."""
    bound: str
    power_w: float
    """Mean power while the kernels run."""
    shown_w: float
    """What the protocol's power meter shows of them, where the row says what it showed; else ``power_w``."""
    tiling: str


def predict(row: Measurement) -> Prediction:
    """Predict a row.

    Raises UnmodelledError where its op or device has no model, and InputError where the row itself is wrong.
    """
    return predicted_on(machine_of(row.text("device")), row)


def predicted_on(machine: Machine, row: Measurement) -> Prediction:
    """Predict a row on a machine of one's choice, on the cores that the row used; raises as ``predict`` does."""
    protocol = protocol_for(row)
    machine = replace(machine, cores=min(cores_of(row) or machine.cores, machine.cores))
    machine = _in_run(row, machine, protocol)
    ops, tasks = _mapped(row, machine, protocol)
    longest = max(tasks, key=lambda task: task.duration_ps)
    predicted_s, watts = measured_s(row, ops[0], tasks, protocol), power_w(tasks, machine)
    return Prediction(
        predicted_us=predicted_s * 1e6,
        roofline_us=roofline_of(ops, machine) * 1e6,
        bound=longest.bound,
        power_w=watts,
        shown_w=_shown_w(row, Loop(predicted_s, watts), machine, protocol),
        tiling="; ".join(dict.fromkeys(task.tiling for task in tasks)),
    )


def _in_run(row: Measurement, machine: Machine, protocol: Protocol) -> Machine:
    """The machine in a protocol's kind of run."""
    return machine.in_run(protocol.run(row.text("dtype"), machine.device.family))


def _mapped(row: Measurement, machine: Machine, protocol: Protocol) -> tuple[Sequence[Op], list[Task]]:
    """A row's ops, and the kernels that they become. Raises UnmodelledError where one has no model."""
    try:
        ops = build(row)
        if protocol.half_convolutions:
            ops = tuple(_in_half(op, machine.device) for op in ops)
        kernels = in_array_functions(ops) if protocol.array_functions else ops
        # The same op stands again for every step of a recurrent network: each is mapped once.
        once = {id(op): op for op in kernels}
        mapped = {number: map_op(op, machine, placed(op, machine, protocol)) for number, op in once.items()}
        return ops, [mapped[id(op)] for op in kernels]
    except (MappingError, WorkloadError) as error:
        raise UnmodelledError(str(error)) from None


def _shown_w(row: Measurement, loop: Loop, machine: Machine, protocol: Protocol) -> float:
    """What the protocol's power meter shows of a row's kernels, where it showed something [W]."""
    if protocol.meter is None or not row.text("power_w"):
        return loop.power_w

    def kernel(other: Measurement) -> Loop:
        running = _in_run(other, machine, protocol)
        ops, tasks = _mapped(other, running, protocol)
        return Loop(measured_s(other, ops[0], tasks, protocol), power_w(tasks, running))

    return protocol.meter.shown_w(row, loop, machine.device.power.static_w, kernel)


def _in_half(op: Op, device: Device) -> Op:
    """A convolution of numbers kept in FP16 in that format, where the device is faster in it."""
    if not isinstance(op, Conv2d) or not op.math or op.inputs[0].dtype != "fp16":
        return op
    faster = device.peak_macs_per_s("fp16") > device.peak_macs_per_s(op.math)
    return replace(op, math="") if faster else op


def roofline_of(ops: Sequence[Op], machine: Machine) -> float:
    """The plain rooflines of ops one after another [s]."""
    each = {id(op): roofline_s(op, machine.device, machine.cores) for op in {id(op): op for op in ops}.values()}
    return sum(each[id(op)] for op in ops)


def cores_of(row: Measurement) -> int | None:
    """Cores that a row used, where it says so: ``threads=N`` among its extras, or ``N core`` in its device's name."""
    named = re.search(r"\b([1-9][0-9]{0,5}) cores?\b", row.text("device"))
    return row.whole_extra("threads", int(named[1]) if named else 0) or None


def measured_s(row: Measurement, op: Op, tasks: Sequence[Task], protocol: Protocol) -> float:
    """What the protocol's clock would show of a row's kernels one after another [s]."""
    busy_ps = sum(task.duration_ps - (0 if protocol.launches else task.launch_ps) for task in tasks)
    busy_s = busy_ps / PS_PER_S + protocol.quantising_s(row.text("dtype"), op)
    return protocol.seen_s(row.text("op"), busy_s, sum(task.kernels for task in tasks) - 1, row.text("device"))


def power_w(tasks: Sequence[Task], machine: Machine) -> float:
    """Mean power while such kernels run again and again without a pause [W]."""
    energy_pj = 0.0
    for task, times in _distinct(tasks):
        on_chip, off_chip = machine.dynamic_pj(task.counts)
        energy_pj += times * (on_chip * task.energy_scale + off_chip)
    return machine.device.power.static_w + energy_pj / sum(task.duration_ps for task in tasks)


def _distinct(tasks: Sequence[Task]) -> Iterator[tuple[Task, int]]:
    """Each task once, with how often it stands there."""
    times = Counter(map(id, tasks))
    yield from ((task, times[number]) for number, task in {id(task): task for task in tasks}.items())


def placed(op: Op, machine: Machine, protocol: Protocol) -> Placement:
    """Where the operands are under a protocol: warm ones in the last cache, where all of them fit together.

    Weights that come as copies in turn are warm where all copies fit; where they do not, they pass through and leave
    the activations warm.
    """
    memory = machine.buffer("activation")
    room = 0 if memory is None else machine.capacity_bytes(memory)
    backing = machine.backing("activation")
    weights = sum(t.bytes for t in op.inputs if t.role == "weight")
    others = sum(t.bytes for t in (*op.inputs, *op.outputs) if t.role != "weight")
    others_warm = protocol.activations_warm and others <= room
    kept = others if protocol.activations_warm else 0
    weights_warm = protocol.weights_warm and kept + protocol.weight_copies * weights <= room

    def where(tensor: Tensor) -> str | None:
        return None if (weights_warm if tensor.role == "weight" else others_warm) else backing

    return Placement(tuple(where(t) for t in op.inputs), where(op.outputs[0]), machine.all_free)


def roofline_s(op: Op, device: Device, cores: int) -> float:
    """The plain roofline (Williams et al., CACM 2009): nothing is fitted, nothing is warm [s]."""
    size = sum(op.bytes_read(t) for t in op.inputs) + sum(t.bytes for t in op.outputs)
    dram = device.dram
    memory_s = size / dram.bandwidth_bytes_per_s if dram else 0.0
    return max(op.macs / device.peak_macs_per_s(op.dtype, cores) if op.macs else 0.0, memory_s)


def device_of(name: str) -> Device:
    """The shipped device that a measured file calls ``name``: case, maker, hyphens and spaces do not matter.

    Raises UnmodelledError where there is none.
    """
    found = _spellings().get(plain(name))
    if found is None:
        raise UnmodelledError(f"device {name}")
    try:
        return load_device(found)
    except ConfigError as error:
        raise UnmodelledError(f"device {name}: {error}") from None


@cache
def _spellings() -> dict[str, str]:
    own = {plain(name): name for name in device_names()}
    return {plain(alias): name for alias, name in aliases().items()} | own


def plain(name: str) -> str:
    """What two spellings of a name have in common.

    >>> plain("NVIDIA A100-SXM4-80GB") == plain("nvidia_a100_sxm4_80gb") == plain("A100 SXM4 80GB")
    True
    """
    words = "".join(c if c.isalnum() else " " for c in name.lower()).split()
    return "".join(word for word in words if word not in {"nvidia", "amd", "intel", "tesla", "instinct", "gpu"})


@cache
def machine_of(name: str) -> Machine:
    """All of the device that a measured file calls ``name``, with all of its power."""
    return whole(device_of(name))


def whole(device: Device) -> Machine:
    """All cores of a device, with all of its power."""
    power = device.power
    budget = None if power.tdp_w is None else power.tdp_w - power.static_w
    return Machine(device, energy_table_of(device), device.core.count, budget)
