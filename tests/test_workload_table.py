"""Op tables: what is written can be read, at any batch, and what is wrong is said in full."""

import pytest
from hypothesis import given
from workload_strategies import graphs

from accelsim.base.errors import WorkloadError
from accelsim.workload.library import load_workload, workload_names
from accelsim.workload.ops import Conv2d, Elementwise, Matmul, Tensor
from accelsim.workload.table import __doc__ as guide
from accelsim.workload.table import parse_table, read_table, write_table
from accelsim.workload.table_form import quoted, size, unquoted
from accelsim.workload.transforms import fuse_epilogues

ALL = [name for name, _ in workload_names()]
HEAD = "name,kind,m,k,n,function,window,inputs,outputs\n"


def parse(text, **options):
    return parse_table(text, file="net.csv", **options)


def problems(text, **options):
    with pytest.raises(WorkloadError) as caught:
        parse(text, **options)
    return caught.value.problems


@given(graphs())
def test_what_is_written_is_read_back(graph):
    assert parse(write_table(graph)) == graph


@pytest.mark.parametrize("name", ALL)
def test_tables_hold_a_workload_at_every_batch(name):
    table = write_table(lambda batch: load_workload(name, batch=batch))
    for batch in (1, 8, 13):
        assert parse(table, batch=batch) == load_workload(name, batch=batch)


@given(graphs(), graphs())
def test_names_of_any_letters_survive(one, other):
    for text in (one.name, other.source):
        assert unquoted(quoted(text, ";[]@")) == text


def test_a_table_may_be_spread_over_a_spreadsheets_commas(tmp_path):
    """A spreadsheet saves comments with commas behind them, and a byte order mark before all."""
    path = tmp_path / "net.csv"
    text = '#: batch = 4,,,,\n"#: note = one, two",,\n# free text,,\n\n' + HEAD + "fc,matmul,B,8,2,,,,,,,\n"
    path.write_text(text, encoding="utf-8-sig", newline="\r\n")
    graph = read_table(path)
    assert (graph.name, graph.batch, graph.notes, graph.macs) == ("net", 4, ("one, two",), 4 * 8 * 2)


def test_the_example_of_the_guide_is_read():
    text = "\n".join(line[4:] for line in guide.split("::", 1)[1].split("One row is")[0].splitlines())
    graph = parse(text)
    assert (graph.name, graph.batch, graph.parameters) == ("two_layers", 200, 784 * 512 + 512 * 10)
    assert graph.ops[0].dtype == "int8"
    assert parse(text, batch=3).macs == 3 * graph.parameters


def test_what_is_left_out_is_filled_in():
    text = (
        "name,kind,c_out,kh,kw,stride,pad,groups,function,m,k,n,inputs,outputs\n"
        "conv,conv2d,8,3,3,2,1,2,,,,,x[B 4 9 9],\n"
        "act,elementwise,,,,,,,relu,,,,,\n"
        "fc,matmul,,,,,,,,B,200,10,,\n"
        "p,softmax,,,,,,,,,,,,\n"
    )
    conv, act, fc, softmax = parse(text, batch=2).ops
    assert conv == Conv2d(
        name="conv", batch=2, c_in=4, h_in=9, w_in=9, c_out=8, h_out=5, w_out=5, kh=3, kw=3, stride=(2, 2),
        pad=(1, 1, 1, 1), groups=2, outputs=(Tensor(name="conv", shape=(2, 8, 5, 5)),),
        inputs=(Tensor(name="x", shape=(2, 4, 9, 9)), Tensor(name="conv.weight", shape=(8, 2, 3, 3), role="weight")),
    )  # fmt: skip
    assert act == Elementwise(
        name="act", function="relu", inputs=conv.outputs, outputs=(Tensor(name="act", shape=(2, 8, 5, 5)),)
    )
    assert isinstance(fc, Matmul)
    assert [t.name for t in fc.inputs] == ["act", "fc.weight"]
    assert (softmax.rows, softmax.cols) == (2, 10)


def test_symbols_and_their_limits():
    text = "#: param seq = 128 in 1..512\n" + HEAD + "fc,matmul,B*seq,8,2,,,,\n"
    assert parse(text).macs == 128 * 16
    graph = parse(text, batch=2, params={"seq": 3})
    assert (graph.macs, graph.params) == (2 * 3 * 16, {"seq": 3})
    assert problems(text, params={"seq": 513}) == ("net.csv: --param seq=513: want a whole number from 1 to 512",)
    assert problems(text, params={"seg": 5}) == (
        "net.csv: --param seg=5: unknown; want one of ['seq']; did you mean 'seq'?",
    )


def test_a_fixed_table_refuses_another_batch_and_parameter():
    table = write_table(load_workload("bert_base", batch=2))
    assert parse(table).batch == parse(table, batch=2).batch == 2
    assert problems(table, batch=3) == ("net.csv: --batch 3: no size in this table has the symbol B; it is fixed at 2",)
    assert problems(table, params={"seq_len": 64}) == ("net.csv: --param seq_len=64: fixed at 128 in this table",)


def test_fused_graphs_and_odd_growth_are_refused():
    with pytest.raises(WorkloadError, match="fused"):
        write_table(fuse_epilogues(load_workload("resnet50")))

    def odd(batch):
        return load_workload("tpu_v1_mlp0", batch=batch * batch)

    with pytest.raises(WorkloadError, match="at batch 1, 2 and 3 it is 1, 4, 9: neither fixed nor in proportion"):
        write_table(odd)


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("0", "want a whole number from 1 to 2^40"),
        ("-3", "want a whole number from 1 to 2^40"),
        ("1.5", "want a whole number from 1 to 2^40"),
        ("nan", "symbol 'nan': unknown; want one of ['B']"),
        ("inf", "symbol 'inf': unknown"),
        ("1e3", "symbol 'e3': unknown"),
        ("1099511627777", "want a whole number from 1 to 2^40"),
        ("1099511627776B", "want a whole number from 1 to 2^40"),
        ("9" * 5000, "want a whole number from 1 to 2^40"),
        ("²", "want a whole number from 1 to 2^40"),
        ("2+2", "want a whole number from 1 to 2^40"),
        ("b", "symbol 'b': unknown; want one of ['B']"),
    ],
)
def test_wrong_sizes_are_refused(cell, said):
    (problem,) = problems(HEAD + f"fc,matmul,{cell},8,2,,,,\n", batch=2)
    assert problem.startswith(f"net.csv, line 2, m: '{cell}': ")
    assert said in problem


def test_all_mistakes_are_said_at_once():
    text = HEAD + (
        "a,matmull,B,8,2,,,x[B 8],\n"
        "b,elementwise,,,,rellu,,x[B 8],\n"
        "c,matmul,B,0,2,,7,x[B 8],\n"
        "d,pool,,,,,4,y,z[B 2]\n"
        "e,elementwise,,,,relu,,z,\n"
        "f,matmul,B,8,2,,,x[B 8:]; @w[2 2]:fp31,\n"
        ",softmax,,,,,,z,\n"
    )
    said = problems(text)
    wanted = (
        "line 2, kind: 'matmull': want one of",
        "line 3, function: 'rellu': want one of",
        "line 4, window: '7': a matmul has no such size",
        "line 4, k: '0': want a whole number",
        "line 5, inputs: 'y': first mentioned here; want its shape",
        "line 7, inputs: 'B': ",
        "line 7, inputs: '@w[2 2]:fp31': number format 'fp31'",
        "line 8, name: missing",
    )
    joined = "\n".join(said)
    for text in wanted[:5] + wanted[6:]:
        assert text in joined
    assert "did you mean 'matmul'?" in joined
    assert "did you mean 'relu'?" in joined
    assert not any("line 6" in line for line in said)  # no mistake of its own


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no header row"),
        ("name,kynd\n", "column 'kynd': unknown"),
        ("name,kind,kind\n", "column 'kind': stands 2 times"),
        ("kind,m\n", "column 'name': missing"),
        (HEAD, "no ops; want at least one"),
        ("#: bach = 3\n" + HEAD, "did you mean 'batch'?"),
        ("#: batch = 0\n" + HEAD, "'0': want a whole number from 1 to 2^20"),
        ("#: batch = many\n" + HEAD, "'many': want a whole number from 1 to 2^20"),
        ("#: dtype = fp33\n" + HEAD, "did you mean 'fp32'?"),
        ("#: param B = 3\n" + HEAD, "want 'param NAME = DEFAULT'"),
        ("#: batch\n" + HEAD, "want KEY = VALUE"),
        (HEAD + '"a,matmul\n', "line 2, row: not comma-separated cells"),
        (HEAD + "a,matmul,B,8,2,,,,,,1\n", "line 2, row: 11 cells; want at most 9"),
        (HEAD + "a,matmul,B,8,,,,,\n", "line 2, n: missing"),
        (HEAD + "a,pool,,,,,2,,\n", "line 2, inputs: missing"),
        (HEAD + "a,pool,,,,,2,x[3],\n", "line 2, outputs: missing"),
        (HEAD + "a,matmul,2,2,2,,,[3],\n", "want a tensor such as"),
        (HEAD + "a,matmul,2,2,2,,,x[2 2],y[2 2]\na,matmul,2,2,2,,,y,z[2 2]\n", "this name stands twice"),
        (HEAD + "a,matmul,2,2,2,,,x[2 2],y[2 2]\nb,matmul,2,2,2,,,x[2 3],z[2 2]\n", "activation [2, 3] fp32 here"),
        (HEAD + "a,matmul,2,2,2,,,x[2 2],x\n", "net.csv"),
        ("name,kind,c_out,kh,kw,inputs\na,conv2d,8,9,9,x[1 3 4 4]\n", "kernel is larger than the padded image"),
        ("name,kind,c_out,kh,kw,h_out,inputs\na,conv2d,8,3,3,7,x[1 3 4 4]\n", "stride, padding and dilation make it 2"),
        ("name,kind,c_out,kh,kw,groups,inputs\na,conv2d,8,3,3,2,x[1 3 4 4]\n", "want groups to divide c_in and c_out"),
        ("name,kind,c_out,kh,kw,stride,inputs\na,conv2d,8,3,3,1 2 3,x[1 3 4 4]\n", "want 2 sizes, as in '1 1'"),
    ],
)
def test_mistakes_name_file_line_and_what_is_wanted(text, said):
    found = problems(text)
    assert any(said in problem for problem in found), found
    assert all(problem.startswith("net.csv") for problem in found)


def test_a_product_with_the_largest_size():
    assert size("1099511627776", {}) == 2**40


def test_files_that_are_no_tables(tmp_path):
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"\xff\xfe\x00\x01")
    for path, said in ((tmp_path, "a folder"), (tmp_path / "none.csv", "no such file"), (binary, "not a text file")):
        with pytest.raises(WorkloadError, match=said):
            read_table(path)


# --- sizes and tensors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "row", "said"),
    [
        ("m,k,n,inputs", "B,784,10,x[B 700]", "inputs: x[2 700]: want m x k = 2 x 784 for A"),
        ("m,k,n,inputs", "B,784,10,x[B 784];@w[10 780]", "inputs: w[10 780]: want k x n = 784 x 10 for B"),
        ("m,k,n,inputs,outputs", "B,784,10,x[B 784],y[B 11]", "outputs: y[2 11]: want m x n = 20 numbers"),
        ("m,k,n,batch,inputs", "3,4,5,6,x[6 3 4];y[4 4 5]", "inputs: y[4 4 5]: want 6 x k x n = 6 x 4 x 5 for B"),
    ],
)
def test_a_matmul_whose_tensors_are_not_what_its_sizes_say_is_refused(columns, row, said):
    text = f"#: batch = 2\nname,kind,{columns}\nfc,matmul,{row}\n"
    assert problems(text) == (f"net.csv, line 3, {said}",)


@pytest.mark.parametrize(
    "operands",
    [
        "x[6 3 4]; y[6 4 5]",
        "x[6 3 4]; y[4 5]",  # one B for all
        "x[2 3 4]; y[3 1 4 5]",  # broadcast in both
        "x[6 3 4]; @experts[8 4 5]",  # six of eight experts
        "x[6 3 3]; y[6 4 5]; beside[6 3 1]",  # A in two tensors
    ],
)
def test_operands_may_be_broadcast_chosen_or_in_parts(operands):
    text = f"name,kind,m,k,n,batch,inputs\nmany,matmul,3,4,5,6,{operands}\n"
    assert parse(text).macs == 360


def test_a_convolution_is_held_to_its_image_filters_and_result():
    head = "name,kind,c_in,h_in,w_in,c_out,kh,kw,batch,inputs,outputs\n"
    assert problems(head + "c,conv2d,3,8,8,4,3,3,1,x[1 3 8 9];@w[4 3 3 2],y[1 4 6 7]\n") == (
        "net.csv, line 2, inputs: x[1 3 8 9]: want batch, c_in, h_in and w_in = [1, 3, 8, 8]",
        "net.csv, line 2, inputs: w[4 3 3 2]: want c_out x (c_in / groups) x kh x kw = 108 numbers",
        "net.csv, line 2, outputs: y[1 4 6 7]: want batch x c_out x h_out x w_out = 144 numbers",
    )


def test_an_attention_is_held_to_its_operands():
    head = "name,kind,heads,kv_heads,head_dim,inputs\n"
    (said,) = problems(head + "a,attention,8,2,16,q[1 4 128];&k[1 9 32];&v[1 9 16]\n")
    assert said == "net.csv, line 2, inputs: v[1 9 16]: want batch x kv_len x kv_heads x head_dim = 288 numbers"
