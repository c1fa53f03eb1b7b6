"""A learned projection of the TF-IDF of character n-grams, from raw strings."""

from __future__ import annotations

from typing import Any

import keras

from tfmeta.functional import character_ngrams
from tfmeta.models.text_vectorization import text_vectorization, with_own_vocabulary
from tfmeta.sizes import check_sizes


def text_ngrams(
    texts: Any,
    *,
    outputs: int | None = None,
    features: int = 1024,
    max_ngrams: int = 20_000,
    scale: float = 4.0,
    dropout: float = 0.0,
    term_dropout: float = 0.0,
    name: str = "text_ngrams",
) -> keras.Model:
    """A linear network on what a TF-IDF search sees, as a backbone or with its linear head.

    The TF-IDF vector of the runs of 3 and 4 characters inside the words, of unit length, is
    projected by a random matrix, which keeps distances up to a few per cent (Johnson and
    Lindenstrauss): before any training, prototypes are close to the nearest centroid in TF-IDF, a
    strong classifier of short texts, and training starts from there. Runs of characters see a word
    in its other forms, and one that is in no training text (`character_ngrams`).

    Args:
        texts: `[n]` texts of the training classes alone: strings, or the `x` of `Examples`.
        outputs: width of the linear head, `n_way` for a classifier; `None` for the backbone.
        features: length of the projection.
        max_ngrams: size of the vocabulary, most frequent first.
        scale: length of a projected text, before training.
        dropout: share of the features that training leaves out.
        term_dropout: share of the n-grams that training leaves out.
        name: name of the model.

    Returns:
        A functional model from strings `[batch]` to features `[batch, features]`, or to logits
        `[batch, outputs]` from the layer named "head".

    Raises:
        ValueError: for no texts, or sizes that are not positive.

    Example:
        >>> backbone = text_ngrams(["play a song", "play it", "wake me"], features=8)
        >>> backbone(tf.constant(["Play a song!", "wake me up"])).shape
        TensorShape([2, 8])
    """
    check_sizes(features=features, max_ngrams=max_ngrams, outputs=outputs or 1)
    adapted = text_vectorization(
        texts,
        length=None,
        max_tokens=max_ngrams,
        split=character_ngrams,
        output_mode="tf_idf",
        name="ngrams",
    )
    strings = keras.Input((), dtype="string", name="texts")
    # The first column counts what the vocabulary lacks, in which all texts would look alike.
    x = with_own_vocabulary(adapted)(strings)[:, 1:]
    x = keras.layers.Dropout(term_dropout, name="term_dropout")(x)
    x = keras.layers.UnitNormalization(name="unit")(x)
    spread = keras.initializers.RandomNormal(stddev=scale / features**0.5)
    x = keras.layers.Dense(features, use_bias=False, kernel_initializer=spread, name="features")(x)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    if outputs is not None:
        x = keras.layers.Dense(outputs, name="head")(x)
    return keras.Model(strings, x, name=name)
