"""The base of every learner: from `adapt` and `predict_query` to `fit`, `evaluate` and export."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from tfmeta.inner_loop import dense_gradients, episode_draws
from tfmeta.layers import moving_statistics, network_input, use_exact_layers
from tfmeta.learners import checks
from tfmeta.learners.batch_step import BatchStep, require_finite, step_of_batch, sum_of_one
from tfmeta.learners.episode import (
    Episode,
    OuterStep,
    episode_numbers,
    has_classes,
    largest_n_way,
    pad_ways,
    real_queries,
    restored_variable_scope,
    score,
)
from tfmeta.learners.keras_model import EpisodicModel
from tfmeta.learners.passes import STATISTICS, Moments

# Between two steps the draws of all tasks move by more than the tasks there are.
_STEP_STRIDE = 1_000_003
# As many as `tf.map_fn` has.
TASKS_SIDE_BY_SIDE = 10


class EpisodicLearner(EpisodicModel):
    """A Keras model that learns from episodes; the base class of every learner.

    A learner is two methods for ONE episode, without a task axis:

        adapt(support_x, support_y, support_mask=None, *, training=False) -> state
        predict_query(state, query_x) -> outputs

    `state` is a nest of tensors that is returned and never kept on the learner. From the two, this
    class makes `call` over a leading task axis, the training and the test step, so that `compile`,
    `fit`, `evaluate`, `predict`, callbacks, `steps_per_execution` and `tf.distribute` mean what
    they mean in Keras. Where training differs from prediction, a subclass overrides `query_pass`
    too; where its outer update is not the gradient of the query loss, `outer_gradients`.

    `fit`, `evaluate` and `predict` take `(inputs, query_y)` or `(inputs, query_y, sample_weight)`:

        inputs = {"support_x": [tasks, support, ...], "support_y": [tasks, support],
                  "query_x": [tasks, query, ...]}
        optional: inputs["support_mask"] [tasks, support] bool, inputs["episode"] [tasks] int64,
                  sample_weight [tasks, query]
        query_y [tasks, query] class numbers, or [tasks, query, d] regression targets

    uint8 pictures are scaled to 0 ... 1 on the device, unless the network's input is declared
    uint8. A support example that is masked out, and a query of weight 0, take no part in anything.

    Args:
        network: a built Keras model from examples to features or outputs. Its stock normalisation
            layers are made exact in place (`tfmeta.layers.use_exact_layers`).
        statistics: `"support"` (inductive: a query is normalised by its support),
            `"transductive"` (by the query batch) or `"running"` (by moving averages).
        **kwargs: `name` and other arguments of `keras.Model`.
    """

    network_argument = "network"
    nested_arguments: tuple[str, ...] = ("network",)

    def __init__(self, network: keras.Model, *, statistics: str, **kwargs: Any) -> None:
        checks.check_network(self.network_argument, network)
        checks.check_choice("statistics", statistics, STATISTICS)
        # The learner computes in the dtype of the weights, so that autocasting to a half
        # precision happens in the network's layers and never to fast weights.
        kwargs.setdefault("dtype", network.variable_dtype)
        super().__init__(**kwargs)
        use_exact_layers(network)
        setattr(self, self.network_argument, network)
        self.statistics = statistics
        # XLA wants to know the number of classes when it compiles; Keras warns and goes without.
        self.supports_jit = self.n_outputs is not None
        self._path_trackers: dict[str, list[keras.metrics.Mean]] = {}

    # ----- for one episode: what a method defines ------------------------------------------

    def adapt(
        self,
        support_x: tf.Tensor,
        support_y: tf.Tensor,
        support_mask: tf.Tensor | None = None,
        *,
        training: bool = False,
    ) -> Any:
        """The state that the support set leads to.

        Args:
            support_x: `[support, ...]`.
            support_y: `[support]` class numbers or `[support, d]` targets.
            support_mask: `[support]` bool, False for padding.
            training: whether this is part of meta-training.

        Returns:
            A nest of tensors.
        """
        raise NotImplementedError

    def predict_query(self, state: Any, query_x: tf.Tensor) -> tf.Tensor:
        """Outputs of the queries under an adapted state; pure in `state`.

        Args:
            state: what `adapt` returned.
            query_x: `[query, ...]`.

        Returns:
            Logits `[query, n_way]`, or values `[query, d]`.
        """
        raise NotImplementedError

    def query_pass(
        self, state: Any, query_x: tf.Tensor, *, training: bool
    ) -> tuple[tf.Tensor, Moments]:
        """Outputs of the queries, and the moving statistics after the pass."""
        return self.predict_query(state, query_x), ()

    @property
    def n_outputs(self) -> int | None:
        """How many outputs a query has; None where that depends on the episode."""
        return None

    def adapt_path(self, *support: Any) -> list[Any]:
        """States before, between and after the steps of `adapt`; the last is what it returns."""
        return [self.adapt(*support)]

    def outer_gradients(self, episode: Episode) -> OuterStep:
        """The gradient of the query loss of one episode, in the learner's trainable variables."""
        with tf.GradientTape() as tape:
            state = self.adapt(*episode.support, training=True)
            outputs, moments = self.query_pass(state, episode.inputs["query_x"], training=True)
            loss = self._episode_loss(episode, outputs, training=True)
        gradients = dense_gradients(tape, loss, self._trainable_tensors())
        return OuterStep(outputs, loss, tuple(gradients), moments)

    # ----- over the task axis: what Keras calls ---------------------------------------------

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Outputs of the queries of every task.

        Args:
            inputs: a batch of episodes, see the class.
            training: ignored; Keras passes it.

        Returns:
            `[tasks, query, n_way]` or `[tasks, query, d]`.
        """
        inputs = self._standardize(inputs)

        def predict(task: Mapping[str, tf.Tensor]) -> tf.Tensor:
            episode = Episode(dict(task), task["query_x"], None)
            state = self.adapt(*episode.support)
            outputs, _ = self.query_pass(state, task["query_x"], training=False)
            return self._pad_ways(outputs, n_way)

        n_way = self._batch_n_way(inputs)
        return self._map(predict, inputs, self._output_spec(inputs))

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        inputs, query_y, weight = self._unpack(data)

        variables = self.trainable_variables
        step = self.outer_steps(self._elements(inputs, query_y, weight))
        gradients = require_finite(step, list(step.gradients), episode_numbers(inputs))
        # The step counter and the moving statistics wait for the check as the weights do.
        with tf.control_dependencies(gradients):
            self.optimizer.apply(gradients, variables)
            self._assign_moving_statistics(step.moments)
        return self._update_metrics(inputs, query_y, weight, step.outputs, step.loss)

    def outer_steps(self, elements: Mapping[str, tf.Tensor]) -> BatchStep:
        """The outer steps of all tasks of a batch, their gradients and moments averaged.

        Args:
            elements: `support_x`, `support_y`, `query_x` and `query_y`, each with a leading task
                axis, and what else a batch may have.

        Returns:
            A `BatchStep`.
        """
        n_way = self._batch_n_way(elements)
        return step_of_batch(
            lambda tasks: self._step_of_one(tasks, n_way),
            self._with_draws(elements),
            spec=self._step_spec(elements),
            n_at_once=1,
            side_by_side=self._tasks_side_by_side(),
        )

    def _step_of_one(self, tasks: Mapping[str, tf.Tensor], n_way: Any) -> BatchStep:
        """The outer step of a batch of one task, logits as wide as `n_way`."""
        task = {key: x[0] for key, x in tasks.items()}
        with episode_draws(task.pop("draws")):
            episode, restore = real_queries(task)
            step = self.outer_gradients(episode)
        outputs = restore(self._pad_ways(step.outputs, n_way))
        return sum_of_one(step._replace(outputs=outputs))

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        inputs, query_y, weight = self._unpack(data)

        def test(task: Mapping[str, Any]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            episode, restore = real_queries(task)
            states = self.adapt_path(*episode.support)
            query_x = episode.inputs["query_x"]
            path = [self.query_pass(state, query_x, training=False)[0] for state in states]
            loss = self._episode_loss(episode, path[-1], training=False)
            scores = tf.stack([score(episode.query_y, outputs) for outputs in path])
            return restore(self._pad_ways(path[-1], n_way)), loss, scores

        n_way = self._batch_n_way(inputs)
        dtype = self.variable_dtype
        spec = (self._output_spec(inputs), tf.TensorSpec([], dtype), tf.TensorSpec([None], dtype))
        outputs, loss, scores = self._map(test, self._elements(inputs, query_y, weight), spec)
        trackers = self._path_trackers.get("acc" if query_y.dtype.is_integer else "mse", [])
        for k, tracker in enumerate(trackers):
            tracker.update_state(scores[:, k])
        logs = self._update_metrics(inputs, query_y, weight, outputs, loss)
        return {**logs, **{tracker.name: tracker.result() for tracker in trackers}}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "statistics": self.statistics}

    # ----- parts ----------------------------------------------------------------------------

    @property
    def example_shape(self) -> tuple[int | None, ...]:
        """Shape of one example, as the network takes it."""
        return tuple(getattr(self, self.network_argument).input_shape[1:])

    def network_input(self, x: tf.Tensor) -> tf.Tensor:
        """Examples in the dtype that the network takes, see `tfmeta.layers.network_input`."""
        return network_input(getattr(self, self.network_argument), x)

    def support_examples(
        self, support_x: tf.Tensor, support_y: tf.Tensor, support_mask: tf.Tensor | None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The support set without padding, as the network and the inner loss take it.

        Args:
            support_x: `[support, ...]`.
            support_y: `[support]` class numbers or `[support, d]` targets.
            support_mask: `[support]` bool, or None.

        Returns:
            `support_x` `[real, ...]` and `support_y` (int32, or float of the learner's dtype).

        Raises:
            ValueError: for examples, labels or a mask that do not fit.
        """
        support_x, support_y = tf.convert_to_tensor(support_x), tf.convert_to_tensor(support_y)
        self.check_examples("support_x", support_x)
        if support_y.shape.rank not in (1, 2) or not _same(support_x.shape[0], support_y.shape[0]):
            raise ValueError(
                "`support_y` must be class numbers [support] or targets [support, d], one for each "
                f"example. Received: {support_y.shape} for {support_x.shape[0]} examples."
            )
        if support_y.shape.rank == 1 and not support_y.dtype.is_integer:
            raise ValueError(
                "`support_y` of shape [support] holds class numbers and must be integer. "
                f"Received: {support_y.dtype.name}. Targets of a regression are [support, d]."
            )
        dtype = "int32" if support_y.shape.rank == 1 else self.variable_dtype
        support_y = tf.cast(support_y, dtype)
        if support_mask is not None:
            support_x = tf.boolean_mask(support_x, support_mask)
            support_y = tf.boolean_mask(support_y, support_mask)
        return self.network_input(support_x), support_y

    def check_examples(self, name: str, x: tf.Tensor) -> None:
        """Refuses examples `[n, ...]` of another shape than the network takes."""
        x = tf.convert_to_tensor(x)
        checks.check_examples(name, x, self.example_shape, leading="[examples]", n_leading=1)

    def _unpack(self, data: Any) -> tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor | None]:
        inputs, query_y, weight = keras.utils.unpack_x_y_sample_weight(data)
        inputs = checks.assert_task_count(self._standardize(inputs))
        if query_y is None:
            raise ValueError("Training and evaluation need `query_y`. Received: query_y=None.")
        query_y = tf.convert_to_tensor(query_y)
        weight = None if weight is None else tf.convert_to_tensor(weight)
        checks.check_targets(query_y, self.loss, is_classification=has_classes(inputs))
        checks.check_queries(inputs, query_y, weight)
        if has_classes(inputs):
            n_way = self._batch_n_way(inputs)
            query_y = checks.assert_labels("query_y", tf.cast(query_y, "int32"), n_way)
        return inputs, query_y, weight

    def _standardize(self, inputs: Any) -> dict[str, tf.Tensor]:
        inputs = checks.check_inputs(inputs, self.example_shape)
        if has_classes(inputs):
            # Keras' symbolic build under a strategy hands integer labels over as floats.
            inputs["support_y"] = tf.cast(inputs["support_y"], "int32")
        if "support_mask" in inputs:
            inputs["support_mask"] = tf.cast(inputs["support_mask"], "bool")
        elif has_classes(inputs) and self.n_outputs is not None:
            inputs["support_y"] = checks.assert_width(inputs["support_y"], self.n_outputs)
        return inputs

    def _output_spec(self, inputs: Mapping[str, tf.Tensor]) -> tf.TensorSpec:
        shape = [inputs["query_x"].shape[1], self.n_outputs]
        return tf.TensorSpec(shape, self.variable_dtype)

    def _batch_n_way(self, inputs: Mapping[str, tf.Tensor]) -> int | tf.Tensor | None:
        """The largest number of classes of any task; None in a regression."""
        if not has_classes(inputs):
            return None
        return largest_n_way(inputs) if self.n_outputs is None else self.n_outputs

    def _pad_ways(self, outputs: tf.Tensor, n_way: int | tf.Tensor | None) -> tf.Tensor:
        return outputs if n_way is None or self.n_outputs else pad_ways(outputs, n_way)

    def _elements(self, inputs: Any, query_y: Any, weight: Any) -> dict[str, tf.Tensor]:
        elements = {**inputs, "query_y": query_y}
        return elements if weight is None else {**elements, "sample_weight": weight}

    def _map(self, function: Callable, elements: Mapping[str, tf.Tensor], spec: Any) -> Any:
        """`function` of every task, tasks side by side where the device can."""
        seeds = self._draws(elements, 0)

        def with_draws(element: tuple[Mapping[str, tf.Tensor], tf.Tensor]) -> Any:
            task, seed = element
            with episode_draws(seed):
                return function({k: v for k, v in task.items() if k != "episode"})

        with restored_variable_scope():
            return tf.map_fn(with_draws, (dict(elements), seeds), fn_output_signature=spec)

    def _tasks_side_by_side(self) -> int:
        """How many tasks of a batch the mapped train step has under way at most."""
        return TASKS_SIDE_BY_SIDE

    def _step_spec(self, elements: Mapping[str, tf.Tensor]) -> OuterStep:
        return OuterStep(
            self._output_spec(elements),
            tf.TensorSpec([], self.variable_dtype),
            tuple(tf.TensorSpec(v.shape, v.dtype) for v in self.trainable_variables),
            tuple(tf.TensorSpec(v.shape, v.dtype) for v in self._moving_statistics()),
        )

    def _with_draws(self, elements: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The elements of a train step: a seed of random layers instead of the number."""
        draws = self._draws(elements, self._step_number())
        return {**{k: v for k, v in elements.items() if k != "episode"}, "draws": draws}

    def _step_number(self) -> tf.Tensor:
        """Number of the outer step; 0 before `compile`, as in `gradcheck`."""
        return tf.convert_to_tensor(self.optimizer.iterations if self.compiled else 0)

    def _draws(self, elements: Mapping[str, tf.Tensor], step: Any) -> tf.Tensor:
        """A seed of random layers for every task `[tasks]`."""
        return episode_numbers(elements) + _STEP_STRIDE * tf.cast(step, "int64")

    def _episode_loss(self, episode: Episode, outputs: tf.Tensor, *, training: bool) -> tf.Tensor:
        loss = self.compute_loss(
            episode.inputs, episode.query_y, outputs, episode.sample_weight, training=training
        )
        return tf.cast(loss, self.variable_dtype)

    def _update_metrics(
        self, inputs: Any, query_y: tf.Tensor, weight: Any, outputs: tf.Tensor, losses: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        # The loss of one replica is already divided by the number of replicas.
        n_replicas = tf.distribute.get_strategy().num_replicas_in_sync
        n_tasks = tf.shape(losses)[0]
        self._loss_tracker.update_state(tf.reduce_mean(losses) * n_replicas, sample_weight=n_tasks)
        if weight is not None:
            real = tf.where(weight > 0)
            query_y, outputs, weight = (tf.gather_nd(t, real) for t in (query_y, outputs, weight))
        logs = self.compute_metrics(inputs, query_y, outputs, weight)
        of_paths = {t.name for trackers in self._path_trackers.values() for t in trackers}
        return {name: value for name, value in logs.items() if name not in of_paths}

    def _moving_statistics(self) -> list[keras.Variable]:
        """What the train step gathers; none where moving averages are not used."""
        if self.statistics != "running":
            return []
        return moving_statistics(getattr(self, self.network_argument))

    def _assign_moving_statistics(self, moments: Moments) -> None:
        """Assigns the mean over replicas of the means over tasks, once per step."""
        replica = tf.distribute.get_replica_context()
        for variable, value in zip(self._moving_statistics(), moments, strict=True):
            variable.assign(replica.all_reduce("MEAN", value))

    def _trainable_tensors(self) -> list[tf.Variable]:
        return [v.value for v in self.trainable_variables]


def _same(a: int | None, b: int | None) -> bool:
    return a is None or b is None or a == b
