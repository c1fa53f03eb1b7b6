"""Pictures from files and bytes as uint8 arrays of one size."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

_T = TypeVar("_T")
_MODES = {1: "L", 3: "RGB"}


def read_picture(
    path: str, *, image_size: tuple[int, int] | None = None, channels: int = 3
) -> np.ndarray:
    """Picture in the file `path` as uint8 `[height, width, channels]`.

    Args:
        path: Any format that Pillow reads.
        image_size: `(height, width)` to resize to; `None` keeps the file's own size.
        channels: 1 for grey, 3 for RGB.

    Returns:
        uint8 `[height, width, channels]`.

    Raises:
        ValueError: the file is missing, unreadable or no picture; the message names it.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise ValueError(
            f"The picture {path!r} cannot be read ({error.strerror}). "
            "Restore the file, or make the examples again without it."
        ) from error
    return decode_picture(data, name=path, image_size=image_size, channels=channels)


def decode_picture(
    data: bytes, *, name: str, image_size: tuple[int, int] | None = None, channels: int = 3
) -> np.ndarray:
    """Picture in the encoded bytes `data` as uint8 `[height, width, channels]`.

    The orientation that a camera wrote into the file is applied. A picture of another shape is
    stretched to `image_size`; shrinking is antialiased.

    Args:
        data: Content of a JPEG, PNG, ... file.
        name: What error messages call the picture.
        image_size: `(height, width)` to resize to; `None` keeps the picture's own size.
        channels: 1 for grey, 3 for RGB.

    Returns:
        uint8 `[height, width, channels]`.

    Raises:
        ValueError: the bytes are no picture, cut short, or have more than 8 bits a channel.
    """
    try:
        with Image.open(io.BytesIO(data)) as file:
            if file.mode[0] in "IF":  # Pillow would clip these at 255 instead of scaling them.
                raise ValueError(f"8 bits a channel are expected, its mode is {file.mode}")
            if image_size is not None:  # A large JPEG is decoded at a fraction of its size.
                file.draft(None, (2 * max(image_size),) * 2)
            picture = ImageOps.exif_transpose(file).convert(_MODES[channels])
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        unknown = isinstance(error, UnidentifiedImageError)
        reason = f"no known format, {len(data)} bytes" if unknown else error
        raise ValueError(
            f"The picture {name!r} cannot be decoded ({reason}). "
            "Replace it with an intact 8-bit picture, or remove it."
        ) from error
    return resize_picture(_as_array(picture), image_size)


def resize_picture(picture: np.ndarray, image_size: tuple[int, int] | None) -> np.ndarray:
    """Picture uint8 `[height, width, channels]` stretched to `image_size`.

    Shrinking is antialiased (a Hamming window, close to the mean over the area of each new
    pixel); growing interpolates linearly. `None`, or its own size, leaves the picture as it is.
    """
    height, width = picture.shape[:2]
    if image_size is None or (height, width) == tuple(image_size):
        return picture
    shrinks = image_size[0] <= height and image_size[1] <= width
    method = Image.Resampling.HAMMING if shrinks else Image.Resampling.BILINEAR
    image = Image.fromarray(picture.squeeze(-1) if picture.shape[-1] == 1 else picture)
    return _as_array(image.resize(image_size[::-1], method))


def set_channels(picture: np.ndarray, channels: int) -> np.ndarray:
    """Picture uint8 `[height, width, channels]` as grey (1) or RGB (3)."""
    if picture.shape[-1] == channels:
        return picture
    image = Image.fromarray(picture.squeeze(-1) if picture.shape[-1] == 1 else picture)
    return _as_array(image.convert(_MODES[channels]))


def _as_array(image: Image.Image) -> np.ndarray:
    return np.asarray(image).reshape(image.height, image.width, -1)


def map_in_threads(function: Callable[[int], _T], n: int) -> list[_T]:
    """List of `function(0) ... function(n - 1)`, computed in one thread per core.

    Pillow releases the interpreter while it decodes, so threads do run side by side.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(function, range(n)))


def stack_pictures(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """One array `[n, height, width, channels]` of pictures that share one size.

    Raises:
        ValueError: the sizes differ.
    """
    sizes = sorted({picture.shape[:2] for picture in pictures})
    if len(sizes) > 1:
        raise ValueError(
            f"Pictures of one size are expected. Received {len(sizes)} sizes, such as {sizes[0]} "
            f"and {sizes[-1]}. Pass `image_size=(height, width)` to resize them."
        )
    return np.stack(pictures)
