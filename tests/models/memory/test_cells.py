"""What every cell with a memory must do."""

import numpy as np
import pytest
import tensorflow as tf

from tfmeta.learners.streams import read_stream
from tfmeta.models.memory import DNC, MANN


@pytest.mark.parametrize("core", [MANN, DNC])
def test_gradients_of_a_stream_agree_with_finite_differences(core):
    cell = core(4, n_slots=5, slot_width=3, n_heads=2, dtype="float64")
    cell.build((None, 6))
    draws = np.random.default_rng(4)
    stream = tf.constant(draws.standard_normal((2, 6, 6)))
    weight = draws.standard_normal((2, 6, 10))

    def value():
        return tf.reduce_sum(weight * read_stream(cell, stream)[0])

    with tf.GradientTape() as tape:
        total = value()
    variables = cell.trainable_variables
    gradients = tape.gradient(total, [v.value for v in variables])
    for variable, gradient in zip(variables, gradients, strict=True):
        direction, h, start = draws.standard_normal(variable.shape), 1e-6, variable.numpy()
        moved = []
        for sign in (1, -1):
            variable.assign(start + sign * h * direction)
            moved.append(value())
        variable.assign(start)
        numeric = (moved[0] - moved[1]) / (2 * h)
        np.testing.assert_allclose(np.sum(gradient * direction), numeric, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(("core", "forget"), [(MANN, -3.0), (DNC, 1.0)])
def test_forget_gates_start_where_the_cell_says(core, forget):
    cell = core(2, n_slots=5, slot_width=3, n_heads=2)
    cell.build((None, 6))
    # Input, forget and output gates, and the candidate.
    assert cell.bias.numpy().tolist() == [0.0] * 2 + [forget] * 2 + [0.0] * 4
