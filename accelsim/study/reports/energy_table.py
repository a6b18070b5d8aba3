"""What an action costs, and where a network's joules really go."""

from __future__ import annotations

from collections.abc import Sequence

from accelsim.analysis.findings import BarChart, Cell, Findings, Remark, Table
from accelsim.analysis.result import COMPONENTS
from accelsim.base.errors import ConfigError, nearest
from accelsim.hardware.energy import EnergyRow, load_energy_table, table_rows
from accelsim.hardware.part import Text
from accelsim.study.compare import Entry
from accelsim.study.reports.common import Batch, Names, StudySpec, grid, listed, number, ran, told

MEMORY_WORDS = "dram"


class Spec(StudySpec):
    """What the study of energy says."""

    node: Text = "45"
    actions: Names
    """Rows of the energy table, as `accelsim energy` names them, cheapest or not."""
    dram: Text
    """The row that is a DRAM word."""
    add: Text
    """The row that all are compared with."""
    devices: Names
    workloads: Names
    batch: Batch = 1


def findings(spec: Spec) -> Findings:
    """The table as a figure, and the same accounting for whole networks."""
    rows = {row.name: row for row in table_rows(load_energy_table(spec.node))}
    named = [(f"actions[{i}]", name) for i, name in enumerate(spec.actions)] + [("dram", spec.dram), ("add", spec.add)]
    unknown = [f"{key}: got {name!r}; no such row at {spec.node} nm{nearest(name, rows)}; `accelsim energy` lists them"
               for key, name in named if name not in rows]  # fmt: skip
    if unknown:
        raise ConfigError(*unknown)
    chosen = [rows[name] for name in spec.actions]
    entries, refused = ran(grid(spec.devices, spec.workloads, [spec.batch]))
    return Findings(
        title=spec.title,
        lead=(
            f"The energy of single actions at {spec.node} nm (arXiv 1506.02626, Fig. 1, and ISCA and ISSCC papers "
            "beside "
            f"it: `accelsim energy` names the source of each), and the energy of {listed(list(spec.workloads))} at "
            "batch "
            f"{spec.batch} on {listed(list(spec.devices))}, each with the table of its own process, by component. "
            "`static` "
            "is what flows whether or not anything is computed."
        ),
        remarks=tuple(_remarks(spec, rows, entries)),
        charts=(
            BarChart(
                name="actions",
                caption=f"Energy of one action at {spec.node} nm, logarithmic.",
                label="Energy of one action (pJ)",
                rows=tuple(row.name for row in chosen),
                parts=(("pJ", tuple(row.pj for row in chosen)),),
                log=True,
            ),
            _shares(entries),
        ),
        tables=(_actions(chosen), _joules(entries)),
        left_out=told(refused),
    )


def _name(one: Entry) -> str:
    return f"{one.result.workload['name']}, {one.result.device['name']}"


def _shares(entries: Sequence[Entry]) -> BarChart:
    return BarChart(
        name="networks",
        caption="Where the energy of an item goes, by component.",
        label="Share of the energy of an item",
        rows=tuple(_name(e) for e in entries),
        parts=tuple((part, tuple(e.result.energy_breakdown_j[part] for e in entries)) for part in COMPONENTS),
        shares=True,
    )


def _actions(rows: Sequence[EnergyRow]) -> Table:
    body: tuple[tuple[Cell, ...], ...] = tuple((row.name, row.bits, row.pj, row.relative, row.source) for row in rows)
    return Table("actions", ("action", "bits", "pj", "times_an_int32_add", "source"), body)


def _joules(entries: Sequence[Entry]) -> Table:
    columns = ("workload", "device", "precision", "mj_per_item", *(f"{part}_mj" for part in COMPONENTS))
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            e.result.workload["name"],
            e.result.device["name"],
            e.result.precision,
            e.result.energy_per_item_j * 1e3,
            *(e.result.energy_breakdown_j[part] / e.result.batch * 1e3 for part in COMPONENTS),
        )
        for e in entries
    )
    return Table("networks", columns, rows)


def _remarks(spec: Spec, rows: dict[str, EnergyRow], entries: Sequence[Entry]) -> list[Remark]:
    times = rows[spec.dram].pj / rows[spec.add].pj
    remarks = [
        Remark(
            f"A DRAM word ({spec.dram}) costs {number(rows[spec.dram].pj)} pJ, {number(times)} times {spec.add}.",
            spec.claim(0),
            "bears out" if times >= 100 else "contradicts",
        )
    ]
    for e in entries:
        parts = e.result.energy_breakdown_j
        moved, computed = sum(parts[p] for p in ("register", "sram", "dram", "link")), parts["mac"]
        whole = e.result.energy_j
        remarks.append(
            Remark(
                f"{_name(e)} in {e.result.precision}: {number(e.result.energy_per_item_j * 1e3)} mJ an item; moving "
                "data "
                f"{number(100 * moved / whole)} % (DRAM {number(100 * parts['dram'] / whole)} %), computing "
                f"{number(100 * computed / whole)} %, idling {number(100 * parts['static'] / whole)} %."
            )
        )
    dynamic = [(e, e.result.energy_breakdown_j) for e in entries]
    more = [e for e, p in dynamic if p["dram"] > p["mac"]]
    remarks.append(
        Remark(
            f"DRAM takes more energy than all arithmetic in {len(more)} of {len(entries)} runs: what one action costs "
            "is not "
            "where a network's joules go, for caches, tiles and batches make DRAM accesses rare, and instructions "
            "(part of a "
            "CPU's and a GPU's energy per multiply-accumulate here) and idle power are in no such table.",
            spec.claim(1),
            "bears out" if len(more) == len(entries) else "qualifies",
        )
    )
    return remarks
