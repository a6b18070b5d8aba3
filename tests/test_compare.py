"""``accelsim compare``: the order asked for, prices as the device files say, and nothing left out in silence."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from accelsim.base.errors import InputError
from accelsim.cli import cli
from accelsim.hardware.loader import load_device
from accelsim.simulation import Options
from accelsim.study.compare import ORDERS, as_used, compare, ranked, usd_per_million
from accelsim.study.sweep import Point

DEVICES = ("tpu_v1", "nvidia_a100_sxm_80gb", "xeon_8275cl")
MATMUL = {"m": 512, "n": 512, "k": 512}


def _points() -> list[Point]:
    return [Point(device=name, workload="matmul", params=MATMUL) for name in DEVICES]


@pytest.mark.parametrize("by", ORDERS)
def test_the_best_stands_first(by: str) -> None:
    entries, refused = compare(_points())
    assert not refused
    keys = [ORDERS[by].key(e) for e in ranked(entries, by)]
    known = [key for key in keys if key is not None]
    assert known == sorted(known)
    assert keys[: len(known)] == known  # those without a price come last


def test_a_device_that_cannot_run_it_is_named_with_the_reason() -> None:
    entries, refused = compare([*_points(), Point(device="eyeriss_v1", workload="bert_base")])
    assert len(entries) == len(DEVICES)
    assert [one.point.device for one in refused] == ["eyeriss_v1"]
    assert "gather" in refused[0].why


def test_a_million_items_cost_what_the_hours_cost() -> None:
    device = load_device("nvidia_a100_sxm_80gb")
    assert device.price is not None
    hours = 10**6 / 1000 / 3600  # at 1,000 items a second
    assert usd_per_million(device, 1000.0) == pytest.approx(hours * device.price.usd_per_hour / device.price.devices)


def test_all_cores_work_where_an_op_runs_on_one() -> None:
    point = Point(device="aws_inferentia1", workload="matmul", options=Options(batch=8))
    assert as_used(point).options.parallel == "data"
    assert as_used(point).options.cores == load_device("aws_inferentia1").core.count
    assert as_used(Point(device="tpu_v1", workload="matmul")).options.parallel is None


def _run(*args: str) -> tuple[int, str, BaseException | None]:
    done = CliRunner().invoke(cli, ["compare", *args])
    return done.exit_code, done.output, done.exception


def test_the_table_names_winner_and_reason() -> None:
    code, output, _ = _run(*DEVICES, "-w", "matmul", "--by", "latency")
    assert code == 0
    assert "has the shortest latency" in output


def test_wrong_input_is_one_message(tmp_path: Path) -> None:
    for args, words in (
        ((*DEVICES, "-w", "matmul", "--by", "price"), "want one of latency"),
        (("nonsense", "tpu_v1", "-w", "matmul"), "nonsense"),
        (("tpu_v1", "tpu_v1", "-w", "matmul"), "stands twice"),
        (("tpu_v1", "-w", "matmul", "--latency-limit-ms", "1e-9"), "the shortest takes"),
        (("eyeriss_v1", "-w", "bert_base"), "eyeriss_v1"),
    ):
        _, _, error = _run(*args)
        assert isinstance(error, InputError)
        assert words in str(error)
