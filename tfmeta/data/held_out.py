"""Examples of every class divided into some to train on and the rest."""

from __future__ import annotations

import numpy as np

from tfmeta.data.examples import Examples


def split_examples(examples: Examples, n_each: int, *, seed: int = 0) -> tuple[Examples, Examples]:
    """Some examples of every class, and all others; both have all the classes.

    Of one seed, a smaller `n_each` gives a part of what a larger one gives.

    Args:
        examples: All examples.
        n_each: Examples a class in the first part.
        seed: The same seed gives the same parts.

    Returns:
        `(some, others)`; the rows are ordered by class.

    Raises:
        ValueError: no example is asked for, or a class would leave none for the other part.

    Example:
        >>> some, others = split_examples(examples, 2)
        >>> int(some.class_counts.max()), len(some) + len(others) == len(examples)
        (2, True)
    """
    if n_each < 1:
        raise ValueError(f"`n_each` must be at least 1. Received: n_each={n_each}.")
    fewest = int(examples.class_counts.argmin())
    if examples.class_counts[fewest] <= n_each:
        raise ValueError(
            f"Every class must have more than `n_each` examples. Received: n_each={n_each} and "
            f"class {examples.class_names[fewest]!r} with {examples.class_counts[fewest]}. "
            "Lower `n_each` or leave out the class."
        )
    starts = np.cumsum(examples.class_counts)[:-1]
    shuffled = [
        np.random.default_rng([seed, number]).permutation(rows)
        for number, rows in enumerate(np.split(examples.rows_by_class, starts))
    ]
    some = np.concatenate([rows[:n_each] for rows in shuffled])
    others = np.concatenate([rows[n_each:] for rows in shuffled])
    return examples.take(some), examples.take(others)
