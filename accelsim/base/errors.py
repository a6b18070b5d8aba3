"""What can go wrong, in one small tree.

::

    AccelsimError
    ├── InputError          what a person wrote is wrong: exit status 2
    │   ├── ConfigError     a device, energy or study file, or an override of one
    │   ├── WorkloadError   a workload file, name or parameter
    │   └── MappingError    this workload does not go on this device
    └── LimitError      a limit that the user asserted does not hold: exit status 1
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence


class AccelsimError(Exception):
    """The root of all errors that accelsim raises on purpose."""


class InputError(AccelsimError):
    """Wrong input; ``problems`` has one line for each thing that is wrong."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class ConfigError(InputError):
    """A device, energy or study file is wrong, or a value that overrides one."""


class WorkloadError(InputError):
    """A workload's file, name or parameter is wrong."""


class MappingError(InputError):
    """A workload cannot run on a device."""


class LimitError(AccelsimError):
    """A limit that the user asserted does not hold."""


MOST_PROBLEMS = 20
"""Of one kind that one message names."""


def capped(problems: Sequence[str], more: str = "... and {} more") -> list[str]:
    """The first of many problems, and how many others there are."""
    left = len(problems) - MOST_PROBLEMS
    return [*problems[:MOST_PROBLEMS], *([more.format(left)] if left > 0 else [])]


def shortened(text: str) -> str:
    """A text, cut where it is long."""
    return text if len(text) <= 60 else text[:57] + "..."


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known word nearest to ``word``, or ``""``.

    >>> nearest("bandwith", ["bandwidth", "capacity"])
    "; did you mean 'bandwidth'?"
    """
    matches = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""


_MOST_MEANT = 6


def meant(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean ...?"`` with the known names that hold all words of ``name``, else ``nearest``'s.

    >>> meant("a100", ["nvidia_a100_40gb", "nvidia_a100_80gb", "nvidia_t4"])
    "; did you mean 'nvidia_a100_40gb' or 'nvidia_a100_80gb'?"
    >>> meant("nvidia_t5", ["nvidia_a100_40gb", "nvidia_a100_80gb", "nvidia_t4"])
    "; did you mean 'nvidia_t4'?"
    """
    known = list(known)
    words = set(re.findall("[a-z0-9]+", name.lower()))
    whole = [one for one in known if words <= set(one.split("_"))]
    held = whole or [one for one in known if all(word in one for word in words)]
    if not words or not 0 < len(held) <= _MOST_MEANT:
        return nearest(name, held or known) or nearest(name, known)
    *first, last = map(repr, held)
    return f"; did you mean {', '.join(first)}{' or ' if first else ''}{last}?"
