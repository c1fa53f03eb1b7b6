"""Prototypical Networks (Snell et al. 2017): train, evaluate, export.

    python recipes/few_shot/prototypical.py                     # embedded glyphs, under 5 minutes
    python recipes/few_shot/prototypical.py --data FOLDER       # your own pictures
    python recipes/few_shot/prototypical.py --data omniglot     # through tensorflow-datasets

Prints the accuracy on frozen episodes of never-seen classes beside the nearest centroid on pixels,
and writes reports, pictures, `learner.keras` and `saved_model` into the run's folder.
"""

import tfmeta
from tfmeta import cli, runs
from tfmeta.models import conv4


def main(arguments=None):
    """Runs the recipe and returns its reports."""
    parser = cli.parser(
        __doc__,
        recipe="few_shot/prototypical.py",
        n_way=20,
        steps=700,
        epochs=7,
        n_validation=100,
        run="runs/prototypical",
    )
    cli.add_class_options(parser)
    parser.add_argument("--distance", default="squared_euclidean")
    parser.add_argument("--statistics", default="running")
    options = cli.parse(parser, arguments)

    train, validation, test = cli.load_class_splits(options)
    learner = tfmeta.learners.PrototypicalNetwork(
        conv4(train.example_shape), distance=options.distance, statistics=options.statistics
    )
    run = runs.Run(options, cli.fit_classes(learner, train, validation, options))
    run.test_settings(test)
    return run.finish()


if __name__ == "__main__":
    tfmeta.configure_threads("tasks")
    main()
