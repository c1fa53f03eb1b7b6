"""Copying and associative recall of bit vectors, with a DNC (Graves et al. 2016) or an LSTM.

    python recipes/memory/copy_tasks.py                     # copy, a few minutes
    python recipes/memory/copy_tasks.py --task recall
    python recipes/memory/copy_tasks.py --core lstm         # the control

Copy: a sequence of random vectors, an end mark, and the sequence has to be repeated. Recall: items
of three vectors each, then one of them again, and the item that came after it has to be said
(Graves et al. 2014, sections 4.1 and 4.3). Prints the share of wrong bits on new sequences, and
writes the learning curve and heat-maps of the memory into the run's folder.
"""

import os
import time

import keras
import numpy as np
import tensorflow as tf

import tfmeta
from tfmeta import cli, plots, runs
from tfmeta.intervals import mean_interval
from tfmeta.learners.streams import read_with_cell
from tfmeta.models import memory
from tfmeta.optimizers import cosine_adam
from tfmeta.prefetching import prefetched

COLUMNS = ("core", "wrong bits (%)", "sequences without an error (%)", "chance (%)", "minutes")
# Seeds of the test sequences; those of training come from the run's own.
_TEST_SEED = 1_000_003


def parse(arguments):
    """The options."""
    parser = cli.parser(
        __doc__, recipe="memory/copy_tasks.py", n_tasks=32, steps=6000, run="runs/copy_tasks"
    )
    add = parser.add_argument
    add("--task", default="copy", choices=tuple(TASKS))
    add("--core", default="dnc", choices=("dnc", "mann", "lstm"))
    add("--width", type=int, default=6, help="bits of a vector")
    add("--longest", type=int, default=8, help="vectors to copy at most")
    add("--most-items", type=int, default=5, help="items of a recall at most")
    add("--item-length", type=int, default=3, help="vectors of an item")
    add("--units", type=int, default=64)
    add("--n-slots", type=int, default=24)
    add("--slot-width", type=int, default=16)
    add("--n-heads", type=int, default=2)
    add("--clipnorm", type=float, default=10.0, help="largest norm of the gradient")
    parser.set_defaults(learning_rate=3e-3)
    return cli.parse(parser, arguments)


def random_bits(shape, seed):
    """Zeros and ones."""
    draws = tf.random.stateless_uniform(shape, seed, 0, 2, "int32")
    return tf.cast(draws, "float32")


def copy_sequences(seed, options):
    """Sequences to copy: inputs, targets, and weights that are 1 where an answer is due.

    `[n, steps, width + 1]`, `[n, steps, width]` and `[n, steps]`; the last channel is the end mark.
    """
    n, longest, width = options.n_tasks, options.longest, options.width
    length = tf.random.stateless_uniform([n, 1], seed, 1, longest + 1, "int32")
    bits = random_bits([n, longest, width], [seed[0] + 1, seed[1]])
    step = tf.range(2 * longest + 1)[tf.newaxis]
    shown = with_steps(bits, step, step < length)
    mark = tf.cast(step == length, "float32")[..., tf.newaxis]
    place = step - length - 1
    is_due = (place >= 0) & (place < length)
    return tf.concat([shown, mark], axis=2), with_steps(bits, place, is_due), is_due


def recall_sequences(seed, options):
    """Items, one of them again between marks, and the next one as the answer; as for copying.

    Two channels of the inputs are marks: of an item, and of the question.
    """
    n, most, size, width = (
        options.n_tasks,
        options.most_items,
        options.item_length,
        options.width,
    )
    n_items = tf.random.stateless_uniform([n, 1], seed, 2, most + 1, "int32")
    share = tf.random.stateless_uniform([n, 1], [seed[0] + 2, seed[1]])
    asked = tf.cast(share * tf.cast(n_items - 1, "float32"), "int32")
    bits = random_bits([n, most * size, width], [seed[0] + 1, seed[1]])
    step = tf.range((most + 1) * (size + 1) + 1 + size)[tf.newaxis]
    item, place = step // (size + 1), step % (size + 1) - 1
    which = tf.where(item == n_items, asked, item)
    end = (n_items + 1) * (size + 1)
    shown = with_steps(bits, which * size + place, (step < end) & (place >= 0))
    is_mark = (place < 0) & (item < n_items)
    is_question = ((place < 0) & (item == n_items)) | (step == end)
    marks = tf.cast(tf.stack([is_mark, is_question], axis=2), "float32")
    answered = step - end - 1
    is_due = (answered >= 0) & (answered < size)
    targets = with_steps(bits, (asked + 1) * size + answered, is_due)
    return tf.concat([shown, marks], axis=2), targets, is_due


def with_steps(bits, place, is_there):
    """`[n, steps, width]`: at every step the vector of its place, zero where there is none."""
    place = tf.clip_by_value(place, 0, bits.shape[1] - 1) + tf.zeros_like(is_there, "int32")
    chosen = tf.gather(bits, place, axis=1, batch_dims=1)
    return chosen * tf.cast(is_there, "float32")[..., tf.newaxis]


TASKS = {"copy": copy_sequences, "recall": recall_sequences}


def batches(options, seed, n_batches=None):
    """Batches of sequences, each a function of the seed and its number."""
    numbers = tf.data.Dataset.counter()
    numbers = numbers if n_batches is None else numbers.take(n_batches)

    def batch(number):
        inputs, targets, is_due = TASKS[options.task]([3 * seed, tf.cast(number, "int32")], options)
        return inputs, targets, tf.cast(is_due, "float32")

    return prefetched(numbers.map(batch))


def build_model(options):
    """The core as a layer of Keras, and a linear head for the bits."""
    if options.core == "lstm":
        core = keras.layers.LSTMCell(options.units)
    else:
        sizes = {name: getattr(options, name) for name in ("n_slots", "slot_width", "n_heads")}
        cores = {"dnc": memory.DNC, "mann": memory.MANN}
        core = cores[options.core](options.units, **sizes)
    n_marks = 1 if options.task == "copy" else 2
    inputs = keras.Input((None, options.width + n_marks))
    x = keras.layers.RNN(core, return_sequences=True, name="core")(inputs)
    outputs = keras.layers.Dense(options.width, name="bits")(x)
    return keras.Model(inputs, outputs, name=options.core)


def train(model, options):
    """History and minutes of a training."""
    start = time.perf_counter()
    epochs = min(options.epochs, options.steps)
    model.compile(
        cosine_adam(options.learning_rate, options.steps, global_clipnorm=options.clipnorm),
        loss=keras.losses.BinaryCrossentropy(from_logits=True, reduction="mean_with_sample_weight"),
        weighted_metrics=[keras.metrics.BinaryAccuracy("bits", threshold=0.0)],
        steps_per_execution=min(options.steps_per_execution, options.steps // epochs),
        jit_compile=False,
    )
    history = model.fit(
        batches(options, options.seed),
        validation_data=batches(options, options.seed + _TEST_SEED, 4),
        epochs=epochs,
        steps_per_epoch=options.steps // epochs,
        shuffle=False,
        verbose=2,
    )
    return history, (time.perf_counter() - start) / 60


def wrong_bits(model, data):
    """For every sequence the share of its due bits that are wrong, `[n]`."""
    rows = []
    for inputs, targets, due in data:
        is_wrong = tf.not_equal(model(inputs) > 0.0, targets > 0.5)
        wrong = tf.reduce_mean(tf.cast(is_wrong, "float32"), axis=2) * due
        rows.append(tf.reduce_sum(wrong, axis=1) / tf.reduce_sum(due, axis=1))
    return np.concatenate(rows)


def draw(model, history, data, options):
    """Learning curve, and the memory over the first sequence."""
    plots.plot_history(history, save=os.path.join(options.run, "training.png"))
    if options.core != "lstm":
        inputs, _, _ = next(iter(data))
        cell = model.get_layer("core").cell
        _, _, trace = read_with_cell(cell, inputs[:1], traced=True)
        reads, writes, gates = (x[0] for x in trace)
        plots.plot_memory(reads, writes, save=os.path.join(options.run, "memory.png"))
        plots.plot_gates(gates, save=os.path.join(options.run, "gates.png"))


def main(arguments=None):
    """Runs the recipe and returns its record."""
    options = parse(arguments)
    options.run = cli.new_folder(options.run)
    model = build_model(options)
    history, minutes = train(model, options)
    n_batches = max(1, options.n_episodes // options.n_tasks)
    unseen = batches(options, options.seed + 2 * _TEST_SEED, n_batches)
    wrong = wrong_bits(model, unseen)
    (mean, width), (whole, whole_width) = mean_interval(wrong), mean_interval(wrong == 0.0)
    draw(model, history, unseen, options)
    model.save(os.path.join(options.run, "model.keras"))
    shares = [f"{100 * m:.2f} ± {100 * w:.2f}" for m, w in ((mean, width), (whole, whole_width))]
    curves = {k: [round(float(v), 5) for v in each] for k, each in history.history.items()}
    record = runs.table_record(
        COLUMNS,
        [(options.core.upper(), *shares, "50.00", f"{minutes:.1f}")],
        title=f"{options.task}, {len(wrong)} new sequences, {options.steps} batches of "
        f"{options.n_tasks}, seed {options.seed}",
        command=options.command,
        history=curves,
    )
    runs.write_table(record, os.path.join(options.run, "results.json"), options.record)
    return record


if __name__ == "__main__":
    tfmeta.configure_threads("operations")
    main()
