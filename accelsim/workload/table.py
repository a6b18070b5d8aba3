"""Op tables: a workload as a CSV file that people read and edit.

::

    #: name = two_layers
    #: batch = 200
    #: dtype = int8
    # any other line that starts with # is a comment
    name,kind,m,k,n,function,inputs,outputs
    fc1,matmul,B,784,512,,x[B 784]; @w1[784 512],y1[B 512]
    fc1/relu,elementwise,,,,relu,y1,z1[B 512]
    fc2,matmul,B,512,10,,z1,

One row is one op, in an order in which they can run; the header names the columns, in any order. Sizes are whole
numbers or products with symbols: ``196B``, ``12*seq_len``, ``B``; ``B`` is the batch. Tensors are separated by ``;``.
The first mention of a tensor says its shape (and number format, if it is not the table's: ``ids[B 128]:int64``), later
ones need not; ``@`` marks a weight, ``&`` a cache of keys or values, and ``x[B 512]~0.6`` one whose elements are known
to be zero by that share. What is left out is filled in: ``inputs`` with the output of the row before, the weights of a
matmul or convolution with ``@NAME.weight``, ``outputs`` with a tensor named as the op, where its shape follows; the
rows and columns of softmax and norm, the image of a convolution and the sizes of an attention with the shape of its
inputs.

Lines that start with ``#:`` say ``KEY = VALUE``: ``name``, ``description``, ``source``, ``batch`` (the default),
``dtype``, ``note``, ``param NAME = DEFAULT`` (a symbol; ``in 1..512`` may follow) and ``fixed NAME = VALUE`` (a
parameter that is built into the sizes). A sign that means something else is written ``%XX`` in a name.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accelsim.base.dtypes import DTYPES
from accelsim.base.errors import WorkloadError, nearest
from accelsim.workload.files import content
from accelsim.workload.graph import Graph
from accelsim.workload.ops import FUNCTIONS, Op, Role, Tensor
from accelsim.workload.table_form import (
    BATCH,
    COLUMNS,
    COMMON,
    FLAG_FIELDS,
    KINDS,
    MARKS,
    MAX_BATCH,
    MAX_SIZE,
    NO,
    OWN_FIELDS,
    ROW_FIELDS,
    TEXT_FIELDS,
    WANTED,
    YES,
    misfits,
    size,
    unquoted,
    words,
)
from accelsim.workload.table_writing import write_table

__all__ = ["Header", "parse_table", "read_header", "read_table", "write_table"]

# --- reading --------------------------------------------------------------------------------------------------------


@dataclass
class Header:
    """What the lines ``#: KEY = VALUE`` say."""

    name: str = ""
    description: str = ""
    source: str = ""
    batch: int = 1
    dtype: str = "fp32"
    notes: list[str] = field(default_factory=list)
    params: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    """Default, least and greatest value of each symbol."""
    fixed: dict[str, int] = field(default_factory=dict)


def read_table(path: str | Path, *, batch: int | None = None, params: Mapping[str, int] | None = None) -> Graph:
    """Read an op table; ``batch`` and ``params`` replace the defaults that it states."""
    path = Path(path)
    return parse_table(table_text(path), file=str(path), batch=batch, params=params)


def table_text(path: Path) -> str:
    """Return the text of a table, or say what is wrong with the file."""
    try:
        return content(path, "an op table").decode("utf-8-sig")
    except UnicodeDecodeError:
        raise WorkloadError(f"{path}: not a text file in UTF-8; want an op table") from None


def parse_table(text: str, *, file: str, batch: int | None = None, params: Mapping[str, int] | None = None) -> Graph:
    """Read the text of an op table; ``file`` is what errors call it."""
    reader = _Reader(file)
    header, columns, rows = reader.split(text)
    symbols = reader.symbols(header, batch, dict(params or {}))
    ops: list[Op] = []
    if columns and not reader.problems:
        for line, cells in rows:
            op = _Row(reader, header, symbols, line, dict(zip(columns, cells, strict=False)), ops).op()
            if op is not None:
                ops.append(op)
        reader.check_batch(header, symbols[BATCH])
    reader.finish()
    try:
        return Graph(
            name=header.name or Path(file).stem,
            ops=tuple(ops),
            batch=symbols[BATCH],
            params={**header.fixed, **{name: symbols[name] for name in header.params}},
            notes=tuple(header.notes),
            source=header.source,
        )
    except WorkloadError as error:
        raise WorkloadError(*(f"{file}: {problem}" for problem in error.problems)) from None


def read_header(path: Path) -> Header:
    """Read only what a table says of itself."""
    reader = _Reader(str(path))
    header, _, _ = reader.split(table_text(path))
    reader.finish()
    return header


class _Reader:
    """Collects everything that is wrong with a table."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[str] = []
        self.tensors: dict[str, Tensor] = {}
        self.used: set[str] = set()
        """Symbols that stand in some size."""
        self.failed: set[str] = set()
        """Ops with a mistake, whose results are therefore not known."""

    def wrong(self, line: int, where: str, what: str) -> None:
        self.problems.append(f"{self.file}, line {line}, {where}: {what}")

    def finish(self) -> None:
        if self.problems:
            raise WorkloadError(*self.problems)

    def split(self, text: str) -> tuple[Header, list[str], list[tuple[int, list[str]]]]:
        """Sort a table's lines into header, columns and rows of cells with their line numbers."""
        header = Header()
        columns: list[str] = []
        rows: list[tuple[int, list[str]]] = []
        for line, raw in enumerate(text.split("\n"), start=1):
            cells = self._cells(line, raw.strip())
            if not any(cells):
                continue
            if cells[0].startswith("#"):
                self._directive(header, line, cells[0])
            elif not columns:
                columns = self._columns(line, cells)
            elif len(cells) > len(columns) and any(cells[len(columns) :]):
                self.wrong(line, "row", f"{len(cells)} cells; want at most {len(columns)}, one for each column")
            else:
                rows.append((line, cells))
        if not columns and not self.problems:
            self.problems.append(f"{self.file}: no header row; want columns such as name,kind,inputs,outputs")
        return header, columns, rows

    def _cells(self, line: int, text: str) -> list[str]:
        """Return a line's cells; a comment is one, with or without the commas that a spreadsheet puts after it."""
        if text.startswith("#"):
            return [text.rstrip(",")]
        try:
            return [cell.strip() for cell in next(csv.reader([text], strict=True), [])]
        except csv.Error as error:
            self.wrong(line, "row", f"not comma-separated cells: {error}")
            return []

    def _columns(self, line: int, cells: list[str]) -> list[str]:
        while cells and not cells[-1]:
            cells = cells[:-1]
        for name, times in Counter(cells).items():
            if name not in COLUMNS:
                self.wrong(
                    line, "header", f"column {name!r}: unknown; want some of {list(COLUMNS)}{nearest(name, COLUMNS)}"
                )
            if times > 1:
                self.wrong(line, "header", f"column {name!r}: stands {times} times")
        for name in ("name", "kind"):
            if name not in cells:
                self.wrong(line, "header", f"column {name!r}: missing")
        return cells

    def _directive(self, header: Header, line: int, text: str) -> None:
        if not text.startswith("#:"):
            return
        key, equals, value = (part.strip() for part in text[2:].partition("="))
        word, _, name = key.partition(" ")
        setter = DIRECTIVES.get(word)
        if setter is None or not equals:
            what = f"want KEY = VALUE with one of {sorted(DIRECTIVES)}{nearest(word, DIRECTIVES)}"
            self.wrong(line, repr(text), what)
            return
        problem = setter(header, name.strip(), unquoted(value))
        if problem:
            self.wrong(line, key, f"{value!r}: {problem}")

    def check_batch(self, header: Header, batch: int) -> None:
        if batch != header.batch and BATCH not in self.used and not self.problems:
            fixed = f"no size in this table has the symbol {BATCH}; it is fixed at {header.batch}"
            self.problems.append(f"{self.file}: --batch {batch}: {fixed}")

    def symbols(self, header: Header, batch: int | None, params: dict[str, int]) -> dict[str, int]:
        """Return the value of every symbol: the batch, and the parameters as asked for or by default."""
        symbols = {BATCH: header.batch if batch is None else batch}
        for name, (default, least, most) in header.params.items():
            value = symbols[name] = params.pop(name, default)
            if not least <= value <= most:
                self.problems.append(f"{self.file}: --param {name}={value}: want a whole number from {least} to {most}")
        for name, value in params.items():
            if name in header.fixed:
                self.problems.append(
                    f"{self.file}: --param {name}={value}: fixed at {header.fixed[name]} in this table"
                )
            else:
                known = f"want one of {sorted(header.params)}" if header.params else "this workload takes none"
                self.problems.append(
                    f"{self.file}: --param {name}={value}: unknown; {known}{nearest(name, header.params)}"
                )
        return symbols


Setter = Callable[[Header, str, str], str]
"""(header, what stands after the key, value) -> what is wrong with it, or ``""``."""


def _text(key: str) -> Setter:
    def set_text(header: Header, name: str, value: str) -> str:
        setattr(header, key, value)
        return ""

    return set_text


def _set_batch(header: Header, name: str, value: str) -> str:
    header.batch = _whole(value, MAX_BATCH) or 1
    return "" if _whole(value, MAX_BATCH) else "want a whole number from 1 to 2^20"


def _set_dtype(header: Header, name: str, value: str) -> str:
    header.dtype = value if value in DTYPES else "fp32"
    return "" if value in DTYPES else f"want one of {sorted(DTYPES)}{nearest(value, DTYPES)}"


def _add_note(header: Header, name: str, value: str) -> str:
    header.notes.append(value)
    return ""


def _add_param(header: Header, name: str, value: str) -> str:
    match = re.fullmatch(r"(\d+)(?:\s+in\s+(\d+)\.\.(\d+))?", value)
    numbers = [_whole(part, MAX_SIZE) for part in match.groups(default="1")] if match else []
    if not re.fullmatch(r"[A-Za-z_]\w*", name) or name == BATCH or not match or not all(numbers):
        header.params[name] = (1, 1, MAX_SIZE)
        return "want 'param NAME = DEFAULT' or 'param NAME = DEFAULT in LEAST..MOST' with whole numbers from 1 on"
    default, least, most = numbers
    header.params[name] = (default, least, most if match[3] else MAX_SIZE)
    return ""


def _add_fixed(header: Header, name: str, value: str) -> str:
    number = _whole(value, MAX_SIZE)
    header.fixed[unquoted(name)] = number
    return "" if name and (number or value == "0") else "want 'fixed NAME = VALUE' with a whole number"


DIRECTIVES: dict[str, Setter] = {
    "name": _text("name"),
    "description": _text("description"),
    "source": _text("source"),
    "batch": _set_batch,
    "dtype": _set_dtype,
    "note": _add_note,
    "param": _add_param,
    "fixed": _add_fixed,
}


def _whole(text: str, most: int) -> int:
    """Return a whole number from 1 to ``most``, else 0."""
    number = int(text) if re.fullmatch(r"[0-9]{1,20}", text) else 0
    return number if number <= most else 0


ROLES: dict[str, Role] = {"": "activation", **{mark: role for role, mark in MARKS.items()}}

# --- rows -----------------------------------------------------------------------------------------------------------

TENSOR = re.compile(
    r"(?P<mark>[@&]?)(?P<name>[^\[\]]+?)\s*(?:\[(?P<shape>[^\[\]]*)\](?::(?P<dtype>\w+))?(?:~(?P<zeros>0?\.\d+))?)?"
)


class _Row:
    """One row on its way to an op."""

    def __init__(
        self,
        reader: _Reader,
        header: Header,
        symbols: Mapping[str, int],
        line: int,
        cells: Mapping[str, str],
        before: Sequence[Op],
    ) -> None:
        self.reader, self.header, self.symbols, self.line, self.before = reader, header, symbols, line, before
        self.cells = {column: cell for column, cell in cells.items() if cell}
        self.ok = True

    def wrong(self, where: str, what: str) -> None:
        self.reader.wrong(self.line, where, what)
        self.ok = False

    def op(self) -> Op | None:
        """Return the row's op, or None where something is wrong with it."""
        op = self._op()
        if op is None:
            self.reader.failed.add(unquoted(self.cells.get("name", "")))
        return op

    def _op(self) -> Op | None:
        kind, name = self.cells.get("kind", ""), unquoted(self.cells.get("name", ""))
        if not name:
            self.wrong("name", "missing; want the op's name")
        if kind not in KINDS:
            self.wrong("kind", f"{kind!r}: want one of {list(KINDS)}{nearest(kind, KINDS)}")
            return None
        for column in self.cells:
            if column not in (*COMMON, *OWN_FIELDS[kind]):
                self.wrong(column, f"{self.cells[column]!r}: a {kind} has no such size; want this cell empty")
        values = {column: self._value(column) for column in OWN_FIELDS[kind] if column in self.cells}
        inputs = self._tensors("inputs")
        if not self.ok:
            self._tensors("outputs")
            return None
        completed = FILL.get(kind, _fill_nothing)(self, name, values, inputs)
        outputs = self._outputs(name, kind, values, inputs)
        missing = [column for column in OWN_FIELDS[kind] if column not in values and column in WANTED[kind]]
        for column in missing:
            self.wrong(column, f"missing; a {kind} wants it")
        if not self.ok or not completed:
            return None
        try:
            op = KINDS[kind](name=name, inputs=tuple(inputs), outputs=tuple(outputs), **values)
        except WorkloadError as error:
            self.wrong("row", str(error))
            return None
        for column, problem in misfits(op):
            self.wrong(column, problem)
        return op if self.ok else None

    def _value(self, column: str) -> Any:
        cell = self.cells[column]
        if column == "function":
            if cell not in FUNCTIONS:
                self.wrong(column, f"{cell!r}: want one of {sorted(FUNCTIONS)}{nearest(cell, FUNCTIONS)}")
            return cell
        if column in TEXT_FIELDS:
            return unquoted(cell)
        if column in FLAG_FIELDS:
            if cell not in (YES, NO):
                self.wrong(column, f"{cell!r}: want {YES} or {NO}")
            return cell == YES
        if column in ROW_FIELDS:
            return self._several(column, cell, ROW_FIELDS[column])
        return self._size(column, cell)

    def _size(self, where: str, text: str) -> int:
        self.reader.used.update(words(text))
        try:
            return size(text, self.symbols)
        except ValueError as error:
            self.wrong(where, f"{text!r}: {error}")
            return 1

    def _several(self, column: str, cell: str, count: int) -> tuple[int, ...]:
        words = cell.split()
        if len(words) not in (1, count):
            self.wrong(column, f"{cell!r}: want {count} sizes, as in {' '.join('1' * count)!r}, or one for all")
        numbers = [0 if word == "0" and column == "pad" else self._size(column, word) for word in words]
        return tuple(numbers * count if len(numbers) == 1 else numbers)

    def _tensors(self, column: str) -> list[Tensor]:
        found = [self._tensor(column, text.strip()) for text in self.cells.get(column, "").split(";") if text.strip()]
        return [tensor for tensor in found if tensor is not None]

    def _tensor(self, column: str, text: str) -> Tensor | None:
        match = TENSOR.fullmatch(text)
        if match is None:
            self.wrong(column, f"{text!r}: want a tensor such as x[{BATCH} 3 224 224], @weights[64 3 7 7] or x")
            return None
        name, known = unquoted(match["name"]), self.reader.tensors
        if match["shape"] is None:
            if name in self.reader.failed and name not in known:
                self.ok = False
                return None
            if name not in known:
                self.wrong(
                    column,
                    f"{name!r}: first mentioned here; want its shape, as in {name}[{BATCH} 64]{nearest(name, known)}",
                )
                return None
            if match["mark"] and known[name].role != ROLES[match["mark"]]:
                what = {"weight": "a weight", "kv_cache": "a cache"}[ROLES[match["mark"]]]
                self.wrong(column, f"{name!r}: marked as {what} here, and not where it was first mentioned")
            return known[name]
        dtype = match["dtype"] or self.header.dtype
        if dtype not in DTYPES:
            self.wrong(
                column, f"{text!r}: number format {dtype!r}: want one of {sorted(DTYPES)}{nearest(dtype, DTYPES)}"
            )
            return None
        shape = tuple(self._size(column, word) for word in match["shape"].split())
        role = ROLES[match["mark"]]
        zeros = float(match["zeros"] or 0)
        return self.declare(Tensor(name=name, shape=shape, dtype=dtype, role=role, zeros=zeros))

    def declare(self, tensor: Tensor) -> Tensor:
        return self.reader.tensors.setdefault(tensor.name, tensor) if self.same(tensor) else tensor

    def same(self, tensor: Tensor) -> bool:
        """Whether a tensor is as it was mentioned before, if it was."""
        known = self.reader.tensors.get(tensor.name, tensor)
        if known != tensor:
            self.wrong("row", f"tensor {tensor.name}: {_described(tensor)} here, {_described(known)} before")
        return known == tensor

    def implied(self, name: str, *shape: int, role: Any = "activation") -> Tensor:
        """Declare a tensor that the row does not mention."""
        return self.declare(Tensor(name=name, shape=shape, dtype=self.header.dtype, role=role))

    def _outputs(self, name: str, kind: str, values: Mapping[str, Any], inputs: Sequence[Tensor]) -> list[Tensor]:
        if "outputs" in self.cells or not self.ok:
            return self._tensors("outputs")
        shape = RESULT[kind](values, inputs) if kind in RESULT else None
        if shape is None:
            self.wrong("outputs", f"missing; want the tensor that this {kind} makes")
            return []
        return [self.implied(name, *shape)]


def _described(tensor: Tensor) -> str:
    return f"{tensor.role} {list(tensor.shape)} {tensor.dtype}" + (f"~{tensor.zeros:g}" if tensor.zeros else "")


Fill = Callable[[_Row, str, dict[str, Any], list[Tensor]], bool]
"""(row, op's name, its values, its inputs) -> whether the row is complete; adds what is left out to both."""


def _previous(row: _Row, inputs: list[Tensor], *first: int) -> bool:
    """Where no inputs are given, take the first output of the row before, or make the workload's input."""
    if not inputs:
        if row.before:
            inputs.append(row.before[-1].outputs[0])
        elif first:
            inputs.append(row.implied("input", *first))
        else:
            row.wrong("inputs", "missing; want the tensors that it reads")
    return bool(inputs)


def _fill_nothing(row: _Row, name: str, values: dict[str, Any], inputs: list[Tensor]) -> bool:
    return _previous(row, inputs)


def _fill_matmul(row: _Row, name: str, values: dict[str, Any], inputs: list[Tensor]) -> bool:
    if not {"m", "k", "n"} <= values.keys():
        return True
    outer = (values["batch"],) if "batch" in values else ()
    if not _previous(row, inputs, *outer, values["m"], values["k"]):
        return False
    if len(inputs) == 1:
        inputs.append(row.implied(f"{name}.weight", *outer, values["k"], values["n"], role="weight"))
    return True


def _fill_conv2d(row: _Row, name: str, values: dict[str, Any], inputs: list[Tensor]) -> bool:
    image = [values[key] for key in ("batch", "c_in", "h_in", "w_in") if key in values]
    if not _previous(row, inputs, *(image if len(image) == 4 else ())):
        return False
    if len(inputs[0].shape) == 4:
        for key, dim in zip(("batch", "c_in", "h_in", "w_in"), inputs[0].shape, strict=True):
            values.setdefault(key, dim)
    if not {"batch", "c_in", "h_in", "w_in", "c_out", "kh", "kw"} <= values.keys():
        return True
    for axis in ("h", "w"):
        out = _convolved(values, axis)
        if out < 1:
            row.wrong(f"{axis}_out", f"the kernel is larger than the padded image of {axis}_in={values[f'{axis}_in']}")
        elif values.setdefault(f"{axis}_out", out) != out:
            row.wrong(f"{axis}_out", f"{values[f'{axis}_out']}: stride, padding and dilation make it {out}")
    if len(inputs) == 1:
        per_group = values["c_in"] // values.get("groups", 1)
        shape = (values["c_out"], max(1, per_group), values["kh"], values["kw"])
        inputs.append(row.implied(f"{name}.weight", *shape, role="weight"))
    return True


def _convolved(values: Mapping[str, Any], axis: str) -> int:
    """``(in + pad - dilation (k - 1) - 1) / stride + 1``, rounded down."""
    i = "hw".index(axis)
    pad, stride, dilation = values.get("pad", (0,) * 4), values.get("stride", (1, 1)), values.get("dilation", (1, 1))
    reach = dilation[i] * (values[f"k{axis}"] - 1) + 1
    return int((values[f"{axis}_in"] + pad[i] + pad[i + 2] - reach) // stride[i] + 1)


def _fill_rows(row: _Row, name: str, values: dict[str, Any], inputs: list[Tensor]) -> bool:
    if not _previous(row, inputs):
        return False
    if inputs[0].shape:
        values.setdefault("cols", inputs[0].shape[-1])
        values.setdefault("rows", max(1, inputs[0].elements // values["cols"]))
    return True


def _fill_attention(row: _Row, name: str, values: dict[str, Any], inputs: list[Tensor]) -> bool:
    if len(inputs) < 3:
        row.wrong("inputs", f"{len(inputs)} tensors; want Q, K, V and, where there is one, a mask")
        return False
    query, key = inputs[:2]
    if len(query.shape) == 3:
        values.setdefault("batch", query.shape[0])
        values.setdefault("q_len", query.shape[1])
        if "heads" in values:
            values.setdefault("head_dim", max(1, query.shape[2] // values["heads"]))
    if len(key.shape) == 3:
        values.setdefault("kv_len", key.shape[1])
        if "head_dim" in values:
            values.setdefault("kv_heads", max(1, key.shape[2] // values["head_dim"]))
    return True


FILL: dict[str, Fill] = {
    "attention": _fill_attention,
    "matmul": _fill_matmul,
    "conv2d": _fill_conv2d,
    "softmax": _fill_rows,
    "norm": _fill_rows,
}

RESULT: dict[str, Callable[[Mapping[str, Any], Sequence[Tensor]], tuple[int, ...] | None]] = {
    "matmul": lambda v, inputs: tuple(v[key] for key in ("batch", "m", "n") if key in v),
    "conv2d": lambda v, inputs: tuple(v.get(key, 1) for key in ("batch", "c_out", "h_out", "w_out")),
    "elementwise": lambda v, inputs: max(inputs, key=lambda t: t.elements).shape if inputs else None,
    "attention": lambda v, inputs: inputs[0].shape if inputs else None,
    "softmax": lambda v, inputs: inputs[0].shape if inputs else None,
    "norm": lambda v, inputs: inputs[0].shape if inputs else None,
}
"""The shape of the result, where it follows from the row."""
