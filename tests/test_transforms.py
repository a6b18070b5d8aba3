"""Fusion, folding and precision change what they say, and nothing that is counted besides."""

import time

import pytest
from hypothesis import given
from workload_strategies import networks

from accelsim.base.errors import WorkloadError
from accelsim.workload.graph import Graph
from accelsim.workload.library import load_workload
from accelsim.workload.ops import Conv2d, Elementwise, Gather, Matmul, Pool, Tensor
from accelsim.workload.transforms import fold_batch_norm, fuse_epilogues, set_precision


def weight(name, *shape):
    return Tensor(name=name, shape=shape, role="weight")


def activation(name, *shape):
    return Tensor(name=name, shape=shape)


def matmul(name, x, out):
    n = out.shape[-1]
    k = x.shape[-1]
    return Matmul(name=name, m=out.shape[0], k=k, n=n, inputs=(x, weight(f"{name}.w", k, n)), outputs=(out,))


def elementwise(name, function, inputs, out):
    return Elementwise(name=name, function=function, inputs=tuple(inputs), outputs=(out,))


def counts(graph):
    return graph.macs, graph.elementary, graph.parameters


@given(networks())
def test_fusion_conserves_work_and_results(graph):
    fused = fuse_epilogues(graph)
    assert counts(fused) == counts(graph)
    assert fused.outputs == graph.outputs
    assert set(fused.inputs) == set(graph.inputs)


@given(networks())
def test_fusion_leaves_nothing_to_fuse(graph):
    fused = fuse_epilogues(graph)
    assert fuse_epilogues(fused) == fused


@given(networks())
def test_fusion_never_moves_more_bytes(graph):
    def moved(g):
        return sum(t.bytes for op in g.ops for t in (*op.inputs, *op.outputs))

    assert moved(fuse_epilogues(graph)) <= moved(graph)


@given(networks())
def test_fused_operands_stand_at_the_end_of_the_inputs(graph):
    for op in fuse_epilogues(graph).ops:
        own = 2 if op.kind == "matmul" else len(op.inputs)
        made = {t.name for fused in op.epilogue for t in fused.outputs} | {
            t.name for fused in op.epilogue[:1] for t in fused.inputs if t not in op.inputs[own:]
        }
        further = [t for fused in op.epilogue for t in fused.inputs if t.name not in made]
        assert list(op.inputs[own:]) == further


@given(networks())
def test_folding_conserves_products_and_results_and_drops_parameters(graph):
    folded = fold_batch_norm(graph)
    assert folded.macs == graph.macs
    assert folded.outputs == graph.outputs
    assert folded.parameters <= graph.parameters
    assert folded.elementary.total <= graph.elementary.total


def test_residual_goes_to_the_producer_that_comes_later():
    x, a, b, out = (activation(name, 4, 8) for name in ["x", "a", "b", "out"])
    graph = Graph(
        name="g", ops=(matmul("main", x, a), matmul("shortcut", x, b), elementwise("add", "add", (a, b), out))
    )
    main, shortcut = fuse_epilogues(graph).ops
    assert main.epilogue == ()
    assert [t.name for t in shortcut.inputs] == ["x", "shortcut.w", "a"]
    assert shortcut.outputs == (out,)


def test_a_host_moves_down_when_an_operand_is_made_after_it():
    x, a, b, out = (activation(name, 4, 8) for name in ["x", "a", "b", "out"])
    pool = Pool(name="pool", window=2, inputs=(x,), outputs=(b,))
    graph = Graph(name="g", ops=(matmul("main", x, a), pool, elementwise("add", "add", (a, b), out)))
    assert [op.name for op in fuse_epilogues(graph).ops] == ["pool", "main"]


def test_what_is_read_elsewhere_or_grows_is_not_fused():
    x, a, b, c = (activation(name, 4, 8) for name in ["x", "a", "b", "c"])
    larger = activation("larger", 2, 4, 8)
    fork = Graph(
        name="g",
        ops=(matmul("m", x, a), elementwise("relu", "relu", (a,), b), elementwise("tanh", "tanh", (a,), c)),
    )
    grown = Graph(name="g", ops=(matmul("m", x, a), elementwise("add", "add", (a, activation("y", 2, 1, 8)), larger)))
    assert fuse_epilogues(fork) == fork
    assert fuse_epilogues(grown) == grown


def test_fusion_stops_at_a_function_that_a_device_lacks():
    x, a, b, c = (activation(name, 4, 8) for name in ["x", "a", "b", "c"])
    graph = Graph(
        name="g", ops=(matmul("m", x, a), elementwise("r", "relu", (a,), b), elementwise("g", "gelu", (b,), c))
    )
    fused, gelu = fuse_epilogues(graph, functions={"relu"}).ops
    assert [f.name for f in fused.epilogue] == ["r"]
    assert gelu.name == "g"


def test_resnet_blocks_become_convolutions():
    """53 convolutions, two pools, one fully connected layer: every norm, activation and residual is an epilogue."""
    graph = load_workload("resnet50")
    kinds = [op.kind for op in fuse_epilogues(graph).ops]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"conv2d": 53, "pool": 2, "matmul": 1}


def test_folded_resnet_has_a_bias_for_each_channel():
    """torchvision: 25,557,032 parameters, of which 53,120 are scales and shifts of 26,560 channels."""
    folded = fold_batch_norm(load_workload("resnet50"))
    assert folded.parameters == 25_557_032 - 53_120 + 26_560
    assert "affine" not in {f for op in folded.ops for f in op.functions}


def test_scale_layers_after_batch_norm_fold_into_one_bias():
    """The light DenseNet has Caffe's pairs: a normalisation, then a multiplication and an addition by channel."""
    x, filters = activation("x", 1, 3, 8, 8), weight("f", 4, 3, 1, 1)
    a, b, c, d = (activation(name, 1, 4, 8, 8) for name in "abcd")
    conv = Conv2d(
        name="conv",
        batch=1,
        c_in=3,
        h_in=8,
        w_in=8,
        c_out=4,
        h_out=8,
        w_out=8,
        kh=1,
        kw=1,
        inputs=(x, filters),
        outputs=(a,),
    )
    norm = elementwise("norm", "affine", (a, weight("s", 4), weight("t", 4)), b)
    mul, add = elementwise("mul", "mul", (b, weight("m", 4)), c), elementwise("add", "add", (c, weight("n", 4)), d)
    kept, bias = fold_batch_norm(Graph(name="g", ops=(conv, norm, mul, add))).ops
    assert kept == conv
    assert bias == elementwise("add", "add", (a, weight("n", 4)), d)
    (alone,) = fold_batch_norm(Graph(name="g", ops=(conv, elementwise("mul", "mul", (a, weight("m", 4)), b)))).ops
    assert alone.outputs == (b,)


def test_a_bias_alone_and_a_scale_by_data_stay():
    x, a, b = (activation(name, 4, 8) for name in "xab")
    bias = Graph(name="g", ops=(matmul("m", x, a), elementwise("bias", "add", (a, weight("n", 8)), b)))
    gate = Graph(name="g", ops=(matmul("m", x, a), elementwise("gate", "mul", (a, x), b)))
    assert fold_batch_norm(bias) == bias
    assert fold_batch_norm(gate) == gate


@pytest.mark.parametrize("dtype", ["int8", "fp16", "tf32", "int4"])
def test_precision_changes_numbers_and_not_positions(dtype):
    table, ids = weight("table", 100, 8), Tensor(name="ids", shape=(4,), dtype="int64")
    x, y = activation("x", 4, 8), activation("y", 4, 3)
    ops = (Gather(name="look_up", inputs=(table, ids), outputs=(x,)), matmul("m", x, y))
    changed = set_precision(fuse_epilogues(Graph(name="g", ops=ops)), dtype)
    assert {t.name: t.dtype for t in changed.tensors.values()} == {
        "table": dtype, "ids": "int64", "x": dtype, "m.w": dtype, "y": dtype,
    }  # fmt: skip


def test_precision_reaches_epilogues_and_keeps_work():
    graph = fuse_epilogues(load_workload("resnet50"))
    changed = set_precision(graph, "int8")
    assert counts(changed) == counts(graph)
    assert changed.weight_bytes == graph.weight_bytes // 4
    assert all(t.dtype == "int8" for op in changed.ops for f in op.epilogue for t in (*f.inputs, *f.outputs))


def test_an_integer_accumulator_is_a_number_and_not_a_position():
    x = Tensor(name="x", shape=(2, 2), dtype="int8")
    out = Tensor(name="out", shape=(2, 2), dtype="int32")
    graph = set_precision(Graph(name="g", ops=(matmul("m", x, out),)), "fp16")
    assert {t.dtype for t in graph.tensors.values()} == {"fp16"}


def test_unknown_precision_is_refused_with_a_suggestion():
    with pytest.raises(WorkloadError, match=r"precision 'fp116': want one of .*did you mean 'fp16'"):
        set_precision(load_workload("tpu_v1_mlp0"), "fp116")


def test_fusion_is_fast():
    """DenseNet-121, 669 ops: 20 ms of CPU time, with room for a slow machine."""
    graph = load_workload("onnx:densenet121")
    start = time.process_time()
    fuse_epilogues(graph)
    assert time.process_time() - start < 0.1
