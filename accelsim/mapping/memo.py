"""What was computed once is kept: a table that fills itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Memo(dict[K, V], Generic[K, V]):
    """Values of a function of one argument by that argument; far cheaper to make and to ask than ``functools.cache``.

    >>> squares = Memo(lambda x: x * x)
    >>> squares[3], squares
    (9, {3: 9})
    """

    def __init__(self, of: Callable[[K], V]) -> None:
        super().__init__()
        self._of = of

    def __missing__(self, key: K) -> V:
        value = self[key] = self._of(key)
        return value
