"""Errors that a graph can only report as the failure of an operation, raised as `ValueError`."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

_MARK = "tfmeta"
_ASSERTION = re.compile(rf"\[{_MARK}: (?P<message>[^\]]*)\]\s*(?P<values>(\[(?!\[)[^\]]*\]\s*)*)")
_PYTHON_ERROR = re.compile(r"ValueError: (?P<message>.*?)(\nTraceback|\n\n|$)", re.DOTALL)


def require(condition: tf.Tensor, message: str, values: Sequence[tf.Tensor], then: Any) -> Any:
    """`then`, if the condition holds; a ValueError with message and values if not.

    In a graph the error is an operation's failure, which `errors_as_value_errors` turns into the
    ValueError. XLA drops the check.
    """
    if tf.executing_eagerly():
        if not bool(condition):
            raise ValueError(f"{message} {', '.join(str(v.numpy()) for v in values)}")
        return then
    check = tf.debugging.Assert(condition, [f"{_MARK}: {message}", *values], summarize=16)
    with tf.control_dependencies([check]):
        return tf.nest.map_structure(tf.identity, then)


@contextlib.contextmanager
def errors_as_value_errors() -> Iterator[None]:
    """Scope that raises what `require`, or Python code inside a dataset, found as a ValueError."""
    try:
        yield
    except tf.errors.OpError as error:
        found = _ASSERTION.search(error.message) or _PYTHON_ERROR.search(error.message)
        if found is None:
            raise
        values = found.groupdict().get("values") or ""
        values = ", ".join(value for value in re.findall(r"\[([^\]]*)\]", values))
        raise ValueError(f"{found['message'].strip()} {values}".strip()) from error
