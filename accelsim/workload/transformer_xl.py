"""Transformer-XL: segments of a text, with the layers' inputs of earlier segments as memory (Dai et al., ACL 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from accelsim.workload.graph import Graph
from accelsim.workload.layers import Layers, weight
from accelsim.workload.ops import Gather, Matmul, Move, Tensor

MOST = 2**16
CUTOFFS = (0, 19997, 39997, 199997, 267735)
"""Words of WikiText-103 by frequency, at the borders of the adaptive softmax's clusters."""
RARE = (0.03, 0.035, 0.005)
"""Of a text's words, those of each cluster but the first. ASSUMED: the first 20,000 words are 93 % of the text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformerXL:
    """Hyperparameters; the model of NVIDIA's DeepLearningExamples."""

    name: str
    layers: int
    width: int
    heads: int
    feed_forward: int
    shrink: int
    """Each cluster of rarer words has embeddings narrower by this factor."""
    seq_len: int
    mem_len: int
    head_dim: int = 64
    source: str = "Dai et al., ACL 2019; sizes of NVIDIA DeepLearningExamples, PyTorch/LanguageModeling/Transformer-XL"

    @property
    def params(self) -> Mapping[str, tuple[int, int, int]]:
        """``seq_len`` tokens of a segment and ``mem_len`` before it, whose layers' inputs are kept."""
        return {"seq_len": (self.seq_len, 1, MOST), "mem_len": (self.mem_len, 1, MOST)}

    def build(self, batch: int, params: Mapping[str, int]) -> Graph:
        """Return one segment: every token's likelihood after its forerunners'."""
        q_len, keys = params["seq_len"], params["seq_len"] + params["mem_len"]
        net = Layers(batch)
        x = self._embedded(net, q_len)
        places = net.look_up("sinusoid", keys, self.width, (keys,))
        for i in range(self.layers):
            x = self._layer(net, f"layer{i}", x, places, params["mem_len"])
        self._likelihood(net, x)
        return net.graph(self.name, source=self.source, params=params)

    def _embedded(self, net: Layers, q_len: int) -> Tensor:
        """Words' embeddings: from each cluster's own table, widened by its own projection where that is narrower."""
        ids = Tensor(name="word_ids", shape=(net.batch, q_len), dtype="int64")
        found = []
        for i, share in enumerate((1.0, *RARE)):
            table = self._table(i)
            shape = (net.batch, max(1, round(share * q_len)), table.shape[1])
            y = net.add(Gather, f"embeddings.gather{i}", (table, ids), shape)
            found.append(y if self.shrink == 1 else net.dense(f"embeddings.project{i}", y, self.width, bias=False))
        return net.add(Move, "embeddings.merge", tuple(found), found[0].shape)

    def _table(self, cluster: int) -> Tensor:
        words = CUTOFFS[cluster + 1] - CUTOFFS[cluster]
        return weight(f"embeddings.word{cluster}.weight", words, self.width // self.shrink**cluster)

    def _layer(self, net: Layers, name: str, x: Tensor, places: Tensor, mem_len: int) -> Tensor:
        """Relative attention to memory and segment, and feed-forward, each with a residual add and a layer norm.

        Queries, keys and values are all made of memory and segment, as its code does, though queries are of the
        segment alone.
        """
        batch, q_len, width = x.shape
        keys, inner = q_len + mem_len, self.heads * self.head_dim
        memory = Tensor(name=f"{name}.memory", shape=(batch, mem_len, width))
        both = net.add(Move, f"{name}.concat", (memory, x), (batch, keys, width))
        query, key, value = (net.dense(f"{name}.{what}", both, inner, bias=False) for what in ("query", "key", "value"))
        query = net.add(Move, f"{name}.segment", (query,), (batch, q_len, inner))
        relative = net.dense(f"{name}.relative", places, inner, bias=False)
        scores, depth, heads = (batch, self.heads, q_len, keys), self.head_dim, self.heads
        content = net.add(
            Matmul, f"{name}.content", (query, key), scores, batch=batch * heads, m=q_len, k=depth, n=keys
        )
        # Keys of places are the same for all items, whose queries are so many more rows.
        place = net.add(
            Matmul, f"{name}.place", (query, relative), scores, batch=heads, m=batch * q_len, k=depth, n=keys
        )
        place = net.add(Move, f"{name}.shift", (place,), scores)
        mask = Tensor(name="mask", shape=(q_len, keys))
        score = net.elementwise(f"{name}.add", "add", content, place)
        score = net.softmax(f"{name}.softmax", net.elementwise(f"{name}.mask", "select", score, mask))
        attended = net.add(
            Matmul, f"{name}.values", (score, value), (batch, heads, q_len, depth),
            batch=batch * heads, m=q_len, k=keys, n=depth,
        )  # fmt: skip
        merged = net.add(Move, f"{name}.merge", (attended,), (batch, q_len, inner))
        y = net.dense(f"{name}.output", merged, width, bias=False)
        x = net.layer_norm(f"{name}.norm", net.elementwise(f"{name}.residual", "add", y, x))
        wide = net.elementwise(f"{name}.relu", "relu", net.dense(f"{name}.up", x, self.feed_forward))
        y = net.dense(f"{name}.down", wide, width)
        return net.layer_norm(f"{name}.ffn_norm", net.elementwise(f"{name}.ffn_residual", "add", y, x))

    def _likelihood(self, net: Layers, x: Tensor) -> None:
        """Adaptive softmax: frequent words and the clusters' scores for all tokens, each cluster for its own tokens."""
        scores = net.dense("softmax.clusters", x, len(RARE))
        net.softmax("softmax.choose", scores)
        for i, share in enumerate((1.0, *RARE)):
            table = self._table(i)
            tokens = net.batch * max(1, round(share * x.shape[1]))
            y = net.add(Gather, f"softmax{i}.tokens", (x,), (tokens, self.width)) if i else x
            if self.shrink > 1:
                y = net.dense(f"softmax{i}.project", y, table.shape[1], bias=False)
            shape = (*y.shape[:-1], table.shape[0])
            y = net.add(Matmul, f"softmax{i}", (y, table), shape, m=tokens, k=table.shape[1], n=table.shape[0])
            net.softmax(f"softmax{i}.softmax", net.biased(f"softmax{i}", y, table.shape[0]))


TRANSFORMER_XL = (
    TransformerXL(
        name="transformer_xl_base", layers=16, width=512, heads=8, feed_forward=2048, shrink=1, seq_len=64, mem_len=640
    ),
    TransformerXL(
        name="transformer_xl_large", layers=18, width=1024, heads=16, feed_forward=4096, shrink=4, seq_len=128,
        mem_len=1600,
    ),
)  # fmt: skip
