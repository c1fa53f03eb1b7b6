"""MAML on sinusoids (Finn et al. 2017, section 5.1): few-shot regression.

    python recipes/few_shot/sinusoid_maml.py                       # 10-shot, a few minutes

Prints the mean squared error on frozen tasks before adaptation and after each inner step, beside
the support's mean, and writes reports, pictures, `learner.keras` and `saved_model`.
"""

import tfmeta
from tfmeta import cli, runs
from tfmeta.evaluation import MeanPredictor
from tfmeta.models import mlp

REPORTED_STEPS = (1, 5, 10)


def main(arguments=None):
    """Runs the recipe and returns its reports."""
    parser = cli.parser(
        __doc__,
        recipe="few_shot/sinusoid_maml.py",
        n_shot=10,
        n_query=10,
        n_tasks=25,
        steps=20_000,
        run="runs/sinusoid",
    )
    parser.add_argument("--inner-steps", type=int, default=1, help="in training")
    parser.add_argument("--inner-rate", type=float, default=0.01)
    parser.add_argument("--order", type=int, default=2, choices=(1, 2))
    options = cli.parse(parser, arguments)

    options.run = cli.new_folder(options.run)
    tasks = tfmeta.data.sinusoids()
    learner = tfmeta.learners.MAML(
        mlp(),
        update_rule=options.inner_rate,
        inner_steps=options.inner_steps,
        evaluation_steps=max(REPORTED_STEPS),
        order=options.order,
    )
    train = cli.episodes(tasks, "train", options, n_query=options.n_query)
    validation = cli.episodes(tasks, "validation", options, n_query=100)
    run = runs.Run(options, cli.fit(learner, train, validation, options))
    episodes = cli.frozen_episodes(tasks, options, n_query=100)
    name = f"sinusoid_{options.n_shot}shot"
    for steps in REPORTED_STEPS:
        run.evaluate(
            episodes, f"{name}_{steps}step", evaluation_steps=steps, control=MeanPredictor()
        )
    run.draw_adaptation(episodes, name)
    run.draw_regression(episodes, name)
    return run.finish()


if __name__ == "__main__":
    tfmeta.configure_threads("tasks")
    main()
