"""Energy tables against the papers they quote, and a device's actions priced by them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.base.dtypes import DTYPES
from accelsim.base.errors import ConfigError
from accelsim.base.resources import resource_dir
from accelsim.hardware.energy import (
    EnergyTable,
    check_energy_file,
    component,
    energy_table_of,
    load_energy_table,
    scaling,
    table_rows,
)
from accelsim.hardware.loader import device_names, load_device

KIB = 1024


@pytest.fixture(scope="module")
def table() -> EnergyTable:
    return load_energy_table(45)


def test_arxiv_1506_02626_figure_1(table: EnergyTable) -> None:
    """32-bit int add 0.1, float add 0.9, register file 1, int mult 3.1, float mult 3.7, SRAM 5, DRAM 640 pJ."""
    assert (table.add["int32"].pj, table.add["fp32"].pj) == (0.1, 0.9)
    assert (table.mul["int32"].pj, table.mul["fp32"].pj) == (3.1, 3.7)
    assert 32 * table.register_file.pj_per_bit == 1
    assert table.sram.access_pj(8 * KIB, 32) == 5
    assert 32 * table.dram["default"].pj_per_bit == 640


def test_horowitz_isscc_2014_figure_1_1_9(table: EnergyTable) -> None:
    assert (table.add["int8"].pj, table.add["int16"].pj, table.add["fp16"].pj) == (0.03, 0.05, 0.4)
    assert (table.mul["int8"].pj, table.mul["fp16"].pj) == (0.2, 1.1)
    assert 1300 <= 64 * table.dram["ddr3"].pj_per_bit <= 2600  # a range in the paper


@pytest.mark.parametrize(("kib", "pj", "error"), [(8, 10, 0), (32, 20, 0.04), (1024, 100, 1e-3)])
def test_horowitz_sram_64_bits(table: EnergyTable, kib: int, pj: float, error: float) -> None:
    """The power law goes through the ends; 32 KiB comes out at 19.3."""
    assert table.sram.access_pj(kib * KIB, 64) == pytest.approx(pj, rel=error)


# CACTI 7 (HewlettPackard/cacti; ram, itrs-hp, 350 K, 1 bank, 1 rw port): energy of a read [pJ], by (nm, bits).
CACTI_KIB = (4, 8, 32, 128, 512, 1024, 2048, 4096, 8192, 16384, 32768)
CACTI = {
    (65, 64): (5.5453, 10.1198, 28.4253, 63.8254, 106.862, 142.017, 192.205, 259.109, 388.15, 514.575, 728.678),
    (65, 256): (16.5537, 18.7401, 44.2048, 121.359, 261.684, 406.036, 591.192, 815.598, 1166.15, 1612.31, 2292.71),
    (45, 64): (3.3181, 6.0479, 16.998, 37.4928, 59.9027, 77.1867, 104.474, 139.48, 194.131, 264.538, 385.896),
    (45, 256): (9.3972, 10.7091, 25.4355, 65.6439, 145.156, 207.748, 322.778, 440.055, 623.419, 856.769, 1212.84),
    (32, 64): (1.8092, 3.3323, 9.6929, 16.4896, 29.6714, 43.738, 59.0857, 78.7537, 109.49, 149.061, 211.275),
    (32, 256): (5.0842, 5.8823, 14.3574, 37.1452, 82.2262, 117.457, 173.931, 250.039, 345.049, 484.44, 684.671),
    (22, 64): (1.2579, 1.7271, 4.0007, 8.5661, 15.4803, 21.0915, 29.346, 42.2318, 58.7879, 80.0472, 113.641),
    (22, 256): (2.6028, 3.0721, 7.7706, 19.94, 45.8851, 65.4952, 93.8756, 130.75, 186.067, 258.213, 367.427),
}


def cacti_ratios(node: int, smallest_kib: int, largest_kib: int) -> list[float]:
    """Our model over CACTI, for each of its rows in a range of capacities."""
    model = load_energy_table(node).sram
    return [
        model.access_pj(kib * KIB, bits) / pj
        for (nm, bits), column in CACTI.items()
        for kib, pj in zip(CACTI_KIB, column, strict=True)
        if nm == node and smallest_kib <= kib <= largest_kib
    ]


@pytest.mark.parametrize(("node", "mean"), [(65, 1.43), (45, 1.39), (32, 1.41), (22, 1.41)])
def test_sram_against_cacti_7_up_to_a_bank(node: int, mean: float) -> None:
    """Horowitz's points lie above CACTI's, 1.18 to 1.65 times at 64 bits, and the model goes through Horowitz's."""
    ratios = cacti_ratios(node, 4, 1024)
    assert math.exp(sum(map(math.log, ratios)) / len(ratios)) == pytest.approx(mean, rel=0.01)
    assert 0.95 < min(ratios) < max(ratios) < 2.4


@pytest.mark.parametrize(("node", "mean"), [(65, 0.53), (45, 0.61), (32, 0.64), (22, 0.71)])
def test_sram_against_cacti_7_above_a_bank(node: int, mean: float) -> None:
    """Banks and wires cost less than the single large array that CACTI was asked for."""
    ratios = cacti_ratios(node, 2048, 32768)
    assert math.exp(sum(map(math.log, ratios)) / len(ratios)) == pytest.approx(mean, rel=0.01)


@given(st.integers(1, 2**40), st.integers(1, 2**14), st.floats(1, 4))
def test_sram_costs_more_where_it_is_larger_or_wider(capacity: int, bits: int, factor: float) -> None:
    sram = load_energy_table(45).sram
    slack = 1 + 1e-9
    assert sram.access_pj(int(capacity * factor), bits) * slack >= sram.access_pj(capacity, bits) > 0
    assert sram.access_pj(capacity, int(bits * factor)) * slack >= sram.access_pj(capacity, bits)


def test_sram_is_continuous_where_banks_begin(table: EnergyTable) -> None:
    bank = table.sram.bank_bytes
    assert table.sram.access_pj(bank + 1, 64) == pytest.approx(table.sram.access_pj(bank, 64), rel=1e-5)


def test_every_row_has_a_source_or_says_assumed() -> None:
    for name in ("45nm", "7nm"):
        rows = table_rows(load_energy_table(name))
        assert all(len(row.source) > 4 for row in rows)
    assert "ASSUMED" in load_energy_table("45nm").special["fp32"].source


def test_rules_of_the_assumed_rows(table: EnergyTable) -> None:
    for name in DTYPES:
        assert table.special[name].pj == pytest.approx(5 * (table.mul[name].pj + table.add[name].pj))
    assert table.mul["fp64"].pj == pytest.approx(3.7 * (53 / 24) ** 2, rel=0.01)


# Nodes


def test_logic_scales_and_dram_does_not() -> None:
    base, small = load_energy_table("45nm"), load_energy_table("28nm")
    assert small.mul["int8"].pj == pytest.approx(0.2 * 0.5066)
    assert small.register_file.pj_per_bit == pytest.approx(base.register_file.pj_per_bit * 0.5066)
    assert small.dram == base.dram
    assert small.sram.wire_pj_per_bit_mm == base.sram.wire_pj_per_bit_mm
    assert small.node_nm == 28
    assert "scaled from 45nm" in small.name


def test_nodes_between_those_listed_lie_between() -> None:
    twelve = scaling().logic.at(12)
    assert 0.1273 < twelve < 0.1501
    assert scaling().logic.at(45) == 1


def test_7_nm_has_a_table_of_its_own() -> None:
    """Jouppi et al., ISCA 2021, Table 2: fp32 add 0.38, multiply 1.31; SRAM 7.5, 8.5 and 14 pJ."""
    table = load_energy_table(7.0)
    assert table.name == "7nm"
    assert (table.add["fp32"].pj, table.mul["fp32"].pj) == (0.38, 1.31)
    for kib, pj in ((8, 7.5), (32, 8.5), (1024, 14)):
        assert table.sram.access_pj(kib * KIB, 64) == pytest.approx(pj, rel=0.07)


def test_scaled_sram_meets_the_7_nm_table_at_1_mib() -> None:
    base = load_energy_table(45)
    assert base.sram.access_pj(1024 * KIB, 64) * scaling().sram.at(7) == pytest.approx(14, rel=0.17)  # 16.3


@pytest.mark.parametrize("name", [45, 45.0, "45", "45nm", " 45 nm "])
def test_names_of_a_node(name: str | float) -> None:
    assert load_energy_table(name).name == "45nm"


@pytest.mark.parametrize("node", [2, 180, "0", float("nan"), float("inf"), -1])
def test_nodes_out_of_reach(node: str | float) -> None:
    with pytest.raises(ConfigError, match=r"no energy table for .* nm; want 3 to 130 nm"):
        load_energy_table(node)


# A table of one's own


def own(tmp_path: Path, old: str, new: str) -> Path:
    text = (resource_dir("hwconfigs") / "energy" / "45nm.toml").read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "my.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


def test_edited_table(tmp_path: Path) -> None:
    path = own(tmp_path, "int8 = { pj = 0.03,", "int8 = { pj = 0.06,")
    assert load_energy_table(path).add["int8"].pj == 0.06
    assert check_energy_file(path) == []
    device = load_device("tpu_v1", {"energy_node": str(path)})
    assert energy_table_of(device).pj("add.int8", device) == 0.06


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("int8 = { pj = 0.03,", "int8 = { pj = -1,", "add.int8.pj: got -1; want a number > 0"),
        ("int8 = { pj = 0.03,", "int9 = { pj = 0.03,", "unknown number format; did you mean 'int8'?"),
        ("int4 = { pj = 0.015, source", "# source", "add.int4: missing; want a table with pj, source"),
        ("default = { pj_per_bit", "normal = { pj_per_bit", "dram.default: missing"),
        ("pj_per_bit = 0.03125", "pj_per_bits = 0.03125", "register_file.pj_per_bits: unknown key; did you mean"),
        ("[register_file]", "[registers]", "register_file: missing; want a section with source, pj_per_bit"),
        ("[sram]", "[sram", "not TOML"),
    ],
)
def test_wrong_tables(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = own(tmp_path, old, new)
    with pytest.raises(ConfigError) as caught:
        load_energy_table(path)
    assert check_energy_file(path) == list(caught.value.problems)
    assert any(said in line and line.startswith(f"{path}: ") for line in caught.value.problems), caught.value.problems


def test_unknown_table() -> None:
    with pytest.raises(ConfigError, match="energy table 'forty': unknown; want a node such as 28nm"):
        load_energy_table("forty")


# A device's actions


def test_tpu_v1_actions() -> None:
    """By hand from the 28 nm table: 0.5066 of 45 nm for logic; DRAM 640 pJ a word of 4 bytes."""
    device = load_device("tpu_v1")
    table = energy_table_of(device)
    assert table.pj("mac.int8", device) == pytest.approx((0.2 + 0.1) * 0.5066)
    assert table.pj("mac.int16", device) == pytest.approx((0.8 + 0.1) * 0.5066)
    assert table.pj("add.int32", device) == pytest.approx(0.1 * 0.5066)
    assert table.pj("register", device) == pytest.approx(0.009 * 0.5066)
    assert table.pj("dram.read", device) == 160
    assert table.pj("pcie.transfer", device) == 60


def test_vector_unit_multiplies_what_the_matrix_unit_lacks() -> None:
    device = load_device("nvidia_t4")
    table = energy_table_of(device)
    assert table.mac_pj(device, "fp16") == device.factors.tensor.pj_per_mac > 0  # type: ignore[union-attr]
    assert table.mac_pj(device, "fp32") == device.factors.simt.pj_per_mac > 0  # type: ignore[union-attr]  # the family's
    assert table.mac_pj(device, "bf16") == table.mul["bf16"].pj + table.add["fp32"].pj  # neither: the table


def test_files_override_the_table() -> None:
    plain = load_device("tpu_v1")
    device = load_device("tpu_v1", {"core.matrix.energy_pj_per_mac.int8": 0.5, "unified_buffer.energy_pj_per_bit": 1})
    table = energy_table_of(device)
    assert (table.pj("mac.int8", device), table.pj("unified_buffer.write", device)) == (0.5, 8)
    assert table.pj("mac.int8", plain) != 0.5  # prices are kept apart by device


@pytest.mark.parametrize("name", device_names())
def test_every_action_of_every_device_has_a_price_and_a_component(name: str) -> None:
    device = load_device(name)
    table = energy_table_of(device)
    actions = [f"{what}.{dtype}" for what in ("mac", "add", "mul", "special") for dtype in DTYPES]
    actions += [f"{m.name}.{way}" for m in device.memory for way in ("read", "write")]
    actions += [f"{device.host.link.name}.transfer"] if device.host else []
    for action in actions:
        assert table.pj(action, device) > 0
        assert component(action, device) in {"mac", "sram", "dram", "link"}
    assert table.pj("register", device) >= 0
    assert component("register", device) == "register"
    with pytest.raises(ValueError, match=r"has no action 'l7\.read'"):
        table.pj("l7.read", device)


@pytest.mark.parametrize("name", device_names())
def test_memories_cost_more_the_farther_they_are(name: str) -> None:
    device = load_device(name)
    table = energy_table_of(device)
    costs = [table.pj(f"{m.name}.read", device) for m in device.path("weight")]
    assert costs == sorted(costs)


def test_rows_to_print(table: EnergyTable) -> None:
    rows = {row.name: row for row in table_rows(table)}
    assert rows["dram"].relative == pytest.approx(6400)
    assert (rows["dram"].bits, rows["dram"].pj) == (32, 640)
    assert rows["mac.int8"].pj == pytest.approx(0.3)
    chosen = {row.name for row in table_rows(table, ["int8"])}
    assert "add.int8" in chosen
    assert "add.fp32" not in chosen
    assert "dram" in chosen
