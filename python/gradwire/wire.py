"""Bytes <-> values: frames, checksums, messages, tagged fields (protocol.md, sections 2, 3 and 6 to 10). Owns every number
of the wire; does not know sockets, threads or the clock."""

from __future__ import annotations

import math
import struct
import unicodedata
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from .errors import ProtocolError, Refused

VERSION = 1
CLIENT, COORDINATOR = 1, 2
MORE = 0x0001
MAGIC = b"\xf5GRW"
HEADER_BYTES = 24
PAYLOAD_BYTES_MAX, GREETING_PAYLOAD_BYTES_MAX = 1 << 20, 1 << 10
SENTENCE_BYTES_MAX, NAME_BYTES_MAX, HAVE_DIGESTS_MAX = 1000, 64, 1024
DONE_NODES_MAX, METRICS_MAX = 8000, 8
PIECE_HEAD_BYTES = 48
NAME_CHARACTERS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")

MESSAGES = {
    "HELLO": 0x01, "WELCOME": 0x02, "ERROR": 0x03, "CHALLENGE": 0x04, "GOODBYE": 0x05, "PING": 0x08, "PONG": 0x09,
    "CANCEL": 0x0A, "HAVE": 0x10, "HELD": 0x11, "PUT": 0x12, "FETCH": 0x13, "DATA": 0x14, "TRAIN": 0x20, "TRAINED": 0x21,
    "REJECTED": 0x22, "POLL": 0x23, "POLLED": 0x24, "RESULTS": 0x25, "HOLDING": 0x26, "SUBMIT": 0x30, "ACCEPTED": 0x31,
    "ROUND": 0x32, "NOTICE": 0x33, "DONE": 0x34, "ATTACH": 0x35, "JOBS": 0x36, "JOB": 0x37, "LISTED": 0x38,
    "ORDER": 0x39, "DESCRIBE": 0x3A, "DESCRIBED": 0x3B, "LEDGER": 0x3C, "ENTRIES": 0x3D,
    "DOCTOR": 0x3E, "FINDING": 0x3F,
}  # fmt: skip
NAMES = {number: name for name, number in MESSAGES.items()}
# What answers a client's requests; partial answers carry MORE, and a final one follows.
WATCHED = frozenset({"ACCEPTED", "ROUND", "NOTICE", "DONE"})
ANSWERS = {
    "PING": {"PONG"}, "HAVE": {"HELD"}, "FETCH": {"DATA"}, "SUBMIT": WATCHED, "ATTACH": WATCHED,
    "JOBS": {"JOB", "LISTED"}, "ORDER": {"JOB", "LISTED"}, "DESCRIBE": {"DESCRIBED"},
}  # fmt: skip
PARTIAL = frozenset({"ACCEPTED", "ROUND", "NOTICE", "JOB", "FINDING"})
# What a coordinator may ask a client.
ASKED = frozenset({"PING", "HAVE", "FETCH"})
ANSWER_NAMES = frozenset().union(*ANSWERS.values()) | {"TRAINED", "REJECTED", "POLLED", "HOLDING", "ENTRIES", "FINDING"}

CODES = {
    1: "MAGIC", 2: "HEADER_CHECKSUM", 3: "PAYLOAD_CHECKSUM", 4: "VERSION", 5: "FRAME_TOO_LARGE", 6: "UNKNOWN_TYPE",
    7: "FLAGS", 8: "MALFORMED", 9: "UNEXPECTED", 10: "REQUEST_ID", 11: "TIMEOUT", 12: "CLUSTER", 13: "AUTHENTICATION",
    14: "BUSY", 15: "CLOSING", 16: "RECOVERING", 17: "CANCELLED", 20: "UNKNOWN_OBJECT", 21: "OBJECT_HASH",
    22: "OBJECT_RANGE", 23: "OBJECT_TOO_LARGE", 24: "OBJECT_MALFORMED", 30: "SPECIFICATION", 31: "UNKNOWN_FIELD",
    32: "ARITHMETIC", 33: "CONFLICT", 34: "TRAINING", 35: "INTERNAL", 36: "MEMORY", 40: "NO_NODES", 41: "TASK_FAILED",
    42: "JOB_DATA", 43: "PAUSED", 44: "UNKNOWN_JOB",
}  # fmt: skip
CODE_NUMBERS = {name: number for number, name in CODES.items()}
STATES = {1: "collecting", 2: "queued", 3: "running", 4: "done", 5: "failed", 6: "cancelled", 7: "paused"}
NOTICES = {1: "other", 2: "nodes", 3: "no nodes", 4: "skipped", 5: "differs", 6: "fleet", 7: "load"}


class Frame(NamedTuple):
    """A whole frame whose checksums are right."""

    type: int
    flags: int
    request: int
    payload: bytes


def malformed(text: str) -> ProtocolError:
    return ProtocolError("MALFORMED", text)


def header(name: str, request: int, payload_bytes: int, payload_crc: int, flags: int = 0) -> bytes:
    """A frame's first 24 bytes."""
    head = struct.pack("<4sBBHIII", MAGIC, VERSION, MESSAGES[name], flags, request, payload_bytes, payload_crc)
    return head + struct.pack("<I", zlib.crc32(head))


def frame(name: str, request: int, payload: bytes = b"", flags: int = 0) -> bytes:
    """A whole frame."""
    return header(name, request, len(payload), zlib.crc32(payload), flags) + payload


class Decoder:
    """A stream of bytes into frames, checked in the order of protocol.md, "The order of checks", 1 to 5."""

    def __init__(self, payload_bytes_max: int):
        self.payload_bytes_max = payload_bytes_max
        self.bytes = bytearray()

    def frames(self, data: bytes) -> Iterator[Frame]:
        """The frames that are whole with these bytes.

        Raises ProtocolError; the stream is lost then."""
        self.bytes += data
        while (whole := self.next()) is not None:
            yield whole

    def next(self) -> Frame | None:
        start = bytes(self.bytes[: len(MAGIC)])
        if start != MAGIC[: len(start)]:
            raise ProtocolError("MAGIC", f"these bytes are no frame of gradwire: {start!r}")
        if len(self.bytes) < HEADER_BYTES:
            return None
        _, version, kind, flags, request, size, payload_crc, header_crc = struct.unpack_from("<4sBBHIIII", self.bytes)
        crc = zlib.crc32(self.bytes[: HEADER_BYTES - 4])
        if crc != header_crc:
            raise ProtocolError("HEADER_CHECKSUM", "the header's checksum is wrong", crc, header_crc)
        if version != VERSION:
            raise ProtocolError("VERSION", f"a frame is of version {version}", version * 257, VERSION * 257)
        if size > self.payload_bytes_max:
            text = f"a payload has {size} bytes, and at most {self.payload_bytes_max} are allowed now"
            raise ProtocolError("FRAME_TOO_LARGE", text, size, self.payload_bytes_max)
        if len(self.bytes) < HEADER_BYTES + size:
            return None
        payload = bytes(self.bytes[HEADER_BYTES : HEADER_BYTES + size])
        del self.bytes[: HEADER_BYTES + size]
        crc = zlib.crc32(payload)
        if crc != payload_crc:
            raise ProtocolError("PAYLOAD_CHECKSUM", "a payload's checksum is wrong", crc, payload_crc)
        return Frame(kind, flags, request, payload)


class Reader:
    """A payload, read from the front to its last byte."""

    def __init__(self, payload: bytes):
        self.payload, self.at = payload, 0

    def take(self, layout: str) -> tuple[Any, ...]:
        size = struct.calcsize(layout)
        return struct.unpack(layout, self.raw(size))

    def raw(self, size: int) -> bytes:
        end = self.at + size
        if end > len(self.payload):
            raise malformed(f"a payload ends {end - len(self.payload)} bytes too early")
        taken, self.at = self.payload[self.at : end], end
        return taken

    def rest(self) -> bytes:
        return self.raw(len(self.payload) - self.at)

    def zeros(self, size: int) -> None:
        if any(self.raw(size)):
            raise malformed("reserved bytes are not zero")

    def sentence(self) -> str:
        (size,) = self.take("<H")
        return sentence(self.raw(size))

    def end(self) -> None:
        if self.at != len(self.payload):
            raise malformed(f"a payload has {len(self.payload) - self.at} bytes too many")


def sentence(data: bytes) -> str:
    """Text for a person."""
    if len(data) > SENTENCE_BYTES_MAX:
        raise malformed(f"a sentence has {len(data)} bytes, and at most {SENTENCE_BYTES_MAX} are allowed")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise malformed("a sentence is not UTF-8") from None
    if any(unicodedata.category(letter) == "Cc" for letter in text):
        raise malformed("a sentence holds control characters")
    return text


def name(data: bytes) -> str:
    if not 1 <= len(data) <= NAME_BYTES_MAX or not NAME_CHARACTERS.issuperset(data):
        raise malformed("a name is not one")
    return data.decode("ascii")


def truth(value: int) -> bool:
    if value > 1:
        raise malformed(f"a truth value is {value}")
    return bool(value)


def with_text(text: str) -> bytes:
    """A sentence as the wire has it, without what it may not have and cut where it is too long."""
    kept = "".join(letter for letter in text if unicodedata.category(letter) not in ("Cc", "Cs"))
    data = kept.encode("utf-8")[:SENTENCE_BYTES_MAX].decode("utf-8", "ignore").encode("utf-8")
    return struct.pack("<H", len(data)) + data


# Greeting ------------------------------------------------------------------------------------------------------------


def hello(identity: bytes, nonce: bytes, software: str, cluster: str | None) -> bytes:
    """HELLO's payload."""
    fields = b""
    if cluster is not None:
        fields += struct.pack("<HH", 0x0001, len(cluster)) + cluster.encode("ascii")
    told = with_text(software)
    fields += struct.pack("<HH", 0x8003, len(told)) + told
    fixed = struct.pack("<BBBBI", VERSION, VERSION, CLIENT, 0, PAYLOAD_BYTES_MAX)
    return fixed + identity + nonce + fields


class Welcome(NamedTuple):
    """What matters of WELCOME."""

    payload_bytes_max: int
    cluster: str | None


def welcome(payload: bytes) -> Welcome:
    """WELCOME of a coordinator, in the dialler's order of checks."""
    reader = Reader(payload)
    version, reserved, role, reserved_too, payload_bytes_max = reader.take("<BBBBI")
    reader.raw(48)  # id and nonce
    if reserved or reserved_too:
        raise malformed("reserved bytes of WELCOME are not zero")
    if version != VERSION:
        raise ProtocolError("VERSION", f"the peer picked version {version}", version * 257, VERSION * 257)
    if role not in (1, 2, 3):
        raise malformed(f"there is no role {role}")
    if payload_bytes_max < GREETING_PAYLOAD_BYTES_MAX:
        raise malformed(f"the peer takes payloads of only {payload_bytes_max} bytes")
    cluster = None
    before = -1
    while reader.at < len(payload):
        tag, size = reader.take("<HH")
        value = reader.raw(size)
        if tag <= before:
            raise malformed("fields of WELCOME are not in order")
        before = tag
        if tag == 0x0001:
            cluster = name(value)
        elif tag not in (0x0002, 0x8001, 0x8002, 0x8003, 0x8004, 0x8005, 0x8006, 0x8007) and not tag & 0x8000:
            raise ProtocolError("UNKNOWN_FIELD", f"field {tag:#06x} of WELCOME is not known here", tag)
    if role != COORDINATOR:
        raise ProtocolError("UNEXPECTED", "this is no coordinator: is the port right?")
    return Welcome(min(payload_bytes_max, PAYLOAD_BYTES_MAX), cluster)


# Requests ------------------------------------------------------------------------------------------------------------


def submit(job: int, rounds_seen: int, fields: bytes) -> bytes:
    return job.to_bytes(16, "little") + struct.pack("<II", rounds_seen, len(fields)) + fields


def attach(job: int, rounds_seen: int) -> bytes:
    return job.to_bytes(16, "little") + struct.pack("<I", rounds_seen)


def order(job: int, verb: int) -> bytes:
    return job.to_bytes(16, "little") + struct.pack("<B3x", verb)


def fetch(digest: bytes, offset: int, bytes_max: int) -> bytes:
    return digest + struct.pack("<QII", offset, bytes_max, 0)


def error(code: str, about: int, text: str, got: int = 0, allowed: int = 0, retry: bool = False) -> bytes:
    mask = (1 << 64) - 1
    return struct.pack("<HBBQQ", CODE_NUMBERS[code], about, retry, got & mask, allowed & mask) + with_text(text)


# Answers -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Accepted:
    """Where a job stands as its watching begins."""

    state: str
    attached: bool
    queue_position: int
    rounds_done: int


@dataclass(frozen=True)
class Round:
    """A round that has ended. `loss` is the training loss, a mean over rows; `metrics` are sums over the `rows` validation
    rows by their tags (1 loss, 2 errors, 3 squares, 4 magnitudes)."""

    round: int
    rounds: int
    loss: float
    rows: int
    nodes: int
    merged: int
    skipped: int
    seconds: float
    metrics: dict[int, float]

    @property
    def accuracy(self) -> float | None:
        """The share of validation rows whose class is told; None where numbers are fitted."""
        return 1.0 - self.metrics[2] / self.rows if 2 in self.metrics else None

    @property
    def rmse(self) -> float | None:
        """The root mean square error over the validation rows, in standard deviations of the target (of several, the root of
        the mean over rows of their squares added up); None of classes."""
        return (self.metrics[3] / self.rows) ** 0.5 if 3 in self.metrics else None


@dataclass(frozen=True)
class Notice:
    """Something that a person wants to know."""

    kind: str
    text: str


@dataclass(frozen=True)
class Done:
    """How a job ended. The model is of `round`, of so many `rounds` done; the metrics are sums over the `rows` validation rows
    and the `test_rows`, as those of `Round`, and more. `confusion` names the object, of so many bytes, that tells which class
    these rows were taken for; it is empty where there are no classes."""

    fingerprint: bytes
    weights: bytes
    weights_bytes: int
    rows: int
    loss: float
    merged: int
    skipped: int
    microseconds: dict[str, int]
    revivals: int
    reproducible: bool
    rounds: int
    round: int
    metrics: dict[int, float]
    test_rows: int
    test_metrics: dict[int, float]
    confusion: bytes
    confusion_bytes: int
    nodes: dict[str, int]


@dataclass(frozen=True)
class JobStatus:
    """How a job stands. `model` is the fingerprint of a done job, the weights' digest of one that was given up, cancelled
    or paused, else empty; `code` and `text` say why such a one stands so."""

    job: str
    state: str
    code: str | None
    rounds_done: int
    rounds: int
    queue_position: int
    submitted_ms: int
    ended_ms: int
    model: str
    text: str


@dataclass(frozen=True)
class Piece:
    """DATA."""

    digest: bytes
    object_bytes: int
    offset: int
    bytes: bytes


def metrics_of(reader: Reader) -> dict[int, float]:
    (count,) = reader.take("<I")
    if count > METRICS_MAX:
        raise malformed(f"{count} metrics are more than {METRICS_MAX}")
    pairs = [reader.take("<Hd") for _ in range(count)]
    if any(tag >= following for (tag, _), (following, _) in zip(pairs, pairs[1:])):
        raise malformed("metrics are not in order")
    return dict(pairs)


def job_id(reader: Reader) -> str:
    return f"{int.from_bytes(reader.raw(16), 'little'):032x}"


def accepted(reader: Reader) -> Accepted:
    state, attached, reserved, queue_position, rounds_done = reader.take("<BBHII")
    if state not in STATES or reserved:
        raise malformed(f"ACCEPTED says state {state}")
    return Accepted(STATES[state], truth(attached), queue_position, rounds_done)


def round_of(reader: Reader) -> Round:
    number, rounds, loss, rows, nodes, merged, skipped, reserved, us = reader.take("<IIdQIIIIQ")
    if reserved:
        raise malformed("reserved bytes of ROUND are not zero")
    if not rows:
        raise malformed("ROUND tells of no validation rows")
    metrics = metrics_of(reader)
    is_score = metrics.get(2, 0.0) <= rows and not any(metrics.get(tag, 0.0) < 0.0 for tag in (2, 3, 4))
    if not 1 <= number <= rounds or not math.isfinite(loss) or not is_score:
        raise malformed(f"ROUND tells of round {number} of {rounds}, with a loss of {loss} and metrics {metrics}")
    return Round(number, rounds, loss, rows, nodes, merged, skipped, us / 1e6, metrics)


def notice(reader: Reader) -> Notice:
    (kind,) = reader.take("<B")
    reader.zeros(3)
    if kind not in NOTICES:
        raise malformed(f"there is no notice of kind {kind}")
    return Notice(NOTICES[kind], reader.sentence())


TIMES = ("elapsed", "prepare", "compute", "wire", "stragglers", "no_nodes", "merge", "validate", "training", "validating")


def done(reader: Reader) -> Done:
    fingerprint, weights, weights_bytes, rows, loss, merged, skipped = reader.take("<32s32sQQdQQ")
    microseconds = dict(zip(TIMES, reader.take("<10Q")))
    revivals, reproducible = reader.take("<IB")
    reader.zeros(3)
    rounds, round_told = reader.take("<II")
    metrics = metrics_of(reader)
    (test_rows,) = reader.take("<Q")
    test_metrics = metrics_of(reader)
    if test_metrics and not test_rows:
        raise malformed("DONE has metrics of no test rows")
    confusion, confusion_bytes = reader.take("<32sQ")
    if any(confusion) != (confusion_bytes > 0):
        raise malformed("DONE names an object without a size, or a size without an object")
    (count,) = reader.take("<I")
    if count > DONE_NODES_MAX:
        raise malformed(f"{count} nodes are more than {DONE_NODES_MAX}")
    nodes: dict[str, int] = {}
    for _ in range(count):
        (size,) = reader.take("<H")
        node = name(reader.raw(size))
        if node in nodes:
            raise malformed(f"DONE lists {node} twice")
        (nodes[node],) = reader.take("<Q")
    return Done(
        fingerprint, weights, weights_bytes, rows, loss, merged, skipped, microseconds, revivals, truth(reproducible), rounds,
        round_told, metrics, test_rows, test_metrics, confusion if confusion_bytes else b"", confusion_bytes, nodes,
    )  # fmt: skip


def job_status(reader: Reader) -> JobStatus:
    job = job_id(reader)
    state, reserved, code, rounds_done, rounds, position, submitted, ended = reader.take("<BBHIIIQQ")
    model, text = reader.raw(32), reader.sentence()
    if state not in STATES or reserved or (code and code not in CODES):
        raise malformed(f"JOB says state {state} and code {code}")
    model_name = model.hex() if any(model) else ""
    return JobStatus(job, STATES[state], CODES.get(code), rounds_done, rounds, position, submitted, ended, model_name, text)


def data(reader: Reader) -> Piece:
    digest, object_bytes, offset = reader.take("<32sQQ")
    piece = reader.rest()
    if not piece or offset + len(piece) > object_bytes:
        raise malformed("a piece of an object is empty, or goes beyond its end")
    return Piece(digest, object_bytes, offset, piece)


def held(reader: Reader) -> list[int]:
    (count,) = reader.take("<I")
    if count > HAVE_DIGESTS_MAX:
        raise malformed(f"{count} numbers are more than {HAVE_DIGESTS_MAX}")
    return list(reader.take(f"<{count}Q"))


def described(reader: Reader) -> tuple[str, bytes]:
    job = job_id(reader)
    (size,) = reader.take("<I")
    return job, reader.raw(size)


def refused(reader: Reader) -> Refused:
    code, about, retry, got, allowed = reader.take("<HBBQQ")
    if code not in CODES:
        raise malformed(f"there is no error {code}")
    return Refused(CODES[code], reader.sentence(), truth(retry), got, allowed, about)


READERS = {
    "ACCEPTED": accepted, "ROUND": round_of, "NOTICE": notice, "DONE": done, "JOB": job_status, "DATA": data, "HELD": held,
    "LISTED": lambda reader: reader.take("<I")[0], "DESCRIBED": described, "PONG": lambda reader: reader.take("<IId"),
    "ERROR": refused, "GOODBYE": Reader.sentence, "CANCEL": lambda reader: reader.take("<I")[0],
    "PING": lambda reader: None, "FETCH": lambda reader: reader.take("<32sQII"),
    "HAVE": lambda reader: [reader.raw(32) for _ in range(have_count(reader))],
}  # fmt: skip


def have_count(reader: Reader) -> int:
    (count,) = reader.take("<I")
    if count > HAVE_DIGESTS_MAX:
        raise malformed(f"{count} digests are more than {HAVE_DIGESTS_MAX}")
    return count


def decode(name: str, payload: bytes) -> Any:
    """What a message says that a client may hear.

    Raises ProtocolError."""
    reader = Reader(payload)
    value = READERS[name](reader)
    reader.end()
    return value
