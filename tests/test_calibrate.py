"""`accelsim calibrate`: known factors are found again, half of the rows judge, and wrong input is named."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from accelsim.base.errors import InputError
from accelsim.cli import COMMANDS
from accelsim.cli.calibrate_command import command
from accelsim.hardware.device import Device
from accelsim.hardware.family import GpuFactors
from accelsim.hardware.files import read_toml, validate
from accelsim.hardware.loader import load_device
from accelsim.validation.silicon.calibrate import Factor, error_pct, factor_value, fit, with_factors
from accelsim.validation.silicon.declared import CLASSES, FEWEST_ROWS, SIMT, STREAM, TENSOR, rows_by_class
from accelsim.validation.silicon.fitting import calibrated, family_of, names_device
from accelsim.validation.silicon.predict import predicted_on, whole
from accelsim.validation.silicon.rows import Measurement

HEADER = "device,op,dtype,batch,M,N,K,rows,cols,latency_us,timing,source_repo"
SHAPES = [
    (m, n, k)
    for m in (1, 16, 128, 1000, 4096)
    for n, k in ((4096, 4096), (12288, 1024), (512, 2048), (8192, 8192), (1024, 6144))
]


def measured(device: Device, dtype: str = "fp16") -> list[Measurement]:
    """What a clock would show of products on ``device``."""
    rows = []
    for number, (m, n, k) in enumerate(SHAPES, 2):
        cells = {"device": device.name, "op": "gemm", "dtype": dtype, "M": str(m), "N": str(n), "K": str(k)}
        cells |= {"source_repo": "accelsim measure", "latency_us": "1"}
        ours = predicted_on(whole(device), Measurement(number, cells)).predicted_us
        rows.append(Measurement(number, cells | {"latency_us": f"{ours:.6g}"}))
    return rows


def csv_of(rows: list[Measurement], path: Path) -> Path:
    names = HEADER.split(",")
    path.write_text("\n".join([HEADER, *(",".join(row.cells.get(n, "") for n in names) for row in rows)]) + "\n")
    return path


@pytest.fixture(scope="module")
def a100() -> Device:
    return load_device("nvidia_a100_sxm_80gb")


@pytest.fixture(scope="module")
def slower(a100: Device) -> Device:
    """An A100 whose library issues less."""
    return with_factors(a100, {"tensor.issue": 0.7})


def test_a_known_factor_is_found_again(a100: Device, slower: Device) -> None:
    pytest.importorskip("scipy")
    rows = measured(slower)
    found = fit({a100.name: a100}, rows, [Factor("tensor.issue", 0.3, 1.0)], polish=40)
    assert found.after["tensor.issue"] == pytest.approx(0.7, rel=0.03)
    assert found.error_after_pct < 0.5 < found.error_before_pct


def test_the_other_half_judges(a100: Device, slower: Device) -> None:
    pytest.importorskip("scipy")
    fitted = calibrated(a100, measured(slower), most_calls=120)
    (one,) = fitted.classes
    assert one.kind == TENSOR.name
    assert (one.fitted_rows, one.judged_rows) == (13, 12)
    assert one.judged_after_pct < one.judged_before_pct
    assert error_pct(fitted.device, measured(slower)) < error_pct(a100, measured(slower))


def test_a_fit_never_leaves_the_limits(a100: Device, slower: Device) -> None:
    pytest.importorskip("scipy")
    fitted = calibrated(a100, measured(with_factors(slower, {"kernel.kernel_s": 2e-5})), most_calls=80)
    limits = {factor.path: factor for kind in CLASSES for factor in kind.factors}
    for path, value in fitted.classes[0].after.items():
        assert limits[path].low <= value <= limits[path].high


def test_every_declared_factor_stands_in_a_family() -> None:
    gpu, cpu = load_device("nvidia_h100_sxm_80gb"), load_device("xeon_8275cl")
    for kind in CLASSES:
        device = cpu if kind is CLASSES[-1] else gpu
        for factor in kind.factors:
            factor_value(device, factor.path)
            assert factor.low < factor.high


def test_rows_go_to_the_unit_that_runs_them(a100: Device) -> None:
    fp16, fp32 = measured(a100)[:1], measured(a100, "fp32")[:1]
    norm = Measurement(9, {"device": a100.name, "op": "softmax", "dtype": "fp32", "rows": "64", "cols": "64",
                           "latency_us": "5", "source_repo": "accelsim measure"})  # fmt: skip
    unknown = Measurement(10, {"device": a100.name, "op": "sorting", "dtype": "fp32", "latency_us": "5",
                               "source_repo": "accelsim measure"})  # fmt: skip
    found, lacking = rows_by_class(a100, [*fp32, norm, *fp16, unknown])
    assert found == {TENSOR: fp16, SIMT: fp32, STREAM: [norm]}
    assert lacking == {"op sorting": 1}


def test_the_family_file_can_be_read_and_says_on_what_it_was_fitted(
    a100: Device, slower: Device, tmp_path: Path
) -> None:
    pytest.importorskip("scipy")
    fitted = calibrated(a100, measured(slower), most_calls=60)
    text = family_of(fitted, "some/mine.csv", "2026-11-21")
    (tmp_path / "mine.toml").write_text(text)
    factors = validate(GpuFactors, read_toml(tmp_path / "mine.toml", "mine.toml"), "mine.toml")
    assert "fitted 2026-11-21 by accelsim calibrate on 13 rows of mine.csv" in factors.tensor.source
    assert factors.simt == a100.factors.simt
    assert factors.tensor.issue == pytest.approx(fitted.classes[0].after["tensor.issue"], rel=1e-5)
    assert text == family_of(fitted, "some/mine.csv", "2026-11-21")


def test_a_device_file_finds_a_family_beside_itself(a100: Device, tmp_path: Path) -> None:
    shipped = Path("hwconfigs/devices/nvidia_a100_sxm_80gb.toml")
    text = (Path(__file__).parents[1] / shipped).read_text()
    (tmp_path / "own.toml").write_text(text.replace('family = "ampere"', 'family = "mine"'))
    family = (Path(__file__).parents[1] / "hwconfigs/families/ampere.toml").read_text()
    (tmp_path / "mine.toml").write_text(family.replace("kernel_s = ", "kernel_s = 1", 1))
    own = load_device(tmp_path / "own.toml")
    assert own.factors.kernel.kernel_s == pytest.approx(10 * a100.factors.kernel.kernel_s, rel=1)
    assert own.factors.kernel.kernel_s > a100.factors.kernel.kernel_s


def test_command(slower: Device, tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    file = csv_of(measured(slower), tmp_path / "rows.csv")
    out = tmp_path / "mine.toml"
    result = CliRunner().invoke(command, [slower.name, str(file), "--calls", "60", "-o", str(out)])
    assert result.exit_code == 0, result.output
    assert "products on tensor cores" in result.output
    assert "tensor.issue" in result.output
    assert 'kind = "gpu"' in out.read_text()
    assert "calibrate" in COMMANDS


@pytest.mark.parametrize(
    ("device", "rows", "words"),
    [
        ("nvidia_l4", slice(None), ("no rows of nvidia_l4", "nvidia_a100_sxm_80gb")),
        ("nvidia_a100_sxm_80gb", slice(3), ("no rows to fit on", f"want at least {FEWEST_ROWS}")),
        ("no_such_device", slice(None), ("no_such_device",)),
    ],
)
def test_wrong_input_is_named(a100: Device, tmp_path: Path, device: str, rows: slice, words: tuple[str, ...]) -> None:
    file = csv_of(measured(a100)[rows], tmp_path / "rows.csv")
    result = CliRunner().invoke(command, [device, str(file)])
    assert result.exit_code != 0
    for word in words:
        assert word in str(result.exception)


def test_devices_without_a_family_are_refused(a100: Device) -> None:
    with pytest.raises(InputError, match="tpu_v1 has no factors"):
        rows_by_class(load_device("tpu_v1"), measured(a100))


def test_without_scipy_the_error_says_what_to_install(
    a100: Device, slower: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(InputError, match=r"pip install accelsim\[calibrate\]"):
        fit({a100.name: a100}, measured(slower), [Factor("tensor.issue", 0.3, 1.0)])


def test_rows_of_some_ops_and_formats_alone(a100: Device, tmp_path: Path) -> None:
    rows = measured(a100)[:20] + measured(a100, "fp32")[:20]
    file = csv_of(rows, tmp_path / "rows.csv")
    run = CliRunner()
    done = run.invoke(command, [a100.name, str(file), "--dtype", "fp16", "--calls", "1"], catch_exceptions=False)
    assert TENSOR.name in done.output
    assert SIMT.name not in done.output
    refused = run.invoke(command, [a100.name, str(file), "--dtype", "int8", "--op", "gemm,bmm"])
    assert "no rows of nvidia_a100_sxm_80gb and op gemm, bmm and dtype int8" in str(refused.exception)


def test_names_are_matched_however_they_are_spelt(a100: Device) -> None:
    assert names_device(a100, "NVIDIA A100-SXM4-80GB")
    assert not names_device(a100, "NVIDIA A100-PCIe-80GB")
