"""Fused attention: what it counts, and what it is on devices without such a kernel."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import accelsim
from accelsim.base.errors import WorkloadError
from accelsim.workload.graph import Graph
from accelsim.workload.ops import Attention, Matmul, Tensor
from accelsim.workload.transforms import set_precision, unfuse_attention


def attention(*, batch=1, q_len=8, kv_len=8, heads=4, kv_heads=4, head_dim=16, cache=False, **how):
    role = "kv_cache" if cache else "activation"
    q = Tensor(name="q", shape=(batch, q_len, heads * head_dim))
    k, v = (Tensor(name=name, shape=(batch, kv_len, kv_heads * head_dim), role=role) for name in "kv")
    out = Tensor(name="out", shape=q.shape)
    sizes = {"batch": batch, "q_len": q_len, "kv_len": kv_len, "heads": heads, "kv_heads": kv_heads}
    return Attention(name="attention", inputs=(q, k, v), outputs=(out,), head_dim=head_dim, **sizes, **how)


def graph(op):
    return Graph(name="attention", ops=(op,), batch=op.batch)


def seen(op, query):
    """The keys that a query sees, one after another: the slow twin of the closed form."""
    position = op.kv_len - op.q_len + query
    keys = range(op.kv_len)
    if op.causal:
        keys = [key for key in keys if key <= position]
    if op.window is not None:
        keys = [key for key in keys if key > position - op.window]
    return set(keys)


@st.composite
def ops(draw):
    kv_len, kv_heads, causal = draw(st.integers(1, 30)), draw(st.integers(1, 3)), draw(st.booleans())
    return attention(
        batch=draw(st.integers(1, 3)),
        q_len=draw(st.integers(1, kv_len if causal else 30)),
        kv_len=kv_len,
        heads=kv_heads * draw(st.integers(1, 3)),
        kv_heads=kv_heads,
        head_dim=draw(st.integers(1, 9)),
        causal=causal,
        window=draw(st.none() | st.integers(1, 40)) if causal else None,
    )


@given(ops())
def test_masked_pairs_are_not_counted(op):
    pairs = [len(seen(op, query)) for query in range(op.q_len)]
    assert op.scores_per_head == sum(pairs)
    assert op.macs == 2 * op.batch * op.heads * op.head_dim * sum(pairs)
    assert op.keys_seen == len(set().union(*(seen(op, query) for query in range(op.q_len))))


@given(ops())
def test_in_parts_it_computes_all_pairs_that_some_query_sees(op):
    parts = unfuse_attention(graph(op))
    assert parts.macs == 2 * op.batch * op.heads * op.head_dim * op.q_len * op.keys_seen >= op.macs
    assert [t for t in parts.inputs if not t.name.startswith("causal mask")] == list(op.inputs)
    assert parts.outputs == op.outputs
    scores, context = (part for part in parts.ops if isinstance(part, Matmul))
    for fused, part in ((op.inputs[1], scores), (op.inputs[2], context)):
        assert part.bytes_read(fused) == op.bytes_read(fused) == fused.bytes * op.keys_seen // op.kv_len


def test_a_prefill_without_mask_is_two_products_and_their_elementary_work():
    """Scores and context of 12 heads over 128 tokens: 2 x 12 x 128 x 128 x 64 MACs (BERT-base, one layer)."""
    op = attention(q_len=128, kv_len=128, heads=12, kv_heads=12, head_dim=64)
    assert op.macs == 25_165_824
    assert [part.kind for part in unfuse_attention(graph(op)).ops] == [
        "matmul", "elementwise", "softmax", "matmul",
    ]  # fmt: skip


def test_one_mask_serves_all_layers():
    op = attention(causal=True)
    later = Tensor(name="out2", shape=op.outputs[0].shape)
    second = Attention(
        name="second", inputs=(op.outputs[0], *op.inputs[1:]), outputs=(later,), batch=1, q_len=8, kv_len=8, heads=4,
        kv_heads=4, head_dim=16, causal=True,
    )  # fmt: skip
    parts = unfuse_attention(Graph(name="two", ops=(op, second)))
    masks = [t for t in parts.inputs if t.name.startswith("causal mask")]
    assert [mask.shape for mask in masks] == [(1, 1, 8, 8)]


@pytest.mark.parametrize(
    ("how", "what"),
    [
        ({"heads": 6, "kv_heads": 4}, "kv_heads to divide heads"),
        ({"q_len": 9, "causal": True}, "q_len <= kv_len"),
        ({"window": 4}, "want causal"),
        ({"head_dim": 0}, "every size"),
    ],
)
def test_what_cannot_be_is_refused(how, what):
    with pytest.raises(WorkloadError, match=what):
        attention(**how) if how.get("head_dim", 1) else Attention(
            name="a", inputs=(), outputs=(), batch=1, q_len=1, kv_len=1, heads=1, kv_heads=1, head_dim=0
        )


def decode(context):
    """One token of Llama-7B's attention at batch 8."""
    return graph(attention(batch=8, q_len=1, kv_len=context, heads=32, kv_heads=32, head_dim=128, cache=True))


def test_decoding_reads_the_cache_from_device_memory():
    """Its intensity is 1 MAC a number read: what bounds it is the memory (Pope et al., MLSys 2023, section 2.1)."""
    result = accelsim.simulate("nvidia_t4", decode(2048), precision="fp16")
    cache = 2 * 8 * 2048 * 4096 * 2
    assert result.dram_bytes == pytest.approx(cache, rel=0.01)
    assert result.latency_s > cache / 320e9


def test_a_cache_stays_where_it_is():
    """``--host`` moves inputs and outputs, not the cache."""
    workload = decode(2048)
    cache = sum(t.bytes for t in set_precision(workload, "fp16").inputs if t.role == "kv_cache")
    here, moved = (accelsim.simulate("nvidia_t4", workload, precision="fp16", host=host) for host in (False, True))
    over_link = {name: size for name, size in moved.bytes_by_memory.items() if name != "dram"}
    assert moved.dram_bytes - here.dram_bytes < cache / 100, over_link


def test_what_a_step_adds_to_a_cache_goes_to_memory():
    x = Tensor(name="x", shape=(1, 4096))
    w = Tensor(name="w", shape=(4096, 4096), role="weight")
    key = Tensor(name="key", shape=(1, 4096), role="kv_cache")
    y = Tensor(name="y", shape=(1, 4096))
    ops = (
        Matmul(name="project", m=1, k=4096, n=4096, inputs=(x, w), outputs=(key,)),
        Matmul(name="use", m=1, k=4096, n=4096, inputs=(key, w), outputs=(y,)),
    )
    assert [t.name for t in Graph(name="g", ops=ops).outputs] == ["key", "y"]
    result = accelsim.simulate("nvidia_t4", Graph(name="g", ops=ops), precision="fp16")
    assert result.bytes_by_memory["dram"]["write"] >= 2 * 4096 * 2
