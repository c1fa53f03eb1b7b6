"""SimpleShot (Wang, Chao, Weinberger and van der Maaten 2019)."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfmeta.errors import require
from tfmeta.functional import squared_euclidean
from tfmeta.learners import checks
from tfmeta.learners.prototype_learner import PrototypeLearner

TRANSFORMS = ("UN", "L2N", "CL2N")


@keras.saving.register_keras_serializable("tfmeta")
class SimpleShot(PrototypeLearner):
    """Nearest class mean on transformed features of a backbone that was trained to classify.

    `argmin_k |t(f(x)) - mean_{y_i = k} t(f(x_i))|` with `t` the identity (UN), `f / |f|` (L2N) or
    `(f - c) / |f - c|` (CL2N), `c` the mean feature of the base classes (Wang et al. 2019,
    "SimpleShot: Revisiting Nearest-Neighbor Classification for Few-Shot Learning", section 3).

    The paper trains the backbone as an ordinary classifier of the base classes. `fit` on episodes
    works too; call `set_center` after it, because the mean feature moves.

    Args:
        backbone: a built Keras model from an example to a feature vector.
        transform: `"UN"`, `"L2N"` or `"CL2N"`, the paper's best, which needs `set_center`.
        **kwargs: `refinement`, `statistics`, `engine`, `name` and other arguments of
            `PrototypeLearner`.

    Raises:
        ValueError: for an unbuilt backbone, outputs that are not vectors, or an unknown option.

    Example:
        >>> backbone = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten()])
        >>> learner = SimpleShot(backbone)
        >>> learner.set_center(examples)
        >>> state = learner.adapt(examples.x[::20], tf.range(6))
        >>> learner.predict_query(state, examples.x[:4]).shape
        TensorShape([4, 6])
    """

    def __init__(self, backbone: keras.Model, *, transform: str = "CL2N", **kwargs: Any) -> None:
        checks.check_choice("transform", transform, TRANSFORMS)
        super().__init__(backbone, **kwargs)
        self.transform = transform
        if transform == "CL2N":
            options = {"initializer": "zeros", "trainable": False}
            self.center = self.add_weight(shape=(self.n_features,), name="center", **options)
            # Saved with the center, so that a loaded learner knows whether it has one.
            self.has_center = self.add_weight(shape=(), name="has_center", **options)

    def set_center(self, examples: Any) -> None:
        """Makes the mean feature of examples the center of CL2N.

        Args:
            examples: `tfmeta.data.Examples` of the base classes, those of training.

        Raises:
            ValueError: for another transform, or where features depend on the episode.
        """
        if self.transform != "CL2N":
            raise ValueError(
                'A center is for `transform="CL2N"`. '
                f"Received: transform={self.transform!r}. Leave `set_center` out."
            )
        self.center.assign(self.embed(examples).x.mean(axis=0))
        self.has_center.assign(1.0)

    def transformed(self, features):
        if self.transform == "UN":
            return features
        if self.transform == "CL2N":
            features = features - self._checked_center()
        return tf.math.l2_normalize(features, axis=1)

    def prototype_logits(self, features, prototypes):
        return -squared_euclidean(features, prototypes)

    def _checked_center(self) -> tf.Tensor:
        has_center = tf.convert_to_tensor(self.has_center)
        return require(
            has_center > 0,
            'The transform "CL2N" needs the mean feature of the base classes. Call '
            '`learner.set_center(examples)` first, or use "L2N". Received: has_center =',
            [has_center],
            tf.convert_to_tensor(self.center),
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "transform": self.transform}
