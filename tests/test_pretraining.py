import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmeta.data import Examples, RandomAffine
from tfmeta.pretraining import CosineHead, labelled_batches, pretrain_backbone


@pytest.fixture
def examples():
    """Three classes, each a grey of its own."""
    y = np.repeat(np.arange(3), 4)
    x = np.broadcast_to(60 * y[:, None, None, None], (12, 8, 8, 1)).astype("uint8")
    return Examples(x, y)


def first(dataset, n=3):
    return [(x.numpy(), y.numpy()) for x, y in dataset.take(n)]


def test_batches_are_labelled_scaled_and_repeatable(examples):
    batches = first(labelled_batches(examples, batch_size=5, seed=1))
    for x, y in batches:
        np.testing.assert_allclose(x, np.broadcast_to(60 * y[:, None, None, None] / 255, x.shape))
    again = first(labelled_batches(examples, batch_size=5, seed=1))
    np.testing.assert_array_equal([y for _, y in batches], [y for _, y in again])
    other = first(labelled_batches(examples, batch_size=5, seed=2))
    assert np.any([y for _, y in batches] != np.array([y for _, y in other]))
    assert len({tuple(y) for _, y in batches}) > 1


def test_batches_take_every_example_about_as_often(examples):
    _, y = next(iter(labelled_batches(examples, batch_size=3000)))
    np.testing.assert_allclose(np.bincount(y) / 3000, 1 / 3, atol=0.04)


def test_pictures_are_distorted_where_asked_for(examples):
    (x, y), *_ = first(labelled_batches(examples, batch_size=30, augment=RandomAffine()))
    plain = np.broadcast_to(60 * y[:, None, None, None] / 255, x.shape)
    assert x.shape == (30, 8, 8, 1)
    assert not np.allclose(x, plain)
    np.testing.assert_allclose(x[:, 4, 4], plain[:, 4, 4], atol=1 / 255)


def test_the_backbone_is_trained_in_place(examples):
    keras.utils.set_random_seed(0)
    backbone = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), dense(4)])
    before = backbone.get_weights()[0]
    batches = labelled_batches(examples, batch_size=12)
    history = pretrain_backbone(
        backbone, batches, head=keras.layers.Dense(3), steps=40, epochs=2, learning_rate=0.03
    ).history
    assert len(history["loss"]) == 2
    assert history["loss"][1] < history["loss"][0] < np.log(3) + 0.5
    assert np.abs(backbone.get_weights()[0] - before).max() > 0.01
    assert backbone(tf.zeros([2, 8, 8, 1])).shape == (2, 4)


def test_maps_are_flattened_for_the_head(examples):
    maps = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3)])
    head = CosineHead(3)
    pretrain_backbone(maps, labelled_batches(examples, batch_size=2), head=head, steps=1)
    assert head.kernel.shape == (6 * 6 * 2, 3)
    assert maps.output_shape == (None, 6, 6, 2)


def test_the_cosine_head_sees_directions_only():
    head = CosineHead(2, scale=4.0)
    head.build((None, 3))
    head.set_weights([np.array([[2.0, 0.0], [0.0, 3.0], [0.0, 0.0]])])
    x = np.array([[3.0, 4.0, 0.0], [0.0, 0.1, 0.0]], "float32")
    np.testing.assert_allclose(head(x), [[2.4, 3.2], [0.0, 4.0]], atol=1e-6)
    again = CosineHead.from_config(head.get_config())
    assert (again.units, again.scale) == (2, 4.0)


def dense(units):
    return keras.layers.Dense(units, activation="tanh")


def test_no_empty_batches(examples):
    with pytest.raises(ValueError, match="batch_size=0"):
        labelled_batches(examples, batch_size=0)
