"""Graphs as op tables."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from accelsim.base.errors import WorkloadError
from accelsim.workload.graph import Graph
from accelsim.workload.ops import Tensor
from accelsim.workload.table_form import BATCH, COLUMNS, MARKS, OWN_FIELDS, SPECIAL, YES, quoted

Cell = list[str | int]
"""A cell in pieces: sizes are numbers, so that they can be compared between batches."""


def write_table(workload: Graph | Callable[[int], Graph], *, default_batch: int = 1, description: str = "") -> str:
    """Return the op table of a graph, or of what makes one for each batch.

    Of a graph the sizes are written as they are, fixed at its batch. A function is called for batch 1, 2 and 3, and
    every size that grows with the batch is written with the symbol ``B``; one that grows in another way than in
    proportion to it is refused.
    """
    graphs = [workload] if isinstance(workload, Graph) else [workload(batch) for batch in (1, 2, 3)]
    graph = graphs[0]
    default_batch = graph.batch if isinstance(workload, Graph) else default_batch
    if any(op.epilogue for op in graph.ops):
        raise WorkloadError(f"{graph.name}: has fused ops; a table holds the graph as it was before fusion")
    dtype = Counter(t.dtype for t in graph.tensors.values()).most_common(1)[0][0]
    columns, rows = _merged(graph.name, [_rows_of(g, dtype) for g in graphs])
    out = io.StringIO()
    out.writelines(f"{directive}\n" for directive in _directives(graph, default_batch, dtype, description))
    lines = csv.writer(out, lineterminator="\n")
    lines.writerow(columns)
    lines.writerows([row.get(column, "") for column in columns] for row in rows)
    return out.getvalue()


def _directives(graph: Graph, batch: int, dtype: str, description: str) -> Iterator[str]:
    yield f"#: name = {quoted(graph.name)}"
    if description:
        yield f"#: description = {quoted(description)}"
    if graph.source:
        yield f"#: source = {quoted(graph.source)}"
    yield f"#: batch = {batch}"
    yield f"#: dtype = {dtype}"
    yield from (f"#: fixed {quoted(name, '=')} = {value}" for name, value in graph.params.items())
    yield from (f"#: note = {quoted(note)}" for note in graph.notes)


def _rows_of(graph: Graph, dtype: str) -> list[dict[str, Cell]]:
    said: set[str] = set()
    rows = []
    for op in graph.ops:
        row: dict[str, Cell] = {"name": [quoted(op.name)], "kind": [op.kind]}
        for column in OWN_FIELDS[op.kind]:
            value = getattr(op, column)
            row[column] = _own_cell(value)
        for column, tensors in (("inputs", op.inputs), ("outputs", op.outputs)):
            row[column] = [piece for i, t in enumerate(tensors) for piece in _tensor_cell(t, dtype, said, i)]
        rows.append(row)
    return rows


def _own_cell(value: str | bool | int | tuple[int, ...] | None) -> Cell:
    if value is None or value is False:
        return []
    if value is True:
        return [YES]
    return [quoted(value)] if isinstance(value, str) else _spaced(value)


def _spaced(value: int | tuple[int, ...]) -> Cell:
    numbers = value if isinstance(value, tuple) else (value,)
    return [piece for i, number in enumerate(numbers) for piece in ((" ", number) if i else (number,))]


def _tensor_cell(tensor: Tensor, dtype: str, said: set[str], position: int) -> Cell:
    cell: Cell = ["; " if position else "", MARKS.get(tensor.role, ""), quoted(tensor.name, SPECIAL)]
    if tensor.name not in said:
        said.add(tensor.name)
        cell += ["[", *_spaced(tensor.shape), "]", "" if tensor.dtype == dtype else f":{tensor.dtype}"]
        cell += [f"~{tensor.zeros:.12f}".rstrip("0")] if 0 < tensor.zeros < 1 else []
    return cell


def _merged(name: str, tables: list[list[dict[str, Cell]]]) -> tuple[list[str], list[dict[str, str]]]:
    """Return the columns that are used, and the rows with each size as a number or a multiple of the batch."""
    used = {column for row in tables[0] for column, cell in row.items() if cell}
    rows, problems = [], []
    if len({len(table) for table in tables}) > 1:
        raise WorkloadError(f"{name}: the ops differ between batches; a table cannot say that")
    for versions in zip(*tables, strict=True):
        row = {}
        for column in versions[0]:
            cells = [version.get(column, []) for version in versions]
            try:
                row[column] = "".join(_merged_piece(pieces) for pieces in zip(*cells, strict=True))
            except ValueError as error:
                problems.append(f"{name}: op {row.get('name')}: {column}: {error}")
        rows.append(row)
    if problems:
        raise WorkloadError(*problems)
    return [column for column in COLUMNS if column in used], rows


def _merged_piece(pieces: Sequence[str | int]) -> str:
    first = pieces[0]
    if all(piece == first for piece in pieces):
        return str(first)
    if isinstance(first, int) and list(pieces) == [first * batch for batch in (1, 2, 3)]:
        return BATCH if first == 1 else f"{first}{BATCH}"
    raise ValueError(f"at batch 1, 2 and 3 it is {', '.join(map(str, pieces))}: neither fixed nor in proportion to it")
