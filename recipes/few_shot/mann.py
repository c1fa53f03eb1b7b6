"""Memory networks on streams of labelled pictures (Santoro et al. 2016): train, evaluate, export.

    python recipes/few_shot/mann.py                              # embedded glyphs, a few minutes
    python recipes/few_shot/mann.py --core lstm                  # the paper's control; dnc, snail
    python recipes/few_shot/mann.py --data data/omniglot.npz --rotate all --train-on trainval \
        --split data/splits/few_shot_splits.json:omniglot_vinyals

A stream shows 50 pictures: 10 of each of 5 classes, in random order and under random labels; the
label of a picture is told one step after it. Prints the accuracy on the 1st ... 10th instance of
never-seen classes, beside the nearest earlier picture in pixels, and writes the learning curve,
heat-maps of the memory, `learner.keras` and `saved_model` into the run's folder.

The memory reads raw pixels, as in the paper. `--backbone conv4` learns features with the memory;
with `--pretrain-steps` it learns them before, by an ordinary classification of the training
classes, and keeps them.
"""

import os
import time

import keras
import tensorflow as tf

import tfmeta
from tfmeta import cli, data, plots, pretraining, runs
from tfmeta.learners import InstanceAccuracy, SequenceLearner
from tfmeta.models import conv4, memory
from tfmeta.optimizers import cosine_adam

# The name in the record, and how the core is made.
CORES = {
    "mann": (
        "MANN",
        lambda o: memory.MANN(
            o.units, **memory_sizes(o), write=o.write, strengths=not o.no_strengths
        ),
    ),
    "dnc": ("DNC", lambda o: memory.DNC(o.units, **memory_sizes(o))),
    "snail": ("SNAIL", lambda o: memory.SNAIL(o.n_way * o.n_presentations, filters=o.filters)),
    "lstm": ("LSTM", lambda o: keras.layers.LSTMCell(o.units)),
}
# Accuracy in per cent on Omniglot, one-hot labels, 5 classes (Santoro et al. 2016, table 1).
PAPER = {"1": 36.4, "2": 82.8, "3": 91.0, "4": 92.6, "5": 94.9, "10": 98.1}
SEEDS = {"train": 0, "validation": 1, "test": 2}


def memory_sizes(options):
    """Sizes of a memory, as its cell takes them."""
    return {name: getattr(options, name) for name in ("n_slots", "slot_width", "n_heads")}


def parse(arguments):
    """The options."""
    parser = cli.parser(
        __doc__,
        recipe="few_shot/mann.py",
        n_way=5,
        n_query=9,
        n_tasks=16,
        steps=3000,
        run="runs/mann",
    )
    cli.add_class_options(parser)
    pretraining.add_pretraining_options(parser)
    add = parser.add_argument
    add("--core", default="mann", choices=tuple(CORES))
    add("--backbone", default="none", choices=("none", "conv4"), help="none: raw pixels")
    add("--filters", type=int, default=32, help="of conv4 and SNAIL")
    add("--n-presentations", type=int, default=10, help="pictures of a class in a stream")
    add("--units", type=int, default=200, help="of the LSTM")
    add("--n-slots", type=int, default=128)
    add("--slot-width", type=int, default=40)
    add("--n-heads", type=int, default=4)
    add("--write", default="bound", choices=memory.mann.WRITES, help="what a head writes")
    add("--no-strengths", action="store_true", help="readings of fixed sharpness, as the paper's")
    add("--clipnorm", type=float, default=10.0, help="largest norm of the gradient")
    parser.set_defaults(image_size=20, test_query=9)
    return cli.parse(parser, arguments)


def build_learner(example_shape, options):
    """A memory network on pixels, or on the features of a small Conv4 that learns with it."""
    if options.backbone == "none":
        backbone = keras.Sequential([keras.Input(example_shape), keras.layers.Flatten()])
    else:
        backbone = conv4(example_shape, filters=options.filters)
    core = CORES[options.core][1](options)
    return SequenceLearner(backbone, core, n_way=options.n_way, name=options.core)


def streams(examples, part, options, **sizes):
    """Streams of one part of the data; infinite for training."""
    return data.stream_dataset(
        examples,
        n_way=options.n_way,
        n_presentations=options.n_presentations,
        n_tasks=options.n_tasks,
        seed=len(SEEDS) * options.seed + SEEDS[part],
        **sizes,
    )


def train_learner(learner, train, validation, options):
    """History and minutes of a training; the learner ends as it was in its best epoch.

    Without validation classes that is the last one.
    """
    start, model = time.perf_counter(), learner.on_streams()
    instances = {k for k in (1, 2, 5, 10) if k <= options.n_presentations}
    path = os.path.join(options.run, "learner.weights.h5")
    chosen = {} if validation is None else {"monitor": "val_loss", "save_best_only": True}
    epochs = min(options.epochs, options.steps)
    steps = options.steps // epochs
    model.compile(
        cosine_adam(options.learning_rate, options.steps, global_clipnorm=options.clipnorm),
        metrics=[InstanceAccuracy(k) for k in sorted(instances)],
        steps_per_execution=min(options.steps_per_execution, steps),
    )
    if validation is not None:
        validation = streams(validation, "validation", options, n_episodes=options.n_validation)
    history = model.fit(
        streams(train, "train", options, augment=cli.augmentation(train, options)),
        validation_data=validation,
        epochs=epochs,
        steps_per_epoch=steps,
        callbacks=[keras.callbacks.ModelCheckpoint(path, save_weights_only=True, **chosen)],
        verbose=2,
    )
    model.load_weights(path)
    return history, (time.perf_counter() - start) / 60


class NearestEarlier(keras.Model):
    """A control: the label of the nearest earlier picture of the stream, in pixels."""

    def __init__(self, n_way):
        super().__init__(name="nearest_earlier_picture")
        self.n_way = n_way

    def on_streams(self):
        """The model of streams, which this is."""
        return self

    def call(self, inputs):
        """One-hot labels `[streams, steps, n_way]`."""
        x, y = inputs["stream_x"], inputs["stream_y"]
        flat = tf.cast(tf.reshape(x, [tf.shape(x)[0], tf.shape(x)[1], -1]), "float32")
        squares = tf.reduce_sum(tf.square(flat), axis=-1)
        products = tf.matmul(flat, flat, transpose_b=True)
        distances = squares[:, tf.newaxis] - 2.0 * products
        is_earlier = tf.linalg.band_part(tf.ones_like(distances), -1, 0)
        is_earlier = tf.linalg.set_diag(is_earlier, tf.zeros_like(squares))
        nearest = tf.argmin(tf.where(is_earlier > 0, distances, float("inf")), axis=-1)
        outputs = tf.one_hot(tf.gather(y, nearest, axis=1, batch_dims=1), self.n_way)
        # Nothing is earlier than the first picture, whose own label must not be looked at.
        return tf.concat([tf.zeros_like(outputs[:, :1]), outputs[:, 1:]], axis=1)


def cells(name, report):
    """The line of the table for one learner, in per cent."""
    intervals = [report.interval(k + 1) for k in range(report.n_instances)]
    return (name, *(f"{100 * mean:.1f} ± {100 * width:.1f}" for mean, width in intervals))


def draw(learner, test, reports, options):
    """Accuracy by instance; reads, writes and gates over the first test stream."""

    def path(name):
        return os.path.join(options.run, name)

    curves = {}
    for name, report in reports.items():
        intervals = [report.interval(k + 1) for k in range(report.n_instances)]
        curves[name] = tuple(zip(*intervals, strict=True))
    plots.plot_instances(curves, chance=1 / options.n_way, save=path("instances.png"))
    if options.core in ("mann", "dnc"):
        inputs, y = next(iter(test))
        trace, labels = learner.trace(inputs["stream_x"][:1], y[:1]), y[0].numpy()
        reads, writes, gates = trace.read_weights[0], trace.write_weights[0], trace.gates[0]
        plots.plot_memory(reads, writes, labels=labels, save=path("memory.png"))
        plots.plot_gates(gates, labels=labels, save=path("gates.png"))


def record_of(reports, minutes, options):
    """The record of results: a table by instance."""
    numbers = [str(k + 1) for k in range(options.n_presentations)]
    paper = ("paper (MANN)", *(str(PAPER.get(number, "–")) for number in numbers))
    n_steps = options.n_way * options.n_presentations
    return runs.table_record(
        ("learner", *numbers),
        [*(cells(name, report) for name, report in reports.items()), paper],
        title=f"{CORES[options.core][0]}, streams of {n_steps} pictures of {options.n_way} "
        f"classes: accuracy (%) by instance, {options.n_episodes} streams of never-seen classes, "
        f"{minutes:.0f} min of training, seed {options.seed}",
        command=options.command,
        minutes=round(minutes, 1),
    )


def main(arguments=None):
    """Runs the recipe and returns its record."""
    options = parse(arguments)
    train, validation, test = cli.load_class_splits(options)
    learner = build_learner(train.example_shape, options)
    head = pretraining.CosineHead(train.n_classes)
    pretrained = pretraining.pretrain(learner.backbone, train, options, head=head)
    learner.backbone.trainable = pretrained is None
    history, minutes = train_learner(learner, train, validation, options)
    minutes += pretrained.minutes if pretrained else 0.0
    plots.plot_history(history, save=os.path.join(options.run, "training.png"))
    unseen = streams(test, "test", options, n_episodes=options.n_episodes)
    reports = {}
    for name, each in {
        CORES[options.core][0]: learner,
        "nearest earlier picture": NearestEarlier(options.n_way),
    }.items():
        report = tfmeta.evaluate_streams(each, unseen, n_instances=options.n_presentations)
        reports[name] = report
        print(f"{name}: {report}", flush=True)
    draw(learner, unseen, reports, options)
    learner.save(os.path.join(options.run, "learner.keras"))
    tfmeta.export_learner(learner, os.path.join(options.run, "saved_model"))
    record = record_of(reports, minutes, options)
    runs.write_table(record, os.path.join(options.run, "results.json"), options.record)
    print(f"written: {options.run}")
    return record


if __name__ == "__main__":
    tfmeta.configure_threads("operations")
    main()
