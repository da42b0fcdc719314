"""From arrays and frames to inputs: random choices, scales, classes, categories, and what is refused."""

import datetime
import decimal
import re
import struct
import unittest
import warnings
from pathlib import Path

import numpy as np

from gradwire import columns, dataset, frames, options, randomness, recipe, specification, targets, training
from gradwire.columns import Categories, Names, Number
from gradwire.errors import DataError
from gradwire.schema import Schema, SchemaColumn, absent_numbers

from . import book

try:
    import pandas
except ImportError:
    pandas = None


def doubles(words: str) -> list[float]:
    return [struct.unpack(">d", bytes.fromhex(word))[0] for word in words.split()]


def prepare(X, y, **options):
    options = {"split": 0.2, "shards": None, "usual_shards": 4, "seed": 1, **options}
    target = targets.of(y, options.pop("task", None))
    names = [f"t{place}" for place in range(target.values.shape[1] if isinstance(target, targets.Numbers) else 1)]
    return dataset.prepare(frames.of(X), target, names, **options)


class RandomChoices(unittest.TestCase):
    def test_the_stream_and_the_shuffle_have_the_documents_vector(self):
        words, shuffled = re.search(
            r"the first words are `([0-9a-f ]+)`; shuffling 0\.\.9 with it\ngives ([0-9 ]+)\.", book.ARITHMETIC
        ).groups()
        told = randomness.Stream(2, 7, (1, 2, 3)).words(4)
        self.assertEqual([f"{word:08x}" for word in told], words.split())
        self.assertEqual(randomness.Stream(2, 7, (1, 2, 3)).shuffled(10).tolist(), list(map(int, shuffled.split())))

    def test_many_swaps_at_once_come_to_what_one_loop_comes_to(self):
        for count in (0, 1, 2, 3, 17, 1000, 70_001):
            words = iter(randomness.Stream(3, count).words(2 * count + 100).tolist())

            def below(bound):
                while True:
                    product = next(words) * bound
                    if product % 2**32 >= (2**32 - bound) % bound:
                        return product >> 32

            items = list(range(count))
            for place in range(count - 1, 0, -1):
                other = below(place + 1)
                items[place], items[other] = items[other], items[place]
            self.assertEqual(randomness.Stream(3, count).shuffled(count).tolist(), items, count)

    def test_numbers_below_a_bound_that_refuses_half_of_all_words_are_drawn_again(self):
        bound = 2**31 + 1
        words = iter(randomness.Stream(1, 9).words(4000).tolist())
        wanted = []
        while len(wanted) < 1000:
            product = next(words) * bound
            if product % 2**32 >= (2**32 - bound) % bound:
                wanted.append(product >> 32)
        stream = randomness.Stream(1, 9)
        told = [*stream.below(np.full(300, bound)), *stream.below(np.full(700, bound))]
        self.assertEqual([int(number) for number in told], wanted)


class Scales(unittest.TestCase):
    def test_means_deviations_and_inputs_have_the_documents_bits(self):
        lines = re.findall(r"mean ([0-9a-f]+) inverse_deviation ([0-9a-f]+) inputs ([0-9a-f ]+)", book.ARITHMETIC)
        self.assertEqual(len(lines), 2)
        values = [1700000000000, 1700000000100, 1700000000300], [0.1, 0.2, 1e16, -1e16, 0.4]
        for (mean, inverse, inputs), column in zip(lines, values):
            number = Number.learn(np.array(column, float), "median")
            self.assertEqual([number.mean, number.inverse_deviation], doubles(mean + " " + inverse))
            told = np.empty((len(column), 1), np.float32)
            number.encode(np.array(column, float), told, "x")
            self.assertEqual([f"{word:08x}" for word in told.view(np.uint32)[:, 0]], inputs.split())

    def test_medians_ranges_and_bent_inputs_have_the_documents_bits(self):
        lines = re.findall(r"median ([0-9a-f]+) inverse_range ([0-9a-f]+) inputs ([0-9a-f ]+)", book.ARITHMETIC)
        self.assertEqual(len(lines), 2)
        for (median, inverse, inputs), column in zip(lines, ([9, 1, 5, 3, 1e9], [0.1, 0.2, -0.4, 0.7, 1e300, 2.5])):
            number = Number.learn(np.array(column, float), "median", "robust")
            self.assertEqual([number.mean, number.inverse_deviation], doubles(median + " " + inverse))
            told = np.empty((len(column), 1), np.float32)
            number.encode(np.array(column, float), told, "x")
            self.assertEqual([f"{word:08x}" for word in told.view(np.uint32)[:, 0]], inputs.split())

    def test_sums_are_those_of_one_addition_after_the_other(self):
        values = np.random.default_rng(1).normal(size=10_000) ** 5
        total = 0.0
        for value in values.tolist():
            total += value
        self.assertEqual(columns.running_sum(values), total)
        self.assertNotEqual(float(values.sum()), total)

    def test_a_constant_is_centred_and_keeps_its_unit(self):
        self.assertEqual(columns.feature_scale(np.full(3, 0.1)), (0.1, 1.0))
        self.assertEqual(columns.target_scale(np.full(3, 0.1)), (0.1, 1.0))
        # The squares of these are 0 in f64.
        self.assertEqual(columns.feature_scale(np.array([1e-300, 3e-300])), columns.IDENTITY)

    def test_what_stands_for_a_missing_number(self):
        values = np.array([3.0, np.nan, 1.0, 1.0, 7.0, np.nan])
        for impute, fill in [("median", 2.0), ("mean", 3.0), ("most", 1.0), ("refuse", None)]:
            self.assertEqual(Number.learn(values, impute).fill, fill, impute)
        self.assertEqual(Number.learn(np.full(4, np.nan), "median"), Number(0.0, 1.0, 0.0, True))
        self.assertTrue(Number.learn(values, "median").is_marked)
        rare = np.where(np.arange(200) < 2, np.nan, np.arange(200.0))
        self.assertFalse(Number.learn(rare, "median").is_marked)
        with self.assertRaises(DataError):
            Number.learn(values, "guess")

    def test_minus_zero_comes_before_zero(self):
        for values, middle, most in [
            ([0.0, -0.0, 1.0], "0.0", "-0.0"),
            ([-0.0, -0.0], "-0.0", "-0.0"),
            ([-5, 0.0, -0.0, 7], "0.0", "-0.0"),
            ([4, -5], "-0.5", "-5.0"),
        ]:
            present = np.array(values, float)
            self.assertEqual((str(columns.median(present)), str(columns.most_frequent(present))), (middle, most))
        values = np.random.default_rng(1).normal(size=101)
        self.assertEqual(columns.median(values), np.median(values))
        self.assertEqual(columns.median(values[1:]), np.median(values[1:]))


class Labels(unittest.TestCase):
    def names(self, y, task="classify"):
        return targets.of(np.array(y), task).names

    def test_classes_are_ordered_by_value_if_all_are_numbers_else_by_their_bytes(self):
        self.assertEqual(self.names(["10", "9", "1"]), ["1", "9", "10"])
        self.assertEqual(self.names(["10", "9", "x"]), ["10", "9", "x"])
        self.assertEqual(self.names(["\u00e4", "z", "\U0001f333", "\uffff"]), ["z", "\u00e4", "\uffff", "\U0001f333"])
        self.assertEqual(self.names([10, 9, -0.0, 0.5]), ["0", "0.5", "9", "10"])

    def test_texts_that_are_one_number_are_one_class_where_all_are_numbers(self):
        classes = targets.of(np.array(["1.0", "1", "2", " 2 "]), None)
        self.assertEqual((classes.names, classes.labels.tolist()), (["1", "2"], [0, 0, 1, 1]))
        self.assertEqual(self.names(["1.0", "1", "x"]), ["1", "1.0", "x"])
        self.assertEqual(self.names(["", "a"]), ["a", "missing"])

    def test_a_number_is_written_without_an_exponent(self):
        for number, text in [(1e20, "1" + "0" * 20), (1e-7, "0.0000001"), (2.5, "2.5"), (-0.0, "0"), (1e15, "1000000000000000")]:
            self.assertEqual(targets.label_of(number), text)

    def test_the_task_follows_from_the_labels_types_and_how_many_differ(self):
        whole = lambda different, rows: np.arange(rows) % different  # noqa: E731
        for y, is_of_classes in [
            (whole(32, 512), True), (whole(33, 2000), False), (whole(32, 511), False), (whole(2, 2), True),
            (whole(3, 9) + 0.5, False), (np.array(["a", "b"]), True), (np.zeros((4, 2)), False),
        ]:  # fmt: skip
            self.assertEqual(isinstance(targets.of(y, None), targets.Classes), is_of_classes, y[:3])

    def test_labels_that_cannot_be_used_are_refused_with_a_cure(self):
        cases = [
            ([1.0, np.nan], None, "no finite numbers"), (["a", "b"], "regress", "classify"), ([1, 1], "classify", "1 class"),
            ([[1, 2], [2, 1]], "classify", "regress"), (np.array(["a", 1.5], object), None, "leave out rows"),
            (np.array([None, 1.5], object), None, "are missing"), (np.array(["2024-02-29"], "M8[D]"), None, "seconds"),
            (np.array([1, 2], "m8[s]"), "regress", "seconds"), (np.array([np.timedelta64("NaT")]), None, "seconds"),
            (np.array([0, 2**53, 2**53 + 1]), None, "texts that are no numbers"), (np.array([0, -(2**53) - 1, -(2**53)], object), None, "texts that"),
            (np.array(["0", str(2**53), str(2**53 + 1)]), None, "texts that are no numbers"), (np.array([(1,), 2], object), None, "neither"), ([1j, 2], None, "Complex"), ([], None, "empty"), ([1, 2], "x", "task"),
            (np.arange(70_000), "classify", "65535"),
        ]  # fmt: skip
        for y, task, words in cases:
            with self.assertRaisesRegex(DataError, words):
                targets.of(np.array(y), task)
        with self.assertRaisesRegex(DataError, "masked"):
            targets.of(np.ma.masked_array([1, 2, 3], mask=[True, False, False]), None)

    def test_whole_numbers_beyond_those_that_floats_tell_apart_are_fitted_and_told_apart_as_names(self):
        ids = np.array([0, 2**53, 2**53 + 1])
        self.assertEqual(targets.of(ids, "regress").values.tolist(), [[0.0], [2.0**53], [2.0**53]])
        names = [f"id {number}" for number in ids]
        self.assertEqual(targets.of(np.array(names), None).names, names)
        # As one number in two forms they are one class, as ever.
        self.assertEqual(self.names([str(2**53), f"{2**53}.0", "0"]), ["0", str(2**53)])

    def test_the_class_of_one_label_is_named_as_among_others(self):
        for label, name in [(1, "1"), (True, "1"), (np.int64(7), "7"), (" a ", "a"), ("", "missing"), (b"a", "a"), (0.5, "0.5")]:
            self.assertEqual(targets.name_of(label), name)
        for wrong in (None, (1,), np.datetime64("2024-02-29")):
            with self.assertRaises(DataError):
                targets.name_of(wrong)


class Options(unittest.TestCase):
    def fields(self, rows=20, is_of_classes=True, **asked):
        return recipe.fields(rows, 4, is_of_classes=is_of_classes, **asked)

    def test_numpys_scalars_and_arrays_are_numbers(self):
        asked = {
            "eta": 0.25, "rounds": 3, "batch": 8, "patience": 2, "dropout": 0.5, "weight_decay": 0.125, "label_smoothing": 0.25,
            "warmup": 1, "clip": 2.0, "target_accuracy": 0.5, "seed": 7,
        }  # fmt: skip
        wanted = self.fields(**asked, hidden=[8])
        for kind in (np.float64, np.float32):
            told = {name: kind(value) if isinstance(value, float) else np.int64(value) for name, value in asked.items()}
            for hidden in (np.int64(8), [np.int64(8)], np.array([8])):
                self.assertEqual(self.fields(**told, hidden=hidden), wanted)
        self.assertEqual(self.fields(fields={"hidden": np.array([4, 2]), "eta": np.float64(0.5)})["hidden"], [4, 2])
        encoded = {name: np.float32(0.5) for name in ("eta", "dropout")}
        required = {"inputs": 1, "classes": 2, "shards": [(1, bytes(32))], "validation": (1, bytes(32))}
        self.assertEqual(specification.encode(required | encoded), specification.encode(required | {"eta": 0.5, "dropout": 0.5}))

    def test_options_that_cannot_be_used_are_refused_with_a_cure(self):
        wrong = {
            "batch": (0, -5, "x", 32.0), "rounds": (0, 2.5, "x"), "warmup": (-1, 1.5, "x"), "eta": ("x", [1]), "activation": ("gelu", 77),
            "optimiser": ("x", 9), "loss": ("x", 7), "schedule": ("x", 2), "patience": ("x", -1), "fields": ([1], {"hidden": "x"}, {"bad": 1}),
            "hidden": ([8] * 65, [8.0]),
        }  # fmt: skip
        for name, values in wrong.items():
            for value in values:
                with self.assertRaises(DataError, msg=(name, value)) as refused:
                    self.fields(**{name: value})
                self.assertLess(len(str(refused.exception)), 200)
        with self.assertRaisesRegex(DataError, "exponential"):
            self.fields(schedule="x")
        with self.assertRaises(DataError):
            self.fields(schedule="exponential", eta_decay="x")
        self.assertEqual(self.fields(optimiser=3), self.fields(optimiser="momentum"))
        X, y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
        for options in (
            {"shards": 2.5}, {"shards": "x"}, {"rare": 0}, {"rare": 1.5}, {"rare": "x"}, {"scale": 5}, {"impute": None},
        ):  # fmt: skip
            with self.assertRaises(DataError, msg=options):
                prepare(X, y, **options)

    def test_what_train_is_asked_is_checked_before_a_coordinator_is(self):
        X, y = np.arange(80.0).reshape(40, 2), np.arange(40) % 2
        for options in (
            {"progress": 1}, {"job": "-" + "f" * 31}, {"job": 5}, {"cluster": "\u00e9"}, {"name": 5}, {"name": None}, {"name": "\ud800"},
            {"seed": 1.0}, {"seed": 2**64}, {"validation": X}, {"start_from": "x"}, {"class_weight": {0: "a"}}, {"class_weight": {}},
            {"class_weight": {5: 1.0}}, {"retry_for": "x"}, {"address": 5105},
        ):  # fmt: skip
            with self.assertRaises(DataError, msg=options):
                training.train(X, y, **{"address": "127.0.0.1:1", "retry_for": 0, **options})

    def test_one_class_alone_may_weigh_more(self):
        prepared = prepare(np.arange(40.0).reshape(20, 2), np.arange(20) % 2)
        self.assertEqual(training._class_weights({1: np.float64(5.0)}, prepared), [1.0, 5.0])

    def test_a_path_names_the_data(self):
        self.assertEqual(options.text("name", Path("trees.csv")), "trees.csv")
        self.assertIs(type(options.text("name", np.str_("x"))), str)


class Arrays(unittest.TestCase):
    def test_what_is_masked_is_missing(self):
        data = np.ma.masked_array([[1.0, -999.0], [3, 4]], mask=[[False, True], [False, False]])
        columns = frames.of(data)
        self.assertEqual(columns[0].values.tolist(), [1.0, 3.0])
        self.assertEqual(np.isnan(columns[1].values).tolist(), [True, False])
        whole = np.ma.masked_array([[1, 2], [3, 4]], mask=[[True, False]] * 2)
        self.assertTrue(np.isnan(frames.of(whole)[0].values).all())
        schema = prepare(np.arange(40.0).reshape(20, 2), np.arange(20) % 2).schema
        filled = data.filled(np.nan)
        self.assertEqual(schema.inputs(data).tolist(), schema.inputs(filled).tolist())

    def test_what_is_no_array_is_refused(self):
        class Sparse:
            nnz = 0

            def toarray(self):
                raise AssertionError

        class Strict:
            def __array__(self, *_, **__):
                raise RuntimeError("requires grad")

        schema = prepare(np.arange(40.0).reshape(20, 2), np.arange(20) % 2).schema
        for wrong in ([[1.0], [1.0, 2.0]], Sparse(), Strict()):
            for take in (frames.of, schema.inputs):
                with self.assertRaises(DataError):
                    take(wrong)

    def test_a_table_of_another_library_is_refused_with_a_cure(self):
        class DataFrame:
            columns, dtypes = ["a"], ["f8"]

            def __array__(self, *_, **__):
                return np.zeros((20, 1))

        schema = prepare(np.arange(20.0)[:, None], np.arange(20) % 2).schema
        for take in (frames.of, schema.inputs):
            with self.assertRaisesRegex(DataError, "to_pandas"):
                take(DataFrame())

    def test_sentences_show_numbers_as_numbers(self):
        X, y = np.arange(40.0).reshape(20, 2), np.arange(20.0)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with self.assertRaisesRegex(DataError, "row 0 has 1e\\+200"):
                prepare(X, np.where(y == 0, 1e200, y * 1e199), task="regress")
        schema = prepare(np.arange(20.0)[:, None], np.arange(20) % 2, scale="standard").schema
        with self.assertRaisesRegex(DataError, "row 0 has 1e\\+100"):
            schema.inputs([[1e100]])


class Preparing(unittest.TestCase):
    def test_a_share_of_every_class_is_drawn_and_one_row_of_each_stays(self):
        strata = np.repeat([0, 1, 2], [50, 7, 1])
        chosen = dataset.drawn(strata, 0.2, dataset.VALIDATION, 1)
        self.assertEqual(np.bincount(strata[chosen], minlength=3).tolist(), [10, 1, 0])
        for other in (dataset.drawn(strata, 0.2, dataset.VALIDATION, 2), dataset.drawn(strata, 0.2, dataset.TEST, 1)):
            self.assertNotEqual(chosen.tolist(), other.tolist())
        self.assertEqual(dataset.drawn(strata, "last:3", 0, 1).nonzero()[0].tolist(), [55, 56, 57])
        self.assertEqual(dataset.drawn(strata, "last:0.5", 0, 1).sum(), 29)
        for wrong in (0, 1.0, "0.2x", "last:", "last:1.0", None):
            with self.assertRaises(DataError):
                dataset.drawn(strata, wrong, 0, 1)

    def test_of_classes_too_small_for_their_share_as_many_rows_in_all_are_drawn(self):
        strata = np.arange(60) // 2
        chosen = dataset.drawn(strata, 0.2, dataset.VALIDATION, 1)
        self.assertEqual(chosen.sum(), 12)
        self.assertEqual(np.bincount(strata[~chosen]).min(), 1)
        # Those that come first in the shuffled order, of a class that keeps one.
        order = randomness.Stream(randomness.SPLIT, 1, (dataset.VALIDATION, 0, 0)).shuffled(60)
        left, walked = np.full(30, 1), []
        for row in order:
            if left[strata[row]] > 0 and len(walked) < 12:
                left[strata[row]] -= 1
                walked.append(row)
        self.assertEqual(chosen.nonzero()[0].tolist(), sorted(walked))
        self.assertEqual(dataset.drawn(np.maximum(np.arange(10) - 1, 0), 0.2, dataset.VALIDATION, 1).sum(), 1)

    def test_test_rows_are_drawn_first_from_those_that_are_not_named_to_validate(self):
        strata = np.arange(200) % 4 // 3
        training, validation, tested = dataset.divided(strata, 0.2, 0.1, 1)
        self.assertEqual((len(training), len(validation), len(tested)), (144, 36, 20))
        self.assertEqual(sorted(np.concatenate([training, validation, tested]).tolist()), list(range(200)))
        self.assertEqual(dataset.divided(strata, "last:10", "last:20", 1)[1].tolist(), list(range(170, 180)))
        _, validation, tested = dataset.divided(strata, np.arange(200) < 50, 0.1, 1)
        self.assertEqual((validation.tolist(), len(tested), int(tested.min()) >= 50), (list(range(50)), 15, True))
        with self.assertRaisesRegex(DataError, "to test"):
            dataset.divided(np.zeros(3, int), 0.2, 0.1, 1)

    def test_shards_have_every_training_row_once_and_every_class_evenly(self):
        strata, training = np.arange(103) % 3, np.arange(3, 103)
        shards = dataset.dealt(training, strata, 4, 1)
        self.assertEqual(sorted(np.concatenate(shards).tolist()), training.tolist())
        for shard in shards:
            self.assertLessEqual(np.ptp(np.bincount(strata[shard])), 1)

    def test_data_that_cannot_be_used_are_refused_with_a_cure(self):
        X, y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
        far = np.where(np.arange(20) == 19, 1e120, np.arange(20.0) * 1e-20)[:, None]
        cases = [
            ((X[:5], y), {}, "rows of features"), ((X, y), {"shards": 0}, "shards"), ((X, y), {"shards": 17}, "shards"),
            ((X[:2], ["a", "b"]), {}, "validate"), ((X, [*map(str, range(20))]), {}, "validate"), ((X, y), {"split": "last:20"}, "train"),
            ((np.full((20, 1), np.inf), y), {}, "infinity"), ((np.full((20, 1), 1e141), y), {}, "1e\\+140"),
            ((np.array([["a"]] * 20), y), {}, "no numbers"), ((X * 1j, y), {}, "Complex"), ((np.float64(3), y), {}, "rows"),
            ((np.zeros((20, 0)), y), {}, "0 feature"), ((far, y), {"split": "last:1", "scale": "standard"}, "too far"),
            ((np.where(X == 7, np.nan, X), y), {"impute": "refuse"}, "missing"),
            ((X, np.repeat(["a", "b"], [16, 4])), {"split": "last:4"}, "no row of the class 'b' trains"),
        ]  # fmt: skip
        for (features, labels), options, words in cases:
            with self.assertRaisesRegex(DataError, words, msg=words):
                prepare(features, labels, **options)

    def test_fewer_rows_than_shards_have_a_shard_each(self):
        self.assertEqual(len(prepare(np.arange(4.0)[:, None], [0.5, 1, 2, 3]).shards), 3)

    def test_a_million_rows_go_in_without_a_loop_over_them(self):
        # A loop in Python over rows takes as many calls as there are rows.
        import sys

        calls = 0

        def count(*_):
            nonlocal calls
            calls += 1

        X = np.random.default_rng(1).normal(size=(1_000_000, 16))
        sys.setprofile(count)
        try:
            prepare(X, X[:, 0] > 0)
        finally:
            sys.setprofile(None)
        self.assertLess(calls, 100_000)


class CategoriesLearned(unittest.TestCase):
    names = Names(np.array([0, 1, 0, 2, -1, 1, 3]), ["b", "a", "rare", "once"])

    def test_rare_ones_share_an_input_and_missing_ones_have_their_own(self):
        learned = Categories.learn(self.names, "median", None)
        self.assertEqual(learned, Categories(("a", "b"), True, "own"))
        inputs = np.empty((7, 4), np.float32)
        learned.encode(self.names, inputs, "x")
        self.assertEqual(inputs.argmax(axis=1).tolist(), [1, 0, 1, 2, 3, 0, 2])
        self.assertEqual(inputs.sum(axis=1).tolist(), [1] * 7)

    def test_what_missing_ones_become_is_asked_for(self):
        self.assertEqual(Categories.learn(self.names, "most", 1), Categories(("a", "b", "once", "rare"), False, 0))
        refusing = Categories.learn(self.names, "refuse", 1)
        with self.assertRaisesRegex(DataError, "row 4"):
            refusing.encode(self.names, np.empty((7, 4), np.float32), "x")

    def test_an_unknown_one_is_nothing_where_none_was_rare(self):
        learned = Categories(("a", "b"), False, "unknown")
        inputs = np.empty((3, 2), np.float32)
        learned.encode(Names(np.array([0, 1, -1]), ["b", "new"]), inputs, "x")
        self.assertEqual(inputs.tolist(), [[0, 1], [0, 0], [0, 0]])


class Empty(unittest.TestCase):
    def test_no_rows_are_no_inputs_and_wrong_options_are_named(self):
        X = np.arange(60.0).reshape(20, 3)
        schema = prepare(X, np.arange(20) % 2).schema
        self.assertEqual(schema.inputs(X[:0]).shape, (0, 3))
        self.assertEqual(recipe.fields(20, 4, is_of_classes=True, hidden=64)["hidden"], [64])
        for hidden in (64.5, "64", [64, "a"], [0]):
            with self.assertRaisesRegex(DataError, "hidden cannot be"):
                recipe.fields(20, 4, is_of_classes=True, hidden=hidden)


@unittest.skipUnless(pandas, "there is no pandas")
class Frames(unittest.TestCase):
    def frame(self):
        return pandas.DataFrame({
            "n": [1, 2, 3], "i": pandas.array([1, None, 3], "Int64"), "flag": [True, False, True],
            "c": pandas.Categorical(["x", None, "y"]), "o": np.array([" a ", "NA", 7], object),
        })  # fmt: skip

    def test_columns_are_what_their_types_say(self):
        columns = {column.name: column for column in frames.of(self.frame())}
        kinds = {name: column.kind for name, column in columns.items()}
        self.assertEqual(kinds, {"n": "number", "i": "number", "flag": "boolean", "c": "category", "o": "category"})
        self.assertTrue(np.isnan(columns["i"].values[1]))
        texts = [None if code < 0 else columns["o"].values.texts[code] for code in columns["o"].values.codes]
        self.assertEqual(texts, ["a", None, "7"])
        self.assertEqual(columns["c"].values.codes.tolist(), [0, -1, 1])

    def test_dates_and_names_that_stand_twice_are_refused(self):
        dates = pandas.DataFrame({"when": pandas.to_datetime(["2024-02-29"])})
        for frame, words in [
            (dates, "seconds"),
            (pandas.DataFrame([[1, 2]], columns=["a", "a"]), "two columns"),
            (dates[[]], "no columns"),
        ]:
            with self.assertRaisesRegex(DataError, words):
                frames.of(frame)

    def test_values_that_are_neither_numbers_nor_names_are_refused_by_their_type(self):
        day, time = datetime.date(2024, 2, 29), datetime.time(12)
        for values in ([day, None], [time], [decimal.Decimal("1.5")], [pandas.Timestamp("2024-02-29 12:00")], [datetime.timedelta(1)]):
            with self.assertRaisesRegex(DataError, "seconds"):
                frames.of(pandas.DataFrame({"c": pandas.Series(values, dtype=object)}))
        with self.assertRaisesRegex(DataError, "seconds"):
            frames.of(pandas.DataFrame({"c": pandas.period_range("2024", periods=2, freq="D")}))
        for values in ([[1]], [{}]):
            with self.assertRaisesRegex(DataError, "lists"):
                frames.of(pandas.DataFrame({"c": pandas.Series(values, dtype=object)}))
        halves = pandas.DataFrame({"c": pandas.Series(["\ud800", "a"] * 10, dtype=object)})
        with self.assertRaises(DataError):
            training.train(halves, np.arange(20) % 2, "127.0.0.1:1", retry_for=0)
        # As categories, which somebody said they are, they are names.
        self.assertEqual(frames.of(pandas.DataFrame({"c": pandas.Series([day]).astype("category")}))[0].kind, "category")

    def test_a_truth_value_beside_numbers_is_a_category_of_its_own_whatever_comes_first(self):
        for values in ([1, True, "1", None], [True, 1, None, "1"]):
            names = frames.names_of(pandas.Series(values, dtype=object))
            told = [names.texts[code] if code >= 0 else None for code in names.codes]
            self.assertEqual(told, [None if value is None else str(value) for value in values])

    def test_a_boolean_column_takes_whatever_says_true_and_false(self):
        frame = pandas.DataFrame({"n": np.arange(20.0), "flag": np.arange(20) % 3 == 0})
        schema = prepare(frame, np.arange(20) % 2).schema
        wanted = schema.inputs(pandas.DataFrame({"n": [1.0] * 3, "flag": pandas.array([True, False, None], "boolean")})).tolist()
        for flags in ([True, False, None], [True, False, np.nan], ["yes", "No", "NA"], ["True", "false", ""]):
            told = pandas.DataFrame({"n": [1.0] * 3, "flag": pandas.Series(flags, dtype=object)})
            self.assertEqual(schema.inputs(told).tolist(), wanted, flags)
        self.assertEqual(schema.inputs(pandas.DataFrame({"n": [1.0] * 3, "flag": [1, 0, np.nan]})).tolist(), wanted)
        with self.assertRaisesRegex(DataError, "'perhaps'.*true and false"):
            schema.inputs(pandas.DataFrame({"n": [1.0], "flag": ["perhaps"]}))

    def test_a_name_that_stands_twice_is_refused_where_it_matters(self):
        frame = pandas.DataFrame({"a": np.arange(20.0), "b": np.arange(20.0) ** 2})
        schema = prepare(frame, np.arange(20) % 2).schema
        twice = pandas.concat([frame, frame[["a"]] * 9], axis=1)
        with self.assertRaisesRegex(DataError, "two columns of the frame are called 'a'"):
            schema.inputs(twice)
        other = pandas.concat([frame, frame[["a"]].set_axis(["x"], axis=1), frame[["a"]].set_axis(["x"], axis=1)], axis=1)
        self.assertEqual(schema.inputs(other).tolist(), schema.inputs(frame).tolist())
        with self.assertRaisesRegex(DataError, "X.drop"):
            training.train(frame, frame["b"] > 9, "127.0.0.1:1", retry_for=0)
        target = targets.of(np.arange(20) % 2, None)
        names = training._target_names(np.arange(20), target, frames.of(frame.set_axis(["target", "b"], axis=1)), True)
        self.assertEqual(names, ["target_"])

    def test_rows_are_found_by_names_and_arrays_by_places(self):
        frame = pandas.DataFrame({"a": np.arange(20.0), "b": ["x", "y"] * 10, "c": np.arange(20.0) ** 2})
        schema = prepare(frame, np.arange(20) % 2).schema
        inputs = schema.inputs(frame)
        self.assertEqual(schema.inputs(frame[["c", "b", "a"]]).tolist(), inputs.tolist())
        with self.assertRaisesRegex(DataError, "'c'"):
            schema.inputs(frame[["a", "b"]])
        with self.assertRaisesRegex(DataError, "frame"):
            schema.inputs(np.zeros((2, 3)))
        with self.assertRaisesRegex(DataError, "names"):
            schema.inputs(frame.assign(a="x"))
        self.assertEqual(Schema.from_json(schema.to_json()).inputs(frame).tolist(), inputs.tolist())

    def test_whole_numbers_that_are_categories_are_known_beside_a_missing_one_and_however_they_are_written(self):
        texts = ["1", "2", "10"] * 10
        schema = prepare(pandas.DataFrame({"n": np.arange(30.0), "c": texts}), np.arange(30) % 2).schema
        wanted = schema.inputs(pandas.DataFrame({"n": np.zeros(4), "c": ["2", "10", None, "1"]})).tolist()
        # A missing value makes floats of whole numbers.
        for column in ([2, 10, None, 1], pandas.array([2, 10, None, 1], "Int64"), np.array([2, 10, np.nan, 1], np.float32)):
            frame = pandas.DataFrame({"n": np.zeros(4), "c": column})
            frame["c"] = frame["c"].astype("category")
            with self.assertNoLogs("gradwire", "WARNING"):
                self.assertEqual(schema.inputs(frame).tolist(), wanted)
        # What trained as floats are written is known as whole numbers, too.
        floats = pandas.DataFrame({"n": np.arange(30.0), "c": pandas.Series([1.0, 2.0, None] * 10).astype("category")})
        schema = prepare(floats, np.arange(30) % 2).schema
        self.assertIn("c=1.0", schema.names())
        whole = floats.assign(c=pandas.Series([1, 2, None] * 10, dtype="Int64").astype("category"))
        self.assertEqual(schema.inputs(whole).tolist(), schema.inputs(floats).tolist())

    def test_categories_that_the_model_does_not_know_are_counted(self):
        frame = pandas.DataFrame({"n": np.arange(20.0), "c": ["x", "y"] * 10})
        schema = prepare(frame, np.arange(20) % 2).schema
        with self.assertLogs("gradwire", "WARNING") as said:
            schema.inputs(frame.assign(c=["x", "new", None, "newer"] * 5).head(7))
        words = "c: 3 of 7 rows have a category that was rare or unknown in training, first 'new' in row 1 (counted from 0)"
        self.assertEqual([record.getMessage() for record in said.records], [words])
        with self.assertNoLogs("gradwire", "WARNING"):
            schema.inputs(frame)

    def test_numbers_that_stand_for_no_value_do_so_in_frames_and_arrays(self):
        rows = np.array([[1.5, 2.0], [-999.0, 7.0], [3.0, -0.1], [np.nan, -999.0], [1.25, 0.5]])
        learned = prepare(np.where(np.isin(rows, [-999, -0.1]), np.nan, rows)[[0, 1, 2, 3, 4] * 4], np.arange(20) % 2).schema
        told = {**learned.to_json(), "missing": 'default,-999,"-0,1",-0.1,1e200,x'}
        told["columns"][1]["written"] = "1234,5"
        schema = Schema.from_json(told)
        wanted = rows.copy()
        wanted[[1, 2, 3], [0, 1, 1]] = np.nan
        wanted = learned.inputs(wanted).tolist()
        self.assertEqual(schema.inputs(rows).tolist(), wanted)
        # In single precision -0.1 is another number.
        self.assertEqual(schema.inputs(rows.astype(np.float32)).tolist(), wanted)
        names = ["column 1", "column 2"]
        self.assertEqual(schema.inputs(pandas.DataFrame(rows, columns=names)).tolist(), wanted)
        integers = pandas.DataFrame({"column 1": [-999, 3], "column 2": pandas.array([-999, None], "Int64")})
        missing = pandas.DataFrame({"column 1": [np.nan, 3.0], "column 2": [np.nan, np.nan]})
        self.assertEqual(schema.inputs(integers).tolist(), learned.inputs(missing).tolist())
        # A model without such a token takes the number.
        self.assertNotEqual(learned.inputs(rows).tolist(), wanted)

    def test_a_number_for_no_value_is_read_as_the_column_writes_numbers(self):
        for tokens, about, wanted in [
            ("-999,.5, 7 ", {}, [-999.0, 0.5, 7.0]),
            ('default,"-9,999.5","9,99",nan', {"written": "1,234.5"}, [-9999.5]),
            ('"-9.999,5",9.99', {"written": "1.234,5"}, [-9999.5]),
            ("9 999,9'999,99 99", {"written": "1 234.5"}, [9999.0, 9999.0]),
            ("$-1,-2 $,-3", {"ornament": "$"}, [-1.0, -2.0, -3.0]),
        ]:
            self.assertEqual(absent_numbers(SchemaColumn("x", "number", None, about), tokens), wanted, tokens)
