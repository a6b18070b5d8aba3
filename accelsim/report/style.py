"""How figures look, and how they become the same bytes every time.

Okabe and Ito's colours (jfly.uni-koeln.de/color), told apart by hatch or marker too, so that they survive grey print;
8 pt labels and 7 pt text in figures of 3.33 in (a column) or 7 in (a page). The fonts are matplotlib's own.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, cast

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from accelsim.report.scale import prefix, thousands

COLUMN_IN = 3.33
PAGE_IN = 7.0
DPI = 250
TEXT_PT = 7.0

BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, YELLOW, GREY = "#E69F00", "#56B4E9", "#F0E442", "#B8B8B8"
INK = "#222222"

COLORS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, "#000000", "#8C6D1F")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "h", "d")
LINES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (5, 1.2, 1, 1.2)))

COMPONENT_STYLE = {
    "mac": (BLUE, ""),
    "register": (SKY, "//////"),
    "sram": (GREEN, "....."),
    "dram": (ORANGE, "xxxxx"),
    "link": (YELLOW, r"\\\\\\"),
    "static": ("#D9D9D9", ""),
}
"""Colour and hatch of each part of the energy."""

BOUND_STYLE = {
    "compute": (BLUE, ""),
    "dram": (ORANGE, "xxxxx"),
    "sram": (GREEN, "....."),
    "link": (YELLOW, r"\\\\\\"),
    "latency": ("#D9D9D9", ""),
    "host": (PURPLE, "//////"),
}
"""Colour and hatch of each limit; what is also a part of the energy looks the same there."""


def ink(color: str) -> str:
    """Darken a colour, so that text in it can be read on white.

    >>> ink("#56B4E9")
    '#3C7DA2'
    """
    return "#" + "".join(f"{round(int(color[i : i + 2], 16) * 0.695):02X}" for i in (1, 3, 5))


_RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "mathtext.fontset": "dejavusans",
    "font.size": TEXT_PT,
    "axes.labelsize": 8.0,
    "xtick.labelsize": TEXT_PT,
    "ytick.labelsize": TEXT_PT,
    "legend.fontsize": TEXT_PT,
    "axes.linewidth": 0.6,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.linewidth": 0.4,
    "grid.color": "#E3E3E3",
    "lines.linewidth": 1.1,
    "lines.markersize": 3.6,
    "hatch.linewidth": 0.4,
    "patch.linewidth": 0.5,
    "legend.frameon": False,
    "legend.handlelength": 1.4,
    "legend.columnspacing": 1.0,
    "legend.handletextpad": 0.5,
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "accelsim",
    "savefig.dpi": DPI,
}


@contextmanager
def paper() -> Iterator[None]:
    """Set the look, whatever the user's own matplotlib settings are."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        cast(Any, matplotlib.rcParams).update(_RC)
        yield


def new_figure(width_in: float, height_in: float) -> Figure:
    """Make a figure with a canvas of its own, outside pyplot's list of figures."""
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def figure_bytes(figure: Figure, kind: Literal["pdf", "png", "svg"]) -> bytes:
    """Write the figure as a file's bytes, with no date, program or version in them."""
    metadata: dict[str, dict[str, None]] = {
        "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
        "png": {"Software": None},
        "svg": {"Date": None, "Creator": None},
    }
    out = io.BytesIO()
    with paper():
        figure.savefig(out, format=kind, dpi=DPI, metadata=metadata[kind])
    return out.getvalue()


def save_figure(figure: Figure, folder: Path | str, stem: str) -> tuple[Path, Path]:
    """Write ``stem.pdf`` and ``stem.png`` into ``folder``, which is made where it is missing."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    pdf, png = target / f"{stem}.pdf", target / f"{stem}.png"
    pdf.write_bytes(figure_bytes(figure, "pdf"))
    png.write_bytes(figure_bytes(figure, "png"))
    return pdf, png


def log_ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Round numbers from ``low`` to ``high``: 1, 2, 5 steps over a short range, then decades, then every n-th one.

    >>> log_ticks(0.8, 30), log_ticks(1e3, 1e9)
    ([1.0, 2.0, 5.0, 10.0, 20.0], [1000.0, 10000.0, 100000.0, 1000000.0, 10000000.0, 100000000.0, 1000000000.0])
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    slack = 1 + 1e-9
    for steps in ((1, 2, 5), (1, 3), (1,)):
        ticks = [float(f"{s}e{e}") for e in range(first, last + 1) for s in steps]
        ticks = [tick for tick in ticks if low / slack <= tick <= high * slack]
        if len(ticks) <= most:
            return ticks if len(ticks) > 1 else _linear_ticks(low, high)
    return ticks[:: math.ceil(len(ticks) / most)]


def _linear_ticks(low: float, high: float) -> list[float]:
    """Two or three round numbers inside less than a decade."""
    step = 10.0 ** math.floor(math.log10(high - low))
    ticks = [float(f"{n * step:.6g}") for n in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return ticks[:: max(1, math.ceil(len(ticks) / 4))]


def log_axis(
    axes: Axes, which: Literal["x", "y"], values: Sequence[float], unit: str = "", *, room: float = 1.5
) -> None:
    """Make an axis logarithmic over the positive ``values``, with readable ticks (``10 G``, ``0.5``)."""
    positive = [v for v in values if v > 0 and math.isfinite(v)] or [1.0]
    low, high = min(positive) / room, max(positive) * room
    ticks = log_ticks(low, high)
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    (axes.set_xlim if which == "x" else axes.set_ylim)(low, high)
    set_ticks(axis, ticks, [tick_label(tick, unit) for tick in ticks])


def set_ticks(axis: Any, places: Sequence[float], names: Sequence[str]) -> None:
    """Put these ticks on an axis, and no others."""
    axis.set_major_locator(FixedLocator(list(places)))
    axis.set_major_formatter(FixedFormatter(list(names)))
    axis.set_minor_locator(NullLocator())


def tick_label(value: float, unit: str = "") -> str:
    """Label of a tick: ``0.01``, ``20``, ``5 G``.

    >>> tick_label(0.01), tick_label(20.0), tick_label(5e9), tick_label(1e-6)
    ('0.01', '20', '5 G', '1 µ')
    """
    if 1e-3 <= value < 1e3:
        return f"{value:g} {unit}".rstrip()
    power = thousands(value)
    return f"{value / 1000.0**power:g} {prefix(power)}{unit}"
