"""The LSTM meta-learner (Ravi and Larochelle 2017)."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfmeta.functional import episode_loss
from tfmeta.inner_loop import ClippedGradients, MetaLSTMRule, UpdateRule, dense_gradients
from tfmeta.inner_loop.selection import Selection
from tfmeta.learners import checks
from tfmeta.learners.engines import current_engine
from tfmeta.learners.episode import Episode, OuterStep
from tfmeta.learners.gradient_learner import GradientLearner
from tfmeta.learners.inner_memory import InnerMemory
from tfmeta.learners.passes import query_source


@keras.saving.register_keras_serializable("tfmeta")
class MetaLSTM(GradientLearner):
    """Learns how to update a network's weights on a support set, and the weights to begin with.

    The weights are the cell state of an LSTM that is shared by all of them, and that reads each
    one's gradient and the loss (Ravi and Larochelle 2017, "Optimization as a Model for Few-Shot
    Learning"): `w_t = f_t w_{t-1} - i_t g_t` with learned gates, see
    `tfmeta.inner_loop.MetaLSTMRule`. The initial cell state is learned as well. Meta-training
    lowers the query loss after the last step.

    At `order=1` gradients and losses count as given, not as functions of the weights, as in the
    paper (section 3.2); `order=2` takes all derivatives.

    With `memory`, the name of an LSTM layer of the network, it is an LSTM over an LSTM: for each
    weight of the inner one it also reads the hidden and the cell state of the unit that the weight
    belongs to, in the mean over the support, see `tfmeta.learners.InnerMemory`.

    Args:
        network: a built Keras model from an example to logits `[n_way]` or values `[d]`.
        update_rule: a `MetaLSTMRule`, one under `ClippedGradients`, or the inner learning rate that
            its gates start at.
        memory: name of an LSTM layer of the network, made with `return_state=True`, or None.
        inner_steps: updates while training; the paper takes 12 with one shot and 5 with five.
        order: 1, or 2 for the exact meta-gradient.
        adapt: what the inner loop changes, see `MAML`.
        statistics: how queries are normalised outside of training, see `MAML`.
        training_statistics: `"transductive"`, by the query batch while training, as in the paper,
            whose statistics outside are the support's, anew for every task; None for the same in
            training as outside.
        evaluation_steps: updates outside of training; None for `inner_steps`.
        checkpoint_inner: whether each inner gradient is computed again instead of kept, see `MAML`.
        engine: see `MAML`.
        tasks_at_once: tasks of a batch that training computes at the same time, see `MAML`. The
            rule keeps about ten times `units` numbers for each weight and step.
        **kwargs: `name` and other arguments of `keras.Model`.

    Raises:
        ValueError: for an unbuilt network, outputs that are not vectors, another rule, a layer that
            is no LSTM with states, steps below one, or an unknown option.

    Example:
        >>> network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> learner = MetaLSTM(network, update_rule=0.1, inner_steps=2)
        >>> state = learner.adapt(tf.constant([[1.0]]), tf.constant([[2.0]]))
        >>> learner.predict_query(state, tf.constant([[1.0]])).shape
        TensorShape([1, 1])
    """

    order: int = 1

    def __init__(
        self,
        network: keras.Model,
        *,
        update_rule: float | UpdateRule = 0.01,
        memory: str | None = None,
        inner_steps: int = 5,
        order: int = 1,
        adapt: Selection = "all",
        statistics: str = "support",
        training_statistics: str | None = "transductive",
        evaluation_steps: int | None = None,
        checkpoint_inner: bool = False,
        engine: str = "auto",
        tasks_at_once: int | None = None,
        **kwargs: Any,
    ) -> None:
        checks.check_choice("order", order, (1, 2))
        checks.check_choice("training_statistics", training_statistics, (None, "transductive"))
        super().__init__(
            network,
            update_rule=_rule(update_rule, n_context=2 if memory else 0),
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
        self.memory = memory
        if memory:
            self._inner_memory = InnerMemory(network, memory, self._adapted_variables())
        self.training_statistics = training_statistics

    def outer_gradients(self, episode: Episode) -> OuterStep:
        sources = self._trainable_tensors()
        with tf.GradientTape() as tape:
            tape.watch(sources)
            x, y = self._support(*episode.support)
            path = self._weights_path(x, y, training=True, order=self.order)
            state = self._adapted(path[-1], x, step=self.inner_steps)
            outputs, moments = self.query_pass(state, episode.inputs["query_x"], training=True)
            loss = self._episode_loss(episode, outputs, training=True)
        gradients = tuple(dense_gradients(tape, loss, sources))
        return OuterStep(outputs, loss, gradients, moments, path)

    def _inner_loss(self, weights, start, x, y, *, step):
        if not self.memory:
            return self._support_loss(weights, x, y)
        values = zip(self._adapted_variables(), weights, strict=True)
        (outputs, h, c), _ = current_engine().network_pass(
            self._inner_memory.network, x, values, source="batch", training=True
        )
        outputs = tf.cast(outputs, self.variable_dtype)
        loss = current_engine().of_each(lambda task: episode_loss(*task), (y, outputs))
        return loss, self._inner_memory.of_coordinates(h, c)

    def _query_source(self, *, training: bool) -> str:
        in_training = self.training_statistics or self.statistics
        return query_source(in_training if training else self.statistics, training=training)

    def get_config(self) -> dict[str, Any]:
        names = ("order", "training_statistics", "memory")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _rule(update_rule: float | UpdateRule, *, n_context: int) -> UpdateRule:
    if isinstance(update_rule, (int, float)) and not isinstance(update_rule, bool):
        return MetaLSTMRule(update_rule, n_context=n_context)
    clipped = update_rule.rule if isinstance(update_rule, ClippedGradients) else update_rule
    if not isinstance(update_rule, UpdateRule) or not isinstance(clipped, MetaLSTMRule):
        raise ValueError(
            "`update_rule` must be a `tfmeta.inner_loop.MetaLSTMRule`, or the inner learning rate "
            f"that its gates start at. Received: update_rule={update_rule!r}. `MAML` takes others."
        )
    if clipped.n_context != n_context:
        raise ValueError(
            f"The rule must have `n_context={n_context}`: two numbers with `memory`, none without. "
            f"Received: n_context={clipped.n_context}."
        )
    return update_rule
