"""The vectorized engine: the outer step of all tasks at once, the task axis in every tensor."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfmeta.inner_loop import UpdateRule

ENGINES = ("auto", "mapped", "vectorized")


class TaskCopies:
    """A copy of every trainable variable for every task, so that each task has a gradient.

    Args:
        variables: what the outer loop trains.
        n_tasks: the number of tasks.
    """

    def __init__(self, variables: Sequence[keras.Variable], n_tasks: Any) -> None:
        self.n_tasks = n_tasks
        self.variables = list(variables)
        self.tensors = [
            tf.broadcast_to(tf.convert_to_tensor(v.value), [n_tasks, *v.shape]) for v in variables
        ]
        self._places = {id(v): place for place, v in enumerate(self.variables)}

    def of(self, variable: keras.Variable) -> tf.Tensor:
        """The copies `[tasks, *shape]` of a variable, trained or not."""
        place = self._places.get(id(variable))
        if place is not None:
            return self.tensors[place]
        value = tf.convert_to_tensor(variable.value)
        return tf.broadcast_to(value, [self.n_tasks, *value.shape])


class _Scope(threading.local):
    """What is being traced: all tasks at once, or one (None). A replica is a thread."""

    copies: TaskCopies | None = None


_SCOPE = _Scope()


@contextlib.contextmanager
def all_tasks_at_once(copies: TaskCopies) -> Iterator[None]:
    """Scope in which the methods of a gradient learner work on all tasks at once."""
    before, _SCOPE.copies = _SCOPE.copies, copies
    try:
        yield
    finally:
        _SCOPE.copies = before


def task_copies() -> TaskCopies | None:
    """The copies of the scope; None where the methods work on one task."""
    return _SCOPE.copies


class OfEveryTask(UpdateRule):
    """A rule applied to each task by itself, with the task's own copies of what it learns.

    Args:
        rule: the rule for one task.
        copies: the copies of the trained variables.
    """

    def __init__(self, rule: UpdateRule, copies: TaskCopies, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rule = rule
        self.copies = copies

    def initial_state(self, weights):
        return tf.vectorized_map(lambda one: self.rule.initial_state(one), list(weights))

    def update(self, step, weights, gradients, state):
        learned = self.rule.trainable_variables

        def of_one_task(task):
            mapping = list(zip(learned, task["learned"], strict=True))
            with keras.StatelessScope(state_mapping=mapping):
                return self.rule.update(step, task["weights"], task["gradients"], task["state"])

        return tf.vectorized_map(
            of_one_task,
            {
                "weights": list(weights),
                "gradients": list(gradients),
                "state": state,
                "learned": [self.copies.of(v) for v in learned],
            },
        )
