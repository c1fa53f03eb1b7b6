import itertools
import math

import keras
import numpy as np
import pytest

from tfmeta.models import resnet12


def count(weights):
    return sum(math.prod(weight.shape) for weight in weights)


def block(n_in, n_out):
    """Weights of a block: three 3x3 kernels, the 1x1 kernel, scale and shift of each."""
    return 9 * n_in * n_out + 2 * 9 * n_out**2 + n_in * n_out + 4 * 2 * n_out


def test_the_papers_number_of_parameters():
    backbone = resnet12((84, 84, 3))
    widths = (3, 64, 160, 320, 640)
    expected = sum(block(i, o) for i, o in itertools.pairwise(widths))
    assert count(backbone.trainable_weights) == expected == 12_424_320
    assert count(backbone.non_trainable_weights) == 4 * 2 * sum(widths[1:])
    assert backbone.output_shape == (None, 640)


def test_flat_features_and_the_narrow_network():
    flat = resnet12((84, 84, 3), filters=(64, 128, 256, 512), pooling="flatten", outputs=5)
    assert flat.get_layer("features").output.shape == (None, 5 * 5 * 512)
    widths = (3, 64, 128, 256, 512)
    expected = sum(block(i, o) for i, o in itertools.pairwise(widths))
    assert count(flat.trainable_weights) == expected + 12_800 * 5 + 5


def test_a_block_is_the_pooled_leaky_sum_of_both_paths():
    network = resnet12((16, 16, 1), filters=(2, 3, 4, 5))
    names = ("pool_1", "normalization_2_3", "normalization_2_shortcut", "pool_2")
    parts = keras.Model(network.input, [network.get_layer(name).output for name in names])
    x, deep, shortcut, pooled = (
        np.asarray(t) for t in parts(np.random.default_rng(0).normal(size=(2, 16, 16, 1)))
    )
    kernel = network.get_layer("convolution_2_shortcut").kernel.numpy()[0, 0]
    # The moving statistics start at mean 0 and variance 1.
    np.testing.assert_allclose(shortcut, x @ kernel / math.sqrt(1.001), atol=1e-5)
    total = deep + shortcut
    leaky = np.where(total > 0, total, 0.1 * total)
    expected = leaky.reshape(2, 4, 2, 4, 2, 3).max((2, 4))
    np.testing.assert_allclose(pooled, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (84, 84)}, "add a channel"),
        ({"input_shape": (15, 84, 3)}, "at least 16 pixels"),
        ({"filters": (64, 128, 256)}, "one a block"),
        ({"filters": (64, 128, 256, 0)}, "one a block"),
        ({"outputs": 0}, "outputs=0"),
        ({"pooling": "max"}, "pooling='max'"),
    ],
)
def test_resnet12_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        resnet12(**arguments)
