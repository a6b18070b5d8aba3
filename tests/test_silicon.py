"""Measured kernels and networks: rows become ops and runs, nothing is left out in silence, wrong rows are named."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from accelsim.base.errors import InputError
from accelsim.cli import cli
from accelsim.hardware.family import ChosenKernel
from accelsim.hardware.part import Part
from accelsim.simulation import simulate
from accelsim.validation.silicon import judge, models
from accelsim.validation.silicon.build import UnmodelledError, build, formats
from accelsim.validation.silicon.experts import power_law, share
from accelsim.validation.silicon.networks import Network, longest, network_of
from accelsim.validation.silicon.pages import read_pages, step_s
from accelsim.validation.silicon.predict import device_of, predict
from accelsim.validation.silicon.protocol import Protocol, Quantising, protocol_of, protocols
from accelsim.validation.silicon.rows import Measurement
from accelsim.validation.silicon.run_protocol import (
    RunProtocol,
    Tables,
    precision_of,
    run_protocol_of,
    run_protocols,
)
from accelsim.validation.silicon.systems import device_of_row
from accelsim.workload.library import load_workload

GEMM = {
    "device": "NVIDIA A100-SXM4-80GB", "op": "gemm", "dtype": "bfloat16", "batch": "1", "M": "4096", "N": "4096",
    "K": "4096", "latency_us": "560", "source_repo": "stas00/ml-engineering@HEAD", "timing": "",
}  # fmt: skip
NETWORK = {
    "device": "NVIDIA T4", "n_devices": "1", "model": "mlperf:resnet50", "task": "inference", "runtime": "TensorRT 8",
    "precision": "int8 (typical)", "batch": "", "seq_or_input": "", "scenario": "offline", "throughput_per_s": "6000",
    "latency_ms": "", "source": "github mlcommons/inference_results_v1.1:closed/NVIDIA", "notes": "",
    "consistency": "",
}  # fmt: skip


def _write(path: Path, *rows: dict[str, str]) -> Path:
    with path.open("w", newline="") as file:
        lines = csv.DictWriter(file, rows[0])
        lines.writeheader()
        lines.writerows(rows)
    return path


def test_a_row_becomes_its_product() -> None:
    (op,) = build(Measurement(2, GEMM))
    assert op.macs == 4096**3
    assert op.dtype == "bf16"
    assert formats("int4_wo").weight == "int4"


def test_a_prediction_is_no_shorter_than_its_roofline(tmp_path: Path) -> None:
    _, (one,) = judge.judge(_write(tmp_path / "ops.csv", GEMM))
    assert one.ours is not None
    assert one.ours.predicted_us >= 0.999 * one.ours.roofline_us
    assert one.ours.roofline_us == pytest.approx(2 * 4096**3 / 312e12 * 1e6, rel=0.01)  # 312 TFLOPS, the data sheet


def test_names_are_found_however_they_are_spelt() -> None:
    names = ("NVIDIA A100-SXM4-80GB", "nvidia a100 sxm4 80gb", "A100-SXM4-80GB", "nvidia_a100_sxm_80gb")
    assert {device_of(name).name for name in names} == {"nvidia_a100_sxm_80gb"}


def test_what_is_not_modelled_is_counted_and_named(tmp_path: Path) -> None:
    rows = [GEMM, GEMM | {"device": "Abacus"}, GEMM | {"op": "sorting"}]
    file, out = _write(tmp_path / "ops.csv", *rows), tmp_path / "out.csv"
    done = CliRunner().invoke(cli, ["validate", "ops", "--data", str(file), "--csv", str(out)], catch_exceptions=False)
    assert done.exit_code == 0
    assert "not modelled, 1 rows: device Abacus" in done.output
    assert "not modelled, 1 rows: op sorting" in done.output
    said = list(csv.DictReader(out.read_text().splitlines()))
    assert [bool(row["predicted_us"]) for row in said] == [True, False, False]


def test_absent_columns_count_as_empty(tmp_path: Path) -> None:
    few = {key: GEMM[key] for key in ("device", "op", "dtype", "M", "N", "K", "latency_us", "source_repo")}
    _, (one,) = judge.judge(_write(tmp_path / "ops.csv", few))
    assert one.ours is not None


def test_wrong_rows_are_named_by_their_lines(tmp_path: Path) -> None:
    rows = [GEMM | {"M": "many"}, GEMM | {"latency_us": "-1"}, GEMM | {"K": ""}]
    with pytest.raises(InputError) as error:
        judge.judge(_write(tmp_path / "ops.csv", *rows))
    assert "line 2, M: 'many'" in str(error.value)
    assert "line 3, latency_us" in str(error.value)
    with pytest.raises(InputError, match="latency_us"):
        judge.judge(_write(tmp_path / "bad.csv", {"device": "x", "op": "gemm", "dtype": "fp16"}))


CONV = GEMM | {
    "op": "conv2d", "c_in": "3", "h_in": "224", "w_in": "224", "c_out": "64", "kh": "7", "kw": "7", "stride": "2",
    "pad": "3", "window": "", "power_w": "", "extra": "", "framework": "",
}  # fmt: skip


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({"M": "many"}, "M: 'many': want a whole number from 0 to"),
        ({"M": "1_0"}, "M: '1_0'"),
        ({"N": "2.5"}, "N: '2.5'"),
        ({"batch": "-1"}, "batch: '-1'"),
        ({"batch": "9" * 5000}, "want a whole number"),
        ({"batch": "1e999"}, "batch: '1e999'"),
        ({"latency_us": "nan"}, "latency_us: 'nan': want a number from"),
        ({"latency_us": ""}, "latency_us: ''"),
        ({"power_w": "inf"}, "power_w: 'inf'"),
        ({"dtype": ""}, "dtype: '': want a number format"),
        ({"extra": "stride_w=abc"}, "extra, stride_w: 'abc': want a whole number from 1"),
        ({"extra": "stride_w=0"}, "extra, stride_w: '0'"),
        ({"extra": "stride_w="}, "extra, stride_w: ''"),
        ({"extra": "pad_w=-1"}, "extra, pad_w: '-1': want a whole number from 0"),
        ({"extra": "threads=two"}, "extra, threads: 'two'"),
        ({"kh": "999"}, "kh: '999': want a window"),
        ({"source_repo": "hearsay"}, "source_repo 'hearsay': no protocol"),
        ({"op": "rnn_lstm", "rows": "1e9", "cols": "8"}, "rows: '1e9': want a whole number from 1 to 65536"),
        ({"op": "moe_fused", "extra": "experts=1e9"}, "extra, experts: '1e9'"),
        ({"op": "moe_fused", "extra": "dist=power_law_x"}, "extra, dist: 'x': want power_law_X"),
        ({"op": "moe_fused", "extra": "dist=power_law_1"}, "extra, dist: '1'"),
    ],
)
def test_a_wrong_cell_of_a_kernel_is_named(tmp_path: Path, cells: dict[str, str], said: str) -> None:
    file = _write(tmp_path / "ops.csv", CONV | {"rows": "", "cols": ""}, CONV | {"rows": "", "cols": ""} | cells)
    with pytest.raises(InputError) as error:
        judge.judge(file)
    assert str(error.value).startswith(f"{file}, line 3, ")
    assert said in str(error.value)


def test_widths_of_strides_and_pads_are_whole_numbers_however_they_are_written() -> None:
    (op,) = build(Measurement(2, CONV | {"extra": "stride_w=4e0;pad_w=0"}))
    assert op.outputs[0].shape == (1, 64, 112, 55)  # (224 - 7) // 4 + 1


def test_a_format_that_is_not_known_is_counted_and_named(tmp_path: Path) -> None:
    rows = [GEMM | {"dtype": dtype} for dtype in ("fp6", "bfloat16/kv-fp6", "bf16")]
    judged = judge.judge(_write(tmp_path / "ops.csv", *rows))[1]
    assert judge.unmodelled(judged) == {"dtype fp6": 1, "dtype bfloat16/kv-fp6": 1}


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({"throughput_per_s": "abc"}, "throughput_per_s: 'abc': want a number from"),
        ({"throughput_per_s": "inf"}, "throughput_per_s: 'inf'"),
        ({"throughput_per_s": "0"}, "throughput_per_s: '0'"),
        ({"latency_ms": "nan"}, "latency_ms: 'nan'"),
        ({"latency_ms": "-1"}, "latency_ms: '-1'"),
        ({"batch": "1.5"}, "batch: '1.5': want a whole number from 1"),
        ({"n_devices": "0"}, "n_devices: '0'"),
        ({"consistency": "good"}, "consistency: 'good'"),
    ],
)
def test_a_wrong_cell_of_a_network_is_named_with_all_others(tmp_path: Path, cells: dict[str, str], said: str) -> None:
    file = _write(tmp_path / "models.csv", NETWORK, NETWORK | cells, NETWORK | {"batch": "none"})
    with pytest.raises(InputError) as error:
        models.judge(file)
    assert [problem.split(": ")[0] for problem in error.value.problems] == [
        f"{file}, line 3, {said.split(':')[0]}", f"{file}, line 4, batch"
    ]  # fmt: skip
    assert said in error.value.problems[0]


@pytest.mark.parametrize("suite", ["ops", "models"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "missing"),
        (b"a,b\n1,2\n", "missing"),
        (b"HEADER\n", "has no rows"),
        (b"HEADER\nx\n", "line 2: 1 cells; want"),
        (b"HEADER,device\n", "column 'device': stands twice"),
        (b'HEADER\n"' + b"x" * 200_000 + b'"\n', "not CSV: field larger"),
        (b"\xff\xfe", "not a text file in UTF-8"),
    ],
)
def test_a_file_that_is_none_of_measurements_is_refused(suite: str, content: bytes, said: str, tmp_path: Path) -> None:
    header = ",".join(GEMM if suite == "ops" else NETWORK).encode()
    file = tmp_path / "file.csv"
    file.write_bytes(content.replace(b"HEADER", header))
    done = CliRunner().invoke(cli, ["validate", suite, "--data", str(file)])
    assert isinstance(done.exception, InputError)
    assert said in str(done.exception)
    assert done.output == ""


def test_a_file_of_training_alone_has_nothing_to_judge(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no row has the task 'inference'; there are 'training'"):
        models.judge(_write(tmp_path / "models.csv", NETWORK | {"task": "training"}))


def test_json_has_the_errors_by_group(tmp_path: Path) -> None:
    file = _write(tmp_path / "ops.csv", GEMM, GEMM | {"M": "64"})
    done = CliRunner().invoke(cli, ["validate", "ops", "--data", str(file), "--json", "-"], catch_exceptions=False)
    said = json.loads(done.output)
    assert said["schema"] == "accelsim.validation/1"
    assert said["suites"][0]["n"] == 2
    assert said["groups"][0]["n"] == 2
    assert {"reference", "ours", "error_pct", "roofline", "bound"} <= said["rows"][0].keys()


def test_protocols_say_how_their_sources_measured() -> None:
    assert all(p.about and p.source for p in (*protocols(), *run_protocols()))


@pytest.mark.parametrize(
    ("model", "size", "notes", "wanted"),
    [
        ("mlperf:bert-99.9", "", "", Network("bert_large", (("seq_len", 384),))),
        ("tf_resnetv1-50_3.5", "224*224*3", "", Network("resnet50_slim")),
        ("tf_resnetv1-50_0.65_3.5", "224*224*3", "GOPs=2.45; x", Network("resnet50_slim", pruned_to=2.45e9)),
        ("tf_vgg19_0.39_3.5", "224*224*3", "GOPs=23.78; pruned=nan", Network("onnx:vgg19", pruned_to=23.78e9)),
        ("PyTorch/Classification/ConvNets/efficientnet", "", "Model=efficientnet-b4;", Network("efficientnet_b4")),
        ("tf_yolov4-416_3.5", "416*416*3", "", Network("yolov4", (("size", 416), ("mish", 0)))),
        ("tf_mobilenetv2-1.4_3.5", "224*224*3", "", Network("mobilenet_v2", (("width_percent", 140),))),
        (
            "PyTorch/LanguageModeling/Transformer-XL", "Sequence length=128;Memory length=1,600",
            "H=A100 > Large model |",
            Network("transformer_xl_large", (("seq_len", 128), ("mem_len", 1600)), 128),
        ),
        (
            "Llama-2-70b", "2048", "TP Degree=24;Run Mode=Tensor Parallel;Input Length=1024;Output Length=1024",
            Network("llama2_70b", (("seq_len", 1), ("past_len", 1536), ("tensor_parallel", 24))),
        ),
        (
            "mlperf:mobilenet-v1-precision_uint8-0.25-160", "", "",
            Network("mobilenet_v1", (("size", 160), ("width_percent", 25))),
        ),
        ("TensorFlow/LanguageModeling/BERT", "Length=128", "Model=base", Network("bert_base", (("seq_len", 128),))),
    ],
)  # fmt: skip
def test_networks_by_the_names_of_the_measurements(model: str, size: str, notes: str, wanted: Network) -> None:
    found = network_of(model, size, notes)
    assert found == wanted
    load_workload(found.workload, batch=1, params=dict(found.params))


def test_a_share_in_the_place_of_an_operation_count() -> None:
    """Vitis AI 3.5's table gives 0.12 GOPs for MobileNet with 12 % pruned, of 1.14: it means 1.0."""
    found = network_of("tf_mobilenetv1-1.0_0.12_3.5", "224*224*3", "GOPs=0.12; pruned=12.00%")
    assert found.pruned_to == pytest.approx(0.88 * 1.14e9, rel=0.005)


@pytest.mark.parametrize(("version", "wanted"), [("v1.1", "unet3d_brats"), ("v2.0", "unet3d_kits")])
def test_a_network_that_a_suite_changed_under_its_name(version: str, wanted: str) -> None:
    """MLPerf's README: BraTS 2019 'until the end of year 2021', which was v1.1; KiTS19 from 2022 on."""
    source = f"github mlcommons/inference_results_{version}:closed/X"
    assert network_of("mlperf:3d-unet-99", "", "", source).workload == wanted


@pytest.mark.parametrize(("source", "rows"), [("github aws-neuron/aws-neuron-sdk@1:x", 1), ("github y", 2)])
def test_a_diffusion_is_its_steps_and_a_decoder(source: str, rows: int) -> None:
    """AWS Neuron gives the rows with and without the text to two cores: there an item is one of them."""
    found = network_of("Stable Diffusion 2.1", "768x768", "", source)
    assert (found.workload, found.repeats) == ("sd21_unet", 50)
    assert found.params == (("size", 768), ("rows", rows))
    assert found.then == Network("sd_vae_decoder", (("size", 768),))


def test_eager_attention_takes_longer_than_compiled_and_that_than_one_kernel(tmp_path: Path) -> None:
    """BERT-large in FP32, NeuSight's rows on an A100: 205.5 ms eager, 174.8 compiled."""
    row = NETWORK | {
        "device": "NVIDIA A100-PCIe-40GB", "model": "bert_large", "precision": "fp32", "batch": "8",
        "seq_or_input": "seq=512", "scenario": "latency", "throughput_per_s": "", "latency_ms": "205.506",
        "runtime": "PyTorch 2.x eager", "source": "github sitar-lab/NeuSight@6945927",
    }  # fmt: skip
    compiled = row | {"runtime": "PyTorch 2.x eager +torch.compile fusion", "latency_ms": "174.758"}
    _, judged = models.judge(_write(tmp_path / "models.csv", row, compiled))
    ours_ms = [one.ours.value for one in judged if one.ours is not None]
    assert ours_ms == [pytest.approx(205.5, rel=0.1), pytest.approx(174.8, rel=0.1)]
    fused = simulate("nvidia_a100_pcie_40gb", "bert_large", batch=8, precision="fp32", params={"seq_len": 512})
    assert ours_ms[0] > ours_ms[1] > fused.latency_s * 1e3


def test_a_diffusion_takes_its_steps_and_its_decoder(tmp_path: Path) -> None:
    """Twenty steps of Stable Diffusion XL and a decoder: no less than twenty times one step, and little more."""
    row = NETWORK | {
        "device": "NVIDIA AGX Orin", "model": "mlperf:stable-diffusion-xl", "scenario": "singlestream", "batch": "1",
        "latency_ms": "9944.36", "throughput_per_s": "",
    }  # fmt: skip
    _, (one,) = models.judge(_write(tmp_path / "models.csv", row))
    step = simulate("nvidia_jetson_agx_orin", "sdxl_unet", batch=1, precision="int8")
    assert one.ours is not None
    assert 20 * step.latency_s < one.ours.value / 1e3 < 22 * step.latency_s


def test_a_latency_in_seconds_is_of_the_same_run(tmp_path: Path) -> None:
    """The data's ``consistency`` divides by milliseconds: 1,000 times one is a latency noted in seconds."""
    wrong, seconds = (
        models.judge(_write(tmp_path / f"{told}.csv", NETWORK | {"consistency": told}))[1][0] for told in ("3", "999")
    )
    assert wrong.ours is not None
    assert seconds.ours is not None
    assert (wrong.ours.software, seconds.ours.software) == (True, False)


@pytest.mark.parametrize(("unit", "counted"), [("Sentences/sec", 1), ("Tokens/sec", 54), ("tokens/s", 54)])
def test_a_translation_runs_as_long_as_the_longest_sentence_of_its_batch(unit: str, counted: int) -> None:
    """DeepLearningExamples: of beam 1 on A100 single sentences took 68 ms in the median, 122 for 90 %, 201 at most."""
    found = network_of("TensorFlow/Translation/GNMT", "", "Beam width=2;", batch=512, unit=unit)
    assert found == Network("gnmt", (("source", 76), ("target", 76), ("beam", 2)), counted)
    assert longest(9) / longest(1) == pytest.approx(122 / 68, rel=0.05)
    assert longest(3003) / longest(1) == pytest.approx(201 / 68, rel=0.2)


def test_rows_whose_cells_hold_other_columns_are_not_run() -> None:
    """DeepLearningExamples' GNMT on V100: the throughput's cell holds the BLEU score."""
    with pytest.raises(UnmodelledError, match="in each other's cells"):
        network_of("TensorFlow/Translation/GNMT", "Sequence length=1", "Latency 90%=489", unit="see source")


def test_rows_of_equal_tables_are_told_apart_by_their_order() -> None:
    """DeepLearningExamples' BERT in TensorFlow 2: BERT-Large FP16, FP32, then BERT-Base FP16, FP32."""
    cells = {
        "source": "github NVIDIA/DeepLearningExamples@1:TensorFlow2/LanguageModeling/BERT/README.md",
        "model": "TensorFlow2/LanguageModeling/BERT", "batch": "8", "seq_or_input": "Sequence Length=128",
        "notes": "H=SQuAD on V100 | Sequence Length=128",
    }  # fmt: skip
    numbers = [("2.15", "411"), ("", "136"), ("1.2", "1030"), ("", "455")]
    rows = [
        Measurement(i, cells | {"precision": cell, "throughput_per_s": rate})
        for i, (cell, rate) in enumerate(numbers, start=2)
    ]
    pages = read_pages(rows)
    told = [run_protocol_of(row).told(row, pages.places[row.number]) for row in rows]
    assert [row.text("precision") for row in told] == ["fp16", "fp32", "fp16", "fp32"]
    names = [network_of(row.text("model"), row.text("seq_or_input"), row.text("notes")).workload for row in told]
    assert names == ["bert_large", "bert_large", "bert_base", "bert_base"]


def test_the_shortest_step_of_a_table() -> None:
    """A step that is hardly longer than at batch 1 was not the device's."""
    rows = [
        Measurement(i, {"model": "x", "batch": batch, "throughput_per_s": rate, "throughput_unit": "img/s"})
        for i, (batch, rate) in enumerate([("1", "100"), ("8", "780"), ("64", "1600")], start=2)
    ]
    pages = read_pages(rows)
    assert set(pages.least_s.values()) == {0.01}
    assert [step_s(row) for row in rows] == pytest.approx([0.01, 8 / 780, 0.04])


@pytest.mark.parametrize("model", ["pt_OFA-resnet50_0.88_3.5", "HFNet", "tf_rcan_0.98_3.5", "pt_resnet50_0.7_3.5"])
def test_networks_that_are_not_built_say_so(model: str) -> None:
    with pytest.raises(UnmodelledError):
        network_of(model, "224*224*3", "")


def test_a_network_is_run_as_its_source_ran_it(tmp_path: Path) -> None:
    rows = [
        NETWORK,
        NETWORK | {"scenario": "server"},
        NETWORK | {"model": "mlperf:gptj-99"},
        NETWORK | {"task": "training"},
    ]
    file = _write(tmp_path / "models.csv", *rows)
    _, judged = models.judge(file)
    assert len(judged) == 3
    offline, server, unknown = judged
    assert offline.ours is not None
    assert (offline.ours.precision, offline.ours.quantity, offline.ours.software) == ("int8", "throughput", False)
    assert server.ours is not None
    assert server.ours.software
    assert unknown.ours is None
    (group,) = models.groups(judged)
    assert (group.rows, group.run, group.judged) == (3, 2, 1)
    done = CliRunner().invoke(cli, ["validate", "models", "--data", str(file)], catch_exceptions=False)
    assert "not run, nvidia_t4, 1 rows: network mlperf:gptj-99" in done.output


def test_measured_power_is_judged_too(tmp_path: Path) -> None:
    """A row with ``power_w`` has an error of its power; a file without that column has none to print."""
    hot = {**GEMM, "power_w": "350"}
    judged = judge.judge(_write(tmp_path / "hot.csv", hot, {**hot, "power_w": ""}))[1]
    ours = judged[0].ours
    assert ours is not None
    assert judged[0].power_error_pct == pytest.approx(100 * (ours.power_w / 350 - 1))
    assert judged[1].power_error_pct is None
    said = judge.overall(judged)
    assert said["power_rows"] == 1
    assert said["power_mape_pct"] == pytest.approx(abs(judged[0].power_error_pct or 0))
    result = CliRunner().invoke(cli, ["validate", "ops", "--data", str(tmp_path / "hot.csv")])
    assert "mean power of 1 rows" in result.output
    result = CliRunner().invoke(cli, ["validate", "ops", "--data", str(_write(tmp_path / "cool.csv", GEMM))])
    assert "power" not in result.output


@given(st.integers(1, 10**5), st.integers(1, 32), st.integers(1, 512), st.floats(1.01, 3))
def test_loads_of_experts_add_up(tokens: int, choices: int, experts: int, exponent: float) -> None:
    """Every token goes to each of its experts once; none gets more tokens than there are; most come first."""
    choices = min(choices, experts)
    loads = power_law(tokens, choices, experts, exponent)
    assert sum(loads) == pytest.approx(tokens * choices, rel=1e-6)
    assert all(0 <= load <= tokens * (1 + 1e-9) for load in loads)
    assert loads == sorted(loads, reverse=True) or max(loads) == pytest.approx(tokens)


@given(st.integers(1, 10**5), st.integers(1, 8), st.sampled_from([8, 64, 256]), st.sampled_from([1, 2, 8]))
def test_the_busiest_device_has_no_less_than_its_part(tokens: int, choices: int, experts: int, devices: int) -> None:
    alike, steep = (share(tokens, choices, experts, devices, exponent) for exponent in (None, 1.2))
    assert alike.tokens == max(1, round(tokens * choices / devices))
    assert steep.tokens >= alike.tokens - 1
    assert 1 <= steep.experts <= experts // devices
    assert share(tokens, choices, experts, 1, None).tokens == tokens * choices


def test_a_row_of_experts_is_two_products_of_the_experts_that_are_hit() -> None:
    cells = {
        "device": "NVIDIA A100-SXM4-80GB", "op": "moe_fused", "dtype": "bfloat16", "M": "4", "N": "1024", "K": "4096",
        "extra": "topk=2;experts=64;tp=2;ep=1;dist=balanced", "latency_us": "40", "framework": "VLLM-0.14.0",
        "timing": "CUDA-graph replay; synthetic expert load distribution (see extra)",
        "source_repo": "PyPI aiconfigurator-core==0.12.0",
    }  # fmt: skip
    up, act, down, total = build(Measurement(2, cells))
    # 8 choices fall on 8 of 64 experts, one token each; gate and up are one product, half of the inner width is here.
    assert (up.macs, down.macs) == (8 * 4096 * 1024, 8 * 512 * 4096)
    assert sum(t.bytes for t in up.weights) == 8 * 4096 * 1024 * 2
    assert act.functions == {"silu"}
    assert total.outputs[0].shape == (4, 4096)
    with pytest.raises(InputError, match="extra, topk: 'x': want a whole number"):
        build(Measurement(2, {**cells, "extra": "topk=x"}))


def test_the_host_hides_short_kernels_and_delays_long_ones() -> None:
    """NeuSight timed eager calls: small ops of every size take the host's time, large ones a part of it longer than
    their bytes."""
    protocol = protocol_of("sitar-lab/NeuSight@6945927", "cuda-event/eager", "pytorch-p2.1.0", "NVIDIA T4")
    assert protocol.seen_s("ew_add", 1e-6) == protocol.seen_s("ew_add", 5e-6) == pytest.approx(26.8e-6)
    assert protocol.seen_s("layernorm", 1e-6) > 1.5 * protocol.seen_s("ew_add", 1e-6)
    assert protocol.seen_s("ew_add", 1e-6, device="NVIDIA V100-PCIe-32GB") == pytest.approx(1.21 * 26.8e-6)
    assert 10e-6 < protocol.seen_s("ew_add", 1e-3) - 1e-3 < 18e-6
    # cuDNN's calls end in the launch: all of the host's work stands before the kernel.
    assert protocol.seen_s("conv2d", 1e-3) - 1e-3 == pytest.approx(protocol.seen_s("conv2d", 0))


def test_convolutions_kept_in_half_are_multiplied_in_half_where_that_is_faster() -> None:
    """GP100's lanes take two FP16 products at a time, GM200's none: a row of DeepBench says how numbers are kept."""
    cells = {
        "op": "conv2d", "dtype": "fp16-storage/fp32-math", "batch": "16", "c_in": "128", "h_in": "40", "w_in": "175",
        "c_out": "256", "kh": "5", "kw": "5", "stride": "2", "pad": "1", "latency_us": "2762",
        "source_repo": "baidu-research/DeepBench@da81ba7",
    }  # fmt: skip
    half, whole_one = (
        predict(Measurement(2, {**cells, "device": "NVIDIA P100-PCIe-16GB", "dtype": dtype}))
        for dtype in ("fp16-storage/fp32-math", "fp32")
    )
    assert half.roofline_us == pytest.approx(whole_one.roofline_us / 2)
    assert half.predicted_us < whole_one.predicted_us


def test_a_protocol_is_found_by_all_that_a_row_says_of_its_source() -> None:
    """Frameworks, stacks and makers have other hosts; the more a protocol names of a row, the better it fits."""
    rocm = protocol_of("sitar-lab/NeuSight@6945927", "cuda-event/eager", "pytorch-2.4.1", "AMD MI210")
    assert rocm.name == "neusight_rocm"
    source = "PyPI aiconfigurator-core==0.12.0"
    timing = "CUDA-graph replay, warm-up then averaged; non-causal"
    stacks = [protocol_of(source, timing, name).stack for name in ("SGLang-0.5.14", "TRTLLM-1.3.0rc20", "VLLM-0.24.0")]
    assert stacks == ["sglang", "trtllm", "vllm"]
    assert (
        protocol_of("PrincetonUniversity/LLMCompass@2e015fd", "time.time()", "pytorch-fp16", "AMD MI210").maker == "AMD"
    )
    assert not protocol_of("PrincetonUniversity/LLMCompass@2e015fd", "time.time()", "pytorch-fp16", "NVIDIA A100").maker


def test_a_network_of_the_submitters_own_is_not_run() -> None:
    """open/Intel/measurements/1-node-2S-ICX-Neural_Engine-INT8 of MLPerf v3.0: retrained, 90 % sparse."""
    for notes in ("open;Intel;system=1-node-2S-ICX-Neural_Engine-INT8;cpu=8380", "open;Deci;system=x"):
        with pytest.raises(UnmodelledError, match="submitter's own"):
            network_of("mlperf:bert-99", "", notes)
    assert network_of("mlperf:bert-99", "", "closed;Intel;system=1-node-2S-ICX").workload == "bert_large"


def test_tpu_v3_rows_count_cores_of_a_chip() -> None:
    """MLPerf v0.5's tpu-v3.8x1: eight cores, two to a chip; batches of 256 a core offline (its README)."""
    device = device_of("Google TPU v3 (per-core count)")
    assert (device.name, device.core.count) == ("tpu_v3_chip", 2)
    source = "github mlcommons/inference_results_v0.5:closed/Google/results/tpu-v3.8x1/resnet/offline"
    row = Measurement(2, {"source": source, "model": "mlperf:resnet", "scenario": "offline"})
    protocol = run_protocol_of(row)
    assert (protocol.batch, protocol.counts_cores, protocol.batch_is_per_core) == (256, True, True)


def test_padding_is_work(tmp_path: Path) -> None:
    """GNMT on TPU v3 reads 160 tokens of every sentence: with 27 a chip would do 1,240 a second."""
    row = NETWORK | {
        "device": "Google TPU v3 (per-core count)", "n_devices": "2", "model": "mlperf:gnmt", "precision": "",
        "source": "github mlcommons/inference_results_v0.5:closed/Google/results/tpu-v3.8x1/gnmt/offline",
    }  # fmt: skip
    protocol = run_protocol_of(Measurement(2, row))
    assert (protocol.batch, protocol.pads) == (128, {"source": 160})
    _, (judged,) = models.judge(_write(tmp_path / "models.csv", row))
    assert judged.ours is not None
    assert judged.ours.batch == 128
    assert 500 < judged.ours.value < 700


def test_a_submissions_system_says_which_card() -> None:
    """closed/Krai/systems/eb6-qaic (v3.0): DM.2e, 81 MB, 15 W; open/Lenovo/systems/se350 (v2.1): Pro, 144 MB, 75 W."""
    for system, name, on_chip, watts in (
        ("eb6-qaic", "qualcomm_ai100_dm2e", 81, 15),
        ("se350", "qualcomm_ai100", 144, 75),
    ):
        cells = {"device": "Qualcomm Cloud AI 100", "notes": f"closed;X;system={system}-v1.8;cpu=y"}
        device = device_of_row(Measurement(2, cells))
        assert (device.name, device.power.tdp_w) == (name, watts)
        own = sum(m.capacity_bytes for m in device.memory if m.scope == "core")
        assert own * device.core.count == on_chip * 2**20


def test_threads_that_share_a_core_wait_for_each_other(tmp_path: Path) -> None:
    """Little's law: eight requests in flight on four cores take twice as long as four, at the same throughput."""
    row = {
        "device": "AWS Inferentia1", "model": "YOLO v4", "task": "inference", "throughput_per_s": "180.2",
        "latency_ms": "40.1", "seq_or_input": "", "scenario": "latency", "precision": "fp32", "batch": "1",
        "source": "github aws-neuron/aws-neuron-sdk@8:x.csv", "runtime": "PyTorch", "notes": "Num. Cores=4;Threads=8.0",
    }  # fmt: skip
    _, (eight, four) = models.judge(
        _write(tmp_path / "models.csv", row, row | {"latency_ms": "20.1", "notes": "Num. Cores=4;Threads=4"})
    )
    assert eight.ours is not None
    assert four.ours is not None
    assert eight.ours.value == pytest.approx(2 * four.ours.value)


def test_a_host_that_prepares_images_bounds_the_throughput(tmp_path: Path) -> None:
    """MobileNet on VEK280: whatever the DPU does, its two A72 prepare 0.65 GB of pixels a second."""
    row = {
        "device": "AMD/Xilinx DPU on VEK280", "model": "tf_mobilenetv1-1.0_3.5", "task": "inference",
        "throughput_per_s": "5167", "latency_ms": "", "seq_or_input": "224*224*3", "scenario": "offline(multi-thread)",
        "source": "github Xilinx/Vitis-AI@b2b2:x.csv", "runtime": "Vitis AI; 1* C20B14CU1 @300MHz AIE-ML fclk=1.18GHz",
    }  # fmt: skip
    _, (judged,) = models.judge(_write(tmp_path / "models.csv", row))
    assert judged.ours is not None
    assert judged.ours.bound == "host"
    assert judged.ours.value == pytest.approx(0.65e9 / (224 * 224 * 3))


def test_neuron_casts_products_to_bf16() -> None:
    """Neuron documentation, mixed precision: FP32 products are cast to BF16 by default; FP16 is kept."""
    cells = {"source": "github aws-neuron/aws-neuron-sdk@1:x.csv", "model": "bert-base-uncased", "scenario": "offline"}
    for said, wanted in (("FP32", "bf16"), ("FP16", "fp16"), ('"FP32, BF16"', "bf16")):
        row = Measurement(2, cells | {"precision": said})
        assert precision_of(row, run_protocol_of(row)) == wanted


@pytest.mark.parametrize("kind", [Protocol, RunProtocol, ChosenKernel, Quantising, Tables])
def test_documentation_names_every_field_of_a_protocol(kind: type[Part]) -> None:
    text = (Path(__file__).parent.parent / "docs" / "silicon.md").read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    named = {word for code in re.findall(r"`([^`]+)`", prose) for word in re.findall(r"\w+", code)}
    assert set(kind.model_fields) - named <= {"name", "about", "source"}
