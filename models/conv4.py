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
    flatten: bool = True,
    n_poolings: int = N_BLOCKS,
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
        flatten: whether the features are a vector; False gives the last maps.
        n_poolings: how many of the blocks, from the first, halve the maps; 2 as in Relation
            Networks (Sung et al. 2018).
        name: name of the model.

    Returns:
        A functional model from `[batch, height, width, channels]` to features
        `[batch, features]` or, with `flatten=False`, `[batch, height', width', filters]`; or to
        logits `[batch, outputs]` from the layer named "head".

    Raises:
        ValueError: for an unknown option, a picture too small for the poolings, filters that the
            groups do not divide, or a head on maps.

    Example:
        >>> conv4((28, 28, 1)).output_shape
        (None, 64)
        >>> conv4((28, 28, 1), outputs=5, downsampling="stride").count_params()
        112773
        >>> conv4((28, 28, 1), flatten=False, n_poolings=2).output_shape
        (None, 7, 7, 64)
    """
    _check_maps(outputs, flatten, n_poolings)
    n_halvings = n_poolings if downsampling == "pool" else 0
    _check(input_shape, outputs, filters, downsampling, normalization, 2**n_halvings)
    images = keras.Input(tuple(input_shape), name="images")
    x = images
    for number in range(1, N_BLOCKS + 1):
        halving = downsampling if number <= n_poolings else None
        x = _block(x, number, filters, halving, normalization)
    if not flatten:
        return keras.Model(images, x, name=name)
    if downsampling == "pool":
        x = keras.layers.Flatten(name="features")(x)
    else:
        x = keras.layers.GlobalAveragePooling2D(name="features")(x)
    if outputs is not None:
        x = keras.layers.Dense(outputs, name="head")(x)
    return keras.Model(images, x, name=name)


def _block(
    x: keras.KerasTensor,
    number: int,
    filters: int,
    downsampling: str | None,
    normalization: str | None,
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
    smallest: int,
) -> None:
    shape = tuple(input_shape)
    if len(shape) != 3 or not all(isinstance(size, int) and size > 0 for size in shape):
        raise ValueError(
            "`input_shape` must be three positive integers (height, width, channels). "
            f"Received: input_shape={input_shape}. For grey pictures add a channel: (28, 28, 1)."
        )
    _check_choice("downsampling", downsampling, DOWNSAMPLING)
    _check_choice("normalization", normalization, NORMALIZATIONS)
    if min(shape[:2]) < smallest:
        raise ValueError(
            f"`input_shape` must be at least {smallest} pixels high and wide for the 2x2 "
            f"poolings. Received: input_shape={shape}. Use larger pictures, fewer poolings "
            '(`n_poolings`) or downsampling="stride".'
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


def _check_maps(outputs: int | None, flatten: bool, n_poolings: int) -> None:
    if not isinstance(n_poolings, int) or not 0 <= n_poolings <= N_BLOCKS:
        raise ValueError(
            f"`n_poolings` must be an integer from 0 to {N_BLOCKS}. "
            f"Received: n_poolings={n_poolings!r}."
        )
    if outputs is not None and not flatten:
        raise ValueError(
            "`flatten=False` gives the backbone's maps, and a head needs a vector. "
            f"Received: outputs={outputs} with flatten=False. Leave one of them out."
        )


def _check_choice(name: str, value: str | None, choices: Sequence[str | None]) -> None:
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {list(choices)}. Received: {name}={value!r}.")
