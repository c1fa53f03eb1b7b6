"""Calibration of a threshold, and the report on unknown queries, against NumPy and scikit-learn."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import log_loss, roc_auc_score

import tfmeta
from tfmeta.learners import PrototypicalNetwork

N_KNOWN, N_UNKNOWN = 12, 8


def prototypes(**options):
    backbone = keras.Sequential([keras.Input((2,)), keras.layers.Rescaling(1.0)])
    return PrototypicalNetwork(backbone, **options)


def episodes(n_tasks, *, seed=0, unknown=True):
    """Three classes around centres of their own; unknown queries around a fourth."""
    draws = np.random.default_rng(seed)
    centres = 1.5 * draws.standard_normal((n_tasks, 4, 2))
    support_y = np.tile(np.arange(3), (n_tasks, 1))
    query_y = draws.integers(0, 3, (n_tasks, N_KNOWN))
    if unknown:
        query_y = np.concatenate([query_y, np.full((n_tasks, N_UNKNOWN), -1)], axis=1)

    def around(labels):
        centre = np.take_along_axis(centres, labels[..., np.newaxis] % 4, axis=1)
        return (centre + draws.standard_normal(centre.shape)).astype("float32")

    inputs = {"support_x": around(support_y), "support_y": support_y, "query_x": around(query_y)}
    return inputs, query_y


def in_batches(data, size):
    return tf.data.Dataset.from_tensor_slices(data).batch(size)


def scores_of(learner, inputs, query_y):
    scores = learner(inputs).numpy().max(axis=-1)
    return scores[query_y >= 0], scores[query_y < 0]


@pytest.mark.parametrize("known_kept", [0.5, 0.95, 1.0])
def test_the_threshold_keeps_the_share_and_not_one_more(known_kept):
    learner, data = prototypes(), episodes(5)
    rejection = tfmeta.calibrate_rejection(
        learner, in_batches(data, 2), n_episodes=5, known_kept=known_kept
    )
    known, unknown = scores_of(learner, *data)
    assert learner.rejection is rejection
    assert np.mean(known > rejection.threshold - 1e-5) >= known_kept
    assert np.mean(known > rejection.threshold + 1e-5) < known_kept
    assert rejection.known_kept == np.mean(known > rejection.threshold - 1e-5)
    assert rejection.unknown_rejected == np.mean(unknown < rejection.threshold)


def test_unknown_queries_have_no_part_in_the_share_that_is_kept():
    learner = prototypes()
    with_them = tfmeta.calibrate_rejection(learner, [episodes(4)], n_episodes=4)
    inputs, query_y = episodes(4)
    inputs = {**inputs, "query_x": inputs["query_x"][:, :N_KNOWN]}
    without = tfmeta.calibrate_rejection(learner, [(inputs, query_y[:, :N_KNOWN])], n_episodes=4)
    assert without.threshold == pytest.approx(with_them.threshold, rel=1e-6)
    assert without.unknown_rejected is None


def test_the_best_threshold_is_the_best_of_all():
    learner, data = prototypes(), episodes(5)
    rejection = tfmeta.calibrate_rejection(learner, [data], n_episodes=5, known_kept=None)
    known, unknown = scores_of(learner, *data)

    def gain(threshold):
        return np.mean(known >= threshold) + np.mean(unknown < threshold)

    best = max(gain(threshold) for threshold in np.concatenate([known, unknown]))
    assert gain(rejection.threshold) == pytest.approx(best, abs=1e-12)
    assert rejection.known_kept + rejection.unknown_rejected == pytest.approx(best, abs=1e-12)


@pytest.fixture(scope="module")
def evaluated():
    learner, data = prototypes(), episodes(6, seed=1)
    tfmeta.calibrate_rejection(learner, [episodes(6)], n_episodes=6, known_kept=0.8)
    return learner, data, tfmeta.evaluate_open_set(learner, in_batches(data, 4), n_episodes=6)


def test_every_measure_against_numpy_and_scikit_learn(evaluated):
    learner, (inputs, query_y), report = evaluated
    logits = learner(inputs).numpy()
    probabilities = tf.nn.softmax(logits.astype("float64")).numpy()
    for task in range(6):
        p, y, of = probabilities[task], query_y[task], lambda k, t=task: report.per_episode[k][t]
        known, score = y >= 0, logits[task].max(axis=1)
        kept = score >= np.float32(learner.rejection.threshold)
        right = kept & (p.argmax(axis=1) == y)
        assert of("auroc") == pytest.approx(roc_auc_score(known, score), abs=1e-9)
        assert of("accuracy") == pytest.approx(np.mean(np.where(known, right, ~kept)))
        assert of("known_kept") == pytest.approx(kept[known].mean())
        assert of("known_accuracy") == pytest.approx(right[known].mean())
        assert of("unknown_rejected") == pytest.approx(1 - kept[~known].mean())
        likelihood = log_loss(y[known], p[known], labels=[0, 1, 2])
        assert of("nll") == pytest.approx(likelihood, rel=1e-5)
    known = query_y >= 0
    pooled = tfmeta.functional.expected_calibration_error(
        tf.constant(query_y[known]), tf.constant(probabilities[known])
    )
    assert report.pooled_ece == pytest.approx(float(pooled), abs=1e-6)
    for key, values in report.per_episode.items():
        assert report.mean[key] == pytest.approx(np.mean(values))
        assert report.ci[key] == pytest.approx(2.570582 * np.std(values, ddof=1) / 6**0.5)


def test_the_report_says_its_protocol(evaluated):
    learner, data, report = evaluated
    assert set(report.protocol) == {"n_way", "n_shot", "n_query", "n_unknown"}
    assert [report.protocol[key] for key in ("n_way", "n_shot", "n_unknown")] == [3, 1, N_UNKNOWN]
    assert report.statistics == "inductive"
    assert report.episode_hash == tfmeta.data.episode_hash(in_batches(data, 3))
    assert report.rejection["threshold"] == learner.rejection.threshold
    assert str(report).startswith(f"auroc {100 * report.mean['auroc']:.2f} % ± ")
    assert str(report).endswith("(95 % CI, 6 episodes, inductive)")


def test_a_report_survives_json(evaluated, tmp_path):
    report = evaluated[2]
    assert tfmeta.OpenSetReport.from_json(report.to_json()) == report
    report.to_json(tmp_path / "report.json")
    assert tfmeta.OpenSetReport.from_json(tmp_path / "report.json") == report
    with pytest.raises(ValueError, match=r"OpenSetReport\.to_json"):
        tfmeta.OpenSetReport.from_json('{"format": "tfmeta.EpisodeReport"}')


def test_queries_of_weight_0_are_left_out(evaluated):
    learner, (inputs, query_y), report = evaluated
    nonsense = np.full((6, 3, 2), 99.0, "float32")
    padded = {**inputs, "query_x": np.concatenate([inputs["query_x"], nonsense], axis=1)}
    weight = np.repeat([[1.0] * 20 + [0.0] * 3], 6, axis=0)
    labels = np.concatenate([query_y, np.zeros((6, 3), int)], axis=1)
    again = tfmeta.evaluate_open_set(learner, [(padded, labels, weight)], n_episodes=6)
    for key, values in report.per_episode.items():
        np.testing.assert_allclose(again.per_episode[key], values, rtol=1e-6)


def test_transductive_is_said():
    report = tfmeta.evaluate_open_set(
        prototypes(statistics="transductive"),
        [episodes(2)],
        rejection=tfmeta.Rejection(threshold=-1.0),
        n_episodes=2,
    )
    assert report.statistics == "transductive"


def test_what_cannot_be_measured_is_refused():
    learner, known_only = prototypes(), episodes(2, unknown=False)
    with pytest.raises(ValueError, match="calibrate_rejection"):
        tfmeta.evaluate_open_set(learner, [episodes(2)], n_episodes=2)
    learner.rejection = tfmeta.Rejection(threshold=-1.0)
    with pytest.raises(ValueError, match="episode 0 with 12 known and 0 unknown"):
        tfmeta.evaluate_open_set(learner, [known_only], n_episodes=2)
    with pytest.raises(ValueError, match="needs unknown queries"):
        tfmeta.calibrate_rejection(learner, [known_only], n_episodes=2, known_kept=None)
    with pytest.raises(ValueError, match="must have known queries"):
        inputs, query_y = episodes(2)
        tfmeta.calibrate_rejection(learner, [(inputs, 0 * query_y - 1)], n_episodes=2)
    with pytest.raises(ValueError, match="`known_kept` must be a share"):
        tfmeta.calibrate_rejection(learner, [known_only], n_episodes=2, known_kept=95)
    with pytest.raises(ValueError, match=r"Received: -2"):
        inputs, query_y = known_only
        tfmeta.calibrate_rejection(learner, [(inputs, query_y - 2)], n_episodes=2)
    with pytest.raises(ValueError, match="at least n_episodes=9"):
        tfmeta.calibrate_rejection(learner, [known_only], n_episodes=9)
