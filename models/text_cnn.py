"""The convolutional network for sentences of Kim (2014), from raw strings."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from tfmeta.models.text_vectorization import Vocabulary, word_numbers
from tfmeta.sizes import check_sizes


def text_cnn(
    vocabulary: Vocabulary,
    *,
    outputs: int | None = None,
    embedding: int = 128,
    filters: int = 100,
    widths: Sequence[int] = (3, 4, 5),
    length: int = 32,
    dropout: float = 0.5,
    word_dropout: float = 0.0,
    name: str = "text_cnn",
) -> keras.Model:
    """A convolutional network for texts, as a backbone or with its linear head.

    Word embeddings, convolutions of several widths side by side, each with ReLU and its maximum
    over time, joined and with dropout: Kim, "Convolutional Neural Networks for Sentence
    Classification" (2014), "CNN-rand", whose widths, filters and dropout are the defaults. A text
    is split, looked up and padded inside the network, which therefore takes raw strings wherever
    it is served. Padding is zero vectors.

    Args:
        vocabulary: words, or a `TextVectorization` adapted to the training classes' texts, as
            `text_vectorization` makes it.
        outputs: width of the linear head, `n_way` for a classifier; `None` for the backbone.
        embedding: length of a word's vector.
        filters: of each width.
        widths: words that a filter sees.
        length: words of a text, for a list of words; a `TextVectorization` has its own.
        dropout: share of the features.
        word_dropout: share of the words that training leaves out.
        name: name of the model.

    Returns:
        A functional model from strings `[batch]` to features `[batch, len(widths) * filters]`, or
        to logits `[batch, outputs]` from the layer named "head".

    Raises:
        ValueError: for a vocabulary that is empty or not adapted, or sizes that are not positive.

    Example:
        >>> backbone = text_cnn(["play", "song", "alarm"], filters=4)
        >>> backbone(tf.constant(["Play a song!", "set an alarm"])).shape
        TensorShape([2, 12])
    """
    sizes = {"embedding": embedding, "filters": filters, "length": length, "outputs": outputs or 1}
    check_sizes(**sizes, **{f"widths[{i}]": width for i, width in enumerate(widths)})
    texts = keras.Input((), dtype="string", name="texts")
    numbers = word_numbers(vocabulary, length=length)
    words = numbers(texts)
    x = keras.layers.Embedding(numbers.vocabulary_size(), embedding, name="embedding")(words)
    if word_dropout:
        x = keras.layers.Dropout(word_dropout, noise_shape=(None, None, 1), name="word_dropout")(x)
    x = keras.ops.where(keras.ops.expand_dims(keras.ops.not_equal(words, 0), -1), x, 0.0)
    maxima = []
    for width in widths:
        maps = keras.layers.Conv1D(
            filters, width, padding="same", activation="relu", name=f"convolution_{width}"
        )(x)
        maxima.append(keras.layers.GlobalMaxPooling1D(name=f"maximum_{width}")(maps))
    features = keras.layers.Concatenate(name="features")(maxima) if len(maxima) > 1 else maxima[0]
    x = keras.layers.Dropout(dropout, name="dropout")(features)
    if outputs is not None:
        x = keras.layers.Dense(outputs, name="head")(x)
    return keras.Model(texts, x, name=name)
