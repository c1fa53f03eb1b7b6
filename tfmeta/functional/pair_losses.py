"""Distances and losses of pairs and triplets of examples."""

from __future__ import annotations

import tensorflow as tf


def absolute_differences(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Absolute difference of every row of `x` and every row of `y`, feature by feature.

    Args:
        x: `[n, features]`.
        y: `[m, features]`.

    Returns:
        `[n, m, features]`.

    Example:
        >>> absolute_differences(tf.constant([[1.0, 2.0]]), tf.constant([[3.0, 2.0]])).numpy()
        array([[[2., 0.]]], dtype=float32)
    """
    return tf.abs(x[:, tf.newaxis] - y)


def euclidean_distance(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Euclidean distance of every row of `x` to every row of `y`; its gradient is 0 at distance 0.

    Args:
        x: `[n, features]`.
        y: `[m, features]`.

    Returns:
        `[n, m]`.

    Example:
        >>> euclidean_distance(tf.constant([[0.0, 0.0]]), tf.constant([[3.0, 4.0]])).numpy()
        array([[5.]], dtype=float32)
    """
    squares = tf.reduce_sum(tf.math.squared_difference(x[:, tf.newaxis], y), axis=-1)
    # Both branches of `where` are differentiated, and the root's derivative at 0 is infinite.
    positive = squares > 0.0
    return tf.where(positive, tf.sqrt(tf.where(positive, squares, 1.0)), 0.0)


def same_class(labels: tf.Tensor) -> tf.Tensor:
    """Whether two examples of a batch are of one class, bool `[n, n]`.

    Example:
        >>> same_class(tf.constant([0, 1, 0])).numpy()[0]
        array([ True, False,  True])
    """
    return tf.equal(labels[:, tf.newaxis], labels)


def pair_cross_entropy(scores: tf.Tensor, is_same: tf.Tensor) -> tf.Tensor:
    """Cross-entropy of each pair, from the logit that the pair is of one class.

    `-y log sigmoid(s) - (1 - y) log(1 - sigmoid(s))` with y = 1 for a pair of one class (Koch et
    al. 2015, section 3.2).

    Args:
        scores: logits `[...]`.
        is_same: bool `[...]`.

    Returns:
        `[...]`, in nats.

    Example:
        >>> round(float(pair_cross_entropy(tf.constant(0.0), tf.constant(True))), 4)
        0.6931
    """
    return tf.math.softplus(tf.where(is_same, -scores, scores))


def contrastive_loss(distances: tf.Tensor, is_same: tf.Tensor, margin: float = 1.0) -> tf.Tensor:
    """Loss of each pair that pulls one class together and pushes others beyond a margin.

    `d^2 / 2` for a pair of one class, `max(0, margin - d)^2 / 2` for others (Hadsell et al. 2006,
    "Dimensionality Reduction by Learning an Invariant Mapping", equation 4).

    Args:
        distances: Euclidean distances `[...]`.
        is_same: bool `[...]`.
        margin: the distance beyond which other classes are left alone.

    Returns:
        `[...]`.

    Example:
        >>> contrastive_loss(tf.constant([0.5, 0.5]), tf.constant([True, False]), 2.0).numpy()
        array([0.125, 1.125], dtype=float32)
    """
    beyond = tf.nn.relu(margin - distances)
    return 0.5 * tf.square(tf.where(is_same, distances, beyond))


def triplet_loss(
    to_positives: tf.Tensor, to_negatives: tf.Tensor, margin: float | None = 0.2
) -> tf.Tensor:
    """Loss of each triplet whose negative is not farther than its positive by a margin.

    `max(0, margin + d(a, p) - d(a, n))` (Schroff et al. 2015, equation 3, there with squared
    distances), or without a margin `log(1 + exp(d(a, p) - d(a, n)))` (Hermans et al. 2017).

    Args:
        to_positives: distances of anchors to examples of their class `[...]`.
        to_negatives: distances of anchors to examples of other classes `[...]`.
        margin: a distance, or None for the soft margin.

    Returns:
        `[...]`.

    Example:
        >>> triplet_loss(tf.constant([1.0, 1.0]), tf.constant([1.5, 3.0]), 1.0).numpy()
        array([0.5, 0. ], dtype=float32)
    """
    difference = to_positives - to_negatives
    return tf.math.softplus(difference) if margin is None else tf.nn.relu(margin + difference)


def batch_hard_triplets(
    distances: tf.Tensor, labels: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The hardest triplet of every example: its farthest positive and its nearest negative.

    Hermans et al. 2017, "In Defense of the Triplet Loss for Person Re-Identification", equation 5.

    Args:
        distances: of a batch to itself, `[n, n]`.
        labels: `[n]` integers.

    Returns:
        Distances to the farthest other example of the class `[n]` and to the nearest example of
        another class `[n]`, and a bool `[n]` that is False where one of the two does not exist
        (the distances are 0 there).

    Example:
        >>> distances = euclidean_distance(*2 * [tf.constant([[0.0], [1.0], [4.0]])])
        >>> for each in batch_hard_triplets(distances, tf.constant([0, 0, 1])):
        ...     print(each.numpy())
        [1. 1. 0.]
        [4. 3. 0.]
        [ True  True False]
    """
    is_same = same_class(labels)
    is_positive = is_same & ~tf.eye(tf.shape(labels)[0], dtype=tf.bool)
    is_valid = tf.reduce_any(is_positive, axis=1) & tf.reduce_any(~is_same, axis=1)
    farthest = tf.reduce_max(tf.where(is_positive, distances, 0.0), axis=1)
    # Infinity for what is no negative would be a NaN in the gradient of an anchor without any.
    beyond = tf.stop_gradient(tf.reduce_max(distances)) + 1.0
    nearest = tf.reduce_min(tf.where(is_same, beyond, distances), axis=1)
    zero = tf.zeros([], distances.dtype)
    return tf.where(is_valid, farthest, zero), tf.where(is_valid, nearest, zero), is_valid


def balanced_mean(losses: tf.Tensor, is_same: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Mean over pairs in which pairs of one class and pairs of two classes count alike.

    In an episode of 20 classes nineteen of twenty pairs are of two classes, and a plain mean is
    nearly blind to the others. Koch et al. (2015, section 4.1) draw as many of the one as of the
    other.

    Args:
        losses: of pairs `[...]`.
        is_same: bool `[...]`.
        weights: of pairs `[...]`; 0 leaves a pair out.

    Returns:
        A scalar: half the weighted mean over pairs of one class plus half that over the others;
        the one of them alone where the other does not exist.

    Example:
        >>> losses, same = tf.constant([4.0, 1.0, 3.0]), tf.constant([True, False, False])
        >>> float(balanced_mean(losses, same, tf.ones(3)))
        3.0
    """
    kinds = [tf.cast(kind & (weights > 0.0), losses.dtype) for kind in (is_same, ~is_same)]
    counts = tf.stack([tf.reduce_sum(kind) for kind in kinds])
    sums = tf.stack([tf.reduce_sum(kind * weights * losses) for kind in kinds])
    n_kinds = tf.reduce_sum(tf.cast(counts > 0.0, losses.dtype))
    return tf.math.divide_no_nan(tf.reduce_sum(tf.math.divide_no_nan(sums, counts)), n_kinds)
