"""Examples from a folder of image files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from tfmeta.data.arguments import as_image_size
from tfmeta.data.examples import Examples
from tfmeta.data.pictures import map_in_threads

_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_IN_MEMORY = 2**30


def from_directory(
    path: str | os.PathLike[str],
    *,
    image_size: int | tuple[int, int],
    channels: int = 3,
    lazy: bool | None = None,
) -> Examples:
    """Examples from a folder with one sub-folder a class, or one a group with its classes in it.

    Classes are named `class`, or `group/class`, and sorted, as are the files. Hidden files and
    files that are no pictures by their suffix are passed over. Pictures are stretched to
    `image_size`, antialiased, after the orientation that a camera noted.

    Args:
        path: The folder.
        image_size: Size, or `(height, width)`.
        channels: 1 (grey) or 3 (RGB).
        lazy: Whether to decode pictures only when an episode asks for them; `None` does so when
            they would take more than 1 GiB. A corrupt file is then found when read, or by
            `Examples.check`.

    Returns:
        `Examples`; pictures are uint8 `[n, *image_size, channels]`.

    Raises:
        ValueError: the folder is missing, unreadable or empty, a class has no pictures, the
            levels are mixed, or a picture is corrupt; the message names it.

    Example:
        >>> from_directory("pictures", image_size=84).class_names
        ('cat', 'dog', 'horse')
    """
    size = as_image_size(image_size)
    files, groups = _find_classes(Path(path))
    paths = [str(file) for class_files in files.values() for file in class_files]
    labels = np.repeat(np.arange(len(files)), [len(class_files) for class_files in files.values()])
    examples = Examples(
        paths, labels, class_names=list(files), groups=groups, image_size=size, channels=channels
    )
    n_bytes = len(paths) * size[0] * size[1] * channels
    return examples if (n_bytes > _IN_MEMORY if lazy is None else lazy) else _decoded(examples)


def _decoded(examples: Examples) -> Examples:
    x = np.empty((len(examples), *examples.example_shape), np.uint8)

    def fill(row: int) -> None:
        x[row] = examples.read_row(row)

    map_in_threads(fill, len(examples))
    return Examples(x, examples.y, class_names=examples.class_names, groups=examples.groups)


def _find_classes(root: Path) -> tuple[dict[str, list[Path]], list[str] | None]:
    """Image files of each class by its name, and the group of each class if there are groups."""
    folders, pictures = _list(root)
    if not folders:
        found = f"{len(pictures)} pictures and no sub-folder" if pictures else "an empty folder"
        raise ValueError(
            f"{str(root)!r} must hold one sub-folder of pictures a class. Received: {found}. "
            "Put the pictures of each class into a sub-folder with its name."
        )
    listed = {folder: _list(folder) for folder in folders}
    if all(inside and not files for inside, files in listed.values()):
        classes = {c: _list(c)[1] for inside, _ in listed.values() for c in inside}
        names = {f"{c.parent.name}/{c.name}": files for c, files in classes.items()}
        groups = [c.parent.name for c in classes]
    else:
        names, groups = {f.name: files for f, (_, files) in listed.items()}, None
    empty = [name for name, files in names.items() if not files]
    if empty:
        raise ValueError(
            f"Every class folder in {str(root)!r} must hold pictures "
            f"({', '.join(_SUFFIXES)}). Received {len(empty)} without: "
            f"{', '.join(empty[:5])}. Remove these folders, or use one layout throughout: "
            "class/picture or group/class/picture."
        )
    return names, groups


def _list(folder: Path) -> tuple[list[Path], list[Path]]:
    """Sorted sub-folders and picture files of a folder, without hidden ones."""
    try:
        entries = sorted(e for e in folder.iterdir() if not e.name.startswith("."))
    except OSError as error:
        raise ValueError(
            f"{str(folder)!r} is no folder that can be read ({error.strerror}). "
            "Check the path and its permissions."
        ) from error
    folders = [e for e in entries if e.is_dir()]
    return folders, [e for e in entries if e.suffix.lower() in _SUFFIXES and e.is_file()]
