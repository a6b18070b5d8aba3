"""Fit a family's named factors to measured kernels: few numbers, each with a meaning, never one for a shape."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import numpy.typing as npt

from accelsim.base.errors import InputError
from accelsim.hardware.device import Device
from accelsim.mapping import Machine
from accelsim.validation.silicon.build import UnmodelledError
from accelsim.validation.silicon.predict import predicted_on, whole
from accelsim.validation.silicon.rows import Measurement

STEP = 0.03
"""Relative step of a derivative: kernels' times jump from tile to tile, and smaller steps would see only that."""


@dataclass(frozen=True, slots=True)
class Factor:
    """A number to fit: its path below ``factors`` and the limits that physics sets it."""

    path: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Fit:
    """Factors before and after, and the mean absolute error of the rows that were fitted [%]."""

    before: Mapping[str, float]
    after: Mapping[str, float]
    rows: int
    error_before_pct: float
    error_after_pct: float


def halves(rows: Sequence[Measurement]) -> tuple[list[Measurement], list[Measurement]]:
    """Two halves, row by row in turn within each device, op and format: one to fit on, one to judge on."""
    taken: dict[tuple[str, str, str], int] = {}
    parts: tuple[list[Measurement], list[Measurement]] = ([], [])
    for row in rows:
        key = (row.text("device"), row.text("op"), row.text("dtype"))
        taken[key] = taken.get(key, -1) + 1
        parts[taken[key] % 2].append(row)
    return parts


def factor_value(device: Device, path: str) -> float:
    """A factor of a device by its path, as ``tensor.issue``. Raises InputError where there is no such number."""
    part: object = device.factors
    for name in path.split("."):
        part = part.get(name) if isinstance(part, Mapping) else getattr(part, name, None)
    if not isinstance(part, int | float) or isinstance(part, bool):
        raise InputError(f"factor {path!r}: {device.name} has no such number in its factors")
    return float(part)


def with_factors(device: Device, values: Mapping[str, float]) -> Device:
    """The device with factors set."""
    assert device.factors is not None
    data = device.factors.model_dump()
    for path, value in values.items():
        *inner, last = path.split(".")
        part = data
        for name in inner:
            part = part[name]
        part[last] = value
    return device.model_copy(update={"factors": type(device.factors).model_validate(data)})


def log_errors(devices: Mapping[str, Device], rows: Sequence[Measurement]) -> npt.NDArray[np.float64]:
    """``log(ours / measured)`` of each row; ``devices`` by the name that the rows call them.

    Raises InputError where a row has no model: choose rows first.
    """
    machines: dict[str, Machine] = {name: whole(device) for name, device in devices.items()}
    errors = []
    for row in rows:
        try:
            ours = predicted_on(machines[row.text("device")], row)
        except UnmodelledError as error:
            raise InputError(f"line {row.number}: not modelled: {error}") from None
        errors.append(math.log(ours.predicted_us / row.latency_us))
    return np.array(errors)


def fit(
    devices: Mapping[str, Device],
    rows: Sequence[Measurement],
    factors: Sequence[Factor],
    *,
    progress: Callable[[int, float], None] = lambda calls, error_pct: None,
    most_calls: int = 60,
) -> Fit:
    """Fit factors that all ``devices`` share to ``rows``: least squares of log errors, far ones counting less.

    ``progress`` hears the number of the evaluation and its mean absolute error [%].
    """
    from scipy.optimize import least_squares  # heavy, and only calibration wants it

    first = next(iter(devices.values()))
    before = {factor.path: factor_value(first, factor.path) for factor in factors}
    low, high = (np.array([getattr(factor, side) for factor in factors]) for side in ("low", "high"))
    calls = 0

    def residuals(unit: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        nonlocal calls
        calls += 1
        values = dict(zip(before, (low + unit * (high - low)).tolist(), strict=True))
        errors = log_errors({name: with_factors(d, values) for name, d in devices.items()}, rows)
        progress(calls, _mape_pct(errors))
        return errors

    start = np.clip((np.array(list(before.values())) - low) / (high - low), 0.001, 0.999)
    found = least_squares(
        residuals, start, bounds=(0, 1), loss="soft_l1", f_scale=0.1, diff_step=STEP, max_nfev=most_calls
    )
    after = dict(zip(before, (low + found.x * (high - low)).tolist(), strict=True))
    was = log_errors(devices, rows)
    now = log_errors({name: with_factors(d, after) for name, d in devices.items()}, rows)
    return Fit(before, after, len(rows), _mape_pct(was), _mape_pct(now))


def _mape_pct(errors: npt.NDArray[np.float64]) -> float:
    return fmean(abs(math.expm1(error)) for error in errors.tolist()) * 100
