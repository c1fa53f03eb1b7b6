"""The multi-class support vector machine, by a differentiable interior-point method."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from tfmeta.errors import require


class _Point(NamedTuple):
    """`alpha`, its slack `s` and multiplier `z` `[..., n, n_way]`, and `nu [..., n]`."""

    alpha: tf.Tensor
    s: tf.Tensor
    z: tf.Tensor
    nu: tf.Tensor


def svm_dual(
    kernel: tf.Tensor,
    labels: tf.Tensor,
    n_way: int | tf.Tensor,
    *,
    C: float | tf.Tensor = 0.1,
    iterations: int = 15,
) -> tf.Tensor:
    """The dual variables of the multi-class support vector machine of Crammer and Singer.

    The solution of the quadratic program

        min_alpha  1/2 sum_k alpha_k^T K alpha_k - sum_i alpha_{i, y_i}
        subject to alpha_ik <= C [k = y_i]  and  sum_k alpha_ik = 0

    whose classifier is `w_k = sum_i alpha_ik x_i` (Crammer and Singer 2001, "On the Algorithmic
    Implementation of Multiclass Kernel-based Vector Machines"; as the head of a few-shot learner:
    Lee, Maji, Ravichandran and Soatto 2019, "Meta-Learning with Differentiable Convex
    Optimization", equations 6 to 8).

    Mehrotra's predictor and corrector steps lead along the central path to a point with a tiny
    duality gap, 1e-8 of the objective, in float64 whatever the dtype of the kernel. The Hessian is
    one kernel matrix for every class, so a step factorises `n_way` matrices `[n, n]` and not one
    `[n * n_way, n * n_way]`. The gradient is that of this point: by the implicit function theorem,
    one more solution of the same linear system (Amos and Kolter 2017, "OptNet"). A second
    derivative is refused.

    Args:
        kernel: `K [..., n, n]`, symmetric and positive semi-definite; best in float64 too.
        labels: `[..., n]` integers in `0 ... n_way - 1`.
        n_way: the number of classes.
        C: how much a violated margin costs; positive. The gradient reaches it.
        iterations: at most so many; 15 lead to the end up to `C |x|^2` of some thousands.

    Returns:
        `alpha [..., n, n_way]`, of the dtype of the kernel; not finite where the kernel is not.

    Raises:
        ValueError: for a kernel with a negative eigenvalue.

    Example:
        >>> x, y = tf.constant([[1.0], [-1.0]]), tf.constant([0, 1])
        >>> svm_dual(tf.matmul(x, x, transpose_b=True), y, 2, C=10.0).numpy().round(3) + 0.0
        array([[ 0.25, -0.25],
               [-0.25,  0.25]], dtype=float32)
    """
    kernel = tf.convert_to_tensor(kernel)
    dtype = kernel.dtype
    diagonal = tf.linalg.diag_part(kernel)
    nugget = _NUGGET[dtype] * tf.reduce_mean(diagonal, axis=-1, keepdims=True)
    # In float32 the gradient is percents off, and systems of this size are solved no faster.
    kernel = tf.cast(tf.linalg.set_diag(kernel, diagonal + nugget), tf.float64)
    one_hot = tf.one_hot(labels, n_way, dtype=tf.float64)
    # A cast alone would round a Python number to float32.
    cost = tf.cast(C if tf.is_tensor(C) else tf.constant(C, tf.float64), tf.float64)

    @tf.custom_gradient
    def solve(kernel: tf.Tensor, c: tf.Tensor):
        end = _interior_point(kernel, one_hot, c, iterations)

        def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return _implicit_gradients(kernel, one_hot, end, upstream)

        return end.alpha, gradients

    alpha = solve(kernel, cost)
    alpha = require(
        tf.reduce_all(tf.math.is_finite(alpha)) | ~tf.reduce_all(tf.math.is_finite(kernel)),
        "The support vector machine needs a kernel that is positive semi-definite, in its "
        "precision. Compute it in float64. Received: smallest and largest K_ii =",
        [tf.reduce_min(diagonal), tf.reduce_max(diagonal)],
        alpha,
    )
    return tf.cast(alpha, dtype)


def svm_dual_objective(kernel: tf.Tensor, labels: tf.Tensor, alpha: tf.Tensor) -> tf.Tensor:
    """The objective that `svm_dual` minimises; at the solution, minus the primal's.

    `1/2 sum_k alpha_k^T K alpha_k - sum_i alpha_{i, y_i}`.

    Args:
        kernel: `K [..., n, n]`.
        labels: `[..., n]` integers.
        alpha: `[..., n, n_way]`.

    Returns:
        `[...]`.

    Example:
        >>> float(svm_dual_objective(tf.eye(1), tf.constant([0]), tf.constant([[1.0, -1.0]])))
        0.0
    """
    alpha = tf.convert_to_tensor(alpha)
    one_hot = tf.one_hot(labels, tf.shape(alpha)[-1], dtype=alpha.dtype)
    return tf.reduce_sum((0.5 * tf.matmul(kernel, alpha) - one_hot) * alpha, axis=[-2, -1])


# Added to the diagonal of the kernel, of its mean: rounding makes the kernel of more examples than
# features, or of identical ones, indefinite.
_NUGGET = {tf.float64: 1e-12, tf.float32: 1e-6}
# The duality gap at the end, of the objective.
_TOLERANCE = 1e-9
# How near to `mu` all `s z` are at the end, so that another iteration would change nothing.
_CENTRED = 1e-6
# How far to the boundary a step may go.
_FRACTION = 0.99


def _interior_point(kernel: tf.Tensor, one_hot: tf.Tensor, c: tf.Tensor, iterations: int) -> _Point:
    """The point of the central path with `s z = mu`."""
    # A solution is about C where margins are violated, and 1 / |x|^2 where none is.
    norm = tf.reduce_mean(tf.linalg.diag_part(kernel), axis=-1)[..., tf.newaxis, tf.newaxis]
    scale = tf.minimum(c, 1.0 / norm)
    mu = _TOLERANCE * scale / tf.cast(tf.shape(one_hot)[-1], kernel.dtype)

    def iterate(step: tf.Tensor, point: _Point) -> tuple[tf.Tensor, _Point]:
        return step + 1, _predict_and_correct(kernel, one_hot, point, mu)

    def is_under_way(step: tf.Tensor, point: _Point) -> tf.Tensor:
        off = tf.abs(point.s * point.z / mu - 1.0)
        # Not `off > _CENTRED`, of which NaN is not true: the start would pass for the end.
        return (step < iterations) & ~tf.reduce_all(off <= _CENTRED)

    start = tf.constant(0), _start(kernel, one_hot, c, scale)
    return tf.while_loop(is_under_way, iterate, start)[1]


def _start(kernel: tf.Tensor, one_hot: tf.Tensor, c: tf.Tensor, scale: tf.Tensor) -> _Point:
    """A point strictly inside of all constraints, primal and dual."""
    n_way = tf.cast(tf.shape(one_hot)[-1], kernel.dtype)
    alpha = scale * (one_hot - 1.0 / n_way)
    slope = one_hot - tf.matmul(kernel, alpha)
    nu = tf.reduce_min(slope, axis=-1) - 1.0
    return _Point(alpha, c * one_hot - alpha, slope - nu[..., tf.newaxis], nu)


def _predict_and_correct(
    kernel: tf.Tensor, one_hot: tf.Tensor, point: _Point, mu: tf.Tensor
) -> _Point:
    """One iteration: aim at the end, see how far that goes, then aim and bend accordingly."""
    alpha, s, z, nu = point
    inverses = _inverses(kernel, z / s)
    stationarity = one_hot - tf.matmul(kernel, alpha) - z - nu[..., tf.newaxis]
    balance = -tf.reduce_sum(alpha, axis=-1)

    def newton(complementarity: tf.Tensor) -> _Point:
        d_alpha, d_nu = _solve(inverses, stationarity - complementarity / s, balance)
        return _Point(d_alpha, -d_alpha, (complementarity + z * d_alpha) / s, d_nu)

    aim = newton(mu - s * z)
    length = _step_length(point, aim)
    gap = tf.reduce_mean(s * z, axis=[-2, -1], keepdims=True)
    after = (s + length * aim.s) * (z + length * aim.z)
    after = tf.reduce_mean(after, axis=[-2, -1], keepdims=True)
    target = tf.maximum(gap * (after / gap) ** 3, mu)
    direction = newton(target - s * z - aim.s * aim.z)
    length = _step_length(point, direction)
    lengths = _Point(length, length, length, length[..., 0])
    return _Point(*(p + t * d for p, t, d in zip(point, lengths, direction, strict=True)))


def _step_length(point: _Point, direction: _Point) -> tf.Tensor:
    """How far slacks and multipliers stay positive, at most 1 `[..., 1, 1]`."""
    # 1 / ratio, so that a direction of zero needs no care.
    inverse = tf.maximum(-direction.s / point.s, -direction.z / point.z)
    inverse = tf.reduce_max(inverse, axis=[-2, -1], keepdims=True)
    return _FRACTION / tf.maximum(inverse, _FRACTION)


def _inverses(kernel: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """`(K + diag(d_k))^-1` of every class `[..., n_way, n, n]`, and the Cholesky root of their sum.

    Args:
        kernel: `[..., n, n]`.
        weights: `d = z / s`, `[..., n, n_way]`.
    """
    weights = tf.linalg.matrix_transpose(weights)
    matrices = kernel[..., tf.newaxis, :, :] + tf.linalg.diag(weights)
    identity = tf.eye(tf.shape(kernel)[-1], batch_shape=tf.shape(weights)[:-1], dtype=kernel.dtype)
    inverses = tf.linalg.cholesky_solve(tf.linalg.cholesky(matrices), identity)
    return inverses, tf.linalg.cholesky(tf.reduce_sum(inverses, axis=-3))


def _solve(
    inverses: tuple[tf.Tensor, tf.Tensor], right: tf.Tensor, balance: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """`u` and `v` with `(K + diag(d_k)) u_k + v = right_k` and `sum_k u_k = balance`.

    Args:
        inverses: what `_inverses` returned.
        right: `[..., n, n_way]`.
        balance: `[..., n]`.
    """
    of_classes, root = inverses

    def apply(columns: tf.Tensor) -> tf.Tensor:
        columns = tf.linalg.matrix_transpose(columns)
        return tf.linalg.matrix_transpose(tf.linalg.matvec(of_classes, columns))

    excess = tf.reduce_sum(apply(right), axis=-1) - balance
    v = tf.linalg.cholesky_solve(root, excess[..., tf.newaxis])
    return apply(right - v), v[..., 0]


def _implicit_gradients(
    kernel: tf.Tensor, one_hot: tf.Tensor, end: _Point, upstream: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Gradients in the kernel and in `C`, from the equations that hold at the end.

    `K alpha_k + z_k + nu = y_k`, `sum_k alpha_k = 0` and `(C y - alpha) z = mu` differentiate to
    `(K + diag(z_k / s_k)) dalpha_k + dnu = -dK alpha_k + (z_k / s_k) y_k dC`, whose matrix is
    symmetric.
    """
    weights = end.z / end.s
    balance = tf.zeros_like(end.nu)
    adjoint, _ = _solve(_inverses(kernel, weights), upstream, balance)
    product = tf.matmul(adjoint, end.alpha, transpose_b=True)
    of_kernel = -0.5 * (product + tf.linalg.matrix_transpose(product))
    of_c = tf.reduce_sum(adjoint * weights * one_hot)
    message = "`svm_dual` has a first derivative only."
    return tuple(tf.raw_ops.PreventGradient(input=g, message=message) for g in (of_kernel, of_c))
