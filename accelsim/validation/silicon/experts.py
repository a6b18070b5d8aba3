"""How tokens fall on the experts of a mixture: what a benchmark's stated distribution says, without drawing any."""

from __future__ import annotations

import math
from dataclasses import dataclass

LARGEST = 0.8
"""Most of the tokens that the law gives to an expert before all are scaled to their sum (ASSUMED: as
aiconfigurator's collectors draw them)."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one of several devices has of a mixture of experts."""

    tokens: int
    """Rows of its products: a token counts once for each of its experts that is here."""
    experts: int
    """That get any token."""


def power_law(tokens: int, choices: int, experts: int, exponent: float) -> list[float]:
    """Tokens of each expert, most first: quantiles of ``p(x) ~ x ** -exponent`` between 1 and 0.8 ``tokens``, scaled.

    Each token chooses ``choices`` different experts, so that none has more than ``tokens``. The quantile function is
    that of Clauset, Shalizi and Newman, SIAM Review 51, 2009, with both ends cut off.

    >>> [round(x) for x in power_law(1000, 2, 4, 1.2)]
    [1000, 767, 176, 57]
    """
    top = max(2.0, LARGEST * tokens)
    span = top ** (1 - exponent) - 1
    drawn = [(1 + span * (i + 0.5) / experts) ** (1 / (1 - exponent)) for i in reversed(range(experts))]
    return _scaled(drawn, tokens * choices, tokens)


def _scaled(weights: list[float], total: float, most: float) -> list[float]:
    """Shares of a total in proportion to weights, none more than ``most``; weights are given largest first."""
    loads: list[float] = []
    left, remaining = total, sum(weights)
    for weight in weights:
        load = min(most, left * weight / remaining)
        loads.append(load)
        left, remaining = left - load, remaining - weight
    return loads


def share(
    tokens: int, choices: int, experts: int, devices: int, exponent: float | None, *, all_here: bool = False
) -> Share:
    """The share of the device with most tokens, of so many that the experts are dealt out to.

    ``exponent`` None: all experts get alike. ``all_here``: tokens choose among the experts of this device only.
    """
    local = max(1, experts // devices)
    if all_here:
        return share(tokens, min(choices, local), local, 1, exponent)
    loads = (
        [tokens * choices / experts] * experts if exponent is None else power_law(tokens, choices, experts, exponent)
    )
    mine = loads[::devices][:local]
    # With few tokens an expert may get none: as many as fall on it by chance are Poisson distributed.
    touched = sum(1 - math.exp(-load) if exponent is not None else min(1.0, load) for load in mine)
    rows = max(1, round(sum(mine)))
    return Share(rows, max(1, min(rows, round(touched))))
