"""The shipped devices against what is published about them, and a device's own arithmetic."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest

from accelsim.base.errors import MappingError
from accelsim.base.resources import resource_dir
from accelsim.hardware import device as device_module
from accelsim.hardware.device import Device, Function, OpKind
from accelsim.hardware.loader import device_names, load_device
from accelsim.hardware.part import Part
from accelsim.simulation import precision_for
from accelsim.workload import ops

SHIPPED = tuple(device_names())


def tops(device: Device, dtype: str) -> float:
    """Peak in units of 1e12 operations a second, two to a MAC."""
    return 2 * device.peak_macs_per_s(dtype) / 1e12


def test_the_first_devices_ship() -> None:
    assert {"aws_inferentia1", "nvidia_t4", "tpu_v1", "xeon_8275cl", "xeon_e5_2699v3"} <= {*SHIPPED}


@pytest.mark.parametrize("name", SHIPPED)
def test_file_and_device_have_one_name(name: str) -> None:
    assert load_device(name).name == name


# TPU v1: Jouppi et al., ISCA 2017. Numbers are the paper's, not ours.


def test_tpu_v1_peak_throughput_abstract() -> None:
    assert tops(load_device("tpu_v1"), "int8") == pytest.approx(92, rel=0.005)  # printed: "92"


def test_tpu_v1_16_bit_products_run_at_quarter_speed() -> None:
    device = load_device("tpu_v1")
    assert device.peak_macs_per_s("int16") == device.peak_macs_per_s("int8") / 4


def test_tpu_v1_ridge_point_figure_5() -> None:
    """The paper counts MACs per byte of weights: about 1350."""
    device = load_device("tpu_v1")
    assert device.dram is not None
    assert device.peak_macs_per_s("int8") / device.dram.bandwidth_bytes_per_s == pytest.approx(1350, rel=0.005)


def test_tpu_v1_table_2() -> None:
    device = load_device("tpu_v1")
    on_chip = sum(m.capacity_bytes for m in device.memory if m.kind == "sram")
    assert on_chip / 2**20 == pytest.approx(28, rel=0.01)  # the FIFO's 0.25 MiB are not in the paper's 28
    assert (device.power.tdp_w, device.power.static_w, device.process_nm) == (75, 28, 28)
    assert device.memory_named("dram").bandwidth_bytes_per_s == 34e9


def test_tpu_v1_tile_loads_in_1349_cycles() -> None:
    """64 KiB over 34 GB/s is 1.93 us, 1349 cycles, against 256 to shift it in (sec. 2)."""
    device = load_device("tpu_v1")
    assert 65536 / device.memory_named("dram").bandwidth_bytes_per_s * 700e6 == pytest.approx(1349, rel=1e-3)
    assert 65536 / device.memory_named("weight_fifo").bandwidth_bytes_per_s * 700e6 == pytest.approx(256)


def test_tpu_v1_lacks_what_bert_needs() -> None:
    limits = load_device("tpu_v1").limits
    assert limits is not None
    assert not {"softmax", "norm", "gather"}.intersection(limits.ops or ())
    assert not {"gelu", "erf", "exp", "div", "sqrt"}.intersection(limits.functions or ())
    assert {"relu", "sigmoid", "tanh"}.issubset(limits.functions or ())


def test_haswell_table_2() -> None:
    device = load_device("xeon_e5_2699v3")
    assert tops(device, "fp32") == pytest.approx(1.3, rel=0.02)  # printed: "1.3"
    assert tops(device, "int8") == pytest.approx(2.6, rel=0.02)  # printed: "2.6"
    assert device.memory_named("dram").bandwidth_bytes_per_s == 51e9
    caches = sum(m.capacity_bytes * (18 if m.scope == "core" else 1) for m in device.memory if m.kind == "sram")
    assert caches / 2**20 == pytest.approx(51, rel=0.03)  # 50.1; the rest are instruction caches


@pytest.mark.parametrize(("dtype", "published"), [("fp32", 8.1), ("fp16", 65), ("int8", 130), ("int4", 260)])
def test_t4_peaks(dtype: str, published: float) -> None:
    assert tops(load_device("nvidia_t4"), dtype) == pytest.approx(published, rel=0.006)  # printed to two digits


@pytest.mark.parametrize(("dtype", "published"), [("fp16", 64), ("bf16", 64), ("int8", 128)])
def test_inferentia_peaks(dtype: str, published: float) -> None:
    device = load_device("aws_inferentia1")
    assert tops(device, dtype) == pytest.approx(published)
    assert 2 * device.peak_macs_per_s(dtype, cores=1) / 1e12 == pytest.approx(published / 4)


def test_int8_of_inferentia_is_a_switch() -> None:
    """AWS Neuron: the units multiply INT8, the compiler does not offer it."""
    device = load_device("aws_inferentia1")
    with pytest.raises(MappingError, match="compiler does not offer it"):
        precision_for(device, "int8")
    lifted = load_device("aws_inferentia1", {"limits.compiler_lacks": "none"})
    assert precision_for(lifted, "int8") == ("int8", [])


def test_xeon_peak() -> None:
    """192 GFLOPS a core at 3 GHz, 24 cores."""
    assert tops(load_device("xeon_8275cl"), "fp32") == pytest.approx(4.6, rel=0.005)


def test_formats_that_are_lacking_are_cast_as_the_compilers_do() -> None:
    assert load_device("aws_inferentia1").autocast["fp32"] == "bf16"
    assert load_device("xeon_8275cl").autocast == {"fp16": "fp32", "bf16": "fp32", "tf32": "fp32"}
    assert load_device("nvidia_t4").autocast == {}


def sections(value: Any, path: str = "") -> list[tuple[str, dict[str, Any]]]:
    """All sections of a device file that hold a number, with their paths."""
    found = []
    if isinstance(value, dict):
        if any(isinstance(item, int | float) and not isinstance(item, bool) for item in value.values()):
            found.append((path, value))
        for key, item in value.items():
            found += sections(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += sections(item, f"{path}[{index}]")
    return found


def test_every_number_of_every_device_has_a_source() -> None:
    for path in (resource_dir("hwconfigs") / "devices").glob("*.toml"):
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        for place, section in sections(data):
            inline = "source" not in section  # a table of rates or loops: its section's source speaks for it
            tables = ("_per_cycle", "_per_cell", "_per_core", "_per_mac", ".rows", ".cols")
            assert inline == place.endswith(tables), (path.name, place)
            assert inline or len(section["source"]) > 5, (path.name, place)


def test_ops_and_functions_are_the_workloads() -> None:
    kinds = {c.kind for c in vars(ops).values() if isinstance(c, type) and issubclass(c, ops.Op) and c is not ops.Op}
    assert set(get_args(OpKind)) == kinds
    assert set(get_args(Function)) == set(ops.FUNCTIONS)


def test_a_narrow_format_is_computed_in_the_next_wider_one() -> None:
    vector = load_device("nvidia_t4").core.vector
    assert vector.rate("fp16") == 128
    assert vector.rate("int64") == 2  # only fp64 is as wide
    assert load_device("tpu_v1").core.vector.rate("fp32") == 0


def test_paths_are_nearest_first() -> None:
    device = load_device("tpu_v1")
    assert [m.name for m in device.path("weight")] == ["weight_fifo", "dram"]
    assert [m.name for m in device.path("activation")] == ["unified_buffer"]
    assert [m.name for m in device.path("partial_sum")] == ["accumulators"]


def test_voltage_falls_linearly_with_the_clock() -> None:
    device = load_device("tpu_v1")
    assert device.voltage_scale(1.0) == 1.0
    assert device.voltage_scale(0.7) == pytest.approx(0.85)
    assert device.voltage_scale(0.4) == pytest.approx(0.7)
    assert device.voltage_scale(0.1) == pytest.approx(0.7)


def test_documentation_names_every_key() -> None:
    text = (Path(__file__).parent.parent / "docs" / "device_files.md").read_text(encoding="utf-8")
    parts = [value for value in vars(device_module).values() if isinstance(value, type) and issubclass(value, Part)]
    keys = {key for part in parts for key in part.model_fields} - {
        "core",
        "vector",
        "matrix",
        "memory",
        "host",
        "power",
        "execution",
    }
    missing = sorted(key for key in keys if f"{key}`" not in text and f"[{key}]" not in text and f"{key} =" not in text)
    assert missing == ["link"]  # [host.link]
