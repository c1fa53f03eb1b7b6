"""How well scores and probabilities say what is known: calibration error, likelihood, AUROC."""

from __future__ import annotations

import tensorflow as tf

from tfmeta.functional.losses import cross_entropy


def max_logit(logits: tf.Tensor) -> tf.Tensor:
    """The largest logit of each query; for prototypes minus the distance to the nearest one.

    Args:
        logits: `[..., n_way]`.

    Returns:
        `[...]`, larger for queries that look like a known class.

    Example:
        >>> max_logit(tf.constant([[-3.0, -1.0]])).numpy()
        array([-1.], dtype=float32)
    """
    return tf.reduce_max(logits, axis=-1)


def max_probability(logits: tf.Tensor) -> tf.Tensor:
    """The largest softmax probability of each query.

    The baseline of Hendrycks and Gimpel 2017, "A Baseline for Detecting Misclassified and
    Out-of-Distribution Examples in Neural Networks".

    Args:
        logits: `[..., n_way]`.

    Returns:
        `[...]`, between 1 / n_way and 1.

    Example:
        >>> max_probability(tf.constant([[2.0, 2.0]])).numpy()
        array([0.5], dtype=float32)
    """
    return tf.reduce_max(tf.nn.softmax(logits), axis=-1)


KNOWN_SCORES = {"max_logit": max_logit, "max_probability": max_probability}


def calibration_bins(
    labels: tf.Tensor, probabilities: tf.Tensor, *, n_bins: int = 15
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Queries, hits and confidences of each bin of confidence.

    Bin m holds the queries whose largest probability lies in `((m - 1) / M, m / M]`, `M = n_bins`
    bins of equal width (Guo et al. 2017, section 2).

    Args:
        labels: `[n]` integers.
        probabilities: `[n, n_way]`.
        n_bins: the number of bins.

    Returns:
        Three tensors `[n_bins]` float64: the number of queries, how many of them are classified
        rightly, and the sum of their largest probabilities. Those of several sets may be added.

    Example:
        >>> n, hits, _ = calibration_bins(tf.constant([0]), tf.constant([[0.8, 0.2]]), n_bins=2)
        >>> n.numpy(), hits.numpy()
        (array([0., 1.]), array([0., 1.]))
    """
    confidence = tf.reduce_max(tf.cast(probabilities, tf.float64), axis=-1)
    hits = tf.equal(tf.argmax(probabilities, axis=-1, output_type=labels.dtype), labels)
    edges = tf.range(1, n_bins + 1, dtype=tf.float64) / n_bins
    # Rounding may leave a probability just above 1.
    places = tf.minimum(tf.searchsorted(edges, confidence, side="left"), n_bins - 1)
    parts = (tf.ones_like(confidence), tf.cast(hits, tf.float64), confidence)
    count, right, total = (tf.math.unsorted_segment_sum(p, places, n_bins) for p in parts)
    return count, right, total


def binned_calibration_error(count: tf.Tensor, right: tf.Tensor, total: tf.Tensor) -> tf.Tensor:
    """The expected calibration error of what `calibration_bins` counted.

    Args:
        count: `[n_bins]`, queries.
        right: `[n_bins]`, queries classified rightly.
        total: `[n_bins]`, sums of their largest probabilities.

    Returns:
        A scalar.

    Example:
        >>> bins = calibration_bins(tf.constant([1]), tf.constant([[0.75, 0.25]]))
        >>> float(binned_calibration_error(*bins))
        0.75
    """
    return tf.reduce_sum(tf.abs(right - total)) / tf.reduce_sum(count)


def expected_calibration_error(
    labels: tf.Tensor, probabilities: tf.Tensor, *, n_bins: int = 15
) -> tf.Tensor:
    """Mean gap between how sure a classifier is and how often it is right.

    `ECE = sum_m |B_m| / n * |acc(B_m) - conf(B_m)|` over `n_bins` bins of equal width, bin m for
    largest probabilities in `((m - 1) / M, m / M]` (Naeini et al. 2015, "Obtaining Well Calibrated
    Probabilities Using Bayesian Binning"; Guo et al. 2017, "On Calibration of Modern Neural
    Networks", equation 3, 15 bins). Few queries make it larger than it is: a bin of one query has
    a gap even if the classifier is calibrated.

    Args:
        labels: `[n]` integers.
        probabilities: `[n, n_way]`.
        n_bins: the number of bins.

    Returns:
        A scalar between 0 and 1, float64.

    Example:
        >>> sure = tf.constant([[0.75, 0.25]] * 4)
        >>> float(expected_calibration_error(tf.constant([0, 0, 0, 1]), sure))
        0.0
    """
    return binned_calibration_error(*calibration_bins(labels, probabilities, n_bins=n_bins))


def negative_log_likelihood(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Mean of minus the logarithm of the right class's probability, in nats.

    `-(1 / n) sum_i log softmax(logits_i)[labels_i]`: the cross-entropy, as a measure of calibration
    (Guo et al. 2017, equation 4).

    Args:
        labels: `[n]` integers.
        logits: `[n, n_way]`.

    Returns:
        A scalar, of the dtype of the logits.

    Example:
        >>> round(float(negative_log_likelihood(tf.constant([0]), tf.constant([[0.0, 0.0]]))), 4)
        0.6931
    """
    return cross_entropy(labels, logits)


def auroc(known: tf.Tensor, unknown: tf.Tensor) -> tf.Tensor:
    """Probability that a known query scores higher than an unknown one; a tie counts half.

    `P(s > u) + P(s = u) / 2` over all pairs of a known and an unknown query: the statistic of Mann
    and Whitney (1947), which is the area under the ROC curve.

    Args:
        known: `[n]` scores of known queries.
        unknown: `[m]` scores of unknown queries.

    Returns:
        A scalar between 0 and 1, float64; not a number where either is empty.

    Example:
        >>> float(auroc(tf.constant([3.0, 1.0]), tf.constant([1.0, 0.0])))
        0.875
    """
    known, unknown = tf.sort(tf.cast(known, tf.float64)), tf.cast(unknown, tf.float64)
    n_known = tf.cast(tf.size(known), tf.float64)
    below = tf.cast(tf.searchsorted(known, unknown, side="left"), tf.float64)
    not_above = tf.cast(tf.searchsorted(known, unknown, side="right"), tf.float64)
    return tf.reduce_mean(n_known - (below + not_above) / 2.0) / n_known
