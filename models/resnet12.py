"""ResNet-12: the residual backbone of MetaOptNet and FEAT."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from tfmeta.sizes import is_size

N_BLOCKS = 4
SLOPE = 0.1
POOLINGS = ("mean", "flatten")


def resnet12(
    input_shape: Sequence[int] = (84, 84, 3),
    *,
    outputs: int | None = None,
    filters: Sequence[int] = (64, 160, 320, 640),
    pooling: str = "mean",
    name: str = "resnet12",
) -> keras.Model:
    """ResNet-12, as a backbone or as a network with its linear head.

    Four residual blocks of three 3x3 convolutions without bias, each followed by batch
    normalisation; leaky ReLUs of slope 0.1 after the first two and after the sum with the 1x1
    convolution of the block's input; then a 2x2 max pooling (Lee et al. 2019, "Meta-Learning with
    Differentiable Convex Optimization"). With its default widths and RGB pictures it has
    12,424,320 trainable weights; `filters=(64, 128, 256, 512)` is the narrower one of Oreshkin et
    al. (2018).

    The features are the mean over the last maps, as in FEAT (Ye et al. 2020), or all of them with
    `pooling="flatten"`, as in MetaOptNet (16,000 from 84x84). Convolutions start He-normal.
    DropBlock is left out: its rate follows the number of training steps, which a backbone does not
    know, and it pays in trainings of many hours only.

    Args:
        input_shape: `(height, width, channels)` of a picture.
        outputs: width of the linear head; `None` for the backbone.
        filters: channels of the four blocks.
        pooling: `"mean"` or `"flatten"`.
        name: name of the model.

    Returns:
        A functional model from `[batch, height, width, channels]` to features
        `[batch, features]`, or to logits `[batch, outputs]` from the layer named "head".

    Raises:
        ValueError: for sizes that are not positive integers, a picture too small for four
            poolings, or an unknown pooling.

    Example:
        >>> resnet12((32, 32, 3), filters=(4, 8, 8, 16)).output_shape
        (None, 16)
        >>> resnet12((32, 32, 3), filters=(4, 8, 8, 16), pooling="flatten").output_shape
        (None, 64)
    """
    _check(input_shape, outputs, filters, pooling)
    images = keras.Input(tuple(input_shape), name="images")
    x = images
    for number, channels in enumerate(filters, start=1):
        x = _residual_block(x, number, channels)
    if pooling == "mean":
        x = keras.layers.GlobalAveragePooling2D(name="features")(x)
    else:
        x = keras.layers.Flatten(name="features")(x)
    if outputs is not None:
        x = keras.layers.Dense(outputs, name="head")(x)
    return keras.Model(images, x, name=name)


def _residual_block(x: keras.KerasTensor, number: int, filters: int) -> keras.KerasTensor:
    shortcut = _convolution(x, filters, 1, f"{number}_shortcut")
    for step in (1, 2, 3):
        x = _convolution(x, filters, 3, f"{number}_{step}")
        if step < 3:
            x = keras.layers.LeakyReLU(SLOPE, name=f"relu_{number}_{step}")(x)
    x = keras.layers.Add(name=f"sum_{number}")([x, shortcut])
    x = keras.layers.LeakyReLU(SLOPE, name=f"relu_{number}_3")(x)
    return keras.layers.MaxPooling2D(2, name=f"pool_{number}")(x)


def _convolution(x: keras.KerasTensor, filters: int, size: int, name: str) -> keras.KerasTensor:
    start = keras.initializers.VarianceScaling(
        2 / (1 + SLOPE**2), mode="fan_out", distribution="untruncated_normal"
    )
    x = keras.layers.Conv2D(
        filters,
        size,
        padding="same",
        use_bias=False,
        kernel_initializer=start,
        name=f"convolution_{name}",
    )(x)
    return keras.layers.BatchNormalization(name=f"normalization_{name}")(x)


def _check(
    input_shape: Sequence[int], outputs: int | None, filters: Sequence[int], pooling: str
) -> None:
    shape = tuple(input_shape)
    if len(shape) != 3 or not all(is_size(size) for size in shape):
        raise ValueError(
            "`input_shape` must be three positive integers (height, width, channels). "
            f"Received: input_shape={input_shape}. For grey pictures add a channel: (84, 84, 1)."
        )
    if min(shape[:2]) < 2**N_BLOCKS:
        raise ValueError(
            f"`input_shape` must be at least {2**N_BLOCKS} pixels high and wide for four 2x2 "
            f"poolings. Received: input_shape={shape}. Use larger pictures."
        )
    if len(filters) != N_BLOCKS or not all(is_size(width) for width in filters):
        raise ValueError(
            f"`filters` must be {N_BLOCKS} positive integers, one a block. "
            f"Received: filters={filters}."
        )
    if outputs is not None and not is_size(outputs):
        raise ValueError(
            f"`outputs` must be a positive integer, or None. Received: outputs={outputs}."
        )
    if pooling not in POOLINGS:
        raise ValueError(
            f"`pooling` must be one of {list(POOLINGS)}. Received: pooling={pooling!r}."
        )
