#!/usr/bin/env python3
"""scikit-learn's network, LightGBM and RealMLP, on a file of rows to train on and one to be judged by: a child of versus.py.

Reads a JSON object a line, and answers with one: the score, in points of accuracy or R², and the seconds from the first byte of
the files to the last prediction. Imports come before. What a practised person would write: numbers are filled in by the median
and standardised, names are filled in by the most frequent and one-hot encoded; a column without a name or with a different text
in every row is left out; fitted numbers are standardised, too, without which scikit-learn's network learns next to nothing.
"""

import importlib.util
import json
import sys
import time
import warnings

import numpy
import pandas
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

try:
    import lightgbm
except ImportError:
    lightgbm = None

warnings.filterwarnings("ignore")


def read(path, job):
    options = dict(job["pandas"])
    if job["label"].isdigit() and "header" not in options:
        options["header"] = 0
    frame = pandas.read_csv(path, **options)
    frame.columns = [str(column) for column in frame.columns]
    return frame


def columns(job):
    """Features and labels of both files, as pandas reads them."""
    train, test = read(job["train"], job), read(job["test"], job)
    label = job["label"]
    if label not in train.columns:
        label = train.columns[int(label) - 1]
    train, test = train.dropna(subset=[label]), test.dropna(subset=[label])
    y_train, y_test = train.pop(label), test.pop(label)
    if job["task"] == "classify":
        y_train, y_test = y_train.astype(str), y_test.astype(str)
    is_number = {name: pandas.api.types.is_numeric_dtype(train[name]) for name in train}
    useful = [
        name for name in train
        if not name.startswith("Unnamed: 0") and (is_number[name] or train[name].nunique() < len(train))
    ]
    numbers = [name for name in useful if is_number[name]]
    return train[useful], test[useful], y_train, y_test, numbers, [name for name in useful if not is_number[name]]


def score(job, truth, said):
    if job["task"] == "classify":
        return 100 * float(numpy.mean(numpy.asarray(said) == truth.to_numpy()))
    truth = truth.to_numpy(float)
    return 1 - float(((truth - said) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())


def network(job):
    train, test, y_train, y_test, numbers, names = columns(job)
    prepared = ColumnTransformer([
        ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
        ("names", make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")), names),
    ])
    options = {"hidden_layer_sizes": tuple(job["hidden"]), "early_stopping": True, "random_state": job["seed"]}
    if job["task"] == "classify":
        model = MLPClassifier(**options)
    else:
        model = TransformedTargetRegressor(MLPRegressor(**options), transformer=StandardScaler())
    try:
        model = make_pipeline(prepared, model).fit(train, y_train)
    except ValueError:
        # Its tenth for early stopping may lack a class, or be too small: then without.
        options["early_stopping"] = False
        model = MLPClassifier(**options) if job["task"] == "classify" else TransformedTargetRegressor(
            MLPRegressor(**options), transformer=StandardScaler())
        model = make_pipeline(prepared, model).fit(train, y_train)
    return score(job, y_test, model.predict(test))


def trees(job):
    train, test, y_train, y_test, numbers, names = columns(job)
    coded = ColumnTransformer([
        ("numbers", "passthrough", numbers),
        ("names", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1), names),
    ])
    kind = lightgbm.LGBMClassifier if job["task"] == "classify" else lightgbm.LGBMRegressor
    model = make_pipeline(coded, kind(verbose=-1, n_jobs=1, random_state=job["seed"])).fit(train, y_train)
    return score(job, y_test, model.predict(test))


def realmlp(job):
    # Its import alone takes longer than most of these files.
    import pytabkit

    train, test, y_train, y_test, numbers, names = columns(job)
    kind = pytabkit.RealMLP_TD_S_Classifier if job["task"] == "classify" else pytabkit.RealMLP_TD_S_Regressor
    model = kind(device="cpu", random_state=job["seed"], n_threads=1, verbosity=0)
    y_train = y_train.to_numpy() if job["task"] == "classify" else y_train.to_numpy(float)
    train, test = train.reset_index(drop=True), test.reset_index(drop=True)
    # It takes no missing numbers; names may be missing.
    for column in numbers:
        median = train[column].median()
        train[column], test[column] = train[column].fillna(median).astype(float), test[column].fillna(median).astype(float)
    for column in names:
        train[column] = train[column].astype(str).astype("category")
        test[column] = test[column].astype(str).astype("category")
    model.fit(train, y_train, cat_col_names=names)
    return score(job, y_test, model.predict(test))


MODELS = {"network": (network, True), "trees": (trees, lightgbm), "realmlp": (realmlp, importlib.util.find_spec("pytabkit"))}


def main():
    for line in sys.stdin:
        job = json.loads(line)
        train, is_there = MODELS[job["model"]]
        started, used = time.perf_counter(), time.process_time()
        try:
            answer = {"score": train(job)} if is_there else {}
            answer |= {"seconds": time.perf_counter() - started, "processor": time.process_time() - used}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"[:200]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
