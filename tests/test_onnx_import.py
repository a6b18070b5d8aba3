"""ONNX models as people export them: batches baked in, free sizes, quantised, recurrent, unknown, broken."""

import time
from math import prod

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from accelsim.base.errors import WorkloadError
from accelsim.workload.library import _onnx_models, load_workload
from accelsim.workload.onnx_import import import_onnx

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


@pytest.fixture
def save(tmp_path):
    """Save a model of nodes, inputs {name: shape} and weights {name: shape or array}; return its path."""

    def write(nodes, inputs, weights=(), outputs=("y",), opset=17, types=(), ir=8, domains=()):
        weights, types = dict(weights), dict(types)
        initializers = [
            numpy_helper.from_array(v if isinstance(v, np.ndarray) else np.zeros(v, np.float32), name)
            for name, v in weights.items()
        ]
        graph = helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info(name, types.get(name, FLOAT), shape) for name, shape in inputs.items()],
            [helper.make_tensor_value_info(name, types.get(name, FLOAT), None) for name in outputs],
            initializers,
        )
        opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
        path = tmp_path / "net.onnx"
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=ir), path)
        return path

    return write


def node(op_type, inputs, outputs="y", **attributes):
    return helper.make_node(op_type, inputs.split(), outputs.split(), **attributes)


def ints(*values):
    return np.array(values, np.int64)


def only(graph):
    (op,) = graph.ops
    return op


def refused(path, **options):
    with pytest.raises(WorkloadError) as caught:
        import_onnx(path, **options)
    return caught.value.problems


def outcome(path):
    """A graph, or what is wrong: anything else that is raised fails the test."""
    try:
        return import_onnx(path)
    except WorkloadError as error:
        return error.problems


# --- the batch ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [1, 0, 4, None, "N", "batch_size", ""])
def test_the_batch_is_set_whatever_the_file_says_of_it(save, first):
    path = save([node("Conv", "x w")], {"x": [first, 3, 8, 8]}, {"w": (4, 3, 3, 3)})
    conv = only(import_onnx(path, batch=6))
    assert (conv.batch, conv.c_in, conv.h_out) == (6, 3, 6)
    assert conv.inputs[0].shape == (6, 3, 8, 8)


def test_a_fixed_batch_that_is_not_followed_is_said(save):
    path = save([node("Conv", "x w")], {"x": [16, 3, 8, 8]}, {"w": (4, 3, 3, 3)})
    (said,) = import_onnx(path, batch=2).notes
    assert said.startswith("axis 0 of input x is fixed at 16 in the file and was taken for the batch")
    assert "--batch 16" in said
    assert import_onnx(path, batch=16).notes == ()
    for free in ("N", 1):
        other = save([node("Conv", "x w")], {"x": [free, 3, 8, 8]}, {"w": (4, 3, 3, 3)})
        assert import_onnx(other, batch=2).notes == ()


def test_data_is_found_among_weights_that_are_inputs_too(save):
    """Files of IR version 3 list weights as inputs, often before the data."""
    path = save([node("MatMul", "x w")], {"w": [8, 2], "unused": ["q"], "x": [1, 8]}, {"w": (8, 2)}, ir=3, opset=9)
    graph = import_onnx(path, batch=5)
    assert [t.name for t in graph.inputs] == ["x"]
    assert graph.macs == 5 * 16


def test_shapes_agree_with_onnx_own_inference(save):
    """An oracle: where a file leaves its batch free, ONNX's inference at that batch must find the same shapes."""
    nodes = [
        node("Conv", "x w1", "a", pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Relu", "a", "b"),
        node("MaxPool", "b", "c", kernel_shape=[2, 2], strides=[2, 2]),
        node("Transpose", "c", "d", perm=[0, 2, 3, 1]),
        node("MatMul", "d w2", "e"),
        node("Concat", "e e", "f", axis=3),
        node("ReduceMean", "f", "g", axes=[1, 2], keepdims=0),
        node("Gemm", "g w3", "h"),
        node("Unsqueeze", "h axes", "i"),
        node("Softmax", "i", "y", axis=-1),
    ]
    weights = {"w1": (6, 3, 3, 3), "w2": (6, 10), "w3": (20, 7), "axes": ints(0)}
    path = save(nodes, {"x": ["N", 3, 16, 16]}, weights)
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 8
    inferred = onnx.shape_inference.infer_shapes(model).graph
    shapes = {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in inferred.value_info}
    ours = import_onnx(path, batch=8).tensors
    for name in set(ours) & set(shapes):
        assert ours[name].elements == prod(shapes[name]), name
        assert ours[name].shape == shapes[name], name


def test_reshapes_that_hold_the_batch_follow_it(save):
    """One as most tools write it, one that spells a merged axis, one with a -1 that is not the batch."""
    nodes = [
        node("Reshape", "x s1", "a"),
        node("MatMul", "a w1", "b"),
        node("Reshape", "b s2", "c"),
        node("MatMul", "c w2", "d"),
        node("Reshape", "d s3", "e"),
        node("MatMul", "e w3"),
    ]
    shapes = {"s1": ints(1, 6, 8), "s2": ints(12, 4), "s3": ints(1, -1)}
    weights = {**shapes, "w1": (8, 8), "w2": (4, 4), "w3": (48, 5)}
    path = save(nodes, {"x": [1, 48]}, weights)
    for batch in (1, 7):
        assert [(op.m, op.k, op.n) for op in import_onnx(path, batch=batch).ops] == [
            (6 * batch, 8, 8), (12 * batch, 4, 4), (batch, 48, 5),
        ]  # fmt: skip


def attention(batch_first):
    """PyTorch's attention, whose reshapes have the batch (1) merged with the heads (2), for 5 tokens of width 8."""
    merged, perm = (ints(5, 2, 4), [1, 0, 2])
    nodes = [] if not batch_first else [node("Transpose", "x", "t", perm=[1, 0, 2])]
    source = "t" if batch_first else "x"
    for part in "qkv":
        nodes += [
            node("MatMul", f"{source} w{part}", f"{part}1"),
            node("Reshape", f"{part}1 merged", f"{part}2"),
            node("Transpose", f"{part}2", part, perm=perm),
        ]
    nodes += [
        node("Transpose", "k", "kt", perm=[0, 2, 1]),
        node("MatMul", "q kt", "scores"),
        node("Softmax", "scores", "shares", axis=-1),
        node("MatMul", "shares v", "o"),
        node("Transpose", "o", "ot", perm=perm),
        node("Reshape", "ot flat", "y"),
    ]
    return nodes, {"merged": merged, "flat": ints(5, 1, 8), **{f"w{part}": (8, 8) for part in "qkv"}}


def test_a_batch_on_the_second_axis_stays_out_of_attention_squares(save):
    nodes, weights = attention(batch_first=True)
    path = save(nodes, {"x": [1, 5, 8]}, weights)
    one, eight = import_onnx(path, batch=1), import_onnx(path, batch=8)
    assert eight.macs == 8 * one.macs == 8 * (3 * 5 * 64 + 2 * 2 * 5 * 5 * 4)
    scores = next(op for op in eight.ops if op.name == "scores")
    assert (scores.batch, scores.m, scores.k, scores.n) == (16, 5, 4, 5)


def test_a_batch_named_by_its_symbol_may_be_on_any_axis(save):
    nodes, weights = attention(batch_first=False)
    path = save(nodes, {"x": [5, "batch", 8]}, weights)
    assert import_onnx(path, batch=8).macs == 8 * import_onnx(path, batch=1).macs


def test_a_token_baked_in_for_one_item_is_joined_to_all(save):
    """Vision transformers: a class token [1, 1, 8], a constant, joins [1, 4, 8] patches."""
    path = save(
        [node("Concat", "cls x", "a", axis=1), node("MatMul", "a w")], {"x": [1, 4, 8]}, {"cls": (1, 1, 8), "w": (8, 3)}
    )
    graph = import_onnx(path, batch=6)
    assert graph.ops[-1].m == 6 * 5
    assert graph.ops[0].outputs[0].shape == (6, 5, 8)


def test_shapes_computed_in_the_graph_are_no_ops(save):
    """Shape, Gather, Concat, Reshape: how exporters flatten."""
    nodes = [
        node("Shape", "x", "shape"),
        node("Gather", "shape zero", "n", axis=0),
        node("Unsqueeze", "n zero1", "n1"),
        node("Concat", "n1 rest", "to", axis=0),
        node("Reshape", "x to", "flat"),
        node("MatMul", "flat w"),
    ]
    weights = {"zero": np.array(0, np.int64), "zero1": ints(0), "rest": ints(-1), "w": (12, 5)}
    matmul = only(import_onnx(save(nodes, {"x": ["n", 3, 4]}, weights), batch=9))
    assert (matmul.m, matmul.k, matmul.n) == (9, 12, 5)
    assert matmul.inputs[0].name == "x"


def test_work_is_linear_in_a_batch_of_two_inputs(save):
    nodes = [node("Gather", "table ids", "e"), node("Add", "e mask", "m"), node("MatMul", "m w")]
    inputs = {"ids": ["batch", "seq"], "mask": ["batch", "seq", 1]}
    path = save(nodes, inputs, {"table": (100, 16), "w": (16, 4)}, types={"ids": INT64})
    graph = import_onnx(path, batch=3, params={"seq": 7})
    assert graph.macs == 3 * 7 * 64
    gather, add, _ = graph.ops
    assert gather.outputs[0].shape == (3, 7, 16)
    assert add.inputs[1].shape == (3, 7, 1)
    assert graph.params == {"seq": 7}


# --- free sizes -----------------------------------------------------------------------------------------------------


def test_free_sizes_are_asked_for_all_at_once(save):
    path = save([node("Relu", "x")], {"x": ["batch", "h", "w", None]})
    assert refused(path) == (
        "net.onnx: the size h is free; want --param h=VALUE",
        "net.onnx: the size w is free; want --param w=VALUE",
        "net.onnx: the size x_dim3 is free; want --param x_dim3=VALUE",
    )
    assert only(import_onnx(path, batch=2, params={"h": 3, "w": 4, "x_dim3": 5})).outputs[0].shape == (2, 3, 4, 5)


def test_wrong_params_name_the_known_and_the_batch(save):
    path = save([node("Relu", "x")], {"x": ["batch", "height"]})
    assert refused(path, params={"heigth": 3, "batch": 4}) == (
        "net.onnx: --param heigth: unknown; want one of ['height']; did you mean 'height'?",
        "net.onnx: --param batch: this is the batch; want --batch 4",
        "net.onnx: the size height is free; want --param height=VALUE",
    )


@pytest.mark.parametrize(("layout", "shape"), [(0, [5, 2, 16]), (0, [5, 1, 16]), (1, [2, 5, 16])])
def test_a_recurrent_node_says_which_axis_of_its_inputs_is_the_batch(save, layout, shape):
    """Nothing is named: [5, 2, 16] are 5 steps of 2 items, and the steps must not be taken for the batch."""
    batch = shape[1 - layout]
    state = [1, batch, 32] if layout == 0 else [batch, 1, 32]
    gru = node("GRU", "x w r b lengths h", hidden_size=32, layout=layout)
    weights = {"w": (1, 96, 16), "r": (1, 96, 32), "b": (1, 192)}
    path = save([gru], {"x": shape, "lengths": [batch], "h": state}, weights, types={"lengths": TensorProto.INT32})
    for items in (1, 3):
        graph = import_onnx(path, batch=items)
        assert graph.macs == items * 5 * 96 * (16 + 32)
        assert graph.tensors["h"].elements == items * 32


def test_a_first_axis_that_is_a_parameter_is_no_batch(save):
    path = save([node("MatMul", "x w")], {"x": ["tokens", 8]}, {"w": (8, 2)})
    assert import_onnx(path, batch=5).macs == 5 * 16
    assert import_onnx(path, params={"tokens": 7}).macs == 7 * 16
    assert refused(path, batch=2, params={"tokens": 7}) == ("net.onnx: --batch 2: no input has a batch; want 1",)


def test_an_input_without_a_shape_is_refused(save):
    assert refused(save([node("Relu", "x")], {"x": None})) == (
        "net.onnx: input x: the file does not say its shape; want a tensor with a shape",
    )


# --- ops ------------------------------------------------------------------------------------------------------------


def test_conv_with_bias_groups_dilation_and_automatic_padding(save):
    conv = node("Conv", "x w b", auto_pad="SAME_UPPER", strides=[2, 2], dilations=[2, 1], group=2)
    path = save([conv], {"x": [1, 4, 15, 16]}, {"w": (6, 2, 3, 3), "b": (6,)})
    conv, bias = import_onnx(path, batch=2).ops
    assert (conv.h_out, conv.w_out, conv.groups, conv.dilation) == (8, 8, 2, (2, 1))
    assert conv.pad == (2, 0, 2, 1)  # an odd one at the end
    assert conv.macs == 2 * 64 * 6 * 2 * 9
    assert (bias.function, bias.inputs[1].elements) == ("add", 6)


@pytest.mark.parametrize(("auto_pad", "pad"), [("VALID", (0, 0, 0, 0)), ("SAME_LOWER", (1, 1, 0, 0))])
def test_automatic_padding(save, auto_pad, pad):
    path = save([node("Conv", "x w", auto_pad=auto_pad, strides=[2, 2])], {"x": [1, 1, 8, 8]}, {"w": (1, 1, 3, 3)})
    assert only(import_onnx(path)).pad == pad


def test_conv_in_one_and_three_dimensions(save):
    path = save([node("Conv", "x w", pads=[1, 2])], {"x": [1, 4, 20]}, {"w": (8, 4, 3)})
    conv = only(import_onnx(path, batch=2))
    assert (conv.h_in, conv.w_in, conv.kh, conv.kw, conv.h_out, conv.w_out) == (1, 20, 1, 3, 1, 21)
    assert conv.pad == (0, 1, 0, 2)
    path = save([node("Conv", "x w")], {"x": [1, 4, 6, 7, 8]}, {"w": (8, 4, 2, 3, 3)})
    assert only(import_onnx(path, batch=2)).macs == 2 * 5 * 5 * 6 * 8 * 4 * 2 * 9


def test_transposed_convolution_counts_each_product_once(save):
    conv = node("ConvTranspose", "x w", strides=[2, 2], group=2)
    graph = import_onnx(save([conv], {"x": [1, 4, 5, 5]}, {"w": (4, 3, 2, 2)}), batch=3)
    assert graph.macs == 3 * 25 * 4 * 3 * 4
    assert [op.kind for op in graph.ops] == ["matmul", "reduction"]
    assert graph.outputs[0].shape == (3, 6, 10, 10)


@pytest.mark.parametrize(
    ("a", "b", "weight", "wanted"),
    [
        ((4, 5, 6), (6, 7), "b", (1, 20, 6, 7)),
        ((4, 2, 5, 6), (4, 2, 6, 7), None, (8, 5, 6, 7)),
        ((4, 2, 5, 6), (1, 1, 6, 7), "b", (1, 40, 6, 7)),
        ((4, 1, 5, 6), (2, 6, 7), "b", (8, 5, 6, 7)),
        ((5, 6), (4, 6, 7), "a", (1, 28, 6, 5)),
        ((4, 6), (6,), "b", (1, 4, 6, 1)),
        ((6,), (6, 7), "a", (1, 7, 6, 1)),
    ],
)
def test_matmul_broadcasts(save, a, b, weight, wanted):
    given = {name: shape for name, shape in (("a", a), ("b", b)) if name != weight}
    path = save(
        [node("MatMul", "a b")],
        {k: list(v) for k, v in given.items()},
        {weight: a if weight == "a" else b} if weight else {},
    )
    first = next(iter(given.values()))
    matmul = only(import_onnx(path, batch=first[0]))
    assert (matmul.batch, matmul.m, matmul.k, matmul.n) == wanted
    if weight:
        assert matmul.inputs[1].name == weight


def test_gemm_transposes_and_adds_its_bias(save):
    gemm = node("Gemm", "x w c", transB=1, alpha=0.5)
    matmul, scale, bias = import_onnx(save([gemm], {"x": [1, 8]}, {"w": (3, 8), "c": (3,)}), batch=4).ops
    assert (matmul.m, matmul.k, matmul.n) == (4, 8, 3)
    assert (scale.function, bias.function) == ("mul", "add")


@pytest.mark.parametrize(
    ("equation", "a", "b", "wanted"),
    [
        ("bhqd,bhkd->bhqk", [1, 2, 5, 4], [1, 2, 7, 4], (4, 5, 4, 7)),
        ("bid,bjd->bij", [1, 5, 4], [1, 6, 4], (2, 5, 4, 6)),
    ],
)
def test_einsum_is_a_matmul(save, equation, a, b, wanted):
    path = save([node("Einsum", "a b", equation=equation)], {"a": a, "b": b})
    matmul = only(import_onnx(path, batch=2))
    assert (matmul.batch, matmul.m, matmul.k, matmul.n) == wanted


def test_weights_that_are_only_reshaped_stay_weights(save):
    """A transpose before a matmul, an unsqueeze before a multiplication, a weight made by ConstantOfShape."""
    nodes = [
        node("ConstantOfShape", "dims", "w"),
        node("Transpose", "w", "wt"),
        node("MatMul", "x wt", "a"),
        node("Unsqueeze", "s axes", "s1"),
        node("Mul", "a s1"),
    ]
    graph = import_onnx(save(nodes, {"x": [1, 8]}, {"dims": ints(3, 8), "s": (3,), "axes": ints(0)}), batch=2)
    assert [op.kind for op in graph.ops] == ["matmul", "elementwise"]
    assert {t.name: t.shape for t in graph.weights} == {"w": (3, 8), "s": (3,)}


def test_weights_used_twice_count_once(save):
    """A tied embedding: looked up first, its transpose multiplied with last."""
    nodes = [node("Gather", "table ids", "e"), node("Transpose", "table", "t", perm=[1, 0]), node("MatMul", "e t")]
    path = save(nodes, {"ids": ["batch", 5]}, {"table": (100, 16)}, types={"ids": INT64})
    assert import_onnx(path, batch=2).parameters == 1600


@pytest.mark.parametrize(
    ("opset", "axis", "wanted"), [(9, None, (2, 60)), (9, 2, (8, 15)), (13, None, (24, 5)), (13, 1, (30, 4))]
)
def test_softmax_by_opset(save, opset, axis, wanted):
    """Up to opset 12 all axes from the axis on are one row."""
    path = save([node("Softmax", "x", **({} if axis is None else {"axis": axis}))], {"x": [1, 4, 3, 5]}, opset=opset)
    softmax = only(import_onnx(path, batch=2))
    assert (softmax.rows, softmax.cols) == wanted


@pytest.mark.parametrize(
    ("op_type", "weights", "attributes", "wanted"),
    [
        ("LayerNormalization", ("s", "b"), {"axis": -1}, (24, 5)),
        ("LayerNormalization", ("s", "b"), {"axis": 2}, (8, 15)),
        ("InstanceNormalization", ("c", "d"), {}, (8, 15)),
        ("LRN", (), {"size": 5}, (30, 4)),
        ("LpNormalization", (), {"axis": -1}, (24, 5)),
    ],
)
def test_norms(save, op_type, weights, attributes, wanted):
    shapes = {"s": (5,), "b": (5,), "c": (4,), "d": (4,)}
    path = save(
        [node(op_type, " ".join(("x", *weights)), **attributes)], {"x": [1, 4, 3, 5]}, {w: shapes[w] for w in weights}
    )
    norm = only(import_onnx(path, batch=2))
    assert (norm.kind, norm.rows, norm.cols) == ("norm", *wanted)


def test_group_norm(save):
    path = save(
        [node("GroupNormalization", "x s b", num_groups=2)], {"x": [1, 4, 3, 5]}, {"s": (4,), "b": (4,)}, opset=21
    )
    norm = only(import_onnx(path, batch=2))
    assert (norm.rows, norm.cols) == (4, 30)


def test_pools_and_reductions(save):
    nodes = [
        node("MaxPool", "x", "a", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("GlobalAveragePool", "a", "b"),
        node("ReduceMean", "b", "y", axes=[2, 3], keepdims=0),
    ]
    pool, average, mean = import_onnx(save(nodes, {"x": [1, 4, 8, 8]}), batch=3).ops
    assert (pool.window, average.window) == (9, 16)
    assert mean.outputs[0].shape == (3, 4)


@pytest.mark.parametrize(
    ("op_type", "functions"),
    [
        ("Relu", ["relu"]), ("Sigmoid", ["sigmoid"]), ("Erf", ["erf"]), ("HardSwish", ["hard_swish"]),
        ("Softplus", ["exp", "log"]), ("Elu", ["exp", "select"]), ("Sin", ["exp"]), ("Floor", ["compare"]),
        ("Mish", ["mish"]), ("Softsign", ["abs", "div"]),
    ],
)  # fmt: skip
def test_activations(save, op_type, functions):
    graph = import_onnx(save([node(op_type, "x")], {"x": [1, 5]}, opset=18), batch=4)
    assert [op.function for op in graph.ops] == functions
    assert [t.name for t in graph.outputs] == ["y"]


def test_powers_by_their_exponent(save):
    for exponent, function in ((2.0, "mul"), (0.5, "sqrt"), (3.0, "pow")):
        path = save([node("Pow", "x e")], {"x": [1, 5]}, {"e": np.array(exponent, np.float32)})
        op = only(import_onnx(path))
        assert op.function == function
        assert [t.name for t in op.inputs] == ["x"]


def test_sums_of_many_and_choices(save):
    nodes = [node("Sum", "a b c", "s"), node("Where", "cond s a")]
    inputs = {name: [1, 5] for name in ("a", "b", "c", "cond")}
    graph = import_onnx(save(nodes, inputs, types={"cond": TensorProto.BOOL}), batch=2)
    assert [op.function for op in graph.ops] == ["add", "add", "select"]
    assert graph.ops[-1].dtype == "fp32"


def test_moves_and_views(save):
    nodes = [
        node("Flatten", "x", "a"),
        node("Identity", "a", "b"),
        node("Dropout", "b", "c"),
        node("Reshape", "c s", "d"),
        node("Transpose", "d", "e", perm=[0, 2, 1]),
        node("Split", "e", "f g", axis=1, num_outputs=2),
        node("Concat", "g f", "y", axis=1),
    ]
    graph = import_onnx(save(nodes, {"x": [1, 4, 6]}, {"s": ints(1, 4, 6)}, opset=18), batch=2)
    assert [(op.kind, op.name) for op in graph.ops] == [("move", "e"), ("move", "f"), ("move", "y")]
    assert graph.ops[0].inputs[0].name == "x"
    assert len(graph.ops[1].outputs) == 2


def test_a_transpose_of_empty_axes_moves_nothing_at_any_batch(save):
    nodes = [
        node("Transpose", "x", "a", perm=[0, 2, 1]),
        node("Relu", "a", "b"),
        node("Transpose", "b", "y", perm=[1, 0, 2]),
    ]
    for batch in (1, 2):
        graph = import_onnx(save(nodes, {"x": [1, 1, 6]}), batch=batch)
        assert [op.kind for op in graph.ops] == ["elementwise", "move"]


@pytest.mark.parametrize(("op_type", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_recurrent_cells(save, op_type, gates, direction):
    """Steps x directions x (input + hidden) x gates x hidden, a batch item."""
    d = 2 if direction == "bidirectional" else 1
    cell = node(op_type, "x w r b", "y", hidden_size=6, direction=direction)
    weights = {"w": (d, gates * 6, 5), "r": (d, gates * 6, 6), "b": (d, 2 * gates * 6)}
    one = import_onnx(save([cell], {"x": [7, "batch", 5]}, weights), batch=1)
    four = import_onnx(save([cell], {"x": [7, "batch", 5]}, weights), batch=4)
    assert one.macs == 7 * d * (5 + 6) * gates * 6
    assert four.macs == 4 * one.macs
    assert four.parameters == d * gates * 6 * (5 + 6 + 2)
    assert four.outputs[0].shape == (7, d, 4, 6)


def test_a_cell_starts_from_the_state_that_is_given(save):
    """A decoder starts where its encoder ended."""
    nodes = [
        node("LSTM", "x w r", "a h c", hidden_size=6),
        node("Squeeze", "a axes", "a1"),
        helper.make_node("LSTM", ["a1", "v", "r", "", "", "h", "c"], ["y"], hidden_size=6),
    ]
    weights = {"w": (1, 24, 5), "v": (1, 24, 6), "r": (1, 24, 6), "axes": ints(1)}
    graph = import_onnx(save(nodes, {"x": [3, "batch", 5]}, weights), batch=2)
    assert {"h", "c"} <= {t.name for op in graph.ops for t in op.inputs}
    assert [t.name for t in graph.outputs] == ["y"]


def test_a_long_recurrence_is_folded_with_a_note(save):
    cell = node("LSTM", "x w r", "y", hidden_size=6)
    graph = import_onnx(save([cell], {"x": [3000, "batch", 5]}, {"w": (1, 24, 5), "r": (1, 24, 6)}), batch=2)
    assert graph.macs == 2 * 3000 * 11 * 24
    assert len(graph.ops) < 20
    assert "3000 recurrent steps are more than 1024" in graph.notes[0]


def test_quantised_networks(save):
    one, zero = np.array(0.1, np.float32), np.array(0, np.int8)
    nodes = [
        node("QuantizeLinear", "x s z", "q"),
        node("QLinearConv", "q s z w s z s z b", "c"),
        node("DequantizeLinear", "c s z", "y"),
    ]
    weights = {"s": one, "z": zero, "w": np.zeros((4, 3, 3, 3), np.int8), "b": np.zeros(4, np.int32)}
    graph = import_onnx(save(nodes, {"x": [1, 3, 8, 8]}, weights), batch=2)
    conv = next(op for op in graph.ops if op.kind == "conv2d")
    assert conv.dtype == "int8"
    assert conv.macs == 2 * 36 * 4 * 27
    assert [op.function for op in graph.ops if op.kind == "elementwise"] == [
        "affine",
        "clip",
        "add",
        "affine",
        "affine",
    ]
    integer = save(
        [node("MatMulInteger", "x w")],
        {"x": [1, 8]},
        {"w": np.zeros((8, 3), np.int8)},
        types={"x": TensorProto.INT8, "y": TensorProto.INT32},
    )
    assert only(import_onnx(integer)).outputs[0].dtype == "int32"


def test_weights_dequantised_before_use_stay_narrow(save):
    nodes = [node("DequantizeLinear", "w s", "wf"), node("MatMul", "x wf")]
    path = save(nodes, {"x": [1, 8]}, {"w": np.zeros((8, 3), np.int8), "s": np.array(0.1, np.float32)})
    matmul = only(import_onnx(path))
    assert (matmul.inputs[1].name, matmul.inputs[1].bytes) == ("w", 24)


def test_attention_as_one_op(save):
    path = save([node("Attention", "q k v")], {name: [1, 2, 5, 4] for name in "qkv"}, opset=23, ir=11)
    graph = import_onnx(path, batch=3)
    assert [op.kind for op in graph.ops] == ["attention"]
    assert graph.macs == 3 * 2 * 2 * 5 * 5 * 4


# --- what is not modelled -------------------------------------------------------------------------------------------


def test_ops_without_a_model_are_named_and_their_bytes_are_moved(save):
    nodes = [
        node("Det", "x", "a"),
        node("Secret", "x", "b", domain="acme"),
        node("Secret", "b", "c", domain="acme"),
        node("MatMul", "c w", "y"),
    ]
    path = save(nodes, {"x": [1, 4, 4]}, {"w": (4, 5)}, outputs=("y", "a"), domains=("acme",))
    graph = import_onnx(path, batch=2)
    assert [op.kind for op in graph.ops] == ["opaque", "opaque", "opaque", "matmul"]
    assert graph.ops[1].inputs[0].bytes == graph.ops[1].outputs[0].bytes == 2 * 16 * 4
    assert graph.ops[3].m == 8
    assert graph.notes[:2] == (
        "1 op of type Det is not modelled: only its bytes are moved: a",
        "2 ops of type Secret are not modelled: only their bytes are moved: b, c",
    )
    assert "the shape of b" in graph.notes[2]


def test_what_depends_on_data_is_said(save):
    nodes = [node("NonMaxSuppression", "boxes scores", "picked"), node("Cast", "picked", "y", to=FLOAT)]
    graph = import_onnx(save(nodes, {"boxes": [1, 50, 4], "scores": [1, 3, 50]}), batch=2)
    assert "NonMaxSuppression" in graph.notes[0]
    assert "the shape of picked" in graph.notes[1]


def test_branches_read_what_their_bodies_read(save):
    branch = helper.make_graph([node("Relu", "x", "r")], "b", [], [helper.make_tensor_value_info("r", FLOAT, None)])
    path = save(
        [node("If", "cond", "y", then_branch=branch, else_branch=branch)],
        {"cond": [], "x": [1, 9]},
        types={"cond": TensorProto.BOOL},
    )
    graph = import_onnx(path, batch=4)
    assert {t.name for t in only(graph).inputs} == {"cond", "x"}
    assert "1 op of type If is not modelled" in graph.notes[0]


def test_functions_of_the_model_are_looked_into(tmp_path):
    twice = helper.make_function(
        "mine", "Twice", ["a"], ["c"], [node("Relu", "a", "b"), node("Tanh", "b", "c")], [helper.make_opsetid("", 17)]
    )
    graph = helper.make_graph(
        [node("Twice", "x", "y", domain="mine")],
        "g",
        [helper.make_tensor_value_info("x", FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", FLOAT, None)],
    )
    model = helper.make_model(
        graph,
        functions=[twice],
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)],
        ir_version=8,
    )
    onnx.save(model, tmp_path / "f.onnx")
    assert [op.function for op in import_onnx(tmp_path / "f.onnx", batch=2).ops] == ["relu", "tanh"]


# --- files ----------------------------------------------------------------------------------------------------------


def test_values_of_weights_are_not_needed(save, tmp_path):
    """External data that is missing does not matter: shapes are in the main file."""
    path = save([node("MatMul", "x w")], {"x": [1, 64]}, {"w": (64, 64)})
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    (tmp_path / "weights.bin").unlink()
    assert only(import_onnx(path, batch=2)).macs == 2 * 64 * 64


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "an empty file; want an ONNX model"),
        (b"this is text, not a model\n", "want an ONNX model"),
        (b"\x00" * 64, "want an ONNX model"),
        (b"\x89PNG\r\n\x1a\n", "want an ONNX model"),
        (b"name,kind\n", "want an ONNX model"),
    ],
)
def test_files_that_are_no_models(tmp_path, content, said):
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    (problem,) = refused(path)
    assert problem.startswith(str(path))
    assert said in problem


def test_a_folder_and_a_missing_file(tmp_path):
    assert refused(tmp_path) == (f"{tmp_path}: a folder, not a file; want an ONNX model",)
    assert refused(tmp_path / "none.onnx") == (f"{tmp_path / 'none.onnx'}: no such file; want an ONNX model",)


def test_a_model_cut_anywhere_ends_in_words_or_a_graph(tmp_path):
    whole = _onnx_models()["light_vgg19"].read_bytes()
    for cut in range(0, len(whole), 97):
        path = tmp_path / "cut.onnx"
        path.write_bytes(whole[:cut])
        assert outcome(path)


def test_a_model_with_flipped_bytes_ends_in_words_or_a_graph(tmp_path):
    whole = bytearray(_onnx_models()["light_zfnet512"].read_bytes())
    random = np.random.default_rng(0)
    for _ in range(150):
        broken = bytearray(whole)
        for place in random.integers(0, len(whole), 3):
            broken[place] = random.integers(0, 256)
        path = tmp_path / "flipped.onnx"
        path.write_bytes(broken)
        assert outcome(path)


def test_a_node_that_reads_what_nothing_makes(save):
    assert refused(save([node("Add", "x ghost")], {"x": [1, 4]})) == (
        "net.onnx: node y: reads 'ghost', which nothing makes before it",
    )


def test_import_is_fast():
    """ResNet-50 in 50 ms of CPU time, twice that for a slow machine."""
    load_workload("onnx:resnet50")
    start = time.process_time()
    load_workload("onnx:resnet50", batch=8)
    assert time.process_time() - start < 0.1
