"""The policy that weighs source examples, and the step that it looks ahead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfmeta.inner_loop import GradientDescent

POLICY_INPUTS = ("loss", "label", "features")


class GradientDescentOfReplicas(GradientDescent):
    """Gradient descent by the sum of the replicas' gradients, differentiable as such.

    Example:
        >>> rule = GradientDescentOfReplicas(0.5)
        >>> weights, _ = rule.update(0, [tf.constant(1.0)], [tf.constant(0.2)], ())
        >>> round(float(weights[0]), 3)
        0.9
    """

    def update(self, step, weights, gradients, state):
        context = tf.distribute.get_replica_context()
        if context.num_replicas_in_sync > 1:
            gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, list(gradients))
        return super().update(step, weights, gradients, state)


def policy_network(
    inputs: Sequence[str], *, n_classes: int, n_features: int, hidden: int, dtype: str
) -> keras.Model:
    """A network from what is seen of a source example to its weight in 0 ... 1.

    One hidden layer, as in Shu et al. 2019, "Meta-Weight-Net", section 3.

    Args:
        inputs: what it sees, see `policy_view`.
        n_classes: width of a one-hot label.
        n_features: width of the features.
        hidden: width of the hidden layer.
        dtype: of its weights.

    Returns:
        A model from `[n, width]` to `[n, 1]`.

    Example:
        >>> policy_network(["loss", "label"], n_classes=3, n_features=8, hidden=4,
        ...     dtype="float32").input_shape
        (None, 4)
    """
    widths = {"loss": 1, "label": n_classes, "features": n_features}
    layers = [
        keras.Input((sum(widths[name] for name in inputs),), dtype=dtype),
        keras.layers.Dense(hidden, activation="relu", dtype=dtype),
        keras.layers.Dense(1, activation="sigmoid", dtype=dtype),
    ]
    return keras.Sequential(layers, name="policy")


def policy_view(
    inputs: Sequence[str], features: tf.Tensor, outputs: tf.Tensor, y: tf.Tensor
) -> tf.Tensor:
    """What the policy sees of examples, as constants.

    Args:
        inputs: one or more of `"loss"` (the cross-entropy), `"label"` (one-hot) and `"features"`.
        features: `[n, features]`.
        outputs: logits `[n, classes]`.
        y: class numbers `[n]`.

    Returns:
        `[n, width]` in the dtype of the logits.

    Example:
        >>> policy_view(["loss", "label"], tf.zeros([1, 8]), tf.zeros([1, 2]), [1]).numpy().round(2)
        array([[0.69, 0.  , 1.  ]], dtype=float32)
    """
    y = tf.cast(y, "int32")
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=outputs)
    views = {
        "loss": losses[:, tf.newaxis],
        "label": tf.one_hot(y, outputs.shape[-1], dtype=outputs.dtype),
        "features": tf.cast(features, outputs.dtype),
    }
    return tf.stop_gradient(tf.concat([views[name] for name in inputs], axis=1))


def with_mean_one(weights: tf.Tensor) -> tf.Tensor:
    """Weights divided by their mean over the batch, that of all replicas.

    Args:
        weights: `[n]`, not negative.

    Returns:
        `[n]`.

    Example:
        >>> with_mean_one(tf.constant([0.1, 0.3])).numpy().round(3)
        array([0.5, 1.5], dtype=float32)
    """
    mean, context = tf.reduce_mean(weights), tf.distribute.get_replica_context()
    if context.num_replicas_in_sync > 1:
        mean = context.all_reduce(tf.distribute.ReduceOp.MEAN, mean)
    return weights / (mean + tf.constant(1e-7, mean.dtype))


def check_policy(policy: Any, inputs: Sequence[str], hidden: int, adapt: str) -> None:
    """Refuses options of `JointTransfer` that mean nothing."""
    is_number = isinstance(policy, (int, float)) and not isinstance(policy, bool)
    if not (policy in ("uniform", "learned") or (is_number and 0.0 <= policy < float("inf"))):
        raise ValueError(
            "`policy` must be 'uniform', 'learned' or a number that is not negative. "
            f"Received: policy={policy!r}."
        )
    is_listed = not isinstance(inputs, str) and len(inputs) > 0
    if not (is_listed and set(inputs) <= set(POLICY_INPUTS)):
        raise ValueError(
            f"`policy_inputs` must list one or more of {list(POLICY_INPUTS)}. "
            f"Received: policy_inputs={inputs!r}."
        )
    if hidden < 1:
        raise ValueError(f"`policy_hidden` must be at least 1. Received: policy_hidden={hidden}.")
    if adapt not in ("all", "head"):
        raise ValueError(f"`adapt` must be 'all' or 'head'. Received: adapt={adapt!r}.")
