"""Swapping exact normalisation into a network that exists."""

from __future__ import annotations

import logging

import keras

from tfmeta.layers.normalization import (
    BatchNormalization,
    GroupNormalization,
    LayerNormalization,
)

_LOGGER = logging.getLogger("tfmeta")
_EXACT: dict[type, type] = {
    keras.layers.BatchNormalization: BatchNormalization,
    keras.layers.LayerNormalization: LayerNormalization,
    keras.layers.GroupNormalization: GroupNormalization,
}


def use_exact_layers(network: keras.Model) -> list[str]:
    """Turns the stock normalisation layers of a network into exact ones, in place.

    The class of the layer is changed, nothing else: outputs, weights, names, sharing, nesting
    and the identity of the user's objects stay, in subclassed models and wrappers too. One line
    of the log (logger `tfmeta`) says how many layers were changed.

    Args:
        network: a Keras model.

    Returns:
        The names of the layers that were changed.

    Raises:
        ValueError: for a layer that cannot be used inside an episode: a synchronised or
            renormalising BatchNormalization, SpectralNormalization (its second derivative is
            wrong), or a class derived from a stock normalisation layer.

    Example:
        >>> norm = keras.layers.LayerNormalization(name="norm")
        >>> use_exact_layers(keras.Sequential([keras.Input((3,)), norm]))
        ['norm']
    """
    layers = network._flatten_layers()
    for layer in layers:
        _refuse_unusable(layer)
    stock = [layer for layer in layers if type(layer) in _EXACT]
    for layer in stock:
        layer.__class__ = _EXACT[type(layer)]
    if stock:
        _LOGGER.warning(
            "%s: %d stock normalisation layers are now exact at second order.",
            network.name,
            len(stock),
        )
    return [layer.name for layer in stock]


def moving_statistics(network: keras.Model) -> list[keras.Variable]:
    """The moving means and variances of the network's unfrozen batch normalisation layers.

    Args:
        network: a Keras model.

    Returns:
        Variables: mean, variance, mean, variance, ...

    Example:
        >>> network = keras.Sequential([keras.Input((3,)), keras.layers.BatchNormalization()])
        >>> len(moving_statistics(network))
        2
    """
    layers = [
        layer
        for layer in network._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    return [v for layer in layers for v in (layer.moving_mean, layer.moving_variance)]


def _refuse_unusable(layer: keras.Layer) -> None:
    if isinstance(layer, keras.layers.SpectralNormalization):
        raise ValueError(
            f"SpectralNormalization ({layer.name!r}) has a wrong second derivative in Keras. "
            "Take it out of the network."
        )
    if isinstance(layer, keras.layers.BatchNormalization) and (layer.synchronized or layer.renorm):
        raise ValueError(
            f"BatchNormalization {layer.name!r} must have `synchronized=False` and `renorm=False`: "
            "an episode is normalised by itself. "
            f"Received: synchronized={layer.synchronized}, renorm={layer.renorm}"
        )
    is_derived = isinstance(layer, tuple(_EXACT)) and type(layer) not in _EXACT
    if is_derived and not isinstance(layer, tuple(_EXACT.values())):
        raise ValueError(
            f"Layer {layer.name!r} of class {type(layer).__name__} derives from a stock "
            "normalisation layer, whose second derivative is wrong. Derive it from the class of "
            "the same name in `tfmeta.layers`."
        )
