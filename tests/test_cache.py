"""What the last cache of a GPU or CPU still holds: least recently used leaves first."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from accelsim import simulate
from accelsim.schedule.cache import cached_plan
from accelsim.workload.graph import Graph
from accelsim.workload.ops import Elementwise, Tensor

SIZE = 1000


def _tensor(name: str) -> Tensor:
    return Tensor(name=name, shape=(SIZE,), dtype="int8")


def _chain(length: int, *, skip: int | None = None) -> Graph:
    """Ops that each read the one before; the last reads result ``skip`` too."""
    ops = []
    for i in range(length):
        inputs = [_tensor(f"t{i - 1}" if i else "x")]
        if skip is not None and i == length - 1:
            inputs.append(_tensor(f"t{skip}"))
        ops.append(Elementwise(name=f"op{i}", inputs=tuple(inputs), outputs=(_tensor(f"t{i}"),), function="relu"))
    return Graph(name="chain", ops=tuple(ops))


def _names(graph: Graph) -> set[str]:
    return set(graph.tensors)


def test_a_result_that_is_read_at_once_stays_where_two_tensors_fit() -> None:
    graph = _chain(6)
    assert cached_plan(graph, 2 * SIZE, _names(graph)).resident >= {f"t{i}" for i in range(5)}
    assert not cached_plan(graph, SIZE, _names(graph)).resident - {"t5"}


def test_a_result_that_is_read_late_stays_only_where_all_between_fits() -> None:
    graph = _chain(6, skip=0)  # t0 is read by op1 and by op5: t1 to t4 are touched between
    assert "t0" in cached_plan(graph, 5 * SIZE, _names(graph)).resident
    assert "t0" not in cached_plan(graph, 4 * SIZE, _names(graph)).resident


@given(st.integers(3, 12), st.integers(0, 8), st.lists(st.integers(1, 16), min_size=2, max_size=5))
def test_a_larger_cache_holds_whatever_a_smaller_one_does(length: int, skip: int, sizes: list[int]) -> None:
    """Mattson et al., IBM Systems Journal 9(2), 1970: least recently used is a stack algorithm."""
    graph = _chain(length, skip=min(skip, length - 2))
    held = [cached_plan(graph, size * SIZE, _names(graph)).resident for size in sorted(sizes)]
    assert all(smaller <= larger for smaller, larger in pairwise(held))


def test_weights_stay_from_step_to_step_only_where_everything_fits() -> None:
    small = simulate("nvidia_a100_sxm_80gb", "matmul", params={"m": 64, "n": 1024, "k": 1024})
    large = simulate("nvidia_a100_sxm_80gb", "matmul", params={"m": 64, "n": 8192, "k": 8192})
    assert small.dram_bytes < 2 * 1024 * 1024  # 2 MB of weights stay in 40 MB
    assert large.dram_bytes >= 2 * 8192 * 8192


def test_a_larger_cache_never_slows_a_network() -> None:
    sizes = [2**20, 2**22, 2**24, 2**26]
    times = [
        simulate("nvidia_a100_sxm_80gb", "resnet18", batch=4, overrides={"l2.capacity_bytes": size}).latency_s
        for size in sizes
    ]
    assert all(later <= earlier * (1 + 1e-9) for earlier, later in pairwise(times))
