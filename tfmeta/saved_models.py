"""SavedModels that take their place only when they are whole and known to be good."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

_PARITY = 1e-5


@contextlib.contextmanager
def written_whole(path: str, *, overwrite: bool) -> Iterator[str]:
    """Scope with a folder to write a SavedModel into, which is moved to `path` at its end.

    It lies beside the target: an interrupted or wrong export leaves nothing behind.

    Args:
        path: where the SavedModel goes.
        overwrite: whether a SavedModel that is there is replaced.

    Yields:
        The folder; it does not exist yet.

    Raises:
        ValueError: where something else is at `path`.

    Example:
        >>> path = os.path.join(tempfile.mkdtemp(), "served")
        >>> with written_whole(path, overwrite=False) as folder:
        ...     os.mkdir(folder)
        >>> os.listdir(os.path.dirname(path))
        ['served']
    """
    _check_path(path, overwrite)
    parent = os.path.dirname(os.path.abspath(path))
    os.makedirs(parent, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=".export-") as folder:
        written = os.path.join(folder, "model")
        yield written
        if os.path.exists(path):
            os.rename(path, os.path.join(folder, "previous"))
        os.rename(written, path)


def add_endpoint(
    archive: keras.export.ExportArchive, name: str, endpoint: Callable, signature: Sequence[Any]
) -> None:
    """Adds an endpoint to an archive, already traced: what is not, Keras traces at every use.

    Args:
        archive: what is going to be written.
        name: of the endpoint.
        endpoint: from tensors to a dictionary of them.
        signature: `tf.TensorSpec`s of its arguments, or dictionaries of them.

    Example:
        >>> archive = keras.export.ExportArchive()
        >>> spec = tf.TensorSpec([None], tf.float32, "x")
        >>> add_endpoint(archive, "double", lambda x: {"y": 2.0 * x}, [spec])
        >>> archive.write_out("served", verbose=False)
        >>> serve = tf.saved_model.load("served").signatures["double"]
        >>> serve(x=tf.constant([1.0]))["y"].numpy()
        array([2.], dtype=float32)
    """
    traced = tf.function(endpoint, autograph=False)
    traced.get_concrete_function(*signature)
    archive.add_endpoint(name, traced)


def check_repeated(wanted: Any, got: Any, *, what: str) -> None:
    """Refuses outputs that differ, relative to the largest one or to 1, by more than 1e-5.

    Args:
        wanted: outputs of what was exported.
        got: outputs of what was written.
        what: was exported: "learner" or "model".

    Raises:
        ValueError: where they differ.

    Example:
        >>> check_repeated(np.ones(2), np.ones(2) + 1e-7, what="model")
    """
    scale = max(1.0, float(np.max(np.abs(wanted))))
    error = float(np.max(np.abs(np.asarray(wanted) - np.asarray(got)))) / scale
    if not error <= _PARITY:
        raise ValueError(
            f"The exported model must repeat the {what}'s outputs to {_PARITY}. Received: a "
            f"difference of {error:.1e}. Nothing was written. A layer whose outputs change "
            "from call to call is the usual cause."
        )


def _check_path(path: str, overwrite: bool) -> None:
    if not os.path.exists(path):
        return
    is_model = os.path.isfile(os.path.join(path, "saved_model.pb"))
    if not (overwrite and is_model):
        raise ValueError(
            "`path` must not exist, or be a SavedModel that `overwrite=True` lets go. "
            f"Received: path={path!r}, overwrite={overwrite}. Choose another folder."
        )
