"""From arrays or a frame to a trained model, and what else is asked of a coordinator. Owns the functions that callers begin
with; does not know the wire."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Union

import numpy as np

from . import coordinator, dataset, frames, objects, recipe, specification, table, targets
from .address import Where, address_of, cluster_of
from .coordinator import RETRY_FOR, Watching
from .errors import DataError
from .link import Link
from .model import Model
from .notes import Words
from .options import plain, real, shown, text, whole
from .wire import JobStatus, Round
from .words import described, round_steps

Progress = Union[bool, None, Callable[[Round], object]]


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
    where, cluster = address_of(address), cluster_of(cluster)
    on_round, name = _shown(progress), text("name", name)
    number = _new_job() if job in (None, "") else _number_of(job)
    split: Any = validate_split
    if validation is None:
        features, labels = frames.of(X), y
    elif validate_split is None:
        features, labels, split = _joined(X, y, validation)
    else:
        raise DataError("validation rows are given, and a share that validates is asked for; leave out one of both")
    target = targets.of(labels, task)
    rows = len(features[0].values)
    seed = whole("seed", seed, 0, (1 << 64) - 1)
    if test == recipe.USUAL:
        test = recipe.usual_test(rows, is_divided=split is not None)
    if split is None:
        split = recipe.usual_split(rows, is_of_classes=isinstance(target, targets.Classes))
    target_names = _target_names(y, target, features, frames.is_frame(X))
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
    if start_from is not None and not isinstance(start_from, Model):
        raise DataError(f"start_from cannot be {shown(start_from)}: it is a gradwire.Model, such as Model.load reads")
    if start_from is not None:
        network = specification.network(values)
        if list(start_from.network) != network:
            theirs = shown(list(start_from.network))
            raise DataError(f"the model to start from is {theirs}, and this job's network is {shown(network)}")
        if start_from.class_names is not None and list(start_from.class_names) != prepared.class_names:
            raise DataError("the model to start from knows other classes than the data")
        values["initial"] = keep(objects.encode_weights(network, list(start_from.layers)))
    watching = Watching(
        where, number, values, objects=held, on_round=on_round, retry_for=retry_for, cluster=cluster,
    )  # fmt: skip
    return _model(watching, words)


def attach(
    job: str, address: Where = None, *, progress: Progress = None, retry_for: float = RETRY_FOR, cluster: str | None = None
) -> Model:
    """Watches a job of a coordinator from its first round to its end, and gives its model.

    `job` are the first digits of its id. Raises Refused, ConnectionFailed, ProtocolError and Interrupted as `train`; DataError
    where the job has no notes that a client wrote."""
    where, cluster, on_round = address_of(address), cluster_of(cluster), _shown(progress)

    def described_there(link: Link) -> tuple[int, dict[str, Any]]:
        number = _named(link, job)
        return number, coordinator.describe(link, number)

    number, values = coordinator.asked(where, described_there, retry_for, cluster)
    words = Words.from_notes(values.get("notes") or b"", values["inputs"], values["classes"])
    if words is None:
        raise DataError(
            f"job {number:032x} has no notes of a client of this version (of wide data they are too long to travel), and so no "
            f"names: gradwire.train with the same data and options and job='{number:032x}' goes on with it"
        )
    return _model(Watching(where, number, values, objects=None, on_round=on_round, retry_for=retry_for, cluster=cluster), words)


def jobs(address: Where = None, *, retry_for: float = RETRY_FOR, cluster: str | None = None) -> list[JobStatus]:
    """How the jobs of a coordinator stand: those that are open in the order of their turn, then ended ones, the latest first.

    For `retry_for` seconds a coordinator that cannot be had is asked again. Raises ConnectionFailed, Refused, ProtocolError."""
    return coordinator.asked(address_of(address), coordinator.jobs_of, retry_for, cluster_of(cluster))


def cancel(job: str, address: Where = None, *, retry_for: float = RETRY_FOR, cluster: str | None = None) -> JobStatus:
    """Ends a job, named by the first digits of its id; how it stands then. Raises as `jobs`, and DataError of unknown digits."""
    return _ordered(job, coordinator.CANCEL, address, retry_for, cluster)


def resume(job: str, address: Where = None, *, retry_for: float = RETRY_FOR, cluster: str | None = None) -> JobStatus:
    """Lets a job go on that is paused or was given up; how it stands then. Raises as `cancel`."""
    return _ordered(job, coordinator.RESUME, address, retry_for, cluster)


def _ordered(job: str, verb: int, address: Where, retry_for: float, cluster: str | None) -> JobStatus:
    def question(link: Link) -> JobStatus:
        return coordinator.order(link, _named(link, job), verb)

    return coordinator.asked(address_of(address), question, retry_for, cluster_of(cluster))


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
    if not isinstance(validation, (tuple, list)) or len(validation) != 2:
        raise DataError("validation is a pair, the rows that validate and their labels: validation=(X_validation, y_validation)")
    pairs = [(frames.of(features), targets.labels_of(labels)) for features, labels in ((X, y), validation)]
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
    if not isinstance(asked, Mapping) or not asked:
        raise DataError(f"class_weight cannot be {shown(asked)}: it is 'balanced', weights by the labels of their classes, or None")
    weights = dict.fromkeys(prepared.class_names, 1.0)
    for label, weight in asked.items():
        name = targets.name_of(label)
        if name not in weights:
            raise DataError(f"class_weight names {shown(name)}, and the classes are {shown(prepared.class_names)}")
        weights[name] = real("class_weight", weight)
    return list(weights.values())


def _target_names(y: Any, target: targets.Targets, features: Sequence[table.Column], is_named: bool) -> list[str]:
    """What the labels are called: by a frame or a series, else by the columns that would hold them behind the features. Raises
    DataError where a feature is called so: whoever reads the data by names would take one for the other."""
    outputs = target.values.shape[1] if isinstance(target, targets.Numbers) else 1
    taken = {column.name for column in features}
    named = getattr(y, "name", None)
    if frames.is_frame(y):
        names = [str(name) for name in y.columns]
    elif named is not None and outputs == 1:
        names = [str(named)]
    elif is_named:
        names = ["target"] if outputs == 1 else [f"target {place + 1}" for place in range(outputs)]
        while taken.intersection(names):
            names = [f"{name}_" for name in names]
    else:
        names = [f"column {len(features) + place + 1}" for place in range(outputs)]
    both = next((name for name in names if name in taken), None)
    if both is not None:
        raise DataError(
            f"a feature and the label are both called {both!r}: leave the label out of the features, X.drop(columns={both!r}), or "
            "rename one of them"
        )
    twice = frames.twice_among(names)
    if twice is not None:
        raise DataError(f"two labels are called {twice!r}; rename one")
    return names


def _new_job() -> int:
    return secrets.randbelow((1 << 128) - 1) + 1


def _number_of(job: Any) -> int:
    is_id = isinstance(job, str) and len(job) == 32 and not job.strip("0123456789abcdefABCDEF")
    number = int(job, 16) if is_id else 0
    if number == 0:
        raise DataError(f"{shown(job)} is no id of a job: it has 32 hexadecimal digits, not all 0")
    return number


def _named(link: Link, digits: Any) -> int:
    """The job whose id begins so."""
    if not isinstance(digits, str) or not digits or digits.strip("0123456789abcdef"):
        raise DataError(f"{shown(digits)} is no beginning of a job's id: write its first hexadecimal digits")
    if len(digits) == 32:
        return _number_of(digits)
    found = [status.job for status in coordinator.jobs_of(link) if status.job.startswith(digits)]
    if len(found) != 1:
        what = "no job begins" if not found else f"{len(found)} jobs begin"
        raise DataError(f"{what} with {digits}: gradwire.jobs() lists them")
    return int(found[0], 16)


def _shown(progress: Progress) -> Callable[[Round], object] | None:
    progress = plain(progress)
    if progress is None or progress is False:
        return None
    if progress is not True and not callable(progress):
        raise DataError(f"progress cannot be {shown(progress)}: it is called with each round, or True writes a line for each")
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
