"""A client of gradwire: trains multilayer perceptrons on the nodes of a gradwire coordinator, from arrays and frames.

    import gradwire

    model = gradwire.train(X, y, progress=True)  # 127.0.0.1:5105, or what GRADWIRE_ADDRESS says
    model.save("model.safetensors")
    gradwire.Model.load("model.safetensors").predict(X)

It needs numpy alone; `GradwireClassifier` and `GradwireRegressor` need scikit-learn too. It speaks protocol.md, and gives
to the same arrays the same bits as gradwire's own client. docs/python.md has the whole story.
"""

from __future__ import annotations

from typing import Any

from ._version import __version__ as __version__
from .errors import (
    ConnectionFailed,
    DataError,
    GradwireError,
    Interrupted,
    ModelFileError,
    ProtocolError,
    Refused,
    Unanswered,
    UnknownHost,
)
from .model import Model
from .training import attach, cancel, jobs, resume, train
from .wire import JobStatus, Notice, Round

# Without the estimators: `from gradwire import *` is not to need scikit-learn.
__all__ = [
    "ConnectionFailed",
    "DataError",
    "GradwireError",
    "Interrupted",
    "JobStatus",
    "Model",
    "ModelFileError",
    "Notice",
    "ProtocolError",
    "Refused",
    "Round",
    "Unanswered",
    "UnknownHost",
    "attach",
    "cancel",
    "jobs",
    "resume",
    "train",
]


def __getattr__(name: str) -> Any:
    # scikit-learn takes a second to import, and need not be there.
    if name in ("GradwireClassifier", "GradwireRegressor"):
        from . import estimators

        return getattr(estimators, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
