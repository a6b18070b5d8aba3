"""The questions of lab 1, and their answers: computed here, by the table and the simulator, whenever one asks."""

from __future__ import annotations

from accelsim import Result, load_device, simulate
from accelsim.base.resources import resource_dir
from accelsim.hardware.energy import load_energy_table
from accelsim.study.labs import Question

LAB = resource_dir("labs") / "01_memory_versus_compute"
PARAMS = {"k": 2048, "n": 512}
FASTER = {"dram.bandwidth_bytes_per_s": 25.6e9}


def layer(batch: int, precision: str = "fp16") -> Result:
    """Run the layer that the questions are about."""
    return simulate(
        LAB / "lab45.toml", str(LAB / "fc.csv"), batch=batch, precision=precision, params=PARAMS, overrides=FASTER
    )


def first_by_compute(precision: str) -> int:
    """Return the first batch whose time is bound by compute."""
    return next(batch for batch in range(1, 257) if layer(batch, precision).ops[0].bound == "compute")


def questions() -> list[Question]:
    """Return every question in the order of the answers' file."""
    table, device = load_energy_table("45nm"), load_device(LAB / "lab45.toml", FASTER)
    one, many = layer(1), layer(256)
    wide_one, narrow_one = layer(1, "fp32"), layer(1, "int8")
    wide_many, narrow_many = layer(256, "fp32"), layer(256, "int8")
    word_pj = 32 * table.dram["default"].pj_per_bit
    int8_pj = table.mul["int8"].pj + table.add["int32"].pj
    fp32_pj = table.mul["fp32"].pj + table.add["fp32"].pj
    return [
        Question("dram_word_in_int32_adds", word_pj / table.add["int32"].pj, 0.01, "divide two rows of the table"),
        Question("int8_mac_pj", int8_pj, 0.01, "a product of 8-bit integers is added up in 32 bits"),
        Question("fp32_mac_over_int8_mac", fp32_pj / int8_pj, 0.01, "multiplication and addition, both of each"),
        Question("macs", one.macs, 0.0, "every input meets every weight of its row once"),
        Question("dram_bytes", one.dram_bytes, 0.0, "only weights come from DRAM; how many bytes has an FP16 number?"),
        Question(
            "mac_uj",
            one.energy_breakdown_j["mac"] * 1e6,
            0.005,
            "products of FP16 are added up in FP32: look up both, and mind pJ and uJ",
        ),
        Question("dram_uj", one.energy_breakdown_j["dram"] * 1e6, 0.005, "640 pJ bring 32 bits: two numbers of FP16"),
        Question(
            "latency_batch_1_us",
            one.latency_s * 1e6,
            0.02,
            "the array waits for the weights: their bytes over the bandwidth, which is 25.6 GB/s here",
        ),
        Question(
            "ridge_macs_per_byte",
            device.peak_macs_per_s("fp16") / device.dram.bandwidth_bytes_per_s,
            0.01,
            "what the array does in a second over what DRAM gives in one, which is 25.6 GB here",
        ),
        Question(
            "crossing_batch_fp16",
            first_by_compute("fp16"),
            0.03,
            "a weight of FP16 brings 2 bytes and serves as many MACs as there are items",
        ),
        Question(
            "energy_per_item_batch_1_over_256",
            one.energy_per_item_j / many.energy_per_item_j,
            0.02,
            "run both and divide energy_per_item_j",
        ),
        Question(
            "fp32_over_int8_latency_batch_1",
            wide_one.latency_s / narrow_one.latency_s,
            0.03,
            "a quarter of the bytes, but the array takes 32 cycles to load a fold: does DRAM still bound INT8?",
        ),
        Question(
            "fp32_over_int8_latency_batch_256",
            wide_many.latency_s / narrow_many.latency_s,
            0.03,
            "what bounds batch 256, and does that depend on the bytes of a weight?",
        ),
    ]
