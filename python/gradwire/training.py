"""From arrays or a frame to a trained model, and what else is asked of a coordinator. Owns the functions that callers begin
with; does not know the wire."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Union

import numpy as np

from . import coordinator, dataset, objects, recipe, specification, table, targets
from .coordinator import RETRY_FOR, Watching
from .errors import DataError
from .link import Link, address_of
from .model import Model
from .notes import Words
from .wire import JobStatus, Round
from .words import described, round_steps

Progress = Union[bool, None, Callable[[Round], object]]
Where = Union[str, tuple[str, int], None]


def train(
    X: Any,
    y: Any,
    address: Where = None,
    *,
    task: str | None = None,
    validation: tuple[Any, Any] | None = None,
    validate_split: float | str | None = None,
    test: float | str | None = recipe.USUAL,
    hidden: Sequence[int] | None = None,
    activation: str = "relu",
    optimiser: str = "adam",
    momentum: float | None = None,
    weight_decay: float | None = None,
    loss: str | None = None,
    huber_delta: float | None = None,
    label_smoothing: float = 0.0,
    dropout: float = 0.0,
    class_weight: str | Mapping[Any, float] | None = None,
    eta: float | None = None,
    schedule: str | None = None,
    eta_decay: float | None = None,
    warmup: int | None = None,
    batch: int | None = None,
    rounds: int | None = None,
    patience: int | str | None = recipe.USUAL,
    target_accuracy: float | None = None,
    clip: float | None = None,
    shards: int | None = None,
    seed: int = recipe.SEED,
    impute: str = "median",
    rare: int | None = None,
    scale: str | None = None,
    start_from: Model | None = None,
    fields: Mapping[str, Any] | None = None,
    progress: Progress = None,
    retry_for: float = RETRY_FOR,
    cluster: str | None = None,
    job: str | None = None,
    name: str = "arrays",
) -> Model:
    """Trains a model on the nodes of a coordinator, and waits for it.

    `X` is an array of numbers, `[rows, features]`, with NaN where a value is missing, or a frame, whose columns of the types
    category, string and object are categories. `y` has a label for each row, `[rows]`: texts are classes; numbers are classes
    or are fitted, as `task` (classify, regress) says or docs/data.md, section 6; `[rows, outputs]` is fitted.

    `address` is `host:port` or a pair; else GRADWIRE_ADDRESS says it; else it is 127.0.0.1:5105. `validation` are rows and
    labels that validate, in the place of the share that `validate_split` draws; `test` is the share that neither trains nor
    validates, and judges the model once, at the end (None: no row). After `patience` rounds without a better one training
    stops (None: after all rounds, and the model is the last one's; docs/data.md, section 9, says what is usual), and the model is
    that of the best. `hidden` are the widths of the hidden layers. After a round that is right about the share `target_accuracy` of the
    rows that validate, training stops too. With `class_weight="balanced"` all classes weigh the same;
    or it says by its label what the rows of a class weigh.
    `label_smoothing` is the part of each label that training spreads over all classes, `dropout`
    the share of the outputs of hidden layers that count as 0 while a row trains.
    With `loss="huber"` rows far off pull no harder than those `huber_delta` standard deviations of the target away.
    The learning rate goes by `schedule` (constant, cosine, flat_cosine, or exponential with `eta_decay` from round to round), and
    first rises in `warmup` rounds. Numbers become inputs by `scale`: standard, robust (by median and quartiles, and what lies far off is
    clipped), none, or as the rows suggest. `fields` are put over the job's specification, by the names of protocol.md, section 5. `progress` is called with each
    `Round`; True writes a line for each to the standard error. For `retry_for` seconds a coordinator that is lost, not there, or
    has no room is asked again; a job that it knows goes on meanwhile. `job` names the job by 32 hexadecimal digits, so that a
    program that died may ask for the same one again. `name` is what the model file calls the data.

    The same arrays and options give the fingerprint that gradwire's own client gives. Raises DataError, Refused (with the
    coordinator's `code`), ConnectionFailed, ProtocolError; Ctrl-C raises Interrupted, and the job goes on."""
    where = address_of(address)
    split: Any = validate_split
    if validation is None:
        features, labels = table.of(X), y
    elif validate_split is None:
        features, labels, split = _joined(X, y, validation)
    else:
        raise DataError("validation rows are given, and a share that validates is asked for; leave out one of both")
    target = targets.of(labels, task)
    rows = len(features[0].values)
    if not isinstance(seed, (int, np.integer)) or not 0 <= seed < 1 << 64:
        raise DataError(f"seed cannot be {seed!r}: it is a whole number from 0 to 2**64 - 1")
    if test == recipe.USUAL:
        test = recipe.usual_test(rows, is_divided=split is not None)
    if split is None:
        split = recipe.usual_split(rows, is_of_classes=isinstance(target, targets.Classes))
    target_names = _target_names(y, target, len(features), table.is_frame(X))
    prepared = dataset.prepare(
        features, target, target_names, split=split, test=test, shards=shards, usual_shards=recipe.SHARDS, seed=seed, impute=impute,
        rare=rare, scale=scale,
    )  # fmt: skip
    words = Words.of(prepared, name)
    if patience == recipe.USUAL and isinstance(class_weight, Mapping):
        # The round that is right about most rows is not the best one where some of them weigh more.
        patience = None
    values = recipe.fields(
        prepared.training_rows, prepared.validation.rows, is_of_classes=prepared.class_names is not None, hidden=hidden, activation=activation,
        optimiser=optimiser, momentum=momentum, weight_decay=weight_decay, loss=loss, huber_delta=huber_delta, label_smoothing=label_smoothing, dropout=dropout, eta=eta, schedule=schedule, eta_decay=eta_decay,
        warmup=warmup, batch=batch, rounds=rounds, patience=patience, target_accuracy=target_accuracy, seed=seed, clip=clip, fields=fields,
    )  # fmt: skip
    values |= {
        "inputs": prepared.features,
        "index_columns": prepared.layout.columns,
        "classes": len(prepared.class_names or prepared.targets or ()),
        "notes": words.to_notes(),
    }
    if class_weight is not None:
        values["class_weights"] = _class_weights(class_weight, prepared)
    held: dict[bytes, Any] = {}

    def keep(data: Any) -> bytes:
        digest = objects.digest_of(data)
        held[digest] = data
        return digest

    values["shards"] = [(shard.rows, keep(shard.bytes)) for shard in prepared.shards]
    values["validation"] = prepared.validation.rows, keep(prepared.validation.bytes)
    rates = recipe.rates(round_steps(values), schedule=schedule, eta_decay=eta_decay, warmup=warmup)
    values |= {field: value for field, value in rates.items() if field not in (fields or {})}
    if prepared.test is not None:
        values["test"] = prepared.test.rows, keep(prepared.test.bytes)
    if start_from is not None:
        network = specification.network(values)
        if list(start_from.network) != network:
            raise DataError(f"the model to start from is {list(start_from.network)}, and this job's network is {network}")
        if start_from.class_names is not None and list(start_from.class_names) != prepared.class_names:
            raise DataError("the model to start from knows other classes than the data")
        values["initial"] = keep(objects.encode_weights(network, list(start_from.layers)))
    watching = Watching(
        where, _number_of(job) if job else _new_job(), values, objects=held, on_round=_shown(progress), retry_for=retry_for,
        cluster=cluster,
    )  # fmt: skip
    return _model(watching, words)


def attach(
    job: str, address: Where = None, *, progress: Progress = None, retry_for: float = RETRY_FOR, cluster: str | None = None
) -> Model:
    """Watches a job of a coordinator from its first round to its end, and gives its model.

    `job` are the first digits of its id. Raises Refused, ConnectionFailed, ProtocolError and Interrupted as `train`; DataError
    where the job has no notes that a client wrote."""
    where = address_of(address)

    def described_there(link: Link) -> tuple[int, dict[str, Any]]:
        number = _named(link, job)
        return number, coordinator.describe(link, number)

    number, values = coordinator.asked(where, described_there, retry_for, cluster)
    words = Words.from_notes(values.get("notes") or b"", values["inputs"], values["classes"])
    if words is None:
        raise DataError(f"job {number:032x} has no notes of a client of this version: who submitted it knows its names")
    return _model(
        Watching(where, number, values, objects=None, on_round=_shown(progress), retry_for=retry_for, cluster=cluster), words
    )


def jobs(address: Where = None, *, retry_for: float = RETRY_FOR, cluster: str | None = None) -> list[JobStatus]:
    """How the jobs of a coordinator stand: those that are open in the order of their turn, then ended ones, the latest first.

    For `retry_for` seconds a coordinator that cannot be had is asked again. Raises ConnectionFailed, Refused, ProtocolError."""
    return coordinator.asked(address_of(address), coordinator.jobs_of, retry_for, cluster)


def cancel(job: str, address: Where = None, *, retry_for: float = RETRY_FOR, cluster: str | None = None) -> JobStatus:
    """Ends a job, named by the first digits of its id; how it stands then. Raises as `jobs`, and DataError of unknown digits."""
    return _ordered(job, coordinator.CANCEL, address, retry_for, cluster)


def resume(job: str, address: Where = None, *, retry_for: float = RETRY_FOR, cluster: str | None = None) -> JobStatus:
    """Lets a job go on that is paused or was given up; how it stands then. Raises as `cancel`."""
    return _ordered(job, coordinator.RESUME, address, retry_for, cluster)


def _ordered(job: str, verb: int, address: Where, retry_for: float, cluster: str | None) -> JobStatus:
    def question(link: Link) -> JobStatus:
        return coordinator.order(link, _named(link, job), verb)

    return coordinator.asked(address_of(address), question, retry_for, cluster)


def _model(watching: Watching, words: Words) -> Model:
    done, weights, history = watching.run()
    network = specification.network(watching.values)
    # What a field that is left out means.
    values = specification.decode(specification.encode(watching.values))
    return Model(
        network, specification.word_of("activation", values["activation"]), objects.decode_weights(network, weights),
        done.fingerprint.hex(), watching.semantic.hex(), words.schema, words.class_names, words.targets,
        described(values, words, done), tuple(history), watching.job_id, done.round,
    )  # fmt: skip


def _joined(X: Any, y: Any, validation: tuple[Any, Any]) -> tuple[list[table.Column], np.ndarray, np.ndarray]:
    """All rows, those that train first; their labels; and which of them validate."""
    pairs = [(table.of(features), np.asarray(labels)) for features, labels in ((X, y), validation)]
    (training, labels), (validating, other_labels) = pairs
    if [(column.name, column.kind) for column in training] != [(column.name, column.kind) for column in validating]:
        raise DataError("the rows that validate have other columns than those that train; give both the same")
    features = [table.joined(column, other) for column, other in zip(training, validating)]
    try:
        joined = np.concatenate([labels, other_labels])
    except ValueError as error:
        raise DataError(f"the labels of the rows that validate do not fit those of the others: {error}") from None
    is_validating = np.arange(len(features[0].values)) >= len(training[0].values)
    return features, joined, is_validating


def _class_weights(asked: str | Mapping[Any, float], prepared: dataset.Prepared) -> list[float]:
    """What a row of each class weighs: those that are not named weigh one."""
    if asked == "balanced" or prepared.class_names is None:
        return prepared.balanced_weights
    if not isinstance(asked, Mapping) or len(asked) < 2:
        raise DataError(f"class_weight cannot be {asked!r}: it is 'balanced', weights by the labels of two classes or more, or None")
    weights = dict.fromkeys(prepared.class_names, 1.0)
    named = targets.classes_of(np.asarray(list(asked)))
    for label, weight in zip(named.labels, asked.values()):
        name = named.names[label]
        if name not in weights:
            raise DataError(f"class_weight names {name!r}, and the classes are {', '.join(prepared.class_names)}")
        weights[name] = float(weight)
    return list(weights.values())


def _target_names(y: Any, target: targets.Targets, features: int, is_named: bool) -> list[str]:
    """What the labels are called: by a frame or a series, else by the columns that would hold them behind the features."""
    outputs = target.values.shape[1] if isinstance(target, targets.Numbers) else 1
    if table.is_frame(y):
        return [str(name) for name in y.columns]
    named = getattr(y, "name", None)
    if named is not None and outputs == 1:
        return [str(named)]
    if is_named:
        return ["target"] if outputs == 1 else [f"target {place + 1}" for place in range(outputs)]
    return [f"column {features + place + 1}" for place in range(outputs)]


def _new_job() -> int:
    return secrets.randbelow((1 << 128) - 1) + 1


def _number_of(job: str) -> int:
    try:
        number = int(job, 16)
    except ValueError:
        number = 0
    if len(job) != 32 or number == 0:
        raise DataError(f"{job!r} is no id of a job: it has 32 hexadecimal digits, not all 0")
    return number


def _named(link: Link, digits: str) -> int:
    """The job whose id begins so."""
    if not digits or digits.strip("0123456789abcdef"):
        raise DataError(f"{digits!r} is no beginning of a job's id: write its first hexadecimal digits")
    if len(digits) == 32:
        return _number_of(digits)
    found = [status.job for status in coordinator.jobs_of(link) if status.job.startswith(digits)]
    if len(found) != 1:
        what = "no job begins" if not found else f"{len(found)} jobs begin"
        raise DataError(f"{what} with {digits}: gradwire.jobs() lists them")
    return int(found[0], 16)


def _shown(progress: Progress) -> Callable[[Round], object] | None:
    if not progress:
        return None
    return _line if progress is True else progress


def _line(told: Round) -> None:
    if told.accuracy is not None:
        # What is not all right is not shown as if it were.
        percent = 100.0 if told.accuracy == 1.0 else min(100 * told.accuracy, 99.99)
        score = f"accuracy {percent:6.2f} %"
    else:
        score = f"rmse {told.rmse:.4g} deviations" if told.rmse is not None else ""
    place = f"{told.round}/{told.rounds}"
    nodes = "1 node" if told.nodes == 1 else f"{told.nodes} nodes"
    print(f"round {place:>9}  loss {told.loss:.5f}  {score}  {nodes}  {told.seconds:.3f} s", file=sys.stderr)
