"""Examples from one `.npz` file."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Callable

import numpy as np

from tfmeta.data.arguments import as_image_size
from tfmeta.data.arrays import from_arrays, resize_pictures
from tfmeta.data.examples import Examples
from tfmeta.data.pictures import decode_picture, map_in_threads, stack_pictures

_Arrays = dict[str, np.ndarray]
_CHUNK = 1024


def from_npz(
    path: str | os.PathLike[str],
    *,
    image_size: int | tuple[int, int] | None = None,
    channels: int = 3,
) -> Examples:
    """Examples in memory from an `.npz` file in one of three layouts.

    - arrays: `x` `[n, ...]`, `y` `[n]`, optional `class_names` and `groups` (one a class);
    - bit-packed pictures: `images` `[n, ceil(height * width / 8)]` uint8 (`numpy.packbits`,
      1 = ink), `image_shape`, `class_index` `[n]`, optional `class_alphabet` and
      `class_character`. Ink becomes 255 on 0, classes are named `alphabet/character`, and the
      groups are the alphabets;
    - joined JPEG (or PNG) files: `jpeg_bytes` uint8, `offsets` `[n + 1]`, `labels` `[n]`,
      `class_names`, optional `class_coarse` and `coarse_names`, which give the groups.

    Nothing is ever unpickled.

    Args:
        path: The file.
        image_size: Size, or `(height, width)`, of the pictures; `None` keeps them as stored.
        channels: 1 (grey) or 3 (RGB), for joined files only.

    Returns:
        `Examples`; pictures are uint8 `[n, height, width, channels]`.

    Raises:
        ValueError: the file is missing, truncated, pickled, lacks an array, or its arrays
            contradict each other.

    Example:
        >>> omniglot = from_npz("omniglot.npz", image_size=28)
        >>> omniglot
        Examples(32460 uint8 examples of shape (28, 28, 1), 1623 classes)
    """
    size = None if image_size is None else as_image_size(image_size)
    arrays = _load(os.fspath(path))
    for needed, build in _LAYOUTS.items():
        if needed <= arrays.keys():
            return build(arrays, size, channels)
    layouts = "; ".join(", ".join(sorted(needed)) for needed in _LAYOUTS)
    raise ValueError(
        f"{os.fspath(path)!r} must hold the arrays of one layout: {layouts}. "
        f"Received: {', '.join(sorted(arrays)) or 'none'}. Rename or add the missing arrays."
    )


def _load(path: str) -> _Arrays:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.lib.npyio.NpzFile):
            with loaded:
                return {name: loaded[name] for name in loaded.files}
    except OSError as error:
        raise ValueError(
            f"{path!r} cannot be read ({error.strerror or error}). Check the path."
        ) from error
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{path!r} is no intact .npz file of plain arrays ({error}). A truncated file must be "
            "fetched again; pickled objects are never loaded: save plain arrays with `numpy.savez`."
        ) from error
    raise ValueError(f"{path!r} holds a single array. Save `x` and `y` with `numpy.savez`.")


def _from_plain(arrays: _Arrays, size: tuple[int, int] | None, channels: int) -> Examples:
    names, groups = (
        arrays[key].tolist() if key in arrays else None for key in ("class_names", "groups")
    )
    return from_arrays(
        arrays["x"],
        arrays["y"],
        class_names=names,
        groups=groups,
        image_size=size,
        channels=channels,
    )


def _from_packed(arrays: _Arrays, size: tuple[int, int] | None, channels: int) -> Examples:
    packed, index = arrays["images"], arrays["class_index"]
    height, width = (int(n) for n in arrays["image_shape"])
    if packed.dtype != np.uint8 or packed.shape != (len(index), -(-height * width // 8)):
        raise ValueError(
            f"`images` must be uint8 {(len(index), -(-height * width // 8))} for {len(index)} "
            f"pictures of {height}x{width} bits. Received {packed.dtype} {packed.shape}. "
            "Pack them with `numpy.packbits(pictures.reshape(n, -1), axis=1)`."
        )
    x = np.empty((len(packed), *(size or (height, width)), 1), np.uint8)
    for i in range(0, len(packed), _CHUNK):  # unpacked all at once, they would not fit
        bits = np.unpackbits(packed[i : i + _CHUNK], axis=1, count=height * width)
        pictures = bits.reshape(-1, height, width, 1) * np.uint8(255)
        x[i : i + _CHUNK] = resize_pictures(pictures, size) if size else pictures
    names = groups = None
    if {"class_alphabet", "class_character"} <= arrays.keys():
        groups = arrays["class_alphabet"].tolist()
        characters = arrays["class_character"].tolist()
        names = [f"{a}/{c}" for a, c in zip(groups, characters, strict=True)]
    return from_arrays(x, index, class_names=names, groups=groups)


def _from_joined(arrays: _Arrays, size: tuple[int, int] | None, channels: int) -> Examples:
    data, offsets, labels = arrays["jpeg_bytes"], arrays["offsets"], arrays["labels"]
    expected = (len(labels) + 1,)
    if offsets.shape != expected or offsets[-1] != len(data) or (np.diff(offsets) < 1).any():
        raise ValueError(
            f"`offsets` must be {len(labels) + 1} rising numbers that end at the length of "
            f"`jpeg_bytes` ({len(data)}). Received shape {offsets.shape}, last "
            f"{offsets[-1] if offsets.size else None}. Write the file again."
        )
    files = arrays.get("file_names", np.arange(len(labels)))

    def decode(i: int) -> np.ndarray:
        file = data[offsets[i] : offsets[i + 1]].tobytes()
        return decode_picture(file, name=str(files[i]), image_size=size, channels=channels)

    groups = None
    if {"class_coarse", "coarse_names"} <= arrays.keys():
        groups = arrays["coarse_names"][arrays["class_coarse"]].tolist()
    return from_arrays(
        stack_pictures(map_in_threads(decode, len(labels))),
        labels,
        class_names=arrays["class_names"].tolist(),
        groups=groups,
    )


_LAYOUTS: dict[frozenset[str], Callable[[_Arrays, tuple[int, int] | None, int], Examples]] = {
    frozenset({"x", "y"}): _from_plain,
    frozenset({"images", "image_shape", "class_index"}): _from_packed,
    frozenset({"jpeg_bytes", "offsets", "labels", "class_names"}): _from_joined,
}
