"""Measures MAML's outer step beside a PyTorch loop, on the strided Conv4 of the paper.

    python recipes/benchmarks/maml_speed.py --torch-python PATH    # a Python that has PyTorch

Both take turns, each in a process of its own: PyTorch in one process with all cores, and in two
processes of one thread each. The network (exact batch statistics everywhere), the tasks' sizes, the
inner rate and Adam outside are the same; the pictures are random. Without `--torch-python` only
tfmeta is measured. `--sweep` shows instead how time and memory grow with tasks, inner steps and
filters.
Needs Linux, for the peak memory.
"""

import argparse
import json
import os
import statistics
import sys
import time

import keras
import numpy as np
import tensorflow as tf
from side_by_side import (
    command_of,
    compared,
    median_of,
    peak_memory_mb,
    printed_figures,
    seconds_of,
)

import tfmeta
from tfmeta import cli, runs
from tfmeta.data.episodes import prefetched
from tfmeta.models import conv4

IMAGE_SIZE = 28
INNER_RATE = 0.4
TORCH_LOOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "maml_torch_loop.py")
# The options that both sides take.
SIZES = ("inner_steps", "n_tasks", "n_way", "n_shot", "n_query", "filters", "order", "n_steps")
SWEEP = {
    "n_tasks": (4, 8, 16, 32, 64),
    "inner_steps": (1, 2, 5, 10, 20),
    "filters": (16, 32, 64, 128),
}


def arguments_parser():
    """The options of the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.set_defaults(recipe="benchmarks/maml_speed.py")
    add = parser.add_argument
    add("--inner-steps", type=int, default=5)
    add("--n-tasks", type=int, default=16)
    add("--n-way", type=int, default=5)
    add("--n-shot", type=int, default=1)
    add("--n-query", type=int, default=15)
    add("--filters", type=int, default=64)
    add("--order", type=int, default=2, choices=(1, 2))
    add("--engine", default="auto", choices=("auto", "mapped", "vectorized"))
    add("--checkpoint-inner", action="store_true", help="compute inner steps again, for memory")
    add("--n-steps", type=int, default=7, help="outer steps of one measurement")
    add("--rounds", type=int, default=5, help="turns of each side")
    add("--torch-python", default=None, metavar="PATH", help="a Python that has PyTorch")
    add("--sweep", action="store_true", help="only a table over tasks, inner steps, filters")
    add("--matrix-size", type=int, default=2048, help="of the matrix product to compare with")
    add("--record", default=None, help="also write the figures to this JSON file")
    add("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser


def gflop_per_task(options):
    """Billions of multiplications and additions of one task, in convolutions and head, counted.

    A layer `y = x * w` costs as much as each of its two gradients. A query costs three times the
    layer; a support example of an inner step too at first order, and nine times at second order:
    the adjoints of the layer and of its two gradients are two products each. The gradient in the
    pictures is never asked for, so that the first layer costs 2, 2 and 4.
    """
    size, channels, layers = IMAGE_SIZE, 1, []
    for _ in range(4):
        size = -(-size // 2)
        layers.append(2 * size**2 * 9 * channels * options.filters)
        channels = options.filters
    layers.append(2 * channels * options.n_way)
    first, others = layers[0], sum(layers[1:])
    query = 2 * first + 3 * others
    support = query if options.order == 1 else 4 * first + 9 * others
    n_support = options.inner_steps * options.n_shot
    return options.n_way * (n_support * support + options.n_query * query) / 1e9


# ----- one measurement of tfmeta, in a process of its own ------------------------------------


def random_batch(options):
    """A batch of episodes with random pictures."""
    draws = np.random.default_rng(0)
    batch = {}
    for part, n_each in (("support", options.n_shot), ("query", options.n_query)):
        shape = (options.n_tasks, options.n_way * n_each, IMAGE_SIZE, IMAGE_SIZE, 1)
        labels = np.repeat(np.arange(options.n_way, dtype="int32"), n_each)
        batch[f"{part}_x"] = draws.uniform(size=shape).astype("float32")
        batch[f"{part}_y"] = np.tile(labels, (options.n_tasks, 1))
    query_y = batch.pop("query_y")
    return tf.nest.map_structure(tf.constant, (batch, query_y))


def build_learner(options):
    """The learner that is measured."""
    learner = tfmeta.learners.MAML(
        conv4(outputs=options.n_way, filters=options.filters, downsampling="stride"),
        update_rule=INNER_RATE,
        inner_steps=options.inner_steps,
        order=options.order,
        statistics="transductive",
        engine=options.engine,
        checkpoint_inner=options.checkpoint_inner,
    )
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(learner.trainable_variables)  # as `fit` does before it traces
    learner.compile(optimizer)
    return learner


def matrix_product_gflops(size):
    """Rate of large matrix products, one for each core at a time; the best of five."""
    matrices = tf.random.normal([os.cpu_count(), size, size])

    @tf.function
    def products():
        # Summed up, or the graph would be pruned; each is another product, or they would be one.
        return tf.add_n([tf.matmul(m, m) for m in tf.unstack(matrices)])[0, 0]

    products()
    seconds = min(seconds_of(lambda: float(products())) for _ in range(5))
    return 2 * size**3 * len(matrices) / seconds / 1e9


def measure(options):
    """The figures of one measurement: rate, first step, memory, `fit`, matrix product."""
    batch = random_batch(options)

    start = time.perf_counter()
    learner = build_learner(options)
    # Without AutoGraph, as in Keras' `fit`.
    step = tf.function(learner.train_step, autograph=False, jit_compile=bool(learner.jit_compile))
    float(step(batch)["loss"])
    first = time.perf_counter() - start
    bare = [seconds_of(lambda: float(step(batch)["loss"])) for _ in range(options.n_steps)]
    memory = peak_memory_mb()  # before `fit` and the matrix product
    return {
        "tasks_per_second": options.n_tasks / statistics.median(bare),
        "first_step_seconds": first,
        "peak_memory_mb": memory,
        "fit_share": fit_share(learner, step, batch, options.n_steps),
        "matrix_product_gflops": matrix_product_gflops(options.matrix_size),
    }


def fit_share(learner, step, batch, n_steps):
    """Speed of `fit` over the speed of the bare step; they take turns, epoch by epoch."""
    episodes = prefetched(tf.data.Dataset.from_tensors(batch).repeat())

    def fit():
        learner.fit(episodes, steps_per_epoch=n_steps, verbose=0)

    def bare():
        for _ in range(n_steps):
            float(step(batch)["loss"])

    fit()
    times = [(seconds_of(bare), seconds_of(fit)) for _ in range(3)]
    return statistics.median(one / other for one, other in times)


# ----- the comparison ------------------------------------------------------------------------


def run(python, script, options, *more):
    """What a measurement in another process prints as its last line."""
    return printed_figures(python, script, options, SIZES, *more)


def run_tfmeta(options):
    """One measurement of tfmeta."""
    own = ["--worker", f"--engine={options.engine}", f"--matrix-size={options.matrix_size}"]
    own += ["--checkpoint-inner"] if options.checkpoint_inner else []
    return run(sys.executable, os.path.abspath(__file__), options, *own)


def run_all(options):
    """One measurement of every side, one after the other."""
    outcomes = {"tfmeta": run_tfmeta(options)}
    if options.torch_python:
        python = options.torch_python
        outcomes["torch"] = run(python, TORCH_LOOP, options)
        outcomes["torch_2_processes"] = run(
            python, TORCH_LOOP, options, "--processes=2", "--threads=1"
        )
    rates = (f"{side} {o['tasks_per_second']:.1f}" for side, o in outcomes.items())
    print(f"tasks per second: {', '.join(rates)}", flush=True)
    return outcomes


def summary(rounds, options):
    """The figures of all rounds: medians, and the medians of the rounds' ratios."""

    def median(name):
        return median_of(rounds, "tfmeta", name)

    rate, gflop = median("tasks_per_second"), gflop_per_task(options)
    limit = median("matrix_product_gflops")
    return {
        "tasks_per_second": round(rate, 1),
        "peak_memory_mb": round(median("peak_memory_mb")),
        "seconds_to_the_first_step": round(median("first_step_seconds"), 1),
        "fit_in_per_cent_of_the_bare_step": round(100 * median("fit_share"), 1),
        "gflop_per_task_counted": round(gflop, 3),
        "gflops": round(rate * gflop, 1),
        "gflops_of_a_matrix_product": round(limit, 1),
        "per_cent_of_the_matrix_product": round(100 * rate * gflop / limit, 1),
        **compared(rounds),
    }


def sweep(options):
    """Tasks per second, seconds of a step and memory while one size changes."""
    rows = []
    for name, values in SWEEP.items():
        for value in values:
            varied = argparse.Namespace(**{**vars(options), name: value})
            outcome = run_tfmeta(varied)
            rate, memory = outcome["tasks_per_second"], outcome["peak_memory_mb"]
            row = (
                f"{name}={value}",
                f"{rate:.1f}",
                f"{varied.n_tasks / rate:.3f}",
                f"{memory:.0f}",
            )
            print("{:>16} {:>8} tasks/s {:>8} s a step {:>6} MB".format(*row), flush=True)
            rows.append(row)
    return {"columns": ("size", "tasks per second", "seconds a step", "peak MB"), "rows": rows}


def main(arguments=None):
    """Runs the benchmark and returns its figures."""
    options = cli.parse(arguments_parser(), arguments)
    if options.worker:
        figures = measure(options)
        print(json.dumps(figures))
        return figures
    if options.sweep:
        outcome = {"table": sweep(options)}
    else:
        if not options.torch_python:
            print("tfmeta alone, without ratios: `--torch-python PATH` compares with PyTorch.")
        outcome = {"figures": summary([run_all(options) for _ in range(options.rounds)], options)}
        print(json.dumps(outcome["figures"], indent=1))
    record = {"command": command_of(options), **outcome, **runs.circumstances()}
    runs.write_record(record, options.record)
    return outcome


if __name__ == "__main__":
    tfmeta.configure_threads("tasks")
    main()
