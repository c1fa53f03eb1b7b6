"""Prototypical Networks (Snell et al. 2017): train, evaluate, export.

    python recipes/few_shot/prototypical.py                     # embedded glyphs, under 5 minutes
    python recipes/few_shot/prototypical.py --data FOLDER       # your own pictures
    python recipes/few_shot/prototypical.py --data omniglot     # through tensorflow-datasets

Prints the accuracy on frozen episodes of never-seen classes beside the nearest centroid on pixels,
and writes reports, pictures, `learner.keras` and `saved_model` into the run's folder.
"""

import time

import tfmeta
from tfmeta import cli, runs
from tfmeta.evaluation import NearestCentroid
from tfmeta.models import conv4


def main(arguments=None):
    """Runs the recipe and returns its reports."""
    parser = cli.parser(__doc__, n_way=20, n_tasks=4, steps=400, run="runs/prototypical")
    cli.add_class_options(parser)
    parser.add_argument("--distance", default="squared_euclidean")
    parser.add_argument("--statistics", default="running")
    options = parser.parse_args(arguments)
    start = time.perf_counter()

    train, validation, test = cli.load_class_splits(options)
    learner = tfmeta.learners.PrototypicalNetwork(
        conv4(train.example_shape), distance=options.distance, statistics=options.statistics
    )
    test_way = options.test_ways[0]
    learner, history = cli.fit(
        learner,
        cli.episodes(train, "train", options, n_way=options.n_way, n_query=options.n_query),
        cli.episodes(validation, "validation", options, n_way=test_way, n_query=options.test_query),
        options,
        metrics=["accuracy"],
    )
    minutes = (time.perf_counter() - start) / 60

    run = runs.Run(
        options,
        learner,
        history,
        minutes=minutes,
        recipe="few_shot/prototypical.py",
        arguments=arguments,
    )
    for n_way in options.test_ways:
        name = f"{n_way}way_{options.n_shot}shot"
        episodes = cli.frozen_episodes(
            test, options, name=name, n_way=n_way, n_query=options.test_query
        )
        run.evaluate(episodes, name, control=NearestCentroid())
        run.draw_episode(episodes, name)
    return run.finish()


if __name__ == "__main__":
    tfmeta.configure_threads("tasks")
    main()
