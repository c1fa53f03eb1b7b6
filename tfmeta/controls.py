"""Learners that learn nothing: what a result is worth is seen beside them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfmeta.functional import character_ngrams
from tfmeta.typing import EpisodeInputs, Tensor


class NearestCentroid:
    """A control for classification: the class whose mean support example is nearest.

    `logits[q, k] = -|x_q - c_k|^2` on the raw numbers of the examples, with `c_k` the mean over
    the support of class k. What a learner scores above it, it owes to its representation.

    It is called like a learner, on a batch of episodes, and gives `[tasks, query, n_way]` with
    `n_way` the largest number of classes of any task; a class that a task does not have gets the
    lowest float. uint8 pictures are scaled to 0 ... 1.

    Args:
        name: what reports call it.

    Example:
        >>> inputs = {
        ...     "support_x": tf.constant([[[0.0], [1.0]]]),
        ...     "support_y": tf.constant([[0, 1]]),
        ...     "query_x": tf.constant([[[0.9]]]),
        ... }
        >>> int(tf.argmax(NearestCentroid()(inputs)[0, 0]))
        1
    """

    transductive = False

    def __init__(self, name: str = "nearest centroid on raw inputs") -> None:
        self.name = name

    def __call__(self, inputs: EpisodeInputs) -> Tensor:
        support = _flat(inputs["support_x"])
        queries = _flat(inputs["query_x"])
        members = _members(inputs)
        centroids = _means(members, support)
        products = tf.einsum("tqf,tkf->tqk", queries, centroids)
        norms = tf.reduce_sum(tf.square(centroids), axis=-1)[:, tf.newaxis]
        query_norms = tf.reduce_sum(tf.square(queries), axis=-1, keepdims=True)
        return _without_absent(2.0 * products - norms - query_norms, members)


class TfidfNearestCentroid:
    """A control for texts: the class whose mean TF-IDF vector points where the text's does.

    The weight of term t in text d is `n(t, d) (log((1 + n) / (1 + df(t))) + 1)`, and vectors have
    unit length; both as in scikit-learn. `n` and `df` are counted in the training texts alone; a
    term that they do not have counts too, with `df = 0`. The logits are cosines with the mean of
    each class (Rocchio's classifier). What a learner scores above it, it owes to what it learned
    about words.

    Texts are lower-cased and their punctuation is removed. Terms are runs of 3 and 4 characters
    inside a word, its two ends included, or whole words; characters are the stronger control on
    short texts, since they find a word in its other forms.

    It is called like a learner, on a batch of episodes of texts `[tasks, examples]`, and gives
    `[tasks, query, n_way]`; a class that a task does not have gets the lowest float.

    Args:
        texts: `[n]` texts of the training classes: strings, or the `x` of `Examples`.
        terms: `"characters"` or `"words"`.
        name: what reports call it; None says which terms it counts.

    Raises:
        ValueError: for other terms, or no texts.

    Example:
        >>> control = TfidfNearestCentroid(["play a song", "play it loud", "wake me"])
        >>> inputs = {
        ...     "support_x": tf.constant([["play songs", "wake me up"]]),
        ...     "support_y": tf.constant([[0, 1]]),
        ...     "query_x": tf.constant([["please play a song"]]),
        ... }
        >>> int(tf.argmax(control(inputs)[0, 0]))
        0
    """

    transductive = False

    def __init__(
        self,
        texts: Sequence[str] | np.ndarray,
        *,
        terms: str = "characters",
        name: str | None = None,
    ) -> None:
        if terms not in ("characters", "words") or len(texts) == 0:
            raise ValueError(
                '`terms` must be "characters" or "words", and at least one text is expected. '
                f"Received: terms={terms!r}, {len(texts)} texts."
            )
        self.terms = terms
        self.name = f"TF-IDF of {terms}, nearest centroid" if name is None else name
        found = self._split(tf.convert_to_tensor(texts, tf.string))
        vocabulary, ids = tf.unique(found.flat_values)
        # Each pair of a text and one of its terms once, whatever the number of times it occurs.
        pairs = np.unique(np.stack([found.value_rowids(), ids]), axis=1)
        counts = np.bincount(pairs[1], minlength=len(vocabulary))
        weights = np.log((1 + len(texts)) / (1 + counts)) + 1
        self._weights = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(vocabulary, tf.constant(weights, tf.float32)),
            default_value=float(np.log(1 + len(texts)) + 1),
        )

    def __call__(self, inputs: EpisodeInputs) -> Tensor:
        texts = tf.concat([inputs["support_x"], inputs["query_x"]], axis=1)
        n_support = tf.shape(inputs["support_x"])[1]
        vectors = self._vectors(tf.reshape(texts, [-1]))
        vectors = tf.reshape(vectors, tf.concat([tf.shape(texts), [-1]], axis=0))
        members = _members(inputs)
        centroids = _means(members, vectors[:, :n_support])
        centroids = tf.math.l2_normalize(centroids, axis=-1)
        cosines = tf.einsum("tqf,tkf->tqk", vectors[:, n_support:], centroids)
        return _without_absent(cosines, members)

    def _vectors(self, texts: Tensor) -> Tensor:
        """Vectors of unit length `[n, terms]`, over the terms that occur in these texts."""
        found = self._split(texts)
        vocabulary, ids = tf.unique(found.flat_values)
        places = tf.stack([tf.cast(found.value_rowids(), tf.int32), ids], axis=1)
        shape = tf.stack([tf.size(texts), tf.size(vocabulary)])
        counts = tf.scatter_nd(places, tf.ones_like(ids, tf.float32), shape)
        return tf.math.l2_normalize(counts * self._weights.lookup(vocabulary), axis=1)

    def _split(self, texts: Tensor) -> tf.RaggedTensor:
        """The terms of each text, `[n, None]`."""
        lower = tf.strings.lower(texts, encoding="utf-8")
        plain = tf.strings.regex_replace(lower, r"[[:punct:]]", "")
        return tf.strings.split(plain) if self.terms == "words" else character_ngrams(plain)


class MeanPredictor:
    """A control for regression: the mean of the support targets, whatever the query.

    It is called like a learner, on a batch of episodes, and gives `[tasks, query, d]`.

    Args:
        name: what reports call it.

    Example:
        >>> inputs = {
        ...     "support_x": tf.constant([[[0.0], [1.0]]]),
        ...     "support_y": tf.constant([[[2.0], [4.0]]]),
        ...     "query_x": tf.constant([[[0.9]]]),
        ... }
        >>> MeanPredictor()(inputs).numpy()
        array([[[3.]]], dtype=float32)
    """

    transductive = False

    def __init__(self, name: str = "mean of the support") -> None:
        self.name = name

    def __call__(self, inputs: EpisodeInputs) -> Tensor:
        targets = tf.convert_to_tensor(inputs["support_y"])
        weight = tf.cast(_support_mask(inputs), targets.dtype)[..., tf.newaxis]
        total = tf.reduce_sum(weight * targets, axis=1, keepdims=True)
        mean = tf.math.divide_no_nan(total, tf.reduce_sum(weight, axis=1, keepdims=True))
        return tf.repeat(mean, tf.shape(inputs["query_x"])[1], axis=1)


def _means(members: Tensor, support: Tensor) -> Tensor:
    """`[tasks, n_way, features]`: the mean of each class's support; 0 for an absent class."""
    sums = tf.einsum("tsk,tsf->tkf", members, support)
    return tf.math.divide_no_nan(sums, tf.reduce_sum(members, axis=1)[..., tf.newaxis])


def _without_absent(logits: Tensor, members: Tensor) -> Tensor:
    """Logits `[tasks, query, n_way]`, the lowest float for classes that a task does not have."""
    is_there = tf.reduce_any(members > 0, axis=1)[:, tf.newaxis]
    return tf.where(is_there, logits, logits.dtype.min)


def _flat(x: Tensor) -> Tensor:
    x = tf.convert_to_tensor(x)
    flat = tf.reshape(x, tf.concat([tf.shape(x)[:2], [tf.reduce_prod(tf.shape(x)[2:])]], axis=0))
    return tf.cast(flat, tf.float32) / (255.0 if x.dtype == tf.uint8 else 1.0)


def _support_mask(inputs: EpisodeInputs) -> Tensor:
    mask = inputs.get("support_mask")
    if mask is None:
        return tf.ones(tf.shape(inputs["support_y"])[:2], tf.bool)
    return tf.cast(mask, tf.bool)


def _members(inputs: EpisodeInputs) -> Tensor:
    """`[tasks, support, n_way]`: 1 where an example belongs to a class, all 0 for padding."""
    labels = tf.cast(inputs["support_y"], tf.int32)
    labels = tf.where(_support_mask(inputs), labels, -1)
    return tf.one_hot(labels, tf.reduce_max(labels) + 1)
