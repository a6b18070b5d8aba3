"""A program: jobs in an order, what each holds and waits for."""

from __future__ import annotations

from dataclasses import dataclass

from accelsim.mapping.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A task with a place and a turn."""

    name: str
    """Unique in a program."""
    task: Task
    resource: str
    """What it holds while it runs: ``core0``, ``cores``, ``host``, ``pcie``, ..."""
    needs: tuple[str, ...]
    """Jobs that must have ended."""
    reads: tuple[str, ...] = ()
    """Those of them whose results it reads."""
    step: int
    replica: int
    prefetch_bytes: int = 0
    """Weights that may come early: at most the room that there is."""
    prefetch_during: str | None = None
    """The job whose start opens that room."""


@dataclass(frozen=True, slots=True)
class Program:
    """Jobs in an order in which they may be issued, and what the channels sustain [bytes/s]."""

    jobs: tuple[Job, ...]
    channels: dict[str, float]
    steps: int
