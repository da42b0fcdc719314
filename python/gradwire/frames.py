"""Frames: what has columns of their own types, as a pandas DataFrame has. Owns which of their types are taken, and as what; pandas
itself is not imported. Nothing is inferred from values. Does not know what is learned of a column."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from .columns import MISSING_CODE, Names
from .errors import DataError
from .options import shown
from .table import WHITE_SPACE, Column, checked, is_missing_text, label_of, of_matrix

TRUTHS = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}
# Values of an object column that are neither numbers nor names, by their types or, of pandas', by what these are called.
REFUSED = datetime.date, datetime.time, datetime.timedelta, np.datetime64, np.timedelta64, Decimal
REFUSED_NAMES = frozenset({"Period"})


def is_frame(data: Any) -> bool:
    """Whether it has columns of their own types, as a pandas DataFrame has. Raises DataError of another library's table, whose
    names would be lost if it were taken as an array."""
    has_columns = hasattr(data, "columns")
    if has_columns and hasattr(data, "dtypes") and hasattr(data, "iloc"):
        return True
    if has_columns or hasattr(data, "column_names"):
        kind = type(data)
        module = kind.__module__.partition(".")[0]
        raise DataError(f"a {module} {kind.__name__} is no frame that this package reads: hand over .to_pandas() of it")
    return False


def of(data: Any) -> list[Column]:
    """The columns of an array or a frame; each has as many rows.

    Raises DataError."""
    columns = of_frame(data) if is_frame(data) else of_matrix(data)
    if not columns:
        raise DataError("0 feature(s): there are no columns, and a minimum of 1 is required")
    if len(columns[0].values) == 0:
        raise DataError("0 sample(s): there are no rows, and a minimum of 2 is required")
    return columns


def of_frame(frame: Any) -> list[Column]:
    """The columns of a frame, by their types alone: numbers, booleans, and names of the types category, string and object."""
    names = [str(name) for name in frame.columns]
    twice = twice_among(names)
    if twice is not None:
        raise DataError(f"two columns are called {twice!r}; rename one")
    return [of_series(frame.iloc[:, place], name) for place, name in enumerate(names)]


def twice_among(names: Sequence[str]) -> str | None:
    """The first name that stands twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def of_series(series: Any, name: str) -> Column:
    """A column of a frame."""
    kind = getattr(series.dtype, "kind", "O")
    if kind in "iuf":
        values = series.to_numpy(dtype=np.float64, na_value=np.nan)
        return Column(name, "number", checked(values, name))
    if kind == "b":
        return Column(name, "boolean", series.to_numpy(dtype=np.float64, na_value=np.nan))
    if kind in "mMc":
        raise _neither(name, str(series.dtype))
    names, values = _names_and_values(series, name)
    if str(series.dtype) != "category":
        wrong = next((value for value in values if _is_refused(value)), None)
        if wrong is not None:
            raise _neither(name, type(wrong).__name__)
    return Column(name, "category", names)


def _is_refused(value: Any) -> bool:
    return isinstance(value, REFUSED) or type(value).__name__ in REFUSED_NAMES


def _neither(name: str, kind: str) -> DataError:
    return DataError(
        f"{name}: values of type {kind} are neither numbers nor names; make numbers of them (of dates seconds, of decimals floats), or "
        "names: series.astype('category')"
    )


def booleans_of(series: Any, name: str, tokens: str) -> np.ndarray:
    """f64 of a column that was boolean in training: beside truth values and numbers the texts true, yes, false and no, and the
    truth values of an object column, which it becomes where one is missing."""
    if getattr(series.dtype, "kind", "O") in "biuf":
        return of_series(series, name).values  # type: ignore
    names = names_of(series, tokens, name=name)
    wrong = next((text for text in names.texts if text.lower() not in TRUTHS), None)
    if wrong is not None:
        raise DataError(f"{name} holds {shown(wrong)}, and the model learned true and false there")
    return np.array([TRUTHS[text.lower()] for text in names.texts] + [np.nan])[names.codes]


def names_of(series: Any, tokens: str = "default", levels: Collection[str] = (), name: str = "a column") -> Names:
    """The texts of a series, each different value looked at once: `str` of it without white space around it. None, NaN and NA
    are missing, and so is a text that a schema's `missing` names. A number that is written otherwise is written as one of
    `levels`, or as what is missing: a single missing value makes floats of a frame's whole numbers."""
    return _names_and_values(series, name, tokens, levels)[0]


def _names_and_values(
    series: Any, name: str, tokens: str = "default", levels: Collection[str] = ()
) -> tuple[Names, list[Any]]:
    try:
        series = series if str(series.dtype) == "category" else _told_apart(series).astype("category")
    except TypeError:
        text = f"{name} holds values that are neither numbers nor texts, such as lists; make columns of what they hold"
        raise DataError(text) from None
    except UnicodeError as error:
        raise DataError(f"{name} holds a text that is none: {error}") from None
    codes, values = np.asarray(series.cat.codes, np.int64), list(series.cat.categories)
    places: dict[str, int] = {}
    of_value = []
    for value in values:
        text = next((form for form in _forms(value) if form in levels or is_missing_text(form, tokens)), str(value))
        text = text.strip(WHITE_SPACE)
        of_value.append(MISSING_CODE if is_missing_text(text, tokens) else places.setdefault(text, len(places)))
    # The last one is that of the code -1.
    return Names(np.array(of_value + [MISSING_CODE])[codes], list(places)), values


def _told_apart(series: Any) -> Any:
    """An object column in which truth values are texts, where numbers are beside them: True and 1 are equal, and the first of both
    in the rows would name their category."""
    if str(series.dtype) != "object":
        return series
    kinds = set(map(type, series))
    others = kinds - {bool, np.bool_}
    if kinds == others or not any(issubclass(kind, (int, float, np.number)) for kind in others):
        return series
    return series.map(lambda value: str(value) if isinstance(value, (bool, np.bool_)) else value)


def _forms(value: Any) -> list[str]:
    """The texts that a value may be written as, `str` of it first."""
    text = str(value).strip(WHITE_SPACE)
    is_number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not is_number or not -(2**53) <= value <= 2**53:
        return [text]
    return [text, label_of(value), str(float(value))]
