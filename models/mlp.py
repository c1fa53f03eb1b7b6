"""A fully connected network, as MAML uses for sinusoid regression."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from tfmeta.sizes import is_size

NORMALIZATIONS = ("batch", "layer", None)


def mlp(
    input_shape: Sequence[int] = (1,),
    *,
    outputs: int | None = 1,
    hidden: Sequence[int] = (40, 40),
    activation: str = "relu",
    normalization: str | None = None,
    name: str = "mlp",
) -> keras.Model:
    """A multi-layer perceptron, as a network with its linear head or as a backbone.

    With its defaults it is the sinusoid network of MAML (Finn et al., 2017, section 5.1): two
    hidden layers of 40 ReLUs and 1,761 parameters. Weights start He-normal and biases at zero; the
    authors' normal distribution of standard deviation 0.01 gives almost constant functions, which
    Adam needs thousands of steps to leave.

    Args:
        input_shape: shape of an example without the batch axis; more than one axis is flattened.
        outputs: width of the linear head; `None` for the backbone.
        hidden: units of each hidden layer.
        activation: name of a Keras activation.
        normalization: `"batch"`, `"layer"` or `None`, between a layer and its activation.
        name: name of the model.

    Returns:
        A functional model from `[batch, ...]` to features `[batch, hidden[-1]]`, or to values
        `[batch, outputs]` from the layer named "head".

    Raises:
        ValueError: for sizes that are not positive integers, no layer at all, or an unknown
            normalisation.

    Example:
        >>> mlp().count_params()
        1761
    """
    _check(input_shape, outputs, hidden, normalization)
    inputs = keras.Input(tuple(input_shape), name="inputs")
    x = keras.layers.Flatten(name="flatten")(inputs) if len(input_shape) > 1 else inputs
    for number, units in enumerate(hidden, start=1):
        x = keras.layers.Dense(units, kernel_initializer="he_normal", name=f"dense_{number}")(x)
        if normalization == "batch":
            x = keras.layers.BatchNormalization(name=f"normalization_{number}")(x)
        elif normalization == "layer":
            x = keras.layers.LayerNormalization(name=f"normalization_{number}")(x)
        x = keras.layers.Activation(activation, name=f"activation_{number}")(x)
    if outputs is not None:
        x = keras.layers.Dense(outputs, kernel_initializer="he_normal", name="head")(x)
    return keras.Model(inputs, x, name=name)


def _check(
    input_shape: Sequence[int],
    outputs: int | None,
    hidden: Sequence[int],
    normalization: str | None,
) -> None:
    if len(input_shape) < 1 or not all(is_size(size) for size in input_shape):
        raise ValueError(
            "`input_shape` must be one or more positive integers, without the batch axis. "
            f"Received: input_shape={input_shape}. For scalar inputs use (1,)."
        )
    if not all(is_size(units) for units in hidden):
        raise ValueError(f"`hidden` must be positive integers. Received: hidden={hidden}.")
    if outputs is not None and not is_size(outputs):
        raise ValueError(
            f"`outputs` must be a positive integer, or None. Received: outputs={outputs}."
        )
    if outputs is None and not hidden:
        raise ValueError(
            "A backbone needs at least one hidden layer. Received: hidden=() and outputs=None. "
            "Name the units of a layer, or give `outputs`."
        )
    if normalization not in NORMALIZATIONS:
        raise ValueError(
            f"`normalization` must be one of {list(NORMALIZATIONS)}. "
            f"Received: normalization={normalization!r}."
        )
