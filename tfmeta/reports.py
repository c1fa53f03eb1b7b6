"""What an evaluation found: a report, and two reports compared on the same episodes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfmeta.intervals import mean_interval
from tfmeta.json_report import JsonReport

_LOWER_IS_BETTER = ("mse",)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class EpisodeReport(JsonReport):
    """The result of `evaluate_episodes`, with its protocol.

    `str(report)` is what a paper or a log should quote:
    "97.81 % ± 0.32 (95 % CI, 600 episodes, inductive)".

    Attributes:
        mean: mean over episodes; a share between 0 and 1 for `metric="accuracy"`.
        ci: half width of the Student-t interval of the mean.
        n_episodes: number of episodes.
        per_episode: `[n_episodes]`, the result of each.
        metric: `"accuracy"` or `"mse"`.
        statistics: `"inductive"`, or `"transductive"` where a query's prediction may depend on
            the other queries.
        episode_hash: hash of the episodes' content; equal for the same episodes, however batched.
        confidence: of the interval.
        name: what was evaluated.
        protocol: `n_way`, `n_shot` and `n_query` as counted in the episodes; a pair
            `[smallest, largest]` where they vary.

    Example:
        >>> report = EpisodeReport(
        ...     mean=0.9, ci=0.01, n_episodes=2, per_episode=np.array([0.89, 0.91]),
        ...     metric="accuracy", statistics="inductive", episode_hash="ab12",
        ... )
        >>> str(report)
        '90.00 % ± 1.00 (95 % CI, 2 episodes, inductive)'
        >>> EpisodeReport.from_json(report.to_json()) == report
        True
    """

    mean: float
    ci: float
    n_episodes: int
    per_episode: np.ndarray
    metric: str
    statistics: str
    episode_hash: str
    confidence: float = 0.95
    name: str | None = None
    protocol: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        return (
            f"{_quantity(self.mean, self.ci, self.metric)} ({100 * self.confidence:g} % CI, "
            f"{self.n_episodes} episodes, {self.statistics})"
        )

    def plot(self, ax: Any = None) -> Any:
        """A figure with the distribution of the episodes' results, the mean and its interval.

        Args:
            ax: matplotlib axes to draw into; None for a new figure.

        Returns:
            The `matplotlib.figure.Figure`.
        """
        from tfmeta.plots import plot_report

        return plot_report(self, ax=ax)

    @classmethod
    def _from_plain(cls, fields):
        return {**fields, "per_episode": np.array(fields["per_episode"], np.float64)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairedComparison:
    """The difference of two reports over the same episodes.

    Attributes:
        mean: mean of `a - b` over episodes.
        ci: half width of the Student-t interval of that mean.
        n_episodes: number of episodes that both were given.
        metric: `"accuracy"` or `"mse"`.
        names: what `a` and `b` are called.
        confidence: of the interval.
    """

    mean: float
    ci: float
    n_episodes: int
    metric: str
    names: tuple[str, str] = ("a", "b")
    confidence: float = 0.95

    @property
    def is_different(self) -> bool:
        """Whether the interval of the difference leaves out 0."""
        return abs(self.mean) > self.ci

    @property
    def better(self) -> str | None:
        """The name of the better one, or None where there is no difference."""
        if not self.is_different:
            return None
        a_is_better = (self.mean > 0) != (self.metric in _LOWER_IS_BETTER)
        return self.names[0] if a_is_better else self.names[1]

    def __str__(self) -> str:
        basis = f"{100 * self.confidence:g} % CI, {self.n_episodes} paired episodes"
        if not self.is_different:
            return f"no difference ({_difference(self.mean, self.ci, self.metric)}, {basis})"
        difference = _difference(abs(self.mean), self.ci, self.metric)
        return f"{self.better} is better by {difference} ({basis})"


def compare_reports(
    a: EpisodeReport, b: EpisodeReport, *, confidence: float = 0.95
) -> PairedComparison:
    """The mean of the paired differences `a - b`, with its Student-t interval.

    The spread between episodes, which is most of a report's interval, cancels in the pairs: two
    reports whose intervals overlap may well differ.

    Args:
        a: a report.
        b: a report over the same episodes.
        confidence: of the interval.

    Returns:
        The comparison; `str()` says which is better, or "no difference".

    Raises:
        ValueError: for reports over other episodes or of another metric.

    Example:
        >>> common = dict(ci=0.1, n_episodes=3, metric="accuracy", statistics="inductive")
        >>> a = EpisodeReport(
        ...     mean=0.9, per_episode=np.array([0.8, 0.9, 1.0]), episode_hash="1", **common)
        >>> b = EpisodeReport(
        ...     mean=0.6, per_episode=np.array([0.5, 0.6, 0.7]), episode_hash="1", **common)
        >>> str(compare_reports(a, b))
        'a is better by 30.00 ± 0.00 points (95 % CI, 3 paired episodes)'
    """
    if a.metric != b.metric:
        raise ValueError(
            f"Two reports must have the same metric to be compared. Received: {a.metric!r} and "
            f"{b.metric!r}. Evaluate both learners on the same task."
        )
    if a.episode_hash != b.episode_hash or a.n_episodes != b.n_episodes:
        raise ValueError(
            "Two reports must be over the same episodes to be compared pair by pair. Received: "
            f"{a.n_episodes} episodes with hash {a.episode_hash} and {b.n_episodes} with hash "
            f"{b.episode_hash}. Evaluate both on `tfmeta.data.load_episodes` of one file."
        )
    mean, ci = mean_interval(a.per_episode - b.per_episode, confidence)
    names = (a.name or "a", b.name or "b")
    return PairedComparison(
        mean=mean,
        ci=ci,
        n_episodes=a.n_episodes,
        metric=a.metric,
        names=names if names[0] != names[1] else ("a", "b"),
        confidence=confidence,
    )


def _quantity(mean: float, ci: float, metric: str) -> str:
    if metric == "accuracy":
        return f"{100 * mean:.2f} % ± {100 * ci:.2f}"
    # At least two significant digits of the interval.
    decimals = max(3, 1 - math.floor(math.log10(ci))) if ci > 0 else 3
    return f"{mean:.{decimals}f} ± {ci:.{decimals}f}"


def _difference(mean: float, ci: float, metric: str) -> str:
    if metric == "accuracy":
        return f"{100 * mean:.2f} ± {100 * ci:.2f} points"
    return _quantity(mean, ci, metric)
