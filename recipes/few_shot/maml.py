"""Learners that adapt by gradient steps (Finn et al. 2017 and after): train, evaluate, export.

    python recipes/few_shot/maml.py                                # embedded glyphs, a few minutes
    python recipes/few_shot/maml.py --statistics transductive      # as in the MAML paper's code
    python recipes/few_shot/maml.py --method anil                  # another method
    python recipes/few_shot/maml.py --data FOLDER                  # your own pictures

Prints the accuracy on frozen episodes of never-seen classes after each inner step, beside the
nearest centroid on pixels, and writes reports, pictures, `learner.keras` and `saved_model`.
"""

import tfmeta
from tfmeta import cli, runs
from tfmeta.inner_loop import Adam, LayerStepRates, MetaCurvature, MetaSGD
from tfmeta.learners import MAML, ImplicitMAML, Reptile
from tfmeta.models import conv4

# The name in the record, and the arguments by which a method differs from MAML.
METHODS = {
    "maml": ("MAML", lambda o: {}),
    "fomaml": ("FOMAML", lambda o: {"order": 1}),
    "anil": ("ANIL", lambda o: {"adapt": "head"}),
    "boil": ("BOIL", lambda o: {"adapt": "body"}),
    "meta_sgd": ("MetaSGD", lambda o: {"update_rule": MetaSGD(o.inner_rate)}),
    "meta_curvature": ("MetaCurvature", lambda o: {"update_rule": MetaCurvature(o.inner_rate)}),
    "maml_plus_plus": (
        "MAML++",
        lambda o: {
            "order": "anneal",
            "anneal_steps": max(1, o.steps // 3),
            "multi_step_loss": max(1, o.steps // 3),
            "update_rule": LayerStepRates(o.inner_rate),
        },
    ),
    "proto_maml": ("ProtoMAML", lambda o: {"head_init": "prototypes"}),
    "implicit_maml": ("ImplicitMAML", lambda o: {}),
    "reptile": ("Reptile", lambda o: {"update_rule": Adam(o.inner_rate, beta_1=0.0)}),
}
CLASSES = {"implicit_maml": ImplicitMAML, "reptile": Reptile}
# Where a method wants other default values than MAML.
DEFAULTS = {
    "reptile": {
        "inner_rate": 0.001,
        "inner_steps": 10,
        "evaluation_steps": 50,
        "learning_rate": 1.0,
    },
    "implicit_maml": {"inner_rate": 0.1, "inner_steps": 16, "evaluation_steps": 16},
    "proto_maml": {"inner_rate": 0.05},
}


def parse(arguments):
    """The options, with the default values of the method that they name."""
    parser = cli.parser(
        __doc__, recipe="few_shot/maml.py", n_way=5, n_tasks=16, steps=1000, run="runs/maml"
    )
    cli.add_class_options(parser)
    add = parser.add_argument
    add("--method", default="maml", choices=tuple(METHODS))
    add("--inner-steps", type=int, default=1, help="in training")
    add("--evaluation-steps", type=int, default=3, help="in validation and test")
    add("--inner-rate", type=float, default=0.4, help="or where learned rates start")
    add("--statistics", default="support")
    method = parser.parse_known_args(arguments)[0].method
    parser.set_defaults(**DEFAULTS.get(method, {}))
    options = cli.parse(parser, arguments)
    options.test_ways = [options.n_way]  # the network's width fixes the number of classes
    return options


def build_learner(example_shape, options):
    """The learner of the method, on the strided Conv4."""
    _, differences = METHODS[options.method]
    arguments = {
        "update_rule": options.inner_rate,
        "inner_steps": options.inner_steps,
        "evaluation_steps": options.evaluation_steps,
        "statistics": options.statistics,
        **differences(options),
    }
    network = conv4(example_shape, outputs=options.n_way, downsampling="stride")
    return CLASSES.get(options.method, MAML)(network, name=options.method, **arguments)


def main(arguments=None):
    """Runs the recipe and returns its reports."""
    options = parse(arguments)
    train, validation, test = cli.load_class_splits(options)
    learner = build_learner(train.example_shape, options)
    trained = cli.fit_classes(
        learner, train, validation, options, optimizer=cli.reptile_optimizer(options)
    )
    run = runs.Run(options, trained, method=METHODS[options.method][0])
    run.test_settings(test)
    return run.finish()


if __name__ == "__main__":
    tfmeta.configure_threads("tasks")
    main()
