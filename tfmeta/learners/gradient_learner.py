"""The base of learners that adapt a network by gradient steps on the support set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfmeta.functional import episode_loss
from tfmeta.inner_loop import UpdateRule, get_update_rule, inner_loop, select_variables
from tfmeta.inner_loop.selection import Selection
from tfmeta.layers import moving_statistics
from tfmeta.learners import checks
from tfmeta.learners.base import EpisodicLearner
from tfmeta.learners.passes import Moments, network_pass, query_source


class AdaptedNetwork(NamedTuple):
    """A network after an inner loop: the adapted weights, and statistics for the query pass."""

    weights: tuple[tf.Tensor, ...]
    moments: Moments


class GradientLearner(EpisodicLearner):
    """A network, an inner loop over its weights, and the path that it takes on a support set.

    A subclass says how the outer loop learns from that: `outer_gradients`.

    Args:
        network: a built Keras model from an example to logits `[n_way]` or values `[d]`.
        update_rule: the inner learning rate, or a `tfmeta.inner_loop.UpdateRule`.
        inner_steps: gradient steps while training.
        adapt: what the inner loop changes: `"all"`, `"head"`, `"body"`, a regular expression over
            variable paths, or a function of a variable.
        statistics: how queries are normalised: `"support"` (inductive: by the support set under
            the adapted weights), `"transductive"` (by the query batch) or `"running"` (by moving
            averages, which training gathers). Inner steps always normalise the support by itself.
        evaluation_steps: gradient steps outside of training; None for `inner_steps`.
        checkpoint_inner: whether the outer gradient computes every inner step again instead of
            keeping its activations: peak memory nearly flat in `inner_steps`, for more time.
        **kwargs: `name` and other arguments of `keras.Model`.

    Raises:
        ValueError: for an unbuilt network, outputs that are not vectors, steps below one, or an
            unknown option.
    """

    nested_arguments = ("network", "update_rule")

    def __init__(
        self,
        network: keras.Model,
        *,
        update_rule: float | UpdateRule,
        inner_steps: int,
        adapt: Selection,
        statistics: str,
        evaluation_steps: int | None,
        checkpoint_inner: bool = False,
        **kwargs: Any,
    ) -> None:
        checks.check_positive("inner_steps", inner_steps)
        if evaluation_steps is not None:
            checks.check_positive("evaluation_steps", evaluation_steps)
        super().__init__(network, statistics=statistics, **kwargs)
        checks.check_vectors("network", network)
        self.inner_steps = inner_steps
        self.adapted = adapt
        self.evaluation_steps = evaluation_steps
        self.checkpoint_inner = checkpoint_inner
        self.update_rule = get_update_rule(update_rule)
        self.update_rule.create_weights(self._adapted_variables(), inner_steps)
        self._path_trackers = {
            metric: [
                keras.metrics.Mean(name=f"{metric}@{k}") for k in range(self._steps(False) + 1)
            ]
            for metric in ("acc", "mse")
        }

    def adapt(self, support_x, support_y, support_mask=None, *, training=False) -> AdaptedNetwork:
        x, y = self._support(support_x, support_y, support_mask)
        path = self._weights_path(x, y, training=training)
        return self._adapted(path[-1], x, step=len(path) - 1)

    def adapt_path(self, support_x, support_y, support_mask=None) -> list[AdaptedNetwork]:
        x, y = self._support(support_x, support_y, support_mask)
        path = self._weights_path(x, y)
        return [self._adapted(weights, x, step=step) for step, weights in enumerate(path)]

    def query_pass(self, state, query_x, *, training):
        source = query_source(self.statistics, training=training)
        outputs, moments = self._network_pass(
            state.weights,
            self.network_input(query_x),
            source=source,
            moments=state.moments,
            training=training,
        )
        return outputs, moments if self.statistics == "running" else ()

    def predict_query(self, state, query_x):
        self.check_examples("query_x", query_x)
        return self.query_pass(state, query_x, training=False)[0]

    @property
    def n_outputs(self) -> int | None:
        return self.network.output_shape[-1]

    # ----- parts ----------------------------------------------------------------------------

    def _steps(self, training: bool) -> int:
        return self.inner_steps if training else self.evaluation_steps or self.inner_steps

    def _support(self, x: Any, y: Any, mask: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """The support set without padding, its labels or targets fitting the network."""
        x, y = self.support_examples(x, y, mask)
        if not y.dtype.is_integer:
            if y.shape[-1] != self.n_outputs:
                raise ValueError(
                    f"Targets must be as wide as the network's output ({self.n_outputs}). "
                    f"Received: support_y of shape {y.shape}."
                )
            return x, y
        return x, checks.assert_labels("support_y", y, self.n_outputs)

    def _support_loss(self, weights: Sequence[tf.Tensor], x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        """Cross-entropy or mean squared error of the support under given weights."""
        outputs, _ = self._network_pass(weights, x, source="batch", training=True)
        return episode_loss(y, outputs)

    def _inner_loss(
        self,
        weights: Sequence[tf.Tensor],
        start: Sequence[tf.Tensor],
        x: tf.Tensor,
        y: tf.Tensor,
        *,
        step: int,
    ) -> tf.Tensor:
        """The loss that an inner step lowers, in a loop that began at the weights `start`."""
        return self._support_loss(weights, x, y)

    def _initial_weights(self, x: tf.Tensor, y: tf.Tensor) -> list[tf.Tensor]:
        """The weights that the inner loop starts from."""
        return [tf.convert_to_tensor(v.value) for v in self._adapted_variables()]

    def _weights_path(
        self, x: tf.Tensor, y: tf.Tensor, *, training: bool = False, order: int = 2
    ) -> list[list[tf.Tensor]]:
        start = self._initial_weights(x, y)
        return inner_loop(
            lambda weights, step: self._inner_loss(weights, start, x, y, step=step),
            start,
            rule=self.update_rule,
            inner_steps=self._steps(training),
            order=order,
            checkpoint=self.checkpoint_inner and training,
        )

    def _network_pass(
        self, weights: Sequence[tf.Tensor], x: tf.Tensor, **options: Any
    ) -> tuple[tf.Tensor, Moments]:
        """Outputs under adapted weights, and the moving statistics; options of `network_pass`."""
        values = zip(self._adapted_variables(), weights, strict=True)
        outputs, moments = network_pass(self.network, x, values=values, **options)
        return tf.cast(outputs, self.variable_dtype), moments

    def _adapted(
        self, weights: Sequence[tf.Tensor], support_x: tf.Tensor, *, step: int
    ) -> AdaptedNetwork:
        """The state after `step` inner steps."""
        if self.statistics != "support" or not moving_statistics(self.network):
            return AdaptedNetwork(tuple(weights), ())
        _, moments = self._network_pass(weights, support_x, source="batch")
        return AdaptedNetwork(tuple(weights), moments)

    def _adapted_variables(self) -> list[keras.Variable]:
        return select_variables(self.network, self.adapted)

    def get_config(self) -> dict[str, Any]:
        names = ("inner_steps", "evaluation_steps", "checkpoint_inner")
        config = {name: getattr(self, name) for name in names}
        return {**super().get_config(), **config, "adapt": self.adapted}
