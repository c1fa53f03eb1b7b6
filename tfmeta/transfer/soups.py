"""Model soups (Wortsman et al. 2022)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from tfmeta.transfer.snapshots import model_with

Weights = Sequence[np.ndarray]


class Soup(NamedTuple):
    """What `model_soup` returns.

    Attributes:
        weights: averaged, as `set_weights` takes them.
        members: which of those given went in, by number, in the order in which they did.
        scores: validation score of each of those given; None without `validation`.
        score: of the soup; None without `validation`.
        model: a copy of the first model with these weights, not compiled; None for weight lists.
    """

    weights: list[np.ndarray]
    members: tuple[int, ...]
    scores: tuple[float, ...] | None
    score: float | None
    model: keras.Model | None

    def __str__(self) -> str:
        members = ", ".join(map(str, self.members))
        score = "" if self.score is None else f", score {self.score:.4f}"
        return f"soup of {len(self.members)}: {members}{score}"


def model_soup(
    models_or_weight_lists: Sequence[keras.Model] | Sequence[Weights],
    *,
    validation: Callable[[Any], float] | None = None,
    greedy: bool = False,
) -> Soup:
    """The average of models that were fine-tuned from the same weights, and what went in.

    Uniform: the equal mean of all. Greedy: from the best by validation down, a model goes in if
    the mean with it scores no worse than without (Wortsman et al. 2022, "Model soups: averaging
    weights of multiple fine-tuned models improves accuracy without increasing inference time",
    recipe 1). Integer weights (states of random seeds) are those of the first one. For batch
    normalisation call `tfmeta.transfer.recalibrate` on the soup.

    Args:
        models_or_weight_lists: built models, or lists as `get_weights` gives them.
        validation: from a model (from a list of weights, where lists are given) to a score of
            which more is better.
        greedy: whether only what helps goes in.

    Returns:
        A `Soup`; what was given is not changed.

    Raises:
        ValueError: for nothing given, weights of other shapes or names, or a greedy soup without
            validation.

    Example:
        >>> soup = model_soup([[np.array([0.0, 4.0])], [np.array([2.0, 0.0])]])
        >>> soup.weights, str(soup)
        ([array([1., 2.])], 'soup of 2: 0, 1')
        >>> near_one = lambda weights: -float(np.sum(np.abs(weights[0] - 1.0)))
        >>> given = [[np.array([0.0])], [np.array([2.5])], [np.array([9.0])]]
        >>> model_soup(given, validation=near_one, greedy=True).members
        (0, 1)
    """
    given = list(models_or_weight_lists)
    _check(given, validation, greedy)
    first = given[0] if isinstance(given[0], keras.Model) else None
    lists = [g.get_weights() if first else [np.asarray(w) for w in g] for g in given]
    taster = None if first is None else model_with(first, lists[0])
    members, scores, score = tuple(range(len(lists))), None, None
    if validation is not None:
        score_of = functools.partial(_score, validation, taster)
        scores = tuple(map(score_of, lists))
        members = _greedy_members(lists, scores, score_of) if greedy else members
        score = score_of(_mean([lists[k] for k in members]))
    weights = _mean([lists[k] for k in members])
    if taster is not None:
        taster.set_weights(weights)
    return Soup(weights, members, scores, score, taster)


def _score(
    validation: Callable[[Any], float], model: keras.Model | None, weights: Weights
) -> float:
    if model is None:
        return float(validation(weights))
    model.set_weights(weights)
    return float(validation(model))


def _greedy_members(
    lists: list[Weights], scores: tuple[float, ...], score_of: Callable[[Weights], float]
) -> tuple[int, ...]:
    order = sorted(range(len(lists)), key=lambda k: -scores[k])
    members, best = order[:1], scores[order[0]]
    for k in order[1:]:
        score = score_of(_mean([lists[m] for m in (*members, k)]))
        if score >= best:
            members, best = [*members, k], score
    return tuple(members)


def _mean(lists: list[Weights]) -> list[np.ndarray]:
    return [_mean_of_one(arrays) for arrays in zip(*lists, strict=True)]


def _mean_of_one(arrays: tuple[np.ndarray, ...]) -> np.ndarray:
    dtype = arrays[0].dtype
    if np.issubdtype(dtype, np.integer) or dtype.kind == "b":
        return arrays[0]
    # Summed in double precision, so that the order of the models does not matter.
    return np.mean([np.asarray(a, "float64") for a in arrays], axis=0).astype(dtype)


def _check(given: list[Any], validation: Any, greedy: bool) -> None:
    kinds = {isinstance(g, keras.Model) for g in given}
    if len(kinds) != 1:
        raise ValueError(
            "`models_or_weight_lists` must be at least one model, or lists of weights alone. "
            f"Received: {[type(g).__name__ for g in given]}."
        )
    if greedy and validation is None:
        raise ValueError(
            "A greedy soup needs `validation`, a function from a model to a score. "
            "Received: validation=None. Pass one, or leave `greedy` out."
        )
    forms = [_form(g) for g in given]
    for number, form in enumerate(forms):
        if form != forms[0]:
            differing = [pair for pair in zip(forms[0], form, strict=False) if pair[0] != pair[1]]
            wanted, found = differing[0] if differing else (len(forms[0]), len(form))
            raise ValueError(
                "All must have the weights of the first one. Received: number "
                f"{number} with {found} instead of {wanted}. Average copies of one model."
            )


def _form(given: Any) -> list[tuple[str, tuple[int, ...]]]:
    # A variable's own name: layers are numbered on from model to model.
    if isinstance(given, keras.Model):
        return [(v.name, tuple(v.shape)) for v in given.weights]
    return [("weight", np.shape(w)) for w in given]
