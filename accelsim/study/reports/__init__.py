"""Studies that leave a report: a kind is a module here, with a ``Spec`` (what its file may say) and ``findings``."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from pathlib import Path

from accelsim.analysis.findings import Findings
from accelsim.base.errors import ConfigError, InputError, nearest
from accelsim.base.resources import PACKAGE
from accelsim.hardware.files import read_toml, validate

FILE = "study.toml"
_HELPERS = frozenset({"common"})


def study_kinds() -> list[str]:
    """Kinds of study that there are."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in _HELPERS)


def study_file(name_or_path: str) -> Path:
    """The study file that is meant: a file, a folder that holds one, or a folder of the checkout's ``reports``.

    Raises ConfigError where there is none.
    """
    path = Path(name_or_path)
    shipped = PACKAGE.parent / "reports"
    for candidate in (path, path / FILE, shipped / name_or_path / FILE):
        if candidate.is_file():
            return candidate
    known = sorted(file.parent.name for file in shipped.glob(f"*/{FILE}")) if shipped.is_dir() else []
    here = f"; there are {', '.join(known)}" if known else ""
    raise ConfigError(
        f"study {name_or_path!r}: no such study{nearest(name_or_path, known)}; want a folder with {FILE}{here}"
    )


def run_study(file: Path) -> Findings:
    """Do what a study file says.

    Raises ConfigError with everything that is wrong in the file, and where nothing of it could be run.
    """
    data = read_toml(file, str(file))
    kind = data.pop("study", None)
    kinds = study_kinds()
    if kind not in kinds:
        said = "missing" if kind is None else f"got {kind!r}{nearest(str(kind), kinds)}"
        raise ConfigError(f"{file}: study: {said}; want one of {', '.join(kinds)}")
    module = import_module(f"{__name__}.{kind}")
    spec = validate(module.Spec, data, str(file))
    try:
        found = module.findings(spec)
    except InputError as error:
        raise ConfigError(*(f"{file}: {problem}" for problem in error.problems)) from None
    assert isinstance(found, Findings)
    return found
