"""What happened, in rows: spans of time in which one resource was busy for one task."""

from __future__ import annotations

from dataclasses import dataclass

Operand = str
"""``input``, ``weight`` or ``output``; ``-`` for what belongs to none of them."""


@dataclass(frozen=True, slots=True)
class Count:
    """How often an action was done; energy is this times the energy per action.

    Actions: ``mac.int8``, ``add.fp32``, ``mul.fp32``, ``special.fp32`` (times); ``register`` and ``array``
    (bits moved through registers, and between PEs);
    ``core.cycle`` (of a GPU's cores that have blocks); ``dram.read``, ``unified_buffer.write`` (bytes of that memory);
    ``pcie.transfer`` (bytes over that link).
    """

    action: str
    operand: Operand
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One task on one resource, from ``start_ps`` to ``end_ps``."""

    name: str
    """The job: unique in a trace."""
    op: str
    """The workload's op that it serves."""
    kind: str
    """The op's kind, or ``transfer``."""
    device: str
    """The device (or host) whose energy table prices its counts."""
    resource: str
    """What was busy: ``core0``, ``cores``, ``host``, ``pcie``."""
    step: int
    replica: int
    start_ps: int
    end_ps: int
    macs: int
    """MACs executed."""
    dtype: str
    compute_cycles: int
    clock_hz: float
    bound: str
    """What limited it: ``compute``, ``dram``, ``sram``, ``link``, ``latency`` or ``host``."""
    counts: tuple[Count, ...]
    channel_bytes: tuple[tuple[str, int], ...]
    """Bytes over each shared channel, prefetched ones included."""
    prefetched_bytes: int = 0
    """Bytes of weights that had come before the span began."""
    energy_scale: float = 1.0
    """(V / V_nominal)**2 at the clock it ran at: what on-chip actions cost against the table."""
    tiling: str = ""
    """How its op was tiled, for people."""
    bounds_s: tuple[tuple[str, float], ...] = ()
    """Time that each resource alone would need [s]."""

    @property
    def duration_ps(self) -> int:
        """How long it lasted [ps]."""
        return self.end_ps - self.start_ps


@dataclass(frozen=True, slots=True)
class Trace:
    """All spans of a run, in the order of their start."""

    spans: tuple[Span, ...]

    @property
    def end_ps(self) -> int:
        """When the last span ended [ps]."""
        return max((span.end_ps for span in self.spans), default=0)
