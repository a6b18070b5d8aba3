"""Every device that ships: its file loads, runs, and says the peak that its maker published.

``python tests/test_device_files.py`` writes today's tables into ``docs/devices.md``.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from accelsim import Graph, simulate
from accelsim.base.resources import resource_dir
from accelsim.hardware.device import Device
from accelsim.hardware.loader import aliases, check_device_file, device_names, family_names, load_device
from accelsim.report.scale import capacity, si
from accelsim.workload.ops import Conv2d, Elementwise, Matmul, Tensor

PUBLISHED = {
    # device: {format: (T(FL)OPS, clock at which they are published [Hz], where)}
    "nvidia_k80": {"fp32": (4.37, 875e6, "8.7 a card of two dies at boost: Jouppi et al., ISCA 2017, section 4")},
    "nvidia_m40": {"fp32": (6.84, 1114e6, "NVIDIA Tesla M40 data sheet: 7 at boost")},
    "nvidia_p100_pcie_16gb": {
        "fp64": (4.7, 1303e6, "NVIDIA Tesla P100 PCIe data sheet"),
        "fp32": (9.3, 1303e6, "NVIDIA Tesla P100 PCIe data sheet"),
        "fp16": (18.7, 1303e6, "NVIDIA Tesla P100 PCIe data sheet"),
    },
    "nvidia_v100_pcie_16gb": {"fp16": (112, 1370e6, "NVIDIA V100 data sheet"), "fp64": (7, 1370e6, "same")},
    "nvidia_v100_pcie_32gb": {"fp16": (112, 1370e6, "NVIDIA V100 data sheet"), "fp64": (7, 1370e6, "same")},
    "nvidia_v100_sxm2_16gb": {
        "fp64": (7.8, 1530e6, "NVIDIA A100 whitepaper, Table 4"),
        "fp32": (15.7, 1530e6, "NVIDIA A100 whitepaper, Table 4"),
        "fp16": (125, 1530e6, "NVIDIA A100 whitepaper, Table 4"),
    },
    "nvidia_v100_sxm2_32gb": {"fp16": (125, 1530e6, "NVIDIA A100 whitepaper, Table 4")},
    "nvidia_t4": {
        "fp32": (8.1, 1590e6, "NVIDIA T4 data sheet"),
        "fp16": (65, 1590e6, "NVIDIA T4 data sheet"),
        "int8": (130, 1590e6, "NVIDIA T4 data sheet"),
        "int4": (260, 1590e6, "NVIDIA T4 data sheet"),
    },
    "nvidia_a10": {"fp16": (125, 1695e6, "NVIDIA A10 data sheet"), "fp32": (31.2, 1695e6, "same")},
    "nvidia_a10g": {"fp16": (70, 1710e6, "AWS A10G: 70 tensor TFLOPS"), "fp32": (35, 1710e6, "same")},
    "nvidia_a30": {"fp16": (165, 1440e6, "NVIDIA A30 data sheet"), "fp32": (10.3, 1440e6, "same")},
    **{
        f"nvidia_a100_{kind}": {
            "fp64": (19.5, 1410e6, "NVIDIA A100 whitepaper, Table 4"),
            "tf32": (156, 1410e6, "NVIDIA A100 whitepaper, Table 4"),
            "fp16": (312, 1410e6, "NVIDIA A100 whitepaper, Table 4"),
            "bf16": (312, 1410e6, "NVIDIA A100 whitepaper, Table 4"),
            "int8": (624, 1410e6, "NVIDIA A100 whitepaper, Table 4"),
            "int4": (1248, 1410e6, "NVIDIA A100 whitepaper, Table 4"),
        }
        for kind in ("pcie_40gb", "pcie_80gb", "sxm_40gb", "sxm_80gb")
    },
    "nvidia_l4": {
        "fp32": (30.3, 2040e6, "NVIDIA L4 data sheet"),
        "fp16": (121, 2040e6, "NVIDIA L4 data sheet, dense"),
        "fp8": (242.5, 2040e6, "NVIDIA L4 data sheet, dense"),
    },
    "nvidia_l40s": {
        "fp32": (91.6, 2520e6, "NVIDIA L40S data sheet"),
        "fp16": (362, 2520e6, "NVIDIA L40S data sheet, dense"),
        "fp8": (733, 2520e6, "NVIDIA L40S data sheet, dense"),
    },
    "nvidia_h100_sxm_80gb": {
        "fp64": (66.9, 1980e6, "NVIDIA H100 data sheet"),
        "fp32": (66.9, 1980e6, "NVIDIA H100 data sheet"),
        "tf32": (494.5, 1830e6, "NVIDIA H100 data sheet, dense; clock: stas00/ml-engineering"),
        "fp16": (989, 1830e6, "same"),
        "fp8": (1979, 1830e6, "same"),
    },
    "nvidia_h100_pcie_80gb": {"fp16": (756, 1620e6, "NVIDIA H100 data sheet, PCIe, dense")},
    "nvidia_h200_sxm_141gb": {"fp16": (989, 1830e6, "NVIDIA H200 data sheet, dense")},
    "nvidia_b200_sxm_180gb": {
        "fp16": (2250, 1856e6, "NVIDIA HGX B200, dense"),
        "fp8": (4500, 1856e6, "NVIDIA HGX B200, dense"),
        "fp4": (9000, 1856e6, "NVIDIA HGX B200, dense"),
        "fp32": (75, 1965e6, "NVIDIA HGX B200: 600 of eight"),
    },
    "nvidia_gb200": {"fp16": (2500, 2062e6, "NVIDIA GB200, dense"), "fp4": (10000, 2062e6, "same")},
    "nvidia_b300_sxm": {"fp16": (2250, 1856e6, "NVIDIA HGX B300, dense"), "fp4": (13500, 1856e6, "same")},
    "nvidia_rtx_pro_6000_server": {
        "bf16": (467.8, 2430e6, "ai-dynamo/aiconfigurator, rtx_pro_6000_server.yaml"),
        "fp8": (935.6, 2430e6, "same"),
        "fp4": (1871.2, 2430e6, "same"),
        "fp32": (117, 2430e6, "NVIDIA: 120 at 2.5 GHz"),
    },
    "nvidia_a2": {
        "fp32": (4.53, 1770e6, "hmc-tech.com/gpu"),
        "tf32": (9.06, 1770e6, "same"),
        "fp16": (18.13, 1770e6, "same"),
        "int8": (36.25, 1770e6, "same"),
    },
    "nvidia_v100s_pcie_32gb": {"fp16": (130, 1597e6, "NVIDIA V100 data sheet"), "fp32": (16.4, 1597e6, "same")},
    "nvidia_jetson_xavier_nx": {"fp32": (0.8448, 1100e6, "topcpu.net")},
    "nvidia_jetson_agx_orin": {"int8": (85, 1300e6, "NVIDIA Jetson AGX Orin technical brief: 170 sparse")},
    "amd_mi210": {
        "fp16": (181, 1700e6, "AnandTech 17326"),
        "fp32": (45.3, 1700e6, "AnandTech 17326, matrix"),
        "int8": (181, 1700e6, "AnandTech 17326"),
    },
    "amd_mi300x": {
        "fp16": (1307.4, 2100e6, "AMD MI300X data sheet"),
        "fp8": (2614.9, 2100e6, "AMD MI300X data sheet"),
        "tf32": (653.7, 2100e6, "AMD MI300X data sheet"),
    },
    "xeon_e5_2699v3": {"fp32": (1.3, None, "Jouppi et al., ISCA 2017, Table 2"), "int8": (2.6, None, "same")},
    "xeon_8275cl": {"fp32": (4.6, 3.0e9, "24 cores x 192 GFLOPS")},
    "xeon_phi_7250": {"fp32": (6.09, 1.4e9, "Intel: 3.05 in FP64 at 1.4 GHz"), "fp64": (3.05, 1.4e9, "same")},
    "xeon_8480": {
        "bf16": (114.7, 2.0e9, "Intel: AMX, 1024 bf16 operations a cycle and core"),
        "int8": (229.4, 2.0e9, "Intel: AMX, 2048 int8 operations a cycle and core"),
    },
    "aws_inferentia1": {"bf16": (64, None, "AWS Neuron: Inferentia"), "int8": (128, None, "same")},
    "aws_inferentia2": {"bf16": (184, None, "AWS NKI: 92 a core (page: 190 in all)"), "fp32": (46, None, "23")},
    "aws_trainium1": {"bf16": (184, None, "AWS NKI: 92 a NeuronCore-v2"), "fp8": (184, None, "same")},
    **{
        f"aws_{gen}_{size}": {"fp32": (fp32, None, "AWS: Elastic Inference"), "fp16": (8 * fp32, None, "same")}
        for gen in ("eia1", "eia2")
        for size, fp32 in (("medium", 1.0), ("large", 2.0), ("xlarge", 4.0))
    },
    "habana_gaudi2": {"bf16": (432, None, "stas00/ml-engineering"), "fp8": (865, None, "same")},
    "habana_gaudi3": {"bf16": (1835, None, "Intel Gaudi 3 white paper"), "fp8": (1835, None, "same")},
    "tpu_v1": {"int8": (92, None, "Jouppi et al., ISCA 2017, Table 2")},
    "tpu_v2": {"bf16": (46, None, "Jouppi et al., CACM 63(7), 2020")},
    "tpu_v3_chip": {"bf16": (123, None, "cloud.google.com/tpu/docs/v3")},
    "tpu_v4": {"bf16": (275, None, "cloud.google.com/tpu/docs/v4"), "int8": (275, None, "same")},
    "tpu_v4i": {"bf16": (138, None, "Jouppi et al., ISCA 2021, Table 1"), "int8": (138, None, "same")},
    "tpu_v6e": {"bf16": (918, None, "cloud.google.com/tpu/docs/v6e"), "int8": (1836, None, "same")},
    "tpu_v5e": {"bf16": (197, None, "cloud.google.com/tpu/docs/v5e"), "int8": (393, None, "same")},
    "graphcore_gc200": {"fp16": (250, None, "Graphcore GC200"), "fp32": (62.5, None, "same")},
    "graphcore_bow": {"fp16": (350, None, "Graphcore Bow"), "fp32": (87.5, None, "same")},
    "xilinx_dpuczdx8g_b4096_zcu102": {"int8": (3.45, None, "AMD UG1354: three B4096 at 281 MHz")},
    "xilinx_dpuczdx8g_b4096_zcu104": {"int8": (2.46, None, "AMD UG1354: two B4096 at 300 MHz")},
    "xilinx_dpucv2dx8g_vek280": {"int8": (135, 1.18e9, "Vitis AI 3.5: 14 x 16 AIE-ML tiles at 1.18 GHz, 256 each")},
    "xilinx_vck5000": {"int8": (81.9, None, "AMD PG389: 10.24 for 32 AI Engines, eight times")},
    "arm_ethos_u55": {"int8": (0.256, None, "Arm: 256 multiply-adds at 500 MHz")},
    "arm_ethos_u65": {"int8": (1.02, None, "Arm: 512 multiply-adds at 1 GHz")},
    "arm_ethos_n78": {"int8": (4.0, None, "Arm: 4 TOPS at 1 GHz")},
    "arm_ethos_n77": {"int8": (4.0, None, "Arm: 4 TOPS at 1 GHz")},
    "google_edge_tpu": {"int8": (4.0, None, "coral.ai: 4 TOPS")},
    "qualcomm_ai100": {"int8": (400, None, "Qualcomm: Cloud AI 100"), "fp16": (200, None, "same")},
}  # fmt: skip

DPU_OPERATIONS = {"b512": 512, "b800": 800, "b1024": 1024, "b1152": 1152, "b1600": 1600, "b2304": 2304, "b3136": 3136,
                  "b4096": 4096}  # fmt: skip
"""Operations of a core in a cycle, after which AMD names it (PG338)."""


@pytest.mark.parametrize(
    ("name", "dtype", "tera", "clock_hz"),
    [(name, dtype, *row[:2]) for name, rows in PUBLISHED.items() for dtype, row in rows.items()],
)
def test_peaks_are_the_published_ones(name: str, dtype: str, tera: float, clock_hz: float | None) -> None:
    """2 x multiply-adds of a core in a cycle x cores x clock, within 3 %."""
    device = load_device(name)
    matrix, vector = device.core.matrix, device.core.vector
    in_matrix = matrix is not None and matrix.macs_per_cycle(dtype) > 0
    hz = clock_hz or (matrix.freq_hz if matrix is not None and in_matrix else vector.freq_hz)
    assert 2 * device.peak_macs_per_cycle(dtype) * device.core.count * hz / 1e12 == pytest.approx(tera, rel=0.03)


@pytest.mark.parametrize("board", ["zcu102", "zcu104"])
@pytest.mark.parametrize(("size", "operations"), DPU_OPERATIONS.items())
def test_a_dpu_is_called_after_its_operations_in_a_cycle(size: str, operations: int, board: str) -> None:
    device = load_device(f"xilinx_dpuczdx8g_{size}_{board}")
    assert 2 * device.peak_macs_per_cycle("int8") == operations


def small_network(dtype: str) -> Graph:
    """A convolution, ReLU and a product: what every device has."""
    x = Tensor(name="x", shape=(1, 16, 28, 28), dtype=dtype)
    w = Tensor(name="w", shape=(32, 16, 3, 3), dtype=dtype, role="weight")
    y, z = (Tensor(name=n, shape=(1, 32, 26, 26), dtype=dtype) for n in "yz")
    flat = Tensor(name="flat", shape=(32, 676), dtype=dtype)
    v = Tensor(name="v", shape=(676, 64), dtype=dtype, role="weight")
    out = Tensor(name="out", shape=(32, 64), dtype=dtype)
    conv = Conv2d(
        name="conv", inputs=(x, w), outputs=(y,), batch=1, c_in=16, h_in=28, w_in=28, c_out=32, h_out=26, w_out=26,
        kh=3, kw=3,
    )  # fmt: skip
    relu = Elementwise(name="relu", inputs=(y,), outputs=(z,), function="relu")
    product = Matmul(name="product", inputs=(flat, v), outputs=(out,), m=32, k=676, n=64)
    return Graph(name="small", ops=(conv, relu, product))


@pytest.mark.parametrize("name", device_names())
def test_every_device_runs_within_its_roofline_and_its_power(name: str) -> None:
    device = load_device(name)
    assert device.name == name
    result = simulate(name, small_network(device.default_dtype))
    assert result.latency_s >= result.roofline_latency_s > 0
    assert 0 < result.mac_utilization <= 1
    if device.power.tdp_w is not None:
        assert result.average_power_w <= device.power.tdp_w * (1 + 1e-9)
    assert result.average_power_w >= device.power.static_w * (1 - 1e-9)
    assert result.energy_j == pytest.approx(result.average_power_w * result.latency_s, rel=1e-9)


@pytest.mark.parametrize("name", device_names())
def test_every_file_is_right(name: str) -> None:
    path = resource_dir("hwconfigs") / "devices" / f"{name}.toml"
    assert check_device_file(path) == []
    assert load_device(name).description.isprintable()


def folded(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


def test_no_two_devices_share_a_name() -> None:
    """Not even where case, blanks and signs are not looked at."""
    called = [*device_names()]
    for name in device_names():
        data = tomllib.loads((resource_dir("hwconfigs") / "devices" / f"{name}.toml").read_text(encoding="utf-8"))
        called += {folded(alias): alias for alias in data.get("aliases", []) if folded(alias) != folded(name)}.values()
    counts = Counter(folded(name) for name in called)
    assert [name for name, count in counts.items() if count > 1] == []


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("NVIDIA A100-SXM4-80GB", "nvidia_a100_sxm_80gb"),  # aiconfigurator
        ("NVIDIA H200-SXM", "nvidia_h200_sxm_141gb"),
        ("NVIDIA L40S", "nvidia_l40s"),
        ("NVIDIA B200-SXM", "nvidia_b200_sxm_180gb"),
        ("NVIDIA GB200", "nvidia_gb200"),
        ("NVIDIA B300-SXM", "nvidia_b300_sxm"),
        ("NVIDIA RTX PRO 6000 Blackwell Server", "nvidia_rtx_pro_6000_server"),
        ("NVIDIA V100-PCIe-32GB", "nvidia_v100_pcie_32gb"),  # NeuSight
        ("NVIDIA P100-PCIe-16GB", "nvidia_p100_pcie_16gb"),
        ("AMD MI210", "amd_mi210"),
        ("NVIDIA M40", "nvidia_m40"),  # DeepBench
        ("Intel Xeon Phi 7250F (KNL, AVX-512)", "xeon_phi_7250f"),
        ("NVIDIA A100-40GB PCIe", "nvidia_a100_pcie_40gb"),  # MLPerf
        ("AWS Inferentia2", "aws_inferentia2"),  # AWS Neuron
        ("Graphcore MK2 IPU (GC200)", "graphcore_gc200"),
        ("AMD/Xilinx DPU on VEK280", "xilinx_dpucv2dx8g_vek280"),  # Vitis AI
    ],
)
def test_measured_files_find_the_device(spelling: str, name: str) -> None:
    assert aliases()[spelling] == name
    assert load_device(spelling).name == name


def test_every_family_is_some_device_s() -> None:
    assert {load_device(name).family for name in device_names()} >= {*family_names()}


PAGE = Path(__file__).parent.parent / "docs" / "devices.md"
ROW = re.compile(r"^\| `(\w+)` \|.*$", re.MULTILINE)


def row(device: Device) -> str:
    """A device's line in the tables of ``docs/devices.md``."""
    dram, price, tdp_w = device.dram, device.price, device.power.tdp_w
    cells = (
        f"`{device.name}`",
        device.description.split(":")[0],
        f"{si(2 * device.peak_macs_per_s(device.default_dtype), 'OPS')} {device.default_dtype}",
        f"{capacity(dram.capacity_bytes)}, {si(dram.bandwidth_bytes_per_s, 'B/s')}" if dram else "-",
        f"{tdp_w:g} W" if tdp_w else "-",
        f"{price.instance}: {price.usd_per_hour / price.devices:.3g} USD/h ({price.date})" if price else "-",
    )
    return "| " + " | ".join(cells) + " |"


def test_the_page_of_devices_lists_them_all_as_they_are() -> None:
    rows = {match[1]: match[0] for match in ROW.finditer(PAGE.read_text(encoding="utf-8"))}
    assert rows == {name: row(load_device(name)) for name in device_names()}


if __name__ == "__main__":
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(ROW.sub(lambda match: row(load_device(match[1])), page), encoding="utf-8")
