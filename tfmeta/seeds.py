"""Methods compared over training seeds: the options, the runs, and the record of results."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfmeta import runs
from tfmeta.intervals import mean_interval
from tfmeta.optimizers import cosine_adam

Scores = Mapping[str, Sequence[float]]


def parser(description: str, *, recipe: str, **defaults: Any) -> argparse.ArgumentParser:
    """The options of a recipe that trains each of its methods from several seeds.

    Args:
        description: shown by `--help`.
        recipe: path of the recipe below `recipes/`.
        **defaults: a recipe's own default values.

    Returns:
        The parser; `tfmeta.cli.parse` takes it.

    Example:
        >>> parser("A recipe.", recipe="mine.py", steps=300).parse_args(["--seeds", "3"]).seeds
        3
    """
    options = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = options.add_argument
    add("--seeds", type=int, default=5, help="trainings of each method")
    add("--first-seed", type=int, default=0, help="the others follow")
    add("--steps", type=int, default=500, help="batches of a training")
    add("--batch-size", type=int, default=64, help="examples of each domain in a batch")
    add("--learning-rate", type=float, default=1e-3, help="of Adam, decayed to zero by a cosine")
    add("--record", default=None, help="also write the results to this JSON file")
    options.set_defaults(recipe=recipe, **defaults)
    return options


def fit(model: keras.Model, batches: tf.data.Dataset, options: argparse.Namespace) -> keras.Model:
    """The model, trained for the steps of the options by Adam with a cosine decay.

    Args:
        model: a model that has its loss.
        batches: an infinite dataset.
        options: parsed options.

    Returns:
        `model`.

    Example:
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> fit(model, batches, options)  # doctest: +SKIP
    """
    optimizer = cosine_adam(options.learning_rate, options.steps)
    model.compile(optimizer, steps_per_execution=min(10, options.steps))
    model.fit(batches, steps_per_epoch=options.steps, verbose=0)
    return model


def over_seeds(
    run: Callable[[int], Mapping[str, float]], n_seeds: int, *, first: int = 0
) -> dict[str, list[float]]:
    """What one run gives, from each of several seeds.

    Args:
        run: from a seed to named scores; Keras is seeded before it is called.
        n_seeds: how many, at least 2.
        first: the first seed; the others follow.

    Returns:
        A list of scores, one a seed, by name.

    Raises:
        ValueError: for fewer than two seeds, which have no interval.

    Example:
        >>> over_seeds(lambda seed: {"ours": 0.5 + seed / 10}, 2)
        seed 0: ours 0.500 (... s)
        seed 1: ours 0.600 (... s)
        {'ours': [0.5, 0.6]}
    """
    if n_seeds < 2:
        raise ValueError(f"An interval needs 2 seeds at least. Received: --seeds {n_seeds}.")
    scores: dict[str, list[float]] = {}
    for seed in range(first, first + n_seeds):
        keras.utils.set_random_seed(seed)
        start = time.perf_counter()
        for name, score in run(seed).items():
            scores.setdefault(name, []).append(score)
        line = ", ".join(f"{name} {values[-1]:.3f}" for name, values in scores.items())
        print(f"seed {seed}: {line} ({time.perf_counter() - start:.0f} s)", flush=True)
    return scores


def seeds_record(
    accuracies: Scores,
    *,
    title: str,
    command: str,
    others: Mapping[str, Scores] | None = None,
) -> dict[str, Any]:
    """The record of methods over seeds: mean, 95 % interval, and difference from the first one.

    Differences are paired: a seed draws the same data for all methods.

    Args:
        accuracies: shares, one a seed, by method.
        title: what was measured.
        command: the line that gives it.
        others: other scores of some of the methods, by column.

    Returns:
        What `tfmeta.runs.write_table` takes: a `"table"`, and `"scores"` seed by seed.

    Example:
        >>> record = seeds_record({"a": [0.5, 0.7], "b": [0.7, 0.9]}, title="T", command="...")
        >>> record["table"]["rows"][1]
        ['b', '80.0 % ± 127.1', '+20.0 ± 0.0']
    """
    others = others or {}
    first = next(iter(accuracies))
    columns = ["method", "target accuracy", f"against {first}, points", *others]
    rows = []
    for method, values in accuracies.items():
        mean, ci = mean_interval(100 * np.asarray(values))
        paired = mean_interval(100 * np.subtract(values, accuracies[first]))
        difference = "–" if method == first else "{:+.1f} ± {:.1f}".format(*paired)
        more = [_quantity(scores.get(method)) for scores in others.values()]
        rows.append([method, f"{mean:.1f} % ± {ci:.1f}", difference, *more])
    return runs.table_record(
        columns,
        rows,
        title=f"{title}, mean and 95 % interval over {len(accuracies[first])} seeds",
        command=command,
        scores={"target accuracy": dict(accuracies), **{k: dict(v) for k, v in others.items()}},
    )


def _quantity(values: Sequence[float] | None) -> str:
    return "–" if values is None else "{:.3f} ± {:.3f}".format(*mean_interval(np.asarray(values)))
