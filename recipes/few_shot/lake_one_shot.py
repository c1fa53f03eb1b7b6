"""One-shot classification within an alphabet (Lake et al. 2015), by Prototypical Networks.

    python recipes/few_shot/lake_one_shot.py --data data/omniglot.npz
    python recipes/few_shot/lake_one_shot.py --data omniglot --runs all_runs.zip

Trains on the 30 background alphabets only and tests on 20-way one-shot episodes, each within one
of the 20 evaluation alphabets; `--runs` adds the 20 official runs, straight from their archive.
Prints error rates beside the published ones. The official runs differ in one thing: there all
support pictures of a run are by one person and all test pictures by another.

Without `--train-on trainval`, five background alphabets choose the epoch and are not trained on.
"""

import numpy as np
import tensorflow as tf

import tfmeta
from tfmeta import cli, runs
from tfmeta.data.omniglot_runs import read_omniglot_runs
from tfmeta.evaluation import NearestCentroid
from tfmeta.models import conv4

EVALUATION_ALPHABETS = (
    "Angelic",
    "Atemayar_Qelisayer",
    "Atlantean",
    "Aurek-Besh",
    "Avesta",
    "Ge_ez",
    "Glagolitic",
    "Gurmukhi",
    "Kannada",
    "Keble",
    "Malayalam",
    "Manipuri",
    "Mongolian",
    "Old_Church_Slavonic_(Cyrillic)",
    "Oriya",
    "Sylheti",
    "Syriac_(Serto)",
    "Tengwar",
    "Tibetan",
    "ULOG",
)
N_VALIDATION_ALPHABETS = 5
PUBLISHED = (
    "published error rates on the official runs: humans 4.5 %, BPL 3.3 % (Lake et al. 2015), "
    "Siamese network 8.0 % (Koch et al. 2015), Prototypical Network 13.7 % (Lake et al. 2019)"
)


def parse(arguments):
    """The options."""
    parser = cli.parser(
        __doc__,
        recipe="few_shot/lake_one_shot.py",
        n_way=20,
        n_tasks=4,
        steps=2000,
        run="runs/lake_one_shot",
    )
    cli.add_class_options(parser)
    parser.set_defaults(data="omniglot", test_ways=[20], test_query=5)
    parser.add_argument("--runs", default=None, metavar="ZIP", help="the official all_runs.zip")
    parser.add_argument(
        "--within-alphabet", action="store_true", help="training episodes of one alphabet each"
    )
    parser.add_argument("--statistics", default="running")
    return cli.parse(parser, arguments)


def split_alphabets(examples, options):
    """Background alphabets to train and to validate on, and the evaluation alphabets."""
    groups = np.array(examples.groups)
    is_evaluation = np.isin(groups, EVALUATION_ALPHABETS)
    background, n_characters = np.unique(groups[~is_evaluation], return_counts=True)
    large = background[n_characters >= max(options.test_ways)]
    draws = np.random.default_rng(options.seed)
    validation = draws.choice(large, N_VALIDATION_ALPHABETS, replace=False)
    is_validation = np.isin(groups, validation)
    chosen = {
        "train": ~is_evaluation & ~is_validation,
        "validation": is_validation,
        "test": is_evaluation,
    }
    return {part: examples.select(np.flatnonzero(classes)) for part, classes in chosen.items()}


def train_learner(train, validation, options):
    """The trained Prototypical Network."""
    learner = tfmeta.learners.PrototypicalNetwork(
        conv4(train.example_shape), statistics=options.statistics
    )
    return cli.fit_classes(
        learner,
        train,
        validation,
        options,
        train_options={"within_group": options.within_alphabet},
        validation_options={"within_group": True},
    )


def print_error(name, report):
    """The error rate with its interval."""
    error, interval = 100 * (1 - report.mean), 100 * report.ci
    print(f"{name}: error rate {error:.1f} % ± {interval:.1f} ({report.n_episodes} episodes)")


def main(arguments=None):
    """Runs the recipe and returns its reports."""
    options = parse(arguments)
    examples = cli.load_examples(options.data, options.image_size)
    options.run = cli.new_folder(options.run)
    parts = split_alphabets(examples, options)
    train, validation, test = cli.prepare_parts(examples, parts, options)
    trained = train_learner(train, validation, options)
    run = runs.Run(options, trained, method="PrototypicalNetwork within an alphabet")
    run.test_settings(test, within_group=True)
    if options.runs:
        official = read_omniglot_runs(options.runs, image_size=options.image_size)
        episodes = tf.data.Dataset.from_tensors(official)
        n_runs = len(official[1])
        run.evaluate(episodes, "official_runs", control=NearestCentroid(), n_episodes=n_runs)
    for name, report in run.reports.items():
        print_error(name, report)
    print(PUBLISHED)
    return run.finish()


if __name__ == "__main__":
    tfmeta.configure_threads("tasks")
    main()
