"""Frozen episodes: a small file that pins a test protocol down."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfmeta.data.counts import check_counts
from tfmeta.data.episodes import (
    DEFAULTS,
    TaskFamily,
    episode_dataset,
    sample_episodes,
)
from tfmeta.data.examples import Examples
from tfmeta.data.hashing import EpisodeHash, episode_hash
from tfmeta.data.labelled import labelled_episodes, read_episodes
from tfmeta.data.sampler import EpisodeRows
from tfmeta.data.sources import Sources, as_sources, read_rows
from tfmeta.data.varied import PaddedRows
from tfmeta.prefetching import prefetched

_CHUNK = 1024
_VALUES = ("support_x", "support_y", "query_x")


def freeze_episodes(
    source: Examples | Sequence[Examples] | TaskFamily,
    path: str | os.PathLike[str],
    *,
    n_way: int | tuple[int, int] | None = None,
    n_shot: int | tuple[int, int],
    n_query: int,
    n_episodes: int = 600,
    seed: int = 0,
    balanced: bool = True,
    within_group: bool = False,
    weights: Sequence[float] | None = None,
    query_source: Examples | None = None,
    n_unknown: int = 0,
) -> str:
    """Hash of the episodes `0 ... n_episodes - 1` of `seed`, which are written to `path`.

    The file holds row numbers, labels, class names, the settings and two hashes, but no examples:
    about 100 kB for 600 episodes. Of a family of regression tasks it holds the values. It appears
    whole or not at all.

    Args:
        source: `Examples` (best the test classes only), a list of them, or a `TaskFamily`.
        path: File to write, by custom `.npz`; its folder is made where missing.
        n_way: Classes an episode, or a range; `None` for a family of regression tasks.
        n_shot: Support examples a class (or a task), or a range.
        n_query: Query examples a class (or a task).
        n_episodes: Episodes to keep.
        seed: As in `episode_dataset`, which gives the same episodes.
        balanced: As in `episode_dataset`, like the following ones.
        within_group: Whether all classes of an episode come from one group.
        weights: Of a list of sources.
        query_source: Examples of another domain that the queries come from.
        n_unknown: Classes that the query has and the support has not.

    Returns:
        The episode hash, which `evaluate_episodes` quotes in its report.

    Raises:
        ValueError: as `episode_dataset`.

    Example:
        >>> freeze_episodes(test, "test.npz", n_way=5, n_shot=1, n_query=15)
        >>> episodes = load_episodes(test, "test.npz", n_tasks=30)
    """
    check_counts(n_episodes=n_episodes)
    sizes: dict[str, Any] = {"n_way": n_way, "n_shot": n_shot, "n_query": n_query, "seed": seed}
    options: dict[str, Any] = {
        "balanced": balanced,
        "within_group": within_group,
        "weights": weights,
        "query_source": query_source,
        "n_unknown": n_unknown,
    }
    drawn_with = {**sizes, **options}
    if isinstance(source, TaskFamily):
        batches = episode_dataset(source, n_tasks=n_episodes, n_episodes=n_episodes, **drawn_with)
        inputs, query_y = next(batches.as_numpy_iterator())
        hashes = {"episode_hash": episode_hash([(inputs, query_y)])}
        arrays = {**{name: inputs[name] for name in _VALUES}, "query_y": query_y}
    else:
        batches = episode_dataset(source, n_episodes=n_episodes, **drawn_with)
        hashes = {"episode_hash": episode_hash(batches)}
        sources, draw = labelled_episodes(source, **drawn_with)
        drawn = draw(tf.range(n_episodes, dtype=tf.int64))
        arrays = {name: value.numpy() for name, value in drawn._asdict().items()}
        hashes.update(_examples_hashes(sources, arrays))
        names = [name for one in sources.support for name in one.class_names]
        arrays["class_names"] = np.array(names)
    settings = {**sizes, "n_episodes": n_episodes, **hashes, **_kept(options)}
    _write(Path(path), arrays, settings)
    return hashes["episode_hash"]


def load_episodes(
    source: Examples | Sequence[Examples] | TaskFamily,
    path: str | os.PathLike[str],
    *,
    n_tasks: int = 1,
    query_source: Examples | None = None,
) -> tf.data.Dataset:
    """Batches of exactly the episodes that `freeze_episodes` wrote.

    Args:
        source: The examples, the list of them, or the task family, that the episodes were frozen
            from.
        path: The file.
        n_tasks: Episodes a batch; the last one is smaller where it does not divide them.
        query_source: The examples that the queries come from, where they are others.

    Returns:
        A finite dataset of what `episode_dataset` gives.

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
        sources = _matching_sources(source, query_source, path, arrays, settings)
        kind = PaddedRows if "support_mask" in arrays else EpisodeRows
        drawn = kind(*(arrays[name] for name in kind._fields))
        dataset = tf.data.Dataset.from_tensor_slices((numbers, drawn))
        dataset = dataset.batch(n_tasks, drop_remainder=even).map(
            lambda i, rows: read_episodes(sources, i, rows), num_parallel_calls=tf.data.AUTOTUNE
        )
    else:
        _check_family(source, path, arrays, settings)
        inputs = {**{name: arrays[name] for name in _VALUES}, "episode": numbers}
        dataset = tf.data.Dataset.from_tensor_slices((inputs, arrays["query_y"]))
        dataset = dataset.batch(n_tasks, drop_remainder=even)
    return prefetched(dataset)


def _kept(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options for the file: those that change something, but for the examples themselves."""
    return {
        name: value
        for name, value in options.items()
        if name != "query_source" and np.any(value != DEFAULTS[name])
    }


def _examples_hashes(sources: Sources, arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Hashes of the examples that occur in the episodes: one, or one of support and of query."""
    support, query = arrays["support_rows"], arrays["query_rows"]
    if not sources.has_two_domains:
        return {"examples_hash": _examples_hash(sources.support, np.union1d(support, query))}
    return {
        "examples_hash": _examples_hash(sources.support, np.unique(support)),
        "query_examples_hash": _examples_hash(sources.query, np.unique(query)),
    }


def _examples_hash(sources: tuple[Examples, ...], rows: np.ndarray) -> str:
    """Which examples these rows are, each read once: a hash, or their number if too few."""
    n_examples = sum(len(source) for source in sources)
    if rows[-1] >= n_examples:
        return f"{n_examples} examples"
    running = EpisodeHash()
    for i in range(0, len(rows), _CHUNK):
        running.update_arrays(read_rows(sources, tf.constant(rows[i : i + _CHUNK])).numpy())
    return running.hexdigest()


def _matching_sources(
    source: Any,
    query_source: Any,
    path: Any,
    arrays: Mapping[str, np.ndarray],
    settings: Mapping[str, Any],
) -> Sources:
    """The sources, if they hold the examples that the episodes were frozen from."""
    name = os.fspath(path)
    if isinstance(source, TaskFamily):
        raise ValueError(
            f"The episodes in {name!r} were frozen from Examples. "
            f"Received: {type(source).__name__}. Pass these examples as `source`."
        )
    if ("query_examples_hash" in settings) != (query_source is not None):
        is_wanted = "needed" if query_source is None else "not wanted"
        raise ValueError(
            f"`query_source` is {is_wanted} for the episodes in {name!r}. Received: query_source="
            f"{query_source!r}. Pass the sources that the episodes were frozen from."
        )
    sources = as_sources(source, query_source=query_source)
    found = _examples_hashes(sources, arrays)
    wanted = {key: settings[key] for key in found}
    if found == wanted:
        return sources
    raise ValueError(
        f"`source` must hold the examples that the episodes in {name!r} were frozen from "
        f"({_listed(wanted)}). Received: {_listed(found)}. Load the same data with the same "
        "split, rotation and image size, or freeze new episodes with `freeze_episodes`."
    )


def _listed(hashes: Mapping[str, str]) -> str:
    return " and ".join(
        text if "examples" in text else f"examples with hash {text}" for text in hashes.values()
    )


def _check_family(
    source: Any, path: Any, arrays: Mapping[str, np.ndarray], settings: Mapping[str, Any]
) -> None:
    """Compare the first episode; loosely, because other hardware rounds otherwise."""
    if not isinstance(source, TaskFamily):
        raise ValueError(
            f"The episodes in {os.fspath(path)!r} were frozen from a family of regression tasks. "
            f"Received: {type(source).__name__}. Pass that family, such as "
            "`sinusoids()`, as `source`."
        )
    counts = {name: settings[name] for name in ("n_shot", "n_query")}
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
            # Counts may be NumPy's, which JSON does not know.
            text = json.dumps(settings, default=lambda value: value.tolist())
            np.savez_compressed(file, settings=np.array(text), **dict(arrays))
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
