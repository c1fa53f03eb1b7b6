"""Random distortions of an episode's pictures, as much a function of `(seed, i)` as its draws."""

from __future__ import annotations

import math
from dataclasses import dataclass

import tensorflow as tf

from tfmeta.data.sampler import random_bits, random_uniform

_N_PARAMETERS = 6
# Another stream than the one that draws the episode's classes and examples.
_STREAM = 0x5DEECE66D


@dataclass(frozen=True)
class RandomAffine:
    """Distorts every picture of an episode by a random affine map of its own.

    A point `p`, measured from the centre, shows what was at `R(angle) K(shear) S(scale) p + shift`,
    with the parameters uniform within the limits (the logarithms of both scales, for `scale`).
    What comes from outside is 0, or mirrored. For training episodes:
    `episode_dataset(train, ..., augment=RandomAffine())`.

    Attributes:
        rotation: largest angle, in degrees.
        scale: largest change of height and of width, as a share: 0.12 for ±12 %.
        shear: largest shear.
        shift: largest shift, as a share of the side.
        fill: `"constant"` (0, the background of drawings) or `"reflect"` (for photographs).

    Example:
        >>> distort = RandomAffine(rotation=0.0, scale=0.0, shear=0.0, shift=0.0)
        >>> pictures = tf.ones([1, 2, 8, 8, 1], tf.uint8)
        >>> bool(tf.reduce_all(distort(pictures, seed=0, episodes=tf.range(1)) == pictures))
        True
    """

    rotation: float = 10.0
    scale: float = 0.12
    shear: float = 0.15
    shift: float = 0.07
    fill: str = "constant"

    def __post_init__(self) -> None:
        limits = (self.rotation, self.scale, self.shear, self.shift)
        if min(limits) < 0 or self.fill not in ("constant", "reflect"):
            raise ValueError(
                "The limits of `RandomAffine` must not be negative, and `fill` must be 'constant' "
                f"or 'reflect'. Received: {self}."
            )

    def __call__(self, pictures: tf.Tensor, *, seed: int, episodes: tf.Tensor) -> tf.Tensor:
        """Distorted pictures of the episodes with the given numbers.

        Args:
            pictures: `[tasks, n, height, width, channels]`.
            seed: Any integer.
            episodes: Episode numbers `[tasks]`.

        Returns:
            The same shape and dtype.

        Raises:
            ValueError: examples that are not pictures.
        """
        if pictures.shape.rank != 5:
            raise ValueError(
                "`augment=RandomAffine()` needs pictures [height, width, channels]. Received: "
                f"examples of shape {pictures.shape[2:]}. Leave `augment` out."
            )
        shape = tf.shape(pictures)
        height, width = pictures.shape[2:4]
        bits = random_bits(seed ^ _STREAM, episodes, pictures.shape[1] * _N_PARAMETERS)
        unit = tf.reshape(random_uniform(bits, -1.0, 1.0), [-1, _N_PARAMETERS])
        distorted = tf.raw_ops.ImageProjectiveTransformV3(
            images=tf.reshape(pictures, [-1, *pictures.shape[2:]]),
            transforms=self._transforms(tf.cast(unit, tf.float32), height, width),
            output_shape=[height, width],
            fill_value=0.0,
            fill_mode=self.fill.upper(),
            interpolation="BILINEAR",
        )
        distorted = tf.reshape(distorted, shape)
        distorted.set_shape(pictures.shape)
        return distorted

    def _transforms(self, unit: tf.Tensor, height: int, width: int) -> tf.Tensor:
        """Rows `[n, 8]` of the inverse maps, from numbers `[n, 6]` in `[-1, 1)`."""
        angle = math.radians(self.rotation) * unit[:, 0]
        along, across = (tf.exp(math.log1p(self.scale) * unit[:, k]) for k in (1, 2))
        shear = self.shear * unit[:, 3]
        cosine, sine = tf.cos(angle), tf.sin(angle)
        xx, xy = cosine * along, (cosine * shear - sine) * across
        yx, yy = sine * along, (sine * shear + cosine) * across
        centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
        x0 = centre_x - xx * centre_x - xy * centre_y + self.shift * width * unit[:, 4]
        y0 = centre_y - yx * centre_x - yy * centre_y + self.shift * height * unit[:, 5]
        zero = tf.zeros_like(angle)
        return tf.stack([xx, xy, x0, yx, yy, y0, zero, zero], axis=1)
