"""Digits of two domains: written by hand, and printed."""

from __future__ import annotations

import unicodedata

import numpy as np

from tfmeta.data.examples import Examples
from tfmeta.data.glyphs import glyphs

DIGITS = tuple(unicodedata.name(character) for character in "0123456789")


def handwritten_digits() -> Examples:
    """The 1,797 digits that scikit-learn carries, written by 43 people.

    Alpaydin and Kaynak 1998, "Optical Recognition of Handwritten Digits" (the test part), 8x8
    pixels of 17 grey levels.

    Returns:
        `Examples`: uint8 `[1797, 8, 8, 1]`, ink 255 on 0; classes `"DIGIT ZERO"` to `"DIGIT NINE"`.

    Raises:
        ImportError: scikit-learn is missing.

    Example:
        >>> handwritten_digits()  # doctest: +SKIP
        Examples(1797 uint8 examples of shape (8, 8, 1), 10 classes)
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            "Handwritten digits come with scikit-learn, which is not installed. "
            "Install it: pip install scikit-learn"
        ) from error
    digits = load_digits()
    x = np.round(digits.images * (255.0 / 16.0)).astype(np.uint8)
    return Examples(x[..., np.newaxis], digits.target, class_names=DIGITS)


def printed_digits(n_each: int = 150, *, image_size: int = 8, seed: int = 0) -> Examples:
    """Digits drawn from fonts: upright, slanted and bold faces, with small distortions.

    Args:
        n_each: Pictures of each digit.
        image_size: Height and width in pixels.
        seed: Of the distortions and of the faces' order.

    Returns:
        `Examples`: uint8 `[10 * n_each, image_size, image_size, 1]`, ink 255 on 0; classes as in
        `handwritten_digits`.

    Raises:
        ValueError: a count is wrong.

    Example:
        >>> printed_digits(20)
        Examples(200 uint8 examples of shape (8, 8, 1), 10 classes)
    """
    drawn = glyphs(image_size, n_drawers=n_each, scripts=["DIGIT"], seed=seed)
    return drawn.select(DIGITS)
