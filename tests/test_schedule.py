"""Residency, partition and shares against what they promise."""

from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import graphs

from accelsim.base.errors import InputError, MappingError
from accelsim.hardware.energy import energy_table_of
from accelsim.hardware.loader import load_device
from accelsim.mapping import Machine
from accelsim.schedule import Site, plan_lane
from accelsim.schedule.lane import _bound_ps, _rough_ps, _wants
from accelsim.schedule.parallel import partition, shares
from accelsim.schedule.residency import _arena, _lives, live_bytes, plans
from accelsim.simulation import simulate
from accelsim.workload.graph import Graph
from accelsim.workload.ops import Conv2d, Tensor


@given(st.lists(st.integers(1, 100), min_size=1, max_size=9), st.integers(1, 9))
def test_partition_is_the_best_of_all(weights, parts):
    parts = min(parts, len(weights))
    ends = partition(weights, parts)
    assert ends[-1] == len(weights)
    assert ends == sorted(set(ends))
    assert len(ends) == parts

    def worst(cuts):
        edges = [0, *cuts, len(weights)]
        return max(sum(weights[a:b]) for a, b in pairwise(edges))

    assert worst(ends[:-1]) == min(worst(cuts) for cuts in combinations(range(1, len(weights)), parts - 1))


@given(st.integers(1, 1000), st.integers(1, 16))
def test_shares_add_up_and_differ_by_one_at_most(batch, replicas):
    found = shares(batch, replicas)
    assert sum(found) == batch
    assert max(found) - min(found) <= 1


@given(graphs(), st.integers(0, 10**6))
def test_tensors_in_an_arena_never_overlap(graph, limit):
    names = {t.name for t in graph.tensors.values() if t.role != "weight"}
    placed = _arena(_lives(graph, names), limit)
    for (a, at_a), (b, at_b) in combinations(placed, 2):
        if a.first <= b.last and b.first <= a.last:
            assert at_a + a.tensor.bytes <= at_b or at_b + b.tensor.bytes <= at_a
    assert all(start + life.tensor.bytes <= limit for life, start in placed)


@given(graphs(), st.integers(0, 10**7), st.integers(0, 10**7))
def test_a_larger_memory_has_every_plan_of_a_smaller_one(graph, one, more):
    names = {t.name for t in graph.tensors.values() if t.role != "weight"}

    def found(capacity):
        every = plans(graph, arena_bytes=capacity, eligible=(names,), keep_bytes=capacity, shared=True)
        return {(plan.resident, plan.kept) for plan in every}

    assert found(one) <= found(one + more)


def test_data_parallel_loads_the_weights_once_a_replica():
    """VGG-19's weights do not fit on chip: each of four replicas reads all of them from the one DRAM."""
    alone = simulate("aws_inferentia1", "onnx:vgg19", batch=1)
    four = simulate("aws_inferentia1", "onnx:vgg19", batch=4, parallel="data")
    weights = 143_667_240 * 2
    assert alone.bytes_by_memory["dram"]["read"] >= 0.9 * weights
    assert four.bytes_by_memory["dram"]["read"] >= 4 * 0.9 * weights
    bandwidth = four.dram_bandwidth_bytes_per_s
    assert four.latency_s >= four.dram_bytes / bandwidth
    assert four.latency_s > alone.latency_s  # they contend


def test_a_pipeline_keeps_weights_that_fit_and_raises_throughput():
    """ResNet-50's 51 MB of BF16 weights do not fit one core's SBUF, a quarter of them nearly does."""
    alone = simulate("aws_inferentia1", "resnet50", batch=1)
    piped = simulate("aws_inferentia1", "resnet50", batch=1, parallel="pipeline")
    assert piped.throughput_items_per_s > 1.5 * alone.throughput_items_per_s
    assert piped.bytes_by_memory["dram"]["read"] < alone.bytes_by_memory["dram"]["read"]
    assert piped.macs == alone.macs
    assert piped.latency_s >= 1 / piped.throughput_items_per_s  # stages in a row take longer than the slowest of them


@pytest.mark.parametrize(("batch", "cores"), [(1, 2), (8, 2), (8, 4)])
def test_a_stage_waits_for_what_the_stage_before_makes(batch, cores):
    """Latency is the chain of the stages, not the slowest of them."""
    result = simulate("aws_inferentia1", "resnet50", batch=batch, cores=cores, parallel="pipeline")
    first = {}
    last = {}
    for op in result.ops:
        if op.core.startswith("core"):
            first[op.core] = min(first.get(op.core, op.start_s), op.start_s)
            last[op.core] = max(last.get(op.core, 0.0), op.end_s)
    for i in range(cores - 1):
        assert first[f"core{i + 1}"] >= last[f"core{i}"]
    busy = sum(last[core] - first[core] for core in first)
    assert result.latency_s == pytest.approx(busy, rel=1e-9)
    assert 1 / result.throughput_items_per_s < result.latency_s / batch


def test_an_input_that_several_stages_read_crosses_the_link_once():
    """BERT's mask is read in every layer; each stage asked for a transfer of its own, under the same name."""
    alone = simulate("aws_inferentia1", "bert_base", host=True, steps=1)
    piped = simulate("aws_inferentia1", "bert_base", host=True, steps=1, parallel="pipeline")
    moved = [sorted(op.name for op in result.ops if op.kind == "transfer") for result in (alone, piped)]
    assert moved[0] == moved[1]


@pytest.mark.parametrize(("workload", "cores"), [("bert_base", 4), ("resnet50", 2)])
def test_a_full_pipeline_is_steady(workload, cores):
    """No more wait between two stages than two results: however long it runs, the pace is the slowest stage's."""
    runs = [
        simulate("aws_inferentia1", workload, batch=8, cores=cores, parallel="pipeline", steps=steps)
        for steps in (16, 64)
    ]
    assert runs[0].latency_s == runs[1].latency_s
    assert runs[0].throughput_items_per_s == pytest.approx(runs[1].throughput_items_per_s, rel=0.01)
    stages = {}
    for op in runs[0].ops:
        if op.core.startswith("core"):
            stages[op.core] = stages.get(op.core, 0.0) + op.latency_s
    assert runs[1].throughput_items_per_s <= 8 / max(stages.values()) * 1.05  # later steps find more weights fetched


def test_an_op_that_no_one_has_is_refused():
    with pytest.raises(MappingError, match=r"eyeriss_v1 cannot run op .* and has no host that could"):
        simulate("eyeriss_v1", "resnet50")


def test_cold_start_adds_the_weights_over_the_host_link():
    """143.7 MB in INT8 over 12.5 GB/s."""
    warm = simulate("tpu_v1", "onnx:vgg19")
    cold = simulate("tpu_v1", "onnx:vgg19", start="cold")
    link = load_device("tpu_v1").host.link
    load_s = 143_667_240 / link.bandwidth_bytes_per_s
    assert cold.latency_s == pytest.approx(warm.latency_s + load_s, rel=0.01)


def test_host_transfers_add_input_and_output():
    """224 x 224 x 3 in FP16 in, 1000 out, each with the link's latency."""
    plain = simulate("nvidia_t4", "resnet50")
    moved = simulate("nvidia_t4", "resnet50", host=True)
    link = load_device("nvidia_t4").host.link
    expected = 2 * link.latency_s + (224 * 224 * 3 + 1000) * 2 / link.bandwidth_bytes_per_s
    assert moved.latency_s - plain.latency_s == pytest.approx(expected, rel=0.01)


def test_more_steps_take_as_long_as_one_each_where_nothing_overlaps():
    one = simulate("nvidia_t4", "resnet50", batch=8)
    many = simulate("nvidia_t4", "resnet50", batch=8, steps=5)
    assert many.latency_s == one.latency_s
    assert many.throughput_items_per_s == pytest.approx(one.throughput_items_per_s, rel=1e-9)
    assert many.energy_j == pytest.approx(one.energy_j, rel=1e-9)


def test_a_batch_that_does_not_fit_into_device_memory_is_refused():
    """VGG-19's first convolution makes 224 x 224 x 64 numbers an item: 16 GB hold some thousand of them in FP16."""
    with pytest.raises(MappingError, match=r"do not fit into dram of nvidia_t4.*want a smaller batch"):
        simulate("nvidia_t4", "onnx:vgg19", batch=5000)


@given(graphs())
def test_live_bytes_hold_what_each_op_touches(graph):
    for op, live in zip(graph.ops, live_bytes(graph), strict=True):
        touched = {t.name: t.bytes for t in (*op.activations, *op.outputs)}
        assert live >= sum(touched.values())


def test_bounds_of_a_plan_know_that_activations_cross_in_run_length_code():
    """An image of which nine in ten are zeros takes a seventh of its bytes; bounds may ask for no more time."""
    device = load_device("eyeriss_v1", {"dram.bandwidth_bytes_per_s": 2e7})
    x, y = (Tensor(name=n, shape=(1, c, 13, 13), dtype="int16", zeros=0.9) for n, c in (("x", 256), ("y", 8)))
    w = Tensor(name="w", shape=(8, 256, 1, 1), dtype="int16", role="weight")
    op = Conv2d(
        name="c", inputs=(x, w), outputs=(y,), batch=1, c_in=256, h_in=13, w_in=13, c_out=8, h_out=13, w_out=13,
        kh=1, kw=1, pad=(0, 0, 0, 0),
    )  # fmt: skip
    graph = Graph(name="sparse", ops=(op,), batch=1)
    site = Site(Machine(device, energy_table_of(device), 1, None), None)
    lane = plan_lane(graph, site)
    rough = _rough_ps(_wants(graph, site), site.machine, lane.plan)
    close = _bound_ps(graph, site, lane.plan, [True])
    assert rough <= close <= lane.chain_ps


@pytest.mark.parametrize("wrong", [{"parallel": "both"}, {"start": "hot"}, {"fidelity": "roofline"}])
def test_a_choice_that_does_not_exist_is_refused(wrong):
    """It was taken for the default."""
    with pytest.raises(InputError, match=next(iter(wrong))):
        simulate("tpu_v1", "resnet50", **wrong)


def test_activations_with_nothing_behind_the_buffer_have_to_fit():
    """Arm's Ethos-U55 has SRAM for activations and no host: what one image needs must fit, more go in parts."""
    assert simulate("arm_ethos_u55", "onnx:squeezenet", batch=64).latency_s > 0
    with pytest.raises(MappingError, match=r"does not stay in sram, which holds .* has no memory behind it"):
        simulate("arm_ethos_u55", "onnx:squeezenet", batch=64, overrides={"sram.capacity_bytes": 2**17})
