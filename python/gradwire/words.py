"""A job in words, for its model file: what was asked, and how good the result is (docs/model-file.md, section 2, the keys
`job.*`). A function of the job alone, so that the same job gives the same file."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

import numpy as np

from . import objects, sample, specification
from .notes import Words
from .specification import word_of
from .wire import Done

LOSS_CLASSES, LOSS_HUBER = 1, 3
ERRORS, SQUARES, MAGNITUDES = 2, 3, 4  # tags of metrics
LOG_LOSS, IN_TOP, BALANCED, AREA, SQUARED_TOTAL, ABSOLUTE_TOTAL, VARIATION = range(5, 12)  # those of a job's result alone


def single(value: float) -> str:
    """An f32 in as few digits as bring it back."""
    return np.format_float_positional(np.float32(value), unique=True, trim="-")


def double(value: float) -> str:
    """An f64 in as few digits as bring it back."""
    return np.format_float_positional(np.float64(value), unique=True, trim="-")


def block_rows(values: Mapping[str, Any]) -> int:
    """Rows of a block (docs/arithmetic.md, section 16)."""
    parameters = (objects.weights_bytes(specification.network(values)) - len(_head(values))) // 4
    least = 8 if parameters < 4_096 else 16 if parameters < 16_384 else 32 if parameters < 131_072 else 128
    most = max(least, min(values["batch"] // 128, 128))
    return min(1 << (most.bit_length() - 1), values["batch"])


def _head(values: Mapping[str, Any]) -> bytes:
    return objects.weights_head(specification.network(values))


def round_steps(values: Mapping[str, Any]) -> int:
    """Steps of a round."""
    batch, local_steps = values.get("batch"), values.get("local_steps")
    if local_steps is None or batch is None:
        return 1
    if values.get("round_steps") is not None:
        return values["round_steps"]
    shards = [rows for rows, _ in values["shards"]]
    if local_steps > 1:
        return ceil(ceil(max(shards) / batch) / local_steps)
    block = block_rows(values)
    return ceil(sum(ceil(rows / block) for rows in shards) / (batch // block))


def described(values: Mapping[str, Any], words: Words, done: Done) -> dict[str, str]:
    """The keys, without `job.`, of a job of these values that is done."""
    merges_gradients = values.get("local_steps") == 1
    told: dict[str, str] = {} if words.training_sample is None else {sample.KEY: words.training_sample}
    told |= {"data": words.data, "recipe": words.recipe, "arithmetic": str(values["arithmetic"])}
    if not merges_gradients:
        told["optimiser"] = word_of("optimiser", values["optimiser"])
        if told["optimiser"] == "momentum":
            told["momentum"] = single(values["momentum"])
        if values["weight_decay"] > 0.0:
            told["weight_decay"] = single(values["weight_decay"])
        told |= {"eta": single(values["eta"]), "eta_decay": single(values["eta_decay"])}
        if values["schedule"] != 1:
            told |= {"schedule": word_of("schedule", values["schedule"]), "schedule_steps": str(values["schedule_steps"])}
        if values["warmup"]:
            told["warmup"] = str(values["warmup"])
    told["batch"] = "full" if values.get("batch") is None else str(values["batch"])
    if values.get("local_steps") is None:
        told["epochs"] = str(values["epochs"])
    else:
        told |= {"local_steps": str(values["local_steps"]), "round_steps": str(round_steps(values))}
    told["rounds"] = str(values["rounds"])
    if values.get("patience") is not None:
        told |= {"patience": str(values["patience"]), "best_round": f"{done.round} of {done.rounds}"}
    if values.get("target_accuracy") is not None:
        told["target_accuracy"] = double(values["target_accuracy"])
    told |= {"shards": str(len(values["shards"])), "seed": str(values["seed"])}
    if values.get("class_weights"):
        told["class_weights"] = ",".join(single(weight) for weight in values["class_weights"])
    if values["merge"] != 1:
        told["merge"] = word_of("merge", values["merge"])
    told |= _outer(values)
    told["training_rows"] = str(sum(rows for rows, _ in values["shards"]))
    told["validation_rows"] = str(values["validation"][0])
    if values.get("test") is not None:
        told["test_rows"] = str(values["test"][0])
    if values["loss"] != LOSS_CLASSES:
        told["loss"] = word_of("loss", values["loss"])
    if values["loss"] == LOSS_HUBER:
        told["huber_delta"] = single(values["huber_delta"])
    if values["dropout"] > 0.0:
        told["dropout"] = single(values["dropout"])
    if values["label_smoothing"] > 0.0:
        told["label_smoothing"] = single(values["label_smoothing"])
    told |= _score("validation", "baseline", done.rows, done.metrics, words, words.baseline)
    if done.test_rows:
        told |= _score("test", "test_baseline", done.test_rows, done.test_metrics, words, words.test_baseline)
    return told | {"reproducible": "true" if done.reproducible else "false"}


def _outer(values: Mapping[str, Any]) -> dict[str, str]:
    optimiser = word_of("outer", values["outer"])
    if optimiser == "average":
        return {}
    told = {"outer": optimiser, "outer_eta": single(values["outer_eta"])}
    if optimiser != "adam":
        told["outer_momentum"] = single(values["outer_momentum"])
    if values["outer_weight_decay"] > 0.0:
        told["outer_weight_decay"] = single(values["outer_weight_decay"])
    if values["outer_schedule"] != 1:
        told["outer_schedule"] = word_of("outer_schedule", values["outer_schedule"])
    if values["outer_eta_decay"] != 1.0:
        told["outer_eta_decay"] = single(values["outer_eta_decay"])
    if values["outer_warmup"]:
        told["outer_warmup"] = str(values["outer_warmup"])
    if values.get("outer_clip") is not None:
        told["outer_clip"] = single(values["outer_clip"])
    return told


def _score(
    judged: str, guess: str, rows: int, metrics: Mapping[int, float], words: Words, baseline: Mapping[str, Any] | None
) -> dict[str, str]:
    """How good the model is on some rows, beside a guess without features; what both are called in keys."""
    if ERRORS in metrics:
        told = {f"{judged}_errors": double(metrics[ERRORS])}
        figures = {"balanced_accuracy": (BALANCED, 1), "log_loss": (LOG_LOSS, rows), "auc": (AREA, 1)}
        figures["top_3_accuracy"] = IN_TOP, rows
        told |= {f"{judged}_{key}": double(metrics[tag] / over) for key, (tag, over) in figures.items() if tag in metrics}
        if baseline is not None and words.class_names is not None:
            told[f"{guess}_class"] = words.class_names[baseline["class"]]
            told[f"{guess}_errors"] = str(baseline["errors"])
        return told
    if SQUARES not in metrics:
        return {}
    targets = words.targets or ()
    unit = targets[0].deviation if len(targets) == 1 else 1.0
    squared = metrics.get(SQUARED_TOTAL, metrics[SQUARES])
    sums = {judged: (squared, metrics.get(ABSOLUTE_TOTAL, metrics.get(MAGNITUDES, float("nan"))))}
    variation = metrics.get(VARIATION, 0.0)
    if baseline is not None:
        sums[guess] = baseline["squared"], baseline["absolute"]
        variation = metrics.get(VARIATION, baseline["variation"])
    told = {}
    for of, (squared, absolute) in sums.items():
        told[f"{of}_rmse"] = double(float(np.sqrt(squared / rows)) * unit)
        told[f"{of}_mae"] = double(absolute / rows * unit)
        if variation > 0.0:
            told[f"{of}_r2"] = double(1.0 - squared / variation)
    return told
