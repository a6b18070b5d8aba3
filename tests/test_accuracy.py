"""Errors against measured kernels, held to what they are: a fast slice of ``accelsim validate ops``.

Bounds are the targets of the project where they are met, else what is reached, rounded up, with the target beside it.
Rows that factors were fitted on are among these; the families' files give the errors of the half that they were not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

import pytest

from accelsim.validation.measured import data_folder
from accelsim.validation.silicon.calibrate import halves
from accelsim.validation.silicon.judge import Judged, judge

FILE = data_folder() / "ops.csv"
VECTOR = ("softmax", "layernorm", "rmsnorm", "gelu", "relu", "tanh", "ew_")

GROUPS = [
    # devices, ops, formats, asserted %, target %
    (("A100-SXM", "H100"), ("gemm",), ("bfloat16", "fp16"), 7.0, 7.0),
    (("A100-SXM",), ("gemm",), ("sq",), 17.0, 15.0),
    (("H100",), ("gemm",), ("fp8", "fp8_block"), 16.0, 25.0),
    (("A100-SXM", "H100"), ("gemm",), ("int8_wo", "int4_wo"), 12.0, None),
    (("V100", "A100", "H100"), ("linear", "bmm"), ("fp32",), 12.0, 12.0),
    (("T4",), ("linear", "bmm", "gemm"), ("fp32",), 20.0, 20.0),
    (("T4",), ("gemm",), ("fp16",), 10.0, None),
    (("T4",), ("gemm",), ("int8",), 18.0, None),
    (("V100", "A100", "T4", "MI210"), VECTOR, ("fp32",), 5.0, 10.0),
    (("P100",), VECTOR, ("fp32",), 13.0, 10.0),
    (("A100",), ("attention_prefill", "attention_decode"), ("bfloat16/kv-bfloat16",), 13.0, 13.0),
    (("H100",), ("attention_",), ("",), 14.0, 13.0),
    (("T4",), ("conv2d",), ("fp16",), 16.0, 25.0),
    (("V100", "T4", "A100"), ("conv2d",), ("fp32",), 27.0, 25.0),
    (("KNL",), ("gemm",), ("fp32",), 12.0, None),
]


@pytest.fixture(scope="module")
def judged() -> Sequence[Judged]:
    if not FILE.is_file():
        pytest.skip(f"{FILE} is not here: say where the measured files are with $ACCELSIM_DATA")
    return judge(FILE)[1]


def _errors(
    judged: Sequence[Judged], devices: Sequence[str], ops: Sequence[str], formats: Sequence[str]
) -> list[float]:
    return [
        one.error_pct
        for one in judged
        if one.ours is not None
        and any(device in one.row.text("device") for device in devices)
        and any(one.row.text("op") == op or (op.endswith("_") and one.row.text("op").startswith(op)) for op in ops)
        and (formats == ("",) or one.row.text("dtype") in formats)
    ]


@pytest.mark.parametrize(("devices", "ops", "formats", "asserted", "target"), GROUPS)
def test_mean_errors_stay_where_they_are(
    judged: Sequence[Judged],
    devices: tuple[str, ...],
    ops: tuple[str, ...],
    formats: tuple[str, ...],
    asserted: float,
    target: float | None,
) -> None:
    errors = _errors(judged, devices, ops, formats)
    assert len(errors) >= 50
    mean = fmean(map(abs, errors))
    assert mean <= asserted
    if target is not None and asserted > target:
        assert mean > target, f"the target of {target} % is met: assert it"


def test_bias_is_small(judged: Sequence[Judged]) -> None:
    logs = [math.log1p(one.error_pct / 100) for one in judged if one.ours is not None]
    assert abs(math.expm1(fmean(logs))) < 0.15


def test_the_plain_roofline_is_far_behind(judged: Sequence[Judged]) -> None:
    ours = fmean(abs(one.error_pct) for one in judged if one.ours is not None)
    plain = fmean(abs(one.roofline_error_pct) for one in judged if one.ours is not None)
    assert ours < plain / 3


def test_nearly_every_row_has_a_prediction(judged: Sequence[Judged]) -> None:
    """All but collectives and rows of chips that have suites of their own."""
    without = [one for one in judged if one.ours is None]
    assert {one.row.text("op") for one in without if not one.row.text("device").startswith("Eyeriss")} <= {
        "comm_all_reduce",
        "comm_all_gather",
        "comm_reduce_scatter",
        "comm_alltoall",
    }


def test_board_power_of_attention_kernels() -> None:
    """NVML on a B200; target 15 %. The half that nothing was fitted on, as ``halves`` splits."""
    file = data_folder() / "power_b200.csv"
    if not file.is_file():
        pytest.skip(f"{file} is not here: say where the measured files are with $ACCELSIM_DATA")
    found = judge(file)[1]
    held_out = {row.number for row in halves([one.row for one in found])[1]}
    errors = [one.power_error_pct for one in found if one.row.number in held_out]
    assert len(errors) == len([error for error in errors if error is not None]) >= 100
    mean = fmean(abs(error) for error in errors if error is not None)
    assert 15 < mean <= 21
