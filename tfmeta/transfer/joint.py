"""Joint training on labelled source and labelled target, with fixed or learned source weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfmeta.inner_loop import dense_gradients, inner_loop, stateless_call
from tfmeta.inner_loop.update_rules import check_rate
from tfmeta.layers import network_input, normalize_by
from tfmeta.transfer.domain_batches import JointBatch
from tfmeta.transfer.source_policy import (
    GradientDescentOfReplicas,
    check_policy,
    policy_network,
    policy_view,
    with_mean_one,
)
from tfmeta.transfer.two_domains import TwoDomainClassifier


@keras.saving.register_keras_serializable("tfmeta")
class JointTransfer(TwoDomainClassifier):
    """A classifier that learns from labelled source and labelled target examples together.

    `loss = mean target loss + mean of v_i * (loss of source example i)`. A fixed policy has one v
    for all. The learned one is a small network that looks at each source example and gives `v_i`
    in 0 ... 1. It is trained by the target's validation loss after a step of the weights `w`:

        w'(p) = w - inner_rate * d loss(w, v(p)) / d w
        p <- p - rate * d validation(w'(p)) / d p

    (Ren et al. 2018, "Learning to Reweight Examples for Robust Deep Learning"; Shu et al. 2019,
    "Meta-Weight-Net"), so examples with wrong labels, or far from the target, lose their weight.
    The model's own step, by the compiled optimizer, then takes the new weights.

    The learner is called, evaluated and exported as an ordinary classifier; only `fit` takes both
    domains (see `joint_batches`). Batch normalisation sees both as one batch.

    Args:
        backbone: a built Keras model from examples to features `[batch, features]`.
        head: the number of classes, or a Keras layer from features to logits.
        policy: `"uniform"`: the weight 1; a number: that weight; or `"learned"`, for which batches
            have a validation part of the target. It must not be tested on. Where few target
            examples have labels, the same may be trained on.
        policy_inputs: what a learned policy sees of an example: `"loss"` (the cross-entropy),
            `"label"` (one-hot), `"features"`, one or more of them.
        policy_hidden: width of the policy's hidden layer.
        policy_optimizer: of the policy, a Keras optimizer or its name.
        normalize: whether learned weights are divided by their mean over the batch, as in Ren et
            al.: the policy says which source examples count more than others, not how much the
            source counts, and cannot end with no source at all.
        inner_rate: of the step that the policy looks ahead.
        adapt: which weights take this step: `"all"`, or `"head"`, which is cheaper.
        **kwargs: `name` and other arguments of `keras.Model`.

    Raises:
        ValueError: for an unbuilt backbone, outputs that are not vectors, or an unknown policy or
            option.

    Example:
        >>> backbone = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4)])
        >>> model = JointTransfer(backbone, 2, policy="learned")
        >>> model.compile("adam", metrics=["accuracy"])
        >>> x, y = np.eye(2), np.arange(2)
        >>> batches = tfmeta.transfer.joint_batches((x, y), (x, y), (x, y), batch_size=8)
        >>> history = model.fit(batches, steps_per_epoch=2, verbose=0)
        >>> model.source_weights(x, y).shape
        (2,)
    """

    made_by = "joint_batches"
    training_logs = ("policy_loss", "source_weight")

    def __init__(
        self,
        backbone: keras.Model,
        head: int | keras.layers.Layer,
        *,
        policy: str | float = "uniform",
        policy_inputs: Sequence[str] = ("loss",),
        policy_hidden: int = 100,
        policy_optimizer: str | keras.optimizers.Optimizer = "adam",
        normalize: bool = True,
        inner_rate: float = 0.1,
        adapt: str = "all",
        **kwargs: Any,
    ) -> None:
        check_policy(policy, policy_inputs, policy_hidden, adapt)
        inner_rate = check_rate(inner_rate, name="inner_rate")
        super().__init__(backbone, head, **kwargs)
        self.policy, self.policy_hidden = policy, policy_hidden
        self.policy_inputs = tuple(policy_inputs)
        self.normalize, self.inner_rate, self.adapt = normalize, inner_rate, adapt
        self.policy_optimizer = keras.optimizers.get(policy_optimizer)
        self.fed = ("target_x", "source_x", "source_y")
        self.policy_network = None
        if policy == "learned":
            self.fed += ("validation_x", "validation_y")
            self._lookahead = GradientDescentOfReplicas(inner_rate)
            self.policy_network = policy_network(
                self.policy_inputs,
                n_classes=self.head.compute_output_shape(backbone.output_shape)[-1],
                n_features=backbone.output_shape[-1],
                hidden=policy_hidden,
                dtype=self.variable_dtype,
            )
            self.policy_optimizer.build(self.policy_network.trainable_variables)
            self.policy_loss_tracker = keras.metrics.Mean(name="policy_loss")
            self.source_weight_tracker = keras.metrics.Mean(name="source_weight")

    # ----- one batch ------------------------------------------------------------------------

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        inputs, target_y, target_weights = self._unpack(data)
        batch = self.joint_batch(inputs, target_y, target_weights)
        variables = self._model_variables()
        with tf.GradientTape() as tape:
            features = self._features(batch.x, True)
            outputs = self.head(features, training=True)
            with tape.stop_recording():
                weights = self._trained_weights(inputs, batch, features, outputs)
            loss = self._joint_loss(batch, outputs, weights)
        gradients = tape.gradient(loss, [v.value for v in variables])
        loss = self._step(loss, gradients, variables)
        target_outputs = outputs[: batch.n_target]
        self._track_loss(loss, target_outputs)
        return self.compute_metrics(inputs, target_y, target_outputs, target_weights)

    def joint_batch(
        self,
        inputs: Mapping[str, tf.Tensor],
        target_y: tf.Tensor,
        target_weights: tf.Tensor | None = None,
    ) -> JointBatch:
        """A training batch as one set of examples.

        Args:
            inputs: with `"target_x"` `[target, ...]`, `"source_x"` `[source, ...]` and
                `"source_y"` `[source]`.
            target_y: class numbers `[target]`.
            target_weights: `[target]`; None for ones.

        Returns:
            A `JointBatch`.
        """
        domains = [network_input(self.backbone, inputs[f"{d}_x"]) for d in ("target", "source")]
        labels = [tf.cast(y, "int32") for y in (target_y, inputs["source_y"])]
        if target_weights is None:
            target_weights = tf.ones(tf.shape(labels[0]), self.variable_dtype)
        return JointBatch(tf.concat(domains, axis=0), tf.concat(labels, axis=0), target_weights)

    def _joint_loss(
        self, batch: JointBatch, outputs: tf.Tensor, source_weights: tf.Tensor
    ) -> tf.Tensor:
        """Mean of the target's losses and mean of the source's weighted losses, added."""
        parts = [tf.cast(w, self.variable_dtype) for w in (batch.target_weights, source_weights)]
        # The loss is the mean over both: what each has too few of is put back.
        n = tf.cast(tf.shape(batch.y)[0], self.variable_dtype)
        scaled = [w * n / tf.cast(tf.shape(w)[0], w.dtype) for w in parts]
        return self.compute_loss(batch.x, batch.y, outputs, tf.concat(scaled, axis=0))

    # ----- the policy -----------------------------------------------------------------------

    def _trained_weights(
        self,
        inputs: Mapping[str, tf.Tensor],
        batch: JointBatch,
        features: tf.Tensor,
        outputs: tf.Tensor,
    ) -> tf.Tensor:
        """What the source losses are multiplied by, once the policy has taken its step."""
        n = batch.n_target
        seen = policy_view(self.policy_inputs, features[n:], outputs[n:], batch.y[n:])
        if self.policy_network is None:
            return self.weigh(seen)
        variables = self.policy_network.trainable_variables
        with tf.GradientTape() as tape:
            loss = self.policy_loss(inputs, batch, seen)
        gradients = dense_gradients(tape, loss, [v.value for v in variables])
        # The batch's own losses too: neither network moves where one of them is not finite.
        finite = self._finite(loss, [*gradients, seen])
        with tf.control_dependencies([finite]):
            self.policy_optimizer.apply(gradients, variables)
        weights = self.weigh(seen)
        n_replicas = tf.distribute.get_strategy().num_replicas_in_sync
        self.policy_loss_tracker.update_state(finite * n_replicas)
        self.source_weight_tracker.update_state(weights)
        return self._factors(weights)

    def weigh(self, seen: tf.Tensor) -> tf.Tensor:
        """The weights of source examples under the present policy.

        Args:
            seen: `[n, width]`, see `policy_view`.

        Returns:
            `[n]`, in 0 ... 1 for a learned policy.
        """
        if self.policy_network is not None:
            return self.policy_network(seen)[:, 0]
        weight = 1.0 if self.policy == "uniform" else self.policy
        return tf.fill([tf.shape(seen)[0]], tf.cast(weight, self.variable_dtype))

    def policy_loss(
        self, inputs: Mapping[str, tf.Tensor], batch: JointBatch, seen: tf.Tensor
    ) -> tf.Tensor:
        """The target's validation loss after one step on the batch, differentiable in the policy.

        Args:
            inputs: with `"validation_x"` `[validation, ...]` and `"validation_y"` `[validation]`.
            batch: see `joint_batch`.
            seen: what the policy sees of the source examples `[source, width]`.

        Returns:
            A scalar.
        """
        weights = self._factors(self.weigh(seen))
        variables = self._lookahead_variables()

        def loss_function(values: Sequence[tf.Tensor], step: int) -> tf.Tensor:
            pairs = zip(variables, values, strict=True)
            outputs, _ = stateless_call(self, batch.x, values=pairs, training=True)
            return self._joint_loss(batch, outputs, weights)

        start = [tf.convert_to_tensor(v.value) for v in variables]
        moved = inner_loop(loss_function, start, rule=self._lookahead, inner_steps=1)[-1]
        # By its own batch, as in training: moving averages say nothing yet in the first steps.
        with normalize_by("batch"):
            pairs = zip(variables, moved, strict=True)
            outputs, _ = stateless_call(self, inputs["validation_x"], values=pairs)
        validation_y = tf.cast(inputs["validation_y"], "int32")
        return self.compute_loss(inputs["validation_x"], validation_y, outputs, None)

    def _factors(self, weights: tf.Tensor) -> tf.Tensor:
        """What the losses of a batch's source examples are multiplied by."""
        return with_mean_one(weights) if self.normalize else weights

    def source_weights(self, x: Any, y: Any, *, batch_size: int = 256) -> np.ndarray:
        """The weights that the policy gives to source examples.

        Args:
            x: examples `[n, ...]`.
            y: their class numbers `[n]`.
            batch_size: examples that are looked at together.

        Returns:
            `[n]`, in 0 ... 1 for a learned policy.

        Raises:
            ValueError: for no examples, or labels that differ from them in number.
        """
        x, y = np.asarray(x), np.asarray(y)
        if len(x) != len(y) or not len(x):
            raise ValueError(
                "`y` must have one label for each of one or more examples. Received: "
                f"{len(y)} labels for {len(x)} examples."
            )

        @tf.function(reduce_retracing=True)
        def weights(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
            features = self._features(x, False)
            outputs = self.head(features, training=False)
            return self.weigh(policy_view(self.policy_inputs, features, outputs, y))

        starts = range(0, len(x), batch_size)
        parts = [weights(x[i : i + batch_size], y[i : i + batch_size]) for i in starts]
        return np.concatenate([part.numpy() for part in parts])

    # ----- parts ----------------------------------------------------------------------------

    def _model_variables(self) -> list[keras.Variable]:
        return [*self.backbone.trainable_variables, *self.head.trainable_variables]

    def _lookahead_variables(self) -> list[keras.Variable]:
        return self._model_variables() if self.adapt == "all" else self.head.trainable_variables

    def compile_from_config(self, config: dict[str, Any]) -> None:
        # Before the optimizer's state is read, it must have the slots that it was saved with, and
        # none for the policy.
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self._model_variables())

    def get_config(self) -> dict[str, Any]:
        names = ("policy", "policy_inputs", "policy_hidden", "normalize", "inner_rate", "adapt")
        return {
            **super().get_config(),
            **{name: getattr(self, name) for name in names},
            "policy_optimizer": keras.optimizers.serialize(self.policy_optimizer),
        }
