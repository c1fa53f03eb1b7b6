"""The contrastive loss of two views of each example."""

from __future__ import annotations

import tensorflow as tf

from tfmeta.functional.losses import cross_entropy


def view_logits(
    first: tf.Tensor, second: tf.Tensor, *, temperature: float = 0.5
) -> tuple[tf.Tensor, tf.Tensor]:
    """Similarities of all views, as logits of a classifier that looks for each view's partner.

    `logits[i, j] = cos(z_i, z_j) / temperature` of the 2n views z; a view is no candidate for
    itself and has the lowest logit there.

    Args:
        first: one view of each example `[n, d]`.
        second: another view of each `[n, d]`, in the same order.
        temperature: above 0.

    Returns:
        Logits `[2n, 2n]`, and the number of each view's partner `[2n]` int32.

    Example:
        >>> logits, partners = view_logits(tf.eye(2), tf.eye(2), temperature=1.0)
        >>> logits[0, 1:].numpy(), partners.numpy()
        (array([0., 1., 0.], dtype=float32), array([2, 3, 0, 1], dtype=int32))
    """
    views = tf.math.l2_normalize(tf.concat([first, second], axis=0), axis=1)
    logits = tf.matmul(views, views, transpose_b=True) / temperature
    n_views = tf.shape(views)[0]
    # A large number, not minus infinity, which times the zero of a one-hot label is not a number.
    itself = tf.fill([n_views], tf.constant(-1e9, logits.dtype))
    partners = tf.math.floormod(tf.range(n_views) + n_views // 2, n_views)
    return tf.linalg.set_diag(logits, itself), partners


def nt_xent(first: tf.Tensor, second: tf.Tensor, *, temperature: float = 0.5) -> tf.Tensor:
    """The normalised temperature-scaled cross-entropy of SimCLR.

    `-(1 / 2n) sum_i log exp(s_i,p(i)) / sum_{k != i} exp(s_ik)` with `s_ik = cos(z_i, z_k) /
    temperature` over the 2n views z and `p(i)` the other view of the same example (Chen et al.
    2020, "A Simple Framework for Contrastive Learning of Visual Representations", equation 1).

    Args:
        first: one view of each example `[n, d]`.
        second: another view of each `[n, d]`, in the same order.
        temperature: above 0.

    Returns:
        A scalar, in nats.

    Example:
        >>> round(float(nt_xent(tf.eye(2), tf.eye(2), temperature=1.0)), 4)  # log((e + 2) / e)
        0.5514
    """
    logits, partners = view_logits(first, second, temperature=temperature)
    return cross_entropy(partners, logits)
