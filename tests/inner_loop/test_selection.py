"""Which variables the inner loop adapts."""

import keras
import pytest

from tfmeta.inner_loop import select_variables

BODY = ["hidden/kernel", "hidden/bias", "norm/gamma", "norm/beta"]
HEAD = ["head/kernel", "head/bias"]


@pytest.fixture
def network():
    return keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(3, name="hidden"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dense(2, name="head"),
            keras.layers.Activation("relu"),
        ]
    )


@pytest.mark.parametrize(
    "adapt, wanted",
    [
        ("all", BODY + HEAD),
        ("head", HEAD),
        ("body", BODY),
        ("kernel$", ["hidden/kernel", "head/kernel"]),
        ("/norm/", ["norm/gamma", "norm/beta"]),
        (lambda v: v.shape == (3, 2), ["head/kernel"]),
    ],
)
def test_selections(network, adapt, wanted):
    paths = [v.path for v in select_variables(network, adapt)]
    assert ["/".join(path.split("/")[-2:]) for path in paths] == wanted


def test_frozen_variables_are_never_selected(network):
    network.get_layer("head").trainable = False
    assert "head" not in " ".join(v.path for v in select_variables(network, "all"))
    # The head is the last layer that the inner loop may change.
    assert [v.name for v in select_variables(network, "head")] == ["gamma", "beta"]


def test_a_selection_of_nothing_names_what_there_is(network):
    with pytest.raises(ValueError, match=r"Received: adapt='kernels'.*hidden/kernel"):
        select_variables(network, "kernels")


def test_the_body_of_a_network_of_one_layer_is_nothing():
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="must select at least one trainable variable"):
        select_variables(network, "body")


def test_the_head_of_a_nested_network_is_its_last_layer_with_weights():
    body = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="hidden")])
    network = keras.Sequential([keras.Input((2,)), body, keras.layers.Dense(1, name="top")])
    assert {v.path.split("/")[-2] for v in select_variables(network, "head")} == {"top"}
