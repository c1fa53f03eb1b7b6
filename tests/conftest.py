"""One setting of TensorFlow and matplotlib for all tests."""

import importlib
import os

# All of this must be in place before TensorFlow starts, so it is not in a fixture.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["MPLBACKEND"] = "Agg"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import keras
import pytest
import tensorflow as tf

# Two logical devices let `tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])` run on any machine.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


@pytest.fixture(scope="session")
def two_replicas():
    # One for all tests: TensorFlow gives a second strategy in the same process the collective
    # operations of the first.
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@pytest.fixture(autouse=True)
def same_weights_every_time():
    """Seeds what a test does not seed, so that no test depends on those before it."""
    keras.utils.set_random_seed(0)


@pytest.fixture
def shallow(monkeypatch):
    """Conv4 has one block, which is quick to trace, where its depth is not what is tested."""
    module = importlib.import_module("tfmeta.models.conv4")
    monkeypatch.setattr(module, "N_BLOCKS", 1)
    monkeypatch.setitem(module.conv4.__kwdefaults__, "n_poolings", 1)
