import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf
from sklearn.neighbors import NearestCentroid as SklearnNearestCentroid

from tfmeta.evaluation import (
    EpisodeReport,
    MeanPredictor,
    NearestCentroid,
    compare_reports,
    evaluate_episodes,
)
from tfmeta.intervals import mean_interval, student_t_quantile

N_WAY, N_SHOT, N_QUERY = 3, 2, 4
REQUIRED = ("support_x", "support_y", "query_x")


def episodes(n, seed=0, n_way=N_WAY):
    """`n` episodes of 2-dimensional Gaussian classes, as one batch."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(n, n_way, 1, 2))
    points = centres + 0.7 * rng.normal(size=(n, n_way, N_SHOT + N_QUERY, 2))
    support, query = points[:, :, :N_SHOT], points[:, :, N_SHOT:]
    inputs = {
        "support_x": tf.constant(support.reshape(n, -1, 2), tf.float32),
        "support_y": tf.constant(np.tile(np.repeat(np.arange(n_way), N_SHOT), (n, 1)), tf.int32),
        "query_x": tf.constant(query.reshape(n, -1, 2), tf.float32),
    }
    return inputs, tf.constant(np.tile(np.repeat(np.arange(n_way), N_QUERY), (n, 1)), tf.int32)


def batched(batch, size):
    return tf.data.Dataset.from_tensor_slices(batch).batch(size)


def fixed_hits(n_right):
    """A learner that gets `n_right[episode]` of the episode's queries right."""

    def learner(inputs):
        right = tf.gather(tf.constant(n_right), inputs["episode"])
        n_query = tf.shape(inputs["query_x"])[1]
        labels = tf.range(n_query) // (n_query // N_WAY)
        is_right = tf.range(n_query) < right[:, tf.newaxis]
        return tf.one_hot(tf.where(is_right, labels, (labels + 1) % N_WAY), N_WAY)

    return learner


def with_numbers(batch):
    inputs, query_y = batch
    return {**inputs, "episode": tf.range(len(query_y), dtype=tf.int64)}, query_y


def report(values, **changes):
    mean, ci = mean_interval(np.array(values))
    fields = {
        "mean": mean,
        "ci": ci,
        "n_episodes": len(values),
        "per_episode": np.array(values),
        "metric": "accuracy",
        "statistics": "inductive",
        "episode_hash": "c0ffee",
    }
    return EpisodeReport(**{**fields, **changes})


# ----- intervals


@pytest.mark.parametrize(
    ("confidence", "degrees_of_freedom", "expected"),
    # The printed two-sided tables.
    [
        (0.95, 1, 12.706),
        (0.95, 2, 4.303),
        (0.95, 10, 2.228),
        (0.95, 30, 2.042),
        (0.95, 599, 1.964),
        (0.99, 5, 4.032),
        (0.90, 20, 1.725),
        (0.999, 1, 636.619),
    ],
)
def test_student_t_quantiles_are_those_of_the_tables(confidence, degrees_of_freedom, expected):
    assert student_t_quantile(confidence, degrees_of_freedom) == pytest.approx(expected, abs=5e-4)


def test_interval_by_hand():
    # Mean 3, sample variance (4 + 0 + 4) / 2 = 4, so 4.303 * 2 / sqrt(3).
    mean, ci = mean_interval(np.array([1.0, 3.0, 5.0]))
    assert mean == 3.0
    assert ci == pytest.approx(4.30265 * 2 / np.sqrt(3), rel=1e-5)


@pytest.mark.parametrize("values", [[], [1.0]])
def test_an_interval_needs_two_values(values):
    with pytest.raises(ValueError, match="needs two values"):
        mean_interval(np.array(values))


# ----- evaluate_episodes


def test_results_of_known_hits():
    n_right = [12, 6, 0, 3]
    learner = fixed_hits(n_right)
    result = evaluate_episodes(learner, [with_numbers(episodes(4))], n_episodes=4)
    np.testing.assert_array_equal(result.per_episode, np.array(n_right) / 12)
    assert result.mean == pytest.approx(21 / 48)
    assert result.ci == pytest.approx(3.18245 * np.std(result.per_episode, ddof=1) / 2, rel=1e-5)
    assert (result.metric, result.statistics, result.n_episodes) == ("accuracy", "inductive", 4)
    assert result.protocol == {"n_way": N_WAY, "n_shot": N_SHOT, "n_query": N_QUERY}


@pytest.mark.parametrize("size", [1, 3, 4, 10])
def test_a_report_does_not_depend_on_batching(size):
    batch = episodes(10)
    whole = evaluate_episodes(NearestCentroid(), [batch], n_episodes=7)
    assert evaluate_episodes(NearestCentroid(), batched(batch, size), n_episodes=7) == whole
    assert len(whole.per_episode) == 7


def test_the_hash_is_that_of_the_episodes_that_were_used():
    batch = episodes(6)
    first_four = tf.nest.map_structure(lambda t: t[:4], batch)
    report_of_cut = evaluate_episodes(NearestCentroid(), [batch], n_episodes=4)
    report_of_four = evaluate_episodes(NearestCentroid(), [first_four], n_episodes=4)
    other = evaluate_episodes(NearestCentroid(), [episodes(6, seed=1)], n_episodes=4)
    assert report_of_cut.episode_hash == report_of_four.episode_hash
    assert report_of_cut.episode_hash != other.episode_hash


def test_endless_episodes_are_read_only_as_far_as_needed():
    endless = batched(episodes(4), 3).repeat()
    assert evaluate_episodes(NearestCentroid(), endless, n_episodes=9).n_episodes == 9


def test_sample_weight_weights_queries_and_zero_leaves_them_out():
    inputs, query_y = with_numbers(episodes(2))
    weight = np.zeros((2, 12), "float32")
    weight[:, 0], weight[:, 11] = 3.0, 1.0
    result = evaluate_episodes(fixed_hits([6, 12]), [(inputs, query_y, weight)], n_episodes=2)
    np.testing.assert_allclose(result.per_episode, [0.75, 1.0])
    assert result.protocol["n_query"] == 1


def test_padding_is_out_of_sight_of_a_transductive_learner():
    def learner(inputs):
        centred = inputs["query_x"] - tf.reduce_mean(inputs["query_x"], axis=1, keepdims=True)
        return NearestCentroid()({**inputs, "query_x": centred})

    class Transductive:
        transductive = True

        def __call__(self, inputs):
            return learner(inputs)

    inputs, query_y = episodes(5)
    plain = evaluate_episodes(Transductive(), [(inputs, query_y)], n_episodes=5)
    padded = {**inputs, "query_x": tf.pad(inputs["query_x"], [[0, 0], [0, 5], [0, 0]])}
    padded_y, weight = (
        tf.pad(query_y, [[0, 0], [0, 5]]),
        tf.pad(tf.ones_like(query_y, tf.float32), [[0, 0], [0, 5]]),
    )
    result = evaluate_episodes(Transductive(), [(padded, padded_y, weight)], n_episodes=5)
    np.testing.assert_array_equal(result.per_episode, plain.per_episode)
    assert result.statistics == "transductive"


def test_regression_gives_the_mean_squared_error():
    inputs = {
        "support_x": tf.zeros([2, 2, 1]),
        "support_y": tf.constant([[[1.0], [3.0]], [[0.0], [0.0]]]),
        "query_x": tf.zeros([2, 2, 1]),
    }
    query_y = tf.constant([[[2.0], [4.0]], [[1.0], [-3.0]]])
    result = evaluate_episodes(MeanPredictor(), [(inputs, query_y)], n_episodes=2)
    np.testing.assert_allclose(result.per_episode, [(0 + 4) / 2, (1 + 9) / 2])
    assert result.metric == "mse"
    assert result.protocol == {"n_shot": 2, "n_query": 2}


def test_varying_shot_is_reported_as_a_range():
    inputs, query_y = episodes(2)
    mask = np.ones((2, N_WAY * N_SHOT), bool)
    mask[1, 0] = False
    masked = {**inputs, "support_mask": tf.constant(mask)}
    result = evaluate_episodes(NearestCentroid(), [(masked, query_y)], n_episodes=2)
    assert result.protocol == {"n_way": N_WAY, "n_shot": [1, 2], "n_query": N_QUERY}


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, "inductive"),
        ({"statistics": "support"}, "inductive"),
        ({"statistics": "running"}, "inductive"),
        ({"statistics": "transductive"}, "transductive"),
        ({"statistics": "support", "transductive": True}, "transductive"),
        ({"statistics": "transductive", "transductive": False}, "inductive"),
    ],
)
def test_the_kind_of_result_is_what_the_learner_says(attributes, expected):
    def learner(inputs):
        return NearestCentroid()(inputs)

    vars(learner).update(attributes)
    assert evaluate_episodes(learner, [episodes(2)], n_episodes=2).statistics == expected


def test_the_learner_is_traced_once_for_full_batches():
    traces = []

    def learner(inputs):
        traces.append(1)
        return NearestCentroid()(inputs)

    evaluate_episodes(learner, batched(episodes(12), 3), n_episodes=12)
    assert len(traces) == 1


def test_too_few_episodes():
    with pytest.raises(ValueError, match=r"n_episodes=5 episodes\. Received: 4"):
        evaluate_episodes(NearestCentroid(), batched(episodes(4), 3), n_episodes=5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_episodes": 1}, "n_episodes=1"),
        ({"n_episodes": 2, "confidence": 95}, "confidence=95"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        evaluate_episodes(NearestCentroid(), [episodes(2)], **arguments)


def test_outputs_that_are_not_finite_name_the_episode():
    inputs, query_y = with_numbers(episodes(3))
    inputs["episode"] = inputs["episode"] + 40

    def learner(inputs):
        factor = tf.where(inputs["episode"] == 41, float("inf"), 1.0)
        return NearestCentroid()(inputs) * factor[:, tf.newaxis, tf.newaxis]

    with pytest.raises(ValueError, match="episode 41"):
        evaluate_episodes(learner, [(inputs, query_y)], n_episodes=3)


def test_without_numbers_an_episode_is_named_by_its_place():
    def learner(inputs):
        bad = tf.cast(inputs["query_x"] > 50.0, tf.float32)[..., :1]
        return NearestCentroid()(inputs) / (1.0 - bad)

    inputs, query_y = episodes(6)
    query_x = inputs["query_x"].numpy()
    query_x[4, 0, 0] = 99.0
    bad = ({**inputs, "query_x": tf.constant(query_x)}, query_y)
    with pytest.raises(ValueError, match="1 queries of episode 4"):
        evaluate_episodes(learner, batched(bad, 2), n_episodes=6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x, y + 1), "0 ... n_way - 1 = 2"),
        (lambda x, y: (x, y - 1), "-1 ... 1"),
        (lambda x, y: (x, tf.cast(y, tf.float32)), "floats \\[tasks, query, d\\]"),
        (lambda x, y: (x, y[:, :-1]), "\\(2, 11\\)"),
        (lambda x, y: (x, y, np.ones((2, 3))), "`sample_weight`"),
        (lambda x, y: (x, y, np.zeros((2, 12))), "episode 0 with none"),
        (lambda x, y: x, "pairs \\(inputs, query_y\\)"),
    ],
)
def test_episodes_that_do_not_fit(change, message):
    with pytest.raises(ValueError, match=message):
        evaluate_episodes(NearestCentroid(), [change(*episodes(2))], n_episodes=2)


# ----- controls


def test_nearest_centroid_is_that_of_scikit_learn():
    inputs, _ = episodes(5)
    predicted = np.argmax(NearestCentroid()(inputs), axis=-1)
    for task in range(5):
        reference = SklearnNearestCentroid().fit(
            inputs["support_x"][task], inputs["support_y"][task]
        )
        np.testing.assert_array_equal(predicted[task], reference.predict(inputs["query_x"][task]))


def test_nearest_centroid_is_minus_a_squared_distance_of_scaled_pictures():
    inputs = {
        "support_x": tf.constant([[[[0], [0]], [[255], [255]]]], tf.uint8),
        "support_y": tf.constant([[0, 1]]),
        "query_x": tf.constant([[[[255], [0]]]], tf.uint8),
    }
    np.testing.assert_allclose(NearestCentroid()(inputs), [[[-1.0, -1.0]]], atol=1e-6)


def test_controls_leave_out_padding():
    inputs, _ = episodes(2)
    padded = {
        **inputs,
        "support_x": tf.pad(inputs["support_x"], [[0, 0], [0, 2], [0, 0]], constant_values=9.0),
        "support_y": tf.pad(inputs["support_y"], [[0, 0], [0, 2]]),
        "support_mask": tf.pad(tf.ones([2, 6], tf.bool), [[0, 0], [0, 2]]),
    }
    np.testing.assert_array_equal(NearestCentroid()(padded), NearestCentroid()(inputs))
    values = {"support_y": inputs["support_x"], "query_x": inputs["query_x"]}
    padded_values = {**padded, "support_y": padded["support_x"]}
    np.testing.assert_allclose(MeanPredictor()(padded_values), MeanPredictor()(values), atol=1e-6)


def test_a_class_that_a_task_lacks_is_never_predicted():
    inputs = {
        "support_x": tf.constant([[[5.0], [6.0]], [[5.0], [6.0]]]),
        "support_y": tf.constant([[0, 1], [0, 2]]),
        "query_x": tf.constant([[[0.0]], [[0.0]]]),
    }
    logits = NearestCentroid()(inputs)
    assert np.isfinite(logits).all()
    np.testing.assert_array_equal(np.argmax(logits, axis=-1), [[0], [0]])


# ----- reports


def test_the_words_of_a_report():
    values = np.tile([1.0, 0.9562], 300)
    assert str(report(values)) == "97.81 % ± 0.18 (95 % CI, 600 episodes, inductive)"
    loss = report([0.4, 0.424], metric="mse", statistics="transductive", ci=0.0314)
    assert str(loss) == "0.412 ± 0.031 (95 % CI, 2 episodes, transductive)"
    assert str(report([1.2e-4, 1.4e-4], metric="mse", ci=2.5e-5)).startswith("0.000130 ± 0.000025")
    assert str(report([1.0, 1.0], confidence=0.999)).startswith("100.00 % ± 0.00 (99.9 % CI")


def test_a_report_survives_json_bit_for_bit(tmp_path):
    values = np.random.default_rng(0).random(5)
    first = report(values, name="ProtoNet ±", protocol={"n_way": 5, "n_shot": [1, 5]})
    path = tmp_path / "report.json"
    text = first.to_json(path)
    for source in (path, str(path), text):
        again = EpisodeReport.from_json(source)
        assert again == first
        np.testing.assert_array_equal(again.per_episode, values)
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]
    assert again != dataclasses.replace(first, mean=0.0)


def test_a_failed_write_leaves_the_old_report(tmp_path):
    path = tmp_path / "report.json"
    report([0.5, 0.6]).to_json(path)
    before = path.read_text(encoding="utf-8")
    with pytest.raises(TypeError):
        report([0.1, 0.2], name=object()).to_json(path)
    assert path.read_text(encoding="utf-8") == before


def test_what_is_not_a_report_is_refused():
    fields = json.loads(report([0.5, 0.6]).to_json())
    del fields["ci"]
    for text in ("{broken", json.dumps(fields), "{}"):
        with pytest.raises(ValueError, match="must be a report"):
            EpisodeReport.from_json(text)


def test_a_report_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        report([0.5, 0.6]).mean = 1.0


# ----- comparison


def test_a_paired_difference_by_hand():
    a, b = report([0.9, 0.8, 0.7]), report([0.8, 0.8, 0.5])
    # Differences 0.1, 0.0, 0.2: mean 0.1, standard deviation 0.1.
    paired = compare_reports(a, b)
    assert paired.mean == pytest.approx(0.1)
    assert paired.ci == pytest.approx(4.30265 * 0.1 / np.sqrt(3), rel=1e-5)
    assert paired.better is None
    assert str(paired) == "no difference (10.00 ± 24.84 points, 95 % CI, 3 paired episodes)"


def test_pairs_see_what_two_overlapping_intervals_do_not():
    spread = np.linspace(0.2, 0.9, 50)
    a, b = report(spread + 0.012, name="MAML"), report(spread, name="nearest centroid")
    assert a.mean - a.ci < b.mean + b.ci
    paired = compare_reports(a, b)
    assert paired.better == "MAML"
    expected = "MAML is better by 1.20 ± 0.00 points (95 % CI, 50 paired episodes)"
    assert str(paired) == expected
    assert str(compare_reports(b, a)) == expected


def test_a_lower_error_is_better():
    a, b = report([0.1, 0.2], metric="mse"), report([1.1, 1.2], metric="mse")
    assert str(compare_reports(a, b)) == "a is better by 1.000 ± 0.000 (95 % CI, 2 paired episodes)"


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"episode_hash": "beef"}, "c0ffee .*beef"), ({"metric": "mse"}, "same metric")],
)
def test_other_episodes_or_metrics_are_not_compared(changes, message):
    with pytest.raises(ValueError, match=message):
        compare_reports(report([0.5, 0.6]), report([0.5, 0.7], **changes))
