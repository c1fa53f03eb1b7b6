"""Episodes of features instead of examples: the heads of a learner without its backbone."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf


class _Given(threading.local):
    """Whether the examples that are being traced are features already. A replica is a thread."""

    value = False


_GIVEN = _Given()


@contextlib.contextmanager
def given_features() -> Iterator[None]:
    """Scope in which what a learner takes for examples are features that its backbone gave."""
    before, _GIVEN.value = _GIVEN.value, True
    try:
        yield
    finally:
        _GIVEN.value = before


def are_features_given() -> bool:
    """Whether the scope is open."""
    return _GIVEN.value


class OnFeatures:
    """A learner on episodes of features, which `learner.embed` has computed once.

    It shares all weights with the learner, and is what `evaluate_episodes` takes: thousands of
    episodes for the price of their heads. See `EmbeddingLearner.on_features`.

    Args:
        learner: an `EmbeddingLearner` whose features do not depend on the episode.
    """

    def __init__(self, learner: Any) -> None:
        self.learner = learner
        self.name = learner.name
        self.statistics = learner.statistics

    @property
    def transductive(self) -> bool:
        """Whether a query's prediction may depend on other queries."""
        return self.learner.transductive

    def __call__(self, inputs: Mapping[str, Any]) -> tf.Tensor:
        """Logits `[tasks, query, n_way]`; `support_x` and `query_x` are `[tasks, n, d]`."""
        with given_features():
            return self.learner.call(inputs)

    def adapt(self, *support: Any) -> Any:
        """As the learner's, for `support_x` `[support, d]`."""
        with given_features():
            return self.learner.adapt(*support)

    def predict_query(self, state: Any, query_x: Any) -> tf.Tensor:
        """As the learner's, for `query_x` `[query, d]`."""
        with given_features():
            return self.learner.predict_query(state, query_x)
