import math

import keras
import numpy as np
import pytest

from tfmeta.models import conv4, mlp


def count(weights):
    return sum(math.prod(weight.shape) for weight in weights)


def test_the_prototypical_backbone_has_the_papers_parameters():
    # 3*3*1*64 + 64, three times 3*3*64*64 + 64, and four times scale and shift of 64 channels.
    backbone = conv4((28, 28, 1))
    assert count(backbone.trainable_weights) == 640 + 3 * 36_928 + 4 * 128 == 111_936
    assert count(backbone.non_trainable_weights) == 4 * 128
    assert backbone.output_shape == (None, 64)


def test_the_maml_omniglot_network_has_the_papers_parameters():
    network = conv4((28, 28, 1), outputs=5, downsampling="stride")
    assert count(network.trainable_weights) == 111_936 + 64 * 5 + 5 == 112_261


def test_the_maml_mini_imagenet_network_has_the_papers_parameters():
    # 32 filters, pooled, 84x84x3: 5*5*32 = 800 features.
    network = conv4((84, 84, 3), outputs=5, filters=32)
    expected = (9 * 3 * 32 + 32) + 3 * (9 * 32 * 32 + 32) + 4 * 64 + (800 * 5 + 5)
    assert count(network.trainable_weights) == expected == 32_901


@pytest.mark.parametrize(
    ("normalization", "extra"), [("batch", 512), ("layer", 512), ("group", 512), (None, 0)]
)
@pytest.mark.parametrize("downsampling", ["pool", "stride"])
def test_every_variant_has_its_count_and_gives_finite_outputs(downsampling, normalization, extra):
    network = conv4(outputs=3, downsampling=downsampling, normalization=normalization)
    assert count(network.trainable_weights) == 640 + 3 * 36_928 + extra + 64 * 3 + 3
    outputs = network(np.random.default_rng(0).random((2, 28, 28, 1), "float32"))
    assert outputs.shape == (2, 3)
    assert np.isfinite(outputs).all()


def test_a_pooled_backbone_gives_1600_features_from_84_pixels():
    assert conv4((84, 84, 3)).output_shape == (None, 1600)


def test_strided_features_are_the_mean_of_the_last_maps():
    backbone = conv4((28, 28, 1), filters=8, downsampling="stride", normalization=None)
    maps = keras.Model(backbone.input, backbone.get_layer("relu_4").output)
    images = np.random.default_rng(0).random((2, 28, 28, 1), "float32")
    assert maps.output_shape == (None, 2, 2, 8)
    np.testing.assert_allclose(backbone(images), np.mean(maps(images), axis=(1, 2)), atol=1e-6)


def test_blocks_are_convolution_normalisation_relu_pooling():
    names = [layer.name for layer in conv4(outputs=2).layers]
    block = ["convolution_{}", "normalization_{}", "relu_{}", "pool_{}"]
    blocks = [name.format(number) for number in (1, 2, 3, 4) for name in block]
    assert names == ["images", *blocks, "features", "head"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (28, 28)}, "add a channel"),
        ({"input_shape": (15, 28, 1)}, "at least 16 pixels"),
        ({"downsampling": "mean"}, "downsampling='mean'"),
        ({"normalization": "instance"}, "normalization='instance'"),
        ({"normalization": "group", "filters": 12}, "multiple of 8"),
        ({"outputs": 0}, "outputs=0"),
        ({"filters": 0}, "filters=0"),
    ],
)
def test_conv4_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        conv4(**arguments)


def test_small_pictures_are_fine_with_strides():
    assert conv4((8, 8, 1), filters=8, downsampling="stride").output_shape == (None, 8)


def test_the_sinusoid_network_has_1761_parameters():
    # 1*40 + 40, 40*40 + 40, 40*1 + 1.
    assert mlp().count_params() == 80 + 1640 + 41 == 1761
    assert mlp().output_shape == (None, 1)


def test_mlp_computes_its_layers():
    network = mlp((2,), hidden=(3,), outputs=1)
    kernel, bias, head, head_bias = network.get_weights()
    x = np.array([[0.5, -2.0], [1.0, 3.0]], "float32")
    expected = np.maximum(x @ kernel + bias, 0.0) @ head + head_bias
    np.testing.assert_allclose(network(x), expected, atol=1e-6)


def test_mlp_as_a_backbone_on_pictures():
    backbone = mlp((4, 4, 1), outputs=None, hidden=(6,), normalization="layer")
    assert backbone.output_shape == (None, 6)
    assert backbone.count_params() == 16 * 6 + 6 + 12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": ()}, "For scalar inputs"),
        ({"hidden": (40, 0)}, "hidden="),
        ({"outputs": -1}, "outputs=-1"),
        ({"outputs": None, "hidden": ()}, "at least one hidden layer"),
        ({"normalization": "group"}, "normalization='group'"),
    ],
)
def test_mlp_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        mlp(**arguments)


def test_maps_of_conv4_are_what_its_flat_features_are():
    keras.utils.set_random_seed(0)
    flat = conv4((28, 28, 1), filters=8, n_poolings=2)
    keras.utils.set_random_seed(0)
    maps = conv4((28, 28, 1), filters=8, n_poolings=2, flatten=False)
    assert maps.output_shape == (None, 7, 7, 8)
    images = np.random.default_rng(0).random((2, 28, 28, 1), "float32")
    np.testing.assert_allclose(flat(images), np.reshape(maps(images), (2, -1)), atol=1e-6)
    assert conv4((28, 28, 1), flatten=False).output_shape == (None, 1, 1, 64)
    assert conv4((28, 28, 1), flatten=False, downsampling="stride").output_shape == (None, 2, 2, 64)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"flatten": False, "outputs": 5}, "a head needs a vector"),
        ({"n_poolings": 5}, "n_poolings=5"),
        ({"n_poolings": 2, "input_shape": (3, 28, 1)}, "at least 4 pixels"),
    ],
)
def test_conv4_refuses_maps_that_cannot_be(arguments, message):
    with pytest.raises(ValueError, match=message):
        conv4(**arguments)
