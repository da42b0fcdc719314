"""scikit-learn's conventions around `gradwire.train`: a classifier and a regressor for pipelines, searches and cross-
validation. Needs scikit-learn 1.6 or later. Owns how its validation and ours meet; does not know the wire.

Arrays of numbers go through scikit-learn's own checks; NaN is a missing value. A frame that has columns of names goes in as
it is, by the types of its columns (docs/python.md, section 4)."""

from __future__ import annotations

from typing import Any

import numpy as np

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils import validation
    from sklearn.utils.multiclass import check_classification_targets
except ImportError as error:
    raise ImportError("gradwire's estimators need scikit-learn 1.6 or later: pip install gradwire[sklearn]") from error

from . import frames, recipe, table, targets, training
from .errors import DataError
from .model import Model

# What fit hands on to `train` as it is.
OPTIONS = (
    "hidden", "activation", "optimiser", "momentum", "weight_decay", "loss", "huber_delta", "label_smoothing", "dropout", "class_weight", "eta", "schedule", "eta_decay", "warmup", "batch", "rounds", "clip", "shards", "seed",
    "validate_split", "test", "patience", "target_accuracy", "impute", "rare", "scale", "fields", "progress", "retry_for", "cluster",
)  # fmt: skip


class _Estimator(BaseEstimator):
    """What both have in common. All parameters are those of `gradwire.train`, and the defaults too."""

    def __init__(
        self,
        address=None,
        *,
        hidden=None,
        activation="relu",
        optimiser="adam",
        momentum=None,
        weight_decay=None,
        loss=None,
        huber_delta=None,
        label_smoothing=0.0,
        dropout=0.0,
        class_weight=None,
        eta=None,
        schedule=None,
        eta_decay=None,
        warmup=None,
        batch=None,
        rounds=None,
        clip=None,
        shards=None,
        seed=recipe.SEED,
        validate_split=None,
        test=recipe.USUAL,
        patience=recipe.USUAL,
        target_accuracy=None,
        impute="median",
        rare=None,
        scale=None,
        fields=None,
        progress=None,
        retry_for=training.RETRY_FOR,
        cluster=None,
    ):
        self.address = address
        self.hidden = hidden
        self.activation = activation
        self.optimiser = optimiser
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.loss = loss
        self.huber_delta = huber_delta
        self.label_smoothing = label_smoothing
        self.dropout = dropout
        self.class_weight = class_weight
        self.eta = eta
        self.schedule = schedule
        self.eta_decay = eta_decay
        self.warmup = warmup
        self.batch = batch
        self.rounds = rounds
        self.clip = clip
        self.shards = shards
        self.seed = seed
        self.validate_split = validate_split
        self.test = test
        self.patience = patience
        self.target_accuracy = target_accuracy
        self.impute = impute
        self.rare = rare
        self.scale = scale
        self.fields = fields
        self.progress = progress
        self.retry_for = retry_for
        self.cluster = cluster

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        return tags

    def _checked(self, X: Any, *, is_fitting: bool) -> Any:
        """Rows as scikit-learn wants them checked: an array of float64, or a frame with columns of names as it is."""
        if is_fitting:
            self._takes_names = _has_names(X)
        # A column of names may be numbers here and there: all missing, or codes. What was fitted says what it is.
        if _has_names(X) or (getattr(self, "_takes_names", False) and frames.is_frame(X)):
            validation._check_feature_names(self, X, reset=is_fitting)
            validation._check_n_features(self, X, reset=is_fitting)
            return X
        if isinstance(X, np.ma.MaskedArray):
            X = table.array_of(X, "X")
        least = 2 if is_fitting else 1
        return validation.validate_data(
            self, X, reset=is_fitting, dtype=np.float64, ensure_all_finite="allow-nan", ensure_min_samples=least
        )

    def _fitted(self, X: Any, y: Any, task: str) -> Model:
        options = {name: getattr(self, name) for name in OPTIONS}
        model = training.train(X, y, self.address, task=task, **options)
        self.model_ = model
        self.fingerprint_ = model.fingerprint
        self.history_ = list(model.history)
        self.n_iter_ = len(model.history)
        return model

    def _told(self, X: Any) -> Any:
        validation.check_is_fitted(self)
        return self._checked(X, is_fitting=False)


def _has_names(X: Any) -> bool:
    """Whether it is a frame of which a column is neither numbers nor booleans."""
    if _is_of_numbers(X):
        return False
    return frames.is_frame(X) and any(getattr(dtype, "kind", "O") not in "biuf" for dtype in X.dtypes)


def _is_of_numbers(X: Any) -> bool:
    """Whether it is another library's table of numbers alone, whose names scikit-learn knows, and compares by itself."""
    is_table = hasattr(X, "columns") and not hasattr(X, "iloc")
    return is_table and validation._get_feature_names(X) is not None and np.asarray(X).dtype.kind in "biuf"


class GradwireClassifier(ClassifierMixin, _Estimator):
    """Tells classes apart. Fitted, it has `classes_`, `model_` (a `gradwire.Model`, to be saved), `fingerprint_`, `history_` with a
    `gradwire.Round` for each round, `n_features_in_`, and `feature_names_in_` where a frame had names."""

    def fit(self, X: Any, y: Any) -> GradwireClassifier:
        """Trains on a coordinator's nodes. `X` is `[rows, features]`, `y` `[rows]` with classes of any type."""
        X = self._checked(X, is_fitting=True)
        targets.texts_of(targets.labels_of(y))
        y = validation.column_or_1d(y, warn=True)
        validation.assert_all_finite(y, input_name="y")
        check_classification_targets(y)
        validation.check_consistent_length(X, y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        # Where the model has each of them among its outputs.
        known = targets.classes_of(self.classes_)
        if len(known.names) < len(self.classes_):
            raise DataError("some classes differ only in white space or as numbers are written; write them alike, or otherwise")
        self._columns = known.labels
        self._fitted(X, self.classes_[labels], "classify")
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Float64 `[rows, classes]`, in the order of `classes_`."""
        X = self._told(X)
        return self.model_.predict_proba(X)[:, self._columns]

    def predict(self, X: Any) -> np.ndarray:
        """The class of each row, `[rows]`."""
        X = self._told(X)
        return self.classes_[self.model_.outputs(X)[:, self._columns].argmax(axis=1)]


class GradwireRegressor(RegressorMixin, _Estimator):
    """Fits numbers, one or several of a row. Fitted, it has what the classifier has, but for the classes."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any) -> GradwireRegressor:
        """Trains on a coordinator's nodes. `X` is `[rows, features]`, `y` `[rows]` or `[rows, targets]`."""
        if y is None:
            raise ValueError(f"requires y to be passed, but the target y is None: {type(self).__name__} fits it")
        X = self._checked(X, is_fitting=True)
        targets.labels_of(y)
        y = validation.check_array(y, ensure_2d=False, dtype=np.float64, input_name="y", estimator=self)
        validation.check_consistent_length(X, y)
        self._fitted(X, y, "regress")
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Each row's number, float64 `[rows]`, or `[rows, targets]` where there are several."""
        X = self._told(X)
        return self.model_.predict(X)
