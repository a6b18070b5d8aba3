"""Which suites there are: a module in ``suites`` is one, and needs no other registration."""

from __future__ import annotations

import pkgutil
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from accelsim.base.errors import InputError, nearest
from accelsim.validation import suites
from accelsim.validation.measured import VARIABLE, missing
from accelsim.validation.rows import Row, Suite


def suite_names() -> list[str]:
    """Names of all suites, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(suites.__path__))


def load_suite(name: str) -> Suite:
    """Import a suite by name; InputError suggests the nearest."""
    names = suite_names()
    if name not in names:
        raise InputError(f"suite {name!r}: unknown{nearest(name, names)}; want one of {', '.join(names)}")
    suite = import_module(f"{suites.__name__}.{name}").SUITE
    assert isinstance(suite, Suite)
    return suite


def run_suites(names: Sequence[str], data: Path) -> tuple[dict[str, list[Row]], list[str]]:
    """Rows by suite, and a line for each suite that lacks measured files and therefore did not run."""
    chosen = {name: load_suite(name) for name in names}
    ran: dict[str, list[Row]] = {}
    lacking = []
    for name, suite in chosen.items():
        absent = missing(data, suite.needs)
        if absent:
            lacking.append(
                f"suite {name}: wants {', '.join(absent)} in {data}; say where with --data DIR or ${VARIABLE}"
            )
        else:
            ran[name] = [*suite.rows(data if suite.needs else None)]
    return ran, lacking
