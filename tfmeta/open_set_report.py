"""What an evaluation with unknown queries found."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfmeta.json_report import JsonReport

_SHARES = ("auroc", "accuracy", "known_kept", "known_accuracy", "unknown_rejected")


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class OpenSetReport(JsonReport):
    """The result of `evaluate_open_set`, with its protocol.

    The measures, each with its mean, interval and value for every episode:

    - `auroc`: probability that a known query scores higher than an unknown one.
    - `accuracy`: share of all queries that are right at the threshold: known ones kept and
      classified rightly, unknown ones rejected.
    - `known_kept`, `known_accuracy`: share of known queries kept; kept and classified rightly.
    - `unknown_rejected`: share of unknown queries rejected.
    - `ece`, `nll`: expected calibration error and negative log-likelihood of known queries. The
      few queries of one episode make its calibration error larger than it is; `pooled_ece` is that
      of the known queries of all episodes together.

    Attributes:
        mean: mean over episodes, by measure.
        ci: half width of the Student-t interval of the mean, by measure.
        per_episode: `[n_episodes]`, the value of each, by measure.
        pooled_ece: calibration error over the known queries of all episodes.
        rejection: the threshold, as `Rejection.get_config` gives it.
        n_episodes: number of episodes.
        statistics: `"inductive"` or `"transductive"`.
        episode_hash: hash of the episodes' content.
        n_bins: of the calibration error.
        confidence: of the intervals.
        name: what was evaluated.
        protocol: `n_way`, `n_shot`, `n_query` (known, by class) and `n_unknown`.

    Example:
        >>> report = OpenSetReport(
        ...     mean={"auroc": 0.9}, ci={"auroc": 0.01},
        ...     per_episode={"auroc": np.array([0.9, 0.9])}, pooled_ece=0.02,
        ...     rejection={"threshold": -4.0}, n_episodes=2,
        ...     statistics="inductive", episode_hash="ab12", n_bins=15,
        ... )
        >>> print(report)
        auroc 90.00 % ± 1.00, pooled_ece 0.020 (95 % CI, 2 episodes, inductive)
        >>> OpenSetReport.from_json(report.to_json()) == report
        True
    """

    mean: Mapping[str, float]
    ci: Mapping[str, float]
    per_episode: Mapping[str, np.ndarray]
    pooled_ece: float
    rejection: Mapping[str, Any]
    n_episodes: int
    statistics: str
    episode_hash: str
    n_bins: int
    confidence: float = 0.95
    name: str | None = None
    protocol: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        parts = [_quantity(name, self.mean[name], self.ci[name]) for name in self.mean]
        return (
            f"{', '.join(parts)}, pooled_ece {self.pooled_ece:.3f} "
            f"({100 * self.confidence:g} % CI, {self.n_episodes} episodes, {self.statistics})"
        )

    @classmethod
    def _from_plain(cls, fields):
        of_episodes = {k: np.array(v, np.float64) for k, v in fields["per_episode"].items()}
        return {**fields, "per_episode": of_episodes}


def _quantity(name: str, mean: float, ci: float) -> str:
    if name in _SHARES:
        return f"{name} {100 * mean:.2f} % ± {100 * ci:.2f}"
    return f"{name} {mean:.3f} ± {ci:.3f}"
