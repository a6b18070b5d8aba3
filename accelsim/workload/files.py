"""Files that hold a workload, before anything is made of them."""

from __future__ import annotations

from pathlib import Path
from stat import S_ISREG

from accelsim.base.errors import WorkloadError


def is_there(path: Path) -> bool:
    """Whether anything has this path; what cannot be a path has not."""
    try:
        path.stat()
    except (OSError, ValueError):
        return False
    return True


def content(path: Path, wanted: str) -> bytes:
    """Return what a file holds, or say why there is nothing: ``wanted`` names what it should be."""
    if not is_there(path):
        raise WorkloadError(f"{path}: no such file; want {wanted}")
    if path.is_dir():
        raise WorkloadError(f"{path}: a folder, not a file; want {wanted}")
    if not S_ISREG(path.stat().st_mode):
        raise WorkloadError(f"{path}: not a regular file; want {wanted}")
    try:
        return path.read_bytes()
    except OSError as error:
        raise WorkloadError(f"{path}: cannot be read: {error.strerror}; want {wanted}") from None
