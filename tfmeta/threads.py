"""The layout of TensorFlow's CPU threads."""

from __future__ import annotations

import os

import tensorflow as tf

LAYOUTS = ("tasks", "operations")


def configure_threads(layout: str) -> None:
    """Lays out TensorFlow's CPU threads for a kind of learner; to be called before it starts.

    `"tasks"`: one thread an operation and as many operations at a time as there are cores, so
    that the tasks of a meta-batch run side by side. Best for learners with an inner loop, whose
    operations are small. `"operations"`: TensorFlow's own layout, all cores for one operation.
    Best for one big batch. Nothing else in tfmeta changes threads, importing it least of all.

    Args:
        layout: `"tasks"` or `"operations"`.

    Raises:
        ValueError: for another layout.
        RuntimeError: when TensorFlow has started its threads already.

    Example:
        >>> configure_threads("tasks")  # doctest: +SKIP
    """
    if layout not in LAYOUTS:
        raise ValueError(f"`layout` must be one of {LAYOUTS}. Received: layout={layout!r}")
    intra, inter = (1, os.cpu_count() or 1) if layout == "tasks" else (0, 0)
    try:
        tf.config.threading.set_intra_op_parallelism_threads(intra)
        tf.config.threading.set_inter_op_parallelism_threads(inter)
    except RuntimeError as error:
        raise RuntimeError(
            "`configure_threads` must be called before TensorFlow computes anything in this "
            f"process. Received: layout={layout!r} after the start. Call it first in the script."
        ) from error
