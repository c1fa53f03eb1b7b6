"""Update rules: how the inner loop turns a gradient into new weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


class UpdateRule(keras.layers.Layer):
    """A differentiable update of fast weights; the base class of every rule.

    A rule is a Keras layer, so that what it learns (rates, a recurrent network) is made by
    `add_weight` in `create_weights`, trained by the outer loop and saved with the learner. It keeps
    nothing between calls: what it must remember within an episode is its state, which goes in and
    comes out. A rule of your own has `update`, and what else it needs:

        @keras.saving.register_keras_serializable("mine")
        class SignDescent(tfmeta.inner_loop.UpdateRule):
            def update(self, step, weights, gradients, state):
                return [w - 0.01 * tf.tanh(g) for w, g in zip(weights, gradients)], state

        learner = tfmeta.learners.MAML(network, update_rule=SignDescent())
    """

    # Whether the rule has learned numbers in the shape of the weights, which then cannot vary.
    has_weights_of_shape = False
    # Whether `update` is also given `loss=`, the inner loss, and `context=`, a tuple of what the
    # learner's inner loss returns behind it.
    reads_loss = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.built = True

    def create_weights(self, variables: Sequence[keras.Variable], inner_steps: int) -> None:
        """Makes what the rule learns; the learner calls it once.

        Args:
            variables: the variables that the inner loop adapts.
            inner_steps: steps in training.
        """

    def initial_state(self, weights: Sequence[tf.Tensor]) -> Any:
        """The rule's state before the first step: a nest of tensors, `()` for a rule without."""
        return ()

    def update(
        self, step: int, weights: Sequence[tf.Tensor], gradients: Sequence[tf.Tensor], state: Any
    ) -> tuple[list[tf.Tensor], Any]:
        """New weights and the rule's new state.

        Args:
            step: number of the inner step, from 0.
            weights: the fast weights.
            gradients: the gradient of the inner loss, one tensor for each weight.
            state: what `initial_state` or the last `update` returned.

        Returns:
            The new weights, in the order and shapes of the old ones, and the new state.
        """
        raise NotImplementedError


@keras.saving.register_keras_serializable("tfmeta")
class GradientDescent(UpdateRule):
    """Plain gradient descent, `w <- w - rate * gradient` (MAML, Finn et al. 2017, equation 1).

    Args:
        learning_rate: the inner rate, positive.

    Raises:
        ValueError: for a rate that is not positive and finite.

    Example:
        >>> rule = GradientDescent(0.5)
        >>> weights, _ = rule.update(0, [tf.constant(1.0)], [tf.constant(0.2)], ())
        >>> round(float(weights[0]), 3)
        0.9
    """

    def __init__(self, learning_rate: float = 0.01, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.learning_rate = check_rate(learning_rate)

    def update(self, step, weights, gradients, state):
        moved = [w - self.learning_rate * g for w, g in zip(weights, gradients, strict=True)]
        return moved, state

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "learning_rate": self.learning_rate}


def checked_update(
    rule: Any,
    step: int,
    weights: Sequence[tf.Tensor],
    gradients: Sequence[tf.Tensor],
    state: Any,
    **read: Any,
) -> tuple[list[tf.Tensor], Any]:
    """What `rule.update` returns, after a look at its structure.

    Args:
        rule: an `UpdateRule`.
        step: number of the inner step, from 0.
        weights: the fast weights.
        gradients: one tensor for each weight.
        state: the rule's state.
        **read: `loss` and `context`, for a rule that reads them.

    Returns:
        The new weights and the rule's new state.

    Raises:
        ValueError: for anything but a pair of weights and state, or for weights of another number,
            shape or dtype; it names the rule.

    Example:
        >>> one = [tf.constant(1.0)]
        >>> weights, _ = checked_update(GradientDescent(0.5), 0, one, one, ())
        >>> float(weights[0])
        0.5
    """
    result = rule.update(step, weights, gradients, state, **read)
    name = type(rule).__name__
    if not isinstance(result, tuple) or len(result) != 2:
        raise ValueError(
            f"`{name}.update` must return a pair: the new weights and the rule's state. "
            f"Received: {type(result).__name__} at inner step {step + 1}. End it with "
            "`return new_weights, state`."
        )
    moved = [tf.convert_to_tensor(w) for w in result[0]]
    wanted, got = ([(w.dtype.name, tuple(w.shape)) for w in each] for each in (weights, moved))
    fits = len(wanted) == len(got) and all(
        a[0] == b[0] and tf.TensorShape(a[1]).is_compatible_with(b[1])
        for a, b in zip(wanted, got, strict=True)
    )
    if not fits:
        raise ValueError(
            f"`{name}.update` must return the weights in their order, shapes and dtypes: {wanted}. "
            f"Received: {got} at inner step {step + 1}. Return one new tensor for each weight."
        )
    return moved, result[1]


def check_rate(value: float, *, name: str = "learning_rate") -> float:
    """The number, which must be positive and finite.

    Args:
        value: the number.
        name: of the argument.

    Returns:
        A float.

    Raises:
        ValueError: for another number.

    Example:
        >>> check_rate(1)
        1.0
    """
    if not 0.0 < value < float("inf"):
        raise ValueError(
            f"`{name}` must be positive and finite. Received: {name}={value}. Inner rates of MAML "
            "on images are 0.01 to 0.4."
        )
    return float(value)


def get_update_rule(rule: float | UpdateRule) -> UpdateRule:
    """The rule itself, or gradient descent with the rate that was given.

    Args:
        rule: an inner rate, or an `UpdateRule`.

    Returns:
        An `UpdateRule`.

    Raises:
        ValueError: for anything else.

    Example:
        >>> get_update_rule(0.1).learning_rate
        0.1
    """
    if isinstance(rule, UpdateRule):
        return rule
    if isinstance(rule, (int, float)) and not isinstance(rule, bool):
        return GradientDescent(float(rule))
    raise ValueError(
        "`update_rule` must be an inner learning rate or a `tfmeta.inner_loop.UpdateRule`. "
        f"Received: update_rule={rule!r}"
    )
