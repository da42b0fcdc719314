"""What is to be learned of each row: classes, their names and their order, or numbers (docs/data.md, sections 6 and 9).
Does not know features."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from math import copysign, isfinite
from typing import Any, Union

import numpy as np

from .errors import DataError
from .options import shown
from .table import MAGNITUDE_MAX, WHITE_SPACE, array_of, is_missing_text, label_of

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


def texts_of(array: np.ndarray) -> np.ndarray | None:
    """The labels as texts; None where they are numbers. Raises DataError where some are and some are not."""
    if array.dtype.kind == "U":
        return array
    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8", "replace")
    if array.dtype.kind != "O":
        return None
    are_texts = np.asarray(np.frompyfunc(lambda label: isinstance(label, str), 1, 1)(array), bool)
    if are_texts.all():
        return array.astype(str)
    if are_texts.any():
        raise DataError("some labels are texts and others are not, or are missing; give one of both, and leave out rows without")
    return None


def labels_of(y: Any) -> np.ndarray:
    """Labels as an array. Raises DataError of dates and durations, and of labels that are masked or missing among others of no type
    of their own."""
    if hasattr(y, "to_numpy"):
        y = y.to_numpy()
    if np.ma.is_masked(y):
        raise DataError("some labels are masked; leave their rows out")
    array = array_of(y, "y")
    if array.dtype.kind in "mM":
        raise DataError(
            f"labels of type {array.dtype} are neither numbers nor classes: make numbers of them, such as seconds, or texts"
        )
    if array.dtype.kind == "O" and array.ndim > 0 and np.frompyfunc(_is_missing, 1, 1)(array).any():
        raise DataError("some labels are missing (None, NaN or NA); leave their rows out")
    return array


def _is_missing(label: Any) -> bool:
    # pandas' NA is not equal to anything, and says so by being neither true nor false.
    return label is None or type(label).__name__ in ("NAType", "NaTType") or (isinstance(label, float) and label != label)


def name_of(label: Any) -> str:
    """What the class of a label is called where it is alone. Raises DataError where it is no label."""
    if isinstance(label, bytes):
        label = label.decode("utf-8", "replace")
    if isinstance(label, str):
        return label.strip(WHITE_SPACE) or NO_LABEL
    try:
        return label_of(float(label))
    except (TypeError, ValueError, OverflowError, ArithmeticError):
        raise DataError(f"{shown(label)} is no label: it is a text or a number") from None


def of(y: Any, task: str | None) -> Targets:
    """The targets of all rows.

    `y` is `[rows]` or `[rows, outputs]`; `task` is classify, regress, or None: then names are classes, several labels are
    numbers, and whole numbers are classes where at most 32 differ and the square of how many differ is at most twice the
    rows, or at most two do. Raises DataError."""
    if task not in (None, "classify", "regress"):
        raise DataError(f"task cannot be {shown(task)}: it is classify, regress or None")
    array = labels_of(y)
    if array.ndim == 0 or array.size == 0:
        raise DataError("y is empty; a label for each row is needed")
    array = array.reshape(len(array), -1)
    outputs = array.shape[1]
    texts = texts_of(array)
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
    except (TypeError, ValueError, OverflowError):
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
    if _are_merged(array[:, 0], different):
        raise _merged()
    return _checked(labels, [label_of(number) for number in different])


def _are_merged(labels: np.ndarray, different: np.ndarray) -> bool:
    """Whether whole numbers that differ are one f64."""
    if different[0] > -(2**53) and different[-1] < 2**53:
        return False
    if labels.dtype.kind == "O":
        whole = {int(label) for label in labels if isinstance(label, (int, np.integer))}
        return len(set(map(float, whole))) < len(whole)
    return labels.dtype.kind in "iu" and len(np.unique(labels)) > len(different)


def _merged() -> DataError:
    return DataError(
        f"some labels are whole numbers beyond {2**53} that differ in digits which floats do not have, and would become one "
        f"class; hand over texts that are no numbers, such as 'id {2**53 + 1}'"
    )


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
    if any(_are_numbers(key, texts) for key, texts in spellings.items()):
        raise _merged()
    name_of = {key: min(texts, key=lambda text: (len(text.encode("utf-8", "surrogatepass")), text)) for key, texts in spellings.items()}
    return _ordered(labels.reshape(-1), [name_of[key] for key in keys])


def _are_numbers(key: Any, texts: set[str]) -> bool:
    """Whether texts of one f64 are several whole numbers."""
    return len(texts) > 1 and isinstance(key, float) and abs(key) >= 2**53 and len({Decimal(text) for text in texts}) > 1


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
        raise DataError(f"all labels are {shown(names[0])}, which is 1 class, and at least two are needed to be told apart")
    if len(names) > CLASSES_MAX:
        raise DataError(f"{len(names)} classes are more than {CLASSES_MAX}; say task='regress' if the labels are numbers")
    return Classes(labels.reshape(-1).astype(np.uint32), names)
