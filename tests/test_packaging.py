"""What is built is what is needed: the files that ship are in the wheel and the sdist, and are found from both."""

import importlib.util
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PYPROJECT = ROOT / "pyproject.toml"
SHIPPED = ("hwconfigs", "workloads", "labs")

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("hatchling") is None, reason="hatchling is not installed"),
    pytest.mark.skipif(not PYPROJECT.is_file(), reason="not a checkout"),
]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """An sdist of the checkout, unpacked, and the wheel that is built from it, as pip would."""
    out = tmp_path_factory.mktemp("dist")
    build(ROOT, "sdist", out)
    (sdist,) = out.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(out, filter="data")
    (unpacked,) = (path for path in out.iterdir() if path.is_dir())
    build(unpacked, "wheel", out)
    (wheel,) = out.glob("*.whl")
    return unpacked, wheel


def build(source, kind, out):
    code = f"from hatchling.build import build_{kind} as build; print(build({str(out)!r}))"
    subprocess.run([sys.executable, "-c", code], cwd=source, check=True, capture_output=True)


def files(folder, *names):
    """Files of some folders, without what tools leave there."""
    return {
        path.relative_to(folder).as_posix()
        for name in names
        for path in (folder / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }


def test_the_sdist_has_everything_that_a_checkout_needs(built):
    unpacked, _ = built
    assert (
        files(ROOT, "accelsim", "tests", "docs", *SHIPPED) - files(unpacked, "accelsim", "tests", "docs", *SHIPPED)
        == set()
    )
    assert [
        name for name in ("README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff") if not (unpacked / name).is_file()
    ] == []


def test_the_wheel_has_the_code_and_every_shipped_file(built):
    _, wheel = built
    inside = set(zipfile.ZipFile(wheel).namelist())
    assert {f"accelsim/_data/{name}" for name in files(ROOT, *SHIPPED)} - inside == set()
    assert files(ROOT, "accelsim") - inside == set()
    assert "accelsim/py.typed" in inside
    assert [name for name in inside if name.startswith("tests/") or name.endswith("uv.lock")] == []


def test_an_installed_wheel_finds_its_own_files(built, tmp_path):
    _, wheel = built
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = f"from accelsim.base.resources import resource_dir; print(*map(resource_dir, {SHIPPED!r}), sep='\\n')"
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert run.stdout.splitlines() == [str(tmp_path / "accelsim" / "_data" / name) for name in SHIPPED]


def test_an_installed_wheel_runs(built, tmp_path):
    _, wheel = built
    zipfile.ZipFile(wheel).extractall(tmp_path)
    command = [sys.executable, "-m", "accelsim", "run", "tpu_v1", "tpu_v1_mlp0"]
    run = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")


def test_the_command_and_its_version_are_declared():
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"accelsim": "accelsim.cli:main"}
    assert f"## [{project['version']}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\nversion: {project['version']}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
