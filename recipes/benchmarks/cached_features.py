"""Measures what features cost that are computed once: the pass, and episodes of them.

    python recipes/benchmarks/cached_features.py

Prints pictures per second of `FineTune.features` beside `predict` of the same backbone (SqueezeNet,
random weights and pictures), which take turns; and, for every head, the seconds of 10,000 episodes
of features (5-way 1-shot, 15 queries), tracing included.
"""

import argparse
import json
import statistics
import time

import numpy as np
from side_by_side import seconds_of

import tfmeta
from tfmeta import cli, learners, runs
from tfmeta.models import conv4, squeezenet
from tfmeta.transfer import FineTune

HEADS = (
    "PrototypicalNetwork",
    "SiameseNetwork",
    "MatchingNetwork",
    "R2D2",
    "MetaOptNet",
    "SimpleShot",
    "FEAT",
)


def arguments_parser():
    """The options of the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.set_defaults(recipe="benchmarks/cached_features.py")
    add = parser.add_argument
    add("--n-pictures", type=int, default=512)
    add("--image-size", type=int, default=96)
    add("--rounds", type=int, default=5, help="turns of each pass")
    add("--n-episodes", type=int, default=10_000)
    add("--heads", nargs="+", default=list(HEADS), choices=HEADS)
    add("--record", default=None, help="also write the figures to this JSON file")
    return parser


def passes(options):
    """Pictures per second of the pass over the data, and its share of the backbone's `predict`."""
    shape = (options.image_size, options.image_size, 3)
    draws = np.random.default_rng(0)
    pictures = draws.uniform(size=(options.n_pictures, *shape)).astype("float32")
    backbone = squeezenet(shape)
    model = FineTune(backbone, 10, train="head")
    turns = [
        (
            seconds_of(lambda: backbone.predict(pictures, verbose=0)),
            seconds_of(lambda: model.features(pictures)),
        )
        for _ in range(1 + options.rounds)
    ][1:]  # the first one traces
    ours = statistics.median(features for _, features in turns)
    return {
        "pictures_per_second": round(options.n_pictures / ours, 1),
        "share_of_predict": round(statistics.median(one / other for one, other in turns), 3),
    }


def episodes(options):
    """Seconds of the episodes of features, by head."""
    draws = np.random.default_rng(0)
    x = draws.integers(0, 256, (100 * 20, 28, 28, 1), dtype=np.uint8)
    examples = tfmeta.data.from_arrays(x, np.repeat(np.arange(100), 20))
    seconds = {}
    for head in options.heads:
        learner = getattr(learners, head)(conv4())
        if head == "SimpleShot":
            learner.set_center(examples)
        embedded = learner.embed(examples)
        start = time.perf_counter()
        dataset = tfmeta.data.episode_dataset(
            embedded, n_way=5, n_shot=1, n_query=15, n_tasks=100, n_episodes=options.n_episodes
        )
        tfmeta.evaluate_episodes(learner.on_features(), dataset, n_episodes=options.n_episodes)
        seconds[f"seconds_of_{options.n_episodes}_episodes_{head}"] = round(
            time.perf_counter() - start, 1
        )
    return seconds


def main(arguments=None):
    """Runs the benchmark and returns its figures."""
    options = cli.parse(arguments_parser(), arguments)
    figures = {**passes(options), **episodes(options)}
    print(json.dumps(figures, indent=1))
    record = {"command": options.command, "figures": figures, **runs.circumstances()}
    runs.write_record(record, options.record)
    return figures


if __name__ == "__main__":
    tfmeta.configure_threads("operations")
    main()
