"""A job's data: which rows validate, what is learned of the others, and what goes to which shard (docs/data.md, sections 7
and 9; docs/model-file.md, section 4). The same arrays give the same objects as in gradwire's own client. Does not know the
network."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor
from typing import Any, Union

import numpy as np

from . import columns as learned
from . import randomness, table, targets
from .columns import Categories, Names, Number
from .errors import DataError
from .options import shown, whole
from .objects import INDEX_COLUMNS_MAX, Layout, RowsObject
from .schema import Encoder, Scale, Schema, SchemaColumn

INPUTS_MAX, ROWS_MAX, SHARDS_MAX = 1 << 20, 1 << 30, 16_384
# Training rows from which on numbers are not usually scaled robustly where classes are told apart (docs/data.md, section 4).
STANDARDISED_ROWS_MIN = 5_000
# What rows are drawn for: each draws others.
VALIDATION, TEST = 0, 1

# A share of every class, or a tail: `last:0.2`, `last:3500`.
Split = Union[float, str]


@dataclass(frozen=True)
class Prepared:
    """A job's data as objects, and what is to be known of them."""

    layout: Layout
    shards: list[RowsObject]
    validation: RowsObject
    schema: Schema
    class_names: list[str] | None
    targets: list[Scale] | None
    baseline: dict[str, Any]
    test: RowsObject | None
    test_baseline: dict[str, Any] | None

    @property
    def features(self) -> int:
        return self.layout.inputs

    @property
    def training_rows(self) -> int:
        return sum(shard.rows for shard in self.shards)

    @property
    def balanced_weights(self) -> list[float]:
        """What a row of each class weighs so that all classes weigh the same (docs/data.md, section 9).

        Raises DataError where numbers are fitted."""
        if self.class_names is None:
            raise DataError("class_weight balances classes, and this job is to fit numbers: leave it out")
        counts = np.bincount(np.concatenate([shard.targets for shard in self.shards]), minlength=len(self.class_names))
        rows, classes = float(counts.sum()), float(len(counts))
        return [float(np.float32(rows / (classes * count))) if count else 1.0 for count in counts.tolist()]


def share_of(count: int, share: float) -> int:
    """This share of so many, rounded to the nearest, halves up."""
    product = count * share
    return floor(product) + (product - floor(product) >= 0.5)


def drawn(strata: np.ndarray, split: Split, purpose: int, seed: int) -> np.ndarray:
    """Which rows of these classes are drawn: bool `[rows]`. `purpose` is 0 for those that validate, 1 for those that test.

    `split` is a share of every class, `last:F` or `last:N`."""
    rows = len(strata)
    if isinstance(split, str) and split.startswith("last:"):
        tail = split[5:]
        try:
            last = int(tail) if tail.isdigit() else share_of(rows, _share(float(tail)))
        except ValueError:
            raise DataError(f"a split cannot be {shown(split)}: last:0.2 or last:3500 are such tails") from None
        return np.arange(rows) >= rows - last
    try:
        share = _share(float(split))
    except (TypeError, ValueError):
        raise DataError(
            f"a split cannot be {shown(split)}: it is a share between 0 and 1 of every class, or the tail, as a share (last:0.2) or "
            "a number of rows (last:3500)"
        ) from None
    counts = np.bincount(strata)
    spare = np.maximum(counts - 1, 0)
    due = np.minimum([share_of(int(count), share) for count in counts], spare)
    # Where every class is too small for a share, as many rows as their share of all.
    left = rows if due.any() else share_of(rows, share)
    due = due if due.any() else spare
    order = randomness.Stream(randomness.SPLIT, seed, (purpose, 0, 0)).shuffled(rows)
    # In that order a row is drawn while its class has rows due.
    by_class = order[np.argsort(strata[order], kind="stable")]
    starts = np.cumsum(counts) - counts
    turns = np.arange(rows) - starts[strata[by_class]]
    is_drawn = np.zeros(rows, bool)
    is_drawn[by_class] = turns < due[strata[by_class]]
    if left < rows:
        is_drawn[order[is_drawn[order]][left:]] = False
    return is_drawn


def divided(strata: np.ndarray, split: Split | np.ndarray, test: Split | None, seed: int) -> tuple[np.ndarray, ...]:
    """The rows that train, that validate and that test, in their order.

    The test rows are drawn first, from those of which `split` does not say that they validate; those that validate, where it
    is no array, from the rest. Raises DataError."""
    rows = len(strata)
    own = split if isinstance(split, np.ndarray) else np.zeros(rows, bool)
    rest, tested = np.flatnonzero(~own), np.empty(0, np.int64)
    if test is not None:
        is_tested = drawn(strata[rest], test, TEST, seed)
        rest, tested = rest[~is_tested], rest[is_tested]
        if len(tested) == 0:
            raise DataError(f"no row of {rows} sample(s) is left to test; give more rows, a larger share, or test=None")
    if isinstance(split, np.ndarray):
        training, validation = rest, np.flatnonzero(own)
    else:
        is_validating = drawn(strata[rest], split, VALIDATION, seed)
        training, validation = rest[~is_validating], rest[is_validating]
    if len(validation) == 0:
        raise DataError(f"no row of {rows} sample(s) is left to validate; give more rows, or a larger validate_split")
    if len(training) == 0:
        raise DataError(f"no row of {rows} sample(s) is left to train; take a smaller validate_split")
    return training, validation, tested


def _share(share: float) -> float:
    if not 0.0 < share < 1.0:
        raise ValueError
    return share


def dealt(training: np.ndarray, strata: np.ndarray, shards: int, seed: int) -> list[np.ndarray]:
    """The rows of each shard: every class evenly over all of them, drawn by the seed."""
    order = training[randomness.Stream(randomness.SHARD, seed).shuffled(len(training))]
    shard_of = np.empty(len(training), np.int64)
    shard_of[np.argsort(strata[order], kind="stable")] = np.arange(len(training)) % shards
    return [order[shard_of == shard] for shard in range(shards)]


def prepare(
    features: list[table.Column],
    target: targets.Targets,
    target_names: list[str],
    *,
    split: Split | np.ndarray,
    test: Split | None = None,
    shards: int | None,
    usual_shards: int,
    seed: int,
    impute: str = "median",
    rare: int | None = None,
    scale: str | None = None,
) -> Prepared:
    """Splits, learns by the rows that train, deals out. `split` may say of each row whether it validates: bool `[rows]`.

    Raises DataError."""
    rows = len(features[0].values)
    if isinstance(target, targets.Classes):
        strata, outputs = target.labels.astype(np.int64), None
    else:
        strata, outputs = np.zeros(len(target.values), np.int64), target.values.shape[1]
    if rows != len(strata):
        raise DataError(f"there are {rows} rows of features and {len(strata)} of labels; give as many")
    if rows > ROWS_MAX:
        raise DataError(f"{rows} rows are more than {ROWS_MAX}; leave some out")
    training, validation, tested = divided(strata, split, test, seed)
    # Fewer rows than the usual number of shards have a shard each.
    shards = min(usual_shards, len(training)) if shards is None else whole("shards", shards, 1, SHARDS_MAX)
    if shards > len(training):
        raise DataError(f"{shards} shards of {len(training)} training rows: give as many as the rows, or fewer")

    rare = None if rare is None else whole("rare", rare, 1)
    if scale is None:
        is_standard = isinstance(target, targets.Classes) and len(training) >= STANDARDISED_ROWS_MIN
        scale = "standard" if is_standard else "robust"
    about = [SchemaColumn(column.name, column.kind, _learned(column.values, training, impute, rare, scale), {}) for column in features]
    about += [SchemaColumn(name, "number", None, {"becomes": "label"}) for name in target_names]
    schema = Schema(about)
    width = schema.width
    if width > INPUTS_MAX:
        raise DataError(f"the columns become {width} inputs, and at most {INPUTS_MAX} are allowed; leave some out")
    names, scales, told = None, None, np.empty(0)
    if isinstance(target, targets.Classes):
        names, told = target.names, target.labels
        untrained = np.setdiff1d(told[np.concatenate([validation, tested])], told[training])
        if len(untrained):
            name = names[int(untrained[0])]
            raise DataError(
                f"no row of the class {name!r} trains, and some validate or test; the model could never be right about it"
            )
    else:
        pairs = [learned.target_scale(target.values[training, output]) for output in range(target.values.shape[1])]
        scales = [Scale(name, *pair) for name, pair in zip(target_names, pairs)]
        told = _scaled(target.values, scales)

    parts = [*dealt(training, strata, shards, seed), validation] + ([tested] if len(tested) else [])
    layout, as_index = _written(schema)
    blocks = [RowsObject(len(part), layout, outputs) for part in parts]
    at = place = 0
    for column, (name, encoder), is_index in zip(features, schema.learned, as_index):
        if is_index:
            indices = encoder.places(column.values, name)
            for block, part in zip(blocks, parts):
                block.indices[:, place] = indices[part]
            place += 1
            continue
        end = at + encoder.width
        inputs = np.empty((rows, encoder.width), np.float32)
        encoder.encode(column.values, inputs, name)
        for block, part in zip(blocks, parts):
            block.features[:, at:end] = inputs[part]
        at = end
    for block, part in zip(blocks, parts):
        block.targets[:] = told[part]
    judged = [_baseline(told[training], block.targets, names) for block in blocks[shards:]]
    test_block, test_baseline = (blocks[-1], judged[-1]) if len(tested) else (None, None)
    return Prepared(layout, blocks[:shards], blocks[shards], schema, names, scales, judged[0], test_block, test_baseline)


def _learned(values: table.Values, training: np.ndarray, impute: str, rare: int | None, scale: str) -> Encoder:
    """What the rows that train teach of a column."""
    if isinstance(values, Names):
        return Categories.learn(Names(values.codes[training], values.texts), impute, rare)
    return Number.learn(values[training], impute, scale)


def _written(schema: Schema) -> tuple[Layout, list[bool]]:
    """How inputs are written: those of a category as an index, as long as there may be one more; of each column whether they are."""
    pairs: list[tuple[int, int]] = []
    before, as_index = 0, []
    for _, encoder in schema.learned:
        is_index = isinstance(encoder, Categories) and encoder.width > 0 and len(pairs) < INDEX_COLUMNS_MAX
        if is_index:
            pairs.append((before, encoder.width))
        before = 0 if is_index else before + encoder.width
        as_index.append(is_index)
    return Layout(schema.width, tuple(pairs)), as_index


def _scaled(values: np.ndarray, scales: list[Scale]) -> np.ndarray:
    """Targets as outputs are compared with them: f32 `[rows, outputs]`."""
    scaled = np.empty(values.shape, np.float32)
    for output, scale in enumerate(scales):
        with np.errstate(over="ignore"):
            scaled[:, output] = (values[:, output] - scale.mean) / scale.deviation
        wrong = ~np.isfinite(scaled[:, output])
        if wrong.any():
            row = int(wrong.argmax())
            raise DataError(f"{scale.name}: row {row} has {float(values[row, output])}, too far from those that train")
    return scaled


def _baseline(training: np.ndarray, validation: np.ndarray, names: list[str] | None) -> dict[str, Any]:
    """What a guess without features comes to (docs/model-file.md, section 6)."""
    if names is not None:
        often = int(np.bincount(training, minlength=len(names)).argmax())
        return {"class": often, "errors": int((validation != often).sum())}
    told = validation.astype(np.float64)
    means = np.array([learned.running_sum(told[:, output]) for output in range(told.shape[1])]) / len(told)
    distances = (told - means) * (told - means)
    of_rows = np.cumsum(distances, axis=1)[:, -1]
    return {
        "squared": learned.running_sum((told * told).ravel()),
        "absolute": learned.running_sum(np.abs(told).ravel()),
        "variation": learned.running_sum(of_rows),
    }
