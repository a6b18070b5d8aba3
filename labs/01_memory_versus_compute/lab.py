# %% [markdown]
# # Lab 1: memory versus compute
#
# What does a multiplication cost, and what does it cost to bring the numbers to it? You predict, run, and compare:
# first the picojoules of single actions, then the joules of one fully connected layer, added up by hand and by the
# simulator, then the batch at which the layer stops waiting for memory, and last what fewer bits per number buy.
#
# Before each cell stands a prediction to make. Write yours down first; the difference is what you learn.

# %%
from bisect import bisect_left
from math import ceil, isclose

import accelsim
from accelsim.base.resources import resource_dir
from accelsim.hardware.energy import energy_table_of, load_energy_table

LAB = resource_dir("labs") / "01_memory_versus_compute"
DEVICE = accelsim.load_device(LAB / "lab45.toml")  # a small accelerator at 45 nm; read the file
LAYER = str(LAB / "fc.csv")  # y[B n] = x[B k] @ W[k n]

# %% [markdown]
# ## 1. What single actions cost
#
# **Predict:** adding two 32-bit integers takes 0.1 pJ. How many times as much is reading one 32-bit word from DRAM?
# And a multiplication of two 32-bit floats, against one of two 8-bit integers?

# %%
table = load_energy_table("45nm")
unit_pj = table.add["int32"].pj
actions = [
    ("add int8", table.add["int8"].pj),
    ("add int32", table.add["int32"].pj),
    ("add fp32", table.add["fp32"].pj),
    ("multiply int8", table.mul["int8"].pj),
    ("multiply int32", table.mul["int32"].pj),
    ("multiply fp32", table.mul["fp32"].pj),
    ("register file, 32 bits", 32 * table.register_file.pj_per_bit),
    ("SRAM of 8 KiB, 32 bits", table.sram.access_pj(8 * 1024, 32)),
    ("DRAM, 32 bits", 32 * table.dram["default"].pj_per_bit),
]
print(f"{'action at 45 nm':<24} {'pJ':>7} {'int32 adds':>11}")
for name, pj in actions:
    print(f"{name:<24} {pj:>7.2f} {pj / unit_pj:>11.1f}")

# %% [markdown]
# The values are Horowitz's (ISSCC 2014), as quoted by Han et al. (arXiv 1506.02626). `accelsim energy` prints all of
# them with their sources.
#
# ## 2. One fully connected layer, by hand
#
# The layer has 1024 inputs and 1024 outputs: 1,048,576 weights. One item comes in (batch 1), in FP32.
#
# **Predict:** which is larger, the energy of all multiplications or that of reading all weights once from DRAM? By
# how much?
#
# The accelerator is a grid of 32 x 32 multiply-accumulate cells. Weights lie in DRAM; inputs and outputs live on the
# chip. Weights stand still in the array, 32 x 32 at a time: a *fold*. For each fold the inputs stream in from the
# left and sums leave at the bottom, into the accumulators. So we count, for a batch of `b` items:
#
# * every weight: read from DRAM, written into the weight buffer, read from there into the array: once each;
# * every input: read from the activation buffer once for each *column* of folds, as each makes other outputs;
# * every sum: read from and written to the accumulators once for each *row* of folds, which adds 32 inputs to it;
# * every output: written to the activation buffer once;
# * every multiply-accumulate: a multiplication, an addition, and one operand and one sum that step on to the next
#   cell's pipeline register.


# %%
def by_hand(b, k, n, bits, dtype, accumulator):
    """Energy of the layer [pJ], by part: counts times the table."""
    side = 32
    rows_of_folds, columns_of_folds = ceil(k / side), ceil(n / side)
    size = bits // 8
    weights, inputs, outputs, sums = k * n * size, b * k * size, b * n * size, b * n * 4  # bytes
    macs = b * k * n

    def sram_pj_per_byte(name):
        memory = DEVICE.memory_named(name)
        return table.sram.access_pj(memory.capacity_bytes, memory.access_bits) / memory.access_bits * 8

    return {
        "mac": macs * (table.mul[dtype].pj + table.add[accumulator].pj),
        "register": macs * (bits + 32) * table.pipeline_register.pj_per_bit,
        "sram": (
            (weights + weights) * sram_pj_per_byte("weight_buffer")
            + (inputs * columns_of_folds + outputs) * sram_pj_per_byte("activation_buffer")
            + (sums + sums) * rows_of_folds * sram_pj_per_byte("accumulators")
        ),
        "dram": weights * 8 * table.dram["default"].pj_per_bit,
    }


hand = by_hand(1, 1024, 1024, 32, "fp32", "fp32")
run = accelsim.simulate(DEVICE, LAYER, batch=1, precision="fp32")
hand["static"] = DEVICE.power.static_w * run.latency_s * 1e12  # what flows anyway, for as long as it takes
assert energy_table_of(DEVICE) == table

print(f"{'part':<10} {'by hand/uJ':>13} {'simulator/uJ':>13} {'share':>7}")
for part, pj in hand.items():
    simulated_pj = run.energy_breakdown_j[part] * 1e12
    assert isclose(pj, simulated_pj, rel_tol=1e-12), part
    print(f"{part:<10} {pj / 1e6:>13.6f} {simulated_pj / 1e6:>13.6f} {pj / sum(hand.values()):>7.1%}")
print(f"{'all':<10} {sum(hand.values()) / 1e6:>13.6f} {run.energy_j * 1e6:>13.6f}")
print(f"\nDRAM takes {hand['dram'] / hand['mac']:.0f} times the energy of all arithmetic.")

# %% [markdown]
# They agree to the last digit, because the simulator does the same: it counts actions and multiplies. A weight is
# fetched for 640 pJ, used for one 4.6 pJ multiply-accumulate, and thrown away.
#
# ## 3. From memory to compute: the batch
#
# With more items in a batch each weight is used more often. The array does 1024 x 500 MHz = 512 G multiply-
# accumulates (MACs) a second; DRAM gives 12.8 GB/s.
#
# **Predict:** how many MACs must follow each byte from DRAM, so that the array never waits (the *ridge point*)? Every
# weight has 4 bytes and serves `b` items. At which batch does the layer reach the ridge?

# %%
ridge = DEVICE.peak_macs_per_s("fp32") / DEVICE.dram.bandwidth_bytes_per_s
print(f"ridge point: {ridge:.0f} MACs per byte; in FP32 that is batch {4 * ridge:.0f}")

# %% [markdown]
# **Predict:** what happens to the latency from batch 1 to 128, and from there to 256? To the energy of one item?

# %%
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
print(f"{'batch':>5} {'latency/us':>11} {'us/item':>8} {'DRAM MB':>8} {'MAC/byte':>9} {'uJ/item':>8}  bound by")
for batch in BATCHES:
    run = accelsim.simulate(DEVICE, LAYER, batch=batch, precision="fp32")
    print(
        f"{batch:>5} {run.latency_s * 1e6:>11.1f} {run.latency_s * 1e6 / batch:>8.2f} {run.dram_bytes / 1e6:>8.2f} "
        f"{run.macs / run.dram_bytes:>9.2f} {run.energy_per_item_j * 1e6:>8.2f}  {run.ops[0].bound}"
    )


def crossing(precision, upto=256):
    """Find the first batch whose time is bound by compute, by bisection."""
    batches = range(1, upto + 1)

    def by_compute(batch):
        run = accelsim.simulate(DEVICE, LAYER, batch=batch, precision=precision)
        return run.ops[0].bound == "compute"

    return batches[bisect_left(batches, True, key=by_compute)]


print(f"\nfirst batch bound by compute: {crossing('fp32')} (predicted: {4 * ridge:.0f})")

# %% [markdown]
# Up to the crossing a larger batch is free: the same weights have to come anyway. Latency stays, and the energy of an
# item falls, until arithmetic and what flows through the chip for every item are left. That is why servers batch.
#
# ## 4. From FP32 to INT8
#
# **Predict:** with 8 bits instead of 32, by which factor do the bytes fall, the energy of a multiply-accumulate, the
# latency at batch 1, the latency at batch 256? (The array does one MAC per cell and cycle in either format.) Where
# does the crossing go?

# %%
print(f"{'batch':>5} {'':<10} {'FP32':>9} {'INT8':>9} {'ratio':>7}")
for batch in (1, 256):
    wide, narrow = (accelsim.simulate(DEVICE, LAYER, batch=batch, precision=p) for p in ("fp32", "int8"))
    weights = [
        sum(
            c.amount
            for s in r.trace.spans
            for c in s.counts
            if (c.action, c.operand) == ("weight_buffer.read", "weight")
        )
        for r in (wide, narrow)
    ]
    rows = [
        ("weights/MB", *(size / 1e6 for size in weights)),
        ("MAC/uJ", *(r.energy_breakdown_j["mac"] * 1e6 for r in (wide, narrow))),
        ("latency/us", *(r.latency_s * 1e6 for r in (wide, narrow))),
    ]
    for name, before, after in rows:
        print(f"{batch:>5} {name:<10} {before:>9.2f} {after:>9.2f} {before / after:>7.2f}")
print(f"\nfirst batch bound by compute: {crossing('int8')} (predicted: {ridge:.0f})")

# %% [markdown]
# Where memory is the limit, a quarter of the bytes is a quarter of the time. Where arithmetic is the limit, INT8 on
# this array saves energy and no time: for that it would need more cells, which is what real chips do with the area.
#
# ## 5. Your turn
#
# Copy `answers.toml`, fill it in, and check it with `accelsim lab check answers.toml`. The questions are about
# another layer (2048 inputs, 512 outputs) in FP16, with DRAM twice as fast. Calculate first; then let the simulator
# confirm it:
#
#     accelsim.simulate(LAB / "lab45.toml", LAYER, batch=1, precision="fp16", params={"k": 2048, "n": 512},
#                       overrides={"dram.bandwidth_bytes_per_s": 25.6e9})
