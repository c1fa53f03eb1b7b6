"""What a measured run leaves behind: reports, pictures, models and one record of results."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfmeta import cli, plots
from tfmeta.data import Examples
from tfmeta.data.hashing import episode_hash
from tfmeta.evaluation import EpisodeReport, NearestCentroid, compare_reports, evaluate_episodes
from tfmeta.export import export_learner
from tfmeta.learners.base import EpisodicLearner
from tfmeta.learners.embedding_learner import EmbeddingLearner

# What the record has beside the options, and places on this machine.
_NOT_OPTIONS = ("command", "recipe", "record", "run")


class Run:
    """The folder of one training run.

    Args:
        options: the recipe's parsed options; `options.run` is the folder.
        trained: what `tfmeta.cli.fit` returned.
        method: name of the method in the record; None for that of the learner's class.

    Example:
        >>> run = Run(options, cli.fit(learner, train, validation, options))
        >>> run.evaluate(episodes, "5way_1shot")  # doctest: +SKIP
    """

    def __init__(
        self, options: argparse.Namespace, trained: cli.Trained, *, method: str | None = None
    ) -> None:
        self.options = options
        self.learner, history, self.minutes = trained
        self.method = type(self.learner).__name__ if method is None else method
        self.reports: dict[str, EpisodeReport] = {}
        self.controls: dict[str, EpisodeReport] = {}
        self._embedded: tuple[Examples, Examples] | None = None
        plots.plot_history(history, save=self._path("training.png"))

    def test_settings(self, test: Examples, **options: Any) -> None:
        """Evaluates every way and shot that the options name; see `test_classes`."""
        for n_way in self.options.test_ways:
            for n_shot in self.options.test_shots:
                self.test_classes(test, n_way=n_way, n_shot=n_shot, **options)

    def test_classes(
        self, test: Examples, *, n_way: int, n_shot: int, control: Any = None, **sizes: Any
    ) -> None:
        """Evaluates on frozen episodes of the test classes, and draws the first of them.

        Args:
            test: examples of the test classes.
            n_way: classes of an episode.
            n_shot: support examples of a class.
            control: a callable that is evaluated on the same episodes; None for the nearest
                centroid on raw inputs.
            **sizes: other arguments of `tfmeta.data.freeze_episodes`.
        """
        name = f"{n_way}way_{n_shot}shot"
        sizes = {"n_way": n_way, "n_shot": n_shot, "n_query": self.options.test_query, **sizes}
        episodes = cli.frozen_episodes(test, self.options, name=name, **sizes)
        features = self._feature_episodes(test, sizes)
        self.evaluate(episodes, name, control=control or NearestCentroid(), features=features)
        if not test.is_text:
            self.draw_episode(episodes, name)
        if hasattr(self.learner, "evaluation_steps"):
            self.draw_adaptation(episodes, name)

    def evaluate(
        self,
        episodes: tf.data.Dataset,
        name: str,
        *,
        control: Any = None,
        evaluation_steps: int | None = None,
        n_episodes: int | None = None,
        features: tf.data.Dataset | None = None,
    ) -> EpisodeReport:
        """Evaluates on all frozen episodes, prints the report and writes it as JSON.

        Args:
            episodes: the frozen episodes.
            name: of the setting, for example `"5way_1shot"`.
            control: a callable that is evaluated on the same episodes and printed beside.
            evaluation_steps: inner steps, for a gradient learner; None for the learner's own.
            n_episodes: how many of them; None for `options.n_episodes`.
            features: the same episodes with features instead of examples, for the learner.

        Returns:
            The learner's report.
        """
        learner = self.learner
        if evaluation_steps is not None:
            learner = with_evaluation_steps(learner, evaluation_steps)
        n_episodes = self.options.n_episodes if n_episodes is None else n_episodes
        if features is None:
            report = evaluate_episodes(learner, episodes, n_episodes=n_episodes)
        else:
            report = evaluate_episodes(learner.on_features(), features, n_episodes=n_episodes)
            report = dataclasses.replace(report, episode_hash=episode_hash(episodes))
        report.to_json(self._path(f"report_{name}.json"))
        self.reports[name] = report
        print(f"{name}: {report.name}: {report}")
        if control is not None:
            beside = evaluate_episodes(control, episodes, n_episodes=n_episodes)
            beside.to_json(self._path(f"control_{name}.json"))
            self.controls[name] = beside
            print(f"{name}: {beside.name}: {beside}")
            print(f"{name}: {compare_reports(report, beside)}")
        return report

    def _feature_episodes(self, test: Examples, sizes: dict[str, Any]) -> tf.data.Dataset | None:
        """The test episodes of features that are computed once, where they suit any episode."""
        is_cachable = isinstance(self.learner, EmbeddingLearner)
        if not is_cachable or self.learner.statistics != "running":
            return None
        if self._embedded is None or self._embedded[0] is not test:
            self._embedded = (test, self.learner.embed(test))
        sizes = {**sizes, "n_episodes": self.options.n_episodes}
        return cli.episodes(self._embedded[1], "test", self.options, **sizes)

    def draw_episode(self, episodes: tf.data.Dataset, name: str) -> None:
        """Draws the first episode with its predictions."""
        inputs, query_y = next(iter(episodes))
        outputs = self.learner.predict(inputs, verbose=0)
        plots.plot_episode(inputs, query_y, outputs, save=self._path(f"episode_{name}.png"))

    def draw_adaptation(self, episodes: tf.data.Dataset, name: str) -> None:
        """Draws the query score before and after each inner step."""
        logs = self.learner.evaluate(episodes, verbose=0, return_dict=True)
        metric = "accuracy" if "acc@0" in logs else "mse"
        plots.plot_adaptation(logs, metric=metric, save=self._path(f"adaptation_{name}.png"))

    def draw_regression(self, episodes: tf.data.Dataset, name: str) -> None:
        """Draws the first task: its function, and the network before and after adaptation."""
        inputs, query_y = next(iter(episodes))
        first = {key: inputs[key][0] for key in ("support_x", "support_y", "query_x")}
        states = self.learner.adapt_path(first["support_x"], first["support_y"])
        before, after = (
            self.learner.predict_query(s, first["query_x"]) for s in states[:: len(states) - 1]
        )
        order = np.argsort(np.ravel(first["query_x"]))
        x, y, before, after = (
            np.ravel(t)[order] for t in (first["query_x"], query_y[0], before, after)
        )
        path = self._path(f"regression_{name}.png")
        plots.plot_regression(
            x, y, before, after, first["support_x"], first["support_y"], save=path
        )

    def finish(self) -> dict[str, EpisodeReport]:
        """Writes `learner.keras`, `saved_model` and the record of results.

        Returns:
            The reports by setting.
        """
        self.learner.save(self._path("learner.keras"))
        path = self._path("saved_model")
        export_learner(self.learner, path, overwrite=True)
        write_record(self._record(), self._path("results.json"), self.options.record)
        print(f"written: {self.options.run}")
        return self.reports

    def _path(self, name: str) -> str:
        return os.path.join(self.options.run, name)

    def _record(self) -> dict[str, Any]:
        return {
            "recipe": self.options.recipe,
            "command": self.options.command,
            "learner": self.method,
            "options": {k: v for k, v in vars(self.options).items() if k not in _NOT_OPTIONS},
            "seed": self.options.seed,
            "minutes": round(self.minutes, 1),
            **circumstances(),
            "results": [self._result(name) for name in self.reports],
        }

    def _result(self, name: str) -> dict[str, Any]:
        report, control = self.reports[name], self.controls.get(name)
        return {
            "setting": name,
            **_summary(report),
            "control": None if control is None else {"name": control.name, **_summary(control)},
        }


def comparison_record(
    outcomes: Sequence[tuple[EpisodeReport, float]], *, title: str, command: str
) -> dict[str, Any]:
    """The record of several reports on the same episodes, each beside the first one.

    Args:
        outcomes: reports, and the minutes that each learner was trained.
        title: what the table is called.
        command: the line that gives it.

    Returns:
        What `write_record` takes.

    Raises:
        ValueError: for reports over other episodes.

    Example:
        >>> comparison_record(outcomes, title="A budget", command="...")  # doctest: +SKIP
    """
    first = outcomes[0][0]
    rows = []
    for report, minutes in outcomes:
        paired = compare_reports(report, first)
        difference = {"metric": report.metric, "mean": paired.mean, "ci": paired.ci}
        result = {name: getattr(report, name) for name in ("metric", "mean", "ci", "statistics")}
        minutes = round(minutes, 1)
        row = {"learner": report.name, **result, "difference": difference, "minutes": minutes}
        rows.append(row)
    return {
        "title": title,
        "command": command,
        "protocol": dict(first.protocol),
        "n_episodes": first.n_episodes,
        "episode_hash": first.episode_hash,
        "comparison": rows,
        **circumstances(),
    }


def table_record(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str, command: str, **more: Any
) -> dict[str, Any]:
    """The record of a table.

    Args:
        columns: heads of the columns.
        rows: their cells.
        title: what was measured.
        command: the line that gives it.
        **more: other entries of the record.

    Returns:
        What `write_table` takes.

    Example:
        >>> table_record(["a"], [["1"]], title="T", command="...")["table"]
        {'columns': ['a'], 'rows': [['1']]}
    """
    table = {"columns": list(columns), "rows": [list(row) for row in rows]}
    return {"title": title, "command": command, "table": table, **more, **circumstances()}


def write_table(record: dict[str, Any], *paths: str | None) -> None:
    """Prints the table of a record, and writes the record as `write_record` does.

    Args:
        record: what `table_record` returned.
        *paths: the files; None is none.

    Example:
        >>> write_table(table_record(["a", "b"], [["1", "2"]], title="T", command="..."), None)
        T
        a | b
        1 | 2
    """
    lines = (record["table"]["columns"], *record["table"]["rows"])
    print(record["title"], *(" | ".join(cells) for cells in lines), sep="\n")
    write_record(record, *paths)


def circumstances() -> dict[str, Any]:
    """Device and versions of this process, for a record of results.

    Returns:
        `{"device": ..., "versions": {"python": ..., "tensorflow": ..., "keras": ...}}`.

    Example:
        >>> sorted(circumstances())
        ['device', 'versions']
    """
    accelerators = tf.config.list_physical_devices("GPU")
    details = (tf.config.experimental.get_device_details(d) for d in accelerators)
    names = [d.get("device_name", "GPU") for d in details] or [f"{os.cpu_count()} CPU cores"]
    versions = {"tensorflow": tf.__version__, "keras": keras.__version__}
    return {
        "device": ", ".join(names),
        "versions": {"python": platform.python_version(), **versions},
    }


def write_record(record: dict[str, Any], *paths: str | None) -> None:
    """Writes a record of results as JSON.

    Args:
        record: what is written.
        *paths: the files, whose folders are made; None is none.

    Example:
        >>> write_record({"seed": 0}, "runs/results.json", options.record)  # doctest: +SKIP
    """
    for path in filter(None, paths):
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        with open(path, "w", encoding="utf8") as file:
            file.write(json.dumps(record, indent=1) + "\n")


def with_evaluation_steps(learner: EpisodicLearner, steps: int) -> EpisodicLearner:
    """A copy of a gradient learner that adapts by another number of steps.

    Args:
        learner: a learner with the argument `evaluation_steps`.
        steps: inner steps outside of training.

    Returns:
        A learner with the same weights.

    Example:
        >>> with_evaluation_steps(learner, 10).evaluation_steps  # doctest: +SKIP
        10
    """
    copy = type(learner).from_config({**learner.get_config(), "evaluation_steps": steps})
    copy.set_weights(learner.get_weights())
    return copy


def _summary(report: EpisodeReport) -> dict[str, Any]:
    names = ("metric", "mean", "ci", "confidence", "n_episodes", "statistics", "episode_hash")
    return {**{name: getattr(report, name) for name in names}, "protocol": report.protocol}
