"""Transformers, built from their hyperparameters: encoders (BERT and its kin) and decoders (GPT, Llama and theirs).

Attention heads are views of the projections, so no op moves them. What a decoder's step adds to the cache is written
where the projection leaves it; a step with a past reads the cache as tensors of role ``kv_cache``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from accelsim.base.errors import WorkloadError
from accelsim.base.units import ceil_div
from accelsim.workload.graph import Graph
from accelsim.workload.layers import Layers
from accelsim.workload.ops import Gather, Matmul, Tensor

Params = Mapping[str, tuple[int, int, int]]
"""Default, least and greatest value of each parameter."""
MOST = 2**20

# --- encoders -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """Hyperparameters; those of BERT-base by default (Devlin et al., NAACL 2019, section 3)."""

    name: str = "bert_base"
    layers: int = 12
    width: int = 768
    heads: int = 12
    feed_forward: int = 3072
    vocabulary: int = 30522
    positions: int = 512
    token_types: int = 2
    """Tables of token types are left out where there are none."""
    pooler: bool = True
    activation: str = "gelu"
    source: str = "Devlin et al., BERT: Pre-training of Deep Bidirectional Transformers, NAACL 2019, section 3"

    @property
    def params(self) -> Params:
        """``seq_len``: tokens of an item."""
        return {"seq_len": (min(128, self.positions), 1, self.positions)}

    def build(self, batch: int, params: Mapping[str, int]) -> Graph:
        """Return the encoder with embeddings and, where it has one, pooler."""
        seq_len = params["seq_len"]
        net = Layers(batch)
        x = self._embedded(net, seq_len)
        mask = Tensor(name="mask", shape=(batch, 1, 1, seq_len))
        for i in range(self.layers):
            x = self._layer(net, f"layer{i}", x, mask)
        if self.pooler:
            first = net.add(Gather, "pooler.first_token", (x,), (batch, self.width))
            net.elementwise("pooler.tanh", "tanh", net.dense("pooler", first, self.width))
        return net.graph(self.name, source=self.source, params={"seq_len": seq_len})

    def _embedded(self, net: Layers, seq_len: int) -> Tensor:
        whole = (net.batch, seq_len)
        x = net.look_up("word", self.vocabulary, self.width, whole)
        kinds = net.look_up("token_type", self.token_types, self.width, whole) if self.token_types else None
        positions = net.look_up("position", self.positions, self.width, (seq_len,))
        if kinds is not None:
            x = net.elementwise("embeddings.add_token_type", "add", x, kinds)
        return net.layer_norm("embeddings.norm", net.elementwise("embeddings.add_position", "add", x, positions))

    def _layer(self, net: Layers, name: str, x: Tensor, mask: Tensor) -> Tensor:
        """Self-attention and feed-forward, each with a residual add and a layer norm after it."""
        part = f"{name}.attention"
        query, key, value = (net.dense(f"{part}.{what}", x, self.width) for what in ("query", "key", "value"))
        attended = net.attention(part, query, key, value, heads=self.heads, mask=mask)
        attended = net.dense(f"{part}.output", attended, self.width)
        x = net.layer_norm(f"{part}.norm", net.elementwise(f"{part}.residual", "add", attended, x))
        wide = net.dense(f"{name}.intermediate", x, self.feed_forward)
        wide = net.elementwise(f"{name}.{self.activation}", self.activation, wide)
        out = net.dense(f"{name}.output", wide, self.width)
        return net.layer_norm(f"{name}.norm", net.elementwise(f"{name}.residual", "add", out, x))


BERT_BASE = Encoder()
BERT_LARGE = Encoder(name="bert_large", layers=24, width=1024, heads=16, feed_forward=4096)
DISTILBERT = Encoder(
    name="distilbert", layers=6, token_types=0, pooler=False,
    source="Sanh et al., DistilBERT, arXiv 1910.01108, section 2; sizes as in transformers",
)  # fmt: skip
ROBERTA_BASE = Encoder(
    name="roberta_base", vocabulary=50265, positions=514, token_types=1,
    source="Liu et al., RoBERTa, arXiv 1907.11692",
)  # fmt: skip
MINILM = Encoder(
    name="minilm_l12_h384", width=384, feed_forward=1536,
    source="Wang et al., MiniLM, NeurIPS 2020: 12 layers, 384 wide, 12 heads; sizes as in transformers",
)  # fmt: skip
ROBERTA_LARGE = replace(ROBERTA_BASE, name="roberta_large", layers=24, width=1024, heads=16, feed_forward=4096)

# --- decoders -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoder:
    """Hyperparameters of a decoder; blocks are GPT-2's by default, Llama's with ``gated``, ``rms`` and ``rotary``."""

    name: str
    layers: int
    width: int
    heads: int
    kv_heads: int
    feed_forward: int
    vocabulary: int
    """0: the layers alone, without embeddings, last norm and head."""
    head_dim: int = 0
    """0: ``width / heads``."""
    positions: int = MOST
    """Most positions; of a learned table its rows, unless ``rotary``."""
    gated: bool = False
    """Two products into the feed-forward width, one of which gates the other."""
    rms: bool = False
    """Root-mean-square norms, without shift."""
    rotary: bool = False
    bias: bool = True
    qkv_bias: bool | None = None
    """Of query, key and value alone; None: as ``bias``."""
    tied: bool = False
    """The head's weights are the embedding table."""
    window: int | None = None
    activation: str = "gelu"
    experts: int = 0
    chosen: int = 0
    """Experts in a layer and how many a token goes to; 0: one feed-forward network."""
    source: str = ""

    @property
    def params(self) -> Params:
        """Sizes of a step.

        ``seq_len`` tokens of each item are given, after ``past_len`` that are in the cache: a prefill of n has
        ``seq_len=n``, a decoding step after n tokens ``seq_len=1`` and ``past_len=n``. ``logits`` last positions go
        through the head. ``tensor_parallel``: what one of so many devices computes (Shoeybi et al., Megatron-LM, 2019):
        heads, feed-forward width and vocabulary are divided among them, rounded up where they do not divide (the
        rest is padding); the all-reduces are left out.
        """
        return {
            "seq_len": (min(128, self.positions), 1, self.positions),
            "past_len": (0, 0, self.positions),
            "logits": (1, 1, self.positions),
            "tensor_parallel": (1, 1, self.heads),
        }

    def build(self, batch: int, params: Mapping[str, int]) -> Graph:
        """Return one step of the decoder."""
        seq_len, past_len, ranks = params["seq_len"], params["past_len"], params["tensor_parallel"]
        self._check(seq_len, past_len, params["logits"])
        net = Layers(batch)
        step = _Step(net, self, seq_len, past_len, ranks)
        x = step.embedded() if self.vocabulary else net.input("hidden", seq_len, self.width)
        for i in range(self.layers):
            x = step.layer(f"layer{i}", x)
        if self.vocabulary:
            step.head(x, params["logits"])
        shown = {name: value for name, value in params.items() if value != self.params[name][0] or name == "seq_len"}
        return net.graph(self.name, source=self.source, params=shown)

    def _check(self, seq_len: int, past_len: int, logits: int) -> None:
        problems = []
        if seq_len + past_len > self.positions:
            problems.append(f"seq_len + past_len = {seq_len + past_len}: want at most {self.positions} positions")
        if logits > seq_len:
            problems.append(f"logits={logits}: want at most seq_len={seq_len}")
        if problems:
            raise WorkloadError(*(f"{self.name}: --param {problem}" for problem in problems))


@dataclass(frozen=True, slots=True)
class _Step:
    """A step of a decoder on one of ``ranks`` devices."""

    net: Layers
    model: Decoder
    seq_len: int
    past_len: int
    ranks: int

    def embedded(self) -> Tensor:
        net, model = self.net, self.model
        x = net.look_up("word", ceil_div(model.vocabulary, self.ranks), model.width, (net.batch, self.seq_len))
        if model.rotary:
            return x
        positions = net.look_up("position", model.positions, model.width, (self.seq_len,))
        return net.elementwise("embeddings.add_position", "add", x, positions)

    def layer(self, name: str, x: Tensor) -> Tensor:
        """Attention and feed-forward, each after a norm and with a residual add."""
        net = self.net
        attended = self.attention(f"{name}.attention", self.norm(f"{name}.attention.norm", x))
        x = net.elementwise(f"{name}.attention.residual", "add", attended, x)
        fed = self.feed_forward(f"{name}.ffn", self.norm(f"{name}.ffn.norm", x))
        return net.elementwise(f"{name}.ffn.residual", "add", fed, x)

    def norm(self, name: str, x: Tensor) -> Tensor:
        return self.net.rms_norm(name, x) if self.model.rms else self.net.layer_norm(name, x)

    def attention(self, name: str, x: Tensor) -> Tensor:
        net, model = self.net, self.model
        heads = ceil_div(model.heads, self.ranks)
        kv_heads = ceil_div(model.kv_heads, self.ranks)
        depth = model.head_dim or model.width // model.heads
        bias = model.bias if model.qkv_bias is None else model.qkv_bias
        query = net.dense(f"{name}.query", x, heads * depth, bias=bias)
        key = net.dense(
            f"{name}.key", x, kv_heads * depth, bias=bias, role="activation" if model.rotary else "kv_cache"
        )
        value = net.dense(f"{name}.value", x, kv_heads * depth, bias=bias, role="kv_cache")
        if model.rotary:
            angles = Tensor(name="rotary angles", shape=(1, self.seq_len, depth))
            query = net.elementwise(f"{name}.rotary_query", "rotary", query, angles)
            key = net.elementwise(f"{name}.rotary_key", "rotary", key, angles, role="kv_cache")
        if self.past_len:
            # What was made now is part of the cache, which is read as a whole.
            shape = (net.batch, self.past_len + self.seq_len, kv_heads * depth)
            key, value = (
                Tensor(name=f"{name}.{part}_cache", shape=shape, role="kv_cache") for part in ("key", "value")
            )
        attended = net.attention(
            name, query, key, value, heads=heads, kv_heads=kv_heads, causal=True, window=model.window
        )
        return net.dense(f"{name}.output", attended, model.width, bias=model.bias)

    def feed_forward(self, name: str, x: Tensor) -> Tensor:
        net, model = self.net, self.model
        width = ceil_div(model.feed_forward, self.ranks)
        if model.experts:
            return net.experts(name, x, width=width, experts=model.experts, chosen=model.chosen)
        wide = net.dense(f"{name}.gate" if model.gated else f"{name}.up", x, width, bias=model.bias)
        wide = net.elementwise(f"{name}.{model.activation}", model.activation, wide)
        if model.gated:
            wide = net.elementwise(f"{name}.gated", "mul", net.dense(f"{name}.up", x, width, bias=model.bias), wide)
        return net.dense(f"{name}.down", wide, model.width, bias=model.bias)

    def head(self, x: Tensor, logits: int) -> None:
        """The last positions of each item, through the last norm and the head."""
        net, model = self.net, self.model
        if logits < self.seq_len:
            x = net.add(Gather, "head.last_tokens", (x,), (net.batch, logits, model.width))
        x = self.norm("head.norm", x)
        columns = ceil_div(model.vocabulary, self.ranks)
        if not model.tied:
            net.dense("head", x, columns, bias=False)
            return
        table = next(op.inputs[0] for op in net.ops if op.name == "embeddings.word")
        rows = net.batch * logits
        net.add(Matmul, "head", (x, table), (net.batch, logits, columns), m=rows, k=model.width, n=columns)


# --- presets --------------------------------------------------------------------------------------------------------


def _gpt(name: str, layers: int, width: int, heads: int, *, vocabulary: int = 50257, positions: int = 1024) -> Decoder:
    return Decoder(
        name=name, layers=layers, width=width, heads=heads, kv_heads=heads, feed_forward=4 * width,
        vocabulary=vocabulary, positions=positions, tied=True,
        source="Radford et al., GPT-2, 2019" if positions == 1024 else "Brown et al., GPT-3, NeurIPS 2020, Table 2.1",
    )  # fmt: skip


def _llama(
    name: str, layers: int, width: int, heads: int, feed_forward: int, *, kv_heads: int | None = None,
    vocabulary: int = 32000, positions: int = 4096, window: int | None = None, experts: int = 0,
    source: str = "Touvron et al., arXiv 2307.09288 (Llama 2)",
) -> Decoder:  # fmt: skip
    return Decoder(
        name=name, layers=layers, width=width, heads=heads, kv_heads=kv_heads or heads, feed_forward=feed_forward,
        vocabulary=vocabulary, positions=positions, gated=True, rms=True, rotary=True, bias=False, activation="silu",
        window=window, experts=experts, chosen=2 if experts else 0, source=source,
    )  # fmt: skip


MISTRAL, MIXTRAL = "Jiang et al., arXiv 2310.06825, Table 1", "Jiang et al., arXiv 2401.04088, Table 1"
DECODERS: tuple[Decoder, ...] = (
    _gpt("gpt2", 12, 768, 12),
    _gpt("gpt2_large", 36, 1280, 20),
    Decoder(
        name="opt_1p3b", layers=24, width=2048, heads=32, kv_heads=32, feed_forward=8192, vocabulary=50272,
        positions=2050, tied=True, activation="relu", source="Zhang et al., OPT, arXiv 2205.01068, Table 1",
    ),
    _gpt("gpt3_xl", 24, 2048, 16, positions=2048),
    _gpt("gpt3_2p7b", 32, 2560, 32, positions=2048),
    _gpt("gpt3_175b", 96, 12288, 96, positions=2048),
    _gpt("gpt3_layer", 1, 12288, 96, vocabulary=0, positions=MOST),
    _llama("llama_7b", 32, 4096, 32, 11008, positions=2048, source="Touvron et al., arXiv 2302.13971, Table 2"),
    _llama("llama2_7b", 32, 4096, 32, 11008),
    _llama("llama2_13b", 40, 5120, 40, 13824),
    _llama(
        "llama2_13b_16k", 40, 5120, 40, 13824, positions=16384,
        source="Touvron et al., arXiv 2307.09288 (Llama 2), with as many positions as AWS Neuron's benchmarks run",
    ),
    _llama("llama2_70b", 80, 8192, 64, 28672, kv_heads=8),
    _llama(
        "llama3_8b", 32, 4096, 32, 14336, kv_heads=8, vocabulary=128256, positions=8192,
        source="Grattafiori et al., arXiv 2407.21783, Table 3",
    ),
    _llama("mistral_7b", 32, 4096, 32, 14336, kv_heads=8, positions=32768, window=4096, source=MISTRAL),
    _llama(
        "mistral_7b_v02", 32, 4096, 32, 14336, kv_heads=8, positions=32768,
        source=f"{MISTRAL}; without a window, as mistralai/Mistral-7B-Instruct-v0.2's configuration",
    ),
    _llama("mixtral_8x7b", 32, 4096, 32, 14336, kv_heads=8, positions=32768, experts=8, source=MIXTRAL),
)  # fmt: skip
ENCODERS = (BERT_BASE, BERT_LARGE, DISTILBERT, ROBERTA_BASE, ROBERTA_LARGE, MINILM)
