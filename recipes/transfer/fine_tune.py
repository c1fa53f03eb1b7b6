r"""Transfer of one pretrained backbone to few labelled pictures of other classes, way by way.

    python recipes/transfer/fine_tune.py                      # embedded glyphs, a few minutes
    python recipes/transfer/fine_tune.py --data data/caltech101_96px.npz --image-size 96 \
        --split data/caltech101_96px.npz:suggested_class_split --sizes 1 5 20 \
        --weights data/weights/squeezenet_weights_tf_dim_ordering_tf_kernels_notop.h5

With `--weights` the backbone is SqueezeNet with these weights, otherwise a Conv4 that first learns
the source classes (the training part of the class split). Every way of transfer trains on the same
draws of some pictures of each target class and is tested on all others; intervals are over draws,
and differences are paired. All but "from scratch" and "staged" begin with the head of the probe
(Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features"). Learning rates were chosen on
`--part validation`. A head for the source classes, trained before, shows what each backbone has
forgotten of them.
"""

import time
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

import tfmeta
from tfmeta import cli, pretraining, runs
from tfmeta.data import split_examples
from tfmeta.intervals import mean_interval
from tfmeta.models import conv4, pretrained
from tfmeta.optimizers import cosine_adam
from tfmeta.prefetching import prefetched
from tfmeta.transfer import FineTune, add_adapters, trained_share

COLUMNS = (
    "pictures a class",
    "transfer",
    "accuracy",
    "against full fine-tuning, points",
    "source accuracy after",
    "weights trained",
    "seconds",
)
# The parts of a training, of which stages have one or more each.
EPOCHS = 3
SOURCE_TEST = 10


# Adam's learning rate and arguments of `FineTune`.
METHODS = {
    "full": (1e-4, {}),
    "from scratch": (1e-3, {"batch_norm": "recalibrated"}),
    "probe": (3e-3, {"train": "head"}),
    "staged": (1e-3, {"stages": [("head", 1), ("all", EPOCHS - 1)]}),
    "layer-wise decay": (3e-4, {"rate_decay": 0.9}),
    "L2-SP": (1e-4, {"l2_sp": 0.01}),
    "BitFit": (1e-3, {"train": r"bias|beta|(^|/)head/"}),
    "LoRA": (1e-3, {}),
    "FiLM": (3e-3, {}),
}
RANDOM_HEAD = ("from scratch", "probe", "staged")
ADAPTERS = {"LoRA": ("lora", {"rank": 2}), "FiLM": ("film", {})}


class Outcome(NamedTuple):
    """What one transfer gave: accuracies as shares, share of the weights trained, seconds."""

    accuracy: float
    source_accuracy: float
    trained: float
    seconds: float


def parse(arguments):
    """The options."""
    parser = cli.parser(__doc__, recipe="transfer/fine_tune.py", steps=150, run="runs/fine_tune")
    cli.add_class_options(parser)
    pretraining.add_pretraining_options(parser)
    add = parser.add_argument
    add("--weights", default=None, help="an .h5 file for SqueezeNet; else Conv4, pretrained here")
    add("--part", default="test", choices=("validation", "test"), help="the target classes")
    add("--sizes", type=int, nargs="+", default=[1, 5], help="training pictures a class")
    add("--draws", type=int, default=3, help="draws of the training pictures")
    add("--methods", nargs="+", default=list(METHODS), choices=tuple(METHODS))
    parser.set_defaults(rotate="none", pretrain_steps=1000, batch_size=32)
    return cli.parse(parser, arguments)


def build_backbone(example_shape, options):
    """The backbone, with random weights where none are given."""
    if options.weights:
        return pretrained("squeezenet", weights=options.weights, image_size=example_shape[:2])
    return conv4(example_shape)


class Source:
    """What is known before the transfer: the source classes.

    Attributes:
        weights: of the backbone.
        head: from features to source classes.
        test: source examples that neither has seen.
        before: accuracy on these.
    """

    def __init__(self, examples, options):
        n_test = min(SOURCE_TEST, int(examples.class_counts.min()) - 1)
        self.test, train = split_examples(examples, n_test, seed=options.seed)
        backbone = build_backbone(train.example_shape, options)
        if not options.weights:
            head = keras.layers.Dense(train.n_classes)
            pretraining.pretrain(backbone, train, options, head=head)
        model = FineTune(backbone, train.n_classes, train="head")
        train_head(model, train, options, METHODS["probe"][0])
        self.weights, self.head = backbone.get_weights(), model.head
        self.before = self.accuracy(model)

    def accuracy(self, model):
        """Accuracy on the source classes with the backbone of a model."""
        logits = self.head(model.features(self.test.x)).numpy()
        return float(np.mean(logits.argmax(-1) == self.test.y))


def build_model(name, n_classes, source, options):
    """The model of one way of transfer."""
    backbone = build_backbone(source.test.example_shape, options)
    if name == "from scratch":
        backbone = keras.models.clone_model(backbone)
    else:
        backbone.set_weights(source.weights)
    if name in ADAPTERS:
        kind, arguments = ADAPTERS[name]
        backbone = add_adapters(backbone, kind, **arguments)
    return FineTune(backbone, n_classes, **METHODS[name][1])


def train_all(model, examples, options, learning_rate):
    """Trains by `steps` batches."""
    model.compile(cosine_adam(learning_rate, options.steps), metrics=["accuracy"])
    batches = tf.data.Dataset.from_tensor_slices((examples.x, examples.y))
    batches = batches.shuffle(len(examples), seed=options.seed).repeat()
    batches = prefetched(batches.batch(min(options.batch_size, len(examples))))
    steps = max(1, options.steps // EPOCHS)
    model.fit(batches, epochs=EPOCHS, steps_per_epoch=steps, verbose=0)


def train_head(model, examples, options, learning_rate):
    """The same for the head alone: the backbone sees every picture once."""
    model.compile(cosine_adam(learning_rate, options.steps), metrics=["accuracy"])
    batch_size = min(options.batch_size, len(examples))
    epochs = max(1, options.steps * batch_size // len(examples))
    model.fit_on_features(examples.x, examples.y, batch_size=batch_size, epochs=epochs, verbose=0)


def transfer(name, target, source, options, *, size, draw):
    """What one way of transfer gives on one draw of the target's pictures."""
    keras.utils.set_random_seed(options.seed + draw)
    train, _ = split_examples(target, size, seed=draw)
    _, test = split_examples(target, max(options.sizes), seed=draw)
    model = build_model(name, target.n_classes, source, options)
    start = time.perf_counter()
    if name not in RANDOM_HEAD:
        train_head(model, train, options, METHODS["probe"][0])
    fit = train_head if name == "probe" else train_all
    fit(model, train, options, METHODS[name][0])
    seconds = time.perf_counter() - start
    accuracy = float(np.mean(model.predict(test.x, verbose=0).argmax(-1) == test.y))
    print(f"{size} a class, draw {draw}, {name}: {accuracy:.1%} in {seconds:.0f} s", flush=True)
    return Outcome(accuracy, source.accuracy(model), trained_share(model), seconds)


def row(name, size, outcomes, first):
    """The line of the table for the draws of one way of transfer, beside the first way."""
    accuracies, others = ([100 * o.accuracy for o in each] for each in (outcomes, first))
    mean, ci = mean_interval(accuracies)
    difference = "–"
    if outcomes is not first:
        paired = mean_interval(np.subtract(accuracies, others))
        difference = "{:+.2f} ± {:.2f}".format(*paired)
    _, kept, trained, seconds = np.mean(outcomes, axis=0)
    cells = (f"{mean:.2f} % ± {ci:.2f}", difference, f"{kept:.1%}", f"{trained:.1%}")
    return (str(size), name, *cells, f"{seconds:.0f}")


def main(arguments=None):
    """Runs the recipe and returns its record."""
    options = parse(arguments)
    source_examples, validation, test = cli.load_class_splits(options)
    target = {"validation": validation, "test": test}[options.part]
    split_examples(target, max(options.sizes))  # refuses too large a size before any work
    source = Source(source_examples, options)
    rows = []
    for size in options.sizes:
        outcomes = {
            name: [
                transfer(name, target, source, options, size=size, draw=draw)
                for draw in range(options.draws)
            ]
            for name in options.methods
        }
        first = outcomes[options.methods[0]]
        rows += [row(name, size, each, first) for name, each in outcomes.items()]
    title = (
        f"{target.n_classes} classes, {options.steps} batches, {options.draws} draws; "
        f"source accuracy before: {source.before:.1%}"
    )
    record = runs.table_record(COLUMNS, rows, title=title, command=options.command)
    runs.write_table(record, options.record)
    return record


if __name__ == "__main__":
    tfmeta.configure_threads("operations")
    main()
