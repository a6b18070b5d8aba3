"""The command line as a person meets it: what comes out, what is refused and how, and what is left behind."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from accelsim.cli import COMMANDS, status
from accelsim.hardware.loader import device_names, load_device

MLP = ("run", "tpu_v1", "tpu_v1_mlp0")


@pytest.fixture(autouse=True)
def _somewhere_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capsys):
    def run(*args):
        code = status(list(args))
        out, err = capsys.readouterr()
        return code, out, err

    return run


def python(code, **kwargs):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, **kwargs)


# --- starting up


def test_help_loads_nothing_heavy():
    heavy = ("numpy", "numba", "matplotlib", "onnx", "pydantic", "simpy", "rich")
    done = python(
        "import sys; from accelsim.cli import status; code = status(['--help']); "
        f"print('LOADED', [name for name in {heavy} if name in sys.modules]); sys.exit(code)"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "LOADED []"


def test_importing_accelsim_loads_nothing_heavy():
    done = python("import sys, accelsim; print([n for n in ('numpy', 'pydantic', 'click') if n in sys.modules])")
    assert done.stdout == "[]\n"


def test_help_names_every_command(run):
    code, out, _ = run("--help")
    assert code == 0
    assert [name for name in COMMANDS if f"\n  {name} " not in out] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(run, name):
    code, out, err = run(name, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: accelsim {name}")


def test_version(run):
    code, out, _ = run("--version")
    assert code == 0
    assert out.startswith("accelsim")


def test_python_m_accelsim_is_the_command():
    done = subprocess.run([sys.executable, "-m", "accelsim", *MLP], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("tpu_v1_mlp0 on tpu_v1  batch 200")


# --- what comes out


def test_a_run_names_its_bottleneck(run):
    code, out, err = run(*MLP, "--batch", "1")
    assert (code, err) == (0, "")
    assert "bound by dram (weights)" in out
    assert "the device's default" in out


def test_json_on_standard_output_is_all_there_is(run):
    code, out, err = run(*MLP, "--json", "-")
    result = json.loads(out)
    assert (code, err) == (0, "")
    assert result["schema"] == "accelsim.result/1"
    assert result["device"]["name"] == "tpu_v1"
    assert (result["batch"], result["precision"]) == (200, "int8")


def test_csv_on_standard_output_is_all_there_is(run):
    _, out, _ = run(*MLP, "--csv", "-")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert {row["op"] for row in rows} >= {"fc1", "fc5"}
    assert all(float(row["end_s"]) >= float(row["start_s"]) for row in rows)


def test_files_say_what_the_json_on_standard_output_says(run, tmp_path):
    run(*MLP, "--json", "r.json", "--csv", "r.csv", "--trace", "t.json")
    _, out, _ = run(*MLP, "--json", "-")
    assert (tmp_path / "r.json").read_text(encoding="utf-8") == out
    assert "traceEvents" in json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))
    assert sorted(os.listdir()) == ["r.csv", "r.json", "t.json"]


def test_the_same_run_writes_the_same_bytes(run, tmp_path):
    for name in ("a", "b"):
        run("run", "aws_inferentia1", "tpu_v1_mlp1", "--json", f"{name}.json", "--trace", f"{name}.trace")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert (tmp_path / "a.trace").read_bytes() == (tmp_path / "b.trace").read_bytes()


def test_a_file_is_replaced_whole_and_keeps_its_link(run, tmp_path):
    (tmp_path / "old.json").write_text("old" * 100_000, encoding="utf-8")
    (tmp_path / "link.json").symlink_to("old.json")
    run(*MLP, "--json", "link.json")
    assert (tmp_path / "link.json").is_symlink()
    assert json.loads((tmp_path / "old.json").read_text(encoding="utf-8"))["batch"] == 200


def test_plots_are_in_a_folder_that_is_made(run, tmp_path):
    code, _, err = run(*MLP, "--plot", "new/folder")
    assert code == 0
    assert "new/folder/roofline.pdf" in err
    names = {path.name for path in (tmp_path / "new/folder").iterdir()}
    assert names == {f"{plot}.{kind}" for plot in ("energy", "roofline", "timeline") for kind in ("pdf", "png")}


def test_lists_make_a_table_with_a_row_for_each_run(run):
    code, out, _ = run(*MLP, "--batch", "1,8", "--precision", "int8,int16", "--csv", "-")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 0
    assert {(row["batch"], row["precision"]) for row in rows} == {(b, p) for b in "18" for p in ("int8", "int16")}
    _, table, _ = run(*MLP, "--batch", "1,8")
    assert table.startswith("workload tpu_v1_mlp0; device tpu_v1; precision int8\n")
    assert table.splitlines()[2].split()[0] == "batch"


def test_a_sweep_of_an_override_shows_its_values(run):
    _, out, _ = run(*MLP, "--set", "dram.bandwidth_bytes_per_s=34e9,68e9", "--json", "-")
    slow, fast = json.loads(out)
    assert slow["device"]["overrides"] == {"dram.bandwidth_bytes_per_s": "34e9"}
    assert fast["latency_s"] < slow["latency_s"]


def test_another_family_s_factors_can_be_set(run):
    def latency_s(*more):
        return json.loads(run("run", "nvidia_t4", "matmul", "--json", "-", *more)[1])["latency_s"]

    assert latency_s("--set", "family=turing") == latency_s() != latency_s("--set", "family=ampere")


def test_a_list_field_takes_all_its_values_at_once(run):
    _, out, _ = run(*MLP, "--set", "limits.ops=matmul,elementwise", "--json", "-")
    assert json.loads(out)["device"]["overrides"] == {"limits.ops": "matmul,elementwise"}


def test_a_run_reads_back_what_convert_wrote(run):
    assert run("convert", "resnet50", "r.csv")[0] == 0
    before = json.loads(run("run", "tpu_v1", "resnet50", "--batch", "3", "--json", "-")[1])
    after = json.loads(run("run", "tpu_v1", "r.csv", "--batch", "3", "--json", "-")[1])
    assert {k: after[k] for k in ("latency_s", "energy_j", "macs")} == {
        k: before[k] for k in ("latency_s", "energy_j", "macs")
    }


def test_list_shows_every_device_and_workload(run):
    _, out, _ = run("list")
    assert all(name in out for name in (*device_names(), "resnet50", "bert_base", "onnx:light_vgg19"))


@pytest.mark.parametrize("name", device_names())
def test_show_prints_a_device_with_its_sources(run, name):
    code, out, _ = run("show", name)
    assert code == 0
    assert out.startswith(name)
    assert "source" in out


def test_show_and_check_take_devices_and_workloads_by_name(run):
    assert run("show", "bert_base", "--param", "seq_len=64")[0] == 0
    assert run("check", "tpu_v1", "resnet50")[1] == (
        "tpu_v1: a device, tpu_v1\nresnet50: a workload of 175 ops, 4.09 GMAC at batch 1\n"
    )


def test_show_applies_overrides(run):
    assert "17 W" in run("show", "tpu_v1", "--set", "power.static_w=17")[1]


def test_energy_of_two_formats_is_their_rows_alone(run):
    _, out, _ = run("energy", "--dtype", "int8,fp16", "--csv", "-")
    formats = {row["action"].split(".")[1] for row in csv.DictReader(io.StringIO(out)) if "add." in row["action"]}
    assert formats == {"int8", "fp16"}


def test_roofline_places_runs_under_roofs(run):
    code, out, err = run("roofline", "tpu_v1", "nvidia_t4", "-w", "tpu_v1_mlp0", "--precision", "int8", "--plot", "p")
    assert code == 0
    assert "ridge" in out
    assert "p/roofline.pdf" in err


# --- asserted limits


def test_a_limit_that_holds_changes_nothing(run):
    assert run(*MLP, "--assert", "latency_ms<5", "--assert", "average_power_w <= 75")[0] == 0


def test_a_broken_limit_is_exit_status_1_and_its_files_are_there(run, tmp_path):
    code, _, err = run(*MLP, "--assert", "latency_us<1", "--json", "r.json")
    assert code == 1
    assert "latency_us<1 does not hold: latency_us is " in err
    assert (tmp_path / "r.json").exists()


@pytest.mark.parametrize(
    ("limit", "holds"),
    [("latency_ns>1", True), ("clock_mhz>=700", True), ("clock_ghz>0.7", False), ("dram_mb<1", False)],
)
def test_units_of_limits_scale(run, limit, holds):
    assert run(*MLP, "--assert", limit)[0] == (0 if holds else 1)


def test_what_is_not_known_does_not_hold(run):
    code, _, err = run("run", "aws_inferentia1", "tpu_v1_mlp0", "--assert", "tdp_w<1000")
    assert code == 1
    assert "tdp_w is not known" in err


# --- what is refused

FILES = {
    "empty.toml": b"",
    "bad.toml": b'name = "x',
    "noise.toml": bytes(range(256)),
    "part.toml": b'name = "x"\n',
    "bad.csv": b"a,b,c\n",
    "zero.csv": b"name,kind,m,k,n\nfc,matmul,B,0,x\n",
    "one.csv": b"name,kind,m,k,n\nfc,matmul,1,2,3\n",
    "noise.onnx": bytes(range(256)),
    "file": b"",
}

REFUSED = [
    ((), "--batch 0", "--batch 0: want numbers >= 1"),
    ((), "--batch -1", ">= 1"),
    ((), "--batch 1.5", "whole numbers"),
    ((), "--batch 1e3", "whole numbers"),
    ((), "--batch 1_0", "whole numbers"),
    ((), "--batch ９", "whole numbers"),
    ((), "--batch 1000000000", "from 1 to 1048576"),
    ((), "--batch 1,,2", "whole numbers"),
    ((), "--batch 8,8", "8 stands twice"),
    (("--batch", ""), "", "whole numbers"),
    ((), "--precision int9", "did you mean 'int8'?"),
    ((), "--precision fp32", "does not multiply in fp32; want one of int16, int16x8, int8"),
    ((), "--precision int8,", "single commas"),
    (("--precision", ""), "", "single commas"),
    ((), "--param seq_len=64", "this workload takes none"),
    ((), "--param seq_len", "want KEY=VALUE"),
    ((), "--param seq_len=x", "want whole numbers"),
    ((), "--set core.matrix.rows", "want KEY=VALUE"),
    ((), "--set core.matrix.row=1", "did you mean 'core.matrix.rows'?"),
    ((), "--set core.matrix.rows=0", "from 1 to 2^40"),
    ((), "--set core.matrix.rows=inf", "from 1 to 2^40"),
    ((), "--set core.matrix.rows=128 --set core.matrix.rows=64", "is set twice"),
    ((), "--set core.matrix.rows=64,64", "64 stands twice"),
    ((), "--set core.matrix=1", "is a section"),
    ((), "--set dram.bandwidth_bytes_per_s=-1", "> 0"),
    ((), "--set dram.capacity_bytes=1000", "the weights take"),
    ((), "--set unified_buffer.capacity_bytes=1", "of unified_buffer"),
    ((), "--set power.tdp_w=20", "static_w"),
    ((), "--set host.device=tpu_v1", "has a host of its own"),
    ((), "--set energy_node=foo", "energy table 'foo'"),
    ((), "--set family=ampere", "factors: nothing uses them without core.execution"),
    ((), "--cores 2", "tpu_v1 has 1 to 1"),
    ((), "--cores 0", ">= 1"),
    ((), "--steps 0", "1<=x<=10000"),
    ((), "--steps 100001", "1<=x<=10000"),
    ((), "--seed -1", "x>=0"),
    ((), "--top -1", "x>=0"),
    ((), "--start hot", "'warm', 'cold'"),
    ((), "--parallel both", "'data', 'pipeline'"),
    ((), "--energy-table nofile.toml", "no such file"),
    (("--energy-table", ""), "", "want a node"),
    ((), "--json nodir/x.json", "--json nodir/x.json: its folder does not exist"),
    ((), "--csv folder", "is a folder; want a file"),
    ((), "--trace file/x.json", "its folder does not exist"),
    ((), f"--json {'x' * 300}", "File name too long"),
    (("--json", ""), "", "want the name of a file"),
    (("--csv", "a\0b"), "", "want the name of a file"),
    (("--plot", ""), "", "want the name of a folder"),
    ((), "--plot file", "is a file; want a folder"),
    ((), "--plot file/inside", "is a file; want a folder"),
    ((), "--json - --csv -", "--json goes there already"),
    ((), "--json out.x --trace ./out.x", "--json goes there already"),
    ((), "--trace t.json --batch 1,2", "this is a sweep of 2"),
    ((), "--assert latency", "want FIELD<NUMBER"),
    ((), "--assert latency_ms<1e", "want FIELD<NUMBER"),
    ((), "--assert latancy_s<1", "did you mean 'latency_s'?"),
    ((), "--assert device<1", "device unknown"),
    ((), "--batc8 8", "Did you mean '--batch'?"),
    ((), "--batch", "requires an argument"),
]

REFUSED_ALONE = [
    ("", "no command ''"),
    ("rum", "did you mean 'run'?"),
    ("run", "Missing argument 'DEVICE'"),
    ("run tpu_v1", "Missing argument 'WORKLOAD'"),
    ("run tpu_v1 resnet50 more", "unexpected extra argument"),
    ("run tpuv1 resnet50", "did you mean 'tpu_v1'?"),
    ("run resnet50 tpu_v1", "device 'resnet50': unknown"),
    ("run nofile.toml resnet50", "no such file"),
    ("run folder resnet50", "is a folder"),
    ("run empty.toml resnet50", "core: missing"),
    ("run bad.toml resnet50", "not TOML"),
    ("run noise.toml resnet50", "not UTF-8"),
    ("run part.toml resnet50", "core: missing"),
    ("run tpu_v1 resnet", "did you mean 'resnet50'?"),
    ("run tpu_v1 onnx:resnet", "did you mean 'onnx:resnet50'?"),
    ("run tpu_v1 nofile.onnx", "no such file"),
    ("run tpu_v1 noise.onnx", "not an ONNX model"),
    ("run tpu_v1 bad.csv", "unknown"),
    ("run tpu_v1 zero.csv", "line 2"),
    ("run tpu_v1 one.csv --batch 2", "no size in this table has the symbol B"),
    ("run tpu_v1 folder", ".onnx, .csv or .json"),
    ("run tpu_v1 bert_base --param seq_len=513", "want a whole number from 1 to 512"),
    ("run tpu_v1 bert_base --param seq_len=-1", "want a whole number from 1 to 512"),
    ("run tpu_v1 conv2d --param pad=-1", "pad=-1: want a whole number from 0 to"),
    ("run tpu_v1 bert_base --param seqlen=1", "did you mean 'seq_len'?"),
    ("run xeon_8275cl resnet50 --host", "has no host link"),
    ("run xeon_8275cl resnet50 --start cold", "has no host"),
    ("run aws_inferentia1 resnet50 --cores 2", "--parallel data"),
    ("run aws_inferentia1 resnet50 --parallel data --batch 2", "cannot be split over 4"),
    ("run aws_inferentia1 one.csv --parallel pipeline", "stages"),
    ("run nvidia_t4 matmul --set family=amper", "--set family: got 'amper'"),
    ("run nvidia_t4 matmul --set family=skylake", "factors.kind: got 'cpu'; core.execution.kind is 'gpu'"),
    ("run tpu_v1 ", "'': no workload has this name"),
    ("list device", "'devices', 'workloads'"),
    ("show", "Missing argument"),
    ("show tpuv1", "did you mean 'tpu_v1'?"),
    ("show resnet51", "did you mean 'resnet50'?"),
    ("show tpu_v1 --batch 8", "are of workloads"),
    ("show resnet50 --set a=b", "--set is of devices"),
    ("show bert_base --param seq_len=64,128", "got 2 values; want one"),
    ("check", "Missing argument"),
    ("check part.toml zero.csv nofile.toml", "nofile.toml: no such file"),
    ("energy --node foo", "energy table 'foo'"),
    ("energy --node 1", "want 3 to 130 nm"),
    ("energy --dtype int9", "did you mean 'int8'?"),
    ("convert resnet50", "Missing argument 'OUT'"),
    ("convert resnet50 x.json", "ends in .csv"),
    ("convert resnet50 .csv", "ends in .csv"),
    ("convert resnet50 nodir/x.csv", "its folder does not exist"),
    ("convert one.csv one.csv", "is what is to be converted"),
    ("convert noise.onnx x.csv", "not an ONNX model"),
    ("convert bert_base x.csv --param seq_len=1,2", "want one"),
    ("roofline", "Missing argument"),
    ("roofline tpuv1", "did you mean 'tpu_v1'?"),
    ("roofline tpu_v1 --precision int9", "did you mean 'int8'?"),
    ("roofline tpu_v1 --plot p", "want a --workload"),
    ("roofline tpu_v1 --batch 8", "want a --workload"),
    ("roofline tpu_v1 -w resnet", "did you mean 'resnet50'?"),
]


@pytest.mark.parametrize(
    ("args", "said"),
    [((*MLP, *given, *text.split()), said) for given, text, said in REFUSED]
    + [(tuple(text.split(" ")), said) for text, said in REFUSED_ALONE],
    ids=lambda value: " ".join(value)[:60].replace("\0", "NUL") if isinstance(value, tuple) else "",
)
def test_wrong_input_ends_in_one_message_and_leaves_nothing(run, tmp_path, args, said):
    (tmp_path / "folder").mkdir()
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    before = sorted(os.listdir())
    code, out, err = run(*args)
    assert code == 2
    assert err.startswith("accelsim: ")
    assert said in err
    assert "Traceback" not in err
    assert out == ""
    assert sorted(os.listdir()) == before
    assert {name: (tmp_path / name).read_bytes() for name in FILES} == FILES


def test_check_reports_every_mistake_of_every_file(run, tmp_path):
    (tmp_path / "a.toml").write_text('name = "A"\ncoer = 1\n', encoding="utf-8")
    (tmp_path / "b.csv").write_text("name,kind,m,k,n\nfc,matmul,B,0,x\n", encoding="utf-8")
    code, out, err = run("check", "a.toml", "b.csv", "tpu_v1")
    assert code == 2
    assert out == "tpu_v1: a device, tpu_v1\n"
    assert [
        word for word in ("a.toml: name", "a.toml: coer", "b.csv, line 2, k", "b.csv, line 2, n") if word not in err
    ] == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_no_right_to_write_is_said_before_anything_runs(run, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    code, out, err = run(*MLP, "--json", "locked/r.json")
    assert (code, out) == (2, "")
    assert "cannot be written to" in err


# --- terminals and pipes


def accelsim(*args, **kwargs):
    return subprocess.Popen([sys.executable, "-m", "accelsim", *args], text=True, **kwargs)


def test_a_reader_that_leaves_early_is_no_error():
    with accelsim("show", "resnet50", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_said():
    with open("/dev/full", "w", encoding="utf-8") as full:
        process = accelsim("energy", stdout=full, stderr=subprocess.PIPE)
        _, err = process.communicate()
    assert (process.returncode, err) == (2, "accelsim: standard output: No space left on device\n")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX shells only")
def test_closed_standard_output_is_no_error():
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m accelsim energy >&-"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_an_interrupt_is_said_in_one_word(run, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("accelsim.study.sweep.Point.run", interrupt)
    assert run(*MLP) == (130, "", "\naccelsim: interrupted\n")


def test_an_interrupted_sweep_keeps_what_is_done(run, monkeypatch, tmp_path):
    import accelsim.study.sweep as sweep

    whole = sweep.Point.run

    def interrupt_at_64(point):
        if point.options.batch == 64:
            raise KeyboardInterrupt
        return whole(point)

    monkeypatch.setattr(sweep.Point, "run", interrupt_at_64)
    code, out, err = run(*MLP, "--batch", "1,8,64,128", "--csv", "runs.csv")
    assert (code, out) == (130, "")
    assert "2 of 4 runs are kept in runs.csv" in err
    assert [row["batch"] for row in csv.DictReader(io.StringIO((tmp_path / "runs.csv").read_text()))] == ["1", "8"]


def test_output_without_a_terminal_has_no_colour(run):
    assert "\x1b" not in run(*MLP)[1]


# --- every field of every device can be set, or its refusal is a message


def one_of_each_kind():
    """A device for every set of sections that one has; the others differ in their numbers only."""
    found = {}
    for name in reversed(device_names()):
        device = load_device(name)
        sections = (device.host, device.limits, device.price, device.calibration, device.core.matrix)
        kinds = (device.core.matrix, device.core.execution, device.factors)
        found[tuple(map(bool, sections)), tuple(map(type, kinds))] = name
    return [*found.values()]


@pytest.mark.parametrize("name", one_of_each_kind())
def test_every_field_that_show_names_can_be_swept(run, name):
    from accelsim.hardware.loader import field_values

    fields = [key for key, value in field_values(load_device(name)).items() if isinstance(value, int | float)]
    for key in fields:
        value = field_values(load_device(name))[key]
        text = str(value).lower() if isinstance(value, bool) else repr(value)
        code, _, err = run("show", name, "--set", f"{key}={text}")
        assert (code, err) == (0, ""), key
