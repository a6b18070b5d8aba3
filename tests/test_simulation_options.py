"""The Python API refuses what it does not understand, in one message."""

import pytest

from accelsim.base.errors import InputError, MappingError
from accelsim.hardware.family import GpuFactors
from accelsim.hardware.loader import load_device
from accelsim.simulation import simulate


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"batch": "8"}, "batch: got '8'; want a whole number >= 1"),
        ({"batch": 0}, "batch: got 0; want a whole number >= 1"),
        ({"batch": True}, "batch: got True; want a whole number >= 1"),
        ({"precision": 8}, "precision: got 8; want the name of a number format"),
        ({"cores": "1"}, "cores: got '1'; want a whole number >= 1"),
        ({"steps": -1}, "steps: got -1; want a whole number >= 1"),
        ({"parallel": "foo"}, "parallel: got 'foo'; want one of None, data, pipeline"),
        ({"start": "hot"}, "start: got 'hot'; want one of warm, cold"),
        ({"host": "yes"}, "host: got 'yes'; want True or False"),
        ({"sparsity": 0.5}, "sparsity: got 0.5; want text, as 2:4"),
        ({"fidelity": "rtl"}, "fidelity: got 'rtl'; want one of tile, cycle"),
        ({"seed": -1}, "seed: got -1; want a whole number >= 0"),
        ({"bach": 8}, "bach: unknown; did you mean 'batch'?"),
    ],
)
def test_an_option_of_the_wrong_kind_is_named(wrong, said):
    with pytest.raises(InputError) as error:
        simulate("tpu_v1", "tpu_v1_mlp0", **wrong)
    assert str(error.value).startswith(said)


def test_all_wrong_options_are_said_at_once():
    with pytest.raises(InputError) as error:
        simulate("tpu_v1", "tpu_v1_mlp0", start="hot", seed=-1, cores=0)
    assert len(error.value.problems) == 3


@pytest.mark.parametrize(("device", "workload"), [(None, "resnet50"), ("tpu_v1", None), (7, "resnet50"), ("tpu_v1", 7)])
def test_what_is_no_device_or_workload_is_refused(device, workload):
    with pytest.raises(InputError, match="want a name, a path"):
        simulate(device, workload)


def test_overrides_of_a_device_that_is_one_already_are_refused():
    with pytest.raises(InputError, match="by its name or path"):
        simulate(load_device("tpu_v1"), "tpu_v1_mlp0", overrides={"core.matrix.rows": 128})


def test_a_clock_is_told_even_where_the_device_computes_nothing():
    """A step that the host does alone still has the device's nominal clock, not 0 Hz."""
    result = simulate("tpu_v1", "tpu_v1_mlp0", overrides={"limits.ops": "pool"}, batch=1)
    assert result.clock_hz == 700e6


def test_kernels_from_a_captured_graph_start_sooner() -> None:
    """Between small kernels 2.7 us in a stream and 1.4 us in a graph (A100, te42kyfo/gpu-benches)."""
    stream = simulate("nvidia_a100_sxm_80gb", "bert_base")
    graph = simulate("nvidia_a100_sxm_80gb", "bert_base", graph=True)
    factors = load_device("nvidia_a100_sxm_80gb").factors
    assert isinstance(factors, GpuFactors)
    saved_s = len(stream.ops) * (factors.kernel.launch_s - factors.kernel.graph_launch_s)
    assert stream.latency_s - graph.latency_s == pytest.approx(saved_s, rel=1e-3)
    with pytest.raises(MappingError, match="is no GPU"):
        simulate("tpu_v1", "bert_base", graph=True)
