"""Measures how fast episodes are made, and how long a training step waits for them.

    python recipes/benchmarks/episodes.py      # the sizes of Omniglot, synthetic pictures

Prints episodes per second of the sampler alone (best and median of several rounds), and the share
of a training step that a learner spends waiting for its input.
"""

import argparse
import json
import statistics
import time

import keras
import numpy as np

import tfmeta
from tfmeta import cli, runs
from tfmeta.models import conv4


def synthetic_omniglot(n_classes, image_size):
    """Random pictures in the sizes of Omniglot: 20 examples a class."""
    draws = np.random.default_rng(0)
    x = draws.integers(0, 256, (n_classes * 20, image_size, image_size, 1), dtype=np.uint8)
    return tfmeta.data.from_arrays(x, np.repeat(np.arange(n_classes), 20))


def episodes_per_second(dataset, n_batches, n_tasks):
    """Rate of one pass over `n_batches` batches, after a first one that starts the pipeline."""
    batches = iter(dataset)
    next(batches)
    start = time.perf_counter()
    for _ in range(n_batches):
        next(batches)
    return n_batches * n_tasks / (time.perf_counter() - start)


def waiting_share(dataset, n_steps):
    """Share of the training steps' time that goes into waiting for the next batch."""
    learner = tfmeta.learners.MAML(conv4(outputs=5, downsampling="stride"), inner_steps=1)
    learner.compile(keras.optimizers.Adam(1e-3))
    batches = iter(dataset)
    waiting = total = 0.0
    for step in range(n_steps + 2):
        start = time.perf_counter()
        batch = next(batches)
        waited = time.perf_counter() - start
        learner.train_on_batch(*batch)
        if step >= 2:  # the first steps trace and fill the pipeline
            waiting += waited
            total += time.perf_counter() - start
    return waiting / total


def main(arguments=None):
    """Runs the benchmark and returns its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.set_defaults(recipe="benchmarks/episodes.py")
    parser.add_argument("--n-classes", type=int, default=4112)
    parser.add_argument("--image-size", type=int, default=28)
    parser.add_argument("--n-tasks", type=int, default=32)
    parser.add_argument("--n-batches", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--n-steps", type=int, default=20)
    parser.add_argument("--record", default=None, help="also write the figures to this JSON file")
    options = cli.parse(parser, arguments)

    examples = synthetic_omniglot(options.n_classes, options.image_size)
    dataset = tfmeta.data.episode_dataset(
        examples, n_way=5, n_shot=1, n_query=15, n_tasks=options.n_tasks
    )
    rates = [
        episodes_per_second(dataset, options.n_batches, options.n_tasks)
        for _ in range(options.rounds)
    ]
    figures = {
        "episodes_per_second_best": round(max(rates)),
        "episodes_per_second_median": round(statistics.median(rates)),
        "waiting_share_of_a_step": round(waiting_share(dataset, options.n_steps), 4),
    }
    print(json.dumps(figures))
    record = {"command": options.command, "figures": figures, **runs.circumstances()}
    runs.write_record(record, options.record)
    return figures


if __name__ == "__main__":
    tfmeta.configure_threads("tasks")
    main()
