"""Model files: the same bytes back, and whatever is damaged is refused."""

import contextlib
import dataclasses
import io
import json
import os
import struct
import tempfile
import tracemalloc
import unittest
from pathlib import Path
from unittest import mock

import numpy as np

from gradwire import Model, ModelFileError, frames, jsontext, objects, specification, training, wire
from gradwire.columns import Categories, Names, Number
from gradwire.errors import DataError
from gradwire.notes import Words
from gradwire.schema import Scale, Schema, SchemaColumn


def model(class_names=("1", "2"), targets=None) -> Model:
    network = [2, 3, len(class_names or targets)]
    rng = np.random.default_rng(1)
    layers = [
        (rng.normal(size=(i, o)).astype(np.float32), rng.normal(size=o).astype(np.float32)) for i, o in zip(network, network[1:])
    ]
    semantic = bytes(range(32))
    named = specification.fingerprint(semantic, objects.digest_of(objects.encode_weights(network, layers))).hex()
    columns = [
        SchemaColumn("a", "number", Number(0.1 + 0.2, 1 / 3, 5e-6), {}),
        SchemaColumn("b", "number", Number(0.0, 1.0, None), {}),
    ]
    schema = Schema([*columns, SchemaColumn("y", "number", None, {"becomes": "label"})])
    return Model(network, "tanh", layers, named, semantic.hex(), schema, class_names, targets, {"seed": "1"})


class Files(unittest.TestCase):
    def test_a_model_comes_back_as_the_same_bytes_and_tells_the_same(self):
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "m.safetensors"
            for saved in (model(), model(None, [Scale("t", 7.0, 2.0)]), model(None, [Scale("t", 7.0, 2.0), Scale("u", 0.0, 1.0)])):
                saved.save(path)
                loaded = Model.load(path)
                self.assertEqual(loaded.to_bytes(), saved.to_bytes())
                X = np.random.default_rng(2).normal(size=(5, 2))
                self.assertEqual(loaded.predict(X).tolist(), saved.predict(X).tolist())
            self.assertEqual([other.name for other in Path(directory).iterdir()], ["m.safetensors"])

    def test_a_saved_model_has_the_permissions_of_any_other_file_and_the_umask_stays(self):
        with tempfile.TemporaryDirectory() as directory:
            before = os.umask(0o027)
            try:
                path, other = Path(directory) / "m", Path(directory) / "other"
                other.touch()
                # Another thread's file would have the mask that is set meanwhile.
                with mock.patch("os.umask", side_effect=AssertionError):
                    model().save(path)
                self.assertEqual(path.stat().st_mode, other.stat().st_mode)
            finally:
                os.umask(before)

    def test_a_link_stays_and_what_no_file_may_take_the_place_of_is_refused(self):
        with tempfile.TemporaryDirectory() as directory:
            link, between, file = (Path(directory) / name for name in ("link", "between", "file"))
            link.symlink_to("between")
            between.symlink_to(file)
            for _ in range(2):
                model().save(link)
                self.assertEqual((link.is_symlink(), between.is_symlink(), file.is_symlink()), (True, True, False))
                self.assertEqual(Model.load(file).to_bytes(), model().to_bytes())
            # By a link to the device: were it not refused, only the link would be lost.
            device, pipe = (Path(directory) / name for name in ("device", "pipe"))
            device.symlink_to("/dev/null")
            os.mkfifo(pipe)
            with open(file, "r+b") as open_file:
                for name in (f"/dev/fd/{open_file.fileno()}", device, pipe, directory):
                    with self.assertRaisesRegex(ModelFileError, "no regular file"):
                        model().save(name)
            self.assertEqual(sorted(os.listdir(directory)), ["between", "device", "file", "link", "pipe"])

    def test_a_model_that_cannot_be_written_leaves_what_was_there_and_nothing_else(self):
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "m"
            path.write_text("an older model")
            with mock.patch("os.replace", side_effect=OSError(28, "no room")), self.assertRaisesRegex(ModelFileError, "no room"):
                model().save(path)
            with mock.patch("os.fsync", side_effect=KeyboardInterrupt), self.assertRaises(KeyboardInterrupt):
                model().save(path)
            self.assertEqual((os.listdir(directory), path.read_text()), (["m"], "an older model"))

    def test_whatever_is_cut_or_changed_is_refused(self):
        data = model().to_bytes()
        size = 8 + struct.unpack_from("<Q", data)[0]
        Model.from_bytes(data)
        for end in [0, 7, 8, size - 1, size, len(data) - 1]:
            with self.assertRaises(ModelFileError, msg=end):
                Model.from_bytes(data[:end])
        with self.assertRaisesRegex(ModelFileError, "fingerprint"):
            changed = bytearray(data)
            changed[-1] ^= 1
            Model.from_bytes(bytes(changed))
        changes = [
            ("gradwire model 1", "gradwire model 2"), ("tanh", "gelu"), ('"F32"', '"F64"'), ("2-3-2", "2-3-3"), ("layer.0", "layer.9"),
            ('[\\"1\\",\\"2\\"]', '[\\"1\\"]'), ("schema 1", "schema 9"), ('\\"becomes\\":\\"number\\"', '\\"becomes\\":\\"wonder\\"'),
        ]  # fmt: skip
        for before, after in changes:
            text = data[8:size].decode()
            self.assertIn(before, text)
            header = text.replace(before, after).encode()
            with self.assertRaises(ModelFileError, msg=after):
                Model.from_bytes(struct.pack("<Q", len(header)) + header + data[size:])
        for number in ("1" + "0" * 400, "NaN"):
            header = data[8:size].decode().replace('\\"fill\\":5e-6', f'\\"fill\\":{number}').encode()
            self.assertNotEqual(header, data[8:size])
            with self.assertRaisesRegex(ModelFileError, "no model"):
                Model.from_bytes(struct.pack("<Q", len(header)) + header + data[size:])
        with self.assertRaises(ModelFileError):
            Model.load("/nowhere/at/all")
        with self.assertRaises(ModelFileError):
            model().save("/nowhere/at/all")


class Telling(unittest.TestCase):
    def test_classes_have_the_type_that_all_names_have(self):
        for names, wanted in [
            (("1", "2"), "int64"),
            (("0.5", "2"), "float64"),
            (("a", "2"), "<U1"),
            (("01", "2"), "<U2"),
            (("1e3", "2"), "<U3"),
        ]:
            self.assertEqual(model(names).classes.dtype, wanted)
        with self.assertRaises(DataError):
            model(None, [Scale("t", 0.0, 1.0)]).predict_proba(np.zeros((1, 2)))

    def test_probabilities_add_up_and_agree_with_the_class(self):
        told, X = model(), np.random.default_rng(3).normal(size=(40_000, 2))
        probabilities = told.predict_proba(X)
        self.assertLess(np.abs(probabilities.sum(axis=1) - 1).max(), 1e-12)
        self.assertEqual(told.classes[probabilities.argmax(axis=1)].tolist(), told.predict(X).tolist())
        # As many rows at a time as one likes.
        self.assertEqual(told.outputs(X[-3:]).round(9).tolist(), told.outputs(X)[-3:].round(9).tolist())

    def test_inputs_are_made_for_few_rows_at_a_time_where_they_are_many(self):
        rows, levels = 3_000, tuple(f"k{place:04}" for place in range(4_000))
        told = model()
        column = SchemaColumn("id", "category", Categories(levels, False, "refused"), {})
        layers = [(np.ones((4_000, 2), np.float32), np.zeros(2, np.float32))]
        wide = dataclasses.replace(told, network=[4_000, 2], layers=layers, schema=Schema([column]))
        codes = np.arange(rows) % 4_000
        with (
            mock.patch.object(frames, "is_frame", return_value=True),
            mock.patch.object(frames, "names_of", return_value=Names(codes, list(levels))),
        ):
            frame = mock.MagicMock(columns=["id"])
            frame.__len__.return_value = rows
            tracemalloc.start()
            outputs = wide.outputs(frame)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        self.assertEqual(outputs.tolist(), [[1.0, 1.0]] * rows)
        # Those of all rows take 48 MB in f32, and twice that in f64.
        self.assertLess(peak, 72_000_000)

    def test_a_number_that_is_infinite_or_missing_where_none_may_be_is_refused(self):
        told = model()
        told.predict([[np.nan, 1.0]])
        for wrong in ([[1.0, np.nan]], [[1.0, np.inf]], [[1.0]], [1.0, 2.0], [[1.0, 2.0, 3.0, 4.0]]):
            with self.assertRaises(DataError):
                told.predict(wrong)


class WordsOfAJob(unittest.TestCase):
    def test_notes_bring_the_words_back_and_others_are_none(self):
        saved = model()
        words = Words("d", "default", saved.schema, saved.class_names, None, {"class": 1, "errors": 7}, {"class": 0, "errors": 8})
        notes = words.to_notes()
        back = Words.from_notes(notes, 2, 2)
        self.assertEqual((back.to_notes(), back.baseline, back.test_baseline), (notes, words.baseline, words.test_baseline))
        changes = [
            ("notes 1", "notes 2"), ('"class":1', '"class":2'), ('"errors":7', '"errors":-7'), ('"errors":8', '"errors":-8'), ('"class_names"', '"klass_names"'),
            ('"inverse_deviation":1.0', '"inverse_deviation":0.0'), ('"mean":0.0', '"mean":NaN'), ('"feature_means":[', '"feature_means":[0,'),
        ]  # fmt: skip
        for before, after in changes:
            self.assertIn(before, notes.decode())
            self.assertIsNone(Words.from_notes(notes.decode().replace(before, after).encode(), 2, 2), after)
        for inputs, outputs in [(3, 2), (2, 3)]:
            self.assertIsNone(Words.from_notes(notes, inputs, outputs))
        huge = b"1" + b"0" * 400
        strange = [
            notes.replace(b'"mean":0.0', b'"mean":' + huge), notes.replace(b'"errors":7', b'"errors":"7"'),
            notes.replace(b'"feature_means":[', b'"training_sample":7,"feature_means":['), b"[" * 200_000,
        ]  # fmt: skip
        for foreign in (b"", b"null", b"[]", b"{}", b"\xff", *strange):
            self.assertIsNone(Words.from_notes(foreign, 2, 2))
        self.assertIsNone(Words("d" * 300_000, "default", saved.schema, saved.class_names, None, None).to_notes())


class Rounds(unittest.TestCase):
    def test_an_accuracy_is_shown_as_whole_only_where_no_row_is_wrong(self):
        for errors, rows, shown in [(0, 100_000, "100.00 %"), (1, 100_000, " 99.99 %"), (1, 1_000, " 99.90 %"), (4, 4, "  0.00 %")]:
            with contextlib.redirect_stderr(io.StringIO()) as said:
                training._line(wire.Round(1, 1, 0.5, rows, 1, 1, 0, 0.1, {1: 0.5, 2: float(errors)}))
            self.assertIn(f"accuracy {shown} ", said.getvalue())


class Json(unittest.TestCase):
    def test_numbers_come_back_in_the_digits_of_gradwires_programs(self):
        for value, text in [
            (0.0, "0.0"), (-0.0, "-0.0"), (1.0, "1.0"), (0.1 + 0.2, "0.30000000000000004"), (1e15, "1000000000000000.0"), (1e16, "1e+16"), (-1.027e16, "-1.027e+16"),
            (1.5e300, "1.5e+300"), (0.00001, "0.00001"), (0.000001, "1e-6"), (2.2250738585072014e-308, "2.2250738585072014e-308"),
            (123456.75, "123456.75"), (-1.25e-7, "-1.25e-7"),
        ]:  # fmt: skip
            self.assertEqual(jsontext.dumps(value), text)
            self.assertEqual(json.loads(text), value)
        self.assertEqual(jsontext.dumps({"b": [None, True, 3], "a": "\u00e4\n\x01"}), '{"a":"\u00e4\\n\\u0001","b":[null,true,3]}')
        for wrong in (float("nan"), "a\ud800", {"\udfff": 1}):
            with self.assertRaises(DataError):
                jsontext.dumps(wrong)
