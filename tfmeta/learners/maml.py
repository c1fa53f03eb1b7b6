"""Model-Agnostic Meta-Learning (Finn, Abbeel and Levine 2017) and what MAML++ adds to it."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfmeta.functional import multi_step_weights
from tfmeta.inner_loop import UpdateRule, dense_gradients
from tfmeta.inner_loop.selection import Selection
from tfmeta.layers import moving_statistics
from tfmeta.learners import checks
from tfmeta.learners.engines import current_engine
from tfmeta.learners.episode import Episode, OuterStep
from tfmeta.learners.gradient_learner import AdaptedNetwork, GradientLearner
from tfmeta.learners.prototype_head import PrototypeHead
from tfmeta.sizes import check_sizes


@keras.saving.register_keras_serializable("tfmeta")
class MAML(GradientLearner):
    """Learns weights from which a few gradient steps on a support set lead to a good network.

    `min_w sum_T L_T^query(w_T)` with `w_T = w - rate * grad L_T^support(w)`, repeated
    `inner_steps` times (Finn et al. 2017, "Model-Agnostic Meta-Learning for Fast Adaptation of
    Deep Networks", algorithms 1 and 2). The meta-gradient is exact at `order=2`; `order=1` is the
    first-order approximation of section 5.2. Variants of other papers are options:

    - ANIL (Raghu et al. 2020): `adapt="head"`; BOIL (Oh et al. 2021): `adapt="body"`.
    - Meta-SGD, learned rates per layer and step, Meta-Curvature: an `update_rule`.
    - MAML++ (Antoniou et al. 2019): `order="anneal"`, `multi_step_loss`, `per_step_statistics` and
      the rule `LayerStepRates`.
    - Proto-MAML (Triantafillou et al. 2020): `head_init="prototypes"`.

    Args:
        network: a built Keras model from an example to logits `[n_way]` or values `[d]`.
        update_rule: the inner learning rate, or a `tfmeta.inner_loop.UpdateRule`.
        inner_steps: gradient steps while training.
        order: 2 for the exact meta-gradient, 1 for the first-order approximation, `"anneal"` for
            the first `anneal_steps` outer steps at order 1 and all others at order 2.
        anneal_steps: outer steps at order 1, with `order="anneal"` only.
        adapt: what the inner loop changes: `"all"`, `"head"`, `"body"`, a regular expression over
            variable paths, or a function of a variable.
        statistics: how queries are normalised: `"support"` (inductive: by the support set under
            the adapted weights), `"transductive"` (by the query batch, as in the paper's code) or
            `"running"` (by moving averages, which training gathers). Inner steps always normalise
            the support by itself.
        evaluation_steps: gradient steps outside of training; None for `inner_steps`.
        multi_step_loss: outer steps during which the query losses after all inner steps count, at
            first alike, then less and less but for the last (MAML++, equation 4); None for the
            loss after the last step alone.
        head_init: `"prototypes"` starts the last layer, which must be `Dense`, as the classifier
            by the nearest class mean of the support: `kernel = 2 c_k`, `bias = -|c_k|^2`. An
            episode may then have any number of classes. None starts from learned weights.
        per_step_statistics: with `statistics="running"`, moving averages of their own for the
            queries after each inner step (MAML++, BNRS); later steps take those of the last one.
            Training then passes the queries through the network after every step.
        checkpoint_inner: whether the outer gradient computes every inner step again instead of
            keeping its activations: peak memory nearly flat in `inner_steps`, for more time.
        engine: `"mapped"`: each task of a batch by itself, side by side on the cores;
            `"vectorized"`: all at once, with the task axis carried through the layers, for
            accelerators (where a layer or an option does not allow it, mapped, with a line of the
            log); `"auto"`: vectorized on an accelerator, else mapped; `active_engine` tells.
        tasks_at_once: tasks of a batch that training computes at the same time, the others after
            them, for less memory and the same step; None for all (vectorized) or ten (mapped).
            `plan` tells what fits.
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

    head_init: str | None = None

    def __init__(
        self,
        network: keras.Model,
        *,
        update_rule: float | UpdateRule = 0.01,
        inner_steps: int = 5,
        order: int | str = 2,
        anneal_steps: int | None = None,
        adapt: Selection = "all",
        statistics: str = "support",
        evaluation_steps: int | None = None,
        multi_step_loss: int | None = None,
        head_init: str | None = None,
        per_step_statistics: bool = False,
        checkpoint_inner: bool = False,
        engine: str = "auto",
        tasks_at_once: int | None = None,
        **kwargs: Any,
    ) -> None:
        _check_order(order, anneal_steps)
        checks.check_choice("head_init", head_init, (None, "prototypes"))
        if multi_step_loss is not None:
            check_sizes(multi_step_loss=multi_step_loss)
        super().__init__(
            network,
            update_rule=update_rule,
            inner_steps=inner_steps,
            adapt=adapt,
            statistics=statistics,
            evaluation_steps=evaluation_steps,
            checkpoint_inner=checkpoint_inner,
            engine=engine,
            tasks_at_once=tasks_at_once,
            **kwargs,
        )
        self.order = order
        self.anneal_steps = anneal_steps
        self.multi_step_loss = multi_step_loss
        self.head_init = head_init
        if head_init == "prototypes":
            self._prototype_head = PrototypeHead(network, self._adapted_variables())
        self.supports_jit = self.n_outputs is not None
        self.per_step_statistics = per_step_statistics
        self._step_statistics = self._create_step_statistics() if per_step_statistics else []

    def outer_gradients(self, episode: Episode) -> OuterStep:
        if isinstance(self.order, int):
            return self._outer_gradients(episode, self.order)
        return tf.cond(
            self._step_number() < self.anneal_steps,
            lambda: self._outer_gradients(episode, 1),
            lambda: self._outer_gradients(episode, 2),
        )

    def _outer_gradients(self, episode: Episode, order: int) -> OuterStep:
        sources = self._trainable_tensors()
        with tf.GradientTape() as tape:
            tape.watch(sources)
            x, y = self._support(*episode.support)
            path = self._weights_path(x, y, training=True, order=order)
            steps = range(len(path))
            counted = steps[1:] if self.multi_step_loss else steps[-1:]
            passes = [self._training_query(episode, path[k], x, step=k) for k in counted]
            loss = self._weighted_loss([loss for _, _, loss in passes])
        gradients = tuple(dense_gradients(tape, loss, sources))
        outputs, moments, _ = passes[-1]
        if self.per_step_statistics:
            others = [k for k in steps if k not in counted]
            passes = [self._training_query(episode, path[k], x, step=k) for k in others] + passes
            of_steps = zip(*[moments for _, moments, _ in passes], strict=True)
            moments = tuple(tf.stack(values, axis=current_engine().axis) for values in of_steps)
        return OuterStep(outputs, loss, gradients, moments, path)

    def _training_query(self, episode, weights, support_x, *, step):
        state = self._adapted(weights, support_x, step=step)
        outputs, moments = self.query_pass(state, episode.inputs["query_x"], training=True)
        return outputs, moments, self._episode_loss(episode, outputs, training=True)

    def _weighted_loss(self, losses: list[tf.Tensor]) -> tf.Tensor:
        if not self.multi_step_loss:
            return losses[-1]
        progress = tf.cast(self._step_number(), self.variable_dtype) / self.multi_step_loss
        return tf.tensordot(multi_step_weights(len(losses), progress), tf.stack(losses), 1)

    @property
    def n_outputs(self) -> int | None:
        has_free_ways = self.head_init is not None and not self.update_rule.has_weights_of_shape
        return None if has_free_ways else super().n_outputs

    def _support(self, x, y, mask):
        if self.head_init is None:
            return super()._support(x, y, mask)
        x, y = self._prototype_head.support(*self.support_examples(x, y, mask))
        if self.n_outputs is not None:
            y = checks.assert_labels("support_y", y, self.n_outputs)
            y = checks.assert_width(y, self.n_outputs)
        return x, y

    def _initial_weights(self, x, y):
        weights = super()._initial_weights(x, y)
        return weights if self.head_init is None else self._prototype_head.start(weights, x, y)

    def _network_pass(self, weights, x, **options):
        if self.head_init is None:
            return super()._network_pass(weights, x, **options)
        values = list(zip(self._adapted_variables(), weights, strict=True))
        outputs, moments = self._prototype_head.network_pass(values, x, **options)
        return tf.cast(outputs, self.variable_dtype), moments

    def _adapted(self, weights, support_x, *, step):
        if not self.per_step_statistics:
            return super()._adapted(weights, support_x, step=step)
        step = min(step, self.inner_steps)
        of_steps = current_engine().values(self._step_statistics)
        moments = tuple(tf.gather(values, step, axis=current_engine().axis) for values in of_steps)
        return AdaptedNetwork(tuple(weights), moments)

    def _obstacles(self, elements):
        # A prototype head has another shape than its variables; what is computed again reads the
        # task's copies of weights that are not adapted, and their gradient would be lost.
        options = {"head_init": self.head_init, "checkpoint_inner": self.checkpoint_inner}
        return [*super()._obstacles(elements), *(name for name, on in options.items() if on)]

    def _create_step_statistics(self) -> list[keras.Variable]:
        if self.statistics != "running":
            raise ValueError(
                '`per_step_statistics` needs `statistics="running"`: other statistics are those of '
                f"the episode at each step anyway. Received: statistics={self.statistics!r}."
            )
        return [
            self.add_weight(
                shape=(self.inner_steps + 1, *v.shape),
                dtype=v.dtype,
                initializer=lambda shape, dtype, v=v: tf.broadcast_to(tf.cast(v, dtype), shape),
                trainable=False,
                name=f"{v.name}_of_steps",
            )
            for v in moving_statistics(self.network)
        ]

    def _moving_statistics(self) -> list[keras.Variable]:
        return self._step_statistics or super()._moving_statistics()

    def get_config(self) -> dict[str, Any]:
        names = (
            "order",
            "anneal_steps",
            "multi_step_loss",
            "head_init",
            "per_step_statistics",
        )
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _check_order(order: int | str, anneal_steps: int | None) -> None:
    checks.check_choice("order", order, (1, 2, "anneal"))
    if (order == "anneal") != (anneal_steps is not None):
        raise ValueError(
            '`anneal_steps` is the number of outer steps at first order, with `order="anneal"` and '
            f"only then. Received: order={order!r}, anneal_steps={anneal_steps}."
        )
    if anneal_steps is not None:
        check_sizes(anneal_steps=anneal_steps)
