"""Networks that translate: GNMT, with beam search."""

from __future__ import annotations

from collections.abc import Mapping

from accelsim.workload.graph import Graph
from accelsim.workload.layers import Layers, weight
from accelsim.workload.ops import Gather, Matmul, Move, Reduction, Tensor
from accelsim.workload.recurrent import gated, lstm

GNMT_PARAMS = {"source": (27, 1, 512), "target": (27, 1, 512), "beam": (1, 1, 64)}
"""Tokens of a sentence and of its translation (54 of both in DeepLearningExamples' newstest2014), beams."""
VOCABULARY, WIDTH = 36548, 1024


def gnmt(batch: int, params: Mapping[str, int]) -> Graph:
    """Four LSTMs on the sentence, the first both ways, and four that write one token a step for each beam.

    The query of the attention is the first LSTM's; what it finds goes to all of them (TensorFlow's gnmt_v2). Scores are
    normed Bahdanau's: of every token of the sentence ``v tanh(key + query)``.
    """
    net, rows = Layers(batch), batch * params["beam"]
    x = net.look_up("source", VOCABULARY, WIDTH, (batch, params["source"]))
    there, back = (lstm(net, f"encoder0.{way}", x, WIDTH) for way in ("there", "back"))
    x = net.add(Move, "encoder0.both", (there, back), (batch, params["source"], 2 * WIDTH))
    for i in range(1, 4):
        y = lstm(net, f"encoder{i}", x, WIDTH)
        x = net.elementwise(f"encoder{i}.residual", "add", y, x) if i > 1 else y
    keys = net.dense("attention.keys", x, WIDTH, bias=False)
    shape = (rows, params["source"], WIDTH)
    if params["beam"] > 1:
        keys, x = (net.add(Move, f"attention.{what}.beams", (t,), shape) for what, t in (("keys", keys), ("values", x)))
    states = [Tensor(name=f"state{i}", shape=(rows, WIDTH)) for i in range(4)]
    context = Tensor(name="context", shape=(rows, WIDTH))
    for step in range(params["target"]):
        context = _step(net, f"step{step}", states, context, keys, x)
    return net.graph("gnmt", params=params, source="Wu et al., arXiv 1609.08144; MLPerf inference v0.5, gnmt")


def _step(net: Layers, name: str, states: list[Tensor], context: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Write a token for each beam; leaves new states and returns what the attention found."""
    rows = keys.shape[0]
    ids = Tensor(name=f"{name}.token", shape=(rows,), dtype="int64")
    x = net.add(
        Gather, f"{name}.embedding", (weight("embeddings.target.weight", VOCABULARY, WIDTH), ids), (rows, WIDTH)
    )
    for i, state in enumerate(states):
        y = _cell(net, f"{name}.{i}", (x, context, state), f"decoder{i}")
        states[i] = y
        if i == 0:
            context = _attention(net, f"{name}.attention", y, keys, values)
        x = net.elementwise(f"{name}.{i}.residual", "add", y, x) if i > 1 else y
    y = net.dense(f"{name}.classifier", x, VOCABULARY, bias=False, shared="classifier")
    if rows == net.batch:
        net.add(Reduction, f"{name}.best", (y,), (rows,))
        return context
    y = net.elementwise(f"{name}.scores", "add", net.softmax(f"{name}.softmax", y))
    net.add(Reduction, f"{name}.best", (y,), (rows, 2))
    return context


def _attention(net: Layers, name: str, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    rows, length, width = keys.shape
    query = net.dense(f"{name}.query", query, width, bias=False, shared="attention.query")
    y = net.elementwise(f"{name}.add", "add", keys, query)
    y = net.elementwise(f"{name}.tanh", "tanh", y)
    y = net.elementwise(f"{name}.norm", "mul", y, weight("attention.v.weight", width))
    y = net.softmax(f"{name}.softmax", net.add(Reduction, f"{name}.scores", (y,), (rows, length)))
    return net.add(Matmul, name, (y, values), (rows, width), batch=rows, m=1, k=length, n=width)


def _cell(net: Layers, name: str, parts: tuple[Tensor, ...], layer: str) -> Tensor:
    """One step of an LSTM on parts side by side, in one product as TensorFlow's."""
    rows, width = parts[-1].shape
    x = net.add(Move, f"{name}.concat", parts, (rows, sum(part.shape[1] for part in parts)))
    gates = net.dense(f"{name}.gates", x, 4 * width, shared=f"{layer}.gates")
    return gated(net, name, gates, (rows, width), layer)
