"""SCALE-Sim: its closed forms on ideal_systolic, its files, its reports.

Closed forms: Samajdar et al., "A Systematic Methodology for Characterizing Scalability of DNN Accelerators using
SCALE-Sim", ISPASS 2020.
"""

import csv
import io
import shutil
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.errors import ConfigError, InputError, MappingError, WorkloadError
from accelsim.cli import status
from accelsim.hardware.loader import load_device
from accelsim.report.scalesim_reports import bandwidth_report, compute_report
from accelsim.simulation import simulate
from accelsim.workload.graph import Graph
from accelsim.workload.library import load_workload
from accelsim.workload.ops import Conv2d, Matmul, Tensor
from accelsim.workload.scalesim import (
    ConvLayer,
    GemmLayer,
    Topology,
    is_topology,
    parse_topology,
    read_topology,
    topology_of,
    write_topology,
)
from accelsim.workload.table import parse_table, write_table

ALEXNET = """\
Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,
Conv1, 224, 224, 11, 11, 3, 96, 4,
Conv2, 27, 27, 5, 5, 96, 256, 1,
Conv3, 13, 13, 3, 3, 256, 384, 1,
Conv4, 13, 13, 3, 3, 384, 384, 1,
Conv5, 13, 13, 3, 3, 384, 256, 1,
"""
ALEXNET_32X32_WS = (112283, 373799, 185759, 278639, 185759)
"""Total Cycles of SCALE-Sim 3.0.0, run once with benchmarks/scalesim_peer.py: the index of each layer's last cycle."""

CONFIG = """\
[general]
run_name = "AlexNet 32x32 ws"

[architecture_presets]
ArrayHeight : 32
ArrayWidth  : 32
IfmapSramSzkB: 64
FilterSramSzkB: 32
OfmapSramSzkB: 16
IfmapOffset: 0
Dataflow : ws
Bandwidth : 10

[run_presets]
InterfaceBandwidth: CALC
"""

sizes = st.integers(1, 300)
sides = st.integers(1, 64)


def array(rows, cols, dataflow):
    names = {"core.matrix.rows": rows, "core.matrix.cols": cols, "core.matrix.dataflow": dataflow}
    return load_device("ideal_systolic", names)


def closed_form(m, k, n, r, c, dataflow):
    folds, each = {
        "os": (ceil(m / r) * ceil(n / c), k + r + c - 2),
        "ws": (ceil(k / r) * ceil(n / c), 2 * r + c + m - 2),
        "is": (ceil(k / r) * ceil(m / c), 2 * r + c + n - 2),
    }[dataflow]
    return folds * each


def assert_takes(result, cycles):
    """From start to end: 1 GHz, no stalls."""
    (op,) = result.ops
    assert (op.compute_cycles, op.stall_cycles) == (cycles, 0)
    assert result.latency_s == pytest.approx(cycles * 1e-9, rel=1e-12)


# --- cycles -----------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(sizes, sizes, sizes, sides, sides, st.sampled_from(["os", "ws", "is"]))
def test_a_product_takes_the_closed_form_end_to_end(m, k, n, rows, cols, dataflow):
    result = simulate(array(rows, cols, dataflow), Topology("t", (GemmLayer(name="p", m=m, n=n, k=k),)).graph())
    assert_takes(result, closed_form(m, k, n, rows, cols, dataflow))
    assert result.mac_utilization <= 1


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 30), st.integers(1, 30), st.integers(1, 7), st.integers(1, 7), st.integers(1, 20),
    st.integers(1, 40), st.integers(1, 5), sides, sides, st.sampled_from(["os", "ws", "is"]),
)  # fmt: skip
def test_a_convolution_takes_the_closed_form_of_its_product(h, w, r, s, c, f, stride, rows, cols, dataflow):
    r, s = min(r, h), min(s, w)
    layer = ConvLayer(
        name="c", ifmap_h=h, ifmap_w=w, filter_h=r, filter_w=s, channels=c, filters=f, stride_h=stride, stride_w=stride
    )
    pixels = ceil((h - r + stride) / stride) * ceil((w - s + stride) / stride)
    result = simulate(array(rows, cols, dataflow), Topology("t", (layer,)).graph())
    assert_takes(result, closed_form(pixels, r * s * c, f, rows, cols, dataflow))


def test_depthwise_channels_take_turns_as_scale_sim_s_do():
    """A DP layer is as many products of one channel as it has channels."""
    text = ALEXNET.splitlines()[0] + "\nDP1, 16, 16, 3, 3, 24, 1, 1,\n"
    result = simulate(array(16, 16, "ws"), parse_topology(text, file="dp.csv").graph())
    assert_takes(result, 24 * closed_form(14 * 14, 9, 1, 16, 16, "ws"))
    assert result.macs == 24 * 14 * 14 * 9


def test_alexnet_takes_what_scale_sim_said(tmp_path):
    (tmp_path / "scale.cfg").write_text(CONFIG)
    (tmp_path / "alexnet.csv").write_text(ALEXNET)
    result = simulate(tmp_path / "scale.cfg", str(tmp_path / "alexnet.csv"))
    assert [op.name for op in result.ops] == ["Conv1", "Conv2", "Conv3", "Conv4", "Conv5"]
    assert tuple(op.compute_cycles - 1 for op in result.ops) == ALEXNET_32X32_WS
    assert result.latency_s * 1e9 == pytest.approx(sum(ALEXNET_32X32_WS) + 5, rel=1e-12)


SPARSE = """\
Layer, M, N, K, Sparsity,
a, 64, 32, 64, 2:4,
b, 64, 32, 64, 1:4,
c, 64, 32, 64, 1:1,
d, 50, 20, 70, 2:4,
"""
SPARSE_8X8_WS = (1375, 687, 2751, 1079)
"""Total Cycles of SCALE-Sim 3.0.0 with SparsitySupport: the index of each layer's last cycle."""


def test_sparse_filters_take_what_scale_sim_said():
    device = array(8, 8, "ws")
    result = simulate(device, parse_topology(SPARSE, file="sparse.csv").graph())
    assert tuple(op.compute_cycles - 1 for op in result.ops) == SPARSE_8X8_WS
    assert result.mac_utilization <= 1
    graph = parse_topology(SPARSE, file="sparse.csv").graph()
    for row in table(compute_report(result, device, graph)):
        assert float(row["Compute Util %"]) <= float(row["Mapping Efficiency %"]) <= 100


# --- topologies -------------------------------------------------------------------------------------------------------


def test_commas_at_the_end_blanks_comments_and_tabs_do_not_matter():
    tidy = parse_topology(ALEXNET, file="a.csv").layers
    wild = (
        "# a comment, with commas\n\n" + ALEXNET.splitlines()[0].rstrip(",") + "\n\n"
        "\tConv1\t,224 ,\t224,11,11,3,96,4\n   \n"
        "Conv2, 27, 27, 5, 5, 96, 256, 1,# dw\n"
        "# Conv9, 1, 1, 1, 1, 1, 1, 1,\r\n"
        "Conv3, 13, 13, 3, 3, 256, 384, 1,,,\r\n"
        "Conv4\t13\t13\t3\t3\t384\t384\t1\n"
        "Conv5, 13, 13, 3, 3, 384, 256, 1"
    )
    assert parse_topology(wild, file="a.csv").layers == tidy


def test_products_and_their_sparsity():
    topology = parse_topology("Layer, M, N, K, Sparsity,\nq, 196, 192, 384, 2:4,\nav,196,64,1176,\n", file="vit.csv")
    assert topology.name == "vit"
    assert topology.layers == (
        GemmLayer(name="q", m=196, n=192, k=384, sparsity=(2, 4)),
        GemmLayer(name="av", m=196, n=64, k=1176),
    )
    assert [(op.m, op.n, op.k) for op in topology.graph().ops] == [(196, 192, 384), (196, 64, 1176)]
    assert [op.m for op in topology.graph(batch=4).ops] == [784, 784]


def test_two_strides_where_the_header_or_the_row_has_them():
    head = ALEXNET.splitlines()[0].replace("Strides", "Stride height, Stride width")
    (layer,) = parse_topology(f"{head}\nc, 9, 9, 3, 3, 1, 1, 2, 3,\n", file="a.csv").layers
    assert (layer.stride_h, layer.stride_w) == (2, 3)
    (layer,) = parse_topology(ALEXNET.splitlines()[0] + "\nc, 9, 9, 3, 3, 1, 1, 2, 3, 1:4,\n", file="a.csv").layers
    assert (layer.stride_h, layer.stride_w, layer.sparsity) == (2, 3, (1, 4))
    assert (layer.ofmap[0], layer.ofmap[1]) == (ceil((9 - 3 + 2) / 2), ceil((9 - 3 + 3) / 3))


def test_the_size_of_a_result_rounds_up_here_and_down_in_onnx_s_rule():
    """``ceil((10 - 3 + 2) / 2)`` is 5; ONNX finds 4 windows, and 5 with the padding that stands for the rest."""
    (layer,) = parse_topology(ALEXNET.splitlines()[0] + "\nc, 10, 10, 3, 3, 8, 4, 2,\n", file="a.csv").layers
    graph = Topology("t", (layer,)).graph()
    (op,) = graph.ops
    assert (op.h_out, op.w_out, op.pad) == (5, 5, (0, 0, 1, 1))
    again = parse_table(write_table(graph), file="t.csv")  # op tables keep ONNX's rule
    assert again.ops[0].macs == op.macs


def test_names_that_stand_twice_are_told_apart():
    topology = parse_topology("Layer,M,N,K\na,1,1,1\na,1,1,1\na_2,1,1,1\n", file="t.csv")
    assert [op.name for op in topology.graph().ops] == ["a", "a_2", "a_2_2"]


def test_every_mistake_at_once_with_file_line_and_column():
    text = (
        ALEXNET.splitlines()[0] + "\n"
        ", 224, 224, 11, 11, 3, 96, 4,\n"
        "b, 224, x, 11, 11, -3, 96, 0,\n"
        "c, 5, 5, 7, 9, 3, 96, 4,\n"
        "d, 224, 224,\n"
        "e, 9, 9, 3, 3, 1, 1, 1, 5:4,\n"
        "f, 9, 9, 3, 3, 1, 1, 1, 1, 2:4, 7,\n"
    )
    with pytest.raises(WorkloadError) as error:
        parse_topology(text, file="net.csv")
    assert list(error.value.problems) == [
        "net.csv, line 2, Layer name: missing; want the layer's name",
        "net.csv, line 3, IFMAP Width: 'x': want a whole number from 1 to 2^40",
        "net.csv, line 3, Channels: '-3': want a whole number from 1 to 2^40",
        "net.csv, line 3, Strides: '0': want a whole number from 1 to 2^40",
        "net.csv, line 4, Filter Height: 7: is larger than the image; want at most 5",
        "net.csv, line 4, Filter Width: 9: is larger than the image; want at most 5",
        "net.csv, line 5, row: 3 cells; want 8: Filter Height, Filter Width, Channels, Num Filter, Strides missing",
        "net.csv, line 6, Sparsity: '5:4': want N:M with N of M filter weights that are not zero, as 2:4",
        "net.csv, line 7, row: 1 cells too many after '2:4'",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no header row"),
        ("# only this\n", "no header row"),
        ("Layer, one, two\na,1,2\n", "line 1, header"),
        ("Layer,M,N,K\n", "no layers"),
    ],
)
def test_what_is_no_topology(text, said):
    with pytest.raises(WorkloadError, match=said):
        parse_topology(text, file="net.csv")


def test_a_topology_is_told_from_an_op_table_by_its_header(tmp_path):
    assert is_topology(ALEXNET)
    assert is_topology("\n# c\nLayer,M,N,K\n")
    assert not is_topology("#: name = x\nname,kind,m,k,n\nlayer,matmul,1,1,1\n")
    (tmp_path / "net.csv").write_text(ALEXNET)
    assert load_workload(str(tmp_path / "net.csv")).macs == sum(
        ceil((h - r + s) / s) ** 2 * r * r * c * f
        for h, r, c, f, s in ((224, 11, 3, 96, 4), (27, 5, 96, 256, 1), (13, 3, 256, 384, 1), (13, 3, 384, 384, 1),
                              (13, 3, 384, 256, 1))
    )  # fmt: skip
    with pytest.raises(WorkloadError, match="a SCALE-Sim topology takes none"):
        load_workload(str(tmp_path / "net.csv"), params={"seq_len": 3})


layer_names = st.text("abcXYZ_019-", min_size=1, max_size=8)
conv_layers = st.builds(
    lambda name, h, w, r, s, c, f, stride, ratio: ConvLayer(
        name=name, ifmap_h=max(h, r), ifmap_w=max(w, s), filter_h=r, filter_w=s, channels=c, filters=f,
        stride_h=stride, stride_w=stride, sparsity=ratio,
    ),
    layer_names, sizes, sizes, st.integers(1, 11), st.integers(1, 11), sizes, sizes, st.integers(1, 4),
    st.sampled_from([(1, 1), (2, 4), (1, 4)]),
)  # fmt: skip
gemm_layers = st.builds(
    lambda name, m, n, k, ratio: GemmLayer(name=name, m=m, n=n, k=k, sparsity=ratio),
    layer_names, sizes, sizes, sizes, st.sampled_from([(1, 1), (2, 4)]),
)  # fmt: skip


@given(st.one_of(st.lists(conv_layers, min_size=1, max_size=4), st.lists(gemm_layers, min_size=1, max_size=4)))
def test_what_is_written_reads_the_same(layers):
    topology = Topology("t", tuple(layers))
    assert parse_topology(write_topology(topology), file="t.csv") == topology


@given(st.lists(conv_layers, min_size=1, max_size=3))
def test_a_graph_becomes_the_topology_that_it_came_from(layers):
    graph = Topology("t", tuple(layers)).graph()
    back = topology_of(graph)
    assert [(x.cells[1:], x.sparsity) for x in back.layers] == [(x.cells[1:], x.sparsity) for x in layers]
    assert back.graph().macs == graph.macs


def conv(name="c", **changes):
    shape = {"batch": 1, "c_in": 8, "h_in": 14, "w_in": 14, "c_out": 8, "h_out": 14, "w_out": 14, "kh": 3, "kw": 3}
    shape |= {"pad": (1, 1, 1, 1)} | changes
    x = Tensor(name=f"{name}.x", shape=(shape["batch"], shape["c_in"], shape["h_in"], shape["w_in"]))
    w = Tensor(name=f"{name}.w", shape=(shape["c_out"], shape["c_in"] // shape.get("groups", 1), 3, 3), role="weight")
    y = Tensor(name=f"{name}.y", shape=(shape["batch"], shape["c_out"], shape["h_out"], shape["w_out"]))
    return Conv2d(name=name, inputs=(x, w), outputs=(y,), **shape)


def test_padding_is_written_into_the_image_and_groups_into_rows_of_their_own():
    graph = Graph(name="g", ops=(conv("a"), conv("dw", groups=8), conv("g2", groups=2), conv("aDP,#1 x")))
    topology = topology_of(graph)
    assert [layer.name for layer in topology.layers] == ["a", "DP_dw", "g2_0", "g2_1", "aDp_1_x"]
    assert {(layer.ifmap_h, layer.ofmap) for layer in topology.layers} == {(16, (14, 14))}
    assert topology.graph().macs == graph.macs
    assert parse_topology(write_topology(topology), file="g.csv") == Topology("g", topology.layers)


def test_what_scale_sim_s_convolutions_cannot_say_becomes_products():
    ops = (conv("a", batch=2), conv("b", stride=(1, 2), w_out=7), conv("d", dilation=(2, 2), pad=(2, 2, 2, 2)))
    graph = Graph(name="g", ops=ops)
    topology = topology_of(graph)
    assert {type(layer) for layer in topology.layers} == {GemmLayer}
    assert topology.graph().macs == graph.macs
    with pytest.raises(WorkloadError) as error:
        topology_of(graph, layout="conv")
    assert [p.split(":")[1].strip() for p in error.value.problems] == ["op a", "op b", "op d"]


def test_products_are_convolutions_as_wide_as_their_image():
    a, b = Tensor(name="a", shape=(3, 5, 7)), Tensor(name="b", shape=(3, 7, 2), role="weight")
    op = Matmul(name="p", inputs=(a, b), outputs=(Tensor(name="c", shape=(3, 5, 2)),), batch=3, m=5, k=7, n=2)
    graph = Graph(name="g", ops=(conv(), op))
    layers = topology_of(graph).layers
    assert [layer.name for layer in layers] == ["c", "p_0", "p_1", "p_2"]
    assert layers[1].cells[1:] == (5, 7, 1, 7, 1, 2, 1)
    assert topology_of(graph).graph().macs == graph.macs
    assert {type(layer) for layer in topology_of(Graph(name="g", ops=(op,))).layers} == {GemmLayer}


def test_what_cannot_be_written_is_refused():
    softmax_only = load_workload("bert_base")
    assert len(topology_of(softmax_only).layers) > 70
    uneven = ConvLayer(name="u", ifmap_h=9, ifmap_w=9, filter_h=3, filter_w=3, channels=1, filters=1, stride_h=1,
                       stride_w=2)  # fmt: skip
    with pytest.raises(WorkloadError, match="layer u: SCALE-Sim has one stride"):
        write_topology(Topology("t", (uneven,)))
    with pytest.raises(WorkloadError, match="one layout"):
        write_topology(Topology("t", (uneven, GemmLayer(name="g", m=1, n=1, k=1))))


def test_the_command_line_converts_both_ways(tmp_path, capsys):
    ours, theirs = tmp_path / "resnet50.csv", tmp_path / "ops.csv"
    assert status(["convert", "resnet50", str(ours), "--scalesim"]) == 0
    assert status(["convert", str(ours), str(theirs)]) == 0
    assert status(["check", str(ours), str(theirs)]) == 0
    products = {load_workload(name, batch=1).macs for name in ("resnet50", str(ours), str(theirs))}
    assert len(products) == 1
    assert ours.read_text().startswith("Layer name, IFMAP Height, IFMAP Width,")


def test_files_that_are_not_there_or_no_text(tmp_path):
    (tmp_path / "b.csv").write_bytes(b"Layer\xff,M")
    for name in ("b.csv", "none.csv"):
        with pytest.raises(WorkloadError, match="want a SCALE-Sim topology"):
            read_topology(tmp_path / name)


# --- configurations ---------------------------------------------------------------------------------------------------


def config(tmp_path, text, name="scale.cfg"):
    (tmp_path / name).write_text(text)
    return tmp_path / name


def test_a_configuration_that_asks_what_bandwidth_it_wants_is_an_ideal_array(tmp_path):
    device = load_device(config(tmp_path, CONFIG.replace("ws", "is", 2).replace("32\n", "48\n", 1)))
    assert device.name == "alexnet_32x32_is"
    assert (device.core.matrix.rows, device.core.matrix.cols, device.core.matrix.dataflow) == (48, 32, "is")
    assert device.dram is None
    assert not device.core.matrix.stationary_double_buffered


def test_a_configuration_with_a_bandwidth_has_srams_and_a_dram(tmp_path):
    device = load_device(config(tmp_path, CONFIG.replace("CALC", "USER")))
    sizes_kb = {m.name: m.capacity_bytes // 1024 for m in device.memory if m.kind == "sram"}
    assert sizes_kb == {"ifmap_sram": 64, "filter_sram": 32, "ofmap_sram": 16}
    assert device.dram.bandwidth_bytes_per_s == 3 * 10 * 1e9  # words of a byte, three interfaces, 1 GHz
    assert load_device(tmp_path / "scale.cfg", {"dram.bandwidth_bytes_per_s": 5e9}).dram.bandwidth_bytes_per_s == 5e9


def user_config(words, size_kb):
    text = CONFIG.replace("CALC", "USER").replace("Bandwidth : 10", f"Bandwidth : {words}")
    text = text.replace("ArrayHeight : 32", "ArrayHeight : 16").replace("ArrayWidth  : 32", "ArrayWidth : 16")
    for old in (64, 32, 16):
        text = text.replace(f"SzkB: {old}\n", f"SzkB: {size_kb}\n")
    return text


@pytest.mark.parametrize("words", [1, 4, 10])
def test_larger_srams_and_more_bandwidth_are_never_slower(tmp_path, words):
    """SCALE-Sim 3.0.0: this product goes from 9,963 to 52,745 cycles when its SRAMs double from 2 to 4 kB."""
    graph = Topology("t", (GemmLayer(name="p", m=128, n=64, k=128),)).graph()

    def cycles(words, size_kb):
        return simulate(config(tmp_path, user_config(words, size_kb)), graph).latency_s * 1e9

    by_size = [cycles(words, size_kb) for size_kb in (2, 4, 8, 16, 64)]
    assert by_size == sorted(by_size, reverse=True)
    assert cycles(2 * words, 4) <= cycles(words, 4)
    assert by_size[-1] >= closed_form(128, 128, 64, 16, 16, "ws")


def test_an_array_without_sparsity_support_refuses_sparse_filters(tmp_path):
    device = load_device(config(tmp_path, CONFIG + "\n[sparsity]\nSparsitySupport : false\n"))
    with pytest.raises(MappingError, match="op a: alexnet_32x32_ws does not skip the zeros of 2:4"):
        simulate(device, parse_topology(SPARSE, file="sparse.csv").graph())


def test_version_one_s_configurations_have_no_presets(tmp_path):
    """ARM-software/SCALE-Sim, configs/google.cfg."""
    text = CONFIG.split("[run_presets]")[0].replace("SzkB", "Sz").replace("Bandwidth : 10\n", "")
    assert load_device(config(tmp_path, text)).dram is None


def test_every_mistake_of_a_configuration_at_once(tmp_path):
    text = CONFIG.replace(": 32\nArrayWidth", ": many\nArrayWdth").replace(": ws", ": rs").replace("CALC", "MAYBE")
    path = config(tmp_path, text.replace("IfmapOffset: 0", "IfmapOffset 0\nFilterSramSzkB: 7\n[broken"))
    with pytest.raises(ConfigError) as error:
        load_device(path)
    assert list(error.value.problems) == [
        f"{path}, line 10: 'IfmapOffset 0': want KEY : VALUE",
        f"{path}, line 11, FilterSramSzkB: stands on line 8 too",
        f"{path}, line 12: '[broken': want a section such as [general]",
        f"{path}, line 5, ArrayHeight: 'many': want a whole number from 1 to 2^30",
        f"{path}: ArrayWidth: missing; is it meant by 'ArrayWdth'?",
        f"{path}, line 13, Dataflow: 'rs': want one of os, ws, is",
        f"{path}, line 17, InterfaceBandwidth: 'MAYBE': want one of CALC, USER",
    ]
    with pytest.raises(ConfigError, match=r"none\.cfg: no such file"):
        load_device(tmp_path / "none.cfg")


# --- reports ----------------------------------------------------------------------------------------------------------


def table(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_reports_have_names_and_totals_and_scale_sim_s_numbers(tmp_path, capsys):
    """SCALE-Sim 3.0.0 on the same files: SRAM reads and writes of DETAILED_ACCESS_REPORT, mapping efficiencies."""
    config(tmp_path, CONFIG)
    (tmp_path / "alexnet.csv").write_text(ALEXNET)
    run = ["run", str(tmp_path / "scale.cfg"), str(tmp_path / "alexnet.csv"), "--reports", str(tmp_path / "out")]
    assert status(run) == 0
    assert "COMPUTE_REPORT.csv" in capsys.readouterr().err
    compute = table((tmp_path / "out" / "COMPUTE_REPORT.csv").read_text())
    bandwidth = table((tmp_path / "out" / "BANDWIDTH_REPORT.csv").read_text())
    assert [row["Layer name"] for row in compute] == ["Conv1", "Conv2", "Conv3", "Conv4", "Conv5", ""]
    assert [row["LayerID"] for row in bandwidth] == ["0", "1", "2", "3", "4", "total"]
    cycles = [int(row["Total Cycles"]) for row in compute]
    assert cycles == [*(n + 1 for n in ALEXNET_32X32_WS), sum(ALEXNET_32X32_WS) + 5]
    assert [float(row["Mapping Efficiency %"]) for row in compute[:5]] == [94.53125, 100, 100, 100, 100]
    accesses = {"IFMAP": (3294225, 10156800, 3345408), "FILTER": (34848, 614400, 884736),
                "OFMAP": (3484800, 10156800, 3345408)}  # fmt: skip
    for operand, words in accesses.items():
        for row, count, n in zip(bandwidth, cycles, words, strict=False):
            assert float(row[f"Avg {operand} SRAM BW"]) * count == pytest.approx(n, rel=1e-12)
    assert float(bandwidth[0]["Avg IFMAP DRAM BW"]) * cycles[0] == pytest.approx(3 * 224 * 224)  # each word once


def test_reports_of_a_device_with_dram_count_what_crosses(tmp_path):
    device = load_device(config(tmp_path, CONFIG.replace("CALC", "USER")))
    graph = parse_topology(ALEXNET, file="alexnet.csv").graph()
    result = simulate(device, graph)
    total = table(bandwidth_report(result, device, graph))[-1]
    cycles = int(table(compute_report(result, device, graph))[-1]["Total Cycles"])
    words = sum(float(total[f"Avg {operand} DRAM BW"]) for operand in ("IFMAP", "FILTER", "OFMAP")) * cycles
    assert words == pytest.approx(result.dram_bytes)
    assert float(table(compute_report(result, device, graph))[-1]["Overall Util %"]) <= 100


def test_reports_want_a_systolic_array_and_one_run(tmp_path, capsys):
    result = simulate("nvidia_t4", graph := Topology("t", (GemmLayer(name="p", m=64, n=64, k=64),)).graph())
    with pytest.raises(InputError, match="has no systolic array"):
        compute_report(result, load_device("nvidia_t4"), graph)
    shutil.copy(config(tmp_path, CONFIG), tmp_path / "b.cfg")
    assert status(["run", "tpu_v1", "tpu_v1_mlp0", "--batch", "1,2", "--reports", str(tmp_path / "r")]) == 2
    assert "--reports are of one run" in capsys.readouterr().err
