"""How a raw row becomes a network's inputs: every column, its kind, and what was learned of it (docs/model-file.md, section
8). Owns the schema, its JSON, and which column of an array or a frame is which; does not know how a schema was learned."""

from __future__ import annotations

import calendar
import logging
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from . import frames, table
from .columns import IDENTITY, Categories, Names, Number
from .errors import DataError
from .targets import number_of

FORMAT = "gradwire schema 1"
# What may stand between groups of three digits where a blank may.
BLANKS = " '\u2019\xa0\u202f"

log = logging.getLogger("gradwire")


class Encoder(Protocol):
    """What was learned of a column that becomes inputs."""

    @property
    def width(self) -> int:
        """Inputs of a value."""

    def encode(self, values: Any, inputs: np.ndarray, column: str) -> None:
        """Puts a column's values into f32 `[rows, width]`. Raises DataError."""

    def names(self, column: str) -> list[str]:
        """The names of the inputs."""

    def scales(self) -> list[tuple[float, float]]:
        """Mean and inverse deviation of each input."""

    def clips(self) -> list[bool]:
        """Of which inputs what lies far off is clipped."""

    def to_json(self) -> dict[str, Any]:
        """All of it, without the column's name and kind."""


@dataclass(frozen=True)
class Date:
    """A column of dates, which this package knows of and does not read."""

    about: Mapping[str, Any]

    @property
    def width(self) -> int:
        return len(self.scales())

    def encode(self, values: Any, inputs: np.ndarray, column: str) -> None:
        raise DataError(f"{column} holds dates, which this package does not read: use `client predict`")

    def names(self, column: str) -> list[str]:
        week = [f"{column}={day}" for day in calendar.day_name]
        hour, missing = [f"{column} hour"] * ("hour_mean" in self.about), [f"{column} missing"] * self._is_marked
        return [column, *week, *hour, *missing]

    def scales(self) -> list[tuple[float, float]]:
        told = [(float(self.about["mean"]), float(self.about["inverse_deviation"]))] + [IDENTITY] * 7
        if "hour_mean" in self.about:
            told.append((float(self.about["hour_mean"]), float(self.about["hour_inverse_deviation"])))
        return told + [IDENTITY] * self._is_marked

    def clips(self) -> list[bool]:
        is_clipped = bool(self.about.get("smooth_clip", False))
        hour = [is_clipped] * ("hour_mean" in self.about)
        return [is_clipped] + [False] * 7 + hour + [False] * self._is_marked

    @property
    def _is_marked(self) -> bool:
        return bool(self.about.get("missing_mark", False))

    def to_json(self) -> dict[str, Any]:
        return dict(self.about)


@dataclass(frozen=True)
class SchemaColumn:
    """What became of a column. `encoder` is None where it is no input; `about` is the rest of its JSON."""

    name: str
    kind: str
    encoder: Encoder | None
    about: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {**self.about, **(self.encoder.to_json() if self.encoder else {}), "name": self.name, "kind": self.kind}


@dataclass(frozen=True)
class Scale:
    """A target's name, mean and deviation."""

    name: str
    mean: float
    deviation: float


@dataclass(frozen=True)
class Schema:
    """Columns in the order of the data."""

    columns: Sequence[SchemaColumn]
    missing: str = "default"

    @property
    def learned(self) -> list[tuple[str, Encoder]]:
        """The columns that become inputs, by their names."""
        return [(column.name, column.encoder) for column in self.columns if column.encoder]

    @property
    def width(self) -> int:
        """Inputs of a row."""
        return sum(encoder.width for _, encoder in self.learned)

    def names(self) -> list[str]:
        """The names of the inputs."""
        return [name for column, encoder in self.learned for name in encoder.names(column)]

    def scales(self) -> list[tuple[float, float]]:
        """Mean and inverse deviation of each input."""
        return [scale for _, encoder in self.learned for scale in encoder.scales()]

    def clips(self) -> list[bool]:
        """Of which inputs what lies far off is clipped."""
        return [is_clipped for _, encoder in self.learned for is_clipped in encoder.clips()]

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, "missing": self.missing, "columns": [column.to_json() for column in self.columns]}

    @staticmethod
    def from_json(value: Any) -> Schema:
        """What `to_json` or gradwire's client has written. Raises ValueError, KeyError or TypeError of anything else."""
        if value["format"] != FORMAT:
            raise ValueError(f"the schema's format is {value['format']!r}")
        return Schema([_column(column) for column in value["columns"]], str(value["missing"]))

    @staticmethod
    def of_numbers(
        names: Sequence[str], scales: Sequence[tuple[float, float]], clips: Sequence[bool] | None = None
    ) -> Schema:
        """Of a model that has none: columns of plain numbers, none of which may be missing."""
        clips = [False] * len(scales) if clips is None else clips
        numbers = [Number(*scale, None, is_clipped=is_clipped) for scale, is_clipped in zip(scales, clips, strict=True)]
        return Schema([SchemaColumn(name, "number", number, {}) for name, number in zip(names, numbers)])

    def places(self, data: Any) -> list[int]:
        """Where each column that becomes inputs stands in an array or a frame.

        In a frame they are found by their names. An array has all columns, all but the label, or those that become inputs;
        so has a frame where the model was trained from an array. Raises DataError."""
        learned = [place for place, column in enumerate(self.columns) if column.encoder]
        names = [column.name for column in self.columns]
        is_frame = frames.is_frame(data)
        width = len(data.columns) if is_frame else _width(data)
        if is_frame and names != [f"column {place + 1}" for place in range(len(names))]:
            told = [str(name) for name in data.columns]
            there = {name: place for place, name in enumerate(told)}
            absent = [names[place] for place in learned if names[place] not in there]
            if absent:
                raise DataError(f"the frame lacks the columns {', '.join(map(repr, absent))}, which the model was trained on")
            needed = {names[place] for place in learned}
            twice = frames.twice_among([name for name in told if name in needed])
            if twice is not None:
                text = f"two columns of the frame are called {twice!r}, which the model was trained on; rename or drop one"
                raise DataError(text)
            return [there[names[place]] for place in learned]
        unlabelled = [place for place, column in enumerate(self.columns) if column.about.get("becomes") != "label"]
        for known in (learned, unlabelled, list(range(len(self.columns)))):
            if width == len(known):
                return [known.index(place) for place in learned]
        raise DataError(f"X has {width} features, but the model is expecting {len(learned)} features as input")

    def inputs(self, data: Any) -> np.ndarray:
        """Rows as a network takes them: f32 `[rows, inputs]`. Raises DataError."""
        rows = self.coded(data)
        return rows.inputs(0, len(rows))

    def coded(self, data: Any) -> Coded:
        """The rows of an array or a frame, whose inputs may be had in parts. Raises DataError."""
        places = self.places(data)
        array = None if frames.is_frame(data) else table.array_of(data, "X")
        rows = len(data) if array is None else len(array)
        learned = [column for column in self.columns if column.encoder]
        blocks = []
        for place, column in zip(places, learned):
            values: table.Values
            if array is None:
                values = self._of_series(data.iloc[:, place], column)
            elif isinstance(column.encoder, Categories):
                raise DataError(f"{column.name} holds names, and an array holds numbers: hand over a frame")
            else:
                told = table.checked(table.numbers(table.flat(array)[:, place], column.name), column.name)
                values = table.without_missing(told, absent_numbers(column, self.missing))
            blocks.append(_block(column, values, rows))
        return Coded(rows, self.width, [(column.encoder, block) for column, block in zip(learned, blocks)])

    def _of_series(self, series: Any, column: SchemaColumn) -> table.Values:
        """A frame's column as the one of the schema takes it."""
        if isinstance(column.encoder, Categories):
            names = frames.names_of(series, self.missing, frozenset(column.encoder.levels), column.name)
            _warn_of_unknown(column.name, column.encoder, names)
            return names
        if isinstance(column.encoder, Date):
            return np.empty(0)
        if column.kind == "boolean" and isinstance(column.encoder, Number):
            return frames.booleans_of(series, column.name, self.missing)
        told = frames.of_series(series, column.name)
        if told.kind == "category" and isinstance(column.encoder, Number):
            raise DataError(f"{column.name} holds names, and the model learned numbers there")
        if told.kind == "number":
            return table.without_missing(told.values, absent_numbers(column, self.missing))
        return told.values


@dataclass(frozen=True)
class Coded:
    """Rows of which inputs are made: of a column the inputs, f32 `[rows, width]`, or of categories the place that is 1, `[rows]`.
    The inputs of all rows would take a thousand times as much where there are as many categories."""

    rows: int
    width: int
    blocks: Sequence[tuple[Any, np.ndarray]]

    def __len__(self) -> int:
        return self.rows

    def inputs(self, start: int, end: int) -> np.ndarray:
        """Those of the rows from `start` to before `end`: f32 `[rows, inputs]`."""
        inputs = np.empty((max(min(end, self.rows) - start, 0), self.width), np.float32)
        at = 0
        for encoder, block in self.blocks:
            part = inputs[:, at : at + encoder.width]
            if isinstance(encoder, Categories):
                encoder.put(block[start:end], part)
            else:
                part[:] = block[start:end]
            at += encoder.width
        return inputs


def _block(column: SchemaColumn, values: Any, rows: int) -> np.ndarray:
    """What `Coded` keeps of a column."""
    encoder = column.encoder
    assert encoder is not None
    if isinstance(encoder, Categories):
        return encoder.places(values, column.name)
    block = np.empty((rows, encoder.width), np.float32)
    encoder.encode(values, block, column.name)
    return block


def absent_numbers(column: SchemaColumn, tokens: str) -> list[float]:
    """The numbers that stand for no value in a column: those that texts for none are, as the column's numbers are written."""
    written, ornament = str(column.about.get("written", "1234.5")), str(column.about.get("ornament", ""))
    grouped = {"1,234.5": ",", "1.234,5": ".", "1 234.5": BLANKS, "1 234,5": BLANKS}.get(written)

    def number(token: str) -> float | None:
        text = token.strip(f" {ornament}")
        if grouped:
            text = re.sub(rf"(?<=\d)[{re.escape(grouped)}](?=\d{{3}}(?!\d))", "", text)
        if "," in written[-2:]:
            text = text.replace(".", "?").replace(",", ".")
        return number_of(text)

    found = map(number, table.missing_tokens(tokens))
    return [value for value in found if value is not None and abs(value) <= table.MAGNITUDE_MAX]


def _warn_of_unknown(name: str, encoder: Categories, names: Names) -> None:
    are_unknown = encoder.are_unknown(names)
    count = int(are_unknown.sum())
    if count > 0:
        first = int(are_unknown.argmax())
        text, have = names.texts[names.codes[first]], "has" if count == 1 else "have"
        log.warning(
            "%s: %d of %d rows %s a category that was rare or unknown in training, first %r in row %d (counted from 0)",
            name, count, len(names), have, text, first,
        )  # fmt: skip


def _width(data: Any) -> int:
    shape = table.array_of(data, "X").shape
    if len(shape) < 2:
        raise DataError("Expected 2D array, got 1D array instead: rows of features are needed. Reshape your data")
    return int(np.prod(shape[1:]))


def _column(value: Mapping[str, Any]) -> SchemaColumn:
    about = {key: rest for key, rest in value.items() if key not in ("name", "kind")}
    match value["becomes"]:
        case "number":
            fill = value["fill"]
            _check_scale(value["mean"], value["inverse_deviation"])
            if fill is not None and not math.isfinite(fill):
                raise ValueError(f"a missing number cannot become {fill}")
            encoder: Encoder | None = Number(
                float(value["mean"]), float(value["inverse_deviation"]), None if fill is None else float(fill),
                bool(value.get("missing_mark", False)), bool(value.get("smooth_clip", False)),
            )  # fmt: skip
        case "categories":
            levels, missing = tuple(map(str, value["levels"])), value["missing"]
            is_place = isinstance(missing, int) and 0 <= missing < len(levels)
            if not is_place and missing not in ("own", "unknown", "refused"):
                raise ValueError(f"a missing category cannot become {missing!r}")
            encoder = Categories(levels, bool(value["rare"]), missing)
        case "date":
            encoder = Date(about)
            for pair in encoder.scales():
                _check_scale(*pair)
        case "label" | "nothing":
            encoder = None
        case becomes:
            raise ValueError(f"a column becomes {becomes!r}, which this version does not know")
    return SchemaColumn(str(value["name"]), str(value["kind"]), encoder, about)


def _check_scale(mean: float, inverse_deviation: float) -> None:
    if not (math.isfinite(mean) and math.isfinite(inverse_deviation) and inverse_deviation > 0.0):
        raise ValueError(f"a scale cannot be {mean} and {inverse_deviation}")
