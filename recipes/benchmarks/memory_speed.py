"""Training steps a second of memory networks, and how they grow with steps and slots.

    python recipes/benchmarks/memory_speed.py --record recipes/results/benchmark_memory_speed.json

A step is forward, backward and Adam on streams of 20x20 pixels, 5 classes. Every row changes one
size of the first. The peak of the process' memory is a maximum over the rows so far, which come in
the order of their sizes.
"""

import argparse
import resource
import time

import keras
import numpy as np
import tensorflow as tf

from tfmeta import cli, runs
from tfmeta.learners import SequenceLearner
from tfmeta.models import memory

COLUMNS = ("core", "streams", "steps of a stream", "slots", "steps a second", "peak MB")
N_WAY = 5


def parse(arguments):
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--n-tasks", type=int, default=16, help="streams of a step")
    add("--lengths", type=int, nargs="+", default=[25, 50, 100, 200])
    add("--slots", type=int, nargs="+", default=[64, 128, 256])
    add("--length", type=int, default=50, help="where the slots change")
    add("--n-slots", type=int, default=128, help="where the length changes")
    add("--units", type=int, default=200)
    add("--cores", nargs="+", default=["mann", "dnc", "lstm"])
    add("--n-steps", type=int, default=10, help="measured, after two that are not")
    add("--record", default=None, help="also write the table to this JSON file")
    options = parser.parse_args(arguments)
    options.command = cli.command_line("benchmarks/memory_speed.py", arguments)
    return options


def build_core(name, n_slots, options):
    """A core with so many slots."""
    if name == "lstm":
        return keras.layers.LSTMCell(options.units)
    sizes = {"n_slots": n_slots, "slot_width": 40, "n_heads": 4}
    return {"mann": memory.MANN, "dnc": memory.DNC}[name](options.units, **sizes)


def steps_a_second(name, length, n_slots, options):
    """Training steps a second on random streams."""
    backbone = keras.Sequential([keras.Input((20, 20, 1)), keras.layers.Flatten()])
    learner = SequenceLearner(backbone, build_core(name, n_slots, options), n_way=N_WAY)
    model = learner.on_streams()
    model.compile("adam")
    draws = np.random.default_rng(0)
    x = draws.integers(0, 256, (options.n_tasks, length, 20, 20, 1)).astype("uint8")
    y = draws.integers(0, N_WAY, (options.n_tasks, length)).astype("int32")
    batch = ({"stream_x": x, "stream_y": y}, y)
    data = tf.data.Dataset.from_tensors(batch).cache().repeat()
    model.fit(data, steps_per_epoch=2, verbose=0, shuffle=False)
    start = time.perf_counter()
    model.fit(data, steps_per_epoch=options.n_steps, verbose=0, shuffle=False)
    return options.n_steps / (time.perf_counter() - start)


def settings(options):
    """Core, length and slots of every row."""
    for name in options.cores:
        yield from ((name, length, options.n_slots) for length in options.lengths)
    for name in (core for core in options.cores if core != "lstm"):
        yield from ((name, options.length, slots) for slots in options.slots)


def main(arguments=None):
    """Runs the benchmark and returns its record."""
    options = parse(arguments)
    rows = []
    for name, length, n_slots in settings(options):
        speed = steps_a_second(name, length, n_slots, options)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        slots = "–" if name == "lstm" else str(n_slots)
        sizes = (str(options.n_tasks), str(length), slots)
        rows.append((name.upper(), *sizes, f"{speed:.2f}", f"{peak:.0f}"))
        print(*rows[-1], flush=True)
        keras.backend.clear_session()
    title = f"Training of memory networks, {options.units} units"
    record = runs.table_record(COLUMNS, rows, title=title, command=options.command)
    runs.write_table(record, options.record)
    return record


if __name__ == "__main__":
    main()
