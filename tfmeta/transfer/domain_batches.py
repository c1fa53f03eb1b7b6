"""Training batches with examples of two domains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfmeta.prefetching import prefetched


class JointBatch(NamedTuple):
    """Examples of both domains, those of the target first.

    Attributes:
        x: `[target + source, ...]`.
        y: class numbers `[target + source]`.
        target_weights: `[target]`, of the examples of the target.
    """

    x: tf.Tensor
    y: tf.Tensor
    target_weights: tf.Tensor

    @property
    def n_target(self) -> tf.Tensor:
        """The number of target examples."""
        return tf.shape(self.target_weights)[0]


def domain_pairs(
    source_x: Any, source_y: Any, target_x: Any, *, batch_size: int = 64, seed: int = 0
) -> tf.data.Dataset:
    """Infinite batches of labelled source and unlabelled target examples, as many of each.

    Args:
        source_x: `[n, ...]`.
        source_y: `[n]` class numbers.
        target_x: `[m, ...]`.
        batch_size: examples of each domain in a batch.
        seed: of the order, drawn anew for every pass.

    Returns:
        A dataset of `({"source_x": ..., "target_x": ...}, source_y)`, as `DANN`, `DAN` and
        `DeepCORAL` take it; give `fit` its `steps_per_epoch`.

    Raises:
        ValueError: for an empty domain, domains with examples of different shapes, or labels and
            examples that differ in number.

    Example:
        >>> pairs = domain_pairs(np.zeros((5, 2)), np.arange(5), np.ones((3, 2)), batch_size=4)
        >>> inputs, y = next(iter(pairs))
        >>> inputs["target_x"].shape, y.shape
        (TensorShape([4, 2]), TensorShape([4]))
    """
    source_x, source_y, target_x = (np.asarray(a) for a in (source_x, source_y, target_x))
    _check_examples({"source": source_x, "target": target_x})
    _check_labels("source", source_x, source_y)
    source = endless(source_x, source_y, batch_size=batch_size, seed=2 * seed)
    target = endless(target_x, batch_size=batch_size, seed=2 * seed + 1)
    return prefetched(tf.data.Dataset.zip(source, target).map(_pair))


def _pair(source: tuple[tf.Tensor, tf.Tensor], target: tuple[tf.Tensor]) -> tuple[dict, tf.Tensor]:
    return {"source_x": source[0], "target_x": target[0]}, source[1]


def joint_batches(
    source: tuple[Any, Any],
    target: tuple[Any, Any],
    validation: tuple[Any, Any] | None = None,
    *,
    batch_size: int = 64,
    seed: int = 0,
) -> tf.data.Dataset:
    """Infinite batches of labelled source and labelled target examples, as many of each.

    Args:
        source: examples `[n, ...]` and class numbers `[n]`.
        target: examples `[m, ...]` and class numbers `[m]`, of the same classes.
        validation: examples `[k, ...]` and class numbers `[k]` of the target, for a learned policy.
        batch_size: examples of each part in a batch.
        seed: of the order, drawn anew for every pass.

    Returns:
        A dataset of `({"target_x", "source_x", "source_y"}, target_y)`, with `"validation_x"` and
        `"validation_y"` among the inputs where there is a validation part, as `JointTransfer` takes
        it; give `fit` its `steps_per_epoch`.

    Raises:
        ValueError: for an empty part, parts with examples of different shapes, labels and examples
            that differ in number, or parts with different classes.

    Example:
        >>> source, target = (np.zeros((6, 2)), np.arange(6) % 2), (np.ones((2, 2)), np.arange(2))
        >>> inputs, target_y = next(iter(joint_batches(source, target, batch_size=4)))
        >>> sorted(inputs), target_y.shape
        (['source_x', 'source_y', 'target_x'], TensorShape([4]))
    """
    given = {"source": source, "target": target, "validation": validation}
    parts = {
        name: (np.asarray(part[0]), np.asarray(part[1]))
        for name, part in given.items()
        if part is not None
    }
    _check_examples({name: x for name, (x, _) in parts.items()})
    for name, (x, y) in parts.items():
        _check_labels(name, x, y)
    _check_classes({name: y for name, (_, y) in parts.items()})
    batches = {
        name: endless(*part, batch_size=batch_size, seed=3 * seed + number)
        for number, (name, part) in enumerate(parts.items())
    }
    return prefetched(tf.data.Dataset.zip(batches).map(_joint_element))


def _joint_element(parts: Mapping[str, tuple[tf.Tensor, tf.Tensor]]) -> tuple[dict, tf.Tensor]:
    inputs = {f"{name}_x": x for name, (x, _) in parts.items()}
    labels = {f"{name}_y": y for name, (_, y) in parts.items()}
    target_y = labels.pop("target_y")
    return {**inputs, **labels}, target_y


def endless(*arrays: np.ndarray, batch_size: int, seed: int) -> tf.data.Dataset:
    """Batches of one size without end, in an order that is drawn anew for every pass.

    Args:
        *arrays: each with one row an example.
        batch_size: examples in a batch, also where there are fewer in all.
        seed: of the order.

    Returns:
        A dataset of tuples.

    Example:
        >>> batch = next(iter(endless(np.arange(3), batch_size=4, seed=0)))
        >>> batch[0].shape
        TensorShape([4])
    """
    dataset = tf.data.Dataset.from_tensor_slices(arrays)
    dataset = dataset.shuffle(len(arrays[0]), seed=seed)
    return dataset.repeat().batch(batch_size, drop_remainder=True)


def _check_examples(parts: Mapping[str, np.ndarray]) -> None:
    if not all(map(len, parts.values())):
        counts = " and ".join(f"{len(x)} of the {name}" for name, x in parts.items())
        raise ValueError(
            f"Every domain must have examples. Received: {counts}. Load the empty one again."
        )
    shapes = {name: x.shape[1:] for name, x in parts.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(
            f"Both domains must have examples of one shape. Received: {shapes}. Resize one of them."
        )
    dtypes = {name: x.dtype.name for name, x in parts.items()}
    if len(set(dtypes.values())) > 1 and "uint8" in dtypes.values():
        raise ValueError(
            "Pictures of both domains must be uint8, or of both floats: uint8 is scaled to 0 ... 1 "
            f"and floats are not. Received: {dtypes}. Convert one of them."
        )


def _check_labels(name: str, x: np.ndarray, y: np.ndarray) -> None:
    if len(x) != len(y):
        raise ValueError(
            f"`{name}_y` must have one label for each {name} example. Received: "
            f"{len(y)} labels for {len(x)} examples."
        )


def _check_classes(labels: Mapping[str, np.ndarray]) -> None:
    """Refuses parts of which one has a class that another lacks."""
    every = set(np.concatenate([np.unique(y) for y in labels.values()]).tolist())
    missing = {name: sorted(every - set(np.unique(y).tolist())) for name, y in labels.items()}
    missing = {name: classes for name, classes in missing.items() if classes}
    if missing:
        found = "; ".join(f"the {name} without {_few(c)}" for name, c in missing.items())
        raise ValueError(
            "Source, target and validation must have the same classes, with an example of each. "
            f"Received: {found}, of {len(every)} classes in all. Leave out the classes that one of "
            "them lacks, or give it an example of each."
        )


def _few(classes: list[Any]) -> str:
    return f"classes {str(classes[:4])[1:-1]}{', ...' if len(classes) > 4 else ''}"
