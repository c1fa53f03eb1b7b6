"""A learned optimizer (Andrychowicz et al. 2016) against tuned ones on random quadratics.

    python recipes/learned_optimizers/quadratics.py --steps 2000

Trains an LSTM that replaces the optimizer on random quadratics, and compares it, on quadratics it
has never seen and within the steps it was trained for, with SGD, momentum, RMSprop and Adam. Their
learning rates are the best of a grid on validation tasks, by the loss after the last step. Writes
the curves, the table and `learned.keras`.
"""

import argparse
import os
import time

import keras
import numpy as np

import tfmeta
from tfmeta import cli, plots, runs
from tfmeta.inner_loop import Adam, GradientDescent, LSTMOptimizerRule, Momentum, RMSprop
from tfmeta.intervals import mean_interval
from tfmeta.learners import (
    LearnedOptimizer,
    Quadratics,
    optimization_curves,
    optimization_tasks,
)
from tfmeta.optimizers import cosine_adam

TUNED = {"SGD": GradientDescent, "momentum": Momentum, "RMSprop": RMSprop, "Adam": Adam}
COLUMNS = ("optimizer", "rate", "final loss", "mean loss", "log10 of final loss, over LSTM's")


def parser(description, recipe, **defaults):
    """The options of a learned optimizer."""
    options = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = options.add_argument
    add("--steps", type=int, default=2000, help="batches of tasks, each followed to the horizon")
    add("--epochs", type=int, default=10, help="validations, over all steps")
    add("--n-tasks", type=int, default=64, help="of a batch")
    add("--horizon", type=int, default=100, help="steps of a task")
    add("--unroll", type=int, default=20, help="of them, between two updates of the LSTM")
    add("--units", type=int, default=20, help="of each of the two LSTMs")
    add("--learning-rate", type=float, default=3e-3, help="of Adam, for the LSTM")
    add("--rates", type=float, nargs="+", default=list(10.0 ** np.arange(-4, 0.6, 0.25)))
    add("--n-validation", type=int, default=128, help="validation tasks")
    add("--n-test", type=int, default=512, help="test tasks")
    add("--seed", type=int, default=0)
    add("--run", default="runs/learned_optimizer", help="new folder for it all")
    add("--record", default=None, help="also write the results to this JSON file")
    options.set_defaults(recipe=recipe, **defaults)
    return options


def part(number, n_tasks, options, limit=None):
    """Tasks of one part: 0 for training, 1 for validation, 2 for test."""
    return optimization_tasks(n_tasks, seed=3 * options.seed + number, limit=limit)


def numbers_of(tasks):
    """The numbers of all tasks of a dataset."""
    return np.concatenate(list(tasks.as_numpy_iterator()))


def train(family, validation, options):
    """The LSTM, at the epoch with the lowest loss after the last step on validation tasks."""
    learned = LearnedOptimizer(
        family,
        update_rule=LSTMOptimizerRule(options.units),
        horizon=options.horizon,
        unroll=options.unroll,
    )
    n_updates = options.steps * options.horizon // options.unroll
    learned.compile(cosine_adam(options.learning_rate, n_updates, clipnorm=1.0))
    epochs = min(options.epochs, options.steps)
    learned.fit(
        part(0, options.n_tasks, options),
        epochs=epochs,
        steps_per_epoch=options.steps // epochs,
        callbacks=[BestOptimizer(validation, options)],
        verbose=0,
    )
    return learned


class BestOptimizer(keras.callbacks.Callback):
    """Prints the losses of validation tasks after every epoch, and goes back to the best one."""

    def __init__(self, family, options):
        super().__init__()
        self.family, self.options, self.best = family, options, None

    def on_epoch_end(self, epoch, logs=None):
        options = self.options
        numbers = numbers_of(part(1, options.n_validation, options, options.n_validation))
        curves = optimization_curves(
            self.model.update_rule, self.family, numbers, steps=options.horizon
        )
        final = curves[:, -1].mean()
        print(f"epoch {epoch + 1}: training loss {logs['loss']:.4g}, validation final {final:.4g}")
        if self.best is None or final < self.best[0]:
            self.best = (final, self.model.get_weights())

    def on_train_end(self, logs=None):
        self.model.set_weights(self.best[1])


def tuned_rule(kind, family, options):
    """A rule at the rate with the lowest loss after the last step on validation tasks."""
    numbers = numbers_of(part(1, options.n_validation, options, options.n_validation))
    finals = {}
    for rate in options.rates:
        rule = kind(float(rate))
        final = optimization_curves(rule, family, numbers, steps=options.horizon)[:, -1].mean()
        finals[rate] = final if np.isfinite(final) else np.inf
    return kind(float(min(finals, key=finals.get)))


def row(name, rule, curves, best):
    """The line of the table for one optimizer, `best` being the LSTM's curves."""
    rate = getattr(rule, "learning_rate", None)
    of_final, of_mean = mean_interval(curves[:, -1]), mean_interval(curves[:, 1:].mean(axis=1))
    ratio = mean_interval(np.log10(curves[:, -1]) - np.log10(best[:, -1]))
    cells = ["{:.4g} ± {:.2g}".format(*pair) for pair in (of_final, of_mean)]
    paired = "–" if curves is best else "{:+.3f} ± {:.3f}".format(*ratio)
    return (name, "–" if rate is None else f"{rate:.3g}", *cells, paired)


def compare(families, options, title):
    """Trains, tunes and tests on families for training, validation and test; the record."""
    options.run = cli.new_folder(options.run)
    family, validation, test = families
    start = time.perf_counter()
    learned = train(family, validation, options)
    minutes = (time.perf_counter() - start) / 60
    rules = {"LSTM": learned.update_rule}
    rules |= {name: tuned_rule(kind, validation, options) for name, kind in TUNED.items()}
    numbers = numbers_of(part(2, options.n_test, options, options.n_test))
    curves = {
        name: optimization_curves(rule, test, numbers, steps=options.horizon)
        for name, rule in rules.items()
    }
    path = os.path.join(options.run, "curves.png")
    plots.plot_optimization(curves, title=title, save=path)
    learned.save(os.path.join(options.run, "learned.keras"))
    rows = [row(name, rules[name], values, curves["LSTM"]) for name, values in curves.items()]
    record = runs.table_record(
        COLUMNS,
        rows,
        title=f"{title}: {options.horizon} steps, {options.n_test} unseen tasks, seed "
        f"{options.seed}, {minutes:.1f} minutes of training",
        command=options.command,
    )
    runs.write_table(record, os.path.join(options.run, "results.json"), options.record)
    return record


def main(arguments=None):
    """Runs the recipe and returns its record."""
    options = parser(__doc__, "learned_optimizers/quadratics.py")
    options.add_argument("--size", type=int, default=10, help="numbers in a quadratic")
    options = cli.parse(options, arguments)
    family = Quadratics(options.size)
    return compare([family] * 3, options, f"Quadratics in {options.size} numbers")


if __name__ == "__main__":
    tfmeta.configure_threads("operations")
    main()
