"""Conv4: the four-block network of the MAML and Prototypical Networks papers."""

from __future__ import annotations

from collections.abc import Sequence

import keras

N_BLOCKS = 4
GROUPS = 8
DOWNSAMPLING = ("pool", "stride")
NORMALIZATIONS = ("batch", "layer", "group", None)


def conv4(
    input_shape: Sequence[int] = (28, 28, 1),
    *,
    outputs: int | None = None,
    filters: int = 64,
    downsampling: str = "pool",
    normalization: str | None = "batch",
    name: str = "conv4",
) -> keras.Model:
    """Conv4, as a backbone or as a network with its linear head.

    Four blocks of 3x3 convolution (with bias, as in the papers), normalisation and ReLU. With
    `downsampling="pool"` a block ends in a 2x2 max pooling and the last maps are flattened, as in
    Vinyals et al. (2016) and Snell et al. (2017): 64 features from 28x28, 1,600 from 84x84. With
    `"stride"` the convolution takes every second pixel, there is no pooling, and the features are
    the mean over the last maps, as MAML does for Omniglot (Finn et al., 2017).

    `"layer"` is Keras' `LayerNormalization()`, over the channels at each position; `"group"` is
    `GroupNormalization(8)`. Convolutions and head start from Keras' Glorot-uniform weights.

    Args:
        input_shape: `(height, width, channels)` of a picture.
        outputs: width of the linear head, `n_way` for a classifier; `None` for the backbone.
        filters: channels of every convolution.
        downsampling: `"pool"` or `"stride"`.
        normalization: `"batch"`, `"layer"`, `"group"` or `None`.
        name: name of the model.

    Returns:
        A functional model from `[batch, height, width, channels]` to features
        `[batch, features]`, or to logits `[batch, outputs]` from the layer named "head".

    Raises:
        ValueError: for an unknown option, a picture too small for four poolings, or filters that
            the groups do not divide.

    Example:
        >>> conv4((28, 28, 1)).output_shape
        (None, 64)
        >>> conv4((28, 28, 1), outputs=5, downsampling="stride").count_params()
        112773
    """
    _check(input_shape, outputs, filters, downsampling, normalization)
    images = keras.Input(tuple(input_shape), name="images")
    x = images
    for number in range(1, N_BLOCKS + 1):
        x = _block(x, number, filters, downsampling, normalization)
    if downsampling == "pool":
        x = keras.layers.Flatten(name="features")(x)
    else:
        x = keras.layers.GlobalAveragePooling2D(name="features")(x)
    if outputs is not None:
        x = keras.layers.Dense(outputs, name="head")(x)
    return keras.Model(images, x, name=name)


def _block(
    x: keras.KerasTensor, number: int, filters: int, downsampling: str, normalization: str | None
) -> keras.KerasTensor:
    strides = 2 if downsampling == "stride" else 1
    x = keras.layers.Conv2D(
        filters, 3, strides=strides, padding="same", name=f"convolution_{number}"
    )(x)
    if normalization is not None:
        x = normalization_layer(normalization, f"normalization_{number}")(x)
    x = keras.layers.ReLU(name=f"relu_{number}")(x)
    if downsampling == "pool":
        x = keras.layers.MaxPooling2D(2, name=f"pool_{number}")(x)
    return x


def normalization_layer(normalization: str, name: str) -> keras.layers.Layer:
    """The Keras normalisation layer of one block."""
    if normalization == "batch":
        return keras.layers.BatchNormalization(name=name)
    if normalization == "layer":
        return keras.layers.LayerNormalization(name=name)
    return keras.layers.GroupNormalization(GROUPS, name=name)


def _check(
    input_shape: Sequence[int],
    outputs: int | None,
    filters: int,
    downsampling: str,
    normalization: str | None,
) -> None:
    shape = tuple(input_shape)
    if len(shape) != 3 or not all(isinstance(size, int) and size > 0 for size in shape):
        raise ValueError(
            "`input_shape` must be three positive integers (height, width, channels). "
            f"Received: input_shape={input_shape}. For grey pictures add a channel: (28, 28, 1)."
        )
    _check_choice("downsampling", downsampling, DOWNSAMPLING)
    _check_choice("normalization", normalization, NORMALIZATIONS)
    if downsampling == "pool" and min(shape[:2]) < 2**N_BLOCKS:
        raise ValueError(
            f"`input_shape` must be at least {2**N_BLOCKS} pixels high and wide for four 2x2 "
            f"poolings. Received: input_shape={shape}. Use larger pictures, or "
            'downsampling="stride".'
        )
    if filters < 1 or (outputs is not None and outputs < 1):
        raise ValueError(
            "`filters` must be at least 1, and `outputs` at least 1 or None. "
            f"Received: filters={filters}, outputs={outputs}."
        )
    if normalization == "group" and filters % GROUPS:
        raise ValueError(
            f"`filters` must be a multiple of {GROUPS}, the number of groups. "
            f"Received: filters={filters}. Use {GROUPS * max(1, round(filters / GROUPS))} filters."
        )


def _check_choice(name: str, value: str | None, choices: Sequence[str | None]) -> None:
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {list(choices)}. Received: {name}={value!r}.")
