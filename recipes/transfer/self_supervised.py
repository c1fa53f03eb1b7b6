"""Unsupervised transfer: backbones that never saw a label, tested on few-shot episodes.

    python recipes/transfer/self_supervised.py                      # embedded glyphs, 3-5 minutes
    python recipes/transfer/self_supervised.py --data omniglot.npz --batch-size 256 --steps 2000
    python recipes/transfer/self_supervised.py --data FOLDER --image-size 84

Pretrains by SimCLR and by rotation prediction on the pictures of the training classes, without
their labels. Each backbone then classifies frozen episodes of never-seen classes, by the nearest
prototype and by a linear probe (a cosine classifier that is fitted to each support). Beside them:
the untrained backbone, and a prototypical network that did learn from the labels. The moving
statistics of all but the last are set to the training pictures as they are, neither turned nor
distorted. Prints paired differences from the untrained backbone.
"""

import argparse
import os
import time
from typing import NamedTuple

import keras

import tfmeta
from tfmeta import cli, runs
from tfmeta.evaluation import NearestCentroid, compare_reports, evaluate_episodes
from tfmeta.learners import BaselinePlusPlus, PrototypicalNetwork
from tfmeta.models import conv4
from tfmeta.optimizers import cosine_adam
from tfmeta.pretraining import labelled_batches
from tfmeta.transfer import RotationPrediction, SimCLR, recalibrate

# A batch of SimCLR has two views of each picture, one of rotation prediction has four.
N_TURNS = 4
# Batches that moving statistics are taken from.
N_STATISTICS = 20


class Source(NamedTuple):
    """Where a backbone comes from, and the minutes of its training."""

    name: str
    backbone: keras.Model
    minutes: float


def parse(arguments):
    """The options."""
    parser = cli.parser(
        __doc__,
        recipe="transfer/self_supervised.py",
        n_way=20,
        steps=600,
        epochs=5,
        n_validation=100,
        run="runs/self_supervised",
    )
    cli.add_class_options(parser)
    # A picture that is turned would be another class, which is what rotation prediction must see.
    parser.set_defaults(rotate="none")
    add = parser.add_argument
    add("--batch-size", type=int, default=128, help="pictures of an unlabelled batch")
    add("--filters", type=int, default=32, help="of the Conv4 backbone")
    add("--temperature", type=float, default=0.2, help="of SimCLR")
    add("--supervised-steps", type=int, default=400, help="of the prototypical network; 0 for none")
    return cli.parse(parser, arguments)


def build_backbone(train, options):
    """The same backbone for all, from the same first weights."""
    keras.utils.set_random_seed(options.seed)
    return conv4(train.example_shape, filters=options.filters)


def recalibrated(backbone, train, options):
    """The backbone, its moving statistics those of the training pictures."""
    tfmeta.layers.use_exact_layers(backbone)
    batches = labelled_batches(train, batch_size=options.batch_size)
    recalibrate(backbone, batches, steps=N_STATISTICS)
    return backbone


def untrained(train, options):
    """The backbone as it begins."""
    backbone = build_backbone(train, options)
    return Source("untrained backbone", recalibrated(backbone, train, options), 0.0)


def pretrained(name, model, train, options, *, batch_size):
    """A backbone that a pretext task has trained on the pictures alone."""
    start = time.perf_counter()
    pictures = labelled_batches(train, batch_size=batch_size, seed=options.seed).map(lambda x, y: x)
    model.compile(cosine_adam(options.learning_rate, options.steps))
    steps_per_epoch = max(1, options.steps // options.epochs)
    print(f"{name}: unsupervised transfer, {options.steps} batches without labels", flush=True)
    model.fit(pictures, epochs=options.epochs, steps_per_epoch=steps_per_epoch)
    backbone = recalibrated(model.backbone, train, options)
    return Source(name, backbone, (time.perf_counter() - start) / 60)


def supervised(train, validation, options):
    """The backbone of a prototypical network, trained on episodes with their labels."""
    options = argparse.Namespace(**vars(options) | {"steps": options.supervised_steps})
    learner = PrototypicalNetwork(build_backbone(train, options))
    trained = cli.fit_classes(learner, train, validation, options)
    return Source("with labels", trained.learner.backbone, trained.minutes)


def sources(train, validation, options):
    """The backbones, one after the other; the untrained one first."""
    yield untrained(train, options)
    simclr = SimCLR(
        build_backbone(train, options), temperature=options.temperature, seed=options.seed
    )
    yield pretrained("SimCLR", simclr, train, options, batch_size=options.batch_size)
    rotation = RotationPrediction(build_backbone(train, options))
    n_pictures = max(1, 2 * options.batch_size // N_TURNS)
    yield pretrained("rotation prediction", rotation, train, options, batch_size=n_pictures)
    if options.supervised_steps:
        yield supervised(train, validation, options)


def evaluate(source, episodes, options):
    """Reports of a backbone by prototypes and by a linear probe, with its minutes."""
    for name, learner in (
        ("prototypes", PrototypicalNetwork(source.backbone)),
        ("linear probe", BaselinePlusPlus(source.backbone)),
    ):
        name = f"{source.name}, {name}"
        report = evaluate_episodes(learner, episodes, n_episodes=options.n_episodes, name=name)
        print(f"{name}: {report}", flush=True)
        yield report, source.minutes


def main(arguments=None):
    """Runs the recipe and returns its record."""
    options = parse(arguments)
    train, validation, test = cli.load_class_splits(options)
    sizes = {"n_way": options.test_ways[0], "n_query": options.test_query}
    sizes["n_shot"] = options.test_shots[0]
    episodes = cli.frozen_episodes(test, options, **sizes)
    control = evaluate_episodes(NearestCentroid(), episodes, n_episodes=options.n_episodes)
    print(f"{control.name}: {control}")
    outcomes = [
        outcome
        for source in sources(train, validation, options)
        for outcome in evaluate(source, episodes, options)
    ]
    outcomes.append((control, 0.0))
    record = runs.comparison_record(
        outcomes, title="Unsupervised transfer to unseen classes", command=options.command
    )
    print("unsupervised transfer (no label of the training classes, but for 'with labels'):")
    for report, _ in outcomes:
        print(f"{report.name}: {report}; {compare_reports(report, outcomes[0][0])}")
    runs.write_record(record, os.path.join(options.run, "comparison.json"), options.record)
    return record


if __name__ == "__main__":
    tfmeta.configure_threads("operations")
    main()
