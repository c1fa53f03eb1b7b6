r"""The LSTM meta-learner (Ravi and Larochelle 2017) beside MAML, on the same frozen episodes.

    python recipes/few_shot/meta_lstm.py --data omniglot --rotate none --steps 1000
    python recipes/few_shot/meta_lstm.py --data data/caltech101_96px.npz --image-size 96 \
        --split data/caltech101_96px.npz:split --rotate none --n-query 8

Trains both on the same number of tasks, with the same network and inner steps, and prints their
accuracies on never-seen classes, with the mean of the paired differences from MAML. With
`--methods maml meta_lstm fixed_gates` also for a Meta-LSTM that learns the initial weights alone.
"""

import os

import tfmeta
from tfmeta import cli, runs
from tfmeta.evaluation import compare_reports, evaluate_episodes
from tfmeta.inner_loop import MetaLSTMRule
from tfmeta.learners import MAML, MetaLSTM
from tfmeta.models import conv4

METHODS = {"maml": "MAML", "meta_lstm": "MetaLSTM", "fixed_gates": "MetaLSTM, fixed gates"}


def parse(arguments):
    """The options."""
    parser = cli.parser(
        __doc__, recipe="few_shot/meta_lstm.py", n_tasks=8, steps=1000, run="runs/meta_lstm"
    )
    cli.add_class_options(parser)
    add = parser.add_argument
    add("--methods", nargs="+", default=["maml", "meta_lstm"], choices=tuple(METHODS))
    add("--inner-steps", type=int, default=5)
    add("--inner-rate", type=float, default=0.1, help="of MAML; the gates start at it")
    add("--forget", type=float, default=0.999, help="where the forget gate starts")
    add("--units", type=int, default=20, help="of the LSTM")
    add("--filters", type=int, default=32, help="of each convolution")
    options = cli.parse(parser, arguments)
    options.test_ways = [options.n_way]  # the network's width fixes the number of classes
    return options


def build_learner(method, example_shape, options):
    """A learner on the strided Conv4."""
    network = conv4(
        example_shape, outputs=options.n_way, filters=options.filters, downsampling="stride"
    )
    common = {"inner_steps": options.inner_steps, "name": method}
    if method == "maml":
        return MAML(network, update_rule=options.inner_rate, **common)
    rule = MetaLSTMRule(options.inner_rate, forget=options.forget, units=options.units)
    # The rule keeps hundreds of numbers for each weight and step: not ten tasks at a time.
    learner = MetaLSTM(network, update_rule=rule, tasks_at_once=2, **common)
    rule.trainable = method == "meta_lstm"
    return learner


def learn(method, train, validation, episodes, options):
    """The report of one method, and the minutes of its training."""
    learner = build_learner(method, train.example_shape, options)
    trained = cli.fit_classes(learner, train, validation, options)
    report = evaluate_episodes(
        trained.learner, episodes, n_episodes=options.n_episodes, name=METHODS[method]
    )
    print(f"{METHODS[method]}: {report}", flush=True)
    tfmeta.export_learner(trained.learner, os.path.join(options.run, "saved_model"))
    return report, trained.minutes


def main(arguments=None):
    """Runs the recipe and returns its record."""
    options = parse(arguments)
    train, validation, test = cli.load_class_splits(options)
    sizes = {"n_way": options.n_way, "n_query": options.test_query}
    episodes = cli.frozen_episodes(test, options, **sizes)
    folder, outcomes = options.run, []
    for method in options.methods:
        options.run = cli.new_folder(os.path.join(folder, method))
        outcomes.append(learn(method, train, validation, episodes, options))
    n_tasks = options.steps * options.n_tasks
    record = runs.comparison_record(
        outcomes,
        title=f"Meta-LSTM, {n_tasks:,} tasks each, {options.inner_steps} inner steps",
        command=options.command,
    )
    for report, _ in outcomes:
        print(f"{report.name}: {report}; {compare_reports(report, outcomes[0][0])}")
    runs.write_record(record, os.path.join(folder, "comparison.json"), options.record)
    return record


if __name__ == "__main__":
    tfmeta.configure_threads("tasks")
    main()
