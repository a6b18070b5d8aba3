"""Workloads by name against what was published of them. Numbers are the papers' and the libraries', not ours."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from accelsim.base.errors import WorkloadError
from accelsim.workload.library import load_workload, workload_names

LIGHT = [name for name, _ in workload_names() if name.startswith("onnx:")]
EVERY = [name for name, _ in workload_names()]


# --- ResNet, VGG, AlexNet and others --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "macs", "parameters", "source"),
    [
        ("resnet50", 4.089e9, 25_557_032, "torchvision ResNet50_Weights: num_params, 4.09 GFLOPS"),
        ("onnx:light_resnet50", 4.089e9, 25_557_032, "the same network"),
        ("onnx:light_vgg19", 19.63e9, 143_667_240, "torchvision VGG19_Weights: num_params, 19.63 GFLOPS"),
        ("onnx:light_bvlc_alexnet", 0.655e9, 60_965_224, "Caffe bvlc_alexnet, two groups; 224 pixels, not its 227"),
        ("onnx:light_squeezenet", 0.349e9, 1_235_496, "torchvision SqueezeNet1_1_Weights: num_params, 0.35 GFLOPS"),
        (
            "onnx:light_densenet121",
            2.834e9,
            7_978_856 + 83_648,
            "torchvision DenseNet121_Weights: num_params, 2.83 GFLOPS",
        ),
    ],
)
def test_published_counts(name, macs, parameters, source):
    """MACs to the digits printed; parameters exactly.

    DenseNet's file normalises in two steps, as Caffe did, and has 83,648 scales and shifts twice.
    """
    graph = load_workload(name)
    assert graph.macs == pytest.approx(macs, rel=1e-3)
    assert graph.parameters == parameters


def test_googlenet():
    """Szegedy et al., CVPR 2015: 1.5 billion multiply-adds, its convolutions alone; Caffe's file has 6,998,552 numbers.

    5 %: the paper prints two digits.
    """
    graph = load_workload("onnx:inception_v1")
    assert graph.macs == pytest.approx(1.5e9, rel=0.05)
    assert graph.parameters == 6_998_552


def test_batch_normalised_inception():
    """Semery's imgclsmob, BN-Inception: 11,295,240 parameters; 2,048.06 M multiply-adds, its normalisations included.

    1 % of parameters: it has biases, and this file has scales and shifts twice. 2 % of work: normalisation.
    """
    graph = load_workload("onnx:inception_v2")
    assert graph.macs == pytest.approx(2048.06e6, rel=0.02)
    assert graph.parameters == pytest.approx(11_295_240, rel=0.01)


def test_shufflenet():
    """Zhang et al., CVPR 2018, Table 1: ShuffleNet 1x with four groups, 133 MFLOPs (multiply-adds).

    The file groups the first pointwise convolution of stage 2, which the paper leaves whole. 2 %: rounding there.
    """
    graph = load_workload("onnx:shufflenet")
    first_pointwise = next(op for op in graph.ops if op.kind == "conv2d" and op.groups == 4)
    assert graph.macs + 3 * first_pointwise.macs == pytest.approx(133e6, rel=0.02)


def test_zfnet512():
    """ONNX model zoo, zfnet/README.md: model size 349 MB; as printed."""
    assert round(load_workload("onnx:zfnet512").weight_bytes / 1e6) == 349


# --- BERT -----------------------------------------------------------------------------------------------------------


def test_bert_base():
    """Devlin et al., NAACL 2019: 110 M parameters; transformers' BertModel has 109,482,240 with its pooler.

    Work by hand, for s tokens: 12 layers of (4 d^2 + 2 d f) s + 2 s^2 d, and d^2 for the pooler.
    """
    d, f = 768, 3072
    for s in (1, 128, 512):
        graph = load_workload("bert_base", params={"seq_len": s}, batch=3)
        assert graph.parameters == 109_482_240
        assert graph.macs == 3 * (12 * ((4 * d * d + 2 * d * f) * s + 2 * s * s * d) + d * d)
    assert load_workload("bert_base").params == {"seq_len": 128}


# --- the six applications of the TPU paper --------------------------------------------------------------------------

TABLE_1 = {
    # FC, Conv, Vector, Pool, weights [M], MACs per weight byte, batch
    "mlp0": (5, 0, 0, 0, 20, 200, 200),
    "mlp1": (4, 0, 0, 0, 5, 168, 168),
    "lstm0": (24, 0, 34, 0, 52, 64, 64),
    "lstm1": (37, 0, 19, 0, 34, 96, 96),
    "cnn0": (0, 16, 0, 0, 8, 2888, 8),
    "cnn1": (4, 72, 0, 13, 100, 1750, 32),
}


@pytest.mark.parametrize("app", TABLE_1)
def test_jouppi_isca17_table_1(app):
    """Layers, weights, operations per byte of weights, batch; a layer's nonlinear function stands after a slash."""
    fc, conv, vector, pool, weights, intensity, batch = TABLE_1[app]
    graph = load_workload(f"tpu_v1_{app}")
    layers = Counter(op.kind for op in graph.ops if "/" not in op.name)
    assert layers == Counter({"matmul": fc, "conv2d": conv, "elementwise": vector, "pool": pool})
    assert round(graph.weight_bytes / 1e6) == weights
    assert round(graph.macs / graph.weight_bytes) == intensity
    assert graph.batch == batch
    assert {t.dtype for t in graph.tensors.values()} == {"int8"}


def test_jouppi_isca17_nonlinear_functions():
    """Table 1: ReLU in MLPs and CNNs, sigmoid and tanh in LSTMs."""
    for app in TABLE_1:
        ops = [op for op in load_workload(f"tpu_v1_{app}").ops if "/" in op.name and op.kind == "elementwise"]
        after = {op.function for op in ops} - {"mul", "add"}
        assert after == ({"sigmoid", "tanh"} if app.startswith("lstm") else {"relu"})


def test_jouppi_isca17_lstm1_has_600_by_600_matrices():
    graph = load_workload("tpu_v1_lstm1")
    gates = [op for op in graph.ops if op.kind == "matmul" and op.name != "projection"]
    assert {(op.k, op.n) for op in gates} == {(600, 600)}


# --- every workload -------------------------------------------------------------------------------------------------


def eight_outputs(graph, name):
    return next((op.outputs for op in graph.ops if op.name == name), None)


@pytest.mark.parametrize("name", EVERY)
def test_work_is_exactly_linear_in_the_batch_and_weights_do_not_change(name):
    one, eight = load_workload(name, batch=1), load_workload(name, batch=8)
    once = sum(op.macs for op in one.ops if op.outputs == eight_outputs(eight, op.name))
    assert eight.macs - once == 8 * (one.macs - once)
    assert once == 0 or name.startswith(("transformer_xl", "perceiver_learned")), (
        "what is of places is the same for all items"
    )
    assert eight.elementary == one.elementary * 8
    assert eight.weights == one.weights
    assert eight.batch == 8


@pytest.mark.parametrize("name", EVERY)
def test_every_op_is_modelled_and_every_product_has_its_operands(name):
    graph = load_workload(name, batch=2)
    assert graph.notes == ()
    for op in graph.ops:
        assert op.kind != "opaque"
        if op.kind in ("matmul", "conv2d"):
            product = op if op.kind == "matmul" else op.gemm
            assert op.outputs[0].elements == product.batch * product.m * product.n
            assert op.inputs[1].elements == product.batch * product.k * product.n


@pytest.mark.parametrize("name", LIGHT)
def test_a_light_network_has_one_input_and_one_output(name):
    graph = load_workload(name, batch=8)
    assert [t.shape for t in graph.inputs] == [(8, 3, 224, 224)]
    assert [t.elements for t in graph.outputs] == [8 * 1000]


# --- names and paths ------------------------------------------------------------------------------------------------


def test_short_names():
    assert load_workload("onnx:vgg19") == load_workload("onnx:light_vgg19")
    assert load_workload("onnx:alexnet") == load_workload("onnx:light_bvlc_alexnet")


def test_all_names_have_descriptions():
    assert all(description for _, description in workload_names())
    assert {"resnet50", "bert_base", *(f"tpu_v1_{app}" for app in TABLE_1)} < set(EVERY)
    assert len(LIGHT) == 9


def test_a_table_by_path_and_its_own_batch(tmp_path):
    path = tmp_path / "one.csv"
    path.write_text("#: batch = 3\nname,kind,m,k,n\nfc,matmul,B,4,5\n")
    assert load_workload(str(path)).macs == 3 * 20
    assert load_workload(path, batch=2).macs == 2 * 20


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet5", "did you mean 'resnet50'?; 'accelsim list workloads' names all"),
        ("vgg19", "did you mean 'onnx:vgg19'?"),
        ("bert", "did you mean 'bert_base'?"),
        ("onnx:vg19", "did you mean 'onnx:vgg19'?"),
        ("onnx:", "the onnx package has no such graph; want one of"),
        ("", "no workload has this name"),
        ("zzz", "there is no such file; 'accelsim list workloads' names all"),
        ("a" * 5000, "no workload has this name"),
        ("none.onnx", "none.onnx: no such file; want an ONNX model"),
        ("none.csv", "none.csv: no such file; want an op table"),
        (__file__, "want a file that ends in .onnx, .csv or .json"),
        (str(Path(__file__).parent), "want a file that ends in .onnx, .csv or .json"),
    ],
)
def test_unknown_names(name, said):
    with pytest.raises(WorkloadError) as caught:
        load_workload(name)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["resnet50", "bert_base", "onnx:vgg19"])
@pytest.mark.parametrize("batch", [0, -1, 2**20 + 1, True, 1.5, "8"])
def test_a_batch_is_a_whole_number(name, batch):
    with pytest.raises(WorkloadError, match=r"--batch .*: want a whole number from 1 to 1048576"):
        load_workload(name, batch=batch)


@pytest.mark.parametrize("name", ["resnet50", "bert_base", "onnx:vgg19"])
def test_unknown_parameters_name_the_known(name):
    with pytest.raises(
        WorkloadError, match=r"seqlen.*: unknown; (want one of \['seq_len'\]; did you mean|this .* none)"
    ):
        load_workload(name, params={"seqlen": 64})


def test_parameters_have_limits():
    for value in (0, 513, -1, 2**41, 1.5):
        with pytest.raises(WorkloadError, match="--param seq_len"):
            load_workload("bert_base", params={"seq_len": value})


def test_onnx_is_imported_for_onnx_models_alone():
    code = (
        "import sys; from accelsim.workload.library import load_workload, workload_names; workload_names();"
        "load_workload('resnet50'); load_workload('bert_base');"
        "sys.exit('onnx' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
