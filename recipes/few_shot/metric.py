"""Learners that embed and compare, from Siamese networks to FEAT: train, evaluate, export.

    python recipes/few_shot/metric.py                              # embedded glyphs, a few minutes
    python recipes/few_shot/metric.py --method r2d2                # another method
    python recipes/few_shot/metric.py --test-ways 5 20 --test-shots 1 5
    python recipes/few_shot/metric.py --data FOLDER --image-size 84

Prints the accuracy on frozen episodes of never-seen classes beside the nearest centroid on pixels,
and writes reports, pictures, `learner.keras` and `saved_model` into the run's folder. SimpleShot
and Baseline++ train no episodes but classify the training classes, and FEAT begins with that
(`--pretrain-steps`); a pretrained backbone is that of the last step.
"""

from typing import NamedTuple

import keras

import tfmeta
from tfmeta import cli, learners, pretraining, runs
from tfmeta.models import conv4, resnet12


class Method(NamedTuple):
    """The name in the record, the class, its arguments, and other default values of options."""

    name: str
    learner: str
    arguments: dict
    defaults: dict


# Solvers of more than one shot learn from more than one.
SHOTS = {"n_way": 10, "n_shot": 3, "n_query": 6}
# The best of 0.1, 0.05 and 0.03 on the validation classes of Omniglot.
MATCHING = {"temperature": 0.03}
METHODS = {
    "prototypical": Method("PrototypicalNetwork", "PrototypicalNetwork", {}, {}),
    "siamese": Method("SiameseNetwork", "SiameseNetwork", {}, {"n_query": 2}),
    "siamese_triplet": Method(
        "SiameseNetwork with triplets", "SiameseNetwork", {"pair_loss": "triplet"}, {"n_query": 2}
    ),
    "matching": Method("MatchingNetwork", "MatchingNetwork", MATCHING, {}),
    "matching_fce": Method(
        "MatchingNetwork with full context",
        "MatchingNetwork",
        {**MATCHING, "full_context": True},
        {},
    ),
    # The sum of the paper would grow with the shots, which differ between training and test.
    "relation": Method("RelationNetwork", "RelationNetwork", {"class_features": "mean"}, {}),
    "r2d2": Method("R2D2", "R2D2", {}, SHOTS),
    "meta_opt_net": Method("MetaOptNet", "MetaOptNet", {}, SHOTS),
    "meta_opt_net_ridge": Method("MetaOptNet with ridge", "MetaOptNet", {"head": "ridge"}, SHOTS),
    "simple_shot": Method(
        "SimpleShot", "SimpleShot", {}, {"steps": 0, "pretrain_steps": 1500, "epochs": 5}
    ),
    "baseline_plus_plus": Method(
        "Baseline++", "BaselinePlusPlus", {}, {"steps": 0, "pretrain_steps": 1500, "epochs": 5}
    ),
    "feat": Method("FEAT", "FEAT", {}, {"pretrain_steps": 700, "steps": 500}),
}


def parse(arguments):
    """The options, with the default values of the method that they name."""
    parser = cli.parser(
        __doc__,
        recipe="few_shot/metric.py",
        n_way=20,
        n_query=5,
        n_tasks=4,
        steps=1000,
        run="runs/metric",
    )
    cli.add_class_options(parser)
    pretraining.add_pretraining_options(parser)
    add = parser.add_argument
    add("--method", default="prototypical", choices=tuple(METHODS))
    add("--backbone", default="conv4", choices=("conv4", "resnet12"))
    add("--statistics", default="running")
    method = parser.parse_known_args(arguments)[0].method
    parser.set_defaults(**METHODS[method].defaults)
    return cli.parse(parser, arguments)


def build_backbone(example_shape, options):
    """The backbone that the method's learner takes."""
    if options.backbone == "resnet12":
        return resnet12(example_shape)
    if options.method == "relation":  # compares feature maps
        return conv4(example_shape, flatten=False, n_poolings=2)
    return conv4(example_shape)


def pretraining_head(train, options):
    """The layer that classifies the training classes while the backbone is pretrained."""
    if options.method == "baseline_plus_plus":
        return pretraining.CosineHead(train.n_classes)
    return keras.layers.Dense(train.n_classes)


def build_learner(backbone, options):
    """The learner of the method."""
    method = METHODS[options.method]
    learner = getattr(learners, method.learner)
    return learner(backbone, statistics=options.statistics, name=options.method, **method.arguments)


def set_center(learner, train):
    """Centres SimpleShot on the mean feature of the training examples."""
    if isinstance(learner, learners.SimpleShot):
        learner.set_center(train)


def train_on_episodes(learner, pretrained, train, validation, options):
    """The trained learner, for a method that trains on episodes; the others are trained already."""
    set_center(learner, train)
    if not options.steps:
        return cli.Trained(learner, *pretrained)
    trained = cli.fit_classes(learner, train, validation, options)
    set_center(trained.learner, train)  # it has moved with the backbone
    before = pretrained.minutes if pretrained else 0.0
    return trained._replace(minutes=before + trained.minutes)


def main(arguments=None):
    """Runs the recipe and returns its reports."""
    options = parse(arguments)
    train, validation, test = cli.load_class_splits(options)
    backbone = build_backbone(train.example_shape, options)
    pretrained = pretraining.pretrain(
        backbone, train, options, head=pretraining_head(train, options)
    )
    learner = build_learner(backbone, options)
    trained = train_on_episodes(learner, pretrained, train, validation, options)
    run = runs.Run(options, trained, method=METHODS[options.method].name)
    run.test_settings(test)
    return run.finish()


if __name__ == "__main__":
    # Ordinary batches want all cores for one operation.
    tfmeta.configure_threads("tasks" if parse(None).steps else "operations")
    main()
