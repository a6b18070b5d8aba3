"""BERT, built from its hyperparameters: one encoder layer is written once and repeated.

Devlin et al., NAACL 2019: base has 12 layers, width 768, 12 heads and 110 M parameters (109,482,240 with embeddings and
pooler). Attention heads are views of the projections (a strided batched matmul reads them in place), so no op moves
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from accelsim.workload.graph import Graph
from accelsim.workload.ops import Elementwise, Gather, Matmul, Norm, Op, Softmax, Tensor

VOCABULARY, POSITIONS, TOKEN_TYPES = 30522, 512, 2
LAYERS, WIDTH, HEADS, FEED_FORWARD = 12, 768, 12, 3072
PARAMS = {"seq_len": (128, 1, POSITIONS)}
"""Default, least and greatest value."""


def bert_base(batch: int, params: Mapping[str, int]) -> Graph:
    """Return the encoder of BERT-base with embeddings and pooler, for ``seq_len`` tokens an item."""
    seq_len = params["seq_len"]
    build = _Builder(batch, seq_len)
    x = build.embeddings()
    for layer in range(LAYERS):
        x = build.layer(f"layer{layer}", x)
    build.pooler(x)
    return Graph(
        name="bert_base",
        ops=tuple(build.ops),
        batch=batch,
        params={"seq_len": seq_len},
        source="Devlin et al., BERT: Pre-training of Deep Bidirectional Transformers, NAACL 2019, section 3",
    )


@dataclass
class _Builder:
    """Appends ops; every method returns the tensor that it leaves behind."""

    batch: int
    seq_len: int
    ops: list[Op] = field(default_factory=list)

    def embeddings(self) -> Tensor:
        whole = (self.batch, self.seq_len)
        words = self.look_up("word", VOCABULARY, whole)
        kinds = self.look_up("token_type", TOKEN_TYPES, whole)
        positions = self.look_up("position", POSITIONS, (self.seq_len,))
        x = self.elementwise("embeddings.add_token_type", "add", words, kinds)
        x = self.elementwise("embeddings.add_position", "add", x, positions)
        return self.norm("embeddings.norm", x)

    def layer(self, name: str, x: Tensor) -> Tensor:
        """Self-attention and feed-forward, each with a residual add and a layer norm after it."""
        attended = self.dense(f"{name}.attention.output", self.attention(f"{name}.attention", x), WIDTH)
        x = self.norm(f"{name}.attention.norm", self.elementwise(f"{name}.attention.residual", "add", attended, x))
        wide = self.elementwise(f"{name}.gelu", "gelu", self.dense(f"{name}.intermediate", x, FEED_FORWARD))
        out = self.dense(f"{name}.output", wide, WIDTH)
        return self.norm(f"{name}.norm", self.elementwise(f"{name}.residual", "add", out, x))

    def attention(self, name: str, x: Tensor) -> Tensor:
        """``softmax(Q K' / sqrt(d) + mask) V`` for every head of every item."""
        query, key, value = (self.dense(f"{name}.{part}", x, WIDTH) for part in ("query", "key", "value"))
        depth, sequence = WIDTH // HEADS, self.seq_len
        square = (self.batch, HEADS, sequence, sequence)
        scores = self.matmul(f"{name}.scores", query, key, square, self.batch * HEADS, sequence, depth, sequence)
        scores = self.elementwise(f"{name}.scale", "mul", scores)
        scores = self.elementwise(
            f"{name}.mask", "add", scores, Tensor(name="mask", shape=(self.batch, 1, 1, sequence))
        )
        rows = self.batch * HEADS * sequence
        shares = self.add(Softmax, f"{name}.softmax", (scores,), square, rows=rows, cols=sequence)
        return self.matmul(f"{name}.context", shares, value, x.shape, self.batch * HEADS, sequence, sequence, depth)

    def pooler(self, x: Tensor) -> Tensor:
        """The first token of each item, through a dense layer and a hyperbolic tangent."""
        first = self.add(Gather, "pooler.first_token", (x,), (self.batch, WIDTH))
        return self.elementwise("pooler.tanh", "tanh", self.dense("pooler", first, WIDTH))

    def look_up(self, name: str, rows: int, shape: tuple[int, ...]) -> Tensor:
        table = _weight(f"embeddings.{name}.weight", rows, WIDTH)
        ids = Tensor(name=f"{name}_ids", shape=shape, dtype="int64")
        return self.add(Gather, f"embeddings.{name}", (table, ids), (*shape, WIDTH))

    def dense(self, name: str, x: Tensor, width: int) -> Tensor:
        """``x W + b``."""
        k = x.shape[-1]
        out = self.matmul(
            name, x, _weight(f"{name}.weight", k, width), (*x.shape[:-1], width), 1, x.elements // k, k, width
        )
        return self.elementwise(f"{name}.bias", "add", out, _weight(f"{name}.bias.weight", width))

    def matmul(
        self, name: str, a: Tensor, b: Tensor, shape: tuple[int, ...], batch: int, m: int, k: int, n: int
    ) -> Tensor:
        return self.add(Matmul, name, (a, b), shape, batch=batch, m=m, k=k, n=n)

    def elementwise(self, name: str, function: str, x: Tensor, *others: Tensor) -> Tensor:
        return self.add(Elementwise, name, (x, *others), x.shape, function=function)

    def norm(self, name: str, x: Tensor) -> Tensor:
        weights = (_weight(f"{name}.gamma", WIDTH), _weight(f"{name}.beta", WIDTH))
        return self.add(Norm, name, (x, *weights), x.shape, rows=x.elements // WIDTH, cols=WIDTH)

    def add(
        self, kind: type[Op], name: str, inputs: tuple[Tensor, ...], shape: tuple[int, ...], **sizes: Any
    ) -> Tensor:
        out = Tensor(name=f"{name}.out", shape=shape)
        self.ops.append(kind(name=name, inputs=inputs, outputs=(out,), **sizes))
        return out


def _weight(name: str, *shape: int) -> Tensor:
    return Tensor(name=name, shape=shape, role="weight")
