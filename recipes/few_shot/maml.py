"""MAML (Finn et al. 2017): train with exact second-order meta-gradients, evaluate, export.

    python recipes/few_shot/maml.py                                # embedded glyphs, a few minutes
    python recipes/few_shot/maml.py --statistics transductive      # as in the paper's code
    python recipes/few_shot/maml.py --data FOLDER                  # your own pictures

Prints the accuracy on frozen episodes of never-seen classes after each inner step, beside the
nearest centroid on pixels, and writes reports, pictures, `learner.keras` and `saved_model`.
"""

import tfmeta
from tfmeta import cli, runs
from tfmeta.models import conv4


def main(arguments=None):
    """Runs the recipe and returns its reports."""
    parser = cli.parser(
        __doc__, recipe="few_shot/maml.py", n_way=5, n_tasks=16, steps=1000, run="runs/maml"
    )
    cli.add_class_options(parser)
    parser.add_argument("--inner-steps", type=int, default=1, help="in training")
    parser.add_argument("--evaluation-steps", type=int, default=3, help="in validation and test")
    parser.add_argument("--inner-rate", type=float, default=0.4)
    parser.add_argument("--order", type=int, default=2, choices=(1, 2))
    parser.add_argument("--statistics", default="support")
    options = cli.parse(parser, arguments)
    options.test_ways = [options.n_way]  # the network's width fixes the number of classes

    train, validation, test = cli.load_class_splits(options)
    learner = tfmeta.learners.MAML(
        conv4(train.example_shape, outputs=options.n_way, downsampling="stride"),
        update_rule=options.inner_rate,
        inner_steps=options.inner_steps,
        evaluation_steps=options.evaluation_steps,
        order=options.order,
        statistics=options.statistics,
    )
    run = runs.Run(options, cli.fit_classes(learner, train, validation, options))
    run.test_classes(test, n_way=options.n_way)
    return run.finish()


if __name__ == "__main__":
    tfmeta.configure_threads("tasks")
    main()
