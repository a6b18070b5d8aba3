"""Device files read and refused: each kind of mistake, and what is said about it."""

from __future__ import annotations

import contextlib
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.base.errors import ConfigError
from accelsim.base.resources import resource_dir
from accelsim.hardware.loader import check_device_file, device_names, device_sha256, field_values, load_device

TINY = """
name = "tiny"
description = "two units and a DRAM"
source = "made up"
process_nm = 45
default_dtype = "int8"

[core]
count = 2
gang = false
source = "made up"

[core.matrix]
kind = "systolic_array"
rows = 8
cols = 4
freq_hz = 1e9
macs_per_cycle_per_cell = { int8 = 1.0 }
source = "made up"

[core.vector]
freq_hz = 1e9
ops_per_cycle = { int8 = 4 }
special_per_cycle = 1
source = "made up"

[[memory]]
name = "buffer"
kind = "sram"
capacity_bytes = 1e6
bandwidth_bytes_per_s = 10e9
source = "made up"

[[memory]]
name = "dram"
kind = "dram"
capacity_bytes = 1e9
bandwidth_bytes_per_s = 1e9
source = "made up"

[power]
tdp_w = 10
static_w = 1
source = "made up"
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY, encoding="utf-8")
    return path


def complaints(name: Any, **overrides: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_device(name, {key.replace("__", "."): value for key, value in overrides.items()})
    assert all("\n" not in problem for problem in caught.value.problems)
    return list(caught.value.problems)


def test_a_file_is_loaded_by_path(tiny: Path) -> None:
    device = load_device(tiny)
    assert device.name == "tiny"
    assert device.memory_named("buffer").capacity_bytes == 1_000_000
    assert check_device_file(tiny) == []


MISTAKES = {
    "word for a number": (
        "bandwidth_bytes_per_s = 1e9",
        "bandwidth_bytes_per_s = 'fast'",
        "memory[dram].bandwidth_bytes_per_s: got 'fast'; want a number > 0",
    ),
    "unit": ("bandwidth_bytes_per_s = 1e9", "bandwidth_bytes_per_s = '34 GB/s'", "without a unit: 34000000000"),
    "misspelt key": (
        "bandwidth_bytes_per_s = 1e9",
        "bandwith_bytes_per_s = 1e9",
        "memory[dram].bandwith_bytes_per_s: unknown key; did you mean 'bandwidth_bytes_per_s'?",
    ),
    "missing key": ("rows = 8\n", "", "core.matrix.rows: missing; want a whole number from 1 to 2^40"),
    "alien key": ("rows = 8", "rows = 8\nxyzzy = 1", "core.matrix.xyzzy: unknown key; want one of source, kind, rows"),
    "alien section": ("[power]", "[xyzzy]\na = 1\n[power]", "xyzzy: unknown key; want one of source, name"),
    "missing section": (
        '[power]\ntdp_w = 10\nstatic_w = 1\nsource = "made up"\n',
        "",
        "power: missing; want a section with source, tdp_w",
    ),
    "number for a section": (
        '[power]\ntdp_w = 10\nstatic_w = 1\nsource = "made up"\n',
        "[power.x]\n",
        "power.x: unknown key",
    ),
    "no source": ("rows = 8", "rows = 8\n[core.x]", "core.x: unknown key"),
    "empty source": (
        'count = 2\ngang = false\nsource = "made up"',
        "count = 2\ngang = false\nsource = ''",
        "core.source: got ''; want text that is not empty",
    ),
    "zero": ("rows = 8", "rows = 0", "core.matrix.rows: got 0; want a whole number from 1 to 2^40"),
    "negative": ("rows = 8", "rows = -8", "core.matrix.rows: got -8; want a whole number"),
    "fraction": ("rows = 8", "rows = 8.5", "core.matrix.rows: got 8.5; want a whole number"),
    "above 2^40": ("rows = 8", "rows = 1099511627777", "got 1099511627777; want a whole number from 1 to 2^40"),
    "infinite": ("rows = 8", "rows = inf", "core.matrix.rows: got inf; want a whole number"),
    "infinite rate": ("freq_hz = 1e9\nmacs", "freq_hz = inf\nmacs", "core.matrix.freq_hz: got inf; want a number > 0"),
    "not a number": ("freq_hz = 1e9\nmacs", "freq_hz = nan\nmacs", "core.matrix.freq_hz: got nan; want a number > 0"),
    "beyond reason": ("freq_hz = 1e9\nmacs", "freq_hz = 1e300\nmacs", "core.matrix.freq_hz: got 1e+300; want a number"),
    "truth for a number": ("rows = 8", "rows = true", "core.matrix.rows: got true; want a whole number"),
    "number for a truth": ("gang = false", "gang = 1", "core.gang: got 1; want true or false"),
    "list for a number": ("rows = 8", "rows = [8]", "core.matrix.rows: got [8]; want a whole number"),
    "table for a number": ("rows = 8", "rows = { a = 1 }", "core.matrix.rows: got a table; want a whole number"),
    "date for a number": (
        "rows = 8",
        "rows = 2020-01-01",
        "core.matrix.rows: got 2020-01-01 (date); want a whole number",
    ),
    "number for a table": (
        "macs_per_cycle_per_cell = { int8 = 1.0 }",
        "macs_per_cycle_per_cell = 1",
        "core.matrix.macs_per_cycle_per_cell: got 1; want a table, each value a number > 0",
    ),
    "unknown kind": (
        'kind = "systolic_array"',
        'kind = "systolic"',
        "core.matrix.kind: got 'systolic'; want one of 'systolic_array', 'tensor_core'",
    ),
    "missing kind": (
        'kind = "systolic_array"\n',
        "",
        "core.matrix.kind: missing; want one of 'systolic_array', 'tensor",
    ),
    "unknown memory kind": (
        'kind = "dram"',
        'kind = "drm"',
        "memory[dram].kind: got 'drm'; want one of 'sram', 'dram'",
    ),
    "unknown format": (
        "{ int8 = 1.0 }",
        "{ int9 = 1.0 }",
        "int9: got 'int9'; unknown number format; did you mean 'int8'",
    ),
    "unknown default format": (
        'default_dtype = "int8"',
        'default_dtype = "float32"',
        "default_dtype: got 'float32'; unk",
    ),
    "default format that nothing computes": (
        'default_dtype = "int8"',
        'default_dtype = "fp32"',
        "default_dtype: no unit of core computes 'fp32'; want one of int8",
    ),
    "bad name": ('name = "tiny"', 'name = "Tiny Chip"', "name: got 'Tiny Chip'; want a name of small letters"),
    "two of a name": ('name = "buffer"', 'name = "dram"', "memory[dram]: stands twice"),
    "taken name": ('name = "buffer"', 'name = "mac"', "memory[mac].name: is taken"),
    "two DRAMs": ('kind = "sram"', 'kind = "dram"', "memory[buffer]: is a DRAM; want it last"),
    "nameless memory": ('name = "buffer"\n', "", "memory[0].name: missing; want a name of small letters"),
    "role": (
        'name = "buffer"',
        'name = "buffer"\nholds = ["weights"]',
        "memory[buffer].holds[0]: got 'weights'; want one of 'activation', 'weight', 'partial_sum'; did you mean",
    ),
    "nobody holds weights": (
        'source = "made up"\n\n[[memory]]\nname = "dram"',
        "holds = ['activation']\nsource = \"made up\"\n[[memory]]\nholds = ['activation']\nname = \"dram\"",
        "memory: want at least one that holds 'weight'",
    ),
    "static power above the limit": (
        "static_w = 1",
        "static_w = 11",
        "power.static_w: want less than tdp_w = 10, got 11",
    ),
    "process without a table": (
        "process_nm = 45",
        "process_nm = 450",
        "process_nm: no energy table for 450 nm; want 3",
    ),
    "energy table": (
        "process_nm = 45",
        "process_nm = 45\nenergy_node = 'mine'",
        "energy_node: energy table 'mine': unknown",
    ),
    "DRAM type": (
        'kind = "dram"',
        'kind = "dram"\ndram_type = "ddr33"',
        "memory[dram].dram_type: got 'ddr33'; want one",
    ),
    "syntax": ("rows = 8", "rows = ", "not TOML: Invalid value (at line 15, column 8)"),
    "key twice": ("rows = 8", "rows = 8\nrows = 9", "not TOML: Cannot overwrite a value (at line 16, column 9)"),
    "host unknown": (
        "[power]",
        "[host]\ndevice = 'xeon_e5_2699'\nsource = 'x'\n[host.link]\nname = 'pcie'\n"
        "bandwidth_bytes_per_s = 1\nlatency_s = 0\nenergy_pj_per_bit = 0\nsource = 'x'\n[power]",
        "host.device: device 'xeon_e5_2699': unknown; did you mean 'xeon_e5_2699v3'?",
    ),
    "host with a host": (
        "[power]",
        "[host]\ndevice = 'tpu_v1'\nsource = 'x'\n[host.link]\nname = 'pcie'\n"
        "bandwidth_bytes_per_s = 1\nlatency_s = 0\nenergy_pj_per_bit = 0\nsource = 'x'\n[power]",
        "host.device: 'tpu_v1' has a host of its own; want a device without [host]",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_in_a_file(mistake: str, tiny: Path) -> None:
    right, wrong, said = MISTAKES[mistake]
    assert TINY.count(right) >= 1
    tiny.write_text(TINY.replace(right, wrong, 1), encoding="utf-8")
    found = complaints(tiny)
    assert all(line.startswith(f"{tiny}: ") for line in found)
    assert any(said in line for line in found), found
    assert check_device_file(tiny) == found


def test_all_mistakes_of_a_file_at_once(tiny: Path) -> None:
    text = TINY.replace("rows = 8", "rows = 0").replace("gang = false", "gang = 'yes'").replace("static_w", "statik_w")
    tiny.write_text(text, encoding="utf-8")
    assert [line.removeprefix(f"{tiny}: ").split(":")[0] for line in complaints(tiny)] == [
        "core.gang",
        "core.matrix.rows",
        "power.static_w",
        "power.statik_w",
    ]


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\x7fELF\xff\xfe")
    (tmp_path / "empty.toml").write_bytes(b"")
    (tmp_path / "deep.toml").write_text("a = " + "[" * 100_000, encoding="utf-8")
    (tmp_path / "long.toml").write_text("a = " + "1" * 10_000, encoding="utf-8")
    assert complaints(tmp_path) == [f"{tmp_path}: is a folder; want a TOML file"]
    assert complaints(tmp_path / "none.toml") == [f"{tmp_path / 'none.toml'}: no such file"]
    assert "byte 4 is not UTF-8" in complaints(tmp_path / "binary.toml")[0]
    assert "name: missing" in complaints(tmp_path / "empty.toml")[1]
    assert "nested too deeply" in complaints(tmp_path / "deep.toml")[0]
    assert "cannot be read" in complaints(tmp_path / "long.toml")[0]
    assert "cannot be read" in complaints("a\0/b.toml")[0]


def test_unknown_device() -> None:
    (line,) = complaints("tpuv1")
    assert line.startswith("device 'tpuv1': unknown; did you mean 'tpu_v1'?")
    assert "`accelsim list devices`" in line
    assert complaints("")[0].startswith("device '': unknown; want a path")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("t4", "'nvidia_t4'"),
        ("A100 80GB", "'nvidia_a100_pcie_80gb' or 'nvidia_a100_sxm_80gb'"),
        ("a10", "'nvidia_a10'"),  # a whole word of one name, a part of others
        ("inferentia", "'aws_inferentia1' or 'aws_inferentia2'"),
    ],
)
def test_of_a_name_cut_short_all_that_hold_it_are_suggested(name: str, meant: str) -> None:
    (line,) = complaints(name)
    assert f"; did you mean {meant}?; want" in line
    assert line.count("nvidia_") <= 2  # not all 98


def test_names_in_a_file_are_relative_to_it(tiny: Path) -> None:
    (tiny.parent / "my45.toml").write_bytes((resource_dir("hwconfigs") / "energy" / "45nm.toml").read_bytes())
    tiny.write_text('energy_node = "my45.toml"\n' + TINY, encoding="utf-8")
    assert load_device(tiny).energy_node == str(tiny.parent / "my45.toml")


# Overrides


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("core.matrix.rows", "128", 128),
        ("core.matrix.rows", "1e3", 1000),
        ("core.matrix.rows", 64, 64),
        ("core.matrix.macs_per_cycle_per_cell.int8", "0.5", 0.5),
        ("core.matrix.macs_per_cycle_per_cell.int4", "2", 2.0),
        ("core.matrix.dataflow", "os", "os"),
        ("core.matrix.stationary_double_buffered", "false", False),
        ("core.matrix.register_pj_per_bit", "0.01", 0.01),
        ("core.count", "4", 4),
        ("dram.bandwidth_bytes_per_s", "180e9", 180e9),
        ("unified_buffer.capacity_bytes", "25165824", 25165824),
        ("unified_buffer.holds", "activation,weight", ("activation", "weight")),
        ("unified_buffer.holds", '["activation"]', ("activation",)),
        ("unified_buffer.holds", ("activation",), ("activation",)),
        ("pcie.bandwidth_bytes_per_s", "16e9", 16e9),
        ("host.device", "xeon_8275cl", "xeon_8275cl"),
        ("power.tdp_w", "90", 90.0),
        ("power.tdp_w", "none", None),
        ("calibration.dram_efficiency", "0.75", 0.75),
        ("limits.ops", "matmul,softmax", ("matmul", "softmax")),
        ("prefetches_weights", "false", False),
        ("description", "a, b", "a, b"),
        ("autocast.fp32", "int8", "int8"),
    ],
)
def test_every_kind_of_field_can_be_set(key: str, text: Any, value: Any) -> None:
    device = load_device("tpu_v1", {key: text})
    assert field_values(device)[key.replace("pcie.", "host.link.")] == value


def test_memories_by_section_too() -> None:
    assert load_device("tpu_v1", {"memory.dram.bandwidth_bytes_per_s": 1e9}) == load_device(
        "tpu_v1", {"dram.bandwidth_bytes_per_s": "1e9"}
    )


def test_absent_sections_can_be_set(tiny: Path) -> None:
    device = load_device(tiny, {"calibration.launch_overhead_s": "1e-6", "limits.ops": "matmul"})
    assert device.calibration is not None
    assert device.calibration.launch_overhead_s == 1e-6
    assert device.calibration.source == "set by the user (--set)"
    assert load_device("aws_inferentia1", {"power.tdp_w": "75"}).power.tdp_w == 75
    link = {"name": "pcie", "bandwidth_bytes_per_s": "1e9", "latency_s": "0", "energy_pj_per_bit": "1"}
    host = {"host.device": "xeon_8275cl", **{f"host.link.{key}": value for key, value in link.items()}}
    assert load_device(tiny, host).host is not None


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("dram.bandwidth_bytes_per_s", "fast", "got 'fast'; want a number > 0"),
        ("dram.bandwidth_bytes_per_s", "-1", "got -1; want a number > 0"),
        ("dram.bandwidth_bytes_per_s", "inf", "got inf; want a number > 0"),
        ("dram.bandwidth_bytes_per_s", "180GB/s", "without a unit: 180000000000"),
        (
            "unified_buffer.capacity_bytes",
            "24MiB",
            "got '24MiB'; want a whole number from 1 to 2^40, without a unit: 25165824",
        ),
        ("unified_buffer.capacity_bytes", "2e12", "want a whole number from 1 to 2^40"),
        ("core.gang", "maybe", "got 'maybe'; want true or false"),
        ("core.matrix.dataflow", "wss", "want one of 'ws', 'os', 'is'"),
        ("core.matrix.macs_per_cycle_per_cell.int9", "1", "unknown number format; did you mean 'int8'?"),
        ("core.matrix.kind", "tensr", "got 'tensr'; want one of 'systolic_array', 'tensor_core'"),
        ("dram.bandwidth", "1", "unknown field; did you mean 'dram.bandwidth_bytes_per_s'?; known here: source, name"),
        ("drm.kind", "1", "unknown field; did you mean 'dram.kind'?"),
        ("xyzzy", "1", "unknown field; tpu_v1 has source, name"),
        ("core.matrix.rows.x", "1", "unknown field; did you mean 'core.matrix.rows'?"),
        ("core.matrix.tiles", "1", "unknown field"),
        ("core.matrix", "1", "is a section; set one of its fields: source, kind"),
        ("core.matrix.macs_per_cycle_per_cell", "1", "is a section; set one of its fields: int8, int16"),
        ("memory", "1", "is a section; set one of its fields: accumulators, weight_fifo, unified_buffer, dram"),
        ("memory.xyzzy.kind", "1", "tpu_v1 has accumulators, weight_fifo, unified_buffer, dram"),
        ("dram", "1", "is a section; set one of its fields: source"),
        ("power.static_w", "80", "want less than tdp_w = 75, got 80"),
        ("host.device", "tpu_v1", "has a host of its own"),
        ("process_nm", "1", "no energy table for 1 nm"),
        ("", "1", "unknown field"),
        ("..", "1", "unknown field"),
    ],
)
def test_overrides_are_refused_as_a_files_values_are(key: str, text: str, said: str) -> None:
    (line,) = complaints("tpu_v1", **{key: text})
    assert line.startswith(f"--set {key}: ")
    assert said in line


def test_all_wrong_overrides_at_once() -> None:
    found = complaints("tpu_v1", core__count="0", dram__bandwidth_bytes_per_s="0")
    assert [line.split(":")[0] for line in found] == ["--set core.count", "--set dram.bandwidth_bytes_per_s"]


def test_what_an_override_breaks_elsewhere_names_it() -> None:
    (line,) = complaints("tpu_v1", power__tdp_w="20")
    assert line == "tpu_v1.toml with --set power.tdp_w: power.static_w: want less than tdp_w = 20, got 28"
    (line,) = complaints("xeon_8275cl", core__matrix__rows="8")
    assert "core.matrix.kind: missing" in line


NUMBERS = [
    (name, key)
    for name in device_names()
    for key, value in field_values(load_device(name)).items()
    if isinstance(value, int | float) and not isinstance(value, bool)
]


@given(st.sampled_from(NUMBERS), st.floats(min_value=0.5, max_value=1.0))
def test_any_number_of_any_device_can_be_set(place: tuple[str, str], share: float) -> None:
    name, key = place
    old = field_values(load_device(name))[key]
    new = max(1, int(old * share)) if isinstance(old, int) else old * share
    new = max(new, 3) if key == "process_nm" else new
    tdp = load_device(name).power.tdp_w
    keep = {"power.static_w": 1e-3} if key == "power.tdp_w" and tdp else {}
    device = load_device(name, {key: repr(new), **keep})
    assert field_values(device)[key] == new


@given(st.text(max_size=30), st.text(max_size=20))
def test_no_override_ends_in_anything_but_a_device_or_a_message(key: str, text: str) -> None:
    with contextlib.suppress(ConfigError):
        load_device("nvidia_t4", {key: text})


WRONG = [
    "-1",
    "0",
    "inf",
    "nan",
    "true",
    "'x'",
    "''",
    "[]",
    "{}",
    "[[1]]",
    "{ a = 1 }",
    "1e400",
    "2020-01-01",
    "9" * 40,
]


@given(st.sampled_from(device_names()), st.data())
def test_any_value_in_any_line_ends_in_a_device_or_in_plain_words(name: str, data: st.DataObject) -> None:
    lines = (resource_dir("hwconfigs") / "devices" / f"{name}.toml").read_text(encoding="utf-8").split("\n")
    index = data.draw(st.sampled_from([i for i, line in enumerate(lines) if " = " in line and line[0] not in "# "]))
    lines[index] = f"{lines[index].split(' = ')[0]} = {data.draw(st.sampled_from(WRONG))}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mutant.toml"
        path.write_text("\n".join(lines), encoding="utf-8")
        for line in check_device_file(path):
            assert line.startswith(f"{path}: ")
            assert "\n" not in line
            assert "Input should" not in line  # pydantic's words


# Identity and speed


def test_hash_is_of_what_is_said_not_of_how(tiny: Path) -> None:
    reordered = tiny.with_name("other.toml")
    head, rest = TINY.split("[core]", 1)
    reordered.write_text("# another comment\n" + "\n".join(reversed(head.strip().split("\n"))) + "\n[core]" + rest)
    assert device_sha256(load_device(tiny)) == device_sha256(load_device(reordered))
    assert device_sha256(load_device(tiny)) != device_sha256(load_device(tiny, {"core.count": 3}))


def test_loading_is_fast() -> None:
    load_device("tpu_v1")
    start = time.process_time()
    for _ in range(10):
        load_device("tpu_v1", {"core.matrix.rows": "128"})
    assert time.process_time() - start < 0.5  # measured: 2 ms each


def test_resource_dir_says_what_is_missing() -> None:
    with pytest.raises(ConfigError, match="xyzzy: this installation of accelsim lacks its files"):
        resource_dir("xyzzy")


def test_an_override_that_changes_nothing_is_refused() -> None:
    """TPU v1's file prices its DRAM itself, so another type would be silent where it sets no timing."""
    with pytest.raises(ConfigError, match=r"--set dram.dram_type: changes nothing.*energy_pj_per_bit=none"):
        load_device("tpu_v1", {"dram.dram_type": "hbm2", "dram.bank_timing": False})
    changed = load_device("tpu_v1", {"dram.dram_type": "hbm2", "dram.energy_pj_per_bit": "none"})
    assert changed.memory_named("dram").dram_type == "hbm2"
