"""What is to be learned of each row: classes, their names and their order, or numbers (docs/data.md, sections 6 and 9).
Does not know features."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import copysign, isfinite
from typing import Any, Union

import numpy as np

from .errors import DataError
from .table import MAGNITUDE_MAX, WHITE_SPACE, is_missing_text, label_of

CLASSES_MAX = 65_535
# Different whole numbers that are classes, at most, where nothing else is said.
CLASSES_OF_NUMBERS_MAX = 32
NO_LABEL = "missing"
PLAIN = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class Classes:
    """`labels` is u32 `[rows]`, each the place of its class in `names`."""

    labels: np.ndarray
    names: list[str]


@dataclass(frozen=True)
class Numbers:
    """`values` is f64 `[rows, outputs]`."""

    values: np.ndarray


Targets = Union[Classes, Numbers]


def number_of(text: str) -> float | None:
    """The number that a text is, written as most programs write one; infinite where it says so. None of another text."""
    if PLAIN.fullmatch(text):
        return float(text)
    return float("inf") if re.fullmatch(r"[+-]?(inf|infinity|nan)", text, re.IGNORECASE) else None


def _texts(array: np.ndarray) -> np.ndarray | None:
    """The labels as texts; None where they are numbers. Raises DataError where some are and some are not."""
    if array.dtype.kind == "U":
        return array
    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8", "replace")
    if array.dtype.kind != "O":
        return None
    are_texts = np.frompyfunc(lambda label: isinstance(label, str), 1, 1)(array).astype(bool)
    if are_texts.all():
        return array.astype(str)
    if are_texts.any():
        raise DataError("some labels are texts and others are not, or are missing; give one of both, and leave out rows without")
    return None


def of(y: Any, task: str | None) -> Targets:
    """The targets of all rows.

    `y` is `[rows]` or `[rows, outputs]`; `task` is classify, regress, or None: then names are classes, several labels are
    numbers, and whole numbers are classes where at most 32 differ and the square of how many differ is at most twice the
    rows, or at most two do. Raises DataError."""
    if task not in (None, "classify", "regress"):
        raise DataError(f"task cannot be {task!r}: it is classify, regress or None")
    if hasattr(y, "to_numpy"):
        y = y.to_numpy()
    array = np.asarray(y)
    if array.ndim == 0 or array.size == 0:
        raise DataError("y is empty; a label for each row is needed")
    array = array.reshape(len(array), -1)
    outputs = array.shape[1]
    texts = _texts(array)
    if texts is not None:
        if task == "regress":
            raise DataError("the labels are texts, and only numbers can be fitted; say task='classify'")
        if outputs > 1:
            raise DataError("several labels are numbers, and these are texts; hand over one column")
        return _classes_of_texts(texts[:, 0])
    if array.dtype.kind == "c":
        raise DataError("Complex data not supported: labels are real numbers, or texts")
    try:
        values = array.astype(np.float64)
    except (TypeError, ValueError):
        raise DataError("the labels are neither numbers nor texts, or some are missing; leave their rows out") from None
    if not np.isfinite(values).all():
        raise DataError("some labels are no finite numbers (NaN, infinity); leave their rows out")
    values += 0.0  # -0 is 0
    task = task or _usual_task(values)
    if task == "regress":
        return Numbers(values)
    if outputs > 1:
        raise DataError(f"{outputs} labels were given for each row, and a class is one; say task='regress', or give one")
    different, labels = np.unique(values[:, 0], return_inverse=True)
    return _checked(labels, [label_of(number) for number in different])


def classes_of(y: Any) -> Classes:
    """The classes of all rows. Raises DataError."""
    told = of(y, "classify")
    assert isinstance(told, Classes)
    return told


def _usual_task(values: np.ndarray) -> str:
    if values.shape[1] > 1:
        return "regress"
    is_whole = (values == np.floor(values)) & (np.abs(values) <= MAGNITUDE_MAX)
    if not is_whole.all():
        return "regress"
    different = len(np.unique(values))
    is_few = different <= CLASSES_OF_NUMBERS_MAX and (different <= 2 or different**2 <= 2 * len(values))
    return "classify" if is_few else "regress"


def _classes_of_texts(texts: np.ndarray) -> Classes:
    different, labels = np.unique(texts, return_inverse=True)
    trimmed = [str(text).strip(WHITE_SPACE) for text in different]
    values = [number_of(text) for text in trimmed]
    is_number = [value is not None and abs(value) <= MAGNITUDE_MAX for value in values]
    by_value = all(is_it for text, is_it in zip(trimmed, is_number) if not is_missing_text(text))
    # Labels that are the same number in several forms are one class then, called by the shortest form.
    spellings: dict[Any, set[str]] = {}
    keys = []
    for text, value, is_it in zip(trimmed, values, is_number):
        key = (value or 0.0) + 0.0 if by_value and is_it else text or NO_LABEL
        spellings.setdefault(key, set()).add(text or NO_LABEL)
        keys.append(key)
    name_of = {key: min(texts, key=lambda text: (len(text.encode()), text)) for key, texts in spellings.items()}
    return _ordered(labels.reshape(-1), [name_of[key] for key in keys])


def _ordered(labels: np.ndarray, names: list[str]) -> Classes:
    """Classes in the order of their names: by value if every one is a number, else by their bytes."""
    ordered = sorted(set(names))
    values = [number_of(name) for name in ordered]
    if all(value is not None and isfinite(value) for value in values):
        by_value = sorted(zip(values, ordered), key=lambda pair: (pair[0], copysign(1.0, pair[0])))  # type: ignore
        ordered = [name for _, name in by_value]
    place_of = {name: place for place, name in enumerate(ordered)}
    return _checked(np.array([place_of[name] for name in names])[labels], ordered)


def _checked(labels: np.ndarray, names: list[str]) -> Classes:
    if len(names) == 1:
        raise DataError(f"all labels are {names[0]!r}, which is 1 class, and at least two are needed to be told apart")
    if len(names) > CLASSES_MAX:
        raise DataError(f"{len(names)} classes are more than {CLASSES_MAX}; say task='regress' if the labels are numbers")
    return Classes(labels.reshape(-1).astype(np.uint32), names)
