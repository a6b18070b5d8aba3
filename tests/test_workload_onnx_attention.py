"""Attention as ONNX and ONNX Runtime write it."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from accelsim.workload.onnx_import import import_onnx
from accelsim.workload.ops import Attention


@pytest.fixture
def load(tmp_path):
    """Load a model of one node at a batch; inputs and weights are {name: shape}."""

    def read(op_type, inputs, weights=(), *, batch=1, domain="", outputs=("y",), **attributes):
        weights = dict(weights)
        order = attributes.pop("order", [*inputs, *weights])
        node = helper.make_node(op_type, order, list(outputs), domain=domain, **attributes)
        graph = helper.make_graph(
            [node],
            "g",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            [numpy_helper.from_array(np.zeros(shape, np.float32), name) for name, shape in weights.items()],
        )
        opsets = [helper.make_opsetid("", 23), *([helper.make_opsetid(domain, 1)] if domain else [])]
        path = tmp_path / "net.onnx"
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=11), path)
        return import_onnx(path, batch=batch)

    return read


def attention(graph):
    (op,) = [op for op in graph.ops if isinstance(op, Attention)]
    return op


def test_onnx_attention_of_four_axes_shares_keys_between_heads(load):
    shapes = {"q": [1, 8, 5, 64], "k": [1, 2, 7, 64], "v": [1, 2, 7, 64]}
    op = attention(load("Attention", shapes, batch=3))
    assert (op.batch, op.q_len, op.kv_len, op.heads, op.kv_heads, op.head_dim) == (3, 5, 7, 8, 2, 64)
    assert op.macs == 2 * 3 * 8 * 5 * 7 * 64
    assert op.outputs[0].shape == (3, 8, 5, 64)


def test_onnx_attention_of_three_axes_says_its_heads(load):
    shapes = {"q": [1, 6, 512], "k": [1, 6, 128], "v": [1, 6, 128]}
    op = attention(load("Attention", shapes, q_num_heads=8, kv_num_heads=2, is_causal=1))
    assert (op.heads, op.kv_heads, op.head_dim, op.causal) == (8, 2, 64, True)
    assert op.macs == 2 * 8 * 64 * (6 * 7 // 2)


def test_a_past_is_joined_with_what_is_new(load):
    shapes = {"q": [1, 4, 1, 16], "k": [1, 4, 1, 16], "v": [1, 4, 1, 16], "pk": [1, 4, 9, 16], "pv": [1, 4, 9, 16]}
    graph = load("Attention", shapes, order=["q", "k", "v", "", "pk", "pv"], outputs=("y", "present", "present_v"))
    op = attention(graph)
    assert op.kv_len == 10
    assert [t.name for t in op.inputs] == ["q", "present", "present_v"]
    assert [op.kind for op in graph.ops] == ["move", "move", "attention"]


def test_values_that_are_less_deep_than_keys_are_multiplied_in_parts(load):
    shapes = {"q": [1, 2, 5, 192], "k": [1, 2, 5, 192], "v": [1, 2, 5, 128]}
    graph = load("Attention", shapes)
    assert [op.kind for op in graph.ops] == ["matmul", "elementwise", "softmax", "matmul"]
    assert graph.macs == 2 * 5 * 5 * (192 + 128)


def test_onnx_runtimes_attention_projects_first(load):
    """BERT-base as ONNX Runtime's optimizer writes it: 4 x 128 tokens, 768 -> 3 x 768."""
    graph = load(
        "Attention",
        {"x": [1, 128, 768]},
        {"w": [768, 2304], "b": [2304]},
        batch=4,
        domain="com.microsoft",
        num_heads=12,
    )
    op = attention(graph)
    assert (op.heads, op.head_dim, op.q_len, op.batch) == (12, 64, 128, 4)
    assert graph.macs == 4 * 128 * 768 * 2304 + 2 * 4 * 128 * 128 * 768
    # Q, K and V are slices of one tensor, each read once.
    assert sum(op.bytes_read(t) for t in op.inputs) == op.inputs[0].bytes


def test_multi_head_attention_adds_its_biases(load):
    shapes = {name: [1, 16, 64] for name in "qkv"}
    graph = load("MultiHeadAttention", shapes, {"b": [192]}, domain="com.microsoft", num_heads=4)
    assert [op.kind for op in graph.ops] == ["elementwise"] * 3 + ["attention"]
    assert attention(graph).head_dim == 16


def test_group_query_attention_reads_and_extends_its_cache(load):
    """Llama-3-8B's shapes: 32 heads on 8, one new token after 99."""
    shapes = {
        "q": [1, 1, 4096], "k": [1, 1, 1024], "v": [1, 1, 1024],
        "past_k": [1, 8, 99, 128], "past_v": [1, 8, 99, 128],
    }  # fmt: skip
    graph = load(
        "GroupQueryAttention", shapes, domain="com.microsoft", num_heads=32, kv_num_heads=8, do_rotary=1, batch=2
    )
    op = attention(graph)
    assert (op.kv_len, op.kv_heads, op.head_dim) == (100, 8, 128)
    assert [t.role for t in op.inputs] == ["activation", "kv_cache", "kv_cache"]
    added = [t for t in graph.outputs if t.role == "kv_cache"]
    assert [t.elements for t in added] == [2 * 1024, 2 * 1024]
    assert {op.function for op in graph.ops if op.kind == "elementwise"} == {"rotary"}
