"""Training steps a second of memory networks, and how they grow with steps and slots.

    python recipes/benchmarks/memory_speed.py --record recipes/results/benchmark_memory_speed.json

A step is forward, backward and Adam on streams of 20x20 pixels, 5 classes. The rows of a core
change the length of the streams, and then the slots of the memory. Each is measured in a process of
its own, whose peak of memory it gives.
"""

import argparse
import json
import os
import sys
import time

import keras
import numpy as np
import tensorflow as tf
from side_by_side import peak_memory_mb, printed_figures

from tfmeta import cli, runs
from tfmeta.learners import SequenceLearner
from tfmeta.models import memory
from tfmeta.prefetching import prefetched

COLUMNS = ("core", "streams", "steps of a stream", "slots", "steps a second", "peak MB")
N_WAY = 5
NO_SLOTS = ("lstm", "snail")


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
    add("--cores", nargs="+", default=["lstm", "snail", "mann", "dnc"])
    add("--n-steps", type=int, default=10, help="measured, after two that are not")
    add("--worker", nargs=3, metavar=("CORE", "LENGTH", "SLOTS"), help=argparse.SUPPRESS)
    add("--record", default=None, help="also write the table to this JSON file")
    options = parser.parse_args(arguments)
    options.command = cli.command_line("benchmarks/memory_speed.py", arguments)
    return options


def build_core(name, length, n_slots, options):
    """A core for streams of a length, with so many slots where it has a memory."""
    if name == "lstm":
        return keras.layers.LSTMCell(options.units)
    if name == "snail":
        return memory.SNAIL(length)
    sizes = {"n_slots": n_slots, "slot_width": 40, "n_heads": 4}
    return {"mann": memory.MANN, "dnc": memory.DNC}[name](options.units, **sizes)


def measure(name, length, n_slots, options):
    """Training steps a second on random streams, and the peak of this process' memory."""
    backbone = keras.Sequential([keras.Input((20, 20, 1)), keras.layers.Flatten()])
    core = build_core(name, length, n_slots, options)
    learner = SequenceLearner(backbone, core, n_way=N_WAY)
    model = learner.on_streams()
    model.compile("adam")
    draws = np.random.default_rng(0)
    x = draws.integers(0, 256, (options.n_tasks, length, 20, 20, 1)).astype("uint8")
    y = draws.integers(0, N_WAY, (options.n_tasks, length)).astype("int32")
    batch = ({"stream_x": x, "stream_y": y}, y)
    data = prefetched(tf.data.Dataset.from_tensors(batch).repeat())
    model.fit(data, steps_per_epoch=2, verbose=0, shuffle=False)
    start = time.perf_counter()
    model.fit(data, steps_per_epoch=options.n_steps, verbose=0, shuffle=False)
    seconds = time.perf_counter() - start
    return {"steps_a_second": options.n_steps / seconds, "peak_memory_mb": peak_memory_mb()}


def settings(options):
    """Core, length and slots of every row."""
    for name in options.cores:
        yield from ((name, length, options.n_slots) for length in options.lengths)
    for name in (core for core in options.cores if core not in NO_SLOTS):
        yield from ((name, options.length, slots) for slots in options.slots)


def row_of(name, length, n_slots, options):
    """The line of the table for one setting, measured in another process."""
    sizes = ("n_tasks", "units", "n_steps")
    setting = ["--worker", name, str(length), str(n_slots)]
    script = os.path.abspath(__file__)
    figures = printed_figures(sys.executable, script, options, sizes, *setting)
    slots = "–" if name in NO_SLOTS else str(n_slots)
    speed, peak = f"{figures['steps_a_second']:.2f}", f"{figures['peak_memory_mb']:.0f}"
    return (name.upper(), str(options.n_tasks), str(length), slots, speed, peak)


def main(arguments=None):
    """Runs the benchmark and returns its record."""
    options = parse(arguments)
    if options.worker:
        name, length, n_slots = options.worker
        print(json.dumps(measure(name, int(length), int(n_slots), options)))
        return None
    rows = []
    for setting in settings(options):
        rows.append(row_of(*setting, options))
        print(*rows[-1], flush=True)
    title = f"Training of memory networks, {options.units} units"
    record = runs.table_record(COLUMNS, rows, title=title, command=options.command)
    runs.write_table(record, options.record)
    return record


if __name__ == "__main__":
    main()
