"""What only the data know of a job: names, scaling, and what is right without a model (docs/model-file.md, section 6). Owns
how that travels with the job, so that whoever attaches to it can save the same model; does not know the network."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import jsontext, sample
from .dataset import Prepared
from .schema import Scale, Schema
from .specification import NOTES_BYTES_MAX

FORMAT = "gradwire client notes 1"


@dataclass(frozen=True)
class Words:
    """What the data say of a job. `class_names` or `targets` is None."""

    data: str
    recipe: str
    schema: Schema
    class_names: Sequence[str] | None
    targets: Sequence[Scale] | None
    baseline: Mapping[str, Any] | None
    test_baseline: Mapping[str, Any] | None = None
    training_sample: str | None = None

    @staticmethod
    def of(prepared: Prepared, data: str) -> Words:
        return Words(
            data, "default", prepared.schema, prepared.class_names, prepared.targets, prepared.baseline, prepared.test_baseline,
            sample.sample_of(prepared.shards, prepared.layout),
        )  # fmt: skip

    def to_notes(self) -> bytes | None:
        """The notes that bring them back, where they are no longer than notes may be."""
        scales = self.schema.scales()
        notes: dict[str, Any] = {
            "format": FORMAT, "data": self.data, "recipe": self.recipe, "feature_names": self.schema.names(),
            "feature_means": [mean for mean, _ in scales], "feature_inverse_deviations": [inverse for _, inverse in scales],
            "schema": self.schema.to_json(), **self.of_target(),
        }  # fmt: skip
        if any(self.schema.clips()):
            notes["feature_smooth_clips"] = self.schema.clips()
        for key, baseline in (("baseline", self.baseline), ("test_baseline", self.test_baseline)):
            if baseline is not None:
                notes[key] = dict(baseline)
        if self.training_sample is not None:
            notes[sample.KEY] = self.training_sample
        written = jsontext.dumps(notes).encode("utf-8")
        return written if len(written) <= NOTES_BYTES_MAX else None

    def of_target(self) -> dict[str, Any]:
        """What an output means, by the names of notes and model files."""
        if self.class_names is not None:
            return {"class_names": list(self.class_names)}
        targets = self.targets or ()
        return {
            "target_names": [target.name for target in targets], "target_means": [target.mean for target in targets],
            "target_deviations": [target.deviation for target in targets],
        }  # fmt: skip

    @staticmethod
    def from_notes(notes: bytes, inputs: int, outputs: int) -> Words | None:
        """The words in a job's notes; None if they are not a client's, or do not fit so many inputs and outputs."""
        try:
            value = json.loads(notes)
            if value["format"] != FORMAT:
                return None
            schema = value.get("schema")
            scales = [
                tuple(map(float, pair)) for pair in zip(value["feature_means"], value["feature_inverse_deviations"], strict=True)
            ]
            read = Schema.from_json(schema) if schema else Schema.of_numbers(value["feature_names"], scales, value.get("feature_smooth_clips"))  # type: ignore
            class_names, targets = target_of(value)
            judged = value.get("baseline"), value.get("test_baseline")
            for baseline in judged:
                _check_baseline(baseline, class_names)
            known_by = value.get(sample.KEY)
            if not isinstance(known_by, (str, type(None))):
                return None
            words = Words(
                str(value["data"]), str(value["recipe"]), read, class_names, targets, *judged, known_by
            )
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            return None
        fits = read.width == inputs and len(class_names or targets or ()) == outputs
        return words if fits else None


def target_of(value: Mapping[str, Any]) -> tuple[list[str] | None, list[Scale] | None]:
    """Class names, or targets. Raises ValueError, KeyError or TypeError where the value has neither."""
    if "target_names" not in value:
        return [str(name) for name in value["class_names"]], None
    lists = value["target_names"], value["target_means"], value["target_deviations"]
    if len({len(values) for values in lists}) != 1:
        raise ValueError("names, means and deviations of targets are not as many")
    scales = [Scale(str(name), float(mean), float(deviation)) for name, mean, deviation in zip(*lists)]
    if not all(math.isfinite(scale.mean) and math.isfinite(scale.deviation) and scale.deviation > 0.0 for scale in scales):
        raise ValueError("a target's mean or deviation cannot be so")
    return None, scales


def _is_number(value: Any, kinds: type | tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and 0.0 <= float(value) < math.inf  # type: ignore


def _check_baseline(told: Any, class_names: Sequence[str] | None) -> None:
    if told is None:
        return
    if class_names is not None:
        fits = _is_number(told["class"], int) and told["class"] < len(class_names) and _is_number(told["errors"], int)
    else:
        fits = all(_is_number(told[key], (int, float)) for key in ("squared", "absolute", "variation"))
    if not fits:
        raise ValueError("a baseline cannot be so")
