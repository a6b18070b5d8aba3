"""On-chip memories at work: streams through their ports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from accelsim.hardware.device import Memory

Array = npt.NDArray[np.float64]
Number = TypeVar("Number", float, Array)
"""One value, or one for each tiling."""


class Traffic(NamedTuple):
    """Bytes of an operand that a memory gives to, and takes from, what is nearer to the unit."""

    memory: str
    operand: str
    read_bytes: int
    write_bytes: int


Amount = float | Array
"""One value, or one for each of many mappings."""


def largest(values: Sequence[Amount]) -> Amount:
    """The largest of numbers, or of arrays element by element; 0 of none."""
    found: Amount = 0.0
    for i, value in enumerate(values):
        lone = isinstance(found, float | int) and isinstance(value, float | int)
        found = value if i == 0 else max(found, value) if lone else np.maximum(found, value)
    return found


def busy_seconds(memory: Memory, reads: Sequence[Amount], writes: Sequence[Amount], cores: int) -> Amount:
    """Time that streams of so many bytes keep a memory busy, or the memories of all cores in use together [s].

    Streams share the ports and none uses two at a time, so the longest stream, or all of them over all ports, decides
    (McNaughton, Management Science 6, 1959: machines in parallel with preemption). Writes have a port of their own
    where the memory has a write bandwidth.
    """
    copies = cores if memory.scope == "core" else 1
    rate = memory.bandwidth_bytes_per_s * copies
    if memory.write_bandwidth_bytes_per_s is None:
        return _through_ports([*reads, *writes], memory.ports, rate)
    beside = sum(writes, start=0.0) / (memory.write_bandwidth_bytes_per_s * copies)
    return largest([_through_ports(reads, memory.ports, rate), beside])


def _through_ports(streams: Sequence[Amount], ports: int, rate: float) -> Amount:
    together = sum(streams, start=0.0) / (ports * rate)
    return together if ports == 1 else largest([together, *(stream / rate for stream in streams)])


def on_chip_seconds(traffic: Iterable[Traffic], memories: Mapping[str, Memory], cores: int) -> float:
    """Time that the busiest on-chip memory needs for its traffic [s]."""
    reads: dict[str, list[float]] = {}
    writes: dict[str, list[float]] = {}
    for t in traffic:
        reads.setdefault(t.memory, []).append(t.read_bytes)
        writes.setdefault(t.memory, []).append(t.write_bytes)
    busy = (busy_seconds(memories[name], reads[name], writes[name], cores) for name in reads)
    return float(largest([*busy]))
