"""Numbers worked out by hand, outside the program."""

import pytest

from accelsim.hardware.energy import load_energy_table
from accelsim.hardware.loader import load_device
from accelsim.simulation import simulate
from accelsim.workload.graph import Graph
from accelsim.workload.ops import Matmul, Tensor

RESNET50_MACS = 4_089_184_256  # light_resnet50 at batch 1
RESNET50_WEIGHTS = 25_557_032
VGG19_WEIGHTS = 143_667_240


def test_resnet50_at_batch_8_on_tpu_v1_against_a_roofline_by_hand():
    """max(8 x 4.089 G / (65536 x 0.7 GHz), 25.5 MB / 34 GB/s) = max(0.713, 0.751) ms.

    Narrow layers cost the rest: 64-channel layers fill a quarter (3x3) or a sixteenth (1x1) of the array; 2 to 4
    times the roofline is what one gets.
    """
    result = simulate("tpu_v1", "onnx:light_resnet50", batch=8)
    compute_s = 8 * RESNET50_MACS / (65536 * 700e6)
    assert result.macs == 8 * RESNET50_MACS
    assert compute_s == pytest.approx(0.713e-3, rel=0.001)
    floor_s = max(compute_s, RESNET50_WEIGHTS * 0.99 / 34e9)  # batch norms fold into the weights: up to 1 % fewer
    assert floor_s <= result.latency_s <= 4 * floor_s
    assert result.mac_utilization == pytest.approx(compute_s / result.latency_s, rel=1e-6)


def test_vgg19_at_batch_1_on_tpu_v1_is_its_weights_over_dram():
    """143.67 MB / 34 GB/s = 4.226 ms; the convolutions at the start are not hidden behind them."""
    result = simulate("tpu_v1", "onnx:vgg19", batch=1)
    assert result.dram_bytes >= VGG19_WEIGHTS
    assert VGG19_WEIGHTS / 34e9 <= result.latency_s <= 1.25 * VGG19_WEIGHTS / 34e9
    assert result.bound_share["dram"] > 0.7


def test_throughput_is_batch_over_latency_and_power_is_energy_over_time():
    result = simulate("nvidia_t4", "resnet50", batch=8)
    assert result.throughput_items_per_s == pytest.approx(8 / result.latency_s, rel=1e-12)
    assert result.average_power_w == pytest.approx(result.energy_j / result.latency_s, rel=1e-12)
    assert result.energy_per_item_j == pytest.approx(result.energy_j / 8, rel=1e-12)


def test_energy_of_one_fully_connected_layer_added_up_from_the_table():
    """A 1024 -> 1024 layer for one item in INT8 on TPU v1: every term by hand."""
    device, table = load_device("tpu_v1"), load_energy_table(28)
    x = Tensor(name="x", shape=(1, 1024), dtype="int8")
    w = Tensor(name="w", shape=(1024, 1024), dtype="int8", role="weight")
    y = Tensor(name="y", shape=(1, 1024), dtype="int8")
    layer = Matmul(name="fc", inputs=(x, w), outputs=(y,), m=1, k=1024, n=1024)
    result = simulate(device, Graph(name="layer", ops=(layer,)))

    macs = 1024 * 1024
    folds = (1024 // 256) * (1024 // 256)
    assert result.bytes_by_memory["dram"] == {"read": macs, "write": 0}  # one byte a weight

    def memory(name):
        return table.memory_pj_per_bit(device.memory_named(name)) * 8

    parts = {
        "mac": macs * (table.mul["int8"].pj + table.add["int32"].pj),
        "register": macs * (8 + 32) * table.pipeline_register.pj_per_bit,  # an operand and a sum step on
        "sram": memory("weight_fifo") * 2 * macs  # in and out
        + memory("unified_buffer") * (1024 * 4 + 1024)  # the input once for each of 4 column blocks, the output once
        + memory("accumulators") * 2 * folds * 256 * 4,  # 256 sums of 4 bytes a fold, read and written
        "dram": macs * 8 * 20.0,  # 640 pJ a 32-bit word
    }
    for part, pj in parts.items():
        assert result.energy_breakdown_j[part] == pytest.approx(pj / 1e12, rel=1e-9), part
    assert result.energy_breakdown_j["static"] == pytest.approx(28 * result.latency_s, rel=1e-12)
    assert result.energy_j == pytest.approx(sum(parts.values()) / 1e12 + 28 * result.latency_s, rel=1e-9)


def test_weights_dominate_that_layer_as_arxiv_1506_02626_says():
    """A DRAM word costs 640 pJ, a 32-bit multiply 3.1 and an add 0.1: fetching is 200 times computing."""
    table = load_energy_table(45)
    word = table.dram["default"].pj_per_bit * 32
    assert word == pytest.approx(640)
    assert word / (table.mul["int32"].pj + table.add["int32"].pj) == pytest.approx(200)


@pytest.mark.parametrize("batch", [1, 8])
def test_bert_on_tpu_v1_falls_back_to_the_host(batch):
    """Softmax, layer norm, GELU and lookups are not TPU v1's: 12 + 25 + 12 + lookups cross PCIe and back."""
    result = simulate("tpu_v1", "bert_base", batch=batch)
    hosted = [op for op in result.ops if op.bound == "host"]
    kinds = [op.kind for op in hosted]
    assert kinds.count("softmax") == 12
    assert kinds.count("norm") == 25
    assert kinds.count("elementwise") == 12
    assert any("ops run on the host (xeon_e5_2699v3): tpu_v1 does not have" in warning for warning in result.warnings)
    assert result.host_energy_j > 0
    off_chip = sum(share for bound, share in result.bound_share.items() if bound in ("host", "link"))
    assert off_chip > 0.5


def test_a_t4_at_70_w_runs_large_products_far_below_boost():
    """DeepBench on a T4 (power cap 70 W): 4096 x 7000 x 4096 in FP16 takes 5.05 ms or, transposed, 5.53 ms."""
    x = Tensor(name="x", shape=(4096, 4096), dtype="fp16")
    w = Tensor(name="w", shape=(4096, 7000), dtype="fp16", role="weight")
    y = Tensor(name="y", shape=(4096, 7000), dtype="fp16")
    product = Matmul(name="gemm", inputs=(x, w), outputs=(y,), m=4096, k=4096, n=7000)
    result = simulate("nvidia_t4", Graph(name="gemm", ops=(product,)))
    assert result.average_power_w == pytest.approx(70, rel=0.02)
    assert result.clock_hz < 0.9 * 1590e6
    assert result.latency_s == pytest.approx((5.049e-3 + 5.531e-3) / 2, rel=0.15)
