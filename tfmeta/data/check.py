"""What is wrong with examples, and the cure."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tfmeta.data.pictures import map_in_threads

if TYPE_CHECKING:
    from tfmeta.data.examples import Examples


def check_examples(
    examples: Examples,
    *,
    n_way: int,
    n_shot: int = 1,
    n_query: int = 15,
    others: Iterable[Examples] = (),
) -> list[str]:
    """List of what is wrong with `examples` for such episodes, each with its cure.

    Looks for too few classes, classes with too few examples, unreadable image files, values of
    the wrong range or dtype, the same picture twice (by the hash of its pixels), and classes or
    pictures that another split holds too. Every example is read once.

    Args:
        examples: What episodes are to be drawn from.
        n_way: Classes of an episode.
        n_shot: Support examples of a class.
        n_query: Query examples of a class.
        others: The other splits.

    Returns:
        One string a problem; empty when all is well.

    Example:
        >>> check_examples(examples, n_way=5, n_shot=1, n_query=15)
        []
    """
    scanned = _scan(examples)
    problems = _count_problems(examples, n_way, n_shot, n_query)
    problems += scanned.unreadable
    problems += [] if examples.is_text else _value_problems(examples, scanned)
    problems += _repeat_problems(examples, scanned.hashes)
    for i, other in enumerate(others):
        problems += _shared_problems(examples, scanned.hashes, other, f"others[{i}]")
    return problems


class _Scan(NamedTuple):
    hashes: dict[int, bytes]  # of each readable row
    low: float
    high: float
    unreadable: list[str]


def _scan(examples: Examples) -> _Scan:
    errors: list[str] = []

    def look(row: int) -> tuple[bytes, float, float] | None:
        if examples.is_text:
            return hashlib.blake2b(examples.x[row], digest_size=16).digest(), 0.0, 0.0
        try:
            x = np.ascontiguousarray(examples.read_row(row))
        except ValueError as error:
            errors.append(str(error))
            return None
        return hashlib.blake2b(x.tobytes(), digest_size=16).digest(), x.min(), x.max()

    n = len(examples)
    looked = map_in_threads(look, n) if examples.is_lazy else [look(row) for row in range(n)]
    found = {row: seen for row, seen in enumerate(looked) if seen is not None}
    values = np.array([seen[1:] for seen in found.values()], np.float64).reshape(-1, 2)
    # Not nanmin: one NaN anywhere must show in both.
    low, high = (values[:, 0].min(), values[:, 1].max()) if found else (0.0, 0.0)
    return _Scan({row: seen[0] for row, seen in found.items()}, low, high, sorted(errors))


def _count_problems(examples: Examples, n_way: int, n_shot: int, n_query: int) -> list[str]:
    problems = []
    if examples.n_classes < n_way:
        problems.append(
            f"{n_way} ways need as many classes, and there are {examples.n_classes}. "
            "Lower `n_way` or add classes."
        )
    needed = n_shot + n_query
    counts = zip(examples.class_names, examples.class_counts, strict=True)
    small = [f"{name!r} ({count})" for name, count in counts if count < needed]
    if small:
        problems.append(
            f"{len(small)} of {examples.n_classes} classes have fewer than n_shot + n_query = "
            f"{needed} examples: {_few(small)}. Add examples to them, leave them out with "
            "`select`, or lower `n_query`."
        )
    return problems


def _value_problems(examples: Examples, scanned: _Scan) -> list[str]:
    low, high, dtype = scanned.low, scanned.high, examples.dtype
    is_picture = len(examples.example_shape) == 3
    if not scanned.hashes:
        return []
    if not np.isfinite([low, high]).all():
        return ["Some values are NaN or infinite. Remove these examples or mend the values."]
    if low == high:
        return [f"Every value is {low:g}. Look at how the examples were read."]
    if not is_picture:
        return []
    if dtype == np.uint8 and high <= 1:
        return [
            "uint8 pictures are expected in 0..255, and no value exceeds 1: they would be almost "
            "black. Multiply them by 255."
        ]
    if dtype.kind in "iub" and dtype != np.uint8:
        return [
            f"Pictures are expected as uint8 in 0..255, and these are {dtype} in "
            f"{low:g}..{high:g}. Convert them with `x.astype(numpy.uint8)`."
        ]
    if dtype.kind == "f" and high > 1:
        return [
            f"Floating-point pictures are expected at most 1, and these are in {low:g}..{high:g}; "
            "only uint8 is scaled. Divide them by 255, or keep them uint8."
        ]
    return []


def _repeat_problems(examples: Examples, hashes: dict[int, bytes]) -> list[str]:
    rows_of: dict[bytes, list[int]] = defaultdict(list)
    for row, digest in hashes.items():
        rows_of[digest].append(row)
    within: list[str] = []
    between: list[str] = []
    for rows in rows_of.values():
        if len(rows) > 1:
            same_class = len({int(examples.y[row]) for row in rows}) == 1
            (within if same_class else between).append(_names(examples, rows[:3]))
    problems = []
    if within:
        problems.append(
            f"Copies within a class ({len(within)} found) make a query equal its support: "
            f"{_few(within)}. Remove the copies."
        )
    if between:
        problems.append(
            f"Copies in different classes ({len(between)} found) contradict each other: "
            f"{_few(between)}. Keep each in the class that it belongs to."
        )
    return problems


def _shared_problems(
    examples: Examples, hashes: dict[int, bytes], other: Examples, name: str
) -> list[str]:
    problems = []
    shared = sorted(set(examples.class_names) & set(other.class_names))
    if shared:
        problems.append(
            f"Classes shared with `{name}` ({len(shared)} found): "
            f"{_few([repr(c) for c in shared])}. Make the splits with `split_classes`, or rename "
            "the classes."
        )
    if examples.example_shape != other.example_shape:
        problems.append(
            f"Examples have shape {examples.example_shape}, and those of `{name}` "
            f"{other.example_shape}. Load both with the same `image_size` and `channels`."
        )
    known = set(_scan(other).hashes.values())
    rows = [row for row, digest in hashes.items() if digest in known]
    if rows:
        problems.append(
            f"Copies of examples in `{name}` ({len(rows)} found): "
            f"{_few([_names(examples, [row]) for row in rows])}. Remove them from one of the two."
        )
    return problems


def _names(examples: Examples, rows: Sequence[int]) -> str:
    def name(row: int) -> str:
        where = str(examples.x[row]) if examples.is_lazy else f"row {row}"
        where += f" {examples.x[row].decode()[:40]!r}" if examples.is_text else ""
        return f"{where} ({examples.class_names[examples.y[row]]!r})"

    return " = ".join(name(row) for row in rows)


def _few(items: Sequence[str]) -> str:
    rest = len(items) - 3
    return ", ".join(items[:3]) + (f" and {rest} more" if rest > 0 else "")
