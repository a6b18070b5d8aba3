"""How long a call takes: warm-up, samples of many calls each, their median and spread."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import quantiles
from time import perf_counter, process_time
from typing import Literal


@dataclass(frozen=True, slots=True)
class Budget:
    """How much time a case may take."""

    seconds: float
    """For all of its samples."""
    sample_s: float = 2e-3
    """A sample is at least this long, so that the clock's own cost does not show."""
    fewest: int = 5
    """Samples, however long they take."""
    most: int = 25
    take: Literal["median", "least"] = "median"
    """Which of the samples is the result."""
    clock: Literal["wall", "cpu"] = "wall"
    """``cpu``: the process's own time, which leaves out what other work takes from it; for one thread."""

    @property
    def timing(self) -> str:
        """In words."""
        clock = "time.perf_counter" if self.clock == "wall" else "time.process_time"
        return f"{self.take} of samples of back-to-back calls after a warm-up, {clock}"


@dataclass(frozen=True, slots=True)
class Timing:
    """What was measured of one call [s]."""

    taken_s: float
    """The median or the least, as the budget says."""
    median_s: float
    least_s: float
    spread: float
    """Distance of the quartiles over the median."""
    samples: int
    calls: int
    """In a sample."""


def time_call(
    call: Callable[[], object],
    budget: Budget,
    *,
    wait: Callable[[], object] = lambda: None,
    clock: Callable[[], float] | None = None,
) -> Timing:
    """Time ``call``; ``wait`` returns when all that was called is done (a GPU's queue)."""
    now = clock or (perf_counter if budget.clock == "wall" else process_time)

    def sample(calls: int) -> float:
        started = now()
        for _ in range(calls):
            call()
        wait()
        return (now() - started) / calls

    call()
    wait()
    once = max(min(sample(1), sample(1)), 1e-9)
    calls = max(1, math.ceil(budget.sample_s / once))
    # What a first estimate was too slow for (a clock that was still rising) is asked again.
    once = max(sample(calls), 1e-9)
    calls = max(1, math.ceil(budget.sample_s / once))
    samples = min(budget.most, max(budget.fewest, int(budget.seconds / (once * calls))))
    times = [sample(calls) for _ in range(samples)]
    low, middle, high = quantiles(times, n=4) if len(times) > 1 else [times[0]] * 3
    taken = min(times) if budget.take == "least" else middle
    return Timing(taken, middle, min(times), (high - low) / middle, samples, calls)
