"""The specification of a job: its fields, their one encoding, and the two digests (protocol.md, section 5). Owns the table
of the fields; does not know which values are good ones."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

from .errors import DataError, ProtocolError
from .options import plain, shown

OPERATIONAL = 0x4000
NOTES_BYTES_MAX = 262_144
REQUIRED = "required"
HIDDEN_MAX = 64


class Field(NamedTuple):
    """A row of the table. `type` is how `struct` writes a number, or one of the words below; `default` is never written."""

    tag: int
    type: str
    default: Any


FIELDS = {
    "arithmetic": Field(0x0001, "H", 1), "inputs": Field(0x0002, "I", REQUIRED), "hidden": Field(0x0003, "widths", None),
    "classes": Field(0x0004, "I", REQUIRED), "activation": Field(0x0005, "B", 1), "optimiser": Field(0x0006, "B", 1),
    "reduction": Field(0x0007, "B", 1), "initialisation": Field(0x0008, "B", 1), "eta": Field(0x0009, "f", REQUIRED),
    "eta_decay": Field(0x000A, "f", 1.0), "batch": Field(0x000B, "I", None), "epochs": Field(0x000C, "I", 1),
    "log_epsilon": Field(0x000D, "f", 0.0), "stop_loss_change": Field(0x000E, "f", None), "seed": Field(0x000F, "Q", 1),
    "loss": Field(0x0010, "B", 1), "momentum": Field(0x0011, "f", 0.9), "beta1": Field(0x0012, "d", 0.9),
    "beta2": Field(0x0013, "d", 0.999), "epsilon": Field(0x0014, "f", 1e-8), "weight_decay": Field(0x0015, "f", 0.0),
    "local_steps": Field(0x0016, "I", None), "class_weights": Field(0x0017, "floats", None),
    "huber_delta": Field(0x0018, "f", 1.0), "schedule": Field(0x0019, "B", 1),
    "schedule_steps": Field(0x001A, "I", 1), "warmup": Field(0x001B, "I", 0), "label_smoothing": Field(0x001C, "f", 0.0),
    "dropout": Field(0x001D, "f", 0.0), "index_columns": Field(0x001E, "pairs", None),
    "rounds": Field(0x0020, "I", 1), "shards": Field(0x0021, "rows", REQUIRED),
    "validation": Field(0x0022, "row", REQUIRED), "initial": Field(0x0023, "digest", None), "merge": Field(0x0024, "B", 1),
    "outer": Field(0x0025, "B", 1), "outer_eta": Field(0x0026, "f", 1.0), "outer_momentum": Field(0x0027, "f", 0.9),
    "outer_beta1": Field(0x0028, "d", 0.9), "outer_beta2": Field(0x0029, "d", 0.999),
    "outer_epsilon": Field(0x002A, "f", 1e-8), "outer_weight_decay": Field(0x002B, "f", 0.0),
    "outer_schedule": Field(0x002C, "B", 1), "outer_clip": Field(0x002D, "f", None),
    "round_steps": Field(0x002E, "I", None), "patience": Field(0x002F, "I", None), "test": Field(0x0030, "row", None),
    "target_accuracy": Field(0x0031, "d", None), "outer_eta_decay": Field(0x0032, "f", 1.0),
    "outer_warmup": Field(0x0033, "I", 0),
    "on_task_failure": Field(0x4001, "B", 1),
    "allow_inexact": Field(0x4002, "B", None), "on_no_nodes": Field(0x4003, "B", 1),
    "tasks_per_step": Field(0x4004, "I", None), "notes": Field(0xC001, "bytes", None),
}  # fmt: skip
BY_TAG = {field.tag: name for name, field in FIELDS.items()}

# What the numbers of enumerations are called.
CHOICES = {
    "activation": {"relu": 1, "identity": 2, "masked_identity": 3, "tanh": 4},
    "optimiser": {"sgd": 1, "adam": 2, "momentum": 3},
    "loss": {"cross_entropy": 1, "squared_error": 2, "huber": 3},
    "merge": {"mean": 1, "median": 2},
    "outer": {"average": 1, "momentum": 2, "nesterov": 3, "adam": 4},
    "schedule": {"constant": 1, "cosine": 2, "flat_cosine": 3},
    "outer_schedule": {"constant": 1, "cosine": 2, "flat_cosine": 3},
}


def word_of(name: str, value: int) -> str:
    """What the number of an enumeration is called."""
    return next(word for word, number in CHOICES[name].items() if number == value)


def number_of(name: str, value: Any) -> Any:
    """The number of an enumeration's word, or the number itself; of another field its value, without numpy's types.

    Raises DataError where there is no such word or number."""
    value = plain(value)
    choices = CHOICES.get(name)
    if choices is None:
        if isinstance(value, str):
            raise DataError(f"{name} cannot be {shown(value)}: it is a number")
        return value
    if isinstance(value, str) and value in choices:
        return choices[value]
    if isinstance(value, int) and value in choices.values():
        return value
    raise DataError(f"{name} cannot be {shown(value)}: it is one of {', '.join(choices)}")


def checked(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values as their fields take them: words of enumerations as their numbers. Raises DataError."""
    unknown = set(values) - set(FIELDS)
    if unknown:
        raise DataError(f"a specification has no field {', '.join(sorted(map(str, unknown)))}: see protocol.md, section 5")
    told = {name: None if value is None else number_of(name, value) for name, value in values.items()}
    for name, value in told.items():
        if value is not None:
            _written(name, FIELDS[name], value)
    return told


def _written(name: str, field: Field, value: Any) -> bytes:
    try:
        match field.type:
            case "widths":
                return struct.pack(f"<{len(value)}I", *value)
            case "floats":
                return struct.pack(f"<{len(value)}f", *value)
            case "pairs":
                return b"".join(struct.pack("<II", *pair) for pair in value)
            case "rows":
                return b"".join(struct.pack("<I32s", *rows) for rows in value)
            case "row":
                return struct.pack("<I32s", *value)
            case "digest" | "bytes":
                return bytes(value)
            case kind:
                return struct.pack("<" + kind, value)
    except (struct.error, OverflowError, TypeError, ValueError):
        raise DataError(f"the specification's {name} cannot be {shown(value)}: see protocol.md, section 5") from None


def encode(values: Mapping[str, Any], *, semantic: bool = False) -> bytes:
    """A specification's one encoding; the semantic fields alone if asked for.

    Raises DataError where a required field is missing, or a value is not of its field's type."""
    fields = b""
    unknown = set(values) - set(FIELDS)
    if unknown:
        raise DataError(f"a specification has no field {', '.join(sorted(map(str, unknown)))}: see protocol.md, section 5")
    for name, field in FIELDS.items():
        if semantic and field.tag & OPERATIONAL:
            continue
        value = plain(values.get(name))
        if value is None or (isinstance(value, (tuple, list, bytes)) and not value):
            if field.default is REQUIRED:
                raise DataError(f"a specification needs {name}")
            continue
        written = _written(name, field, value)
        is_default = field.default not in (None, REQUIRED) and written == _written(name, field, field.default)
        if not is_default:
            fields += struct.pack("<HI", field.tag, len(written)) + written
    return fields


def decode(fields: bytes) -> dict[str, Any]:
    """A specification's values, defaults among them, without what this package does not know and may skip.

    Raises ProtocolError: it comes from a peer."""
    values = {name: field.default for name, field in FIELDS.items() if field.default not in (None, REQUIRED)}
    at, before = 0, -1
    while at < len(fields):
        if at + 6 > len(fields):
            raise ProtocolError("MALFORMED", "a specification is cut off")
        tag, size = struct.unpack_from("<HI", fields, at)
        written = fields[at + 6 : at + 6 + size]
        at += 6 + size
        if len(written) != size or tag <= before:
            raise ProtocolError("MALFORMED", "a specification's fields are cut off or out of order")
        before = tag
        if tag in BY_TAG:
            name = BY_TAG[tag]
            field = FIELDS[name]
            values[name] = _read(field.type, written)
            is_default = field.default not in (None, REQUIRED) and written == _written(name, field, field.default)
            is_known = name not in CHOICES or values[name] in CHOICES[name].values()
            if is_default or not is_known:
                raise ProtocolError("MALFORMED", f"a specification's {name} is {values[name]!r}, which is not written so")
        elif tag & 0xC000 != 0xC000:
            raise ProtocolError("UNKNOWN_FIELD", f"this version does not know field {tag:#06x} of a job", tag)
    missing = [name for name, field in FIELDS.items() if field.default is REQUIRED and name not in values]
    if missing:
        raise ProtocolError("MALFORMED", f"a specification lacks {', '.join(missing)}")
    if len(values.get("hidden") or ()) > HIDDEN_MAX:
        layers = len(values["hidden"])
        raise ProtocolError("MALFORMED", f"a specification has {layers} hidden layers, and at most {HIDDEN_MAX} are allowed")
    return values


def _read(kind: str, written: bytes) -> Any:
    try:
        match kind:
            case "widths":
                return [width for (width,) in struct.iter_unpack("<I", written)]
            case "floats":
                return [value for (value,) in struct.iter_unpack("<f", written)]
            case "pairs":
                return list(struct.iter_unpack("<II", written))
            case "rows":
                return list(struct.iter_unpack("<I32s", written))
            case "row":
                return struct.unpack("<I32s", written)
            case "digest":
                return struct.unpack("<32s", written)[0]
            case "bytes":
                return written
            case kind:
                return struct.unpack("<" + kind, written)[0]
    except struct.error:
        raise ProtocolError("MALFORMED", "a value of a specification has the wrong length") from None


def network(values: Mapping[str, Any]) -> list[int]:
    """The widths of a job's network: inputs, hidden layers, outputs."""
    return [values["inputs"], *(values.get("hidden") or ()), values["classes"]]


def semantic_digest(values: Mapping[str, Any]) -> bytes:
    """What the job computes, named."""
    return hashlib.sha256(b"gradwire specification 1" + encode(values, semantic=True)).digest()


def fingerprint(semantic: bytes, weights: bytes) -> bytes:
    """What was asked for, and what came of it, named."""
    return hashlib.sha256(b"gradwire fingerprint 1" + semantic + weights).digest()
