"""The gradient-based learners under one budget, compared on the same frozen episodes.

    python recipes/few_shot/compare_gradient.py --steps 600                # embedded glyphs
    python recipes/few_shot/compare_gradient.py --methods maml anil boil --statistics transductive

Trains every method of `maml.py` on the same number of tasks, with the options of `maml.py`, and
prints its accuracy on frozen episodes of never-seen classes beside the mean of the paired
differences from the first method. Reptile, which trains by plain steps, keeps its own rate.
"""

import argparse
import itertools
import os

from maml import DEFAULTS, METHODS, build_learner
from maml import parse as parse_maml

import tfmeta
from tfmeta import cli, runs
from tfmeta.evaluation import compare_reports, evaluate_episodes

COMPARED = ("maml", "fomaml", "anil", "boil", "meta_sgd", "maml_plus_plus", "proto_maml", "reptile")


def parse(arguments):
    """The options of the comparison, and the options of each run in it."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="All other options are those of maml.py, and go to every method.",
        allow_abbrev=False,
    )
    parser.set_defaults(recipe="few_shot/compare_gradient.py")
    add = parser.add_argument
    add("--methods", nargs="+", default=[*COMPARED, "implicit_maml"], choices=tuple(METHODS))
    add("--statistics", nargs="+", default=["support"], help="one or more of MAML's")
    options, others = parser.parse_known_args(arguments)
    each = {}
    for statistics, method in itertools.product(options.statistics, options.methods):
        one = parse_maml([*others, "--statistics", statistics, "--method", method])
        if method == "reptile":
            one.learning_rate = DEFAULTS["reptile"]["learning_rate"]
        each[statistics, method] = one
    options.command = cli.command_line(options.recipe, arguments)
    return options, each


def learn(run_options, train, validation, episodes):
    """The report of one method, and the minutes of its training."""
    learner = build_learner(train.example_shape, run_options)
    optimizer = cli.reptile_optimizer(run_options)
    trained = cli.fit_classes(learner, train, validation, run_options, optimizer=optimizer)
    name = METHODS[run_options.method][0]
    report = evaluate_episodes(
        trained.learner, episodes, n_episodes=run_options.n_episodes, name=name
    )
    print(f"{name}: {report}", flush=True)
    return report, trained.minutes


def main(arguments=None):
    """Runs the comparison and returns its record."""
    options, each = parse(arguments)
    first = next(iter(each.values()))
    train, validation, test = cli.load_class_splits(first)
    sizes = {"n_way": first.n_way, "n_query": first.test_query}
    episodes = cli.frozen_episodes(test, first, **sizes)
    outcomes = []
    for (_, method), run_options in each.items():
        run_options.run = os.path.join(first.run, f"{run_options.statistics}_{method}")
        os.makedirs(run_options.run)
        outcomes.append(learn(run_options, train, validation, episodes))
    record = runs.comparison_record(
        outcomes, title=f"{first.steps * first.n_tasks:,} tasks each", command=options.command
    )
    for row, (report, _) in zip(record["comparison"], outcomes, strict=True):
        print(f"{row['learner']}: {report}; {compare_reports(report, outcomes[0][0])}")
    runs.write_record(record, os.path.join(first.run, "comparison.json"), first.record)
    return record


if __name__ == "__main__":
    tfmeta.configure_threads("tasks")
    main()
