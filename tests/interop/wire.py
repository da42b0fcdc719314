"""The bytes of protocol.md: numbers of things, frames, payloads, tagged fields, objects.

Sections of protocol.md are named in quotes. Knows neither sockets nor mathematics.
"""
import enum
import math
import struct
import types
from zlib import crc32

import numpy as np

MAGIC, VERSION, HEADER_BYTES = b"\xF5GRW", 1, 24
CLIENT, COORDINATOR, NODE = 1, 2, 3  # roles


class Type(enum.IntEnum):
    """Types of messages ("Messages")."""
    HELLO, WELCOME, ERROR, CHALLENGE, GOODBYE = range(0x01, 0x06)
    PING, PONG, CANCEL = range(0x08, 0x0B)
    HAVE, HELD, PUT, FETCH, DATA = range(0x10, 0x15)
    TRAIN, TRAINED, REJECTED, POLL, POLLED = range(0x20, 0x25)
    SUBMIT, ACCEPTED, ROUND, NOTICE, DONE = range(0x30, 0x35)


KNOWN, PARTIAL = set(Type), {Type.ACCEPTED, Type.ROUND, Type.NOTICE}
# Of what a coordinator may send. What is in neither set is alone: on request 0, and nothing answers it.
REQUESTS = {Type.PING, Type.HAVE, Type.PUT, Type.FETCH, Type.TRAIN, Type.POLL}
ANSWERS = {Type.PONG, Type.HELD, Type.DATA}
LAYOUTS = {  # in the notation of `struct`; `*` is whatever is left
    Type.HELLO: "BBBBI16s32s*", Type.ERROR: "HBBQQH*", Type.GOODBYE: "H*", Type.PING: "", Type.PONG: "IId",
    Type.CANCEL: "I", Type.HAVE: "I*", Type.HELD: "I*", Type.PUT: "32sQQ*", Type.FETCH: "32sQII",
    Type.DATA: "32sQQ*", Type.TRAIN: "40sBBH32s*", Type.POLL: "40s",
}


class Code(enum.IntEnum):
    """The codes of ERROR that a node needs ("Errors"). Those before BUSY end the connection."""
    MAGIC, HEADER_CHECKSUM, PAYLOAD_CHECKSUM, VERSION, FRAME_TOO_LARGE, UNKNOWN_TYPE, FLAGS = range(1, 8)
    MALFORMED, UNEXPECTED, REQUEST_ID, TIMEOUT, CLUSTER = range(8, 13)
    BUSY, CANCELLED = 14, 17
    UNKNOWN_OBJECT, OBJECT_HASH, OBJECT_RANGE, OBJECT_TOO_LARGE, OBJECT_MALFORMED = range(20, 25)
    SPECIFICATION, UNKNOWN_FIELD, ARITHMETIC, TRAINING, INTERNAL = 30, 31, 32, 34, 35


class Refusal(Exception):
    """What an ERROR says; `about` is the type of message that it speaks of."""

    def __init__(self, code, sentence, got=0, allowed=0, retry=0):
        super().__init__(f"{code.name}: {sentence}")
        self.code, self.sentence, self.about = code, sentence.encode("ascii", "replace"), 0
        self.retry, self.got, self.allowed = retry, got, allowed

    def payload(self):
        numbers = self.code, self.about, self.retry, self.got, self.allowed, len(self.sentence)
        return struct.pack("<HBBQQH", *numbers) + self.sentence


def check(fits, code, sentence, got=0, allowed=0, retry=0):
    if not fits:
        raise Refusal(code, sentence, got, allowed, retry)


def frame(kind, request, payload):
    """A whole frame ("The header")."""
    head = struct.pack("<4sBBHIII", MAGIC, VERSION, kind, 0, request, len(payload), crc32(payload))
    return head + struct.pack("<I", crc32(head)) + payload


def read_header(data, payload_bytes_max):
    """Type, flags, request, and length and checksum of the payload. Steps 2 to 4 of "The order of checks"."""
    _, version, kind, flags, request, size, payload_crc, header_crc = struct.unpack("<4sBBHIIII", data)
    crc = crc32(data[:-4])
    check(crc == header_crc, Code.HEADER_CHECKSUM, "the header's checksum is wrong", crc, header_crc)
    spoken = 257 * VERSION  # lowest and highest
    check(version == VERSION, Code.VERSION, f"this frame is of version {version}", 257 * version, spoken)
    check(size <= payload_bytes_max, Code.FRAME_TOO_LARGE, "the payload is too long", size, payload_bytes_max)
    return kind, flags, request, size, payload_crc


def split(layout, data):
    """The values of a payload, and for `*` what is left of it. It has neither less nor more."""
    fixed, has_rest = "<" + layout.rstrip("*"), "*" in layout
    size = struct.calcsize(fixed)
    fits = len(data) == size or len(data) > size and has_rest
    check(fits, Code.MALFORMED, f"{len(data)} bytes are where {size} are due")
    values = struct.unpack_from(fixed, data)
    return (*values, data[size:]) if has_rest else values


def fields(data, length):
    """Tagged fields ("Greeting", "The specification"); `length` is the type of their lengths."""
    before = -1
    while data:
        tag, size, data = split(f"H{length}*", data)
        check(tag > before, Code.MALFORMED, f"field {tag:#06x} is out of order or there twice")
        before = tag
        value, data = split(f"{size}s*", data)
        yield tag, value


EXACT, OURS = 1, 40001  # arithmetics; numbers from 32768 on are for private use
RELU, IDENTITY, MASKED_IDENTITY = 1, 2, 3  # activations
SGD, ADAM = 1, 2  # optimisers
MEAN, SUM = 1, 2  # reductions
HIDDEN_LAYERS_MAX = 64
SPECIFICATION = {  # "The specification": name, type, default; None where there is no default
    0x1: ("arithmetic", "H", EXACT), 0x2: ("inputs", "I", None), 0x3: ("hidden", "I", ()),
    0x4: ("classes", "I", None), 0x5: ("activation", "B", RELU), 0x6: ("optimiser", "B", SGD),
    0x7: ("reduction", "B", MEAN), 0x8: ("initialisation", "B", 1), 0x9: ("eta", "f", None),
    0xA: ("eta_decay", "f", 1), 0xB: ("batch", "I", None), 0xC: ("epochs", "I", 1),
    0xD: ("log_epsilon", "f", 0), 0xE: ("stop_loss_change", "f", None), 0xF: ("seed", "Q", 1),
}


def read_recipe(data):
    """Network, recipe and seed of a TRAIN, as attributes; the coordinator has checked most limits."""
    recipe = types.SimpleNamespace(**{name: default for name, _, default in SPECIFICATION.values()})
    for tag, value in fields(data, "I"):
        if tag & 0xC000 == 0xC000:
            continue  # operational, and who does not know it skips it
        check(tag in SPECIFICATION, Code.UNKNOWN_FIELD, f"field {tag:#06x} is not known here", tag)
        name, kind, default = SPECIFICATION[tag]
        numbers = split(f"{len(value) // 4}I" if name == "hidden" else kind, value)
        setattr(recipe, name, numbers if name == "hidden" else numbers[0])
        check(getattr(recipe, name) != default, Code.MALFORMED, f"{name} is written, and has its default")
    required = recipe.inputs, recipe.classes, recipe.eta
    check(None not in required, Code.MALFORMED, "inputs, classes and eta are required")
    known = recipe.activation in (RELU, IDENTITY, MASKED_IDENTITY) and recipe.optimiser in (SGD, ADAM)
    known = known and recipe.reduction in (MEAN, SUM)
    check(known, Code.MALFORMED, "the recipe has a value that there is not")
    sides = recipe.inputs, *recipe.hidden, recipe.classes
    fits = min(sides) > 0 and len(recipe.hidden) <= HIDDEN_LAYERS_MAX
    fits = fits and recipe.epochs > 0 and recipe.eta > 0 and recipe.batch != 0
    check(fits, Code.SPECIFICATION, "a value of the network or the recipe is outside its limits")
    known = recipe.arithmetic in (EXACT, OURS)
    check(known, Code.ARITHMETIC, "this arithmetic is not known here", recipe.arithmetic, OURS)
    layers = zip(sides, sides[1:])
    recipe.shapes = [shape for inputs, outputs in layers for shape in ((inputs, outputs), (outputs,))]
    return recipe


WEIGHTS, ROWS, UPDATE = 1, 2, 3  # kinds of objects
F32, U32 = "<f4", "<u4"
ELEMENTS = {F32: 1, U32: 2}


def descriptor(kind, tensors):
    """The descriptor of an object ("The descriptor"); `tensors` are element and shape of each."""
    head = struct.pack("<BB6x", kind, len(tensors))
    for element, shape in tensors:
        head += struct.pack(f"<BBB5x{len(shape)}Q", ELEMENTS[element], 0, len(shape), *shape)
    return head


def read_tensors(data, kind, tensors):
    """An object's tensors, without a copy. Of the shapes that are needed only one descriptor is right."""
    head, sizes = descriptor(kind, tensors), [4 * math.prod(shape) for _, shape in tensors]
    fits = data[:len(head)] == head and len(data) == len(head) + sum(sizes)
    check(fits, Code.OBJECT_MALFORMED, f"this is no object of kind {kind} with the tensors that are needed")
    found, offset = [], len(head)
    for (element, shape), size in zip(tensors, sizes):
        found.append(np.frombuffer(data[offset:offset + size], element).reshape(shape))
        offset += size
        check(np.isfinite(found[-1]).all(), Code.OBJECT_MALFORMED, "a number is not finite")
    return found


def read_weights(data, recipe):
    return read_tensors(data, WEIGHTS, [(F32, shape) for shape in recipe.shapes])


def read_rows(data, recipe):
    """Features and labels of a shard."""
    rows = int.from_bytes(data[16:24], "little")  # the outer side of the first tensor
    check(rows > 0, Code.OBJECT_MALFORMED, "there is no row")
    x, labels = read_tensors(data, ROWS, [(F32, (rows, recipe.inputs)), (U32, (rows,))])
    check(labels.max() < recipe.classes, Code.OBJECT_MALFORMED, "there is a label that is no class")
    return x, labels


def update_object(changes):
    head = descriptor(UPDATE, [(F32, change.shape) for change in changes])
    return head + b"".join(change.tobytes() for change in changes)
