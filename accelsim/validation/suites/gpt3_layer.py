"""The ops of one GPT-3 layer on one of four A100, tensor parallel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from accelsim.validation.measured import read_rows
from accelsim.validation.rows import Row, Suite
from accelsim.validation.silicon.predict import predict
from accelsim.validation.silicon.rows import Measurement

FILE = "gpt3_layer_4xa100.csv"
WIDTH, HEADS, RANKS, BATCH, PREFILL, CONTEXT = 12288, 96, 4, 8, 2048, 3072
HEAD_DIM = WIDTH // HEADS
SOURCE = "LLMCompass (ISCA 2024), as measured by its authors: GPT-3's layer on 4 A100-SXM4-80GB"


def cells_of(phase: str, op: str) -> tuple[int, Mapping[str, str]] | None:
    """How many calls an op is, and one of them as a row of ``ops.csv``; None for what crosses between the devices.

    Q, K and V are three products: together, their weights would have to come faster than DRAM gives in decoding.
    """
    queries, keys = (PREFILL, PREFILL) if phase == "prefill" else (1, CONTEXT)
    tokens, heads = BATCH * queries, BATCH * HEADS // RANKS
    rank = WIDTH // RANKS

    def product(kind: str, batch: int, m: int, n: int, k: int) -> dict[str, str]:
        return {"op": kind, "batch": str(batch), "M": str(m), "N": str(n), "K": str(k)}

    def rows(kind: str, rows: int, cols: int) -> dict[str, str]:
        return {"op": kind, "rows": str(rows), "cols": str(cols)}

    known = {
        "Q_K_V": (3, product("gemm", 1, tokens, rank, WIDTH)),
        "Q_mul_K": (1, product("bmm", heads, queries, keys, HEAD_DIM)),
        "A_mul_V": (1, product("bmm", heads, queries, HEAD_DIM, keys)),
        "Wo_proj": (1, product("gemm", 1, tokens, WIDTH, rank)),
        "W1_proj": (1, product("gemm", 1, tokens, 4 * rank, WIDTH)),
        "W2_proj": (1, product("gemm", 1, tokens, WIDTH, 4 * rank)),
        "Softmax": (1, rows("softmax", heads * queries, keys)),
        "LayerNorm_MHA": (1, rows("layernorm", tokens, WIDTH)),
        "LayerNorm_FFN": (1, rows("layernorm", tokens, WIDTH)),
        "GeLU": (1, rows("gelu", tokens, 4 * rank)),
    }
    return known.get(op)


def _measurement(number: int, cells: Mapping[str, str]) -> Measurement:
    common = {
        "device": "NVIDIA A100-SXM4-80GB",
        "dtype": "fp16",
        "source_repo": "PrincetonUniversity/LLMCompass",
        "latency_us": "1",
    }
    return Measurement(number, common | dict(cells))


def _rows(data: Path) -> Iterator[Row]:
    for line in read_rows(data / FILE, ("phase", "op", "real_s")):
        phase, op = line.text("phase"), line.text("op")
        found = cells_of(phase, op)
        if found is None:
            continue  # an all-reduce: links between devices are not modelled
        calls, cells = found
        yield Row(
            suite="gpt3_layer",
            name=f"{phase} {op}",
            quantity="latency",
            unit="us",
            reference=line.real("real_s") * 1e6,
            ours=calls * predict(_measurement(line.number, cells)).predicted_us,
            source=SOURCE,
        )


def rows(data: Path | None) -> Iterable[Row]:
    """Ten ops in prefill and ten in decoding; the two all-reduces of each are left out."""
    assert data is not None
    return _rows(data)


SUITE = Suite(
    title="one GPT-3 layer on 4 A100",
    about=(
        "The ops of one GPT-3 layer (width 12288, 96 heads) on one of four A100-SXM4-80GB with tensor parallelism 4, "
        "batch 8: prefill of 2048 tokens and one token at a context of 3072, under the protocol of LLMCompass' "
        "kernels, on whose rows of `ops.csv` (not on these) it was fitted. All-reduces are left out: links between "
        "devices are not modelled. LLMCompass' own errors are 11 and 12 %."
    ),
    rows=rows,
    needs=(FILE,),
    cheap=False,
)
