"""Results with realistic numbers, made by hand: what reports are tested on."""

from __future__ import annotations

from accelsim.analysis.result import OpResult, Result
from accelsim.trace import Count, Span, Trace

PEAKS = {"tpu_v1": 46e12, "nvidia_t4": 32.5e12, "aws_inferentia1": 16e12, "xeon_8275cl": 2.3e12}
BANDWIDTH = {"tpu_v1": 34e9, "nvidia_t4": 320e9, "aws_inferentia1": 50e9, "xeon_8275cl": 140.8e9}
TDP = {"tpu_v1": 75.0, "nvidia_t4": 70.0, "aws_inferentia1": None, "xeon_8275cl": 240.0}
PJ = {"mac": 0.3, "dram": 160.0, "sram": 10.0}


def layers(ops: int, batch: int) -> list[tuple[str, str, int, int]]:
    """Name, kind, MACs and DRAM bytes of each op: a few big ones, many small."""
    rows = []
    for i in range(ops):
        kind = ("conv2d", "elementwise", "conv2d", "pool", "matmul", "softmax")[i % 6]
        macs = batch * (10_000_000 + 6_000_000 * (i % 5)) if kind in {"conv2d", "matmul"} else 0
        nbytes = 40_000 * (1 + i % 7) * (20 if kind == "matmul" else 1) + (batch * 3_000 if macs else 0)
        rows.append((f"stage{i // 6}_{kind}{i}", kind, macs, 0 if i % 9 == 2 else nbytes))
    return rows


def make_result(
    device: str = "tpu_v1",
    *,
    workload: str = "resnet50",
    batch: int = 8,
    precision: str = "int8",
    ops: int = 60,
    steps: int = 2,
    replicas: int = 1,
    host_every: int = 0,
    overrides: dict[str, object] | None = None,
    params: dict[str, int] | None = None,
    warnings: tuple[str, ...] = (),
    resource: str | None = None,
) -> Result:
    """A run of ``ops`` ops; every ``host_every``-th on the host, with a transfer over PCIe before it."""
    peak, bandwidth = PEAKS.get(device, 1e12), BANDWIDTH.get(device, 50e9)
    shrink = {"fp32": 8, "bf16": 2, "fp16": 2}.get(precision, 1)
    spans: list[Span] = []
    results: list[OpResult] = []
    for replica in range(replicas):
        core = resource or (f"core{replica}" if device in {"tpu_v1", "aws_inferentia1"} else "cores")
        now = 0
        for step in range(steps):
            for i, (name, kind, macs, nbytes) in enumerate(layers(ops, batch)):
                on_host = bool(host_every) and i % host_every == host_every - 1
                if on_host:
                    took = max(1, round(nbytes / 12e9 * 1e12))
                    spans.append(_span(f"s{step}/r{replica}/{name}/to", name, "pcie", step, replica, now, took, nbytes))
                    now += took
                compute = macs * shrink / peak * 1.9 * replicas
                dram = nbytes * max(1, shrink / 2) / bandwidth * 1.1
                took = max(1, round(max(compute, dram, 1e-6) * 1e12 * (6 if on_host else 1)))
                bound = "host" if on_host else "latency" if max(compute, dram) < 1e-6 else None
                bound = bound or ("compute" if compute >= dram else "dram")
                span = Span(
                    name=f"s{step}/r{replica}/{name}",
                    op=name,
                    kind=kind,
                    device="xeon_8275cl" if on_host else device,
                    resource="host" if on_host else core,
                    step=step,
                    replica=replica,
                    start_ps=now,
                    end_ps=now + took,
                    macs=macs,
                    dtype=precision,
                    compute_cycles=round(compute * 7e8),
                    clock_hz=7e8,
                    bound=bound,
                    counts=(
                        Count(f"mac.{precision}", "-", macs),
                        Count("dram.read", "weight", nbytes * 2 // 3),
                        Count("dram.write", "output", nbytes - nbytes * 2 // 3),
                    ),
                    channel_bytes=(("dram", nbytes),) if nbytes else (),
                    prefetched_bytes=nbytes // 4 if i and kind == "matmul" else 0,
                )
                spans.append(span)
                now += took
                if step == 0:
                    results.append(_op(span, nbytes))
    trace = Trace(tuple(sorted(spans, key=lambda s: (s.start_ps, s.name))))
    latency = max(op.end_s for op in results) if results else 0.0
    macs = sum(op.macs for op in results)
    nbytes = sum(op.dram_read_bytes + op.dram_write_bytes for op in results)
    static = 12.0 * latency
    breakdown = {
        "mac": macs * PJ["mac"] * 1e-12,
        "register": 0.2 * macs * PJ["mac"] * 1e-12,
        "sram": nbytes * 6 * PJ["sram"] * 1e-12,
        "dram": nbytes * PJ["dram"] * 1e-12,
        "link": 0.0,
        "static": static,
    }
    energy = sum(breakdown.values())
    return Result(
        device={"name": device, "sha256": "ab" * 32, "overrides": overrides or {}},
        workload={"name": workload, "sha256": "cd" * 32, "params": params or {}},
        batch=batch,
        precision=precision,
        fidelity="tile",
        seed=0,
        clock_hz=7e8,
        start="warm",
        cores=replicas,
        parallel="data" if replicas > 1 else None,
        steps=steps,
        energy_table="45nm",
        latency_s=latency,
        throughput_items_per_s=batch / latency if latency else 0.0,
        roofline_latency_s=latency / 2.2,
        naive_roofline_latency_s=latency / 2.9,
        energy_j=energy,
        energy_per_item_j=energy / batch,
        average_power_w=energy / latency if latency else 0.0,
        host_energy_j=sum(op.energy_j for op in results if op.device != device),
        macs=macs,
        dram_bytes=nbytes,
        mac_utilization=macs * shrink / (peak * latency) if latency else 0.0,
        energy_breakdown_j=breakdown,
        energy_by_operand_j={"input": 0.1 * energy, "weight": 0.2 * energy, "output": 0.05 * energy},
        bytes_by_memory={"dram": {"read": nbytes * 2 // 3, "write": nbytes - nbytes * 2 // 3}},
        ops=tuple(results),
        warnings=warnings,
        peak_macs_per_s=peak / shrink,
        dram_bandwidth_bytes_per_s=bandwidth,
        tdp_w=TDP.get(device),
        accelsim_version="0.1.0",
        trace=trace,
    )


def _span(name: str, op: str, resource: str, step: int, replica: int, start: int, took: int, nbytes: int) -> Span:
    return Span(
        name=name,
        op=op,
        kind="transfer",
        device="tpu_v1",
        resource=resource,
        step=step,
        replica=replica,
        start_ps=start,
        end_ps=start + took,
        macs=0,
        dtype="int8",
        compute_cycles=0,
        clock_hz=7e8,
        bound="link",
        counts=(Count("pcie.transfer", "-", nbytes),),
        channel_bytes=((resource, nbytes),) if nbytes else (),
    )


def _op(span: Span, nbytes: int) -> OpResult:
    energy = (span.macs * PJ["mac"] + nbytes * (PJ["dram"] + 6 * PJ["sram"])) * 1e-12
    return OpResult(
        name=span.op,
        kind=span.kind,
        device=span.device,
        core=span.resource,
        dtype=span.dtype,
        macs=span.macs,
        start_s=span.start_ps / 1e12,
        end_s=span.end_ps / 1e12,
        compute_cycles=span.compute_cycles,
        stall_cycles=max(0, round(span.duration_ps * 7e-4) - span.compute_cycles),
        clock_hz=span.clock_hz,
        bound=span.bound,
        dram_read_bytes=nbytes * 2 // 3,
        dram_write_bytes=nbytes - nbytes * 2 // 3,
        energy_j=energy,
    )


DEVICES = ("tpu_v1", "nvidia_t4", "aws_inferentia1", "xeon_8275cl")


def many_results() -> list[Result]:
    """Four devices, two precisions, batches 1 to 64."""
    return [
        make_result(device, batch=batch, precision=precision, ops=24, steps=1)
        for device in DEVICES
        for precision in ("int8", "bf16")
        for batch in (1, 8, 64)
    ]
