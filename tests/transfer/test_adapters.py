"""Adapters: identity at first, only they train, delta, merge, inner loops over them."""

import keras
import numpy as np
import pytest

from tfmeta import gradcheck
from tfmeta.learners import MAML
from tfmeta.transfer import (
    FineTune,
    add_adapters,
    load_delta,
    merge_adapters,
    save_delta,
    trained_share,
)


def pictures(n=6):
    return np.random.default_rng(0).standard_normal((n, 8, 8, 3)).astype("float32")


def model(*head):
    inner = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, activation="softplus", name="conv"),
            keras.layers.BatchNormalization(name="norm"),
        ],
        name="inner",
    )
    layers = [inner, keras.layers.Flatten(), keras.layers.Dense(5, activation="tanh", name="dense")]
    return keras.Sequential([keras.Input((8, 8, 3)), *layers, *head])


def stir(adapted):
    """Gives the adapters weights that are not the identity."""
    draws = np.random.default_rng(1)
    for v in adapted.trainable_variables:
        v.assign(v + 0.3 * draws.standard_normal(v.shape))


@pytest.mark.parametrize("kind", ["lora", "film", "bottleneck"])
def test_an_adapter_begins_as_the_identity_and_trains_alone(kind):
    base = model()
    wanted, before = base(pictures()), base.get_weights()
    adapted = add_adapters(base, kind)
    np.testing.assert_allclose(adapted(pictures()), wanted, rtol=1e-6, atol=1e-6)
    tuned = FineTune(adapted, 2)
    tuned.compile("adam")
    names = {v.name.split("_")[0] for v in adapted.trainable_variables}
    assert names == {"adapter" if kind == "bottleneck" else kind}
    tuned.fit(pictures(), np.arange(6) % 2, epochs=2, verbose=0)
    assert np.abs(adapted(pictures()) - wanted).max() > 1e-5
    for now, then in zip(base.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.parametrize("kind", ["lora", "film"])
def test_merged_is_unmerged(kind):
    adapted = add_adapters(model(), kind)
    stir(adapted)
    merged = merge_adapters(adapted)
    assert [w.shape for w in merged.weights] == [w.shape for w in model().weights]
    np.testing.assert_allclose(merged(pictures()), adapted(pictures()), rtol=1e-5, atol=1e-5)


def test_a_bottleneck_cannot_be_merged():
    with pytest.raises(ValueError, match="not linear"):
        merge_adapters(add_adapters(model(), "bottleneck"))


def test_low_rank_by_hand():
    layer = keras.layers.Dense(3, use_bias=False, name="dense")
    base = keras.Sequential([keras.Input((2,)), layer])
    adapted = add_adapters(base, "lora", rank=1, alpha=2.0)
    a, b = adapted.trainable_variables
    a.assign([[1.0], [2.0]])
    b.assign([[3.0, 4.0, 5.0]])
    x = np.array([[1.0, 1.0]], "float32")
    # x A B = (1 + 2) (3, 4, 5), times alpha / rank.
    np.testing.assert_allclose(adapted(x) - base(x), [[18.0, 24.0, 30.0]], rtol=1e-5)


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Embedding(7, 3),
        keras.layers.EinsumDense("abc,cd->abd", (None, 4)),
        keras.layers.Conv1D(4, 2),
    ],
)
def test_low_rank_of_other_layers(layer):
    is_embedding = isinstance(layer, keras.layers.Embedding)
    inputs = keras.Input((5,), dtype="int32") if is_embedding else keras.Input((5, 3))
    base = keras.Model(inputs, layer(inputs))
    adapted = add_adapters(base, "lora", rank=2)
    x = np.arange(5)[np.newaxis] if is_embedding else np.ones((1, 5, 3), "float32")
    wanted = base(x)
    np.testing.assert_allclose(adapted(x), wanted, rtol=1e-6)
    stir(adapted)
    assert np.abs(adapted(x) - wanted).max() > 1e-3
    np.testing.assert_allclose(merge_adapters(adapted)(x), adapted(x), rtol=1e-5, atol=1e-6)


def test_delta_and_base_give_the_model_back(tmp_path):
    base = model()
    start = base.get_weights()
    adapted = add_adapters(base, "lora")
    stir(adapted)
    n_weights = save_delta(adapted, tmp_path / "delta.npz")
    assert n_weights == sum(v.numpy().size for v in adapted.trainable_variables)
    assert n_weights < 0.9 * base.count_params()
    other = model()
    other.set_weights(start)
    again = add_adapters(other, "lora")
    load_delta(again, tmp_path / "delta.npz")
    np.testing.assert_allclose(again(pictures()), adapted(pictures()), rtol=1e-6, atol=1e-6)
    with pytest.raises(ValueError, match="must hold the variables"):
        load_delta(add_adapters(model(), "film"), tmp_path / "delta.npz")


def test_the_round_trip_keeps_adapters(tmp_path):
    adapted = add_adapters(model(), "film", pattern="conv")
    stir(adapted)
    adapted.save(tmp_path / "adapted.keras")
    loaded = keras.saving.load_model(tmp_path / "adapted.keras")
    np.testing.assert_allclose(loaded(pictures()), adapted(pictures()), rtol=1e-6)
    assert trained_share(adapted) == pytest.approx(8 / adapted.count_params())


@pytest.mark.parametrize("kind", ["lora", "film"])
def test_inner_loops_over_adapters_have_exact_gradients(kind):
    keras.utils.set_random_seed(0)
    network = add_adapters(model(keras.layers.Dense(2, name="head")), kind, pattern="conv|dense")
    learner = MAML(network, adapt=kind, inner_steps=2, update_rule=0.1)
    stir(network)
    inputs = {
        "support_x": pictures(4)[np.newaxis],
        "support_y": np.array([[0, 1, 0, 1]], "int32"),
        "query_x": pictures(6)[np.newaxis, 4:],
    }
    assert gradcheck(learner, inputs, np.array([[0, 1]], "int32")) < 1e-6


def test_bad_input():
    with pytest.raises(ValueError, match=r"must match a layer.*conv.*pattern='block'"):
        add_adapters(model(), "lora", pattern="block")
    with pytest.raises(ValueError, match="'lora', 'film', 'bottleneck'"):
        add_adapters(model(), "prefix")
    with pytest.raises(ValueError, match="rank=0"):
        add_adapters(model(), "lora", rank=0)
