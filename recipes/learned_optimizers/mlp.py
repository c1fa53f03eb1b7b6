"""A learned optimizer (Andrychowicz et al. 2016) against tuned ones on a small network.

    python recipes/learned_optimizers/mlp.py --steps 450

As `quadratics.py`, on the training of a network with one hidden layer on handwritten digits, from
new first weights and in new mini-batches for every task. The optimizer is trained on one half of
the pictures, rates are tuned on a quarter, and the last quarter is the test.
"""

import keras
import numpy as np
from quadratics import compare, parser

import tfmeta
from tfmeta import cli
from tfmeta.data import handwritten_digits
from tfmeta.learners import NetworkTraining


def build_network(n_inputs, hidden):
    """The network that is trained, with the paper's sigmoid units."""
    layers = [keras.layers.Dense(hidden, "sigmoid"), keras.layers.Dense(10)]
    return keras.Sequential([keras.Input((n_inputs,)), *layers])


def load_families(options):
    """The losses for training, validation and test."""
    digits = handwritten_digits()
    x = np.reshape(digits.x / 255.0, [len(digits.x), -1])
    order = np.random.default_rng(options.seed).permutation(len(x))
    ends = len(x) // 2, 3 * len(x) // 4
    network = build_network(x.shape[1], options.hidden)
    return [
        NetworkTraining(network, x[rows], digits.y[rows], batch_size=options.batch_size)
        for rows in np.split(order, ends)
    ]


def main(arguments=None):
    """Runs the recipe and returns its record."""
    options = parser(
        __doc__,
        "learned_optimizers/mlp.py",
        steps=450,
        n_tasks=4,
        n_validation=16,
        n_test=64,
        run="runs/learned_optimizer_mlp",
    )
    options.add_argument("--hidden", type=int, default=20)
    options.add_argument("--batch-size", type=int, default=64)
    options = cli.parse(options, arguments)
    title = f"Digits, one layer of {options.hidden} units"
    return compare(load_families(options), options, title)


if __name__ == "__main__":
    tfmeta.configure_threads("operations")
    main()
