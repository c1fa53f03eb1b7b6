"""How well features fit labels, before anything is trained on them: LogME and the H-score."""

from __future__ import annotations

import math

import numpy as np

_ITERATIONS = 1000
_TOLERANCE = 1e-9
_TINY = 1e-12


def log_me(features: np.ndarray, y: np.ndarray) -> float:
    """Logarithm of the maximum evidence of the labels given the features, by example.

    Of each class, a linear model of its 0/1 labels `t = F w + noise` with `w ~ N(0, 1 / alpha)`
    and noise `N(0, 1 / beta)` has the evidence

        log p(t | F, alpha, beta) = d/2 log(alpha) + n/2 log(beta) - n/2 log(2 pi)
            - beta/2 |F m - t|^2 - alpha/2 |m|^2 - 1/2 log det(alpha + beta F'F),

    `m` the posterior mean. It is maximised over `alpha` and `beta` by the fixed-point iteration
    `alpha = gamma / |m|^2`, `beta = (n - gamma) / |F m - t|^2`, `gamma` the effective number of
    weights, in the basis of the singular vectors of F. The mean over classes, divided by n: You et
    al. 2021, "LogME: Practical Assessment of Pre-trained Models for Transfer Learning".

    Args:
        features: `[n, d]`.
        y: `[n]` class numbers that take every value of `0 ... n_classes - 1`.

    Returns:
        A number; the larger, the better the features fit. Compare it on the same examples only.

    Raises:
        ValueError: for features or labels of another shape, fewer than two classes, a class
            without examples, or features that are not finite.

    Example:
        >>> y = np.arange(40) % 2
        >>> noise = np.random.default_rng(0).standard_normal((40, 3))
        >>> log_me(noise + 5.0 * y[:, None], y) > log_me(noise, y)
        True
    """
    features, y = _checked(features, y)
    left, singular, _ = np.linalg.svd(features, full_matrices=False)
    of_classes = [
        _maximum_log_evidence(left.T @ target, singular**2, target)
        for target in (y == np.arange(y.max() + 1)[:, None]).astype(np.float64)
    ]
    return float(np.mean(of_classes)) / len(y)


def _maximum_log_evidence(projected: np.ndarray, squared: np.ndarray, target: np.ndarray) -> float:
    """The maximum over alpha and beta; `projected` is `U' t`, `squared` the singular values'."""
    n, z2 = len(target), projected**2
    outside = max(float(target @ target - z2.sum()), 0.0)

    def moments(ratio: float) -> tuple[float, float, float]:
        """Effective number of weights, `|m|^2` and `|F m - t|^2` for `ratio = alpha / beta`."""
        shrunk = squared / (squared + ratio)
        m2 = float(np.sum(squared * z2 / (squared + ratio) ** 2))
        return float(shrunk.sum()), m2, float(np.sum(z2 * (1.0 - shrunk) ** 2)) + outside

    alpha = beta = 1.0
    for _ in range(_ITERATIONS):
        gamma, m2, error = moments(alpha / beta)
        before = alpha / beta
        alpha = gamma / max(m2, _TINY)
        beta = max(n - gamma, _TINY) / max(error, _TINY)
        if abs(alpha / beta - before) <= _TOLERANCE * before:
            break
    gamma, m2, error = moments(alpha / beta)
    # The directions that F does not have give alpha to the determinant, which d/2 log(alpha) has.
    determinant = np.sum(np.log(alpha + beta * squared)) - len(squared) * math.log(alpha)
    fit = n * math.log(beta / (2.0 * math.pi)) - beta * error - alpha * m2
    return 0.5 * (fit - float(determinant))


def h_score(features: np.ndarray, y: np.ndarray, *, shrinkage: bool = False) -> float:
    """The H-score: how much of the features' covariance lies between the classes.

    `tr(cov(f)^-1 cov(E[f | y]))` (Bao et al. 2019, "An Information-Theoretic Approach to
    Transferability in Task Transfer Learning"), with a pseudo-inverse. With few examples for the
    number of features the inverse is all noise; `shrinkage` takes
    `tr(cov_a(f)^-1 (1 - a) cov(E[f | y]))` with the covariance of Ledoit and Wolf,
    `cov_a = (1 - a) cov + a tr(cov) / d` (Ibrahim et al. 2022, "Newer is not always better").

    Args:
        features: `[n, d]`.
        y: `[n]` class numbers that take every value of `0 ... n_classes - 1`.
        shrinkage: whether the covariance is shrunk.

    Returns:
        A number from 0 to the number of features; the larger, the better the features fit.

    Raises:
        ValueError: as `log_me`.

    Example:
        >>> round(h_score(np.array([[0.0], [2.0], [4.0], [6.0]]), np.array([0, 0, 1, 1])), 3)
        0.8
    """
    features, y = _checked(features, y)
    centred = features - features.mean(axis=0)
    covariance, between = _covariance(centred), _covariance(_class_means(centred, y))
    if not shrinkage:
        return float(np.trace(np.linalg.pinv(covariance, hermitian=True) @ between))
    amount = ledoit_wolf_shrinkage(features)
    if amount == 1.0:
        return 0.0
    width = len(covariance)
    shrunk = (1.0 - amount) * covariance + amount * np.trace(covariance) / width * np.eye(width)
    return float(np.trace(np.linalg.pinv(shrunk, hermitian=True) @ between)) * (1.0 - amount)


def ledoit_wolf_shrinkage(features: np.ndarray) -> float:
    """The share `a` of `a tr(S) / d + (1 - a) S` that estimates a covariance best.

    Ledoit and Wolf 2004, "A well-conditioned estimator for large-dimensional covariance matrices":
    the estimated variance of the sample covariance S over its squared distance to the identity.

    Args:
        features: `[n, d]`.

    Returns:
        Between 0 and 1.

    Example:
        >>> ledoit_wolf_shrinkage(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]))
        0.0
    """
    features = np.asarray(features, np.float64)
    n, d = features.shape
    centred = features - features.mean(axis=0)
    # The smaller of the two products has the same squared norm.
    product = centred @ centred.T if n < d else centred.T @ centred
    norm = float(np.sum(product**2)) / n**2
    mean = float(np.sum(centred**2)) / (n * d)
    distance = norm / d - mean**2
    variance = (float(np.sum(np.sum(centred**2, axis=1) ** 2)) / n - norm) / (d * n)
    return min(max(variance, 0.0) / distance, 1.0) if distance > _TINY * mean**2 else 1.0


def _class_means(features: np.ndarray, y: np.ndarray) -> np.ndarray:
    """`[n, d]`: in place of each example the mean of its class."""
    members = (y == np.arange(y.max() + 1)[:, None]).astype(np.float64)
    return (members @ features / members.sum(axis=1, keepdims=True))[y]


def _covariance(centred: np.ndarray) -> np.ndarray:
    return centred.T @ centred / len(centred)


def _checked(features: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    features, y = np.asarray(features, np.float64), np.asarray(y)
    if features.ndim != 2 or y.shape != features.shape[:1] or y.dtype.kind not in "iu":
        raise ValueError(
            "Features must be [n, d] and labels class numbers [n]. Received: shapes "
            f"{features.shape} and {y.shape} of {y.dtype}. Flatten the features and number the "
            "classes."
        )
    counts = np.bincount(y) if len(y) and y.min() >= 0 else np.zeros(0)
    if len(counts) < 2 or not counts.all():
        raise ValueError(
            "Labels must take every value of 0 ... n_classes - 1, of at least two classes. "
            f"Received: classes {np.unique(y)[:10].tolist()}. Number the classes without holes."
        )
    if not np.isfinite(features).all():
        raise ValueError(
            "Features must be finite. Received: "
            f"{int((~np.isfinite(features)).any(axis=1).sum())} examples with others. Look at the "
            "weights of the backbone and its preprocessing."
        )
    return features, y
