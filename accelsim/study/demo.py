"""The runs of the demo: two networks on four devices of different kinds, at two batches and two precisions each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from accelsim.simulation import Options
from accelsim.study.sweep import Point

WORKLOADS = ("resnet50", "bert_base")
BATCHES = (1, 8)
PRECISIONS: Mapping[str, tuple[str | None, ...]] = {
    "tpu_v1": (None, "int16"),
    "nvidia_t4": (None, "int8"),
    "aws_inferentia1": (None, "fp16"),
    "xeon_8275cl": (None, "int8"),
}
"""Devices and the formats they run in; None is the device's default."""


def demo_points(
    *, workloads: Sequence[str] = WORKLOADS, devices: Sequence[str] = (*PRECISIONS,), batches: Sequence[int] = BATCHES
) -> list[Point]:
    """Runs in the order in which the tables list them."""
    return [
        Point(device=device, workload=workload, options=Options(batch=batch, precision=precision))
        for workload in workloads
        for device in devices
        for precision in PRECISIONS[device]
        for batch in batches
    ]
