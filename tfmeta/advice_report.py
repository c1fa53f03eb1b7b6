"""What `advise` found: the methods side by side, and which one to use."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfmeta.intervals import mean_interval
from tfmeta.json_report import JsonReport


@dataclasses.dataclass(frozen=True, kw_only=True)
class MethodResult:
    """One method of an `AdviceReport`.

    Attributes:
        method: its name.
        accuracy: over all examples, each tested once by a training without it.
        interval: `(low, high)`, Wilson's, over examples.
        right: a character for each example, "1" where it was classified rightly, else "0".
        seconds: of one training, the pass of the backbone over its examples included.
        n_trained: weights that were trained.
        megabytes: of all weights that predictions need, the backbone's included.
        note: what else there is to say.
    """

    method: str
    accuracy: float
    interval: tuple[float, float]
    right: str
    seconds: float
    n_trained: int
    megabytes: float
    note: str = ""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class AdviceReport(JsonReport):
    """The result of `advise`; `str(report)` is a table and the advice.

    Attributes:
        results: one for each method, the most accurate first.
        use: the method to use.
        reason: why.
        protocol: how it was measured: numbers of examples, classes and folds, the seed, the share
            of the largest class, the minutes allowed.
        confidence: of the intervals.

    Example:
        >>> result = MethodResult(
        ...     method="prototypes", accuracy=0.75, interval=(0.3, 0.95), right="1101",
        ...     seconds=2.0, n_trained=0, megabytes=2.9)
        >>> report = AdviceReport(
        ...     results=(result,), use="prototypes", reason="it is alone.", protocol={})
        >>> AdviceReport.from_json(report.to_json()) == report
        True
    """

    results: tuple[MethodResult, ...]
    use: str
    reason: str
    protocol: Mapping[str, Any]
    confidence: float = 0.95

    def __getitem__(self, method: str) -> MethodResult:
        return next(result for result in self.results if result.method == method)

    def __str__(self) -> str:
        percent = f"{100 * self.confidence:g}"
        heads = ("method", f"accuracy ({percent} % CI)", "train s", "trained weights", "MB")
        rows = [heads, *(_cells(result) for result in self.results)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])
            for row in rows
        ]
        notes = [f"{r.method}: {r.note}" for r in self.results if r.note]
        protocol = ", ".join(f"{name} {value}" for name, value in self.protocol.items())
        return "\n".join([*lines, *notes, f"Use: {self.use}. {self.reason}", f"({protocol})"])

    @classmethod
    def _from_plain(cls, fields):
        results = tuple(
            MethodResult(**{**result, "interval": tuple(result["interval"])})
            for result in fields["results"]
        )
        return {**fields, "results": results}


def recommend(
    results: Sequence[MethodResult], *, guessing: float = 0.0, confidence: float = 0.95
) -> tuple[str, str]:
    """The method to use and the reason: the cheapest of those that the best does not beat.

    Another method is as good as the most accurate one where the interval of their difference, over
    examples in pairs, reaches 0. Of all these the one that trains fastest is used.

    Args:
        results: of the methods, on the same examples.
        guessing: accuracy of always saying the largest class.
        confidence: of the intervals.

    Returns:
        The name of the method, and a sentence or two.

    Example:
        >>> common = dict(interval=(0.3, 0.9), n_trained=0, megabytes=1.0)
        >>> slow = MethodResult(
        ...     method="slow", accuracy=0.75, right="1110", seconds=60.0, **common)
        >>> fast = MethodResult(
        ...     method="fast", accuracy=0.50, right="0110", seconds=1.0, **common)
        >>> recommend([slow, fast])[0]
        'fast'
    """
    best = max(results, key=lambda result: result.accuracy)
    differences = {
        r.method: mean_interval(_numbers(best) - _numbers(r), confidence) for r in results
    }
    as_good = [r for r in results if abs(differences[r.method][0]) <= differences[r.method][1]]
    chosen = min(as_good, key=lambda result: result.seconds)
    return chosen.method, _reason(chosen, best, as_good, differences, guessing)


def _reason(
    chosen: MethodResult,
    best: MethodResult,
    as_good: Sequence[MethodResult],
    differences: Mapping[str, tuple[float, float]],
    guessing: float,
) -> str:
    if len(differences) == 1:
        reason = "It is the only one that was tried."
    elif len(as_good) == 1:
        reason = "It is the most accurate, beyond the intervals of the paired differences."
    elif chosen is best:
        others = ", ".join(r.method for r in as_good if r is not best)
        reason = f"It is the most accurate, and cheaper than what is as good ({others})."
    else:
        mean, half = differences[chosen.method]
        reason = (
            f"The most accurate is {best.method}, but the paired difference, "
            f"{100 * mean:.2f} ± {100 * half:.2f} points, may be 0: of the {len(as_good)} methods "
            "that cannot be told apart this one trains fastest."
        )
    if best.interval[0] <= guessing:
        reason += (
            f" Caution: no method is surely better than always saying the largest class "
            f"({100 * guessing:.2f} %). More examples, or another backbone, are needed."
        )
    return reason


def _numbers(result: MethodResult) -> np.ndarray:
    return np.array([float(character) for character in result.right])


def _cells(result: MethodResult) -> tuple[str, ...]:
    low, high = result.interval
    return (
        result.method,
        f"{100 * result.accuracy:.2f} % ({100 * low:.2f} ... {100 * high:.2f})",
        f"{result.seconds:.1f}",
        f"{result.n_trained:,}",
        f"{result.megabytes:.1f}",
    )
