import numpy as np
import tensorflow as tf

from tfmeta.functional import accuracy_by_instance, instance_numbers


def test_instance_numbers_count_earlier_steps_of_the_class():
    got = instance_numbers(tf.constant([[2, 0, 2, 2, 0], [1, 1, 1, 1, 1]]), 3)
    np.testing.assert_array_equal(got, [[0, 0, 1, 2, 1], [0, 1, 2, 3, 4]])


def test_accuracy_by_instance():
    y = tf.constant([[0, 1, 0, 1], [1, 0, 0, 1]])
    outputs = tf.one_hot([[0, 0, 0, 1], [0, 0, 1, 0]], 2)
    np.testing.assert_allclose(accuracy_by_instance(y, outputs, 2), [[0.5, 1.0], [0.5, 0.0]])


def test_an_instance_that_does_not_come_is_not_counted():
    got = accuracy_by_instance(tf.constant([[0, 0]]), tf.one_hot([[0, 0]], 2), 3)
    np.testing.assert_array_equal(got, [[1.0, 1.0, np.nan]])
