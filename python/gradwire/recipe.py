"""How a job trains where nothing else is said: the one place of the defaults, which are those of gradwire's own client
(docs/data.md, section 9). Does not know data but for their number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

import numpy as np

from .errors import DataError
from .options import plain, real, shown, whole
from .specification import CHOICES, HIDDEN_MAX, checked, number_of, word_of

ARITHMETIC = 2
HIDDEN = (192,)
SHARDS = 4
SEED = 1
# Rounds without a better one after which training stops; of fewer validation rows than these, which is best is chance where numbers
# are fitted.
PATIENCE, PATIENCE_ROWS_LEAST = 20, 50
# A fifth of the rows validates, of many a tenth, which are fewer where numbers are fitted; a tenth tests, where there are not few.
VALIDATE_SHARE, VALIDATE_SHARE_OF_MANY, MANY_ROWS, MANY_FITTED_ROWS = 0.2, 0.1, 5_000, 100
TEST_SHARE, FEW_ROWS = 0.1, 1_000
USUAL = "usual"
SCHEDULES = (*CHOICES["outer_schedule"], "exponential")
# What is left of a rate from round to round that falls exponentially.
ETA_DECAY = 0.94
ETA = np.float32(0.01)
BATCH_LEAST, BATCH_MOST, BATCHES_OF_AN_EPOCH = 32, 512, 32
# Rows of a batch at this learning rate; others in proportion, from half of it to four times.
ETA_ROWS, ETA_LEAST, ETA_MOST = np.float32(128), np.float32(0.5), np.float32(4)


# Of so many rows weights decay by this part where numbers are fitted; of more by less, and of many not at all.
DECAY, DECAY_ROWS, DECAY_LEAST = 0.9, 1_000.0, 0.01


# Steps of a job, from which its rounds follow, within these bounds.
STEPS, ROUNDS_LEAST, ROUNDS_MOST = 900, 30, 200


def usual_split(rows: int, *, is_of_classes: bool) -> float:
    """The share of the rows that do not test which validates."""
    are_many = rows > MANY_ROWS or (not is_of_classes and rows >= MANY_FITTED_ROWS)
    return VALIDATE_SHARE_OF_MANY if are_many else VALIDATE_SHARE


def usual_test(rows: int, *, is_divided: bool) -> float | None:
    """The share of the rows that neither trains nor validates; none where it is said which rows validate."""
    return TEST_SHARE if rows > FEW_ROWS and not is_divided else None


def usual_batch(rows: int) -> int:
    """Rows of a step: some 32 steps in an epoch, the next power of two by ratio."""
    wanted = min(max(rows // BATCHES_OF_AN_EPOCH, BATCH_LEAST), BATCH_MOST)
    return 1 << ((2 * wanted * wanted).bit_length() - 1) // 2


def usual_rounds(rows: int, batch: int) -> int:
    """Rounds of as many steps as go once through the rows."""
    return min(max(ceil(STEPS / ceil(rows / batch)), ROUNDS_LEAST), ROUNDS_MOST)


def usual_eta(batch: int) -> float:
    """The learning rate of such steps, an f32."""
    return float(ETA * np.clip(np.float32(batch) / ETA_ROWS, ETA_LEAST, ETA_MOST))


def usual_weight_decay(rows: int) -> float:
    """The part by which weights decay where numbers are fitted, an f32: of few rows much."""
    fewness = min(DECAY_ROWS / rows, 1.0)
    decay = DECAY * (fewness * fewness)
    return float(np.float32(decay)) if decay >= DECAY_LEAST else 0.0


def decay_of_step(decay: float, steps: int) -> float:
    """The decay from step to step that comes to this one, or a little more, in so many: by products alone, as everywhere."""

    def comes_to(bits: int) -> float:
        power, square, left = 1.0, float(np.uint32(bits).view(np.float32)), steps
        while left:
            power, square, left = power * square if left & 1 else power, square * square, left >> 1
        return power

    wanted, low, high = float(np.float32(decay)), 0, int(np.float32(1.0).view(np.uint32)) + 1
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if comes_to(middle) <= wanted else (low, middle)
    return float(np.uint32(low - 1).view(np.float32))


def rates(round_steps: int, *, schedule: str | None, eta_decay: float | None, warmup: int | None) -> dict[str, Any]:
    """The fields of the learning rate that are asked for in rounds, which have so many steps."""
    values: dict[str, Any] = {"outer_warmup": whole("warmup", warmup or 0, 0) * round_steps}
    if schedule == "exponential":
        values["outer_eta_decay"] = decay_of_step(ETA_DECAY if eta_decay is None else real("eta_decay", eta_decay), round_steps)
    return values


def usual_patience(validation_rows: int, *, is_of_classes: bool) -> int | None:
    """Rounds without a better one; none where all are done."""
    return PATIENCE if is_of_classes or validation_rows >= PATIENCE_ROWS_LEAST else None


def fields(
    training_rows: int,
    validation_rows: int,
    *,
    is_of_classes: bool,
    hidden: Sequence[int] | None = None,
    activation: str = "relu",
    optimiser: str = "adam",
    momentum: float | None = None,
    weight_decay: float | None = None,
    loss: str | None = None,
    huber_delta: float | None = None,
    label_smoothing: float = 0.0,
    dropout: float = 0.0,
    eta: float | None = None,
    schedule: str | None = None,
    eta_decay: float | None = None,
    warmup: int | None = None,
    batch: int | None = None,
    rounds: int | None = None,
    patience: int | str | None = USUAL,
    target_accuracy: float | None = None,
    seed: int = SEED,
    clip: float | None = None,
    fields: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The recipe's fields of a specification that merges gradients.

    `fields` are put over them last, by the names of protocol.md's table; None leaves one out."""
    optimiser = word_of("optimiser", number_of("optimiser", optimiser))
    patience, schedule = plain(patience), plain(schedule)
    if momentum is not None and optimiser != "momentum":
        raise DataError(f"the optimiser {optimiser} has no momentum: optimiser='momentum' has")
    if patience == USUAL:
        patience = usual_patience(validation_rows, is_of_classes=is_of_classes)
    if weight_decay is None:
        is_decaying = optimiser == "adam" and not is_of_classes
        weight_decay = usual_weight_decay(training_rows) if is_decaying else 0.0
    batch = usual_batch(training_rows) if batch is None else whole("batch", batch, 1)
    eta = usual_eta(batch) if eta is None else eta
    momentum = 0.9 if momentum is None else momentum
    rounds = usual_rounds(training_rows, batch) if rounds is None else whole("rounds", rounds, 1)
    if target_accuracy is not None:
        if not is_of_classes:
            raise DataError("an accuracy is of classes, and this job is to fit numbers: leave out target_accuracy")
        # Whoever asks for all rounds but for such a one waits for it to the last.
        patience = rounds if patience is None else patience
    outer: dict[str, dict[str, Any]] = {
        "adam": {"outer": "adam"},
        "momentum": {"outer": "momentum", "outer_momentum": momentum},
        # Without a momentum, the velocity is the gradient.
        "sgd": {"outer": "momentum", "outer_momentum": 0.0},
    }
    if schedule is not None and schedule not in SCHEDULES:
        raise DataError(f"schedule cannot be {shown(schedule)}: it is one of {', '.join(SCHEDULES)}")
    is_exponential = schedule == "exponential"
    if eta_decay is not None and not is_exponential:
        raise DataError("eta_decay belongs to schedule='exponential'")
    if eta_decay is not None and not 0.0 < real("eta_decay", eta_decay) <= 1.0:
        raise DataError(f"the learning rate's decay is above 0 and at most 1, not {shown(eta_decay)}")
    if warmup is not None and whole("warmup", warmup, 0) >= rounds:
        raise DataError(f"the learning rate cannot rise in {warmup} of the job's {rounds} rounds: give fewer")
    if loss is None:
        loss = "cross_entropy" if is_of_classes else "squared_error"
    loss = word_of("loss", number_of("loss", loss))
    if is_of_classes != (loss == "cross_entropy"):
        raise DataError(f"the loss {loss} does not go with the task: classes have cross_entropy, numbers squared_error or huber")
    if huber_delta is not None and loss != "huber":
        raise DataError("only Huber's loss has a delta: loss='huber', or leave out huber_delta")
    if plain(label_smoothing) and not is_of_classes:
        raise DataError("labels are smoothed where classes are told apart, and this job is to fit numbers: leave out label_smoothing")
    values: dict[str, Any] = {
        "arithmetic": ARITHMETIC,
        "hidden": _widths(HIDDEN if hidden is None else hidden),
        "activation": activation,
        "optimiser": optimiser,
        "loss": loss,
        "huber_delta": 1.0 if huber_delta is None else huber_delta,
        "label_smoothing": label_smoothing,
        "dropout": dropout,
        "eta": eta,
        "batch": batch,
        "seed": seed,
        "momentum": momentum,
        "weight_decay": weight_decay,
        "local_steps": 1,
        "rounds": rounds,
        "patience": patience,
        "target_accuracy": target_accuracy,
        "outer_eta": eta,
        "outer_weight_decay": weight_decay,
        "outer_schedule": "cosine" if schedule is None else "constant" if is_exponential else schedule,
        "outer_clip": clip,
        **outer[optimiser],
        **_over(fields),
    }
    return checked(values)


def _over(fields: Mapping[str, Any] | None) -> dict[str, Any]:
    """Fields that are put over the others, by their names."""
    if fields is not None and not isinstance(fields, Mapping):
        text = "they are fields of a specification by their names, such as {'merge': 'median'}"
        raise DataError(f"fields cannot be {shown(fields)}: {text}")
    over = dict(fields or {})
    return over | ({"hidden": _widths(over["hidden"])} if over.get("hidden") is not None else {})


def _widths(hidden: Any) -> list[int]:
    """Of hidden layers, from those of several or of one."""
    widths = plain(hidden)
    widths = [widths] if isinstance(widths, int) else widths
    try:
        return [whole("hidden", width, 1) for width in _few(widths)]
    except (TypeError, DataError):
        text = f"it is the widths of at most {HIDDEN_MAX} hidden layers, whole numbers such as [64, 32]"
        raise DataError(f"hidden cannot be {shown(hidden)}: {text}") from None


def _few(widths: Any) -> list[Any]:
    told = list(widths)
    if len(told) > HIDDEN_MAX:
        raise TypeError("too many")
    return told
