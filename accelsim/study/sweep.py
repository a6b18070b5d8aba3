"""A small sweep: the product of lists of options, on all cores of the machine where that pays."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, TypeVar

from accelsim.analysis.result import Result
from accelsim.simulation import Options, simulate

In = TypeVar("In")
Out = TypeVar("Out")

POOL_WORTH_S = 4.0
"""A pool of processes costs about this much to warm up; shorter sweeps run in this one."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One run of a sweep."""

    device: str
    workload: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, int] = field(default_factory=dict)
    options: Options = field(default_factory=Options)

    def run(self) -> Result:
        """Simulate it."""
        return simulate(self.device, self.workload, overrides=self.overrides, params=self.params, options=self.options)


def points(
    base: Point,
    options: Mapping[str, Sequence[Any]],
    overrides: Mapping[str, Sequence[Any]],
    params: Mapping[str, Sequence[int]],
) -> list[Point]:
    """Every combination of the lists; the last list varies fastest."""
    option_names, override_names, param_names = [*options], [*overrides], [*params]
    combined = []
    for values in product(*overrides.values(), *params.values(), *options.values()):
        first, rest = values[: len(override_names)], values[len(override_names) :]
        second, third = rest[: len(param_names)], rest[len(param_names) :]
        combined.append(
            replace(
                base,
                overrides={**base.overrides, **dict(zip(override_names, first, strict=True))},
                params={**base.params, **dict(zip(param_names, second, strict=True))},
                options=replace(base.options, **dict(zip(option_names, third, strict=True))),
            )
        )
    return combined


def run_points(sweep: Sequence[Point]) -> Iterator[Result]:
    """Results in the order of the points, as they come."""
    return in_parallel(Point.run, sweep)


def in_parallel(work: Callable[[In], Out], items: Sequence[In]) -> Iterator[Out]:
    """``work`` of every item, in their order; the second one tells whether a pool of processes is worth it."""
    each_s = 0.0
    for item in items[:2]:
        before = time.perf_counter()
        yield work(item)
        each_s = time.perf_counter() - before
    left = items[2:]
    workers = min(os.cpu_count() or 1, len(left))
    if workers < 2 or each_s * len(left) * (1 - 1 / workers) < POOL_WORTH_S:
        yield from map(work, left)
        return
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(work, left)
