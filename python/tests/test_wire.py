"""Bytes and numbers, beside protocol.md and its examples."""

import hashlib
import struct
import unittest

import numpy as np

import gradwire
from gradwire import objects, recipe, specification, wire
from gradwire.errors import DataError, ProtocolError

from . import book


class Tables(unittest.TestCase):
    def test_messages_have_the_numbers_and_answers_of_the_document(self):
        table = book.rows(book.PROTOCOL, "| Number | Name | From, to | Kind | Answered by |")
        self.assertEqual({name: int(number, 16) for number, name, *_ in table}, wire.MESSAGES)
        answers = {name: set(filter(None, by.split(", "))) for _, name, _, _, by in table}
        self.assertEqual({name: answers[name] for name in wire.ANSWERS}, wire.ANSWERS)
        self.assertEqual({name for _, name, _, kind, _ in table if kind == "partial"}, wire.PARTIAL)

    def test_errors_have_the_numbers_of_the_document(self):
        table = book.rows(book.PROTOCOL, "| Number | Name | Meaning | Sent on |")
        self.assertEqual({int(number): name for number, name, *_ in table}, wire.CODES)

    def test_fields_have_the_tags_types_and_defaults_of_the_document(self):
        types = {"B": "u8", "H": "u16", "I": "u32", "Q": "u64", "f": "f32", "d": "f64", "widths": "u32 each", "floats": "f32 each", "pairs": "u32, u32 each",
                 "rows": "u32, digest each", "row": "u32, digest", "digest": "digest", "bytes": "bytes"}  # fmt: skip
        table = book.rows(book.PROTOCOL, "| Tag | Field | Type | Default | Meaning |")
        self.assertEqual([row[1] for row in table], list(specification.FIELDS))
        for tag, name, kind, default, *_ in table:
            field = specification.FIELDS[name]
            self.assertEqual((int(tag, 16), kind), (field.tag, types[field.type]), name)
            wanted = "none" if field.default is None else str(field.default)
            self.assertEqual(default, wanted if field.default in (None, "required") else default, name)
            if field.default not in (None, "required"):
                self.assertEqual(float(default), field.default, name)


class Version(unittest.TestCase):
    def test_it_is_that_of_the_programs(self):
        self.assertIn(f'\nversion = "{gradwire.__version__}"\n', (book.ROOT / "Cargo.toml").read_text())


class Frames(unittest.TestCase):
    def examples(self):
        return [(name, book.bytes_of(text)) for name, text in book.blocks("frame")]

    def test_every_example_that_a_client_may_hear_is_read(self):
        read = set()
        for _, data in self.examples():
            (frame,) = wire.Decoder(wire.PAYLOAD_BYTES_MAX).frames(data)
            message = wire.NAMES[frame.type]
            if message in wire.READERS:
                wire.decode(message, frame.payload)
                read.add(message)
        self.assertEqual(read, set(wire.READERS))

    def test_a_stream_gives_the_same_frames_however_it_is_cut(self):
        stream = b"".join(data for _, data in self.examples())
        whole = list(wire.Decoder(wire.PAYLOAD_BYTES_MAX).frames(stream))
        decoder = wire.Decoder(wire.PAYLOAD_BYTES_MAX)
        self.assertEqual([frame for at in range(len(stream)) for frame in decoder.frames(stream[at : at + 1])], whole)
        self.assertGreater(len(whole), 60)

    def test_what_a_client_sends_is_what_the_examples_have(self):
        examples = dict(self.examples())
        job = 0x0123456789ABCDEF0123456789ABCDEF
        fields = book.bytes_of(dict(book.blocks("specification"))["smallest"])
        self.assertEqual(wire.frame("SUBMIT", 1, wire.submit(job, 0, fields)), examples["SUBMIT"])
        frame = next(wire.Decoder(1 << 20).frames(examples["ATTACH"]))
        self.assertEqual(wire.attach(job, *struct.unpack("<I", frame.payload[16:])), frame.payload)
        frame = next(wire.Decoder(1 << 20).frames(examples["ORDER"]))
        self.assertEqual(wire.order(job, frame.payload[16]), frame.payload)

    def test_a_changed_byte_is_refused_with_its_code(self):
        whole = wire.frame("GOODBYE", 0, wire.with_text("bye"))
        for place, code in [(0, "MAGIC"), (3, "MAGIC"), (9, "HEADER_CHECKSUM"), (20, "HEADER_CHECKSUM"), (26, "PAYLOAD_CHECKSUM")]:
            changed = bytearray(whole)
            changed[place] ^= 1
            with self.assertRaises(ProtocolError) as refused:
                list(wire.Decoder(1 << 20).frames(bytes(changed)))
            self.assertEqual(refused.exception.code, code, place)
        with self.assertRaises(ProtocolError) as refused:
            list(wire.Decoder(4).frames(whole[:24]))
        self.assertEqual((refused.exception.code, refused.exception.got), ("FRAME_TOO_LARGE", 5))

    def test_a_payload_with_a_byte_less_or_more_is_malformed(self):
        for name, data in self.examples():
            message = wire.NAMES[data[5]]
            if message not in wire.READERS or message in ("DATA", "PING"):
                continue
            for payload in (data[24:-1], data[24:] + b"\0"):
                with self.assertRaises(ProtocolError, msg=name) as refused:
                    wire.decode(message, payload)
                self.assertEqual(refused.exception.code, "MALFORMED")


class Specifications(unittest.TestCase):
    def test_every_example_comes_back_to_the_byte_and_has_its_digest(self):
        examples = book.blocks("specification")
        self.assertGreater(len(examples), 4)
        for name, text in examples:
            fields = book.bytes_of(text)
            values = specification.decode(fields)
            self.assertEqual(specification.encode(values), fields, name)
            digest = text.split("semantic digest = ")[1][:64]
            self.assertEqual(specification.semantic_digest(values).hex(), digest, name)

    def test_what_is_not_a_specification_is_refused(self):
        fields = book.bytes_of(dict(book.blocks("specification"))["smallest"])
        swapped = fields[8:18] + fields[:8] + fields[18:]
        unknown = fields + struct.pack("<HI", 0x4FFF, 0)
        for wrong, code in [
            (fields[:-1], "MALFORMED"),
            (swapped, "MALFORMED"),
            (fields[8:18], "MALFORMED"),
            (unknown, "UNKNOWN_FIELD"),
            (fields[:8] + struct.pack("<HIB", 5, 1, 9) + fields[8:], "MALFORMED"),
            (fields[:28] + struct.pack("<HIB", 5, 1, 9) + fields[28:], "MALFORMED"),
            (fields[:28] + struct.pack("<HIB", 5, 1, 1) + fields[28:], "MALFORMED"),
        ]:
            with self.assertRaises(ProtocolError) as refused:
                specification.decode(wrong)
            self.assertEqual(refused.exception.code, code)
        specification.decode(fields + struct.pack("<HI", 0xCFFF, 0))  # may be skipped
        for values in ({"inputs": 1}, {**specification.decode(fields), "colour": 1}, {**specification.decode(fields), "eta": "x"}):
            with self.assertRaises(DataError):
                specification.encode(values)

    def test_batches_their_rate_and_their_rounds_follow_the_rows_within_bounds(self):
        for rows, batch, eta in [
            (30, 32, 0.005),
            (2_800, 64, 0.005),
            (4_000, 128, 0.01),
            (8_192, 256, 0.02),
            (14_849, 512, 0.04),
            (1 << 30, 512, 0.04),
        ]:
            self.assertEqual((recipe.usual_batch(rows), np.float32(recipe.usual_eta(batch))), (batch, np.float32(eta)))
        self.assertEqual(recipe.usual_eta(8_192), float(np.float32(0.04)))
        for rows, rounds in [(30, 200), (400, 70), (4_000, 30), (14_849, 30), (100_000, 30), (1 << 30, 30)]:
            self.assertEqual(recipe.usual_rounds(rows, recipe.usual_batch(rows)), rounds)


class Objects(unittest.TestCase):
    def example(self, name):
        text = dict(book.blocks("object"))[name]
        data = book.bytes_of(text)
        self.assertEqual(hashlib.sha256(data).hexdigest(), text.split("SHA-256 = ")[1][:64])
        return data

    def test_weights_and_rows_are_those_of_the_examples(self):
        data = self.example("weights")
        layers = objects.decode_weights([1, 2], data)
        self.assertEqual(objects.encode_weights([1, 2], layers), data)
        self.assertEqual(objects.weights_bytes([1, 2]), len(data))
        rows = objects.RowsObject(2, objects.Layout(1), None)
        rows.features[:], rows.targets[:] = [[1], [-1]], [0, 1]
        self.assertEqual(bytes(rows.bytes), self.example("rows"))
        rows = objects.RowsObject(2, objects.Layout(4, ((1, 2),)), None)
        rows.features[:], rows.indices[:], rows.targets[:] = [[1, -1], [0.5, 2]], [[1], [2]], [0, 1]
        self.assertEqual(bytes(rows.bytes), self.example("rows-with-indices"))
        for levels, bytes_of_index in [(255, 1), (256, 2), (65_535, 2), (65_536, 4)]:
            self.assertEqual(objects.Layout(levels, ((0, levels),)).index.itemsize, bytes_of_index)

    def test_other_weights_are_refused(self):
        data = bytearray(self.example("weights"))
        for network, changed in [([1, 3], data), ([1, 2], data[:-1]), ([1, 2], data[:-4] + struct.pack("<f", float("nan")))]:
            with self.assertRaises(ProtocolError) as refused:
                objects.decode_weights(network, bytes(changed))
            self.assertEqual(refused.exception.code, "OBJECT_MALFORMED")
