"""Softmax, norms and GELU stay in 16 or 32 bits where a network is computed in 8."""

import pytest
from hypothesis import given
from workload_strategies import networks

import accelsim
from accelsim.hardware.loader import load_device
from accelsim.workload.library import load_workload
from accelsim.workload.ops import Elementwise, Matmul, Norm, Softmax
from accelsim.workload.transforms import fold_batch_norm, fuse_epilogues, set_precision, unfuse_attention
from accelsim.workload.wide import absorb_casts, keep_wide


def casts(graph):
    return [op for op in graph.ops if op.name.endswith("(cast)")]


@given(networks())
def test_products_multiply_narrow_numbers_and_softmax_sees_wide_ones(graph):
    mixed = keep_wide(graph, "fp32", "fp64")
    for op in mixed.ops:
        if isinstance(op, Matmul):
            assert {t.dtype for t in op.inputs[:2]} == {"fp32"}
        if isinstance(op, Softmax):
            assert op.dtype == "fp64"


@given(networks())
def test_nothing_is_added_but_casts(graph):
    mixed = keep_wide(graph, "fp32", "fp64")
    assert mixed.macs == graph.macs
    assert mixed.parameters == graph.parameters
    assert mixed.elementary.total == graph.elementary.total + sum(op.elementary.total for op in casts(mixed))
    assert [op.name for op in mixed.ops if op not in casts(mixed)] == [op.name for op in graph.ops]
    assert [t.name for t in mixed.outputs] == [t.name for t in graph.outputs]


@given(networks())
def test_a_cast_that_is_absorbed_is_still_counted(graph):
    mixed = fuse_epilogues(keep_wide(graph, "fp32", "fp64"))
    absorbed = absorb_casts(mixed)
    assert absorbed.elementary == mixed.elementary
    assert len(absorbed.ops) <= len(mixed.ops)
    assert [t.name for t in absorbed.outputs] == [t.name for t in mixed.outputs]


def prepared(name, wide="fp16"):
    graph = unfuse_attention(fold_batch_norm(set_precision(load_workload(name), "int8")))
    return absorb_casts(fuse_epilogues(keep_wide(graph, "int8", wide)))


def test_bert_in_int8_as_tensorrt_runs_it():
    """Products in INT8; softmax, layer norm, GELU and the residual stream in FP16; softmax writes INT8."""
    graph = prepared("bert_base")
    assert {op.dtype for op in graph.ops if isinstance(op, Norm | Softmax)} == {"fp16"}
    assert {op.dtype for op in graph.ops if isinstance(op, Matmul)} == {"int8"}
    softmax = next(op for op in graph.ops if isinstance(op, Softmax))
    assert softmax.outputs[0].dtype == "int8"
    scores = next(op for op in graph.ops if op.name.endswith("scores"))
    assert scores.outputs[0].dtype == "fp16"
    gelu = next(op for op in graph.ops if "gelu" in op.functions)
    assert isinstance(gelu, Matmul)
    assert gelu.outputs[0].dtype == "int8"
    assert gelu.epilogue[0].dtype == "fp16"
    # The norm before query, key and value is read by a residual too: one cast serves the three.
    assert len([op for op in casts(graph) if isinstance(op, Elementwise)]) == 1 + 12 + 11


def test_a_network_without_such_functions_stays_as_it_is():
    graph = fold_batch_norm(set_precision(load_workload("resnet50"), "int8"))
    assert keep_wide(graph, "int8", "fp16") == graph


@pytest.mark.parametrize(
    ("device", "dtype", "wide"),
    [
        ("nvidia_t4", "int8", "fp16"),
        ("nvidia_t4", "int4", "fp16"),
        ("nvidia_t4", "fp16", None),
        ("xeon_8275cl", "int8", "fp32"),
        ("tpu_v1", "int8", None),
    ],
)
def test_the_wide_format_is_the_narrowest_float_of_the_vector_unit(device, dtype, wide):
    assert load_device(device).wide_format(dtype) == wide


def test_int8_is_still_faster_than_fp16():
    """NVIDIA's BERT on T4 gains from INT8 (TensorRT's BERT sample); less than the tensor cores' factor of two."""
    int8, fp16 = (accelsim.simulate("nvidia_t4", "bert_base", batch=8, precision=p).latency_s for p in ("int8", "fp16"))
    assert 1 < fp16 / int8 < 2
