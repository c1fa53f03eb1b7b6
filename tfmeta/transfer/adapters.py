"""Adapters put around the layers of a model, counted, saved alone, and merged."""

from __future__ import annotations

import os
import re
import tempfile
from typing import Any

import keras
import numpy as np

from tfmeta.layers.adapters import Adapter, BottleneckAdapter, FiLM, LoRA

ADAPTERS: dict[str, type[Adapter]] = {
    "lora": LoRA,
    "film": FiLM,
    "bottleneck": BottleneckAdapter,
}


def add_adapters(
    model: keras.Model, kind: str, *, pattern: str = "", **options: Any
) -> keras.Model:
    """A model with adapters around the layers that match, sharing all else with the one given.

    Outputs are the same until the adapters train. The model's own weights are frozen, in the one
    given too; a head that is put on top trains. `MAML(network, adapt="lora")` adapts nothing but
    the adapters.

    Args:
        model: a built functional or sequential model.
        kind: `"lora"`, `"film"` or `"bottleneck"`.
        pattern: regular expression that is searched in the names of layers; `""` takes every
            layer that the adapter fits.
        **options: arguments of the adapter: `rank` and `alpha`, or `width`.

    Returns:
        A model.

    Raises:
        ValueError: for an unknown kind, or a pattern that matches no layer that the adapter fits.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="body")])
        >>> adapted = add_adapters(model, "lora", rank=1)
        >>> [v.name for v in adapted.trainable_variables]
        ['lora_a', 'lora_b']
    """
    if kind not in ADAPTERS:
        raise ValueError(f"`kind` must be one of {list(ADAPTERS)}. Received: kind={kind!r}.")
    adapter, wrapped = ADAPTERS[kind], []

    def wrap(layer: keras.layers.Layer) -> keras.layers.Layer:
        if not (adapter.fits(layer) and re.search(pattern, layer.name)):
            return layer
        wrapped.append(layer.name)
        return adapter(layer, **options)

    names = [layer.name for layer in model._flatten_layers() if adapter.fits(layer)]
    if not any(re.search(pattern, name) for name in names):
        raise ValueError(
            f"`pattern` must match a layer that {adapter.__name__} fits: {names}. "
            f"Received: pattern={pattern!r}."
        )
    model.trainable = False
    adapted = keras.models.clone_model(model, clone_function=wrap, recursive=True)
    adapted.trainable = True
    for layer in adapted._flatten_layers(include_self=False):
        if not isinstance(layer, (Adapter, keras.Model)):
            layer.trainable = False
    return adapted


def adapters_of(model: keras.Model) -> list[Adapter]:
    """The adapters of a model, nested models included.

    Args:
        model: a model that `add_adapters` returned, or one on top of it.

    Returns:
        Adapters in the order of the layers.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> len(adapters_of(add_adapters(model, "film")))
        1
    """
    return [layer for layer in model._flatten_layers() if isinstance(layer, Adapter)]


def trained_share(model: keras.Model) -> float:
    """The share of a model's weights that train.

    Args:
        model: a built model.

    Returns:
        Between 0 and 1.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> trained_share(model)
        1.0
    """
    n_trained = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    return n_trained / model.count_params()


def merge_adapters(model: keras.Model) -> keras.Model:
    """A plain model with the outputs of one with adapters; shares no weight with it.

    Args:
        model: a functional or sequential model with LoRA or FiLM.

    Returns:
        A model without adapters, all of it trainable.

    Raises:
        ValueError: for an adapter that cannot be merged.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> plain = merge_adapters(add_adapters(model, "lora"))
        >>> len(plain.weights)
        2
    """
    for adapter in adapters_of(model):
        if isinstance(adapter, BottleneckAdapter):
            raise ValueError(
                "A bottleneck is not linear and cannot be merged. Received: adapter "
                f"{adapter.name!r}. Use 'lora' or 'film', or keep the adapted model."
            )
    copies: list[tuple[keras.layers.Layer, list[Any]]] = []

    def unwrap(layer: keras.layers.Layer) -> keras.layers.Layer:
        is_adapter = isinstance(layer, Adapter)
        plain = layer.layer if is_adapter else layer
        copy = type(plain).from_config(plain.get_config())
        # A functional model has operations too (`keras.ops`), which have no weights.
        if isinstance(plain, keras.layers.Layer):
            copy.trainable = True
            copies.append((copy, layer.merged_weights() if is_adapter else plain.get_weights()))
        return copy

    merged = keras.models.clone_model(model, clone_function=unwrap, recursive=True)
    for copy, weights in copies:
        copy.set_weights(weights)
    return merged


def save_delta(model: keras.Model, path: str | os.PathLike[str]) -> int:
    """Writes what trains, adapters and head, and nothing of the frozen base.

    Args:
        model: a model with frozen weights.
        path: an `.npz` file; it is either written whole or left as it was.

    Returns:
        The number of weights written.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> save_delta(add_adapters(model, "film"), os.path.join(tempfile.mkdtemp(), "delta.npz"))
        6
    """
    values = {name: keras.ops.convert_to_numpy(v) for name, v in _trained(model).items()}
    path = os.path.abspath(os.fspath(path))
    with tempfile.NamedTemporaryFile(
        dir=os.path.dirname(path), suffix=".npz", delete=False
    ) as file:
        np.savez(file, **values)
    os.replace(file.name, path)
    return sum(value.size for value in values.values())


def load_delta(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Puts what `save_delta` wrote into a model with the same base and adapters.

    Args:
        model: a model made in the same way.
        path: the `.npz` file.

    Raises:
        ValueError: for other variables or shapes than the model trains; nothing is changed then.

    Example:
        >>> load_delta(model, "delta.npz")  # doctest: +SKIP
    """
    with np.load(path) as file:
        values = dict(file)
    variables = _trained(model)
    wanted = {name: tuple(v.shape) for name, v in variables.items()}
    given = {name: value.shape for name, value in values.items()}
    if given != wanted:
        different = sorted(set(given.items()) ^ set(wanted.items()))
        raise ValueError(
            "The file must hold the variables that the model trains. Received: a file that "
            f"differs in {different[:4]}. Make the model with the same base and adapters."
        )
    for name, variable in variables.items():
        variable.assign(values[name])


def _trained(model: keras.Model) -> dict[str, keras.Variable]:
    """Trainable variables, named by place and own name: paths differ from one model to the next."""
    return {
        f"{i:04d}_{variable.name}": variable for i, variable in enumerate(model.trainable_variables)
    }
