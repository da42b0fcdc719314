"""Objects: a descriptor, then the elements of tensors (protocol.md, section 4). Owns their bytes and their names; does not
know how they travel."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .errors import DataError, ProtocolError

WEIGHTS, ROWS = 1, 2
F32, U32, U8, U16 = 1, 2, 5, 6
OBJECT_BYTES_MAX = 1 << 30
INDEX_COLUMNS_MAX = 4_096

Layers = list[tuple[np.ndarray, np.ndarray]]


def descriptor(kind: int, tensors: Sequence[tuple[int, tuple[int, ...]]]) -> bytes:
    """What stands before the elements: for each tensor its element and its sides."""
    head = struct.pack("<BB6x", kind, len(tensors))
    for element, sides in tensors:
        head += struct.pack(f"<BBB5x{len(sides)}Q", element, 0, len(sides), *sides)
    return head


def digest_of(data: bytes | bytearray | memoryview) -> bytes:
    return hashlib.sha256(data).digest()


@dataclass(frozen=True)
class Layout:
    """How the inputs of a row are written: those of a column of `columns`, (inputs before it, inputs that it stands for), as an
    index, the others as they are."""

    inputs: int
    columns: tuple[tuple[int, int], ...] = ()

    @property
    def plain(self) -> int:
        """Inputs that are written as they are."""
        return self.inputs - sum(levels for _, levels in self.columns)

    @property
    def index(self) -> np.dtype:
        """The type of an index: its largest value is the number of inputs that it stands for."""
        most = max((levels for _, levels in self.columns), default=0)
        return np.dtype("u1" if most < 1 << 8 else "<u2" if most < 1 << 16 else "<u4")


class RowsObject:
    """An object of rows, made in one piece of memory that is filled in place.

    `features` is f32 `[rows, plain]`, `targets` u32 `[rows]` of classes, or f32 `[rows, outputs]` of numbers, `indices` those of
    `[rows, columns]`."""

    def __init__(self, rows: int, layout: Layout, outputs: int | None):
        """`outputs` is None where the targets are classes."""
        tensors = [(F32, (rows, layout.plain)), (U32, (rows,)) if outputs is None else (F32, (rows, outputs))]
        if layout.columns:
            element = {1: U8, 2: U16, 4: U32}[layout.index.itemsize]
            tensors.append((element, (rows, len(layout.columns))))
        head = descriptor(ROWS, tensors)
        split = len(head) + 4 * rows * layout.plain
        behind = split + 4 * rows * (outputs or 1)
        size = behind + rows * len(layout.columns) * layout.index.itemsize
        if size > OBJECT_BYTES_MAX:
            raise DataError(
                f"{rows} rows of {layout.inputs} inputs take {size} bytes, and an object has at most {OBJECT_BYTES_MAX}; "
                "take more shards, or fewer rows to validate"
            )
        self.rows = rows
        self.bytes = bytearray(size)
        self.bytes[: len(head)] = head
        self.features = np.frombuffer(self.bytes, "<f4", rows * layout.plain, len(head)).reshape(rows, layout.plain)
        elements = np.frombuffer(self.bytes, "<u4" if outputs is None else "<f4", rows * (outputs or 1), split)
        indices = np.frombuffer(self.bytes, layout.index, rows * len(layout.columns), behind)
        self.indices = indices.reshape(rows, len(layout.columns))
        self.targets = elements if outputs is None else elements.reshape(rows, outputs)


def shapes(network: Sequence[int]) -> list[tuple[int, ...]]:
    """The tensors of a network's weights, from the input on."""
    return [shape for i, o in zip(network, network[1:]) for shape in ((i, o), (o,))]


def weights_head(network: Sequence[int]) -> bytes:
    return descriptor(WEIGHTS, [(F32, shape) for shape in shapes(network)])


def weights_bytes(network: Sequence[int]) -> int:
    """The size of a network's weights as an object."""
    return len(weights_head(network)) + 4 * sum(map(math.prod, shapes(network)))


def encode_weights(network: Sequence[int], layers: Layers) -> bytes:
    """Weights as an object."""
    tensors = [tensor for layer in layers for tensor in layer]
    return weights_head(network) + b"".join(np.ascontiguousarray(tensor, "<f4").tobytes() for tensor in tensors)


def decode_weights(network: Sequence[int], data: bytes) -> Layers:
    """The layers in an object of weights: for each, f32 `[inputs, outputs]` and `[outputs]`.

    Raises ProtocolError where it is another object, or holds what is no finite number."""
    head = weights_head(network)
    if data[: len(head)] != head or len(data) != weights_bytes(network):
        raise ProtocolError("OBJECT_MALFORMED", "the object that was sent is not the weights of this network")
    return layers_of(network, np.frombuffer(data, "<f4", offset=len(head)))


def layers_of(network: Sequence[int], parameters: np.ndarray) -> Layers:
    """A network's flat parameters as layers; they are finite, or ProtocolError is raised."""
    if not np.isfinite(parameters).all():
        raise ProtocolError("OBJECT_MALFORMED", "a weight of the model is no finite number")
    tensors, at = [], 0
    for shape in shapes(network):
        size = math.prod(shape)
        tensors.append(parameters[at : at + size].reshape(shape))
        at += size
    return list(zip(tensors[::2], tensors[1::2]))
