"""What the training rows teach of a column, and how values become inputs by it (docs/arithmetic.md, section 17;
docs/model-file.md, section 8). Owns the arithmetic of one column; does not know rows that validate, or files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import DataError
from .options import shown

IDENTITY = (0.0, 1.0)
CLIPPED_FROM = 2.0**64
SCALES = ("standard", "robust", "none")
MISSING_CODE = -1


def running_sum(values: np.ndarray) -> float:
    """The sum of f64s one after the other, from +0: not in pairs, as `sum` adds them."""
    return float(np.cumsum(np.concatenate([[0.0], values]))[-1])


def spread(values: np.ndarray) -> tuple[float, float | None]:
    """Mean and deviation of f64 `[n]`; no deviation of a constant. Of none, the mean is 0."""
    if len(values) == 0:
        return 0.0, None
    least = float(values.min())
    if least >= float(values.max()):
        return least + 0.0, None  # +0 of zeros of whichever sign
    # What is infinite in between is no scale, and whoever asks for one sees to it.
    with np.errstate(over="ignore", invalid="ignore"):
        before = np.cumsum(np.concatenate([[0.0], values]))
        sums, following = before[:-1], before[1:]
        # What each addition loses is added up by itself.
        is_larger = np.abs(sums) >= np.abs(values)
        lost = np.where(is_larger, (sums - following) + values, (values - following) + sums)
        mean = (float(before[-1]) + running_sum(lost)) / len(values)
        distances = values - mean
        return mean, float(np.sqrt(running_sum(distances * distances) / len(values)))


def feature_scale(values: np.ndarray) -> tuple[float, float]:
    """Mean and inverse deviation of the training rows' numbers."""
    mean, deviation = spread(values)
    with np.errstate(divide="ignore", over="ignore"):
        inverse = 1.0 if deviation is None else float(np.float64(1.0) / np.float64(deviation))
    is_scale = np.isfinite(mean) and np.isfinite(inverse) and inverse > 0.0
    return (mean, inverse) if is_scale else IDENTITY


def robust_scale(values: np.ndarray) -> tuple[float, float]:
    """Median, and one over the distance of the quartiles, of the training rows' numbers."""
    if len(values) == 0:
        return IDENTITY
    ordered = np.sort(values)

    def quartile(quarter: int) -> np.float64:
        place = (len(ordered) - 1) * quarter
        below, above = ordered[place // 4], ordered[min(place // 4 + 1, len(ordered) - 1)]
        return below + (above - below) * np.float64((place % 4) / 4.0)

    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        lower, median, upper = map(quartile, (1, 2, 3))
        apart = upper - lower
        apart = np.float64(0.5) * (ordered[-1] - ordered[0]) if apart == 0.0 else apart
        median, inverse = float(median + 0.0), 1.0 if apart == 0.0 else float(np.float64(1.0) / apart)
    is_scale = np.isfinite(median) and np.isfinite(inverse) and inverse > 0.0
    return (median, inverse) if is_scale else IDENTITY


def clipped(scaled: np.ndarray) -> np.ndarray:
    """Scaled numbers, of which those far off are bent towards 3 or -3; beyond 2^64 they count as that."""
    within = np.clip(scaled, -CLIPPED_FROM, CLIPPED_FROM)
    part = within / 3.0
    return within / np.sqrt(1.0 + part * part)


def target_scale(values: np.ndarray) -> tuple[float, float]:
    """Mean and deviation of the training rows' targets."""
    mean, deviation = spread(values)
    deviation = 1.0 if deviation is None else deviation
    is_scale = np.isfinite(mean) and np.isfinite(deviation) and deviation > 0.0
    return (mean, deviation) if is_scale else IDENTITY


def in_total_order(values: np.ndarray) -> np.ndarray:
    """f64s as i64s of the same order, in which -0 comes before 0; the same again gives the bits back."""
    bits = values.view(np.int64)
    return bits ^ ((bits >> np.int64(63)) & np.int64(0x7FFF_FFFF_FFFF_FFFF))


def median(present: np.ndarray) -> float:
    """Of an even number, the mean of the two in the middle; 0 of none."""
    count = len(present)
    if count == 0:
        return 0.0
    middle = count // 2
    keys = np.partition(in_total_order(present), [max(middle - 1, 0), middle])
    lower, upper = in_total_order(keys[[max(middle - 1, 0), middle]].view(np.float64)).view(np.float64).tolist()
    return (lower + upper) / 2.0 if count % 2 == 0 else upper


def most_frequent(present: np.ndarray) -> float:
    """The least of equally frequent numbers; 0 of none."""
    if len(present) == 0:
        return 0.0
    ordered = in_total_order(np.sort(in_total_order(present)).view(np.float64)).view(np.float64)
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    counts = np.diff(np.concatenate([starts, [len(ordered)]]))
    return float(ordered[starts[counts.argmax()]])


@dataclass(frozen=True)
class Names:
    """A column of categories: for each row the place of its text in `texts`, or -1 where there is none."""

    codes: np.ndarray
    texts: list[str]

    def __len__(self) -> int:
        return len(self.codes)


@dataclass(frozen=True)
class Number:
    """A number as an input, and a second one where a missing value is marked. No `fill`: none may be missing."""

    mean: float
    inverse_deviation: float
    fill: float | None
    is_marked: bool = False
    is_clipped: bool = False

    @staticmethod
    def learn(values: np.ndarray, impute: str, scale: str = "standard") -> Number:
        """From the training rows: f64 `[rows]`, NaN where missing."""
        is_missing = np.isnan(values)
        present = values[~is_missing]
        if scale not in SCALES:
            raise DataError(f"scale cannot be {shown(scale)}: it is one of {', '.join(SCALES)}")
        of_values = {"standard": feature_scale, "robust": robust_scale, "none": lambda _: IDENTITY}
        mean, inverse = of_values[scale](present)
        is_marked = 100 * int(is_missing.sum()) > len(values)
        return Number(mean, inverse, fill_of(present, impute), is_marked, scale == "robust")

    @property
    def width(self) -> int:
        return 1 + self.is_marked

    def encode(self, values: np.ndarray, inputs: np.ndarray, column: str) -> None:
        """Puts f64 `[rows]` into f32 `[rows, width]`."""
        is_missing = np.isnan(values)
        if is_missing.any():
            if self.fill is None:
                row = int(is_missing.argmax())
                raise DataError(f"{column}: row {row} has no value, and none may be missing")
            values = np.where(is_missing, self.fill, values)
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = (values - self.mean) * self.inverse_deviation
            inputs[:, 0] = clipped(scaled) if self.is_clipped else scaled
        wrong = ~np.isfinite(inputs[:, 0])
        if wrong.any():
            row = int(wrong.argmax())
            raise DataError(f"{column}: row {row} has {float(values[row])}, which is infinite or too far from those that train")
        if self.is_marked:
            inputs[:, 1] = is_missing

    def names(self, column: str) -> list[str]:
        return [column] + [f"{column} missing"] * self.is_marked

    def scales(self) -> list[tuple[float, float]]:
        return [(self.mean, self.inverse_deviation)] + [IDENTITY] * self.is_marked

    def clips(self) -> list[bool]:
        return [self.is_clipped] + [False] * self.is_marked

    def to_json(self) -> dict[str, Any]:
        value: dict[str, Any] = {
            "becomes": "number", "mean": self.mean, "inverse_deviation": self.inverse_deviation, "fill": self.fill,
        }  # fmt: skip
        value |= {"smooth_clip": True} if self.is_clipped else {}
        return value | ({"missing_mark": True} if self.is_marked else {})


def fill_of(present: np.ndarray, impute: str) -> float | None:
    """What stands for a missing number, of those of the training rows that are there."""
    match impute:
        case "refuse":
            return None
        case "median":
            return median(present)
        case "mean":
            return spread(present)[0]
        case "most":
            return most_frequent(present)
    raise DataError(f"impute cannot be {shown(impute)}: it is one of median, mean, most, refuse")


@dataclass(frozen=True)
class Categories:
    """An input of 0 or 1 for each of `levels`, then perhaps one for the rare and unknown, then perhaps one for the missing.

    `missing` is what a missing one becomes: "own", "unknown", "refused", or the place of a level."""

    levels: tuple[str, ...]
    has_rare: bool
    missing: str | int

    @staticmethod
    def learn(names: Names, impute: str, rare: int | None) -> Categories:
        """From the training rows."""
        if rare is None:
            rare = 2 if len(names) < 1000 else 10
        is_there = names.codes >= 0
        counts = np.bincount(names.codes[is_there], minlength=len(names.texts))
        seen = [(text, int(count)) for text, count in zip(names.texts, counts) if count > 0]
        levels = sorted((text, count) for text, count in seen if count >= rare)
        missing: str | int = "unknown" if is_there.all() else "own"
        if impute == "refuse":
            missing = "refused"
        elif impute == "most" and levels:
            most = max(count for _, count in levels)
            missing = next(place for place, (_, count) in enumerate(levels) if count == most)
        return Categories(tuple(text for text, _ in levels), len(levels) < len(seen), missing)

    @property
    def width(self) -> int:
        return len(self.levels) + self.has_rare + (self.missing == "own")

    def are_unknown(self, names: Names) -> np.ndarray:
        """Which rows have a category that is none of the levels."""
        levels = set(self.levels)
        return np.array([text not in levels for text in names.texts] + [False])[names.codes]

    def places(self, names: Names, column: str) -> np.ndarray:
        """Of each row of a column the input that is 1; where none is, the number of inputs."""
        known = {text: place for place, text in enumerate(self.levels)}
        unknown = len(self.levels) if self.has_rare else self.width
        of_missing = {"own": len(self.levels) + self.has_rare, "unknown": unknown, "refused": self.width}
        if self.missing == "refused" and (names.codes < 0).any():
            row = int((names.codes < 0).argmax())
            raise DataError(f"{column}: row {row} has no value, and none may be missing")
        # The last one is that of the missing, whose code is -1.
        missing = self.missing if isinstance(self.missing, int) else of_missing[self.missing]
        return np.array([known.get(text, unknown) for text in names.texts] + [missing])[names.codes]

    def encode(self, names: Names, inputs: np.ndarray, column: str) -> None:
        """Puts a column's rows into f32 `[rows, width]`."""
        self.put(self.places(names, column), inputs)

    def put(self, places: np.ndarray, inputs: np.ndarray) -> None:
        """Puts what `places` gives of some rows into f32 `[rows, width]`."""
        inputs[:] = 0.0
        rows = np.flatnonzero(places < self.width)
        inputs[rows, places[rows]] = 1.0

    def names(self, column: str) -> list[str]:
        rare, missing = [f"{column} rare"] * self.has_rare, [f"{column} missing"] * (self.missing == "own")
        return [f"{column}={level}" for level in self.levels] + rare + missing

    def scales(self) -> list[tuple[float, float]]:
        return [IDENTITY] * self.width

    def clips(self) -> list[bool]:
        return [False] * self.width

    def to_json(self) -> dict[str, Any]:
        return {
            "becomes": "categories", "levels": list(self.levels), "rare": self.has_rare, "missing": self.missing,
        }  # fmt: skip
