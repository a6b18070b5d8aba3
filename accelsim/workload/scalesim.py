"""SCALE-Sim's topology files: a workload as rows of convolutions, or of matrix products.

::

    Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,
    Conv1, 224, 224, 11, 11, 3, 96, 4,

    Layer, M, N, K,
    fc, 196, 192, 384,

The comma at a row's end may be missing (SCALE-Sim then drops the last cell), blank rows and comments (``#``) may stand
anywhere, cells may have spaces or tabs around them. A further cell ``2:4`` says that two of four weights are kept. A
layer whose name has ``DP`` in it is depthwise: as many products of one channel as it has channels. Layers are not
connected: each reads an input of its own.

The size of a result is SCALE-Sim's, ``ceil((H - R + S) / S)`` for an image of H, a filter of R and a stride of S: a
last window that reaches over the edge counts. ONNX, and everything else here, rounds down; the convolution gets that
window as padding below and to the right, so that both rules agree on it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from accelsim.base.errors import WorkloadError
from accelsim.base.units import ceil_div
from accelsim.workload.files import content
from accelsim.workload.graph import Graph
from accelsim.workload.ops import Conv2d, Matmul, Op, Tensor
from accelsim.workload.table_form import MAX_SIZE

Layout = Literal["conv", "gemm"]
DEPTHWISE = "DP"

COLUMNS: dict[Layout, tuple[str, ...]] = {
    "conv": (
        "Layer name",
        "IFMAP Height",
        "IFMAP Width",
        "Filter Height",
        "Filter Width",
        "Channels",
        "Num Filter",
        "Strides",
    ),
    "gemm": ("Layer", "M", "N", "K"),
}
SPARSITY = "Sparsity"
STRIDE_WIDTH = "Stride width"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvLayer:
    """A row of a convolution topology."""

    name: str
    ifmap_h: int
    ifmap_w: int
    filter_h: int
    filter_w: int
    channels: int
    filters: int
    stride_h: int
    stride_w: int
    sparsity: tuple[int, int] = (1, 1)

    @property
    def depthwise(self) -> bool:
        """Whether each channel has filters of its own."""
        return DEPTHWISE in self.name

    @property
    def ofmap(self) -> tuple[int, int]:
        """``ceil((H - R + S) / S)`` by height and width."""
        return (
            ceil_div(self.ifmap_h - self.filter_h + self.stride_h, self.stride_h),
            ceil_div(self.ifmap_w - self.filter_w + self.stride_w, self.stride_w),
        )

    def op(self, name: str, batch: int) -> Op:
        """The convolution that it is, with the window that reaches over the edge as padding."""
        groups = self.channels if self.depthwise else 1
        h_out, w_out = self.ofmap
        c_out = self.filters * groups
        return Conv2d(
            name=name,
            inputs=(
                Tensor(name=f"{name}.ifmap", shape=(batch, self.channels, self.ifmap_h, self.ifmap_w)),
                Tensor(
                    name=f"{name}.filter",
                    shape=(c_out, self.channels // groups, self.filter_h, self.filter_w),
                    role="weight",
                    sparsity=self.sparsity,
                ),
            ),
            outputs=(Tensor(name=f"{name}.ofmap", shape=(batch, c_out, h_out, w_out)),),
            batch=batch,
            c_in=self.channels,
            h_in=self.ifmap_h,
            w_in=self.ifmap_w,
            c_out=c_out,
            h_out=h_out,
            w_out=w_out,
            kh=self.filter_h,
            kw=self.filter_w,
            stride=(self.stride_h, self.stride_w),
            pad=(
                0,
                0,
                (h_out - 1) * self.stride_h + self.filter_h - self.ifmap_h,
                (w_out - 1) * self.stride_w + self.filter_w - self.ifmap_w,
            ),
            groups=groups,
        )

    @property
    def cells(self) -> tuple[str | int, ...]:
        """What stands in its row."""
        image = (self.ifmap_h, self.ifmap_w, self.filter_h, self.filter_w)
        return (self.name, *image, self.channels, self.filters, self.stride_h)


@dataclass(frozen=True, slots=True, kw_only=True)
class GemmLayer:
    """A row of a matrix product topology: ``C[m, n] = A[m, k] @ B[k, n]``."""

    name: str
    m: int
    n: int
    k: int
    sparsity: tuple[int, int] = (1, 1)

    def op(self, name: str, batch: int) -> Op:
        """The product; a batch has that many times the rows."""
        m = self.m * batch
        return Matmul(
            name=name,
            inputs=(
                Tensor(name=f"{name}.ifmap", shape=(m, self.k)),
                Tensor(name=f"{name}.filter", shape=(self.k, self.n), role="weight", sparsity=self.sparsity),
            ),
            outputs=(Tensor(name=f"{name}.ofmap", shape=(m, self.n)),),
            m=m,
            k=self.k,
            n=self.n,
        )

    @property
    def cells(self) -> tuple[str | int, ...]:
        """What stands in its row."""
        return (self.name, self.m, self.n, self.k)


Layer = ConvLayer | GemmLayer


@dataclass(frozen=True, slots=True)
class Topology:
    """The rows of one file."""

    name: str
    layers: tuple[Layer, ...]

    def graph(self, batch: int = 1) -> Graph:
        """Ops that are not connected; SCALE-Sim has no batch, here it multiplies images and rows."""
        names = _unlike([layer.name for layer in self.layers])
        return Graph(
            name=self.name,
            ops=tuple(layer.op(name, batch) for layer, name in zip(self.layers, names, strict=True)),
            batch=batch,
            source="a SCALE-Sim topology",
        )


def _unlike(names: Sequence[str]) -> list[str]:
    """Names with ``_2``, ``_3`` after those that stood before."""
    taken: set[str] = set()
    unlike = []
    for name in names:
        count, candidate = 1, name
        while candidate in taken:
            count += 1
            candidate = f"{name}_{count}"
        taken.add(candidate)
        unlike.append(candidate)
    return unlike


# --- reading ---------------------------------------------------------------------------------------------------------


def is_topology(text: str) -> bool:
    """Whether a CSV text is a topology rather than an op table: its first row begins with ``Layer``."""
    first = next((cells for _, cells in _rows(text)), [""])
    return first[0].lower().startswith("layer")


def read_topology(path: str | Path) -> Topology:
    """Read a topology file; WorkloadError has a line for each thing that is wrong."""
    path = Path(path)
    try:
        text = content(path, "a SCALE-Sim topology").decode("utf-8-sig")
    except UnicodeDecodeError:
        raise WorkloadError(f"{path}: not a text file in UTF-8; want a SCALE-Sim topology") from None
    return parse_topology(text, file=str(path))


def parse_topology(text: str, *, file: str) -> Topology:
    """Read the text of a topology; ``file`` is what errors call it."""
    reader = _Reader(file)
    rows = [*_rows(text)]
    layers = reader.layers(rows)
    if reader.problems:
        raise WorkloadError(*reader.problems)
    return Topology(Path(file).stem, tuple(layers))


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of every row; what follows ``#`` is a comment, empty cells at the end are none."""
    for line, raw in enumerate(text.splitlines(), start=1):
        said = raw.partition("#")[0].strip()
        cells = [cell.strip() for cell in said.split("," if "," in said else "\t")]
        while cells and not cells[-1]:
            cells.pop()
        if cells:
            yield line, cells


@dataclass
class _Reader:
    """Collects everything that is wrong with a topology."""

    file: str
    problems: list[str] = field(default_factory=list)

    def wrong(self, line: int, where: str, what: str) -> None:
        self.problems.append(f"{self.file}, line {line}, {where}: {what}")

    def layers(self, rows: Sequence[tuple[int, list[str]]]) -> list[Layer]:
        if not rows:
            self.problems.append(f"{self.file}: no header row; want {', '.join(COLUMNS['conv'])}")
            return []
        line, header = rows[0]
        layout = _layout(header)
        if layout is None:
            wanted = " or ".join(repr(", ".join(columns)) for columns in COLUMNS.values())
            self.wrong(line, "header", f"{', '.join(header)!r}: want {wanted}")
            return []
        more = header[len(COLUMNS[layout]) :]
        read = self._conv if layout == "conv" else self._gemm
        found = [read(line, cells, more) for line, cells in rows[1:]]
        if not found:
            self.problems.append(f"{self.file}: no layers; want a row for each below the header")
        return [layer for layer in found if layer is not None]

    def _conv(self, line: int, cells: list[str], more: list[str]) -> Layer | None:
        before = len(self.problems)
        sizes, rest = self._sizes(line, cells, "conv")
        two_strides = bool(rest) and (any("width" in name.lower() for name in more) or len(rest) > 1)
        stride_w = self._size(line, STRIDE_WIDTH, rest.pop(0)) if two_strides else sizes[-1]
        sparsity = self._sparsity(line, rest)
        if len(self.problems) > before:
            return None
        h, w, filter_h, filter_w, channels, filters, stride_h = sizes
        for side, image, size in (("Height", h, filter_h), ("Width", w, filter_w)):
            if size > image:
                self.wrong(line, f"Filter {side}", f"{size}: is larger than the image; want at most {image}")
        if len(self.problems) > before:
            return None
        return ConvLayer(
            name=cells[0],
            ifmap_h=h,
            ifmap_w=w,
            filter_h=filter_h,
            filter_w=filter_w,
            channels=channels,
            filters=filters,
            stride_h=stride_h,
            stride_w=stride_w,
            sparsity=sparsity,
        )

    def _gemm(self, line: int, cells: list[str], more: list[str]) -> Layer | None:
        before = len(self.problems)
        sizes, rest = self._sizes(line, cells, "gemm")
        sparsity = self._sparsity(line, rest)
        if len(self.problems) > before:
            return None
        m, n, k = sizes
        return GemmLayer(name=cells[0], m=m, n=n, k=k, sparsity=sparsity)

    def _sizes(self, line: int, cells: list[str], layout: Layout) -> tuple[list[int], list[str]]:
        """The numbers of a row, and the cells after them."""
        columns = COLUMNS[layout]
        if not cells[0]:
            self.wrong(line, columns[0], "missing; want the layer's name")
        if len(cells) < len(columns):
            missing = ", ".join(columns[len(cells) :])
            self.wrong(line, "row", f"{len(cells)} cells; want {len(columns)}: {missing} missing")
        sizes = [self._size(line, name, cell) for name, cell in zip(columns[1:], cells[1:], strict=False)]
        return sizes, cells[len(columns) :]

    def _size(self, line: int, column: str, cell: str) -> int:
        number = int(cell) if re.fullmatch(r"[0-9]{1,20}", cell) else 0
        if not 1 <= number <= MAX_SIZE:
            self.wrong(line, column, f"{cell!r}: want a whole number from 1 to 2^40")
            return 1
        return number

    def _sparsity(self, line: int, rest: list[str]) -> tuple[int, int]:
        if not rest:
            return (1, 1)
        if len(rest) > 1:
            self.wrong(line, "row", f"{len(rest) - 1} cells too many after {rest[0]!r}")
        match = re.fullmatch(r"([0-9]{1,6})\s*:\s*([0-9]{1,6})", rest[0])
        n, m = (int(match[1]), int(match[2])) if match else (0, 0)
        if not 1 <= n <= m:
            self.wrong(line, SPARSITY, f"{rest[0]!r}: want N:M with N of M filter weights that are not zero, as 2:4")
        return n, m


def _layout(header: Sequence[str]) -> Layout | None:
    words = [cell.lower() for cell in header]
    if words[1:4] == ["m", "n", "k"]:
        return "gemm"
    looks_conv = len(words) >= len(COLUMNS["conv"]) and "ifmap" in words[1] and "filter" in words[3]
    return "conv" if looks_conv else None


# --- writing ---------------------------------------------------------------------------------------------------------


def write_topology(topology: Topology) -> str:
    """Return the text of a topology that SCALE-Sim reads, commas at the ends of rows included."""
    kinds = {type(layer) for layer in topology.layers}
    if len(kinds) != 1:
        raise WorkloadError(f"{topology.name}: want layers of one layout, convolutions or products")
    layout: Layout = "conv" if kinds == {ConvLayer} else "gemm"
    uneven = [x.name for x in topology.layers if isinstance(x, ConvLayer) and x.stride_h != x.stride_w]
    if uneven:
        raise WorkloadError(*(f"{topology.name}: layer {name}: SCALE-Sim has one stride for both" for name in uneven))
    sparse = any(layer.sparsity != (1, 1) for layer in topology.layers)
    rows: list[tuple[str | int, ...]] = [(*COLUMNS[layout], SPARSITY) if sparse else COLUMNS[layout]]
    for layer in topology.layers:
        ratio = (f"{layer.sparsity[0]}:{layer.sparsity[1]}",) if sparse else ()
        rows.append((*layer.cells, *ratio))
    return "".join(", ".join(map(str, row)) + ",\n" for row in rows)


def topology_of(graph: Graph, layout: Layout | None = None) -> Topology:
    """The convolutions and matrix products of a graph; SCALE-Sim knows no other ops.

    As convolutions where all can be said so, else as products. An image is written with its padding, for SCALE-Sim
    has none. Raises WorkloadError where there are no products, or where ``layout`` cannot say one.
    """
    ops = [op for op in graph.ops if isinstance(op, Conv2d | Matmul)]
    if not ops:
        raise WorkloadError(f"{graph.name}: has no convolution or matrix product, and SCALE-Sim knows no other ops")
    unfit = [f"{graph.name}: op {op.name}: {why}" for op in ops for why in _unfit(op)]
    if layout == "conv" and unfit:
        raise WorkloadError(*unfit)
    chosen = layout or ("gemm" if unfit or not any(isinstance(op, Conv2d) for op in ops) else "conv")
    rows: Callable[[Conv2d | Matmul], Iterator[Layer]] = _as_convs if chosen == "conv" else _as_products
    return Topology(graph.name, tuple(layer for op in ops for layer in rows(op)))


def _unfit(op: Conv2d | Matmul) -> Iterator[str]:
    """Why an op is no row of a convolution topology."""
    if not isinstance(op, Conv2d):
        return
    if op.batch > 1:
        yield f"has a batch of {op.batch}, and a SCALE-Sim convolution has none; want batch 1, or layout gemm"
    if op.stride[0] != op.stride[1]:
        yield f"has strides {op.stride}, and a SCALE-Sim convolution has one; want layout gemm"
    if op.dilation != (1, 1):
        yield f"has dilation {op.dilation}, and a SCALE-Sim convolution has none; want layout gemm"


def _plain(name: str, *, depthwise: bool = False) -> str:
    """A name that SCALE-Sim reads as it is meant: one cell, with ``DP`` in it if depthwise and only then."""
    name = re.sub(r"[,#\s]+", "_", name.strip()) or "layer"
    if depthwise:
        return name if DEPTHWISE in name else f"{DEPTHWISE}_{name}"
    return name.replace(DEPTHWISE, "Dp")


def _as_convs(op: Conv2d | Matmul) -> Iterator[Layer]:
    if isinstance(op, Matmul):
        # A product is a filter as wide as its image: M x K, 1 x K, and N filters.
        for name in _repeats(op.name, op.batch):
            yield ConvLayer(
                name=_plain(name), ifmap_h=op.m, ifmap_w=op.k, filter_h=1, filter_w=op.k, channels=1, filters=op.n,
                stride_h=1, stride_w=1, sparsity=op.inputs[1].sparsity,
            )  # fmt: skip
        return
    depthwise = op.groups == op.c_in > 1
    rows = 1 if depthwise else op.groups
    image = [_image(op, axis) for axis in (0, 1)]
    for name in _repeats(op.name, rows):
        yield ConvLayer(
            name=_plain(name, depthwise=depthwise),
            ifmap_h=image[0],
            ifmap_w=image[1],
            filter_h=op.kh,
            filter_w=op.kw,
            channels=op.c_in // rows,
            filters=op.c_out // op.groups,
            stride_h=op.stride[0],
            stride_w=op.stride[1],
            sparsity=op.inputs[1].sparsity,
        )


def _image(op: Conv2d, axis: int) -> int:
    """Height or width of an image, padding and all, on which SCALE-Sim's rule finds as many windows as there are."""
    size, out = ((op.h_in, op.h_out), (op.w_in, op.w_out))[axis]
    reach, stride, before = (op.kh, op.kw)[axis], op.stride[axis], op.pad[axis]
    if not before and size >= reach and ceil_div(size - reach + stride, stride) == out:
        return size
    return (out - 1) * stride + reach


def _as_products(op: Conv2d | Matmul) -> Iterator[Layer]:
    product = op.gemm if isinstance(op, Conv2d) else op
    for name in _repeats(op.name, product.batch):
        yield GemmLayer(name=_plain(name), m=product.m, n=product.n, k=product.k, sparsity=product.inputs[1].sparsity)


def _repeats(name: str, count: int) -> list[str]:
    return [name] if count == 1 else [f"{name}_{i}" for i in range(count)]
