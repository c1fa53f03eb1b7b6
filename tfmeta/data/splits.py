"""Classes divided into train, validation and test: disjoint, and saved."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from tfmeta.data.examples import Examples, unrotated

_TRIES = 100
_PARTS = ("train", "validation", "test")


def split_classes(
    examples: Examples,
    fractions: Sequence[float] = (0.64, 0.16, 0.20),
    *,
    seed: int = 0,
    by: str = "class",
    path: str | os.PathLike[str] | None = None,
) -> tuple[Examples, Examples, Examples]:
    """Train, validation and test examples that share no class.

    With `by="group"` they share no group either: of 100 random orders, each filled greedily into
    the part that lacks most classes, the one whose class counts come closest to the fractions
    (where groups are few, this may be the same split for every seed).

    Args:
        examples: All examples.
        fractions: Shares of the classes; positive, with sum 1.
        seed: The same seed gives the same split.
        by: `"class"` or `"group"`.
        path: JSON file to write the split to, for `load_split`.

    Returns:
        `(train, validation, test)`; classes keep their order.

    Raises:
        ValueError: wrong fractions, fewer than three classes or groups, groups asked for and not
            there, or classes rotated before the split.

    Example:
        >>> train, validation, test = split_classes(examples, by="group", path="split.json")
        >>> train = train.rotate()
    """
    _check_split(examples, fractions, by)
    rng = np.random.default_rng(seed)
    targets = np.asarray(fractions) * examples.n_classes
    units = _units(examples, by)
    parts = _fill(units, targets, rng) if by == "class" else _best_fill(units, targets, rng)
    splits = [examples.select(sorted(part)) for part in parts]
    if path is not None:
        names = {name: s.class_names for name, s in zip(_PARTS, splits, strict=True)}
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(names, indent=1) + "\n", encoding="utf-8")
    return splits[0], splits[1], splits[2]


def load_split(
    examples: Examples, path: str | os.PathLike[str], *, key: str | None = None
) -> tuple[Examples, Examples, Examples]:
    """Train, validation and test examples of a split that was saved or published as JSON.

    The file holds `{"train": [class names], "validation" or "val": [...], "test": [...]}`, or
    several such splits by `key`. Names that end in a rotation (`/rot090`, as in the Omniglot split
    of Vinyals et al., 2016) stand for the class that was turned, once; pairs `[group, class]` for
    `group/class`. Rotate the training part yourself: `train.rotate()`. Of an `.npz` file with
    `class_names`, the array `key` says for each class which part it is in: "train", "validation"
    (or "val") or "test".

    Args:
        examples: All examples, or at least those of the split.
        path: The JSON or `.npz` file.
        key: Which split, in a file with several; the name of the array in an `.npz` file.

    Returns:
        `(train, validation, test)`; classes in the order of the file.

    Raises:
        ValueError: the file cannot be read, a part is missing or empty, parts share a class, or a
            name is no class of `examples`.

    Example:
        >>> train, validation, test = load_split(omniglot, "few_shot_splits.json",
        ...                                      key="omniglot_vinyals")
    """
    parts = _read_parts(Path(path), key)
    known = {_omniglot_spelling(name): name for name in examples.class_names}
    known |= {name: name for name in examples.class_names}
    splits = []
    for part in parts:
        unknown = [name for name in part if name not in known]
        if unknown:
            raise ValueError(
                f"Every class of the split {str(path)!r} must be a class of the examples. Received "
                f"{len(unknown)} others, such as {unknown[:3]}; the examples have classes such as "
                f"{list(examples.class_names[:3])}. Load the data that the split was made for."
            )
        splits.append(examples.select([known[name] for name in part]))
    check_disjoint(*splits)
    return splits[0], splits[1], splits[2]


def check_disjoint(*splits: Examples) -> None:
    """Refuse splits that share classes, rotated or not.

    Args:
        *splits: Examples of each part.

    Raises:
        ValueError: two parts share a class; the first few are named.
    """
    classes = [{unrotated(name) for name in split.class_names} for split in splits]
    for (i, first), (j, second) in combinations(enumerate(classes), 2):
        shared = sorted(first & second)
        if shared:
            raise ValueError(
                f"Splits must not share classes. Received {len(shared)} in both split {i} and "
                f"split {j}: {', '.join(shared[:5])}. Divide the classes with `split_classes`."
            )


def _check_split(examples: Examples, fractions: Sequence[float], by: str) -> None:
    if len(fractions) != 3 or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(
            "`fractions` must be three positive numbers with sum 1 (train, validation, test). "
            f"Received: fractions={tuple(fractions)}."
        )
    if by not in ("class", "group"):
        raise ValueError(f'`by` must be "class" or "group". Received: by={by!r}.')
    if by == "group" and examples.groups is None:
        raise ValueError(
            '`by="group"` needs examples with groups. Received groups=None. '
            'Pass `groups=` to the loader, or split `by="class"`.'
        )
    n_units = len(_units(examples, by))
    if n_units < 3:
        plural = "classes" if by == "class" else "groups"
        raise ValueError(
            f"Three parts need at least 3 {plural}. Received {n_units}. "
            + ("Add classes." if by == "class" else 'Add groups, or split `by="class"`.')
        )
    if examples.is_rotated:
        raise ValueError(
            "Classes must be split before they are rotated, or turned copies of a class land in "
            f"two parts. Received class {examples.class_names[0]!r}. Call `rotate()` on the "
            "training part."
        )


def _units(examples: Examples, by: str) -> list[list[int]]:
    """Class numbers that must stay together."""
    if by == "class" or examples.groups is None:
        return [[c] for c in range(examples.n_classes)]
    groups: dict[str, list[int]] = {}
    for c, group in enumerate(examples.groups):
        groups.setdefault(group, []).append(c)
    return list(groups.values())


def _fill(units: list[list[int]], targets: np.ndarray, rng: np.random.Generator) -> list[list[int]]:
    """Parts filled in random order, each unit into the part that lacks most classes."""
    parts: list[list[int]] = [[] for _ in targets]
    order = rng.permutation(len(units))
    for done, u in enumerate(order):
        lacking = targets - [len(part) for part in parts]
        empty = [i for i, part in enumerate(parts) if not part]
        if len(order) - done <= len(empty):  # the last units go to the parts without any
            lacking[[i for i in range(len(parts)) if i not in empty]] = -np.inf
        parts[int(np.argmax(lacking))] += units[u]
    return parts


def _best_fill(
    units: list[list[int]], targets: np.ndarray, rng: np.random.Generator
) -> list[list[int]]:
    fills = [_fill(units, targets, rng) for _ in range(_TRIES)]
    return min(fills, key=lambda parts: np.abs([len(p) for p in parts] - targets).sum())


def _read_parts(path: Path, key: str | None) -> list[list[str]]:
    content = _read_npz(path, key) if path.suffix == ".npz" else _read_json(path, key)
    parts = [content.get(name) or content.get(name[:3], []) for name in _PARTS]
    if not all(parts):
        raise ValueError(
            f"A split must name classes for train, validation (or val) and test. {str(path)!r} "
            f"holds: {', '.join(content)}. Pass one of these as `key`, or mend the file."
        )
    names = [[n if isinstance(n, str) else "/".join(n) for n in part] for part in parts]
    return [list(dict.fromkeys(unrotated(name) for name in part)) for part in names]


def _read_json(path: Path, key: str | None) -> dict[str, list]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"The split {str(path)!r} cannot be read as JSON ({error}). Check the path, or write "
            "it again with `split_classes(..., path=)`."
        ) from error
    if key is None:
        return content
    if key not in content:
        raise ValueError(
            f"`key` must be a split in {str(path)!r} ({', '.join(content)}). Received: {key!r}."
        )
    return content[key]


def _read_npz(path: Path, key: str | None) -> dict[str, list]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names, parts = arrays["class_names"].tolist(), arrays[str(key)].tolist()
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"The split {str(path)!r} must hold the arrays `class_names` and `key`. Received: "
            f"key={key!r} ({error}). Name the array that gives the part of every class."
        ) from error
    by_part: dict[str, list] = {}
    for name, part in zip(names, parts, strict=True):
        by_part.setdefault(part, []).append(name)
    return by_part


def _omniglot_spelling(name: str) -> str:
    """`Greek/character01` for `Greek_0`, as tensorflow-datasets calls Omniglot's characters."""
    alphabet, _, number = name.rpartition("_")
    if alphabet and number.isdigit():
        return f"{alphabet}/character{int(number) + 1:02d}"
    return name
