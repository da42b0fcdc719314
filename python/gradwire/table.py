"""What a caller hands over as data: arrays and frames, as columns. Owns which of their types are taken, and as what;
nothing is inferred from values. Does not know what is learned of a column.

A *frame* is anything with the columns of a pandas DataFrame; pandas itself is not imported."""

from __future__ import annotations

import csv
import functools
import math
from collections.abc import Collection, Sequence
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


def is_frame(data: Any) -> bool:
    """Whether it has columns of their own types, as a pandas DataFrame has."""
    return hasattr(data, "columns") and hasattr(data, "dtypes") and hasattr(data, "iloc")


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


def numbers(values: Any, what: str) -> np.ndarray:
    """As f64, whatever numbers they are.

    Raises DataError where they are none."""
    array = np.asarray(values)
    if array.dtype.kind == "O":
        try:
            array = np.asarray(array, np.float64)
        except (TypeError, ValueError):
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
    if hasattr(data, "toarray") and hasattr(data, "nnz"):
        raise DataError("Sparse data was passed: gradwire takes dense rows; hand over X.toarray()")
    array = np.asarray(data)
    if array.dtype.kind == "O":
        array = numbers(array, "X")
    if array.ndim == 0:
        raise DataError("X is a single number; rows of them are needed")
    array = flat(array)
    names = (f"column {place + 1}" for place in range(array.shape[1]))
    return [Column(name, "number", checked(numbers(array[:, place], name), name)) for place, name in enumerate(names)]


def of_frame(frame: Any) -> list[Column]:
    """The columns of a frame, by their types alone: numbers, booleans, and names of the types category, string and object."""
    columns = [of_series(frame.iloc[:, place], str(name)) for place, name in enumerate(frame.columns)]
    names = [column.name for column in columns]
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise DataError(f"two columns are called {twice!r}; rename one")
    return columns


def of_series(series: Any, name: str) -> Column:
    """A column of a frame."""
    kind = getattr(series.dtype, "kind", "O")
    if kind in "iuf":
        values = series.to_numpy(dtype=np.float64, na_value=np.nan)
        return Column(name, "number", checked(values, name))
    if kind == "b":
        return Column(name, "boolean", series.to_numpy(dtype=np.float64, na_value=np.nan))
    if kind in "mMc":
        raise DataError(
            f"{name}: values of type {series.dtype} are neither numbers nor names; make numbers of them, such as seconds, "
            "or names: series.astype('category')"
        )
    return Column(name, "category", names_of(series))


def names_of(series: Any, tokens: str = "default", levels: Collection[str] = ()) -> Names:
    """The texts of a series, each different value looked at once: `str` of it without white space around it. None, NaN and NA
    are missing, and so is a text that a schema's `missing` names. A number that is written otherwise is written as one of
    `levels`, or as what is missing: a single missing value makes floats of a frame's whole numbers."""
    series = series if str(series.dtype) == "category" else series.astype("category")
    codes, values = np.asarray(series.cat.codes, np.int64), list(series.cat.categories)
    places: dict[str, int] = {}
    of_value = []
    for value in values:
        text = next((form for form in _forms(value) if form in levels or is_missing_text(form, tokens)), str(value))
        text = text.strip(WHITE_SPACE)
        of_value.append(MISSING_CODE if is_missing_text(text, tokens) else places.setdefault(text, len(places)))
    # The last one is that of the code -1.
    return Names(np.array(of_value + [MISSING_CODE])[codes], list(places))


def _forms(value: Any) -> list[str]:
    """The texts that a value may be written as, `str` of it first."""
    text = str(value).strip(WHITE_SPACE)
    is_number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not is_number or not -(2**53) <= value <= 2**53:
        return [text]
    return [text, label_of(value), str(float(value))]


def joined(one: Column, other: Column) -> Column:
    """The rows of two columns of the same kind, one behind the other."""
    if not isinstance(one.values, Names) or not isinstance(other.values, Names):
        return Column(one.name, one.kind, np.concatenate([one.values, other.values]))  # type: ignore
    texts = list(dict.fromkeys([*one.values.texts, *other.values.texts]))
    places = {text: place for place, text in enumerate(texts)}
    of_other = np.array([places[text] for text in other.values.texts] + [MISSING_CODE])
    return Column(one.name, one.kind, Names(np.concatenate([one.values.codes, of_other[other.values.codes]]), texts))


def of(data: Any) -> list[Column]:
    """The columns of an array or a frame; each has as many rows.

    Raises DataError."""
    columns = of_frame(data) if is_frame(data) else of_matrix(data)
    if not columns:
        raise DataError("0 feature(s): there are no columns, and a minimum of 1 is required")
    if len(columns[0].values) == 0:
        raise DataError("0 sample(s): there are no rows, and a minimum of 2 is required")
    return columns
