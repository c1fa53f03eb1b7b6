"""Classes added to and removed from an adapted state, without training."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tfmeta.errors import require
from tfmeta.functional import merged_means


class ClassChanges:
    """What a learner can do with the classes of a state.

    It needs a head whose every tensor has one row for each class, which no other class has a part
    in: prototypes. The scores of the other classes then stay bit for bit what they were.
    """

    # Whether the head is of that kind; for the others the methods raise.
    changes_classes = False

    def add_class(self, state: Any, support_x: tf.Tensor) -> Any:
        """A state with one class more, whose label is the old number of classes.

        The examples are normalised as queries of the state are, so that under
        `statistics="running"` the state is the one that `adapt` finds for all classes at once.

        Args:
            state: what `adapt` returned.
            support_x: `[support, ...]`, examples of the new class.

        Returns:
            A state of `n_way + 1` classes.

        Raises:
            ValueError: for a learner without prototypes, or no example.

        Example:
            >>> backbone = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
            >>> learner = tfmeta.learners.PrototypicalNetwork(backbone)
            >>> state = learner.adapt(tf.constant([[0.0, 1.0], [1.0, 0.0]]), tf.constant([0, 1]))
            >>> state = learner.add_class(state, tf.constant([[5.0, 5.0]]))
            >>> learner.classify(state, tf.constant([[5.0, 5.0]])).label.numpy()
            array([2], dtype=int32)
        """
        self._check_changes_classes("add_class")
        row = self._row_of(state, support_x)
        head = tf.nest.map_structure(lambda x, new: tf.concat([x, new], 0), state.head, row)
        return state._replace(head=head)

    def remove_class(self, state: Any, label: int | tf.Tensor) -> Any:
        """A state without a class; the labels above it move down by one.

        Args:
            state: what `adapt` returned.
            label: the class, `0 ... n_way - 1`.

        Returns:
            A state of `n_way - 1` classes.

        Raises:
            ValueError: for a learner without prototypes, another label, or the only class.

        Example:
            >>> backbone = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
            >>> learner = tfmeta.learners.PrototypicalNetwork(backbone)
            >>> state = learner.adapt(tf.eye(2), tf.constant([0, 1]))
            >>> learner.predict_query(learner.remove_class(state, 0), tf.eye(2)).shape
            TensorShape([2, 1])
        """
        self._check_changes_classes("remove_class")
        n_way = _n_way(state)
        label = require(
            n_way > 1,
            "A state must keep a class. Add another one before this one is removed. "
            "Received: n_way =",
            [n_way],
            _checked_label(label, n_way),
        )
        return _with_row(state, label, None)

    def add_examples(self, state: Any, support_x: tf.Tensor, label: int | tf.Tensor) -> Any:
        """A state whose one class has more examples: their mean joins the old one by the counts.

        Args:
            state: what `adapt` returned.
            support_x: `[support, ...]`, more examples of the class.
            label: the class, `0 ... n_way - 1`.

        Returns:
            A state of as many classes.

        Raises:
            ValueError: for a learner without prototypes, another label, or no example.

        Example:
            >>> backbone = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
            >>> learner = tfmeta.learners.PrototypicalNetwork(backbone)
            >>> state = learner.adapt(tf.eye(2), tf.constant([0, 1]))
            >>> learner.add_examples(state, tf.ones([3, 2]), 1).head.counts.numpy()
            array([1., 4.], dtype=float32)
        """
        self._check_changes_classes("add_examples")
        label = _checked_label(label, _n_way(state))
        more = self._row_of(state, support_x)
        old = tf.nest.map_structure(lambda x: x[label : label + 1], state.head)
        means = merged_means(old.prototypes, old.counts, more.prototypes, more.counts)
        merged = old._replace(prototypes=means, counts=old.counts + more.counts)
        return _with_row(state, label, merged)

    def _row_of(self: Any, state: Any, support_x: tf.Tensor) -> Any:
        """The head of one class alone."""
        support_x = tf.convert_to_tensor(support_x)
        self.check_examples("support_x", support_x)
        n_support = tf.shape(support_x)[0]
        support_x = require(
            n_support > 0,
            "`support_x` must hold an example of the class. Received: examples =",
            [n_support],
            support_x,
        )
        features, _ = self._query_features(state, support_x, training=False)
        is_finite = tf.reduce_all(tf.math.is_finite(features), axis=1)
        features = require(
            tf.reduce_all(is_finite),
            "Features must be finite. Look at the examples of the class. Received: examples with "
            "other features, by number =",
            [tf.where(~is_finite)[:16, 0]],
            features,
        )
        return self.fit_head(features, tf.zeros([n_support], "int32"))

    def _check_changes_classes(self: Any, method: str) -> None:
        if not self.changes_classes:
            raise ValueError(
                f"`{method}` needs a state in which every class stands for itself: the prototypes "
                "of `PrototypicalNetwork` or `SimpleShot`, without refinement. Received: "
                f"`{type(self).__name__}` {self.name!r}, where the classes are tied together. Call "
                "`adapt` with the support of all classes."
            )


def _n_way(state: Any) -> tf.Tensor:
    return tf.shape(tf.nest.flatten(state.head)[0])[0]


def _checked_label(label: int | tf.Tensor, n_way: tf.Tensor) -> tf.Tensor:
    label = tf.convert_to_tensor(label)
    if not label.dtype.is_integer or label.shape.rank != 0:
        raise ValueError(
            f"`label` must be one class number. Received: {label.dtype.name} of shape "
            f"{label.shape}. Change one class at a time."
        )
    label = tf.cast(label, "int32")
    return require(
        (label >= 0) & (label < n_way),
        "`label` must be a class of the state, 0 ... n_way - 1. Received: label, n_way =",
        [label, n_way],
        label,
    )


def _with_row(state: Any, label: tf.Tensor, row: Any) -> Any:
    """The state with another row for a class, or with none."""
    above, below = (
        tf.nest.map_structure(lambda x, part=part: x[part], state.head)
        for part in (slice(None, label), slice(label + 1, None))
    )
    parts = [above, below] if row is None else [above, row, below]
    head = tf.nest.map_structure(lambda *x: tf.concat(x, axis=0), *parts)
    return state._replace(head=head)
