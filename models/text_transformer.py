"""A small transformer encoder for short texts, from raw strings."""

from __future__ import annotations

import keras

from tfmeta.models.text_vectorization import Vocabulary, word_numbers
from tfmeta.sizes import check_sizes


def text_transformer(
    vocabulary: Vocabulary,
    *,
    outputs: int | None = None,
    embedding: int = 128,
    n_blocks: int = 1,
    n_heads: int = 4,
    length: int = 32,
    dropout: float = 0.1,
    word_dropout: float = 0.0,
    name: str = "text_transformer",
) -> keras.Model:
    """A transformer encoder for texts, as a backbone or with its linear head.

    Embeddings of words and of their places, blocks of self-attention and a two-layer network of
    four times the width, each behind a layer normalisation and added to its input (Vaswani et al.,
    "Attention Is All You Need", 2017; the order of Xiong et al., 2020), and the mean over the
    words. Padding is neither attended to nor counted. A text is split, looked up and padded inside
    the network, which therefore takes raw strings wherever it is served.

    Args:
        vocabulary: words, or a `TextVectorization` adapted to the training classes' texts, as
            `text_vectorization` makes it.
        outputs: width of the linear head, `n_way` for a classifier; `None` for the backbone.
        embedding: length of a word's vector, and number of features.
        n_blocks: blocks.
        n_heads: heads of the attention; they must divide `embedding`.
        length: words of a text, for a list of words; a `TextVectorization` has its own.
        dropout: share left out behind the embedding and in every block.
        word_dropout: share of the words that training leaves out.
        name: name of the model.

    Returns:
        A functional model from strings `[batch]` to features `[batch, embedding]`, or to logits
        `[batch, outputs]` from the layer named "head".

    Raises:
        ValueError: for a vocabulary that is empty or not adapted, sizes that are not positive, or
            heads that do not divide the embedding.

    Example:
        >>> backbone = text_transformer(["play", "song", "alarm"], embedding=8, n_heads=2)
        >>> backbone(tf.constant(["Play a song!", "set an alarm"])).shape
        TensorShape([2, 8])
    """
    check_sizes(embedding=embedding, n_blocks=n_blocks, n_heads=n_heads, length=length)
    check_sizes(outputs=outputs or 1)
    if embedding % n_heads:
        raise ValueError(
            "`n_heads` must divide `embedding`. Received: "
            f"n_heads={n_heads}, embedding={embedding}. Use a multiple of {n_heads}."
        )
    texts = keras.Input((), dtype="string", name="texts")
    numbers = word_numbers(vocabulary, length=length)
    words = numbers(texts)
    places = keras.ops.cumsum(keras.ops.ones_like(words), axis=1) - 1
    # A text without any word attends to its first padding, so that the mean is over something.
    mask = keras.ops.logical_or(keras.ops.not_equal(words, 0), keras.ops.equal(places, 0))
    x = keras.layers.Embedding(numbers.vocabulary_size(), embedding, name="embedding")(words)
    if word_dropout:
        x = keras.layers.Dropout(word_dropout, noise_shape=(None, None, 1), name="word_dropout")(x)
    x = x + keras.layers.Embedding(words.shape[1], embedding, name="places")(places)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    for number in range(1, n_blocks + 1):
        x = _block(x, mask, number, n_heads, dropout)
    x = keras.layers.LayerNormalization(name="normalization")(x)
    x = keras.layers.GlobalAveragePooling1D(name="features")(x, mask=mask)
    if outputs is not None:
        x = keras.layers.Dense(outputs, name="head")(x)
    return keras.Model(texts, x, name=name)


def _block(
    x: keras.KerasTensor, mask: keras.KerasTensor, number: int, n_heads: int, dropout: float
) -> keras.KerasTensor:
    """Self-attention and a two-layer network, each normalised before and added after."""
    layers, width = keras.layers, x.shape[-1]
    normal = layers.LayerNormalization(name=f"normalization_{number}_attention")(x)
    attention = layers.MultiHeadAttention(
        n_heads, width // n_heads, dropout=dropout, name=f"attention_{number}"
    )
    attended = attention(normal, normal, attention_mask=keras.ops.expand_dims(mask, 1))
    x = x + layers.Dropout(dropout, name=f"dropout_{number}_attention")(attended)
    normal = layers.LayerNormalization(name=f"normalization_{number}_dense")(x)
    hidden = layers.Dense(4 * width, activation="gelu", name=f"dense_{number}_hidden")(normal)
    hidden = layers.Dense(width, name=f"dense_{number}")(hidden)
    return x + layers.Dropout(dropout, name=f"dropout_{number}_dense")(hidden)
