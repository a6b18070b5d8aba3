"""Networks that rank what to show: MLPerf's DLRM, with its tables of the Criteo Terabyte data, and NeuMF."""

from __future__ import annotations

from collections.abc import Mapping

from accelsim.workload.graph import Graph
from accelsim.workload.layers import Layers, weight
from accelsim.workload.ops import Gather, Matmul, Move, Reduction, Tensor

MOST_ROWS = 40_000_000
TABLES = (
    MOST_ROWS, 39060, 17295, 7424, 20265, 3, 7122, 1543, 63, MOST_ROWS, 3067956, 405282, 10, 2209, 11938, 155, 4, 976,
    14, MOST_ROWS, MOST_ROWS, MOST_ROWS, 590152, 12973, 108, 36,
)  # fmt: skip
"""Rows of each table, no more than 40 million (MLPerf inference, --max-ind-range=40000000)."""
HOT = (3, 2, 1, 2, 6, 1, 1, 1, 1, 7, 3, 8, 1, 6, 9, 5, 1, 1, 1, 12, 100, 27, 10, 3, 1, 1)
"""Rows of each table that a pair looks up in the second version (MLPerf inference v3.1, --multi-hot-sizes)."""
DENSE, WIDTH = 13, 128
"""Numbers of a pair that are no categories, and of each embedding."""
PARAMS = {"pairs": (270, 1, 4096)}
"""Pairs of a user and a thing that make an item: 270 in the mean of MLPerf's samples, which have 100 to 700."""


def dlrm(batch: int, params: Mapping[str, int]) -> Graph:
    """Naumov et al., arXiv 1906.00091, with the sizes of MLPerf: every embedding times every other."""
    net, rows = Layers(batch), batch * params["pairs"]
    dense = _perceptron(net, "bottom", Tensor(name="numbers", shape=(rows, DENSE)), (512, 256, WIDTH))
    features = net.add(Move, "stack", (dense, *_embeddings(net, rows, (1,) * len(TABLES))), (rows, 27, WIDTH))
    products = net.add(
        Matmul, "interaction", (features, features), (rows, 27, 27), batch=rows, m=27, k=WIDTH, n=27
    )  # fmt: skip
    x = net.add(Move, "merge", (dense, products), (rows, WIDTH + 27 * 26 // 2))
    _top(net, x)
    return net.graph("dlrm", params=params, source="Naumov et al., arXiv 1906.00091; MLPerf inference v0.7")


def dlrm_v2(batch: int, params: Mapping[str, int]) -> Graph:
    """The same with several rows of a table added and three cross layers of rank 512 (Wang et al., WWW 2021)."""
    net, rows = Layers(batch), batch * params["pairs"]
    dense = _perceptron(net, "bottom", Tensor(name="numbers", shape=(rows, DENSE)), (512, 256, WIDTH))
    first = net.add(Move, "stack", (dense, *_embeddings(net, rows, HOT)), (rows, 27 * WIDTH))
    x = first
    for i in range(3):
        y = net.dense(f"cross{i}.down", x, 512, bias=False)
        y = net.dense(f"cross{i}.up", y, 27 * WIDTH)
        x = net.elementwise(f"cross{i}.add", "add", net.elementwise(f"cross{i}.mul", "mul", y, first), x)
    _top(net, x)
    return net.graph("dlrm_v2", params=params, source="MLPerf inference v3.1, DLRM-DCNv2; Wang et al., WWW 2021")


def _perceptron(net: Layers, name: str, x: Tensor, widths: tuple[int, ...]) -> Tensor:
    for i, width in enumerate(widths):
        x = net.elementwise(f"{name}{i}.relu", "relu", net.dense(f"{name}{i}", x, width))
    return x


def _top(net: Layers, x: Tensor) -> None:
    x = _perceptron(net, "top", x, (1024, 1024, 512, 256))
    net.elementwise("sigmoid", "sigmoid", net.dense("score", x, 1))


def _embeddings(net: Layers, rows: int, hot: tuple[int, ...]) -> list[Tensor]:
    """One embedding of every table: a row of it, or the sum of so many."""
    found = []
    for i, (size, count) in enumerate(zip(TABLES, hot, strict=True)):
        ids = Tensor(name=f"ids{i}", shape=(rows, count), dtype="int64")
        table = weight(f"embedding{i}.weight", size, WIDTH)
        x = net.add(Gather, f"embedding{i}", (table, ids), (rows, count, WIDTH))
        found.append(x if count == 1 else net.add(Reduction, f"embedding{i}.sum", (x,), (rows, 1, WIDTH)))
    return found


USERS, ITEMS = 138_493, 26_744
"""Of MovieLens 20M, whose ratings are MLPerf training v0.5's."""


def ncf(batch: int, params: Mapping[str, int]) -> Graph:
    """NeuMF: a product of 64 wide embeddings and a perceptron on 128 wide ones (He et al., WWW 2017)."""
    net = Layers(batch)
    users, items = (
        {width: net.look_up(f"{what}{width}", rows, width, (batch,)) for width in (64, 128)}
        for what, rows in (("user", USERS), ("item", ITEMS))
    )
    x = net.add(Move, "concat", (users[128], items[128]), (batch, 256))
    x = _perceptron(net, "mlp", x, (256, 128, 64))
    product = net.elementwise("factors", "mul", users[64], items[64])
    x = net.dense("score", net.add(Move, "merge", (product, x), (batch, 128)), 1)
    net.elementwise("sigmoid", "sigmoid", x)
    return net.graph("ncf", source="He et al., Neural Collaborative Filtering, WWW 2017; NVIDIA DeepLearningExamples")
