"""Pictures from files and bytes as uint8 arrays of one size."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image, ImageOps

_MODES = {1: "L", 3: "RGB"}
_CHUNK = 512


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
            picture = ImageOps.exif_transpose(file).convert(_MODES[channels])
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"The picture {name!r} cannot be decoded ({error}). "
            "Replace it with an intact 8-bit picture, or remove it."
        ) from error
    if image_size is not None and picture.size != image_size[::-1]:
        picture = picture.resize(image_size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(picture).reshape(picture.height, picture.width, channels)


def map_in_threads(function: Callable[[int], np.ndarray], n: int) -> list[np.ndarray]:
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


def resize_pictures(pictures: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Pictures `[n, height, width, channels]` resized to `image_size`, in their own dtype.

    Area averaging where an axis shrinks, linear interpolation where it grows: two small matrix
    products, `out[i, j] = sum_kl rows[i, k] columns[j, l] picture[k, l]`.

    Args:
        pictures: uint8 or float `[n, height, width, channels]`.
        image_size: `(height, width)` of the result.

    Returns:
        `[n, *image_size, channels]`.
    """
    if pictures.shape[1:3] == tuple(image_size):
        return pictures
    rows = resize_weights(pictures.shape[1], image_size[0])
    columns = resize_weights(pictures.shape[2], image_size[1])
    resized = np.empty((len(pictures), *image_size, pictures.shape[3]), pictures.dtype)
    for i in range(0, len(pictures), _CHUNK):  # float copies of all pictures would not fit
        chunk = pictures[i : i + _CHUNK].astype(np.float32)
        chunk = np.tensordot(np.tensordot(chunk, rows, (1, 1)), columns, (1, 1))
        chunk = chunk.transpose(0, 2, 3, 1)
        resized[i : i + _CHUNK] = np.rint(chunk) if pictures.dtype.kind in "iu" else chunk
    return resized


def resize_weights(size: int, new_size: int) -> np.ndarray:
    """Weights `[new_size, size]` float32 of the old pixels in each new one; rows sum to one.

    Example:
        >>> resize_weights(3, 2).round(2).tolist()
        [[0.67, 0.33, 0.0], [0.0, 0.33, 0.67]]
    """
    scale = size / new_size
    pixels = np.arange(size)
    if scale >= 1:
        edges = np.arange(new_size + 1)[:, None] * scale
        overlap = np.minimum(edges[1:], pixels + 1) - np.maximum(edges[:-1], pixels)
    else:
        centres = (np.arange(new_size)[:, None] + 0.5) * scale - 0.5
        overlap = 1 - np.abs(np.clip(centres, 0, size - 1) - pixels)
    weights = np.maximum(overlap, 0)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
