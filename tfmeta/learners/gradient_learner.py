"""The base of learners that adapt a network by gradient steps on the support set."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfmeta.functional import episode_loss
from tfmeta.inner_loop import (
    UpdateRule,
    episode_draws,
    get_update_rule,
    inner_loop,
    select_variables,
)
from tfmeta.inner_loop.selection import Selection
from tfmeta.layers import layers_without_rule, moving_statistics
from tfmeta.learners import checks
from tfmeta.learners.base import EpisodicLearner
from tfmeta.learners.batch_step import BatchStep, step_of_batch, sum_of_many
from tfmeta.learners.engines import ENGINES, AllTasks, current_engine, default_engine, use_engine
from tfmeta.learners.episode import Episode
from tfmeta.learners.passes import Moments, query_source
from tfmeta.learners.plan import MemoryPlan, plan_memory
from tfmeta.learners.second_order import check_second_derivatives, refuse_max_pooling
from tfmeta.sizes import check_sizes

_LOGGER = logging.getLogger("tfmeta")


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
        engine: how training computes the tasks of a batch. `"mapped"`: each by itself, side by
            side on the cores. `"vectorized"`: all at once, with the task axis carried through the
            layers, for accelerators; where a layer or an option does not allow it, mapped, with a
            line of the log that says why. `"auto"`: vectorized on an accelerator, else mapped;
            `active_engine` tells.
        tasks_at_once: tasks of a batch that training computes at the same time, the others after
            them, for less memory and the same step (though dropout that is vectorized draws by
            the parts); None for all (vectorized) or ten (mapped). `plan` tells what fits.
        **kwargs: `name` and other arguments of `keras.Model`.

    Raises:
        ValueError: for an unbuilt network, outputs that are not vectors, steps below one, or an
            unknown option.
    """

    nested_arguments = ("network", "update_rule")
    # Of the derivatives that training takes: 1, 2, or a word for both in turn.
    order: int | str = 2

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
        engine: str = "auto",
        tasks_at_once: int | None = None,
        **kwargs: Any,
    ) -> None:
        checks.check_choice("engine", engine, ENGINES)
        if tasks_at_once is not None:
            check_sizes(tasks_at_once=tasks_at_once)
        check_sizes(inner_steps=inner_steps)
        if evaluation_steps is not None:
            check_sizes(evaluation_steps=evaluation_steps)
        super().__init__(network, statistics=statistics, **kwargs)
        checks.check_vectors("network", network)
        self.inner_steps = inner_steps
        self.adapted = adapt
        self.evaluation_steps = evaluation_steps
        self.checkpoint_inner = checkpoint_inner
        self.engine = engine
        self.tasks_at_once = tasks_at_once
        self.update_rule = get_update_rule(update_rule)
        n_weights = len(self.update_rule.weights)
        self.update_rule.create_weights(self._adapted_variables(), inner_steps)
        checks.check_new_rule(self.update_rule, n_weights_before=n_weights)
        self._path_trackers = {
            metric: [
                keras.metrics.Mean(name=f"{metric}@{k}") for k in range(self._steps(False) + 1)
            ]
            for metric in ("acc", "mse")
        }

    def compile(self, optimizer="rmsprop", loss=None, *, jit_compile="auto", **kwargs) -> None:
        if jit_compile is True and self.order != 1 and self.active_engine == "mapped":
            refuse_max_pooling(self.network)
        super().compile(optimizer, loss, jit_compile=jit_compile, **kwargs)

    def adapt(self, support_x, support_y, support_mask=None, *, training=False) -> AdaptedNetwork:
        x, y = self._support(support_x, support_y, support_mask)
        path = self._weights_path(x, y, training=training)
        return self._adapted(path[-1], x, step=len(path) - 1)

    def adapt_path(self, support_x, support_y, support_mask=None) -> list[AdaptedNetwork]:
        x, y = self._support(support_x, support_y, support_mask)
        path = self._weights_path(x, y)
        return [self._adapted(weights, x, step=step) for step, weights in enumerate(path)]

    def query_pass(self, state, query_x, *, training):
        outputs, moments = self._network_pass(
            state.weights,
            self.network_input(query_x),
            source=self._query_source(training=training),
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

    @property
    def active_engine(self) -> str:
        """The engine that `engine` comes to on this machine."""
        return default_engine() if self.engine == "auto" else self.engine

    def plan(self, inputs: Mapping[str, Any], *, memory: int | None = None) -> MemoryPlan:
        """The bytes that a train step on such a batch needs, and what a budget has room for.

        The step of one task is traced and its tensors' lives are followed through the graph; no
        task is computed. Padding is counted as if it were examples.

        Args:
            inputs: a batch of episodes, see the class.
            memory: the budget in bytes, or None.

        Returns:
            A `MemoryPlan`.

        Raises:
            ValueError: where the batch does not fit the budget; the message says what would.
        """
        inputs = self._standardize(inputs)
        n_tasks = int(tf.shape(inputs["support_x"])[0])
        elements = self._specs_of_one_task(inputs)
        is_mapped = self.active_engine == "mapped" or bool(self._obstacles(inputs))
        n_way = self._batch_n_way(inputs)
        limit = self._tasks_side_by_side() if is_mapped else self.tasks_at_once
        return plan_memory(
            (lambda e: self._step_of_one(e, n_way)) if is_mapped else self._step_of_many,
            elements,
            fixed_bytes=self._fixed_bytes(),
            n_tasks=n_tasks,
            limit=limit,
            is_mapped=is_mapped,
            memory=memory,
        )

    def _specs_of_one_task(self, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.TensorSpec]:
        """What `_with_draws` gives for a batch of one task of these."""
        elements = {key: inputs[key] for key in checks.REQUIRED}
        n_query = inputs["query_x"].shape[1]
        specs = {k: tf.TensorSpec([1, *x.shape[1:]], x.dtype, k) for k, x in elements.items()}
        y = specs["support_y"]
        specs["query_y"] = tf.TensorSpec([1, n_query, *y.shape[2:]], y.dtype, "query_y")
        return {**specs, "draws": tf.TensorSpec([1], "int64", "draws")}

    def _fixed_bytes(self) -> int:
        """Bytes of the weights, of the optimizer's, and of the sum and the mean of gradients."""
        of_optimizer = self.optimizer.variables if self.compiled else []
        variables = [*self.variables, *of_optimizer, *2 * self.trainable_variables]
        return sum(math.prod(v.shape) * tf.as_dtype(v.dtype).size for v in variables)

    # ----- all tasks at once ----------------------------------------------------------------

    def outer_steps(self, elements: Mapping[str, tf.Tensor]) -> BatchStep:
        if self.order != 1:
            check_second_derivatives(self.network, self._adapted_variables())
        if self.active_engine == "mapped":
            return super().outer_steps(elements)
        obstacles = self._obstacles(elements)
        if obstacles:
            _LOGGER.warning("%s: mapped, not vectorized, because of %s.", self.name, obstacles)
            return super().outer_steps(elements)
        self._check_chunks(elements["support_x"].shape[0])
        return step_of_batch(
            self._step_of_many,
            self._with_draws(elements),
            spec=self._step_spec(elements),
            n_at_once=self.tasks_at_once,
        )

    def _step_of_many(self, elements: Mapping[str, tf.Tensor]) -> BatchStep:
        """The outer steps of tasks that are computed at once, added up."""
        support_x = elements["support_x"]
        n_tasks = support_x.shape[0] or tf.shape(support_x)[0]
        inputs = {key: elements[key] for key in checks.REQUIRED}
        all_tasks = AllTasks(self.trainable_variables, n_tasks)
        with use_engine(all_tasks), episode_draws(elements["draws"][0]):
            return sum_of_many(self.outer_gradients(Episode(inputs, elements["query_y"], None)))

    def _tasks_side_by_side(self) -> int:
        return self.tasks_at_once or super()._tasks_side_by_side()

    def _check_chunks(self, n_tasks: int | None) -> None:
        is_even = n_tasks is not None and n_tasks % (self.tasks_at_once or n_tasks) == 0
        if self.tasks_at_once and self.jit_compile and not is_even:
            raise ValueError(
                "Under XLA the number of tasks of a batch must be known and a multiple of "
                f"`tasks_at_once` ({self.tasks_at_once}): `dataset.batch(n_tasks, "
                f"drop_remainder=True)`. Received: n_tasks={n_tasks}."
            )

    def _obstacles(self, elements: Mapping[str, tf.Tensor]) -> list[str]:
        """What keeps the tasks from being computed at once."""
        padding = [key for key in ("support_mask", "sample_weight") if key in elements]
        return [*padding, *layers_without_rule(self.network, self.network.trainable_variables)]

    def _trainable_tensors(self) -> list[Any]:
        return current_engine().sources(self.trainable_variables)

    def _episode_loss(self, episode: Episode, outputs: tf.Tensor, *, training: bool) -> tf.Tensor:
        loss_of_one_task = super()._episode_loss
        elements = {"inputs": episode.inputs, "query_y": episode.query_y, "outputs": outputs}
        if episode.sample_weight is not None:
            elements["weight"] = episode.sample_weight

        def loss(task: Mapping[str, Any]) -> tf.Tensor:
            episode = Episode(task["inputs"], task["query_y"], task.get("weight"))
            return loss_of_one_task(episode, task["outputs"], training=training)

        return current_engine().of_each(loss, elements)

    # ----- parts ----------------------------------------------------------------------------

    def _query_source(self, *, training: bool) -> str:
        """Where the query pass takes its normalisation statistics from."""
        return query_source(self.statistics, training=training)

    def _steps(self, training: bool) -> int:
        return self.inner_steps if training else self.evaluation_steps or self.inner_steps

    def _support(self, x: Any, y: Any, mask: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """The support set without padding, its labels or targets fitting the network."""
        x, y = current_engine().support(self, x, y, mask)
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
        return current_engine().of_each(lambda task: episode_loss(*task), (y, outputs))

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
        return current_engine().values(self._adapted_variables())

    def _weights_path(
        self, x: tf.Tensor, y: tf.Tensor, *, training: bool = False, order: int = 2
    ) -> list[list[tf.Tensor]]:
        start = self._initial_weights(x, y)
        return inner_loop(
            lambda weights, step: self._inner_loss(weights, start, x, y, step=step),
            start,
            rule=current_engine().rule(self.update_rule),
            inner_steps=self._steps(training),
            order=order,
            checkpoint=self.checkpoint_inner and training,
        )

    def _network_pass(
        self, weights: Sequence[tf.Tensor], x: tf.Tensor, **options: Any
    ) -> tuple[tf.Tensor, Moments]:
        """Outputs under adapted weights, and the moving statistics; options of `network_pass`."""
        values = zip(self._adapted_variables(), weights, strict=True)
        outputs, moments = current_engine().network_pass(self.network, x, values, **options)
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
        names = ("inner_steps", "evaluation_steps", "checkpoint_inner", "engine", "tasks_at_once")
        config = {name: getattr(self, name) for name in names}
        return {**super().get_config(), **config, "adapt": self.adapted}
