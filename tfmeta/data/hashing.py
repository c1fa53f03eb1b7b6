"""Hash of episodes: the same string means the same examples and labels in the same order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

_DIGITS = 16


class EpisodeHash:
    """Running SHA-256 of episodes, whatever number of them comes in one batch.

    Bytes, shapes and dtypes of `support_x`, `support_y`, `query_x` and `query_y` count; support
    examples that `support_mask` leaves out do not.

    Example:
        >>> running = EpisodeHash()
        >>> inputs = {"support_x": np.zeros([2, 5, 1]), "support_y": np.zeros([2, 5], np.int32),
        ...           "query_x": np.zeros([2, 3, 1])}
        >>> running.update(inputs, np.zeros([2, 3], np.int32))
        >>> len(running.hexdigest())
        16
    """

    def __init__(self) -> None:
        self._sha = hashlib.sha256()

    def update(
        self, inputs: Mapping[str, Any], query_y: Any, *, n_episodes: int | None = None
    ) -> None:
        """Add the episodes of one batch.

        Args:
            inputs: `support_x` `[tasks, support, ...]`, `support_y` `[tasks, support, ...]`,
                `query_x` `[tasks, query, ...]` and, where needed, `support_mask`
                `[tasks, support]`.
            query_y: Labels or values `[tasks, query, ...]`.
            n_episodes: How many of the batch count; `None` for all.
        """
        mask = inputs.get("support_mask")
        mask = None if mask is None else np.asarray(mask, bool)
        batch = [
            *(np.asarray(inputs[key]) for key in ("support_x", "support_y", "query_x")),
            np.asarray(query_y),
        ]
        for task in range(len(batch[0][:n_episodes])):
            arrays = [array[task] for array in batch]
            if mask is not None:
                arrays[:2] = arrays[0][mask[task]], arrays[1][mask[task]]
            self.update_arrays(*arrays)

    def update_arrays(self, *arrays: np.ndarray) -> None:
        """Add arrays as they are: dtype, shape and bytes."""
        for array in arrays:
            self._sha.update(f"{array.dtype.str}{array.shape}".encode())
            if array.dtype.kind == "O":  # Texts; the bytes of the array are addresses.
                for text in array.ravel():
                    self._sha.update(f"{len(text)}:".encode() + text)
                continue
            self._sha.update(np.ascontiguousarray(array).data)

    def hexdigest(self) -> str:
        """Hash of all episodes so far, 16 hexadecimal digits."""
        return self._sha.hexdigest()[:_DIGITS]


def episode_hash(
    episodes: tf.data.Dataset | Iterable[tuple[Any, ...]], n_episodes: int | None = None
) -> str:
    """Hash of the content of the first `n_episodes` episodes, 16 hexadecimal digits.

    It does not depend on how many episodes come in one batch.

    Args:
        episodes: Batches `(inputs, query_y)`, or with a third element that does not count.
        n_episodes: How many episodes count; `None` for all of a finite dataset.

    Returns:
        The hash, such as `"9c1185a5c5e9fc54"`.

    Raises:
        ValueError: the dataset is infinite and `n_episodes` is not given, or it ends before.

    Example:
        >>> episode_hash(episode_dataset(sinusoids(), n_shot=5, n_query=5), 100)
    """
    _check_finite(episodes, n_episodes)
    running, seen = EpisodeHash(), 0
    for inputs, query_y, *_ in episodes:
        left = None if n_episodes is None else n_episodes - seen
        running.update(inputs, query_y, n_episodes=left)
        seen += len(query_y)
        if n_episodes is not None and seen >= n_episodes:
            return running.hexdigest()
    if n_episodes is not None:
        raise ValueError(
            f"`episodes` must hold at least n_episodes={n_episodes}. Received {seen}. "
            "Lower `n_episodes` or pass more episodes."
        )
    return running.hexdigest()


def _check_finite(episodes: Any, n_episodes: int | None) -> None:
    if n_episodes is not None and n_episodes < 1:
        raise ValueError(f"`n_episodes` must be positive. Received: n_episodes={n_episodes}.")
    if n_episodes is None and isinstance(episodes, tf.data.Dataset) and _is_infinite(episodes):
        raise ValueError(
            "An infinite dataset needs the number of episodes to hash. "
            "Received: n_episodes=None. Pass `n_episodes`."
        )


def _is_infinite(dataset: tf.data.Dataset) -> bool:
    return int(dataset.cardinality()) == tf.data.INFINITE_CARDINALITY
