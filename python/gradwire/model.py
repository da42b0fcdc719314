"""A trained model: what it tells of rows, and its file (docs/model-file.md). Owns the forward pass and the file's names;
does not know how the model came about."""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import jsontext, objects
from .errors import DataError, ModelFileError, ProtocolError
from .notes import Words, target_of
from .options import shown
from .schema import Scale, Schema
from .specification import fingerprint
from .table import label_of
from .targets import number_of
from .wire import Round

FORMAT = "gradwire model 1"
ACTIVATIONS = ("relu", "identity", "masked_identity", "tanh")
HEADER_BYTES_MAX, PARAMETERS_MAX = 100_000_000, 134_217_728
# Links that are followed from one to the next.
LINKS_MAX = 40
# Rows whose outputs are computed at a time, and numbers of the widest layer: some dozens of megabytes.
ROWS_AT_A_TIME, NUMBERS_AT_A_TIME = 1 << 14, 1 << 22


@dataclass(frozen=True, eq=False)
class Model:
    """A trained network, with all that turns rows into its inputs and its outputs into classes or numbers.

    `network` are its widths, from the inputs to the outputs; `layers` for each layer the weights, f32 `[inputs, outputs]`, and
    the bias, f32 `[outputs]`. `class_names` is None where numbers are fitted, and `targets` where classes are told apart. `job`
    is what the job was asked and came to, in words. `history` has the rounds that were watched, of which the model is that of
    `round`, the best; `job_id` is the job's id. All three are empty in a model that was loaded."""

    network: Sequence[int]
    activation: str
    layers: Sequence[tuple[np.ndarray, np.ndarray]]
    fingerprint: str
    semantic_digest: str
    schema: Schema
    class_names: Sequence[str] | None
    targets: Sequence[Scale] | None
    job: Mapping[str, str]
    history: Sequence[Round] = ()
    job_id: str = ""
    round: int = 0

    def __repr__(self) -> str:
        return f"<gradwire.Model {'-'.join(map(str, self.network))} {self.fingerprint[:16]}>"

    @property
    def best(self) -> Round | None:
        """The round that the model is of, where it was watched."""
        return next((told for told in self.history if told.round == self.round), None)

    @property
    def classes(self) -> np.ndarray:
        """The classes in the order of `predict_proba`'s columns: int64 `[classes]` where every name is a whole number written
        plainly, float64 where every one is a number so written, else texts. Raises DataError of a model that fits numbers."""
        if self.class_names is None:
            raise DataError("the model fits numbers, and tells no classes")
        names = list(self.class_names)
        numbers = [number_of(name) for name in names]
        if any(number is None or label_of(number) != name for name, number in zip(names, numbers)):
            return np.array(names)
        is_whole = all(number == int(number) and abs(number) < 2**63 for number in numbers)  # type: ignore
        return np.array(numbers, np.int64 if is_whole else np.float64)

    def outputs(self, X: Any) -> np.ndarray:
        """The network's outputs, logits or scaled numbers: float64 `[rows, outputs]`.

        `X` is an array `[rows, features]`, or a frame. Computed in float64 from the f32 weights, and so up to f32's rounding what
        gradwire's programs compute (docs/arithmetic.md, section 8, has their exact sums). Raises DataError."""
        coded = self.schema.coded(X)
        layers = [(weight.astype(np.float64), bias.astype(np.float64)) for weight, bias in self.layers]
        told = np.empty((len(coded), self.network[-1]))
        rows_at_a_time = max(1, min(ROWS_AT_A_TIME, NUMBERS_AT_A_TIME // max(self.network)))
        for start in range(0, len(coded), rows_at_a_time):
            x = coded.inputs(start, start + rows_at_a_time).astype(np.float64)
            for place, (weight, bias) in enumerate(layers):
                x = x @ weight + bias
                if place < len(layers) - 1 and self.activation == "relu":
                    np.maximum(x, 0.0, out=x)
                if place < len(layers) - 1 and self.activation == "tanh":
                    np.tanh(x, out=x)
            told[start : start + len(x)] = x
        return told

    def predict(self, X: Any) -> np.ndarray:
        """What the model says of each row: its class, of `classes`, `[rows]`; or its number in the target's own unit, float64
        `[rows]`, `[rows, targets]` where there are several."""
        outputs = self.outputs(X)
        if self.targets is None:
            return self.classes[outputs.argmax(axis=1)]
        numbers = outputs * [target.deviation for target in self.targets] + [target.mean for target in self.targets]
        return numbers[:, 0] if len(self.targets) == 1 else numbers

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class: float64 `[rows, classes]`, in the order of `classes`. Raises DataError of a model that
        fits numbers."""
        if self.class_names is None:
            raise DataError("the model fits numbers: it has no probabilities")
        logits = self.outputs(X)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    # The file ------------------------------------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """The model file: safetensors. The same model is the same bytes, and those that gradwire's client writes of it."""
        scales = self.schema.scales()
        words = Words("", "", self.schema, self.class_names, self.targets, None)
        lists = {
            "feature_names": self.schema.names(), "feature_means": [mean for mean, _ in scales],
            "feature_inverse_deviations": [inverse for _, inverse in scales], **words.of_target(),
            "schema": self.schema.to_json(),
        }  # fmt: skip
        if any(self.schema.clips()):
            lists["feature_smooth_clips"] = self.schema.clips()
        about = {
            "format": FORMAT, "network": "-".join(map(str, self.network)), "activation": self.activation,
            "fingerprint": self.fingerprint, "semantic_digest": self.semantic_digest,
            **{f"job.{key}": value for key, value in self.job.items()},
            **{key: jsontext.dumps(value) for key, value in lists.items()},
        }  # fmt: skip
        header: dict[str, Any] = {"__metadata__": about}
        start = 0
        for name, tensor in self._tensors():
            end = start + 4 * tensor.size
            header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [start, end]}
            start = end
        text = jsontext.dumps(header).encode("utf-8")
        text += b" " * (-len(text) % 8)
        tensors = b"".join(np.ascontiguousarray(tensor, "<f4").tobytes() for _, tensor in self._tensors())
        return struct.pack("<Q", len(text)) + text + tensors

    def _tensors(self) -> list[tuple[str, np.ndarray]]:
        named = [
            [(f"layer.{place}.weight", weight), (f"layer.{place}.bias", bias)] for place, (weight, bias) in enumerate(self.layers)
        ]
        return [pair for pairs in named for pair in pairs]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the model file, whole or not at all: it takes the place of what is there, and where that is a link of what it
        leads to, once all of it is on the disk.

        Raises ModelFileError."""
        path = _name_of(os.path.abspath(os.fspath(path)))
        # A name of eight random bytes is nobody's.
        part = os.path.join(os.path.dirname(path), f".gradwire-{secrets.token_hex(8)}.part")
        is_begun = False
        try:
            # As any other file, by the process's umask.
            handle = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o666)
            is_begun = True
            with os.fdopen(handle, "wb") as file:
                file.write(self.to_bytes())
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        except BaseException as error:
            if is_begun:
                with contextlib.suppress(OSError):
                    os.unlink(part)
            if not isinstance(error, OSError):
                raise
            raise ModelFileError(f"{path} cannot be written: {error.strerror}; check the directory") from error

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Model:
        """Reads a model file, of this package or of gradwire's client, and checks all of it, the weights against the fingerprint.

        Raises ModelFileError."""
        try:
            with open(path, "rb") as file:
                data = file.read(8 + HEADER_BYTES_MAX + 4 * PARAMETERS_MAX + 1)
        except OSError as error:
            raise ModelFileError(f"{os.fspath(path)} cannot be read: {error.strerror}; check the path") from error
        try:
            return Model.from_bytes(data)
        except ModelFileError as error:
            raise ModelFileError(f"{os.fspath(path)}: {error}") from None

    @staticmethod
    def from_bytes(data: bytes) -> Model:
        """The model in a file's bytes. Raises ModelFileError."""
        try:
            return _from_bytes(data)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, struct.error, RecursionError) as error:
            if isinstance(error, ModelFileError):
                raise
            raise ModelFileError(f"this is no model, or it is damaged ({error}); name a file that gradwire has saved") from None
        except ProtocolError as error:
            raise ModelFileError(f"the model is damaged: {error}") from None


def _name_of(path: str) -> str:
    """The name of the file at an absolute path, links followed. Raises ModelFileError where something else is there, or what a
    program has open, as with /dev/stdout: a file in its place would take the place of the name alone."""
    asked = path
    for _ in range(LINKS_MAX):
        directory = os.path.realpath(os.path.dirname(path))
        is_open = directory == "/dev/fd" or (directory.startswith("/proc/") and directory.endswith("/fd"))
        if is_open or (os.path.exists(path) and not os.path.isfile(path)):
            raise ModelFileError(f"{asked} is no regular file; name another path for the model")
        if not os.path.islink(path):
            break
        path = os.path.join(directory, os.readlink(path))
    return path


def _from_bytes(data: bytes) -> Model:
    (size,) = struct.unpack_from("<Q", data)
    if size > HEADER_BYTES_MAX or 8 + size > len(data):
        raise ModelFileError("this is no model, or it is cut off; name a file that gradwire has saved")
    header = json.loads(data[8 : 8 + size])
    about = header["__metadata__"]
    if about.get("format") != FORMAT:
        raise ModelFileError(f"the format is {about.get('format')!r}, and this version reads {FORMAT!r}")
    network = [int(width) for width in about["network"].split("-")]
    if len(network) < 2 or min(network) < 1 or len(network) > 66:
        raise ModelFileError(f"there is no network {shown(about['network'])}")
    if about["activation"] not in ACTIVATIONS:
        raise ModelFileError(f"the activation is {about['activation']!r}, which this version does not know")
    shapes = objects.shapes(network)
    if sum(map(math.prod, shapes)) > PARAMETERS_MAX:
        raise ModelFileError(f"the network {about['network']} is larger than any")
    names = [f"layer.{place}.{kind}" for place in range(len(network) - 1) for kind in ("weight", "bias")]
    if set(header) != {"__metadata__", *names}:
        raise ModelFileError("the tensors are not those of the network")
    tensors, at = memoryview(data)[8 + size :], 0
    for name, shape in zip(names, shapes):
        end = at + 4 * math.prod(shape)
        wanted = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, end]}
        if header[name] != wanted:
            raise ModelFileError(f"the tensor {name} is {header[name]}, and the network needs {wanted}")
        at = end
    if at != len(tensors):
        raise ModelFileError(f"the tensors have {len(tensors)} bytes, and the network needs {at}; is the file cut off?")
    layers = objects.layers_of(network, np.frombuffer(tensors, "<f4"))
    lists = {key: json.loads(about[key]) for key in ("feature_names", "feature_means", "feature_inverse_deviations")}
    kinds = ("class_names", "target_names", "target_means", "target_deviations")
    class_names, targets = target_of({key: json.loads(about[key]) for key in kinds if key in about})
    if "schema" in about:
        schema = Schema.from_json(json.loads(about["schema"]))
    else:
        pairs = zip(lists["feature_means"], lists["feature_inverse_deviations"], strict=True)
        clips = json.loads(about["feature_smooth_clips"]) if "feature_smooth_clips" in about else None
        schema = Schema.of_numbers(lists["feature_names"], [(float(mean), float(inverse)) for mean, inverse in pairs], clips)
    if schema.width != network[0] or len(class_names or targets or ()) != network[-1]:
        raise ModelFileError("the names of features or classes are not as many as the network's inputs and outputs")
    semantic = bytes.fromhex(about["semantic_digest"])
    named = fingerprint(semantic, objects.digest_of(objects.encode_weights(network, layers))).hex()
    if named != about["fingerprint"]:
        raise ModelFileError(f"the weights are not those of the fingerprint {about['fingerprint']}; they make {named}")
    job = {key[4:]: str(value) for key, value in about.items() if key.startswith("job.")}
    return Model(network, about["activation"], layers, named, semantic.hex(), schema, class_names, targets, job)
