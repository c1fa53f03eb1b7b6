"""Thread layouts are set before TensorFlow starts, or refused."""

import subprocess
import sys

import pytest
import tensorflow as tf

import tfmeta


def threads_after(layout):
    script = f"""
import os
import tensorflow as tf
import tfmeta
assert tf.config.threading.get_inter_op_parallelism_threads() == 0  # not by importing
tfmeta.configure_threads({layout!r})
print(tf.config.threading.get_intra_op_parallelism_threads(),
      tf.config.threading.get_inter_op_parallelism_threads(), os.cpu_count())
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return [int(word) for word in run.stdout.split()]


def test_tasks_side_by_side():
    intra, inter, cores = threads_after("tasks")
    assert (intra, inter) == (1, cores)


def test_operations_are_the_layout_of_tensorflow():
    assert threads_after("operations")[:2] == [0, 0]


def test_too_late():
    tf.constant(1.0) + 1.0
    with pytest.raises(RuntimeError, match="before TensorFlow computes anything"):
        tfmeta.configure_threads("tasks")


def test_unknown_layout():
    with pytest.raises(ValueError, match="Received: layout='cores'"):
        tfmeta.configure_threads("cores")
