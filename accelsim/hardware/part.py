"""What every section of a device file is made of: numbers with their limits, names, and the section itself."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from accelsim.base.dtypes import DTYPES
from accelsim.base.errors import nearest

MAX_DIMENSION = 2**40


def whole(value: object) -> object:
    """Let ``8e9`` stand for a whole number; anything else is judged by pydantic."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _known_dtype(name: str) -> str:
    if name not in DTYPES:
        raise ValueError(f"unknown number format{nearest(name, DTYPES)}; want one of {', '.join(DTYPES)}")
    return name


Count = Annotated[
    int,
    BeforeValidator(whole),
    Field(ge=1, le=MAX_DIMENSION, strict=True, description="a whole number from 1 to 2^40"),
]
Positive = Annotated[
    float, Field(ge=1e-12, le=1e18, allow_inf_nan=False, strict=True, description="a number > 0 (1e-12 to 1e18)")
]
NonNegative = Annotated[
    float, Field(ge=0, le=1e18, allow_inf_nan=False, strict=True, description="a number >= 0 (at most 1e18)")
]
Fraction01 = Annotated[
    float, Field(ge=1e-6, le=1, allow_inf_nan=False, strict=True, description="a number > 0 and <= 1 (1e-6 or more)")
]
Flag = Annotated[bool, Field(strict=True)]
Text = Annotated[str, Field(min_length=1, description="text that is not empty")]
Name = Annotated[
    str,
    Field(pattern=r"^[a-z][a-z0-9_]*$", description="a name of small letters, digits and _ that begins with a letter"),
]
DTypeName = Annotated[str, AfterValidator(_known_dtype), Field(description="a number format")]
Rates = dict[DTypeName, Positive]
Tiles = Annotated[
    tuple[tuple[Count, Count, Count], ...],
    Field(min_length=1, description="a list of [m, n, k], each a whole number from 1 to 2^40"),
]


class Part(BaseModel):
    """A section of a device file: complete when made, never changed, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Text
    """Where the numbers come from; ``ASSUMED: ...`` where nothing is published."""
