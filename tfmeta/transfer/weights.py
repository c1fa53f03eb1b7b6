"""Weights copied from one model to another by the names of their layers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

import h5py
import keras
import numpy as np

LayerWeights = Mapping[str, list[np.ndarray]]


class CopiedWeights(NamedTuple):
    """What `copy_weights` did, by layer name.

    Attributes:
        copied: layers whose weights were copied.
        unmatched: layers of the target with weights that the source does not have.
        unused: layers of the source with weights that the target does not have.
        skipped: layers that both have, in other shapes.
    """

    copied: tuple[str, ...]
    unmatched: tuple[str, ...]
    unused: tuple[str, ...]
    skipped: tuple[str, ...]

    def __str__(self) -> str:
        counts = (f"{len(names)} {field}" for field, names in self._asdict().items() if names)
        return f"layers: {', '.join(counts) or 'none'}"


def copy_weights(
    source: keras.Model | str | os.PathLike[str],
    target: keras.Model,
    *,
    skip_mismatch: bool = False,
) -> CopiedWeights:
    """Copies the weights of the layers that two models share by name, and reports which.

    Nothing is changed unless everything fits.

    Args:
        source: a model, or an `.h5` file with weights by layer, of any Keras version.
        target: a built model.
        skip_mismatch: whether a layer of other shapes is left as it is instead of refused.

    Returns:
        The names of the layers, by what became of them.

    Raises:
        ValueError: for shapes that do not match, a file that is missing or cannot be read, or
            no layer in common.

    Example:
        >>> def model():
        ...     return keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="body")])
        >>> source, target = model(), model()
        >>> str(copy_weights(source, target))
        'layers: 1 copied'
        >>> bool(np.all(source.get_weights()[0] == target.get_weights()[0]))
        True
    """
    given = layer_weights(source) if isinstance(source, keras.Model) else read_h5(source)
    layers = layers_with_weights(target)
    shared = [name for name in layers if name in given]
    if not shared:
        raise ValueError(
            "`source` and `target` must have a layer name in common. Received: "
            f"{_few(given)} and {_few(layers)}. Rename the layers of one of them."
        )
    fits = {name: _fits(layers[name], given[name]) for name in shared}
    skipped = tuple(name for name in shared if not fits[name])
    if skipped and not skip_mismatch:
        name = skipped[0]
        raise ValueError(
            f"The weights of layer {name!r} must have the shapes "
            f"{[tuple(w.shape) for w in layers[name].weights]}. Received: "
            f"{[w.shape for w in given[name]]}, and {len(skipped) - 1} more layers that do not "
            "fit. `skip_mismatch=True` leaves such layers as they are."
        )
    for name in shared:
        if fits[name]:
            layers[name].set_weights(given[name])
    return CopiedWeights(
        tuple(name for name in shared if fits[name]),
        tuple(name for name in layers if name not in given),
        tuple(name for name in given if name not in layers),
        skipped,
    )


def layers_with_weights(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """The innermost layers of a model that have weights, by name, nested models included.

    Args:
        model: a built model.

    Returns:
        Layers by name.

    Raises:
        ValueError: for two layers of one name.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="body")])
        >>> list(layers_with_weights(model))
        ['body']
    """
    layers: dict[str, keras.layers.Layer] = {}
    for layer in model._flatten_layers(include_self=False):
        is_innermost = not any(True for _ in layer._flatten_layers(include_self=False))
        if not (is_innermost and layer.weights):
            continue
        if layers.setdefault(layer.name, layer) is not layer:
            raise ValueError(
                "Layers must have names of their own for weights to be copied by name. "
                f"Received: two layers {layer.name!r}. Rename one of them."
            )
    return layers


def layer_weights(model: keras.Model) -> LayerWeights:
    """The weights of a model as arrays, by layer name.

    Args:
        model: a built model.

    Returns:
        Lists of arrays by layer name.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="body")])
        >>> [w.shape for w in layer_weights(model)["body"]]
        [(2, 3), (3,)]
    """
    return {name: layer.get_weights() for name, layer in layers_with_weights(model).items()}


def read_h5(path: str | os.PathLike[str]) -> LayerWeights:
    """The weights in an `.h5` file of Keras 1 or 2, or a `.weights.h5` of Keras 3, by layer name.

    Args:
        path: the file.

    Returns:
        Lists of arrays by layer name.

    Raises:
        ValueError: for a file that is missing, damaged, or without weights by layer.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise ValueError(
            f"A weights file must exist. Received: {path!r}, which does not. Download it on a "
            "machine with a network and pass its path."
        )
    try:
        with h5py.File(path) as file:
            group = file.get("model_weights", file)
            names = group.attrs.get("layer_names")
            layers = _saved_by_keras_3(group) if names is None else _saved_before(group, names)
    except (OSError, RuntimeError, KeyError) as error:
        # A file that is cut cannot be opened; one that is damaged inside fails as it is read.
        raise ValueError(
            f"A weights file must be in the HDF5 format. Received: {path!r}, which cannot be read "
            f"({error}). Fetch the file again."
        ) from error
    if not layers:
        raise ValueError(
            f"A weights file must hold weights by layer. Received: {path!r}, which holds none."
        )
    return layers


def _saved_before(group: h5py.Group, names: np.ndarray) -> dict[str, list[np.ndarray]]:
    """Keras 1 and 2: one group a layer, its weights named in an attribute."""
    layers = {}
    for name in map(_text, names):
        weights = [group[name][_text(w)][()] for w in group[name].attrs["weight_names"]]
        if weights:
            # Keras 3 allows no slash in the name of a layer.
            layers[name.replace("/", "_")] = weights
    return layers


def _saved_by_keras_3(group: h5py.Group) -> dict[str, list[np.ndarray]]:
    """Keras 3: groups nested as the layers are, with the layer's name as an attribute of "vars"."""
    layers: dict[str, list[np.ndarray]] = {}

    def visit(path: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Group) and path.endswith("vars") and len(item):
            name = _text(item.attrs.get("name", path.split("/")[-2]))
            layers[name] = [item[key][()] for key in sorted(item, key=int)]

    group.visititems(visit)
    return layers


def _text(name: str | bytes) -> str:
    return name.decode("utf8") if isinstance(name, bytes) else str(name)


def _fits(layer: keras.layers.Layer, weights: list[np.ndarray]) -> bool:
    return [tuple(w.shape) for w in layer.weights] == [w.shape for w in weights]


def _few(names: Mapping[str, object]) -> str:
    listed = [repr(name) for name in list(names)[:4]]
    return f"{', '.join(listed)}{', ...' if len(names) > 4 else ''}"
