"""Families of devices: factors that are fitted once for an architecture, never for a device or a shape.

Every class here is a section of a file in ``hwconfigs/families``; each says in ``source`` on what it was
fitted, and when.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from accelsim.hardware.cpu import CpuFactors
from accelsim.hardware.part import Count, Flag, Fraction01, Name, NonNegative, Part, Positive, Text, Tiles


class KernelFactors(Part):
    """What every kernel costs beside its work."""

    kernel_s: NonNegative
    """From a kernel's start to its end when it does nothing: first instruction, drain, completion."""
    launch_s: NonNegative
    """From a kernel's end to the start of the next one that waits in the queue."""
    graph_launch_s: NonNegative
    """The same inside a captured graph."""


class BandwidthFactors(Part):
    """Shares of peak bandwidths that kernels reach."""

    dram: Fraction01
    l2: Fraction01
    in_flight_bytes: Positive
    """That one core can have asked for and not yet got."""
    dram_latency_s: Positive
    """From asking to getting; with ``in_flight_bytes`` it bounds what one core can draw (Little's law)."""
    l2_latency_s: Positive


class GemmFactors(Part):
    """A product on one kind of unit: the library's tiles and how well its main loop runs."""

    tiles: Tiles
    """Thread-block tiles (m, n, k) that the library has."""
    issue: Fraction01
    """Share of the unit's peak that the main loop reaches while its operands are there."""
    feed: NonNegative
    """Share of the time that operands take through shared memory which the unit does not hide."""
    step_s: NonNegative
    """Shortest step of a main loop along k: barriers, and the latency of loads over the stages of the pipeline."""
    cold_step_s: NonNegative = 0.0
    """The same where an operand comes from DRAM."""
    store: Fraction01 = 1.0
    """Share of L2's bandwidth at which results are written, main loops done."""
    dram: Fraction01 = 1.0
    """Share of what a long stream gets out of DRAM that a product's loads get, which wait for its main loop."""
    prologue_s: NonNegative
    """Before a grid's first step and after its last: filling the pipeline, writing results."""
    block_s: NonNegative
    """Between two blocks on one core, what the next one's loads do not hide."""
    split_s: NonNegative
    """Adding up parts where k is cut between blocks, beside their bytes."""
    overlap: Annotated[float, Field(ge=1, le=64, strict=True, description="a number from 1 to 64")]
    """How well main loop, L2 and DRAM hide each other: 1 not at all, many as if alone."""
    stream_k: Flag = False
    """The library can deal out the steps of all tiles evenly over the cores."""
    cluster: Count = 1
    """Neighbouring blocks that take what they share from L2 once (thread-block clusters with multicast)."""
    pj_per_mac: NonNegative = 0.0
    """A 16-bit (SIMD: 32-bit) multiply-accumulate of random numbers with its share of the instruction, registers and
    shared memory; other formats by their rate. 0: as the energy table says [pJ]."""
    resident_results: Positive | None = None
    """Results that the registers of a core hold: so many blocks run side by side and hide each other's shortest steps.
    Absent: one block at a time."""


class SimtFactors(GemmFactors):
    """A product on the SIMD lanes."""

    batched_tiles: Tiles | None = None
    """What the library has for batches of products, where that differs."""
    unaligned: Annotated[float, Field(ge=1, le=8, strict=True, description="a number from 1 to 8")] = 1.0
    """How many times as long operands take to feed where rows do not begin at whole vectors of 16 bytes."""


class ChosenKernel(Part):
    """A kernel of products that a library takes by the product's shape, whatever would be fastest.

    It deals tiles out line by line along the shorter side of the result (CUTLASS's tile scheduler without swizzling).
    """

    family: Name
    """Of devices that have it."""
    dtype: Text
    """Format of the products, as measured files spell it."""
    from_m: Count = 1
    """It is for products of so many rows ..."""
    from_n: Count = 1
    from_k: Count = 1
    tile: Annotated[tuple[Count, Count, Count], Field(description="[m, n, k], each a whole number from 1 to 2^40")]
    cluster: Annotated[tuple[Count, Count], Field(description="[along m, along n], whole numbers")] = (1, 1)
    """Neighbouring blocks that fetch for one another what they share."""
    pace: Fraction01 = 1.0
    """Share of blocks side by side that go along k together, and so find in L2 what another one fetched."""

    def fits(self, m: int, n: int, k: int) -> bool:
        """Whether the product is large enough."""
        return m >= self.from_m and n >= self.from_n and k >= self.from_k


class ConvFactors(Part):
    """Convolutions, beside what products of their kind reach."""

    implicit: Fraction01
    """Share of a product's rate where addresses of pixels are worked out on the way."""
    tensor: Fraction01
    """The same on tensor cores."""
    least_tile: Count = 1
    """Results of the smallest thread-block tile that libraries have for convolutions on tensor cores."""
    direct_ops: NonNegative = 0.0
    """Turns of an FP32 lane that a multiply-accumulate of a direct convolution takes, its load, address and bounds
    included; 0: none beside the product's own."""
    step_s: NonNegative
    """Shortest step along k of an implicit product on SIMD lanes."""
    fused: Fraction01
    """Share of a product's rate where Winograd's transforms are in the same kernel."""
    transform: Fraction01
    """Share of what kernels get out of DRAM and L2 that transforms get."""


class StreamFactors(Part):
    """Kernels that stream: elementwise, norm, softmax."""

    kernel_s: NonNegative
    """From such a kernel's start to its end when it does nothing."""
    dram: Fraction01
    """Share of the DRAM's peak."""
    l2: Fraction01
    """Share of L2's peak."""
    rows_kept: Positive
    """Rows being worked on are in the first cache for a second pass while they take this share of it (of the shared
    memory's size, which often is one with it) ..."""
    rows_fade: Positive
    """... and no longer at all when they take this much more; linear between."""
    reduction_cycles: NonNegative
    """Of a reduction across the threads of a row."""
    step_cycles: NonNegative
    """Of a load or store of four elements a thread, one after another, while the core is full of threads."""
    latency_cycles: NonNegative
    """The least that it takes."""
    power_ops: NonNegative
    """Operations of a lane for one power (``x ** y``)."""


class AttentionStack(Part):
    """What is otherwise in the attention kernels of a serving stack; absent: as the family's."""

    tile_q: Count | None = None
    tile_kv: Count | None = None
    issue: Fraction01 | None = None
    hidden: Annotated[float, Field(ge=0, le=1, strict=True, description="a number from 0 to 1")] | None = None
    narrow_issue: Fraction01 | None = None
    widening: Fraction01 | None = None
    narrow_products: Flag | None = None
    block_s: NonNegative | None = None
    decode_block_s: NonNegative | None = None
    grouped_block_s: NonNegative | None = None
    block_growth: Annotated[float, Field(ge=0, le=1, strict=True, description="a number from 0 to 1")] | None = None
    step_s: NonNegative | None = None
    start_s: NonNegative | None = None
    append_s: NonNegative | None = None
    narrow_s: NonNegative | None = None
    pad_s: NonNegative | None = None
    regroup_s: NonNegative | None = None
    packs: Flag | None = None
    decode_start_s: NonNegative | None = None
    combine_s: NonNegative | None = None
    dram: Fraction01 | None = None
    l2: Fraction01 | None = None
    overlap: Annotated[float, Field(ge=0.5, le=64, strict=True, description="a number from 0.5 to 64")] | None = None
    widest_group: Count | None = None
    grouped_cache: Fraction01 | None = None


class AttentionFactors(Part):
    """Fused attention: tiles of queries that go through tiles of keys."""

    tile_q: Count
    """Queries of a block."""
    tile_kv: Count
    """Keys of a step."""
    issue: Fraction01
    """Share of the tensor cores' peak that the products of a step reach while nothing else goes on."""
    hidden: Annotated[float, Field(ge=0, le=1, strict=True, description="a number from 0 to 1")]
    """Share of the time of a step's scores (exponentials and the rest) that products hide."""
    score_ops: NonNegative
    """Operations of a lane for a score beside its exponential: scale, maximum, subtraction, sum, conversion."""
    narrow_issue: Fraction01
    """Times ``issue`` where products are in 8 bits: values have to be turned on their way, sums scaled."""
    widening: Fraction01
    """Times ``issue`` where keys and values are widened to the queries' format in the kernel."""
    narrow_products: Flag = False
    """Queries are narrowed to the cache's format instead."""
    block_s: NonNegative
    """Of a block beside its steps: first loads, writing the result."""
    decode_block_s: NonNegative
    """The same of a decoding step, where the loads of blocks side by side are all that there is."""
    grouped_block_s: NonNegative | None = None
    """The same where a block takes several query heads and the cache is as wide as they; absent: as of any other."""
    block_growth: Annotated[float, Field(ge=0, le=1, strict=True, description="a number from 0 to 1")] = 0.0
    """Share of a decoding block's time that is in proportion to the head's size; the times are of heads of 128."""
    step_s: NonNegative
    """Least time of a step of a lone block: the latency of its loads and products."""
    start_s: NonNegative
    """Of a call beside its blocks: its kernels' starts and ends."""
    append_s: NonNegative
    """Of the kernel that appends many keys and values to a cache, beside the copying."""
    narrow_s: NonNegative
    """Of the kernel that narrows what goes into a narrower cache."""
    pad_s: NonNegative
    """Of the kernels that pad heads whose size the library has no kernel for (no multiple of 32)."""
    regroup_s: NonNegative = 0.0
    """Of the copies that bring the query heads of a KV head together and their results apart, for one query each of
    several items and several KV heads: else they lie so."""
    decode_start_s: NonNegative
    """Of a decoding step: its kernels' starts and ends, appending to the cache included."""
    combine_s: NonNegative
    """Adding up the parts where keys are split."""
    dram: Fraction01
    """Share of the DRAM's peak."""
    l2: Fraction01
    """Share of L2's peak."""
    overlap: Annotated[float, Field(ge=0.5, le=64, strict=True, description="a number from 0.5 to 64")]
    """How well the stream of keys and values and the work on them hide each other: 1 not at all, less: they get in each
    other's way."""
    widest_group: Count
    """Most query heads of a KV head that one block takes; larger groups read the cache head by head."""
    grouped_cache: Fraction01 = 1.0
    """Share of the cache that a decoding step with grouped heads reads."""
    packs: Flag = True
    """Query heads of a KV head stand in one tile wherever they fit into it, not only in a decoding step."""
    stacks: Annotated[dict[str, AttentionStack], Field(default_factory=dict)]
    """Serving stacks whose kernels differ."""

    def of(self, stack: str) -> AttentionFactors:
        """As a stack's kernels have them; as they stand here where the stack is not known."""
        own = self.stacks.get(stack)
        if own is None:
            return self
        return self.model_copy(update=own.model_dump(exclude={"source"}, exclude_none=True))


class PowerFactors(Part):
    """What a GPU's cores draw beside the arithmetic and the memories."""

    core_pj_per_cycle: NonNegative
    """Of a core in each cycle that it has blocks, at the nominal voltage: clock tree, schedulers, instructions,
    registers and shared memory, whatever the blocks do. The family's ``pj_per_mac`` is then without these [pJ]."""


class GpuFactors(Part):
    """Of a family of GPUs."""

    kind: Literal["gpu"]
    kernel: KernelFactors
    bandwidth: BandwidthFactors
    tensor: GemmFactors | None = None
    """Products on tensor cores."""
    simt: SimtFactors
    """Products on the SIMD lanes."""
    conv: ConvFactors
    """Convolutions, on either."""
    stream: StreamFactors
    attention: AttentionFactors
    power: PowerFactors | None = None
    """Absent: a core draws what its arithmetic and its memories do."""

    @property
    def core_pj_per_cycle(self) -> float:
        """Of a core that has blocks; 0 where nothing says [pJ]."""
        return self.power.core_pj_per_cycle if self.power else 0.0

    @property
    def dram_share(self) -> float:
        """Of the DRAM's peak, for what streams through it."""
        return self.bandwidth.dram

    @property
    def launch_s(self) -> float:
        """From a kernel's end to the next one's start."""
        return self.kernel.launch_s


Factors = Annotated[GpuFactors | CpuFactors, Field(discriminator="kind")]
