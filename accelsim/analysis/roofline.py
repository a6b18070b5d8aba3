"""Two rooflines: the one that nothing beats, and the one that a reader draws by hand (Williams et al., CACM 2009)."""

from __future__ import annotations

from collections.abc import Sequence

from accelsim.hardware.device import Device
from accelsim.mapping import Machine
from accelsim.schedule import Lane, runs_on
from accelsim.trace import Span
from accelsim.workload.graph import Graph


def _work_s(spans: Sequence[Span], device: Device, cores: int) -> dict[str, float]:
    """Time of the executed work at nominal peak, by resource [s]."""
    vector = device.core.vector
    macs: dict[str, int] = {}
    plain: dict[str, int] = {}
    special = 0
    for span in spans:
        if span.macs:
            macs[span.dtype] = macs.get(span.dtype, 0) + span.macs
        for count in span.counts:
            head, _, dtype = count.action.partition(".")
            if head in ("add", "mul"):
                plain[dtype] = plain.get(dtype, 0) + count.amount
            elif head == "special":
                special += count.amount
    return {
        "matrix": sum(n / device.peak_macs_per_s(dtype, cores) for dtype, n in macs.items()),
        "vector": sum(n / vector.rate(dtype) for dtype, n in plain.items()) / (device.vector_hz(cores) * cores),
        "special": special / (vector.special_per_cycle * device.vector_hz(cores) * cores),
    }


def roofline_s(
    spans: Sequence[Span],
    device: Device,
    *,
    cores: int,
    unavoidable_bytes: dict[str, int],
    host: tuple[Device, int] | None,
) -> float:
    """The largest, over resources, of executed work and unavoidable bytes at nominal rates [s].

    ``spans`` are one step's, ``unavoidable_bytes`` what must cross each channel whatever the schedule. Work on the host
    and the bytes that its ops exchange with the device count, for the fallback is part of the algorithm.
    """
    own = [span for span in spans if span.device == device.name]
    times = list(_work_s(own, device, cores).values())
    if host is not None:
        times += _work_s([span for span in spans if span.device == host[0].name], *host).values()
    rates = {}
    if device.dram is not None:
        rates[device.dram.name] = device.dram.bandwidth_bytes_per_s
    if device.host is not None:
        rates[device.host.link.name] = device.host.link.bandwidth_bytes_per_s
    times += [size / rates[channel] for channel, size in unavoidable_bytes.items() if channel in rates]
    return max(times)


def naive_roofline_s(graph: Graph, device: Device, *, dtype: str, cores: int) -> float:
    """Direct MACs at peak, or every tensor once from DRAM, whichever is longer [s]."""
    compute = graph.macs / device.peak_macs_per_s(dtype, cores)
    if device.dram is None:
        return compute
    return max(compute, graph.once_bytes / device.dram.bandwidth_bytes_per_s)


def unavoidable_bytes(spans: Sequence[Span], lanes: Sequence[Lane], machine: Machine) -> dict[str, int]:
    """What must cross each channel in a step whatever the schedule, given what is on chip at its start.

    Weights that are not kept, each once for every lane (of a lookup table only the rows asked for); graph inputs and
    outputs where device memory is DRAM; and the transfers that the fallback to the host, ``--host`` or a cold start ask
    for (``spans`` are the step's).
    """
    total = dict.fromkeys((machine.local(channel) for channel in machine.channels), 0)
    weights, activations = machine.backing("weight"), machine.backing("activation")
    for lane in lanes:
        ops = [op for op in lane.graph.ops if runs_on(op, machine.device)]
        ends = {t.name for t in (*lane.graph.inputs, *lane.graph.outputs)}
        read = {t.name: 0 for op in ops for t in (*op.inputs, *op.outputs)}
        for op in ops:
            for tensor in op.inputs:
                read[tensor.name] = max(read[tensor.name], op.bytes_read(tensor))
            for tensor in op.outputs:
                read[tensor.name] = tensor.bytes
        if weights is not None:
            names = {t.name for op in ops for t in op.weights} - lane.plan.kept
            total[machine.local(weights)] += sum(read[name] for name in names)
        if activations is not None and machine.is_dram(activations):
            total[machine.local(activations)] += lane.chunks * sum(read[name] for name in ends if name in read)
    for span in spans:
        if span.kind == "transfer":
            link, size = span.channel_bytes[0]
            total[machine.local(link)] += size
    return total
