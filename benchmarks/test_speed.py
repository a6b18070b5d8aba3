"""Warm times, without a peer: ``pytest benchmarks`` (pytest-benchmark). Issue 3: ResNet-50 below 50 ms."""

from pathlib import Path

import pytest

from accelsim.hardware.loader import load_device
from accelsim.simulation import simulate
from accelsim.workload.library import load_workload

pytest.importorskip("pytest_benchmark")

HERE = Path(__file__).parent


def test_alexnet_on_an_ideal_array(benchmark):
    device, graph = load_device(HERE / "alexnet_32x32_ws.cfg"), load_workload(str(HERE / "alexnet.csv"))
    result = benchmark(simulate, device, graph)
    assert sum(op.compute_cycles for op in result.ops) == 1_136_244


def test_resnet50_with_stalls_on_tpu_v1(benchmark):
    device, graph = load_device("tpu_v1"), load_workload("resnet50")
    result = benchmark(simulate, device, graph)
    assert result.latency_s >= result.roofline_latency_s


def test_resnet50_on_inferentia(benchmark):
    """Many plans of what stays on chip: below 0.3 s."""
    device, graph = load_device("aws_inferentia1"), load_workload("resnet50")
    result = benchmark(simulate, device, graph)
    assert result.latency_s >= result.roofline_latency_s


def test_resnet50_through_two_on_chip_levels(benchmark):
    device, graph = load_device("arm_ethos_u55"), load_workload("resnet50")
    result = benchmark(simulate, device, graph)
    assert result.latency_s >= result.roofline_latency_s


def test_a_gemm_on_a_gpu(benchmark):
    """Issue 4: below 1 ms."""
    result = benchmark(simulate, "nvidia_a100_sxm_80gb", "matmul", params={"m": 4096, "n": 4096, "k": 4096})
    assert result.latency_s >= result.roofline_latency_s


def test_bert_large_on_a_gpu(benchmark):
    """Issue 4: below 20 ms; missed."""
    result = benchmark(simulate, "nvidia_a100_sxm_80gb", "bert_large", batch=8, params={"seq_len": 384})
    assert result.latency_s >= result.roofline_latency_s
