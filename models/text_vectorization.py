"""Vocabularies of text networks: from the training texts to layers that take raw strings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import keras
import numpy as np

Vocabulary: TypeAlias = "Sequence[str] | keras.layers.TextVectorization"


def text_vectorization(
    texts: Any, *, length: int | None = 32, max_tokens: int = 20_000, **options: Any
) -> keras.layers.TextVectorization:
    """A `keras.layers.TextVectorization` adapted to texts: those of the training classes alone.

    What a network knows of the words of validation and test classes, it must not know from their
    texts: adapt to `train.x`, after the split.

    Args:
        texts: `[n]` strings, or the `x` of `Examples` of texts.
        length: words of a text, cut or padded; None for output modes without order.
        max_tokens: size of the vocabulary, most frequent first.
        **options: other arguments of the layer, such as `output_mode`, `split` and `ngrams`.

    Returns:
        The adapted layer.

    Raises:
        ValueError: for no texts.

    Example:
        >>> layer = text_vectorization(["play a song", "play it"], length=4)
        >>> layer(["Play that song!"]).numpy()[0, [0, 3]]
        array([2, 0])
    """
    if len(texts) == 0:
        raise ValueError("At least one text is needed for a vocabulary. Received: none.")
    layer = keras.layers.TextVectorization(
        max_tokens=max_tokens, output_sequence_length=length, **options
    )
    layer.adapt(np.asarray(texts, object))
    return layer


def word_numbers(vocabulary: Vocabulary, *, length: int) -> keras.layers.TextVectorization:
    """A layer from strings `[batch]` to word numbers `[batch, length]`; 0 is padding.

    The layer holds its vocabulary in its configuration, so that a copy of a network made from its
    configuration reads as the network does.

    Args:
        vocabulary: words, most frequent first, or an adapted `TextVectorization` of output mode
            `"int"`, whose own length counts.
        length: words of a text, cut or padded.

    Returns:
        A new layer.

    Raises:
        ValueError: for an empty vocabulary or a layer that is not adapted, of another output mode
            or without a length.

    Example:
        >>> word_numbers(["play", "song"], length=3)(["a song"]).numpy()
        array([[1, 3, 0]])
    """
    if isinstance(vocabulary, keras.layers.TextVectorization):
        layer = with_own_vocabulary(vocabulary)
        config = layer.get_config()
        if config["output_mode"] != "int" or not config["output_sequence_length"]:
            raise ValueError(
                '`vocabulary` must be a TextVectorization of output mode "int" with an '
                f"`output_sequence_length`. Received: {config['output_mode']!r}, "
                f"{config['output_sequence_length']}. Make it with `text_vectorization(texts)`."
            )
        return layer
    words: list[str] = list(vocabulary)
    if not words or not all(isinstance(word, str) for word in words) or isinstance(vocabulary, str):
        raise ValueError(
            "`vocabulary` must be a list of words, or an adapted TextVectorization. Received: "
            f"{vocabulary!r:.80}. Make it with `text_vectorization(texts)`."
        )
    return keras.layers.TextVectorization(
        output_sequence_length=length, vocabulary=words, name="words"
    )


def with_own_vocabulary(
    layer: keras.layers.TextVectorization,
) -> keras.layers.TextVectorization:
    """A copy of an adapted layer whose configuration holds the vocabulary.

    Args:
        layer: an adapted layer.

    Returns:
        A new layer of the same outputs.

    Raises:
        ValueError: for a layer that is not adapted.

    Example:
        >>> copy = with_own_vocabulary(text_vectorization(["play a song"]))
        >>> len(copy.get_config()["vocabulary"])
        3
    """
    words = layer.get_vocabulary(include_special_tokens=False)
    if not words:
        raise ValueError(
            f"The TextVectorization {layer.name!r} must be adapted. Received: no words. Call "
            "`adapt` with the texts of the training classes."
        )
    config = {**layer.get_config(), "vocabulary": [str(word) for word in words]}
    if config["output_mode"] == "tf_idf":
        weights = layer._lookup_layer.idf_weights
        config["idf_weights"] = [float(weight) for weight in weights[1:]]
    # `from_config` takes functions in their serialised form only.
    return keras.layers.TextVectorization(**config)
