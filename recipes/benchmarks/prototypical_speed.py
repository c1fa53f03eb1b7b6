"""Measures the training of Prototypical Networks beside a PyTorch loop, on the pooled Conv4.

    python recipes/benchmarks/prototypical_speed.py --torch-python PATH   # one that has PyTorch

Both sides take turns, each in a process of its own with all cores: tfmeta through `fit`, PyTorch in
its default layout and with the channels last. The network, the size of the episodes and Adam are
the same; the pictures are random. Without `--torch-python` only tfmeta is measured. Needs Linux,
for the peak memory.
"""

import argparse
import itertools
import json
import os
import statistics
import sys
import time

import keras
import tensorflow as tf
from maml_speed import random_batch
from side_by_side import command_of, compared, median_of, peak_memory_mb, printed_figures

import tfmeta
from tfmeta import cli, runs
from tfmeta.models import conv4

TORCH_LOOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "prototypical_torch_loop.py")
LAYOUTS = {"torch": "contiguous_format", "torch_channels_last": "channels_last"}
# The options that both sides take.
SIZES = ("n_tasks", "n_way", "n_shot", "n_query", "filters", "n_steps", "n_epochs")


def arguments_parser():
    """The options of the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.set_defaults(recipe="benchmarks/prototypical_speed.py")
    add = parser.add_argument
    add("--n-tasks", type=int, default=4, help="episodes of one step")
    add("--n-way", type=int, default=20)
    add("--n-shot", type=int, default=1)
    add("--n-query", type=int, default=5)
    add("--filters", type=int, default=64)
    add("--n-steps", type=int, default=30, help="steps of one epoch")
    add("--n-epochs", type=int, default=3, help="epochs of one measurement, after a first one")
    add("--steps-per-execution", type=int, default=10, help="as in Keras' `compile`")
    add("--threads", default="tasks", choices=("tasks", "operations"), help="of TensorFlow")
    add("--rounds", type=int, default=5, help="turns of each side")
    add("--torch-python", default=None, metavar="PATH", help="a Python that has PyTorch")
    add("--record", default=None, help="also write the figures to this JSON file")
    add("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser


# ----- one measurement of tfmeta, in a process of its own ------------------------------------


class EpochTimes(keras.callbacks.Callback):
    """When the epochs ended."""

    def on_train_begin(self, logs=None):
        self.times = []

    def on_epoch_end(self, epoch, logs=None):
        self.times.append(time.perf_counter())


def measure(options):
    """The figures of one measurement: rate, first epoch, memory."""
    start = time.perf_counter()
    learner = tfmeta.learners.PrototypicalNetwork(conv4(filters=options.filters))
    learner.compile(
        keras.optimizers.Adam(1e-3),
        steps_per_execution=min(options.steps_per_execution, options.n_steps),
    )
    clock = EpochTimes()
    learner.fit(
        tf.data.Dataset.from_tensors(random_batch(options)).repeat(),
        steps_per_epoch=options.n_steps,
        epochs=1 + options.n_epochs,
        callbacks=[clock],
        verbose=0,
    )
    epochs = [after - before for before, after in itertools.pairwise(clock.times)]
    return {
        "tasks_per_second": options.n_tasks * options.n_steps / statistics.median(epochs),
        "first_epoch_seconds": clock.times[0] - start,
        "peak_memory_mb": peak_memory_mb(),
    }


# ----- the comparison ------------------------------------------------------------------------


def run(python, script, options, *more):
    """What a measurement in another process prints as its last line."""
    return printed_figures(python, script, options, SIZES, *more)


def run_all(options):
    """One measurement of every side, one after the other."""
    more = ("--worker", f"--threads={options.threads}")
    more += (f"--steps-per-execution={options.steps_per_execution}",)
    outcomes = {"tfmeta": run(sys.executable, os.path.abspath(__file__), options, *more)}
    if options.torch_python:
        for side, layout in LAYOUTS.items():
            outcomes[side] = run(options.torch_python, TORCH_LOOP, options, f"--layout={layout}")
    rates = (f"{side} {o['tasks_per_second']:.1f}" for side, o in outcomes.items())
    print(f"episodes per second: {', '.join(rates)}", flush=True)
    return outcomes


def summary(rounds):
    """The figures of all rounds: medians, and the medians of the rounds' ratios."""
    return {
        "tasks_per_second": round(median_of(rounds, "tfmeta", "tasks_per_second"), 1),
        "peak_memory_mb": round(median_of(rounds, "tfmeta", "peak_memory_mb")),
        "seconds_of_the_first_epoch": round(median_of(rounds, "tfmeta", "first_epoch_seconds"), 1),
        **compared(rounds),
    }


def main(arguments=None):
    """Runs the benchmark and returns its figures."""
    options = cli.parse(arguments_parser(), arguments)
    if options.worker:
        figures = measure(options)
        print(json.dumps(figures))
        return figures
    if not options.torch_python:
        print("tfmeta alone, without ratios: `--torch-python PATH` compares with PyTorch.")
    figures = summary([run_all(options) for _ in range(options.rounds)])
    print(json.dumps(figures, indent=1))
    record = {"command": command_of(options), "figures": figures, **runs.circumstances()}
    runs.write_record(record, options.record)
    return figures


if __name__ == "__main__":
    tfmeta.configure_threads(arguments_parser().parse_args().threads)
    main()
