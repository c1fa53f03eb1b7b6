"""Examples from tensorflow-datasets."""

from __future__ import annotations

import os
from typing import Any

from tfmeta.data.arguments import as_image_size
from tfmeta.data.arrays import from_arrays
from tfmeta.data.examples import Examples
from tfmeta.data.pictures import resize_picture, set_channels, stack_pictures


def from_tfds(
    name: str,
    *,
    split: str,
    image_key: str | None = None,
    label_key: str | None = None,
    group_key: str | None = None,
    image_size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    invert: bool = False,
    data_dir: str | os.PathLike[str] | None = None,
    download: bool = True,
) -> Examples:
    """Examples in memory from a data set of tensorflow-datasets.

    Classes that the split does not hold are left out. Omniglot is black ink on white there:
    `channels=1, invert=True` gives grey pictures with ink 255 on 0.

    Args:
        name: Name that `tfds.load` knows, such as `"omniglot"` or `"cifar100"`.
        split: Such as `"train"`, `"train+test"` or `"train[:10%]"`.
        image_key: The picture's feature; found by its type when the data set has one only.
        label_key: The class label's feature; found likewise.
        group_key: Feature that gives each class its group (`"alphabet"` for Omniglot); it must be
            the same for all examples of a class.
        image_size: Size, or `(height, width)`; `None` keeps the pictures as stored.
        channels: 1 (grey) or 3 (RGB); `None` keeps them as stored.
        invert: Whether to turn value `v` into `255 - v`.
        data_dir: Where tensorflow-datasets keeps its data.
        download: Whether to download and prepare what is missing.

    Returns:
        `Examples`; pictures are uint8 `[n, height, width, channels]`.

    Raises:
        ValueError: the data set is unknown or not prepared, a key cannot be found, or a class
            has examples of two groups.

    Example:
        >>> from_tfds("omniglot", split="train+test", group_key="alphabet", image_size=28,
        ...           channels=1, invert=True)
        Examples(32460 uint8 examples of shape (28, 28, 1), 1623 classes)
    """
    size = None if image_size is None else as_image_size(image_size)
    if channels not in (None, 1, 3):
        raise ValueError(
            f"`channels` must be 1 (grey), 3 (RGB) or None. Received: channels={channels}."
        )
    dataset, info = _load(name, split, data_dir, download)
    image_key, label_key = _find_keys(info, image_key, label_key, group_key)
    keys = [image_key, label_key, *([] if group_key is None else [group_key])]
    pictures, rows = [], []
    for picture, *row in dataset.map(lambda d: [d[k] for k in keys]).as_numpy_iterator():
        picture = resize_picture(set_channels(picture, channels or picture.shape[-1]), size)
        pictures.append(255 - picture if invert else picture)
        rows.append(row)
    labels = [int(row[0]) for row in rows]
    names = getattr(info.features[label_key], "names", None)
    groups = _groups(info.features[group_key], labels, rows) if group_key else None
    return from_arrays(stack_pictures(pictures), labels, class_names=names, groups=groups)


def _load(name: str, split: str, data_dir: Any, download: bool) -> tuple[Any, Any]:
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ImportError(
            f"`from_tfds` needs tensorflow-datasets, which cannot be imported ({error}). "
            "Install it with `pip install tensorflow-datasets importlib_resources`."
        ) from error
    try:
        return tfds.load(name, split=split, data_dir=data_dir, download=download, with_info=True)
    except tfds.core.DatasetNotFoundError as error:
        raise ValueError(
            f"tensorflow-datasets knows no data set {name!r} ({error}). Check the name, or import "
            "the module that defines it before."
        ) from error
    except AssertionError as error:
        raise ValueError(
            f"The data set {name!r} is not prepared ({error}). Pass `download=True`, or the "
            "`data_dir` that holds it."
        ) from error


def _find_keys(
    info: Any, image_key: str | None, label_key: str | None, group_key: str | None
) -> tuple[str, str]:
    import tensorflow_datasets as tfds

    known = sorted(info.features)
    unknown = [k for k in (image_key, label_key, group_key) if k is not None and k not in known]
    if unknown:
        raise ValueError(
            f"Keys must be features of {info.name!r} ({', '.join(known)}). Received: {unknown}."
        )
    image = image_key or _only(info, tfds.features.Image, "image_key", 0)
    return image, label_key or _only(info, tfds.features.ClassLabel, "label_key", 1)


def _only(info: Any, kind: type, argument: str, position: int) -> str:
    # `type ... is`: a segmentation mask is a subclass of Image, and no picture to classify.
    supervised = info.supervised_keys
    if supervised and isinstance(supervised[position], str):
        key = supervised[position]
        if type(info.features[key]) is kind:
            return key
    keys = [key for key, feature in info.features.items() if type(feature) is kind]
    if len(keys) != 1:
        raise ValueError(
            f"{info.name!r} must have one {kind.__name__} feature to be found by its type. "
            f"Received: {keys}. Pass `{argument}`, one of {sorted(info.features)}."
        )
    return keys[0]


def _groups(feature: Any, labels: list[int], rows: list[list[Any]]) -> list[str]:
    """Group of each class present, in the order of the labels."""
    names = getattr(feature, "names", None)
    found: dict[int, set[str]] = {}
    for label, (_, group) in zip(labels, rows, strict=True):
        text = group.decode() if isinstance(group, bytes) else str(group)
        found.setdefault(label, set()).add(names[int(group)] if names else text)
    mixed = [label for label, groups in found.items() if len(groups) > 1]
    if mixed:
        raise ValueError(
            "`group_key` must give all examples of a class the same group. "
            f"Received several for {len(mixed)} classes, such as label {mixed[0]}: "
            f"{sorted(found[mixed[0]])[:3]}. Choose another feature."
        )
    return [found[label].copy().pop() for label in sorted(found)]
