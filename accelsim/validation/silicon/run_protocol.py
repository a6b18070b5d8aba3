"""How a source measured whole networks: what it counted, in which format, and whether it saw the device at all.

The files are ``hwconfigs/run_protocols/*.toml``; a protocol belongs to a source, never to a device.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Literal, TypeVar

from pydantic import Field

from accelsim.base.dtypes import DTYPES
from accelsim.base.resources import resource_dir
from accelsim.hardware.files import read_toml, validate
from accelsim.hardware.part import Count, DTypeName, Flag, Name, NonNegative, Part, Positive, Text
from accelsim.validation.silicon.build import UnmodelledError
from accelsim.validation.silicon.pages import heading, words
from accelsim.validation.silicon.rows import Measurement

V = TypeVar("V")
Texts = Annotated[tuple[Text, ...], Field(description="a list of texts")]


class Tables(Part):
    """The tables of a page, in its order, where rows do not say which they are of."""

    model: Text
    """Rows whose ``model`` contains this ..."""
    heading: Text | None = None
    """... below a heading that contains this."""
    words: Text | None = None
    """... and whose notes contain this."""
    formats: Annotated[tuple[DTypeName, ...], Field(min_length=1, description="a list of number formats")]
    overrides: Flag = False
    """What rows say of their format is not so."""
    says: Texts = ()
    """What each says besides, as ``model=base``."""


class RunProtocol(Part):
    """One way of measuring whole networks."""

    name: Name
    sources: Texts
    """Rows whose ``source`` contains one of these ..."""
    runtimes: Texts = ()
    """... whose ``runtime`` contains one of these (any, where there is none) ..."""
    scenarios: Texts = ()
    """... whose ``scenario`` begins with one of these (any, where there is none) ..."""
    models: Texts = ()
    """... whose ``model`` contains one of these (any, where there is none) ..."""
    headings: Texts = ()
    """... and whose ``notes`` contain one of these (any, where there is none)."""
    about: Text
    quantity: Literal["latency", "throughput"]
    precision: DTypeName | None = None
    """Where the row does not say."""
    precision_of: dict[Text, DTypeName] = {}  # noqa: RUF012 - pydantic copies it
    """The same for networks whose ``model`` contains the key."""
    casts: dict[DTypeName, DTypeName] = {}  # noqa: RUF012 - pydantic copies it
    """What a compiler makes of a row's format."""
    batch: Count | None = None
    """Where the row does not say."""
    batch_of: dict[Text, Count] = {}  # noqa: RUF012 - pydantic copies it
    """The same for networks whose ``model`` contains the key."""
    sequence: Count | None = None
    """Mean length of sequences, where they come as long as they are and nothing pads them."""
    pads: dict[Text, Count] = {}  # noqa: RUF012 - pydantic copies it
    """Lengths to which sequences are padded, by the network's parameter, where shapes are compiled in."""
    batch_is_per_core: Flag = False
    """Every core runs a batch of its own."""
    instance_cores: dict[Text, Count] = {}  # noqa: RUF012 - pydantic copies it
    """Networks whose ``model`` contains the key run in instances of so many cores, each with batches of its own."""
    counts_cores: Flag = False
    """``n_devices`` is of cores."""
    host_s: NonNegative = 0.0
    """Of the host's work that a step's time holds [s]."""
    host_bytes_per_s: Positive | None = None
    """Of inputs that the host prepares beside the device; a throughput is no higher than that."""
    software: Flag = False
    """What was measured is the software's doing (queues, eager frameworks): the row stays, apart from the medians."""
    software_below_batch: Count | None = None
    """The same for smaller batches."""
    software_below_growth: NonNegative = 0.0
    """The same for steps shorter than so many of the shortest in their table: time that does not grow with the batch is
    not the device's."""
    fuses: Flag = True
    """Elementwise functions are done by the product before them; else each is a kernel of its own."""
    fuses_attention: Flag = True
    """Attention is one kernel where there is one for the device; else products, scale, mask and softmax are kernels."""
    threads_wait: Flag = False
    """Notes say how many threads ask how many cores; a latency holds the wait for a core."""
    direct_ops: NonNegative | None = None
    """Turns of a GPU's lane that its kernels take for each multiply-accumulate of a direct convolution, where that is
    not as the family's file says."""
    in_flight: Annotated[tuple[NonNegative, NonNegative] | None, Field(description="two numbers")] = None
    """Least and most of (batches of all cores over latency) over throughput; beyond them a row is not of one run."""
    tables: tuple[Tables, ...] = ()

    def specificity(self, row: Measurement) -> int | None:
        """How much of a row it says; None where it is not the row's."""
        total = 0
        for wanted, text, begins in (
            (self.sources, row.text("source"), False),
            (self.runtimes, row.text("runtime"), False),
            (self.scenarios, row.text("scenario"), True),
            (self.models, row.text("model"), False),
            (self.headings, row.text("notes"), False),
        ):
            fitting = [w for w in wanted if (text.startswith(w) if begins else w in text)]
            if wanted and not fitting:
                return None
            total += max(map(len, fitting), default=0)
        return total

    def told(self, row: Measurement, place: int) -> Measurement:
        """The row with what its table says of it; ``place``: of its page's tables which."""
        for tables in self.tables:
            if tables.model not in row.text("model") or (tables.heading or "") not in heading(row):
                continue
            if (tables.words or "") not in words(row):
                continue
            cells = dict(row.cells)
            if (tables.overrides or not _said(row)) and place < len(tables.formats):
                cells["precision"] = tables.formats[place]
            if place < len(tables.says):
                cells["notes"] = f"{row.text('notes')}; {tables.says[place]}"
            return Measurement(row.number, cells)
        return row


@cache
def run_protocols() -> tuple[RunProtocol, ...]:
    """All that ship, by name."""
    files = sorted((resource_dir("hwconfigs") / "run_protocols").glob("*.toml"))
    return tuple(validate(RunProtocol, read_toml(file, file.name), file.name) for file in files)


def run_protocol_of(row: Measurement) -> RunProtocol:
    """The protocol that says most of a row. Raises UnmodelledError where none says how it was measured."""
    fitting = [(score, p) for p in run_protocols() if (score := p.specificity(row)) is not None]
    if not fitting:
        raise UnmodelledError(f"measured by {row.text('source').split(':')[0]}, for which there is no protocol")
    return max(fitting, key=lambda pair: pair[0])[1]


_SPELLINGS = {
    "amp": "fp16",
    "mixed precision": "fp16",
    "mixed": "fp16",
    "half": "fp16",
    "bfloat16": "bf16",
    "float16": "fp16",
    "fp32, bf16": "fp32",
}


def precision_of(row: Measurement, protocol: RunProtocol) -> str:
    """The format of a row: what it says, else what its source does. Raises UnmodelledError where neither says."""
    said = _said(row)
    if said:
        return protocol.casts.get(said, said)
    found = of_model(protocol.precision_of, row) or protocol.precision
    if found is None:
        raise UnmodelledError("the format is not said")
    return found


def of_model(by_model: Mapping[str, V], row: Measurement) -> V | None:
    """What a table says of networks whose ``model`` contains its key; None where it says nothing of the row's."""
    return next((value for key, value in by_model.items() if key in row.text("model")), None)


def _said(row: Measurement) -> str:
    """The format in the row's cell, or nothing."""
    cell = row.text("precision").strip().strip('"').lower()
    said = _SPELLINGS.get(cell, cell)
    first = said.replace(",", " ").split()[0] if said.split() else ""
    return next((name for name in (said, first) if name in DTYPES), "")
