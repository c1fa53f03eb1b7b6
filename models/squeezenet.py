"""SqueezeNet 1.1: a small backbone whose ImageNet weights are three megabytes."""

from __future__ import annotations

import os

import keras

from tfmeta.transfer import copy_weights

# Channels of the fire modules 2 to 9: squeezed, and of each of the two expansions.
FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
POOL_AFTER = (3, 5)


def squeezenet(
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    *,
    outputs: int | None = None,
    weights: str | os.PathLike[str] | None = None,
    name: str = "squeezenet",
) -> keras.Model:
    """SqueezeNet 1.1 (Iandola et al. 2016), as a backbone or with a linear head.

    Eight fire modules (a 1x1 convolution that squeezes, then 1x1 and 3x3 convolutions side by
    side), without normalisation layers; the features are the mean over the last 512 maps. It
    takes pictures as VGG does (`preprocessing="vgg16"` of `pretrained`): BGR, means subtracted.

    Args:
        input_shape: `(height, width, channels)`; height and width may be None.
        outputs: width of the linear head; None for the backbone.
        weights: an `.h5` file with weights by layer (`conv1`, `fire2_squeeze1x1`, or
            `fire2/squeeze1x1`, ...), or None for random ones.
        name: name of the model.

    Returns:
        A functional model from `[batch, height, width, channels]` to features `[batch, 512]`, or
        to logits `[batch, outputs]`.

    Raises:
        ValueError: for weights that do not fit.

    Example:
        >>> backbone = squeezenet()
        >>> backbone.output_shape, backbone.count_params()
        ((None, 512), 722496)
    """
    pictures = keras.Input(input_shape, name="pictures")
    x = keras.layers.Conv2D(64, 3, strides=2, activation="relu", name="conv1")(pictures)
    x = keras.layers.MaxPooling2D(3, strides=2, name="pool1")(x)
    for number, channels in enumerate(FIRES, start=2):
        x = _fire(x, number, *channels)
        if number in POOL_AFTER:
            x = keras.layers.MaxPooling2D(3, strides=2, name=f"pool{number}")(x)
    x = keras.layers.GlobalAveragePooling2D(name="features")(x)
    backbone = keras.Model(pictures, x, name=name)
    if weights is not None:
        copy_weights(weights, backbone)
    if outputs is None:
        return backbone
    return keras.Model(pictures, keras.layers.Dense(outputs, name="head")(x), name=name)


def _fire(x: keras.KerasTensor, number: int, squeezed: int, expanded: int) -> keras.KerasTensor:
    def convolution(size: int, filters: int, part: str) -> keras.layers.Layer:
        return keras.layers.Conv2D(
            filters, size, padding="same", activation="relu", name=f"fire{number}_{part}"
        )

    x = convolution(1, squeezed, "squeeze1x1")(x)
    sides = [convolution(s, expanded, f"expand{s}x{s}")(x) for s in (1, 3)]
    return keras.layers.Concatenate(name=f"fire{number}_concat")(sides)
