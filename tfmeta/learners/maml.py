"""Model-Agnostic Meta-Learning (Finn, Abbeel and Levine 2017)."""

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

_MAX_POOLS = (
    keras.layers.MaxPooling1D,
    keras.layers.MaxPooling2D,
    keras.layers.MaxPooling3D,
)


class AdaptedNetwork(NamedTuple):
    """A network after an inner loop: the adapted weights, and statistics for the query pass."""

    weights: tuple[tf.Tensor, ...]
    moments: Moments


@keras.saving.register_keras_serializable("tfmeta")
class MAML(EpisodicLearner):
    """Learns weights from which a few gradient steps on a support set lead to a good network.

    `min_w sum_T L_T^query(w_T)` with `w_T = w - rate * grad L_T^support(w)`, repeated
    `inner_steps` times (Finn et al. 2017, "Model-Agnostic Meta-Learning for Fast Adaptation of
    Deep Networks", algorithms 1 and 2). The meta-gradient is exact at `order=2`; `order=1` is the
    first-order approximation of section 5.2.

    Args:
        network: a built Keras model from an example to logits `[n_way]` or values `[d]`.
        update_rule: the inner learning rate, or a `tfmeta.inner_loop.UpdateRule`.
        inner_steps: gradient steps while training.
        order: 2 for the exact meta-gradient, 1 for the first-order approximation.
        adapt: what the inner loop changes: `"all"`, `"head"`, `"body"`, a regular expression over
            variable paths, or a function of a variable.
        statistics: how queries are normalised: `"support"` (inductive: by the support set under
            the adapted weights), `"transductive"` (by the query batch, as in the paper's code) or
            `"running"` (by moving averages, which training gathers). Inner steps always normalise
            the support by itself.
        evaluation_steps: gradient steps outside of training; None for `inner_steps`.
        **kwargs: `name` and other arguments of `keras.Model`.

    Raises:
        ValueError: for an unbuilt network, outputs that are not vectors, steps below one, or an
            unknown option.

    Example:
        >>> network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> learner = MAML(network, update_rule=0.1, inner_steps=1)
        >>> state = learner.adapt(tf.constant([[1.0]]), tf.constant([[2.0]]))
        >>> learner.predict_query(state, tf.constant([[1.0]])).shape
        TensorShape([1, 1])
    """

    nested_arguments = ("network", "update_rule")

    def __init__(
        self,
        network: keras.Model,
        *,
        update_rule: float | UpdateRule = 0.01,
        inner_steps: int = 5,
        order: int = 2,
        adapt: Selection = "all",
        statistics: str = "support",
        evaluation_steps: int | None = None,
        **kwargs: Any,
    ) -> None:
        checks.check_choice("order", order, (1, 2))
        checks.check_positive("inner_steps", inner_steps)
        if evaluation_steps is not None:
            checks.check_positive("evaluation_steps", evaluation_steps)
        super().__init__(network, statistics=statistics, **kwargs)
        checks.check_vectors("network", network)
        select_variables(network, adapt)
        self.update_rule = get_update_rule(update_rule)
        self.inner_steps = inner_steps
        self.order = order
        self.adapted = adapt
        self.evaluation_steps = evaluation_steps
        self._path_trackers = {
            metric: [
                keras.metrics.Mean(name=f"{metric}@{k}") for k in range(self._steps(False) + 1)
            ]
            for metric in ("acc", "mse")
        }

    def compile(self, optimizer="rmsprop", loss=None, *, jit_compile="auto", **kwargs) -> None:
        if jit_compile is True and self.order == 2:
            _refuse_max_pooling(self.network)
        super().compile(optimizer, loss, jit_compile=jit_compile, **kwargs)

    def adapt(self, support_x, support_y, support_mask=None, *, training=False) -> AdaptedNetwork:
        x, y = self.support_examples(support_x, support_y, support_mask)
        return self._adapted(self._weights_path(x, y, training)[-1], x)

    def adapt_path(self, support_x, support_y, support_mask=None) -> list[AdaptedNetwork]:
        x, y = self.support_examples(support_x, support_y, support_mask)
        return [self._adapted(weights, x) for weights in self._weights_path(x, y, training=False)]

    def query_pass(self, state, query_x, *, training):
        outputs, moments = network_pass(
            self.network,
            self.network_input(query_x),
            source=query_source(self.statistics, training=training),
            values=self._values(state.weights),
            moments=state.moments,
            training=training,
        )
        keeps = self.statistics == "running"
        return tf.cast(outputs, self.variable_dtype), moments if keeps else ()

    def predict_query(self, state, query_x):
        self.check_examples("query_x", query_x)
        return self.query_pass(state, query_x, training=False)[0]

    @property
    def n_outputs(self) -> int:
        return self.network.output_shape[-1]

    def _steps(self, training: bool) -> int:
        return self.inner_steps if training else self.evaluation_steps or self.inner_steps

    def _weights_path(self, x: tf.Tensor, y: tf.Tensor, training: bool) -> list[list[tf.Tensor]]:
        if y.dtype.is_integer:
            y = checks.assert_labels("support_y", y, self.n_outputs)
        elif y.shape[-1] != self.n_outputs:
            raise ValueError(
                f"Targets must be as wide as the network's output ({self.n_outputs}). "
                f"Received: support_y of shape {y.shape}."
            )

        def support_loss(weights: Sequence[tf.Tensor]) -> tf.Tensor:
            outputs, _ = network_pass(
                self.network, x, source="batch", values=self._values(weights), training=True
            )
            return episode_loss(y, tf.cast(outputs, self.variable_dtype))

        return inner_loop(
            support_loss,
            [tf.convert_to_tensor(v.value) for v in self._adapted_variables()],
            rule=self.update_rule,
            inner_steps=self._steps(training),
            order=self.order,
        )

    def _adapted(self, weights: Sequence[tf.Tensor], support_x: tf.Tensor) -> AdaptedNetwork:
        if self.statistics != "support" or not moving_statistics(self.network):
            return AdaptedNetwork(tuple(weights), ())
        _, moments = network_pass(
            self.network, support_x, source="batch", values=self._values(weights)
        )
        return AdaptedNetwork(tuple(weights), moments)

    def _adapted_variables(self) -> list[keras.Variable]:
        return select_variables(self.network, self.adapted)

    def _values(self, weights: Sequence[tf.Tensor]) -> list[tuple[keras.Variable, tf.Tensor]]:
        return list(zip(self._adapted_variables(), weights, strict=True))

    def get_config(self) -> dict[str, Any]:
        config = {"inner_steps": self.inner_steps, "order": self.order, "adapt": self.adapted}
        return {**super().get_config(), **config, "evaluation_steps": self.evaluation_steps}


def _refuse_max_pooling(network: keras.Model) -> None:
    pools = [layer.name for layer in network._flatten_layers() if isinstance(layer, _MAX_POOLS)]
    if pools:
        raise ValueError(
            "`jit_compile=True` cannot be used for a second-order gradient through max pooling, "
            f"which XLA differentiates wrongly. Received: layers {pools}. Leave `jit_compile` out, "
            "use `order=1`, or a network that strides instead of pooling."
        )
