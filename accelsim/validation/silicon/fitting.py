"""A device's factors fitted to measured kernels, class by class, and judged on rows that were not used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from accelsim.base.errors import InputError
from accelsim.hardware.device import Device
from accelsim.hardware.family import GpuFactors
from accelsim.validation.silicon.calibrate import error_pct, fit, halves, with_factors
from accelsim.validation.silicon.declared import FEWEST_ROWS, fittable, rows_by_class
from accelsim.validation.silicon.family_file import family_text
from accelsim.validation.silicon.predict import plain
from accelsim.validation.silicon.rows import Measurement

ROWS_A_FACTOR = 3
"""Rows of the fitted half that a factor wants; with fewer rows the last of a class's factors stay as they are."""


@dataclass(frozen=True, slots=True)
class ClassFit:
    """What became of a class of kernels; errors are mean absolute ones [%]."""

    kind: str
    before: Mapping[str, float]
    after: Mapping[str, float]
    fitted_rows: int
    judged_rows: int
    fitted_before_pct: float
    fitted_after_pct: float
    judged_before_pct: float
    judged_after_pct: float


@dataclass(frozen=True, slots=True)
class Fitted:
    """A device with fitted factors."""

    device: Device
    classes: tuple[ClassFit, ...]
    notes: tuple[str, ...]
    """What was not fitted, and why."""


def names_device(device: Device, name: str) -> bool:
    """Whether a measured file's ``name`` is this device's, however it is spelt."""
    return plain(name) in {plain(device.name), *map(plain, device.aliases)}


def calibrated(
    device: Device,
    rows: Sequence[Measurement],
    *,
    most_calls: int = 400,
    progress: Callable[[str, int, float], None] = lambda kind, calls, error_pct: None,
) -> Fitted:
    """Fit each class of kernels that has rows enough, on one half of them; the other half judges.

    ``progress`` hears the class, the evaluation and its error [%]. Raises InputError where no class has rows enough.
    """
    by_class, lacking = rows_by_class(device, rows)
    notes = [f"not modelled, {count} rows: {why}" for why, count in lacking.items()]
    classes: list[ClassFit] = []
    for kind, own in by_class.items():
        if len(own) < FEWEST_ROWS:
            notes.append(f"not fitted: {kind.name}, {len(own)} rows; want at least {FEWEST_ROWS}")
            continue
        one, other = halves(own)
        factors = fittable(device, kind)[: max(1, len(one) // ROWS_A_FACTOR)]
        judged_before = error_pct(device, other)
        found = fit(
            {row.text("device"): device for row in own},
            one,
            factors,
            progress=lambda calls, error, kind=kind: progress(kind.name, calls, error),  # type: ignore[misc]
            most_calls=max(1, most_calls // (4 * (len(factors) + 1))),
            polish=most_calls // 2,
        )
        device = with_factors(device, found.after)
        classes.append(
            ClassFit(
                kind.name,
                found.before,
                found.after,
                len(one),
                len(other),
                found.error_before_pct,
                found.error_after_pct,
                judged_before,
                error_pct(device, other),
            )
        )
    if not classes:
        raise InputError("no rows to fit on", *notes)
    return Fitted(device, tuple(classes), tuple(notes))


def family_of(fitted: Fitted, file: str, date: str) -> str:
    """The text of a family file with the fitted factors."""
    sources: dict[str, str] = {}
    for one in fitted.classes:
        section = next(iter(one.after)).partition(".")[0] if isinstance(fitted.device.factors, GpuFactors) else ""
        sources[section] = (
            f"{', '.join(path.rpartition('.')[2] for path in one.after)} fitted {date} by accelsim calibrate on "
            f"{one.fitted_rows} rows of {Path(file).name} ({one.kind}, one half): error {one.fitted_before_pct:.1f} -> "
            f"{one.fitted_after_pct:.1f} %; judged on the other {one.judged_rows}: {one.judged_before_pct:.1f} -> "
            f"{one.judged_after_pct:.1f} %; the others as before"
        )
    about = [f"Factors of {fitted.device.name}, fitted {date} by accelsim calibrate on {Path(file).name}."]
    return family_text(fitted.device, sources, about)
