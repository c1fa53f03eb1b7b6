"""Implicit MAML (Rajeswaran, Finn, Kakade and Levine 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfmeta.functional import conjugate_gradient
from tfmeta.inner_loop import UpdateRule, dense_gradients
from tfmeta.inner_loop.selection import Selection
from tfmeta.inner_loop.update_rules import check_rate
from tfmeta.learners import checks
from tfmeta.learners.episode import Episode, OuterStep
from tfmeta.learners.gradient_learner import GradientLearner
from tfmeta.sizes import check_sizes


@keras.saving.register_keras_serializable("tfmeta")
class ImplicitMAML(GradientLearner):
    """MAML whose meta-gradient depends on where the inner loop ends, and not on its path.

    The inner loop lowers `L_support(w) + proximal / 2 |w - w_0|^2`. At its minimum `w_T` the
    meta-gradient is `(I + H / proximal)^-1 grad L_query(w_T)` with `H` the Hessian of the support
    loss there (Rajeswaran et al. 2019, "Meta-Learning with Implicit Gradients", lemma 1), found by
    `cg_steps` steps of conjugate gradient. Memory does not grow with `inner_steps`. Weights that
    are not adapted have their exact gradient too.

    Args:
        network: a built Keras model from an example to logits `[n_way]` or values `[d]`.
        update_rule: the inner learning rate, or a `tfmeta.inner_loop.UpdateRule` without learned
            numbers.
        inner_steps: gradient steps while training: enough of them to come near the minimum.
        proximal: strength of the pull to the initial weights, positive (lambda in the paper).
        cg_steps: steps of conjugate gradient.
        adapt: what the inner loop changes, see `MAML`.
        statistics: how queries are normalised, see `MAML`.
        evaluation_steps: gradient steps outside of training; None for `inner_steps`.
        **kwargs: `name` and other arguments of `keras.Model`.

    Raises:
        ValueError: for an unbuilt network, outputs that are not vectors, steps below one, a learned
            update rule, or an unknown option.

    Example:
        >>> network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> learner = ImplicitMAML(network, update_rule=0.1, proximal=1.0)
        >>> learner.compile(keras.optimizers.Adam(0.001))
    """

    def __init__(
        self,
        network: keras.Model,
        *,
        update_rule: float | UpdateRule = 0.01,
        inner_steps: int = 16,
        proximal: float = 2.0,
        cg_steps: int = 5,
        adapt: Selection = "all",
        statistics: str = "support",
        evaluation_steps: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_sizes(cg_steps=cg_steps)
        super().__init__(
            network,
            update_rule=update_rule,
            inner_steps=inner_steps,
            adapt=adapt,
            statistics=statistics,
            evaluation_steps=evaluation_steps,
            **kwargs,
        )
        checks.check_fixed_rule(type(self).__name__, self.update_rule)
        self.proximal = check_rate(proximal, name="proximal")
        self.cg_steps = cg_steps

    def outer_gradients(self, episode: Episode) -> OuterStep:
        x, y = self._support(*episode.support)
        path = self._weights_path(x, y, training=True, order=1)
        end = [tf.stop_gradient(w) for w in path[-1]]
        adapted = {id(v): place for place, v in enumerate(self._adapted_variables())}
        others = [v.value for v in self.trainable_variables if id(v) not in adapted]
        with tf.GradientTape() as tape:
            tape.watch(end)
            state = self._adapted(end, x, step=self.inner_steps)
            outputs, moments = self.query_pass(state, episode.inputs["query_x"], training=True)
            loss = self._episode_loss(episode, outputs, training=True)
        direct = dense_gradients(tape, loss, [*end, *others])
        solution = conjugate_gradient(
            lambda v: self._damped_hessian_product(v, end, x, y),
            direct[: len(end)],
            steps=self.cg_steps,
        )
        # d w_T / d other = -(H + proximal I)^-1 d2 L_support / (d w d other), and H is symmetric.
        mixed = self._slopes(solution, end, x, y, of=others) if others else []
        of_others = iter(g - m for g, m in zip(direct[len(end) :], mixed, strict=True))
        gradients = tuple(
            self.proximal * solution[adapted[id(v)]] if id(v) in adapted else next(of_others)
            for v in self.trainable_variables
        )
        return OuterStep(outputs, loss, gradients, moments, path)

    def _obstacles(self, elements):
        return [*super()._obstacles(elements), "the conjugate gradient, which is of one task"]

    def _inner_loss(self, weights, start, x, y, *, step):
        distance = [tf.reduce_sum(tf.square(w - s)) for w, s in zip(weights, start, strict=True)]
        return self._support_loss(weights, x, y) + 0.5 * self.proximal * tf.add_n(distance)

    def _damped_hessian_product(self, vector, weights, x, y) -> list[tf.Tensor]:
        """`(H + proximal I) v`."""
        products = self._slopes(vector, weights, x, y, of=weights)
        return [p + self.proximal * v for p, v in zip(products, vector, strict=True)]

    def _slopes(self, vector, weights, x, y, *, of: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Derivative in `of` of the slope of the support loss along `vector`."""
        with tf.GradientTape() as outer:
            outer.watch(of)
            with tf.GradientTape() as inner:
                inner.watch(weights)
                loss = self._support_loss(weights, x, y)
            gradients = dense_gradients(inner, loss, weights)
            pairs = zip(gradients, vector, strict=True)
            slope = tf.add_n([tf.reduce_sum(g * tf.stop_gradient(v)) for g, v in pairs])
        return dense_gradients(outer, slope, of)

    def get_config(self) -> dict[str, Any]:
        config = {"proximal": self.proximal, "cg_steps": self.cg_steps}
        return {**super().get_config(), **config}
