"""Frozen episodes: a small file that pins a test protocol down."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfmeta.data.episodes import (
    TaskFamily,
    check_counts,
    check_source,
    episode_dataset,
    prefetched,
    read_episodes,
    row_drawer,
    sample_episodes,
)
from tfmeta.data.examples import Examples
from tfmeta.data.hashing import EpisodeHash, episode_hash
from tfmeta.data.sampler import EpisodeRows

_CHUNK = 1024
_VALUES = ("support_x", "support_y", "query_x")


def freeze_episodes(
    source: Examples | TaskFamily,
    path: str | os.PathLike[str],
    *,
    n_way: int | None = None,
    n_shot: int,
    n_query: int,
    n_episodes: int = 600,
    seed: int = 0,
) -> str:
    """Hash of the episodes `0 ... n_episodes - 1` of `seed`, which are written to `path`.

    The file holds row numbers, labels, class names, the settings and two hashes, but no examples:
    about 100 kB for 600 episodes. Of a family of regression tasks it holds the values. It appears
    whole or not at all.

    Args:
        source: `Examples` (best the test classes only), or a `TaskFamily`.
        path: File to write, by custom `.npz`; its folder is made where missing.
        n_way: Classes an episode; `None` for a family of regression tasks.
        n_shot: Support examples a class (or a task).
        n_query: Query examples a class (or a task).
        n_episodes: Episodes to keep.
        seed: As in `episode_dataset`, which gives the same episodes.

    Returns:
        The episode hash, which `evaluate_episodes` quotes in its report.

    Raises:
        ValueError: as `episode_dataset`.

    Example:
        >>> freeze_episodes(test, "test.npz", n_way=5, n_shot=1, n_query=15)
        >>> episodes = load_episodes(test, "test.npz", n_tasks=30)
    """
    check_counts(n_episodes=n_episodes)
    settings: dict[str, Any] = {"n_way": n_way, "n_shot": n_shot, "n_query": n_query, "seed": seed}
    if isinstance(source, Examples):
        episodes = episode_dataset(source, n_episodes=n_episodes, **settings)
        hashes = {"episode_hash": episode_hash(episodes)}
        drawn = row_drawer(source, **settings)(tf.range(n_episodes, dtype=tf.int64))
        arrays = {name: value.numpy() for name, value in drawn._asdict().items()}
        hashes["examples_hash"] = _examples_hash(source, arrays)
        arrays["class_names"] = np.array(source.class_names)
    else:
        batch = episode_dataset(source, n_tasks=n_episodes, n_episodes=n_episodes, **settings)
        inputs, query_y = next(batch.as_numpy_iterator())
        hashes = {"episode_hash": episode_hash([(inputs, query_y)])}
        arrays = {**{name: inputs[name] for name in _VALUES}, "query_y": query_y}
    _write(Path(path), arrays, {**settings, "n_episodes": n_episodes, **hashes})
    return hashes["episode_hash"]


def load_episodes(
    source: Examples | TaskFamily, path: str | os.PathLike[str], *, n_tasks: int = 1
) -> tf.data.Dataset:
    """Batches of exactly the episodes that `freeze_episodes` wrote.

    Args:
        source: The examples, or the task family, that the episodes were frozen from.
        path: The file.
        n_tasks: Episodes a batch; the last one is smaller where it does not divide them.

    Returns:
        A finite dataset of `(inputs, query_y)` as `episode_dataset` gives it.

    Raises:
        ValueError: the file is missing, damaged or of another kind, or `source` does not hold
            the examples that the episodes were frozen from.

    Example:
        >>> report = evaluate_episodes(learner, load_episodes(test, "test.npz", n_tasks=30))
    """
    check_counts(n_tasks=n_tasks)
    arrays, settings = _read(Path(path))
    n_episodes = settings["n_episodes"]
    numbers = np.arange(n_episodes, dtype=np.int64)
    even = n_episodes % n_tasks == 0
    if "support_rows" in arrays:
        examples = _matching_examples(source, path, arrays, settings)
        drawn = EpisodeRows(*(arrays[name] for name in EpisodeRows._fields))
        dataset = tf.data.Dataset.from_tensor_slices((numbers, drawn))
        dataset = dataset.batch(n_tasks, drop_remainder=even).map(
            lambda i, rows: read_episodes(examples, i, rows), num_parallel_calls=tf.data.AUTOTUNE
        )
    else:
        _check_family(source, path, arrays, settings)
        inputs = {**{name: arrays[name] for name in _VALUES}, "episode": numbers}
        dataset = tf.data.Dataset.from_tensor_slices((inputs, arrays["query_y"]))
        dataset = dataset.batch(n_tasks, drop_remainder=even)
    return prefetched(dataset)


def _examples_hash(source: Examples, arrays: Mapping[str, np.ndarray]) -> str:
    """Hash of the examples that occur in the episodes, each read once."""
    rows = np.union1d(arrays["support_rows"], arrays["query_rows"])
    running = EpisodeHash()
    for i in range(0, len(rows), _CHUNK):
        running.update_arrays(source.read(tf.constant(rows[i : i + _CHUNK])).numpy())
    return running.hexdigest()


def _matching_examples(
    source: Any, path: Any, arrays: Mapping[str, np.ndarray], settings: Mapping[str, Any]
) -> Examples:
    """The source itself, if it holds the examples that the episodes were frozen from."""
    if not isinstance(source, Examples):
        raise ValueError(
            f"The episodes in {os.fspath(path)!r} were frozen from Examples. "
            f"Received: {type(source).__name__}. Pass these examples as `source`."
        )
    last = max(arrays["support_rows"].max(), arrays["query_rows"].max())
    received = f"{len(source)} examples"
    if last < len(source):
        received = f"examples with hash {_examples_hash(source, arrays)}"
        if received.endswith(settings["examples_hash"]):
            return source
    raise ValueError(
        f"`source` must hold the examples that the episodes in {os.fspath(path)!r} were frozen "
        f"from (hash {settings['examples_hash']}, at least {last + 1} examples). Received: "
        f"{received}. Load the same data with the same split, rotation and image size, or freeze "
        "new episodes with `freeze_episodes`."
    )


def _check_family(
    source: Any, path: Any, arrays: Mapping[str, np.ndarray], settings: Mapping[str, Any]
) -> None:
    """Compare the first episode; loosely, because other hardware rounds otherwise."""
    if isinstance(source, Examples):
        raise ValueError(
            f"The episodes in {os.fspath(path)!r} were frozen from a family of regression tasks. "
            "Received: Examples. Pass that family, such as `sinusoids()`, as `source`."
        )
    counts = {name: settings[name] for name in ("n_shot", "n_query")}
    check_source(source, n_way=None, **counts)
    inputs, query_y = sample_episodes(
        source, tf.zeros([1], tf.int64), seed=settings["seed"], **counts
    )
    for name, values in {**inputs, "query_y": query_y}.items():
        if name in arrays and not _close(values.numpy(), arrays[name][:1]):
            raise ValueError(
                f"`source` must be the family that the episodes in {os.fspath(path)!r} were "
                f"frozen from. Received {source!r}, whose first episode has another {name!r}. "
                "Pass the same settings, or freeze new episodes with `freeze_episodes`."
            )


def _close(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and np.allclose(a, b, rtol=1e-3, atol=1e-3)


def _write(path: Path, arrays: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Write beside the file and rename, so that no half-written file is ever found."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            np.savez_compressed(file, settings=np.array(json.dumps(settings)), **dict(arrays))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise ValueError("a single array")
        with loaded:
            arrays = dict(loaded)
        return arrays, json.loads(str(arrays.pop("settings")))
    except FileNotFoundError as error:
        raise ValueError(
            f"Frozen episodes are expected in {str(path)!r}. Received: no such file. "
            "Write it with `freeze_episodes`."
        ) from error
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{str(path)!r} must be an intact file of frozen episodes. Received: {error}. "
            "Write it again with `freeze_episodes`; nothing is ever unpickled."
        ) from error
