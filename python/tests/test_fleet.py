"""The package beside gradwire's own client, at a coordinator with nodes: the same arrays give the same fingerprint and the
same file.

GRADWIRE_ADDRESS says where the coordinator is, GRADWIRE_CLIENT which program the client is."""

import json
import os
import secrets
import subprocess
import tempfile
import unittest
from pathlib import Path

import numpy as np

import gradwire

try:
    import pandas
except ImportError:
    pandas = None
try:
    import sklearn
except ImportError:
    sklearn = None

CLIENT, ADDRESS = os.environ.get("GRADWIRE_CLIENT"), os.environ.get("GRADWIRE_ADDRESS")


def tables():
    """Twenty tables of many shapes: name, X, y, options of `train`, options of the client."""
    rng = np.random.default_rng(20)

    def normal(rows, features):
        return rng.normal(size=(rows, features))

    def some(X, share=0.05):
        return np.where(rng.random(X.shape) < share, np.nan, X)

    def told(X, classes):
        return (np.argsort(np.argsort(X[:, 0] * np.sign(X[:, -1]))) * classes // len(X)).astype(int)

    X = normal(300, 5)
    yield "two classes", X, told(X, 2), {}, []
    yield "as they are by default", X, told(X, 3), {"rounds": None}, []
    yield "numbers", X, X @ [1, 2, 3, 4, 5] + 7e6, {}, []
    yield "several numbers", X, X @ normal(5, 3), {}, []
    yield "texts", X, np.array(["oak", "elm", "\u00e4sh "])[told(X, 3)], {}, []
    yield "texts that are numbers", X, np.array(["10", "9", "9.0", "1"])[told(X, 4)], {"task": "classify"}, ["--task", "classify"]
    yield "floats as labels", X, np.array([0.5, -1.25, 1e-7, 1e20])[told(X, 4)], {"task": "classify"}, ["--task", "classify"]
    yield "booleans", X > 0, X[:, 0] > 0, {}, []
    yield "classes that weigh the same", X, np.minimum(told(X, 9), 2), {"class_weight": "balanced"}, ["--class-weight", "balanced"]
    yield "far off", X, X @ [1, 2, 3, 4, 5] + 9 * (X[:, 0] > 2), {"loss": "huber", "huber_delta": 0.5}, ["--loss", "huber", "--huber-delta", "0.5"]
    yield "right enough", X, told(X, 2), {"rounds": 9, "target_accuracy": 0.6, "patience": None}, ["--no-early-stopping", "--target-accuracy", "0.6"]
    yield "labels that are less sure", X, told(X, 3), {"label_smoothing": 0.1}, ["--label-smoothing", "0.1"]
    yield "some of the outputs", X, told(X, 3), {"dropout": 0.2, "activation": "tanh"}, ["--dropout", "0.2", "--activation", "tanh"]
    yield "numbers far off", some(X**5), told(X, 2), {"scale": "robust"}, ["--scale", "robust"]
    yield "numbers as they are", X, told(X, 2), {"scale": "none"}, ["--scale", "none"]
    yield "a rate that falls late", X, told(X, 2), {"schedule": "flat_cosine", "warmup": 1}, ["--schedule", "flat_cosine", "--warmup", "1"]
    yield "a rate that decays", X, told(X, 2), {"schedule": "exponential", "eta_decay": 0.5}, ["--schedule", "exponential", "--eta-decay", "0.5"]
    yield "bytes", (normal(200, 30) * 50 + 128).astype(np.uint8), np.arange(200) % 7, {}, []
    yield "small floats", X.astype(np.float32), told(X, 2), {}, []
    yield "big-endian and column by column", np.asfortranarray(X).astype(">f8"), told(X, 2).astype(">i2"), {}, []
    yield "images", normal(120, 48).reshape(120, 4, 12), np.arange(120) % 3, {}, []
    yield "missing values", some(X), told(X, 2), {}, []
    yield "missing values by their mean", some(X, 0.005), told(X, 2), {"impute": "mean"}, ["--impute", "mean"]
    X = np.round(X)
    yield (
        "missing values by the most frequent",
        some(X),
        X[:, 0],
        {"impute": "most", "task": "regress"},
        ["--impute", "most", "--task", "regress"],
    )
    X = normal(257, 4)
    X[:, 1], X[:, 2] = 0.1, np.nan
    yield "a constant and nothing", X, told(X[:, [0, 3]], 2), {}, []
    yield "numbers far from 0", 1.7e12 + 100 * normal(400, 3).round(), normal(400, 1)[:, 0] + 1e15, {}, []
    X = normal(6_000, 3)
    yield "many classes", X, told(X, 150), {"task": "classify", "seed": 7}, ["--task", "classify", "--seed", "7"]
    yield "rare classes", X, np.where(np.arange(6_000) < 3, [*range(3)] * 2000, 9), {}, []
    X = normal(14, 3)
    yield "classes of two rows", X, np.arange(14) % 7, {"task": "classify"}, ["--task", "classify"]
    yield "fewer rows than shards", X[:4], np.arange(4) % 2, {}, []
    # From 1e16 on numbers are written with an exponent.
    yield "numbers of eighteen digits", normal(200, 3) * 1e17, normal(200, 1)[:, 0] * 1e18, {}, []
    X = normal(6_000, 3)
    yield "other options", X, told(X, 5), {
        "hidden": (12, 7), "activation": "tanh", "optimiser": "momentum", "momentum": 0.5, "weight_decay": 0.01, "eta": 0.03, "batch": 64,
        "clip": 2.5, "shards": 7, "seed": 2**63, "validate_split": "last:0.3", "test": "last:500", "patience": 1,
    }, [
        "--hidden", "12,7", "--activation", "tanh", "--optimiser", "momentum", "--momentum", "0.5", "--weight-decay", "0.01", "--eta", "0.03",
        "--batch", "64", "--outer-clip", "2.5", "--shards", "7", "--seed", str(2**63), "--validate-split", "last:0.3", "--test", "last:500", "--patience", "1",
    ]  # fmt: skip


@unittest.skipUnless(CLIENT and ADDRESS, "GRADWIRE_ADDRESS and GRADWIRE_CLIENT name no coordinator and no client")
class Fleet(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)

    def client(self, *options):
        """What gradwire's client says at the end, and the model that it saves."""
        out = self.directory / "theirs.safetensors"
        command = [CLIENT, *ADDRESS.split(":"), "--json", "--out", str(out), *map(str, options)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=100)
        self.assertEqual(ended.returncode, 0, ended)
        return json.loads(ended.stdout.splitlines()[-1]), out.read_bytes()

    def test_tables_give_the_same_fingerprint_and_the_same_file_as_the_client(self):
        self.assertEqual(len({name for name, *_ in tables()}), 32)
        for name, X, y, options, words in tables():
            with self.subTest(name):
                paths = [self.directory / "X.npy", self.directory / "y.npy"]
                np.save(paths[0], X)
                np.save(paths[1], y)
                data = ",".join(map(str, paths))
                options = {"rounds": 2, "name": data, **options}
                rounds = [] if options["rounds"] is None else ["--rounds", options["rounds"]]
                said, file = self.client("--data", data, *rounds, *words)
                model = gradwire.train(X, y, **options)
                self.assertEqual(model.fingerprint, said["fingerprint"])
                self.assertEqual(model.to_bytes(), file)
                if "best_round" in model.job:
                    best, rounds = model.job["best_round"].split(" of ")
                    self.assertEqual((model.best.round, len(model.history)), (int(best), int(rounds)))
                else:
                    # Of numbers that are fitted, so few rows choose no round.
                    self.assertLess(int(model.job["validation_rows"]), 50)

    def test_an_archive_with_rows_that_validate_gives_the_same_too(self):
        rng = np.random.default_rng(3)
        X, y, Xv, yv = rng.normal(size=(90, 4)), rng.integers(0, 3, 90), rng.normal(size=(30, 4)), rng.integers(0, 3, 30)
        path = self.directory / "data.npz"
        np.savez(path, X=X, y=y, X_test=Xv, y_test=yv)
        for options, words in [({}, []), ({"test": 0.2}, ["--test", "0.2"]), ({"patience": None}, ["--no-early-stopping"])]:
            said, _ = self.client("--data", path, "--rounds", 2, *words)
            model = gradwire.train(X, y, validation=(Xv, yv), rounds=2, **options)
            self.assertEqual(model.fingerprint, said["fingerprint"], words)
            self.assertEqual(model.job.get("test_rows"), "18" if "test" in options else None)
        with self.assertRaisesRegex(gradwire.DataError, "leave out one"):
            gradwire.train(X, y, validation=(Xv, yv), validate_split=0.2)

    def test_a_model_of_the_client_predicts_and_is_attached_to_and_started_from(self):
        rng = np.random.default_rng(4)
        X = rng.normal(size=(400, 3))
        y = (X[:, 0] + X[:, 1] > 0).astype(int)
        model = gradwire.train(X, y, rounds=8)
        self.assertGreater((model.predict(X) == y).mean(), 0.9)
        self.assertEqual(round(model.best.accuracy * 80), 80 - int(model.job["validation_errors"]))
        again = gradwire.attach(model.job_id)
        self.assertEqual(again.to_bytes(), model.to_bytes())
        self.assertEqual([told.round for told in again.history], list(range(1, 9)))
        states = {status.job: status for status in gradwire.jobs()}
        self.assertEqual((states[model.job_id].state, states[model.job_id].model), ("done", model.fingerprint))
        path = self.directory / "start.safetensors"
        model.save(path)
        np.save(self.directory / "X.npy", np.column_stack([X, y]))
        said, file = self.client("--data", self.directory / "X.npy", "--start-from", path, "--rounds", 1)
        self.assertEqual(gradwire.train(X, y, start_from=model, rounds=1).fingerprint, said["fingerprint"])
        theirs = gradwire.Model.from_bytes(file)
        self.assertEqual(theirs.predict(np.column_stack([X, y])).tolist(), theirs.predict(X).tolist())
        with self.assertRaisesRegex(gradwire.DataError, "start from"):
            gradwire.train(X, y, start_from=model, hidden=(3,))

    def test_predictions_are_those_of_the_client(self):
        rng = np.random.default_rng(5)
        X = rng.normal(size=(300, 4))
        np.save(self.directory / "rows.npy", X)
        for y in (X @ [1, -2, 3, 0.5] + 100, np.array(["a", "b", "c"])[np.arange(300) % 3]):
            model = gradwire.train(X, y, rounds=3)
            model.save(self.directory / "m.safetensors")
            command = [CLIENT, "predict", str(self.directory / "m.safetensors"), str(self.directory / "rows.npy")]
            lines = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.split()[1:]
            if y.dtype.kind == "U":
                self.assertEqual(lines, model.predict(X).tolist())
            else:
                np.testing.assert_allclose(np.array(lines, float), model.predict(X), rtol=1e-5)

    def test_a_job_that_diverges_or_is_refused_raises_its_code_and_sentence(self):
        X, y = np.arange(80.0).reshape(40, 2), np.arange(40) % 2
        for options, code, words in [
            ({"fields": {"rounds": 2_000_000}}, "SPECIFICATION", "round"),
            ({"eta": 1e30, "rounds": 3}, "TASK_FAILED", "diverge"),
        ]:
            with self.assertRaisesRegex(gradwire.GradwireError, f"(?i){words}") as refused:
                gradwire.train(X, y, **options)
            self.assertEqual(refused.exception.code, code)

    def test_a_job_that_somebody_cancels_raises_cancelled(self):
        X, y = np.arange(80.0).reshape(40, 2), np.arange(40) % 2
        job = secrets.token_hex(16)

        def cancel(told):
            if told.round == 1:
                gradwire.cancel(job)

        with self.assertRaises(gradwire.Refused) as refused:
            gradwire.train(X, y, rounds=100_000, patience=None, job=job, progress=cancel)
        self.assertEqual((refused.exception.code, refused.exception.job), ("CANCELLED", job))

    def test_specification_fields_by_their_names_reach_every_recipe(self):
        X = np.random.default_rng(6).normal(size=(200, 3))
        y = (X[:, 0] > 0).astype(int)
        np.save(self.directory / "d.npy", np.column_stack([X, y]))
        said, _ = self.client("--data", self.directory / "d.npy", "--rounds", 2, "--epochs", 2, "--schedule", "cosine", "--warmup", 1)
        epochs = {
            "local_steps": None, "epochs": 2, "batch": 32, "eta": 0.01, "schedule": 2, "schedule_steps": 2, "warmup": 1, "outer": "average", "outer_eta": None,
            "outer_schedule": None,
        }  # fmt: skip
        self.assertEqual(gradwire.train(X, y, rounds=2, fields=epochs).fingerprint, said["fingerprint"])

    def test_a_model_of_a_file_with_dates_is_saved_as_the_client_saves_it_and_predicts_there_alone(self):
        path = self.directory / "when.csv"
        days = [f"2024-{1 + row % 12:02}-{1 + row % 28:02} {row % 24:02}:30" for row in range(300)]
        money = ["" if row % 40 == 0 else f"$1,{100 + row}.50" for row in range(300)]
        lines = [f'{day},"{sum_}",{["a", "b"][row % 3 == 0]}' for row, (day, sum_) in enumerate(zip(days, money))]
        path.write_text("\n".join(["when,paid,kind", *lines]) + "\n")
        _, file = self.client("--data", path, "--rounds", 2)
        model = gradwire.Model.from_bytes(file)
        self.assertEqual(model.to_bytes(), file)
        job = gradwire.jobs()[0].job
        self.assertEqual(gradwire.attach(job).to_bytes(), file)
        with self.assertRaisesRegex(gradwire.DataError, "client predict"):
            model.predict(np.zeros((1, 2)))

    @unittest.skipUnless(pandas, "there is no pandas")
    def test_a_frame_gives_what_its_file_gives_where_the_kinds_are_the_same(self):
        rng = np.random.default_rng(7)
        frame = pandas.DataFrame({
            "girth": np.where(rng.random(500) < 0.04, np.nan, rng.normal(50, 20, 500).round(2)),
            "bark": pandas.Categorical(rng.choice(["rough", "smooth", "flaky"], 500)),
            "leaf": np.where(rng.random(500) < 0.1, None, rng.choice(["round", "lobed", "needle"], 500)),
            "felled": rng.random(500) < 0.5,
        })  # fmt: skip
        kind = pandas.Series(np.where(frame["girth"].fillna(50) > 50, "oak", "birch"), name="kind")
        path = self.directory / "trees.csv"
        frame.assign(kind=kind).to_csv(path, index=False)
        said, file = self.client("--data", path, "--rounds", 3)
        model = gradwire.train(frame, kind, rounds=3, name=str(path))
        self.assertEqual(model.fingerprint, said["fingerprint"])
        theirs = gradwire.Model.from_bytes(file)
        self.assertEqual(theirs.predict(frame).tolist(), model.predict(frame).tolist())
        unknown = frame.assign(bark="mossy").head(3)
        self.assertEqual(len(theirs.predict(unknown)), 3)

    @unittest.skipUnless(sklearn, "there is no scikit-learn")
    def test_estimators_pass_scikit_learns_checks(self):
        from sklearn.utils.estimator_checks import check_estimator

        for estimator in (gradwire.GradwireClassifier(rounds=10), gradwire.GradwireRegressor(rounds=20)):
            told = check_estimator(estimator, on_skip=None, on_fail="raise")
            self.assertEqual({check["status"] for check in told} - {"passed", "skipped"}, set())

    @unittest.skipUnless(sklearn and pandas, "there is no scikit-learn, or no pandas")
    def test_an_estimator_takes_frames_with_names_and_any_classes(self):
        frame = pandas.DataFrame({"a": np.arange(60.0), "b": ["x", "y", "z"] * 20})
        for y in (np.array(["10", "9", "one"])[np.arange(60) % 3], np.arange(60) % 3 == 1, np.arange(60) % 3 * 7 - 7):
            estimator = gradwire.GradwireClassifier(rounds=20).fit(frame, y)
            self.assertEqual(estimator.classes_.tolist(), np.unique(y).tolist())
            self.assertEqual(estimator.predict(frame).tolist(), y.tolist())
            best = estimator.classes_[estimator.predict_proba(frame).argmax(axis=1)]
            self.assertEqual(best.tolist(), y.tolist())
            self.assertEqual(estimator.feature_names_in_.tolist(), ["a", "b"])
        with self.assertRaises(ValueError):
            estimator.predict(frame[["b", "a"]])

    @unittest.skipUnless(sklearn and pandas, "there is no scikit-learn, or no pandas")
    def test_an_estimator_knows_a_column_of_names_in_whatever_type_it_comes_later(self):
        frame = pandas.DataFrame({"a": np.arange(60.0), "b": pandas.Categorical([1, 2, 3] * 20)})
        estimator = gradwire.GradwireClassifier(rounds=20).fit(frame, np.arange(60) % 3)
        numbers = frame.assign(b=[1, 2, 3] * 20)
        self.assertEqual(estimator.predict(numbers).tolist(), estimator.predict(frame).tolist())
        missing = frame.head(3).assign(b=np.nan)
        self.assertEqual(estimator.predict(missing).tolist(), estimator.model_.predict(missing).tolist())

    @unittest.skipUnless(sklearn and pandas, "there is no scikit-learn, or no pandas")
    def test_an_estimator_refuses_labels_that_are_none(self):
        X = np.arange(40.0).reshape(20, 2)
        days = np.datetime64("2024-02-29") + np.arange(20)
        missing = pandas.array(["a", None] * 10, "string")
        mixed = np.array(["a", 1] * 10, object)
        for estimator, labels in [
            (gradwire.GradwireClassifier, [days, missing, mixed, np.array([0, 2**53, 2**53 + 1])[np.arange(20) % 3]]),
            (gradwire.GradwireRegressor, [days, days - days[0], np.ma.masked_array(X[:, 0], mask=X[:, 1] > 9)]),
        ]:
            for y in labels:
                with self.assertRaises(gradwire.DataError, msg=y):
                    estimator(rounds=1).fit(X, y)

    @unittest.skipUnless(sklearn, "there is no scikit-learn")
    def test_a_search_takes_numpys_numbers_in_other_processes_too(self):
        from sklearn.model_selection import GridSearchCV, cross_val_score

        X, y = np.random.default_rng(8).normal(size=(80, 3)), np.arange(80) % 2
        search = GridSearchCV(gradwire.GradwireClassifier(hidden=(4,), rounds=2), {"eta": np.logspace(-3, -1, 2)}, cv=2).fit(X, y)
        self.assertIn(search.best_params_["eta"], (0.001, 0.1))
        with self.assertRaises(gradwire.Refused) as refused:
            estimator = gradwire.GradwireClassifier(hidden=(4,), rounds=2, eta=-1.0)
            cross_val_score(estimator, X, y, cv=2, n_jobs=2, error_score="raise")
        self.assertEqual(refused.exception.code, "SPECIFICATION")
