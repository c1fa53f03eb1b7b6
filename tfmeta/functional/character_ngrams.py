"""The runs of characters that a text is compared by."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("tfmeta")
def character_ngrams(texts: tf.Tensor, sizes: Sequence[int] = (3, 4)) -> tf.RaggedTensor:
    """Runs of characters inside the words of each text, the two ends of a word included.

    "wake me" has the runs of three " wa", "wak", "ake", "ke ", " me", "me ". They find a word in
    its other forms, and parts of a word that was never seen (Bojanowski et al., "Enriching Word
    Vectors with Subword Information", 2017). As `split` of a `keras.layers.TextVectorization` they
    take the place of words.

    Args:
        texts: `[n]` strings, UTF-8.
        sizes: lengths of the runs.

    Returns:
        `[n, None]` strings, a word after the other.

    Example:
        >>> character_ngrams(tf.constant(["a cat"]), (3,)).to_list()
        [[b' a ', b' ca', b'cat', b'at ']]
    """
    words = tf.strings.split(texts)
    letters = tf.strings.unicode_split(" " + words.flat_values + " ", "UTF-8")
    runs = tf.strings.ngrams(letters, tuple(sizes), separator="")
    return words.with_flat_values(runs).merge_dims(1, 2)
