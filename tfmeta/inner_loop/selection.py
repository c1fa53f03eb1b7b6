"""Which variables of a network the inner loop adapts."""

from __future__ import annotations

import re
from collections.abc import Callable

import keras

Selection = str | Callable[[keras.Variable], bool]


def select_variables(network: keras.Model, adapt: Selection) -> list[keras.Variable]:
    """The trainable variables of a network that the inner loop changes.

    Args:
        network: a built Keras model.
        adapt: `"all"`; `"head"`, the last layer that has weights (ANIL, Raghu et al. 2020);
            `"body"`, all but that layer (BOIL, Oh et al. 2021); a regular expression that is
            searched in the variables' paths; or a function of a variable.

    Returns:
        Variables, in the order of `network.trainable_variables`.

    Raises:
        ValueError: when nothing is selected; the message names the variables there are.

    Example:
        >>> network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="out")])
        >>> [v.path.split("/")[-2:] for v in select_variables(network, "bias")]
        [['out', 'bias']]
    """
    variables = list(network.trainable_variables)
    chosen = [v for v in variables if _selects(network, adapt, v)]
    if not chosen:
        raise ValueError(
            f"`adapt` must select at least one trainable variable. Received: adapt={adapt!r}. "
            f"The network has {[v.path for v in variables]}."
        )
    return chosen


def _selects(network: keras.Model, adapt: Selection, variable: keras.Variable) -> bool:
    if adapt == "all":
        return True
    if adapt in ("head", "body"):
        return (id(variable) in _head_ids(network)) == (adapt == "head")
    if isinstance(adapt, str):
        return re.search(adapt, variable.path) is not None
    return bool(adapt(variable))


def _head_ids(network: keras.Model) -> set[int]:
    with_weights = [layer for layer in network.layers if layer.trainable_variables]
    return {id(v) for v in with_weights[-1].trainable_variables} if with_weights else set()
