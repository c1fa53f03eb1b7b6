"""Learners that adapt by gradient steps, on sinusoids (Finn et al. 2017, section 5.1).

    python recipes/few_shot/sinusoid_maml.py                       # MAML, 10-shot, a few minutes
    python recipes/few_shot/sinusoid_maml.py --method reptile --n-shot 5
    python recipes/few_shot/sinusoid_maml.py --method meta_sgd --inner-steps 5 --evaluation-steps 5

Few-shot regression by MAML, its first-order approximation, Meta-SGD (Li et al. 2017) or Reptile
(Nichol et al. 2018, with its inner Adam), all with one network. Prints the mean squared error on
frozen tasks after some numbers of inner steps, beside the support's mean, and writes reports,
pictures, `learner.keras` and `saved_model`.
"""

import tfmeta
from tfmeta import cli, runs
from tfmeta.evaluation import MeanPredictor
from tfmeta.inner_loop import Adam, MetaSGD
from tfmeta.models import mlp

NAMES = {"maml": "MAML", "fomaml": "FOMAML", "meta_sgd": "MetaSGD", "reptile": "Reptile"}
# What differs between the methods. Rates that Meta-SGD learns for one step, as in its paper, are
# large: the error grows without bound when they are used for more.
DEFAULTS = {"inner_steps": 1, "inner_rate": 0.01, "evaluation_steps": [1, 5, 10]}
METHOD_DEFAULTS = {
    "maml": DEFAULTS,
    "fomaml": DEFAULTS,
    "meta_sgd": {**DEFAULTS, "evaluation_steps": [1]},
    # A task of 50 points, five inner steps on ten of them each, as in the authors' demonstration.
    "reptile": {
        **DEFAULTS,
        "inner_steps": 5,
        "inner_rate": 0.02,
        "inner_batch_size": 10,
        "train_shot": 50,
        "learning_rate": 1.0,
    },
}


def parse(arguments):
    """The options, with the default values of the method that they name."""
    parser = cli.parser(
        __doc__,
        recipe="few_shot/sinusoid_maml.py",
        n_shot=10,
        n_query=10,
        n_tasks=25,
        steps=20_000,
        run="runs/sinusoid",
    )
    add = parser.add_argument
    add("--method", default="maml", choices=tuple(NAMES))
    add("--inner-steps", type=int, help="in training")
    add("--inner-rate", type=float, help="for Meta-SGD where the rates start, for Reptile Adam's")
    add("--inner-batch-size", type=int, help="support points of an inner step, Reptile only")
    add("--train-shot", type=int, help="support points in training; None for --n-shot")
    add("--evaluation-steps", type=int, nargs="+", help="inner steps in the test")
    method = parser.parse_known_args(arguments)[0].method
    parser.set_defaults(**METHOD_DEFAULTS[method])
    return cli.parse(parser, arguments)


def build_learner(options):
    """The learner of the method."""
    steps = {
        "inner_steps": options.inner_steps,
        "evaluation_steps": max(options.evaluation_steps),
        "name": options.method,
    }
    if options.method == "reptile":
        rule, size = Adam(options.inner_rate, beta_1=0.0), options.inner_batch_size
        return tfmeta.learners.Reptile(mlp(), update_rule=rule, inner_batch_size=size, **steps)
    is_meta_sgd = options.method == "meta_sgd"
    rule = MetaSGD(options.inner_rate) if is_meta_sgd else options.inner_rate
    order = 1 if options.method == "fomaml" else 2
    return tfmeta.learners.MAML(mlp(), update_rule=rule, order=order, **steps)


def main(arguments=None):
    """Runs the recipe and returns its reports."""
    options = parse(arguments)
    options.run = cli.new_folder(options.run)
    tasks = tfmeta.data.sinusoids()
    n_shot = options.train_shot or options.n_shot
    train = cli.episodes(tasks, "train", options, n_shot=n_shot, n_query=options.n_query)
    validation = cli.episodes(tasks, "validation", options, n_query=100)
    trained = cli.fit(
        build_learner(options), train, validation, options, optimizer=cli.reptile_optimizer(options)
    )
    run = runs.Run(options, trained, method=NAMES[options.method])
    episodes = cli.frozen_episodes(tasks, options, n_query=100)
    name = f"sinusoid_{options.n_shot}shot"
    for steps in options.evaluation_steps:
        run.evaluate(
            episodes, f"{name}_{steps}step", evaluation_steps=steps, control=MeanPredictor()
        )
    run.draw_adaptation(episodes, name)
    run.draw_regression(episodes, name)
    return run.finish()


if __name__ == "__main__":
    tfmeta.configure_threads("tasks")
    main()
