"""JSON as gradwire's programs write it, so that the same model is the same bytes: keys in order, nothing between, numbers
in as few digits as bring them back. Does not know what is written."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

from .errors import DataError
from .options import shown


def number(value: float) -> str:
    """An f64, with an exponent below 1e-5 and from 1e16 on."""
    if not math.isfinite(value):
        raise DataError(f"JSON has no {value}")
    sign, digits, exponent = Decimal(repr(value)).as_tuple()
    assert isinstance(exponent, int)
    kept = "".join(map(str, digits)).rstrip("0") or "0"
    # Digits before the point.
    point = len(digits) + exponent if value else 1
    if 0 < point <= 16:
        whole, part = kept[:point].ljust(point, "0"), kept[point:] or "0"
        text = f"{whole}.{part}"
    elif -5 < point <= 0:
        text = f"0.{'0' * -point}{kept}"
    else:
        text = f"{kept[0]}{'.' if len(kept) > 1 else ''}{kept[1:]}e{point - 1:+d}"
    return "-" * sign + text


def _text(value: str) -> str:
    written = json.dumps(value, ensure_ascii=False)
    if not written.isascii() and any("\ud800" <= letter <= "\udfff" for letter in written):
        raise DataError(f"{shown(value)} holds half a character (a lone surrogate), which no file can have; write it otherwise")
    return written


def dumps(value: Any) -> str:
    """A value of dicts, lists, texts, numbers, truth values and None as JSON."""
    match value:
        case None | bool() | int():
            return json.dumps(value)
        case float():
            return number(value)
        case str():
            return _text(value)
        case dict():
            return "{" + ",".join(f"{dumps(key)}:{dumps(value[key])}" for key in sorted(value)) + "}"
        case list() | tuple():
            return "[" + ",".join(map(dumps, value)) + "]"
    raise TypeError(f"{type(value)} is no JSON")
