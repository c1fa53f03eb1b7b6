"""MAML (Finn et al. 2017): train with exact second-order meta-gradients, evaluate, export.

    python recipes/few_shot/maml.py                                # embedded glyphs, a few minutes
    python recipes/few_shot/maml.py --statistics transductive      # as in the paper's code
    python recipes/few_shot/maml.py --data FOLDER                  # your own pictures

Prints the accuracy on frozen episodes of never-seen classes after each inner step, beside the
nearest centroid on pixels, and writes reports, pictures, `learner.keras` and `saved_model`.
"""

import time

import tfmeta
from tfmeta import cli, runs
from tfmeta.evaluation import NearestCentroid
from tfmeta.models import conv4


def main(arguments=None):
    """Runs the recipe and returns its reports."""
    parser = cli.parser(__doc__, n_way=5, n_tasks=16, steps=1000, run="runs/maml")
    cli.add_class_options(parser)
    parser.add_argument("--inner-steps", type=int, default=1, help="in training")
    parser.add_argument("--evaluation-steps", type=int, default=3, help="in validation and test")
    parser.add_argument("--inner-rate", type=float, default=0.4)
    parser.add_argument("--order", type=int, default=2, choices=(1, 2))
    parser.add_argument("--statistics", default="support")
    options = parser.parse_args(arguments)
    options.test_ways = [options.n_way]
    start = time.perf_counter()

    train, validation, test = cli.load_class_splits(options)
    learner = tfmeta.learners.MAML(
        conv4(train.example_shape, outputs=options.n_way, downsampling="stride"),
        update_rule=options.inner_rate,
        inner_steps=options.inner_steps,
        evaluation_steps=options.evaluation_steps,
        order=options.order,
        statistics=options.statistics,
    )
    learner, history = cli.fit(
        learner,
        cli.episodes(train, "train", options, n_way=options.n_way, n_query=options.n_query),
        cli.episodes(
            validation, "validation", options, n_way=options.n_way, n_query=options.test_query
        ),
        options,
        metrics=["accuracy"],
    )
    minutes = (time.perf_counter() - start) / 60

    run = runs.Run(
        options,
        learner,
        history,
        minutes=minutes,
        recipe="few_shot/maml.py",
        arguments=arguments,
    )
    name = f"{options.n_way}way_{options.n_shot}shot"
    episodes = cli.frozen_episodes(
        test, options, name=name, n_way=options.n_way, n_query=options.test_query
    )
    run.evaluate(episodes, name, control=NearestCentroid())
    run.draw_episode(episodes, name)
    run.draw_adaptation(episodes, name)
    return run.finish()


if __name__ == "__main__":
    tfmeta.configure_threads("tasks")
    main()
