"""What a caller hands over as data, as columns; here arrays, and which texts stand for no value. Owns which of their types are
taken. Does not know frames, or what is learned of a column."""

from __future__ import annotations

import csv
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Union

import numpy as np

from .columns import MISSING_CODE, Names
from .errors import DataError

MAGNITUDE_MAX = 1e140
# Texts that are no value, beside none at all: those of a schema whose `missing` is "default" (docs/model-file.md, section 8).
MISSING = frozenset({"", "NA", "None", "?", "-", "#N/A", "<NA>", "\\N", "."})
MISSING_IN_ANY_CASE = frozenset({"n/a", "nan", "null"})

# What stands around a text without belonging to it: Unicode's White_Space.
WHITE_SPACE = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))

Values = Union[np.ndarray, Names]


@dataclass(frozen=True)
class Column:
    """A column: its name, its kind (number, boolean or category), and f64 `[rows]` with NaN where missing, or names."""

    name: str
    kind: str
    values: Values


@functools.lru_cache(maxsize=64)
def missing_tokens(tokens: str) -> tuple[str, ...]:
    """The texts that a schema's `missing` names, among them perhaps "default"."""
    return tuple(token.strip() for token in next(csv.reader([tokens], skipinitialspace=True), []))


def is_missing_text(text: str, tokens: str = "default") -> bool:
    """Whether a text, without white space around it, stands for no value where a schema's `missing` says this."""
    named = missing_tokens(tokens)
    is_usual = "default" in named and (text in MISSING or text.lower() in MISSING_IN_ANY_CASE)
    return text == "" or is_usual or (text != "default" and text in named)


def without_missing(values: Any, absent: Sequence[float]) -> np.ndarray:
    """f64s with NaN in the place of those that stand for no value, in double precision or in single."""
    if not absent:
        return np.asarray(values)
    with np.errstate(over="ignore"):
        nearest = np.asarray(absent, np.float32).astype(np.float64)
    return np.where(np.isin(values, [*absent, *nearest]), np.nan, values)


def label_of(number: float) -> str:
    """A number as a label: without an exponent, and without a point where it is whole."""
    return format(Decimal(repr(float(number) + 0.0)), "f").removesuffix(".0")


def array_of(data: Any, what: str) -> np.ndarray:
    """As an array; of a masked one, what is masked is missing. Raises DataError where it is none."""
    if hasattr(data, "toarray") and hasattr(data, "nnz"):
        raise DataError("Sparse data was passed: gradwire takes dense rows; hand over X.toarray()")
    if isinstance(data, np.ma.MaskedArray):
        return _unmasked(data, what)
    try:
        return np.asarray(data)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{what} cannot be taken as an array: {error}") from None


def _unmasked(data: np.ma.MaskedArray, what: str) -> np.ndarray:
    if not np.ma.is_masked(data):
        return data.data
    if data.dtype.kind not in "biuf":
        raise DataError(f"{what}: values of type {data.dtype} are masked; leave their rows out, or hand over numbers")
    return data.astype(np.float64).filled(np.nan)


def numbers(values: Any, what: str) -> np.ndarray:
    """As f64, whatever numbers they are.

    Raises DataError where they are none."""
    array = array_of(values, what)
    if array.dtype.kind == "O":
        try:
            array = np.asarray(array, np.float64)
        except (TypeError, ValueError, OverflowError):
            raise DataError(
                f"{what}: these are no numbers; hand over numbers, or a frame whose columns of names are of the types "
                "category, string or object"
            ) from None
    if array.dtype.kind == "c":
        raise DataError(f"{what}: Complex data not supported: hand over real numbers")
    if array.dtype.kind not in "biuf":
        raise DataError(f"{what}: values of type {array.dtype} are no numbers")
    return array.astype(np.float64, copy=False)


def checked(values: np.ndarray, what: str) -> np.ndarray:
    """Finite, but for NaN, which is a missing value."""
    with np.errstate(invalid="ignore"):
        wrong = np.abs(values) > MAGNITUDE_MAX
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(
            f"{what}: row {row} (counted from 0) has {float(values[row])}, an infinity or a value too large for a feature (magnitudes up to "
            f"{MAGNITUDE_MAX:g} are taken); leave it out, or NaN in its place"
        )
    return values


def flat(array: np.ndarray) -> np.ndarray:
    """Rows of any shape, and any number of them, as `[rows, columns]`."""
    return array.reshape(len(array), math.prod(array.shape[1:]))


def of_matrix(data: Any) -> list[Column]:
    """The columns of an array of numbers, `[rows]` or `[rows, ...]`: of more than two dimensions a row is taken as one."""
    array = array_of(data, "X")
    if array.dtype.kind == "O":
        array = numbers(array, "X")
    if array.ndim == 0:
        raise DataError("X is a single number; rows of them are needed")
    array = flat(array)
    names = (f"column {place + 1}" for place in range(array.shape[1]))
    return [Column(name, "number", checked(numbers(array[:, place], name), name)) for place, name in enumerate(names)]


def joined(one: Column, other: Column) -> Column:
    """The rows of two columns of the same kind, one behind the other."""
    if not isinstance(one.values, Names) or not isinstance(other.values, Names):
        return Column(one.name, one.kind, np.concatenate([one.values, other.values]))  # type: ignore
    texts = list(dict.fromkeys([*one.values.texts, *other.values.texts]))
    places = {text: place for place, text in enumerate(texts)}
    of_other = np.array([places[text] for text in other.values.texts] + [MISSING_CODE])
    return Column(one.name, one.kind, Names(np.concatenate([one.values.codes, of_other[other.values.codes]]), texts))
