"""A small sweep: the product of lists of options, on all cores of the machine where that pays."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from accelsim.analysis.result import Result
from accelsim.simulation import Options, simulate

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
    """Results in the order of the points, as they come; the second tells whether a pool of processes is worth it."""
    for point in sweep[:2]:
        before = time.perf_counter()
        yield point.run()
        each_s = time.perf_counter() - before
    left = sweep[2:]
    workers = min(os.cpu_count() or 1, len(left))
    if workers < 2 or each_s * len(left) * (1 - 1 / workers) < POOL_WORTH_S:
        for point in left:
            yield point.run()
        return
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(Point.run, left)
