"""Transfer of a pretrained backbone: to few pictures of a class, and to episodes."""

import json

import keras
import pytest

from tfmeta.models import squeezenet

SPLIT = "--image-size=16 --steps=3 --batch-size=4 --pretrain-steps=2 --epochs=1"
EPISODES = (
    "--n-way=3 --n-query=2 --test-query=2 --n-tasks=2 --n-validation=2 --n-episodes=4 "
    "--inner-steps=2"
)


@pytest.fixture
def arguments(pictures, tmp_path):
    places = ["--run", str(tmp_path / "run"), "--record", str(tmp_path / "record.json")]
    return [*SPLIT.split(), "--data", str(pictures), "--split", f"{pictures}:split", *places]


def test_fine_tune_recipe(load, arguments, tmp_path):
    few = ["--sizes", "2", "--draws", "2", "--methods", "full", "probe", "LoRA"]
    record = load("transfer/fine_tune.py").main([*arguments, *few])
    assert json.loads((tmp_path / "record.json").read_text()) == record
    rows = record["table"]["rows"]
    assert [row[:2] for row in rows] == [["2", name] for name in ("full", "probe", "LoRA")]
    assert rows[0][3] == "–" and "±" in rows[1][3]
    shares = [float(row[5].rstrip("%")) for row in rows[:3]]
    assert shares[0] > 99.0 and 0.0 < shares[1] < shares[2] < 50.0


@pytest.mark.slow
def test_every_way_of_transfer(load, arguments):
    recipe = load("transfer/fine_tune.py")
    record = recipe.main([*arguments, "--sizes", "1", "--draws", "2"])
    assert [row[1] for row in record["table"]["rows"]] == list(recipe.METHODS)


def test_too_few_pictures_for_a_size(load, arguments):
    with pytest.raises(ValueError, match=r"more than `n_each`.*n_each=6"):
        load("transfer/fine_tune.py").main([*arguments, "--sizes", "6"])


def test_weights_of_a_file(load, pictures, tmp_path):
    path = tmp_path / "squeezenet.weights.h5"
    squeezenet().save_weights(path)
    recipe = load("transfer/fine_tune.py")
    backbone = recipe.build_backbone((32, 32, 3), recipe.parse(["--weights", str(path)]))
    assert backbone.output_shape == (None, 512)
    assert backbone.inputs[0].dtype == "uint8"


METHODS = ("simple_shot", "prototypical", "maml_head", "maml_lora", "maml_film")


def test_episodic_recipe(load, shallow, arguments):
    recipe = load("transfer/episodic.py")
    assert recipe.METHODS == METHODS
    methods = ["--methods", "simple_shot", "maml_film"]
    record = recipe.main([*arguments, *EPISODES.split(), *methods])
    assert [row["learner"] for row in record["comparison"]] == ["simple_shot", "maml_film"]
    assert record["comparison"][1]["minutes"] >= 0.0


@pytest.mark.parametrize("method", METHODS)
def test_what_the_outer_loop_trains(load, arguments, method):
    recipe = load("transfer/episodic.py")
    options = recipe.parse([*arguments, *EPISODES.split()])
    backbone = recipe.build_backbone((16, 16, 1), options)
    if method == "simple_shot":
        pytest.skip("it trains nothing")
    learner = recipe.build_learner(method, backbone, None, options)
    network = getattr(learner, learner.network_argument)
    assert network.inputs[0].dtype == backbone.inputs[0].dtype == "float32"
    trained = {v.path.split("/")[-1] for v in learner.trainable_variables}
    wanted = {
        "prototypical": {"kernel", "bias", "gamma", "beta"},
        "maml_lora": {"lora_a", "lora_b"},
        "maml_film": {"film_scale", "film_shift"},
        "maml_head": set(),
    }[method]
    rates = {name for name in trained if name.startswith("rates_")}
    head = {"kernel", "bias"} if method.startswith("maml") else set()
    assert trained - rates == wanted | head
    assert bool(rates) == method.startswith("maml")
    assert isinstance(learner, keras.Model)
