"""The two engines of gradient learners: one task at a time, or all tasks of a batch at once.

The methods of a gradient learner are written once. What differs where every tensor has a task axis
is here, and `current_engine()` gives the one that is being traced.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfmeta.inner_loop import UpdateRule, folded_seeds
from tfmeta.inner_loop.update_rules import checked_update
from tfmeta.layers import call_with_task_axis
from tfmeta.layers.task_axis import of_each_task
from tfmeta.learners.base import EpisodicLearner
from tfmeta.learners.passes import Moments, Values, network_pass

ENGINES = ("auto", "mapped", "vectorized")


def default_engine() -> str:
    """The engine that suits this machine: `"vectorized"` on an accelerator, else `"mapped"`."""
    accelerators = [d for d in tf.config.list_physical_devices() if d.device_type != "CPU"]
    return "vectorized" if accelerators else "mapped"


class OneTask:
    """Tensors have no task axis: the mapped engine, and all calls outside of training."""

    # The axis of the examples.
    axis = 0

    def support(self, learner: EpisodicLearner, *support: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """`support_x` and `support_y` as the network and the inner loss take them."""
        return learner.support_examples(*support)

    def sources(self, variables: Sequence[keras.Variable]) -> list[Any]:
        """What the outer gradient is taken in."""
        return [v.value for v in variables]

    def values(self, variables: Sequence[keras.Variable]) -> list[tf.Tensor]:
        """The variables as tensors."""
        return [tf.convert_to_tensor(v.value) for v in variables]

    def rule(self, rule: UpdateRule) -> Any:
        """The update rule."""
        return rule

    def of_each(self, function: Callable[[Any], tf.Tensor], elements: Any) -> tf.Tensor:
        """`function` of one task, for each."""
        return function(elements)

    def network_pass(
        self, network: keras.Model, x: tf.Tensor, values: Values, **options: Any
    ) -> tuple[tf.Tensor, Moments]:
        """As `tfmeta.learners.passes.network_pass`."""
        return network_pass(network, x, values=values, **options)


class AllTasks(OneTask):
    """Every tensor has a leading task axis: the vectorized engine.

    Each task has a copy of every trainable variable, so that each has a gradient of its own.

    Args:
        variables: what the outer loop trains.
        n_tasks: the number of tasks.
    """

    axis = 1

    def __init__(self, variables: Sequence[keras.Variable], n_tasks: Any) -> None:
        self.n_tasks = n_tasks
        self._copies = {id(v): of_each_task(v, n_tasks) for v in variables}

    def support(self, learner, support_x, support_y, support_mask=None):
        is_classes = support_y.dtype.is_integer
        dtype = "int32" if is_classes else learner.variable_dtype
        return learner.network_input(support_x), tf.cast(support_y, dtype)

    def sources(self, variables):
        return self.values(variables)

    def values(self, variables):
        copies = self._copies
        return [
            copies[id(v)] if id(v) in copies else of_each_task(v, self.n_tasks) for v in variables
        ]

    def rule(self, rule):
        return _RuleOfEach(rule, self)

    def of_each(self, function, elements):
        return tf.vectorized_map(function, elements)

    def network_pass(self, network, x, values, **options):
        values = list(values)
        given = {id(v) for v, _ in values}
        others = [v for v in network.trainable_variables if id(v) not in given]
        values += zip(others, self.values(others), strict=True)
        return call_with_task_axis(network, x, values, shared=folded_seeds(network), **options)


class _RuleOfEach:
    """A rule applied to each task by itself, with the task's own copies of what it learns."""

    def __init__(self, rule: UpdateRule, tasks: AllTasks) -> None:
        self._rule, self._tasks = rule, tasks
        self.reads_loss = rule.reads_loss

    def initial_state(self, weights: Sequence[tf.Tensor]) -> Any:
        return tf.vectorized_map(self._rule.initial_state, list(weights))

    def update(
        self,
        step: int,
        weights: Sequence[tf.Tensor],
        gradients: Sequence[tf.Tensor],
        state: Any,
        **read: Any,
    ) -> Any:
        learned = self._rule.trainable_variables

        def of_one_task(task: Any) -> Any:
            copies, read, *rest = task
            with keras.StatelessScope(state_mapping=list(zip(learned, copies, strict=True))):
                return checked_update(self._rule, step, *rest, **read)

        copies = self._tasks.values(learned)
        elements = (copies, read, list(weights), list(gradients), state)
        return tf.vectorized_map(of_one_task, elements)


class _Scope(threading.local):
    """The engine that is being traced. A replica is a thread."""

    engine: OneTask = OneTask()


_SCOPE = _Scope()


@contextlib.contextmanager
def use_engine(engine: OneTask) -> Iterator[None]:
    """Scope in which the methods of a gradient learner work by an engine."""
    before, _SCOPE.engine = _SCOPE.engine, engine
    try:
        yield
    finally:
        _SCOPE.engine = before


def current_engine() -> OneTask:
    """The engine of the scope; `OneTask` outside of every scope."""
    return _SCOPE.engine
