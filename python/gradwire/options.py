"""Options as callers hand them over: numpy's scalars and arrays as plain numbers and lists, and what is no such number refused.
Does not know what an option means."""

from __future__ import annotations

import math
import operator
import os
import reprlib
from typing import Any

import numpy as np

from .errors import DataError

_SHOWN = reprlib.Repr()
_SHOWN.maxstring = _SHOWN.maxother = _SHOWN.maxlong = 80
_SHOWN.maxlist = _SHOWN.maxtuple = _SHOWN.maxdict = 8


def plain(value: Any) -> Any:
    """A numpy scalar or array as Python's own number, text or list; anything else as it is."""
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value


def shown(value: Any) -> str:
    """A value for a sentence, cut where it is long."""
    return _SHOWN.repr(plain(value))


def whole(name: str, value: Any, least: int, most: int = (1 << 32) - 1) -> int:
    """A whole number within these bounds. Raises DataError."""
    try:
        number = operator.index(plain(value))
    except TypeError:
        number = least - 1
    if not least <= number <= most:
        raise DataError(f"{name} cannot be {shown(value)}: it is a whole number from {least} to {most}")
    return number


def real(name: str, value: Any) -> float:
    """A number, perhaps infinite. Raises DataError."""
    value = plain(value)
    try:
        number = float(value) if isinstance(value, (int, float)) else math.nan
    except OverflowError:
        number = math.nan
    if math.isnan(number):
        raise DataError(f"{name} cannot be {shown(value)}: it is a number")
    return number


def text(name: str, value: Any) -> str:
    """A text, or a path as one. Raises DataError."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str):
        raise DataError(f"{name} cannot be {shown(value)}: it is a text")
    return str(value)
