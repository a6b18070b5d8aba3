"""Two rooflines: the one that nothing beats, and the one that a reader draws by hand (Williams et al., CACM 2009)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from accelsim.hardware.device import Device
from accelsim.trace import Span
from accelsim.workload.graph import Graph
from accelsim.workload.ops import Op


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
        "vector": sum(n / vector.rate(dtype) for dtype, n in plain.items()) / (vector.freq_hz * cores),
        "special": special / (vector.special_per_cycle * vector.freq_hz * cores),
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
    read = {(op.name, t.name): op.bytes_read(t) for op in graph.ops for t in op.inputs}
    once: dict[str, int] = {}
    for (_, tensor), size in read.items():
        once[tensor] = max(once.get(tensor, 0), size)
    for tensor in graph.producer:
        once.setdefault(tensor, graph.tensors[tensor].bytes)
    return max(compute, sum(once.values()) / device.dram.bandwidth_bytes_per_s)


def weight_bytes_read(ops: Iterable[Op], *, without: frozenset[str] = frozenset()) -> int:
    """Weights that must be read in a step, each once; of a lookup table only the rows asked for."""
    read: dict[str, int] = {}
    for op in ops:
        for tensor in op.weights:
            if tensor.name not in without:
                read[tensor.name] = max(read.get(tensor.name, 0), op.bytes_read(tensor))
    return sum(read.values())
