"""A mapped op: how long it takes alone on the machine, what it moves and what it does."""

from __future__ import annotations

from dataclasses import dataclass

from accelsim.trace import Count


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an op's operands are: the channel that each comes or goes over, or None where it is on chip.

    ``sources`` has an entry for each of the op's inputs, ``sink`` is its output's. ``free_bytes`` is, for each on-chip
    memory, what is left in it for the op's own tiles.
    """

    sources: tuple[str | None, ...]
    sink: str | None
    free_bytes: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """An op on a device, pure and timeless: the engine gives it a start.

    ``duration_ps`` holds alone on the machine with nothing fetched before; with ``p`` bytes of its weights already on
    chip it takes ``max(resident_ps, duration_ps - p / bandwidth)``.
    """

    op: str
    kind: str
    device: str
    unit: str
    """``matrix``, ``vector`` or ``link``."""
    dtype: str
    duration_ps: int
    resident_ps: int
    launch_ps: int
    """Part of it before anything moves or computes."""
    prefetch_channel: str | None
    prefetch_bytes: int
    """Weights that could come before it starts, room allowing."""
    channel_bytes: tuple[tuple[str, int], ...]
    """Bytes over each shared channel, prefetchable ones included."""
    macs: int
    compute_cycles: int
    clock_hz: float
    energy_scale: float
    bound: str
    bounds_s: tuple[tuple[str, float], ...]
    """Time that each resource alone would need [s]."""
    counts: tuple[Count, ...]
    tiling: str
    """How it was tiled, for people."""
    kernels: int = 1
    """That it became, on a device that runs kernels."""
    result_ps: int = 0
    """From its end until its result can be read."""
    by_item: bool = False
    """Whether its result leaves item by item: several items, each of more than one row."""

    def wait_ps(self, reader: Task) -> int:
        """How long after its end a task that reads its result may start [ps].

        Where both go item by item, the first items have long been there.
        """
        return 0 if self.by_item and reader.by_item else self.result_ps
