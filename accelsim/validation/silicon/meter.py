"""What a power meter shows of a kernel that was run in a loop.

NVML's power of Ampere and later (but GA100) is a running mean over a second (``nvmlDeviceGetPowerUsage``). A loop
that is over before that shows a part of the kernel's own power, and for the rest what the device did before: setting
the case up, and the loops of the cases that came before it in the sweep.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from accelsim.hardware.part import Count, Flag, Part, Positive, Text
from accelsim.validation.silicon.rows import Measurement

Counts = Annotated[tuple[Count, ...], Field(min_length=1, description="a list of whole numbers")]
Case = tuple[int, int, str]
"""Items, keys of each and formats of a kernel in a sweep."""


@dataclass(frozen=True, slots=True)
class Loop:
    """A kernel that runs again and again."""

    run_s: float
    power_w: float


class Sweep(Part):
    """The cases of one shape of heads, in the order in which they were measured."""

    outer: Literal["batch", "length"]
    """What changes last; formats change first."""
    batch: Counts
    length: Counts
    """Keys of each item (and queries, of a prefill)."""
    dtype: Annotated[tuple[Text, ...], Field(min_length=1, description="a list of texts")]
    most_tokens: Count
    """Of all items (times heads with ``of_heads``); a case with more was left out."""
    most_tokens_own: Count
    """The same where each head has keys of its own."""
    of_heads: Flag = False
    most_batch_own: Count | None = None
    """Items where each head has keys of its own."""
    most_elements: Count | None = None
    """Of keys and values together."""
    fewest_batches: Count = 1
    """A length that fewer batches fit with was left out."""
    longest_below: Count | None = None
    """A batch of so many items or more went without the longest that fits."""

    def cases(self, row: Measurement) -> Sequence[Case]:
        """All of the heads that a row has."""
        fitting = {length: [b for b in self.batch if self._fits(row, b, length)] for length in self.length}
        kept = [length for length, batches in fitting.items() if len(batches) >= self.fewest_batches]
        pairs = (
            [(b, length) for b in self.batch for length in self._lengths(b, kept, fitting)]
            if self.outer == "batch"
            else [(b, length) for length in kept for b in fitting[length]]
        )
        return [(b, length, dtype) for b, length in pairs for dtype in self.dtype]

    def _fits(self, row: Measurement, batch: int, length: int) -> bool:
        heads, kv_heads = row.whole("heads"), row.whole("kv_heads")
        own = heads == kv_heads
        tokens = batch * length
        if own and self.most_batch_own is not None and batch > self.most_batch_own:
            return False
        if self.most_elements is not None and 2 * tokens * kv_heads * row.whole("head_dim") > self.most_elements:
            return False
        return tokens * (heads if self.of_heads else 1) <= (self.most_tokens_own if own else self.most_tokens)

    def _lengths(self, batch: int, kept: Sequence[int], fitting: Mapping[int, Sequence[int]]) -> Sequence[int]:
        own = [length for length in kept if batch in fitting[length]]
        return own[:-1] if self.longest_below is not None and batch >= self.longest_below else own


class Meter(Part):
    """How power was read while a kernel ran in a loop."""

    window_s: Positive
    """The reading is the mean over this long [s]."""
    sample_s: Positive
    """The first reading is at the loop's start, others follow at this distance; their mean was noted [s]."""
    loop_s: Positive
    """A loop has runs enough to last so long [s] ..."""
    fewest_runs: Count
    most_runs: Count
    setup_s: Positive
    """From one loop's end to the start of the next one, next to nothing being done [s]."""
    sweep_s: Positive
    """Of the sweep before a case, what the windows of all devices hold that took its cases in turns [s]."""
    sweeps: dict[str, Sweep]
    """By a row's ``op``."""

    def lasts_s(self, run_s: float) -> float:
        """A loop of runs of such a length."""
        return run_s * min(self.most_runs, max(self.fewest_runs, math.floor(self.loop_s / run_s) + 1))

    def shown_w(self, row: Measurement, loop: Loop, static_w: float, kernel: Callable[[Measurement], Loop]) -> float:
        """What the meter shows of a row's loop; ``kernel`` says it of the cases before it."""
        before_w = self._before_w(row, loop, static_w, kernel)
        samples = math.floor(self.lasts_s(loop.run_s) / self.sample_s) + 1
        within = min(samples, math.ceil(self.window_s / self.sample_s))
        shown = (samples - within) * loop.power_w
        for sample in range(within):
            own_s = sample * self.sample_s
            setup_s = min(self.setup_s, self.window_s - own_s)
            rest_s = self.window_s - own_s - setup_s
            shown += (own_s * loop.power_w + setup_s * static_w + rest_s * before_w) / self.window_s
        return shown / samples

    def _before_w(self, row: Measurement, loop: Loop, static_w: float, kernel: Callable[[Measurement], Loop]) -> float:
        """Mean power of what came before a case was set up: cases of its sweep, which begins again with other heads.

        A row that is in no sweep had loops like itself before it.
        """
        sweep = self.sweeps.get(row.text("op"))
        own = (row.whole("batch"), row.whole("kv_len"), row.text("dtype"))
        cases = sweep.cases(row) if sweep else []
        place = cases.index(own) if own in cases else 0
        spent_s = energy_j = 0.0
        for case in [*reversed(cases[:place]), *reversed(cases[place:])] if own in cases else []:
            one = kernel(_at(row, case))
            lasts_s = self.lasts_s(one.run_s)
            share = min(1.0, (self.sweep_s - spent_s) / (lasts_s + self.setup_s))
            spent_s += share * (lasts_s + self.setup_s)
            energy_j += share * (lasts_s * one.power_w + self.setup_s * static_w)
            if share < 1:
                break
        if not spent_s:
            lasts_s = self.lasts_s(loop.run_s)
            spent_s, energy_j = lasts_s + self.setup_s, lasts_s * loop.power_w + self.setup_s * static_w
        return energy_j / spent_s


def _at(row: Measurement, case: Case) -> Measurement:
    """The row with a case's sizes."""
    batch, length, dtype = case
    sizes = {"batch": str(batch), "kv_len": str(length), "dtype": dtype}
    if row.text("q_len") == row.text("kv_len"):
        sizes["q_len"] = str(length)
    return Measurement(row.number, {**row.cells, **sizes})
