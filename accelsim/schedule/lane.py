"""One core (or gang of cores) working through a graph: tasks in order, with the host's and the transfers between."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import heapify, heappop, heappush

from accelsim.base.dtypes import bits
from accelsim.base.errors import MappingError
from accelsim.base.units import PS_PER_S, whole_ps
from accelsim.hardware.device import Device, Memory, RowStationary
from accelsim.mapping import Machine, Placement, Task, map_op
from accelsim.mapping.row_stationary import coded_share
from accelsim.schedule.cache import cached_plan
from accelsim.schedule.residency import Plan, plans
from accelsim.trace import Count
from accelsim.workload.graph import Graph
from accelsim.workload.ops import Op, Tensor

DEVICE, HOST, LINK = "device", "host", "link"
"""Where an item runs."""


@dataclass(frozen=True, slots=True)
class Item:
    """A task of a lane: what it waits for, and how much of its weights may come early."""

    name: str
    task: Task
    where: str
    needs: tuple[str, ...]
    prefetch_bytes: int = 0


@dataclass(frozen=True)
class Lane:
    """A graph on a machine, under the plan that is fastest for it."""

    graph: Graph
    machine: Machine
    plan: Plan
    items: tuple[Item, ...]
    chunks: int = 1
    """How often a step goes through the graph, which is then built for that part of the lane's batch."""

    @property
    def chain_ps(self) -> int:
        """All items one after another, weights prefetched as the channel's idle time allows [ps]."""
        again = chain_ps(self.later, self.machine) if self.chunks > 1 else 0
        return chain_ps(self.items, self.machine) + (self.chunks - 1) * again

    @property
    def later(self) -> tuple[Item, ...]:
        """The items of every chunk after the first: a step's overhead is paid once."""
        items = [*self.items]
        _delay_first(items, -math.ceil(self.machine.calibration.step_overhead_s * PS_PER_S))
        return tuple(items)

    def cost_ps(self, lanes: int) -> float:
        """Time of a step while ``lanes`` lanes like this one share the channels [ps]."""
        return max(self.chain_ps, self.chunks * _pressure_ps(self.items, self.machine.channels, lanes))


@dataclass(frozen=True)
class Site:
    """What a lane is planned for: the device's machine, its host's, and the tensors that others want.

    ``outside`` are tensors that cross to another lane or must end in device memory; ``on_host`` are those that start on
    the host.
    """

    machine: Machine
    host: Machine | None
    outside: frozenset[str] = frozenset()
    on_host: frozenset[str] = frozenset()
    to_host: frozenset[str] = frozenset()
    elsewhere: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Tensors that other lanes make: the item that makes each, and where (``device`` or ``host``)."""
    _memo: dict[object, Task] = field(default_factory=dict, compare=False, repr=False)
    _first: dict[object, tuple[Op, int]] = field(default_factory=dict, compare=False, repr=False)
    """By all of an op but names: the first such op, and a number for it."""
    _known: dict[int, tuple[Op, Op, int]] = field(default_factory=dict, compare=False, repr=False)
    """By identity: an op, the first like it, and their number."""

    def task(self, op: Op, machine: Machine, placement: Placement) -> Task:
        """The mapped op."""
        task = self.alike(op, machine, placement)
        return task if task.op == op.name else replace(task, op=op.name)

    def alike(self, op: Op, machine: Machine, placement: Placement) -> Task:
        """``map_op`` of the first op that differs only in its names."""
        if id(op) not in self._known:
            self._known[id(op)] = op, *self._first.setdefault(_signature(op), (op, len(self._first)))
        _, first, number = self._known[id(op)]
        key = machine.device.name, number, placement
        if key not in self._memo:
            self._memo[key] = map_op(first, machine, placement)
        return self._memo[key]


def _signature(op: Op) -> tuple[object, ...]:
    """All of an op but names."""
    own = tuple(
        getattr(op, slot)
        for cls in type(op).__mro__
        for slot in getattr(cls, "__slots__", ())
        if slot not in {"name", "inputs", "outputs", "epilogue"}
    )
    tensors = tuple((t.shape, t.dtype, t.role, t.zeros, t.sparsity) for t in (*op.inputs, *op.outputs))
    return (
        op.kind,
        own,
        len(op.inputs),
        tensors,
        tuple((fused.function, fused.outputs[0].shape) for fused in op.epilogue),
    )


def runs_on(op: Op, device: Device) -> bool:
    """Whether the device has the op's kind, its functions and its format."""
    limits = device.limits
    if limits is not None:
        if limits.ops is not None and op.kind not in limits.ops:
            return False
        if limits.functions is not None and not op.functions <= {*limits.functions}:
            return False
    if op.macs:
        return device.computes(op.dtype)
    return not op.elementary.total or device.core.vector.rate(op.dtype) > 0


def link_task(name: str, size: int, operand: str, machine: Machine, *, to_host: bool) -> Task:
    """Bytes over the host link, out of or into device memory."""
    assert machine.device.host is not None
    link = machine.device.host.link
    channel = machine.prefix + link.name
    seconds = link.latency_s + size / machine.channels[channel]
    channels = {channel: size}
    counts = [Count(f"{link.name}.transfer", operand, size)]
    backing = machine.backing("weight" if operand == "weight" else "activation")
    if backing is not None and machine.is_dram(backing):
        channels[backing] = size
        counts += machine.count(backing, operand, size if to_host else 0, 0 if to_host else size)
        seconds = max(seconds, size / machine.channels[backing])
    else:
        memory = machine.buffer("activation")
        if memory is not None:
            counts.append(Count(f"{memory.name}.{'read' if to_host else 'write'}", operand, size))
    duration_ps = whole_ps(seconds * PS_PER_S)
    return Task(
        op=name,
        kind="transfer",
        device=machine.device.name,
        unit="link",
        dtype="-",
        duration_ps=duration_ps,
        resident_ps=duration_ps,
        launch_ps=0,
        prefetch_channel=None,
        prefetch_bytes=0,
        channel_bytes=tuple(channels.items()),
        macs=0,
        compute_cycles=0,
        clock_hz=0.0,
        energy_scale=1.0,
        bound="link",
        bounds_s=(("link", seconds),),
        counts=tuple(c for c in counts if c.amount),
        tiling="to the host" if to_host else "from the host",
    )


class _Placer:
    """Follows tensors from place to place while a lane is laid out."""

    def __init__(self, graph: Graph, site: Site, plan: Plan) -> None:
        self.graph, self.site, self.plan = graph, site, plan
        self.items: list[Item] = []
        self.made: dict[tuple[str, str], str | None] = {}
        """(tensor, place) -> the item that brings it there; None: it is there from the start."""
        machine = site.machine
        link = machine.prefix + machine.device.host.link.name if machine.device.host else None
        self.lives_on_host = machine.backing("activation") == link and link is not None
        for tensor in graph.inputs:
            item, place = site.elsewhere.get(tensor.name, (None, HOST if tensor.name in site.on_host else DEVICE))
            self._put(tensor, place, item)

    def _put(self, tensor: Tensor, place: str, item: str | None) -> None:
        self.made[tensor.name, place] = item
        if self.lives_on_host and tensor.name not in self.plan.resident:
            # Its home is the host's memory; the device streams it over the link.
            self.made[tensor.name, DEVICE] = self.made[tensor.name, HOST] = item

    def bring(self, tensor: Tensor, place: str) -> str | None:
        """The item that a reader at ``place`` waits for, with a transfer put in where one is needed."""
        if (tensor.name, place) not in self.made:
            source = self.made[tensor.name, DEVICE if place == HOST else HOST]
            name = f"{tensor.name} {'to' if place == HOST else 'from'} host"
            task = link_task(name, tensor.bytes, "input", self.site.machine, to_host=place == HOST)
            self.items.append(Item(name, task, LINK, (source,) if source else ()))
            self.made[tensor.name, place] = name
        return self.made[tensor.name, place]

    def add(self, op: Op, index: int) -> None:
        """Put an op where it runs."""
        place = DEVICE if runs_on(op, self.site.machine.device) else HOST
        machine = self.site.machine if place == DEVICE else self.site.host
        if machine is None:
            raise MappingError(
                f"{self.site.machine.device.name} cannot run op {op.name} ({_what(op)}) and has no host that could"
            )
        needs = [self.bring(tensor, place) for tensor in op.activations]
        placement = self._placement(op, index) if place == DEVICE else _from_memory(op, machine)
        task = self.site.task(op, machine, placement)
        self.items.append(Item(op.name, task, place, tuple(dict.fromkeys(n for n in needs if n))))
        for tensor in op.outputs:
            self._put(tensor, place, op.name)

    def _placement(self, op: Op, index: int) -> Placement:
        machine, plan = self.site.machine, self.plan
        buffer = machine.buffer("activation")
        for tensor in (*op.activations, *op.outputs):
            if buffer is not None and machine.backing("activation") is None and tensor.name not in plan.resident:
                raise MappingError(
                    f"op {op.name}: {tensor.name} ({tensor.bytes} bytes) does not stay in {buffer.name}, which holds "
                    f"{machine.capacity_bytes(buffer)} bytes, and {machine.device.name} has no memory behind it"
                )
        sources = tuple(_channel(t, machine, plan) for t in op.inputs)
        return Placement(sources, _channel(op.outputs[0], machine, plan), free_bytes(machine, plan, index))


def _what(op: Op) -> str:
    return f"{op.kind} {'+'.join(sorted(op.functions))}".strip() + f" in {op.dtype}"


def _from_memory(op: Op, machine: Machine) -> Placement:
    """Everything from and to the machine's own DRAM."""
    sources = tuple(machine.backing("weight" if t.role == "weight" else "activation") for t in op.inputs)
    return Placement(sources, machine.backing("activation"), machine.all_free)


def free_bytes(machine: Machine, plan: Plan, index: int) -> tuple[tuple[str, int], ...]:
    """What is left of every on-chip memory while op ``index`` runs, rounded down to a coarse grid.

    The grid lets ops that differ little in their surroundings share one mapping; a memory that nothing stays in is
    free to its last byte.
    """
    activations, weights = machine.buffer("activation"), machine.buffer("weight")
    free = []
    for memory in machine.sram.values():
        left = machine.capacity_bytes(memory)
        if memory is activations:
            left -= plan.occupied_bytes[index]
        if memory is weights:
            left -= plan.kept_bytes
        free.append((memory.name, left if left == machine.capacity_bytes(memory) else _coarse(left)))
    return tuple(free)


def _coarse(size: int) -> int:
    """Round down to eighths of a power of two: at most an eighth is lost, and order is kept."""
    if size < 8:
        return max(size, 0)
    unit = 1 << (size.bit_length() - 4)
    return size // unit * unit


def _items(graph: Graph, site: Site, plan: Plan) -> tuple[Item, ...]:
    placer = _Placer(graph, site, plan)
    for index, op in enumerate(graph.ops):
        placer.add(op, index)
    for tensor in graph.outputs:
        if tensor.name in site.to_host:
            placer.bring(tensor, HOST)
    _delay_first(placer.items, math.ceil(site.machine.calibration.step_overhead_s * PS_PER_S))
    return tuple(_with_prefetch(placer.items, graph, site.machine, plan))


def _delay_first(items: list[Item], overhead_ps: int) -> None:
    """Put what a step costs the device in front of the first item that runs on it."""
    place = next((i for i, item in enumerate(items) if item.where == DEVICE), None)
    if place is not None:
        task = items[place].task
        later = replace(
            task,
            duration_ps=task.duration_ps + overhead_ps,
            resident_ps=task.resident_ps + overhead_ps,
            launch_ps=task.launch_ps + overhead_ps,
        )
        items[place] = replace(items[place], task=later)


def _with_prefetch(items: Iterable[Item], graph: Graph, machine: Machine, plan: Plan) -> Iterator[Item]:
    """Half of what is free while the op before runs, and half of what is free at its own time, takes weights early.

    (The other half holds the tiles in use.)
    """
    index = {op.name: i for i, op in enumerate(graph.ops)}
    memory = machine.buffer("weight")
    room = free_half(machine, memory, plan)
    before = len(graph.ops) - 1
    for item in items:
        if item.where == DEVICE:
            own = index[item.task.op]
            if item.task.prefetch_channel is not None:
                yield replace(item, prefetch_bytes=min(item.task.prefetch_bytes, room[before], room[own]))
            else:
                yield item
            before = own
        else:
            yield item


def free_half(machine: Machine, memory: Memory | None, plan: Plan) -> list[int]:
    """Half of the weights' buffer that is free during each op [bytes]; nothing without a buffer."""
    if memory is None:
        return [0] * len(plan.occupied_bytes)
    shared = memory is machine.buffer("activation")
    capacity = machine.capacity_bytes(memory) - plan.kept_bytes
    return [max(0, capacity - (occupied if shared else 0)) // 2 for occupied in plan.occupied_bytes]


def chain_ps(items: Iterable[Item], machine: Machine) -> int:
    """End of the items one after another: what the engine finds for one lane alone whose items all wait in line."""
    now = 0
    idle_bytes = 0.0
    weights = machine.backing("weight")
    rate = machine.channels[weights] / PS_PER_S if weights is not None else 0.0
    ended: dict[str, tuple[int, Task]] = {}
    for item in items:
        task = item.task
        duration = task.duration_ps
        made = [ended[name] for name in item.needs if name in ended]
        start = max((end + maker.wait_ps(task) for end, maker in made), default=0)
        if start > now:
            idle_bytes += rate * (start - now)
            now = start
        early_bytes = 0.0
        if task.prefetch_channel is not None:
            early_bytes = min(item.prefetch_bytes, idle_bytes)
            early_ps = early_bytes * PS_PER_S / machine.channels[task.prefetch_channel]
            duration = max(task.resident_ps, math.ceil(duration - early_ps))
        now += duration
        ended[item.name] = now, task
        if item.where == DEVICE and weights is not None:
            moved = dict(task.channel_bytes).get(weights, 0) - early_bytes
            idle_bytes = max(0.0, rate * duration - moved)
    return now


def _pressure_ps(items: Iterable[Item], channels: Mapping[str, float], lanes: int) -> float:
    """Time that the busiest channel needs when ``lanes`` lanes like this one share it [ps]."""
    total: dict[str, int] = {}
    for item in items:
        for channel, size in item.task.channel_bytes:
            total[channel] = total.get(channel, 0) + size
    return max(
        (size * lanes * PS_PER_S / channels[name] for name, size in total.items() if name in channels), default=0
    )


def plan_lane(graph: Graph, site: Site, *, lanes: int = 1) -> Lane:
    """Lay a graph out on one lane under each plan, and keep the fastest.

    ``lanes`` lanes like it share the channels. Plans wait in a queue in the order of a lower bound: a rough one at
    first, a close one when they come to the front, and then what they take; the first that comes to the front with that
    is the fastest. Raises MappingError where no plan leaves room for every op's tiles.
    """
    if site.machine.device.core.execution is not None:
        # What stays in a cache is the cache's choice.
        plan = _cached(graph, site)
        return Lane(graph, site.machine, plan, _items(graph, site, plan))
    on_device = [runs_on(op, site.machine.device) for op in graph.ops]
    wants = _wants(graph, site)
    queue: list[tuple[float, int, int, Plan, Lane | None]] = [
        (_rough_ps(wants, site.machine, plan), number, 0, plan, None)
        for number, plan in enumerate(sorted(_plans_of(graph, site), key=_on_chip, reverse=True))
    ]
    heapify(queue)
    refusal: MappingError | None = None
    while queue:
        bound, number, stage, plan, lane = heappop(queue)
        if lane is not None:
            return lane
        try:
            if stage == 0:
                close = max(bound, _bound_ps(graph, site, plan, on_device))
                heappush(queue, (close, number, 1, plan, None))
            else:
                found = Lane(graph, site.machine, plan, _items(graph, site, plan))
                heappush(queue, (max(bound, found.cost_ps(lanes)), number, 2, plan, found))
        except MappingError as error:
            refusal = refusal or error
    assert refusal is not None
    raise refusal


def least_ps(graph: Graph, site: Site) -> float:
    """What no lane of a graph can beat, under any plan [ps]. Raises MappingError where no tiles fit at all."""
    wants = _wants(graph, site)
    return min(_rough_ps(wants, site.machine, plan) for plan in _plans_of(graph, site))


def _on_chip(plan: Plan) -> tuple[int, int]:
    """Of plans that are equally fast, the one that keeps most on chip comes first."""
    return len(plan.resident), plan.kept_bytes


def _wants(graph: Graph, site: Site) -> list[tuple[int, list[tuple[str, int]]]]:
    """Of every op on the device: its time with all operands on chip [ps], and what it moves unless that stays there."""
    machine = site.machine
    found = []
    for op in graph.ops:
        if runs_on(op, machine.device):
            on_chip = Placement((None,) * len(op.inputs), None, machine.all_free)
            moved = [(t.name, _least_bytes(op.bytes_read(t), t, machine)) for t in op.activations]
            moved += [(t.name, _least_bytes(t.bytes, t, machine)) for t in op.outputs]
            found.append((site.alike(op, machine, on_chip).resident_ps, moved))
    return found


def _rough_ps(wants: list[tuple[int, list[tuple[str, int]]]], machine: Machine, plan: Plan) -> float:
    """What no lane under a plan can beat: its ops with all operands on chip, or their activations beyond it [ps]."""
    backing = machine.backing("activation")
    ps_per_byte = PS_PER_S / machine.channels[backing] if backing else 0.0
    resident = plan.resident
    return sum(
        max(least, ps_per_byte * sum([size for name, size in moved if name not in resident])) for least, moved in wants
    )


def _bound_ps(graph: Graph, site: Site, plan: Plan, on_device: Sequence[bool]) -> float:
    """What no lane under a plan can beat [ps].

    Its ops with every on-chip byte free for their tiles, and as many weights there as have room to come early; and on
    each channel each byte once.
    """
    machine = site.machine
    total = dict.fromkeys(machine.channels, 0)
    chain = 0.0
    rooms = free_half(machine, machine.buffer("weight"), plan)
    for op, here, room in zip(graph.ops, on_device, rooms, strict=True):
        if not here:
            continue
        sources = tuple(_channel(t, machine, plan) for t in op.inputs)
        sink = _channel(op.outputs[0], machine, plan)
        cold = site.alike(op, machine, Placement(sources, sink, machine.all_free))
        least: float = cold.duration_ps
        if cold.prefetch_channel is not None:
            on_chip = tuple(None if t.role == "weight" else c for t, c in zip(op.inputs, sources, strict=True))
            resident_ps = site.alike(op, machine, Placement(on_chip, sink, machine.all_free)).duration_ps
            early_ps = min(room, cold.prefetch_bytes) * PS_PER_S / machine.channels[cold.prefetch_channel]
            least = max(resident_ps, least - early_ps)
        chain += least
        for tensor, channel in zip(op.inputs, sources, strict=True):
            if channel is not None:
                total[channel] += _least_bytes(op.bytes_read(tensor), tensor, machine)
        if sink is not None:
            total[sink] += sum(_least_bytes(t.bytes, t, machine) for t in op.outputs)
    return max(chain, *(size * PS_PER_S / machine.channels[channel] for channel, size in total.items()), 0.0)


def _least_bytes(size: int, tensor: Tensor, machine: Machine) -> int:
    """What ``size`` bytes of a tensor are at least on their way: activations may cross in run-length code."""
    matrix = machine.device.core.matrix
    if tensor.role == "weight" or not isinstance(matrix, RowStationary) or not matrix.run_length_coded:
        return size
    return int(size * coded_share(tensor.zeros, bits(tensor.dtype)))


def _channel(tensor: Tensor, machine: Machine, plan: Plan) -> str | None:
    """The channel over which a tensor comes and goes under a plan; None where it stays on chip."""
    if tensor.role == "weight":
        return None if tensor.name in plan.kept else machine.backing("weight")
    return None if tensor.name in plan.resident else machine.backing("activation")


def _cached(graph: Graph, site: Site) -> Plan:
    """The one plan of a device whose last memory on chip is a cache."""
    machine = site.machine
    activations = machine.buffer("activation")
    on_device, on_host = _touched(graph, site)
    return cached_plan(graph, machine.capacity_bytes(activations) if activations else 0, on_device - on_host)


def _touched(graph: Graph, site: Site) -> tuple[set[str], set[str]]:
    """Activations that ops on the device touch and that need not be in device memory; and those that the host does."""
    machine = site.machine
    backing = machine.backing("activation")
    touched: dict[bool, set[str]] = {True: set(), False: set()}
    for op in graph.ops:
        touched[runs_on(op, machine.device)] |= {t.name for t in (*op.activations, *op.outputs)}
    eligible = touched[True] - site.outside
    if backing is not None and machine.is_dram(backing):
        # Inputs lie in device memory at first, outputs end there.
        eligible -= {t.name for t in (*graph.inputs, *graph.outputs)}
    return eligible, touched[False]


def _plans_of(graph: Graph, site: Site) -> Iterator[Plan]:
    """Plans for the activations that may stay on chip, in the room that there is.

    What the host makes or reads may stay too, after a transfer, or be streamed over the link by each op that wants it.
    """
    machine = site.machine
    activations, weights = machine.buffer("activation"), machine.buffer("weight")
    eligible, hosted = _touched(graph, site)
    keeps = weights is not None and weights.keeps_between_steps
    return plans(
        graph,
        arena_bytes=machine.capacity_bytes(activations) if activations else 0,
        eligible=(eligible, eligible - hosted) if eligible & hosted else (eligible,),
        keep_bytes=machine.capacity_bytes(weights) if keeps and weights else 0,
        shared=activations is weights,
    )
