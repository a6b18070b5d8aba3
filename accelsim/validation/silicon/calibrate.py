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

POLISH_STEP = 0.1
"""First step along a factor, as a share of the way between its limits."""


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
    polish: int = 0,
) -> Fit:
    """Fit factors that all ``devices`` share to ``rows``: least squares of log errors, far ones counting less.

    As times jump from tile to tile, ``polish`` further evaluations then try each factor alone, in ever smaller steps.
    ``progress`` hears the number of the evaluation and its mean absolute error [%]. Raises InputError without SciPy.
    """
    try:
        from scipy.optimize import least_squares  # heavy, and only calibration wants it
    except ImportError:
        raise InputError("fitting wants SciPy; want `pip install accelsim[calibrate]`") from None

    first = next(iter(devices.values()))
    before = {factor.path: factor_value(first, factor.path) for factor in factors}
    low, high = (np.array([getattr(factor, side) for factor in factors]) for side in ("low", "high"))
    calls = 0

    def values(unit: npt.NDArray[np.float64]) -> dict[str, float]:
        return dict(zip(before, (low + unit * (high - low)).tolist(), strict=True))

    def residuals(unit: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        nonlocal calls
        calls += 1
        errors = log_errors({name: with_factors(d, values(unit)) for name, d in devices.items()}, rows)
        progress(calls, _mape_pct(errors))
        return errors

    start = np.clip((np.array(list(before.values())) - low) / (high - low), 0.001, 0.999)
    found = least_squares(
        residuals, start, bounds=(0, 1), loss="soft_l1", f_scale=0.1, diff_step=STEP, max_nfev=most_calls
    )
    best = min((start, found.x), key=lambda unit: _loss(residuals(unit)))
    after = values(_polished(best, lambda unit: _loss(residuals(unit)), polish))
    was = log_errors(devices, rows)
    now = log_errors({name: with_factors(d, after) for name, d in devices.items()}, rows)
    return Fit(before, after, len(rows), _mape_pct(was), _mape_pct(now))


def error_pct(device: Device, rows: Sequence[Measurement]) -> float:
    """Mean absolute error of rows that one device ran, whatever they call it [%]."""
    return _mape_pct(log_errors({row.text("device"): device for row in rows}, rows))


def _loss(errors: npt.NDArray[np.float64]) -> float:
    """Mean absolute log error, far ones cut off: what is wrong for another reason should not draw the fit."""
    return float(np.minimum(np.abs(errors), 0.5).mean())


def _polished(
    start: npt.NDArray[np.float64], loss: Callable[[npt.NDArray[np.float64]], float], most_calls: int
) -> npt.NDArray[np.float64]:
    """The best that steps along one axis at a time find within [0, 1] (Hooke and Jeeves, JACM 1961)."""
    best, least = start, loss(start) if most_calls else 0.0
    step, calls = POLISH_STEP, 0
    while calls < most_calls and step > POLISH_STEP / 100:
        better = False
        for axis in range(len(best)):
            for side in (step, -step):
                tried = best.copy()
                tried[axis] = min(1.0, max(0.0, tried[axis] + side))
                calls += 1
                found = loss(tried)
                if found < least:
                    best, least, better = tried, found, True
                    break
        if not better:
            step /= 3
    return best


def _mape_pct(errors: npt.NDArray[np.float64]) -> float:
    return fmean(abs(math.expm1(error)) for error in errors.tolist()) * 100
