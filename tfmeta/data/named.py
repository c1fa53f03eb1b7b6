"""Labelled pictures by the name that a command line gives."""

from __future__ import annotations

import os

from tfmeta.data.directory import from_directory
from tfmeta.data.examples import Examples
from tfmeta.data.glyphs import glyphs
from tfmeta.data.npz import from_npz
from tfmeta.data.tfds import from_tfds


def load_examples(name: str, image_size: int) -> Examples:
    """The labelled pictures that `--data` names.

    Args:
        name: `"glyphs"`, `"omniglot"` (tensorflow-datasets), an `.npz` file, or a folder.
        image_size: height and width.

    Returns:
        The examples.

    Raises:
        ValueError: when there is no such file or folder.

    Example:
        >>> load_examples("glyphs", 28).example_shape  # doctest: +SKIP
        (28, 28, 1)
    """
    if name == "glyphs":
        return glyphs(image_size)
    if name == "omniglot":
        return from_tfds(
            "omniglot",
            split="train+test",
            group_key="alphabet",
            image_size=image_size,
            channels=1,
            invert=True,
        )
    if name.endswith(".npz"):
        return from_npz(name, image_size=image_size)
    if os.path.isdir(name):
        return from_directory(name, image_size=image_size)
    raise ValueError(
        "`--data` must be 'glyphs', 'omniglot', an .npz file or a folder of pictures. "
        f"Received: {name!r}, which is none of them."
    )
