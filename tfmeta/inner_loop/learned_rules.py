"""Update rules that the outer loop learns: Meta-SGD, rates per layer and step, Meta-Curvature.

Each starts as gradient descent.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

from tfmeta.inner_loop.update_rules import GradientDescent


@keras.saving.register_keras_serializable("tfmeta")
class MetaSGD(GradientDescent):
    """A learned rate for every parameter, `w <- w - rate * g` elementwise (Li et al. 2017).

    Li, Zhou, Chen and Li, "Meta-SGD: Learning to Learn Quickly for Few-Shot Learning". A rate may
    become negative: the rule learns directions too.

    Args:
        learning_rate: every rate at the start, positive.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Raises:
        ValueError: for a rate that is not positive and finite.

    Example:
        >>> network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> rule = MetaSGD(0.1)
        >>> rule.create_weights(network.trainable_variables, inner_steps=1)
        >>> [tuple(rate.shape) for rate in rule.trainable_variables]
        [(1, 1), (1,)]
    """

    has_weights_of_shape = True

    def create_weights(self, variables: Sequence[keras.Variable], inner_steps: int) -> None:
        self.rates = [
            self.add_weight(
                shape=v.shape,
                dtype=v.dtype,
                initializer=keras.initializers.Constant(self.learning_rate),
                name=f"rate_{i}_{v.name}",
            )
            for i, v in enumerate(variables)
        ]

    def update(self, step, weights, gradients, state):
        pairs = zip(weights, self.rates, gradients, strict=True)
        return [w - tf.convert_to_tensor(rate) * g for w, rate, g in pairs], state


@keras.saving.register_keras_serializable("tfmeta")
class LayerStepRates(GradientDescent):
    """A learned rate for each layer and inner step, `w <- w - rate[layer, step] g`.

    LSLR of Antoniou, Edwards and Storkey 2019, "How to train your MAML" (MAML++). Steps beyond
    those of training take the rate of the last one.

    Args:
        learning_rate: every rate at the start, positive.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Raises:
        ValueError: for a rate that is not positive and finite.

    Example:
        >>> network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> rule = LayerStepRates(0.1)
        >>> rule.create_weights(network.trainable_variables, inner_steps=5)
        >>> [tuple(rates.shape) for rates in rule.trainable_variables]
        [(5,)]
    """

    def create_weights(self, variables: Sequence[keras.Variable], inner_steps: int) -> None:
        # A layer is known by its path; the paths of two layers of one name are alike, so that a
        # change of layer is what counts, in the order of the network.
        layers = [v.path.rpartition("/")[0] for v in variables]
        starts = [i == 0 or layers[i] != layers[i - 1] for i in range(len(layers))]
        self.layer_of_weight = [sum(starts[: i + 1]) - 1 for i in range(len(layers))]
        self.rates = [
            self.add_weight(
                shape=(inner_steps,),
                dtype=v.dtype,
                initializer=keras.initializers.Constant(self.learning_rate),
                name=f"rates_{layer.rpartition('/')[2]}",
            )
            for layer, v, is_start in zip(layers, variables, starts, strict=True)
            if is_start
        ]

    def update(self, step, weights, gradients, state):
        rates = [tf.convert_to_tensor(r)[min(step, r.shape[0] - 1)] for r in self.rates]
        pairs = zip(weights, self.layer_of_weight, gradients, strict=True)
        return [w - rates[layer] * g for w, layer, g in pairs], state


@keras.saving.register_keras_serializable("tfmeta")
class MetaCurvature(GradientDescent):
    """Gradients multiplied by a learned matrix along each of their modes (Park and Oliva 2019).

    "Meta-Curvature": `w <- w - rate (g x_1 M_1 x_2 M_2 ...)`. A kernel `[height, width, in, out]`
    has three modes, its pixels being one; a kernel `[in, out]` has two, a vector one. Every `M`
    starts as the identity, that is, as gradient descent.

    Args:
        learning_rate: the inner rate, positive.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Raises:
        ValueError: for a rate that is not positive and finite.

    Example:
        >>> network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> rule = MetaCurvature(0.1)
        >>> rule.create_weights(network.trainable_variables, inner_steps=1)
        >>> [tuple(matrix.shape) for matrix in rule.trainable_variables]
        [(2, 2), (3, 3), (3, 3)]
    """

    has_weights_of_shape = True

    def create_weights(self, variables: Sequence[keras.Variable], inner_steps: int) -> None:
        self.matrices = [
            [
                self.add_weight(
                    shape=(size, size),
                    dtype=v.dtype,
                    initializer="identity",
                    name=f"curvature_{i}_{mode}",
                )
                for mode, size in enumerate(curvature_modes(v.shape))
            ]
            for i, v in enumerate(variables)
        ]

    def update(self, step, weights, gradients, state):
        moved = []
        for w, g, matrices in zip(weights, gradients, self.matrices, strict=True):
            direction = multiply_modes(g, [tf.convert_to_tensor(m) for m in matrices])
            moved.append(w - self.learning_rate * direction)
        return moved, state


def curvature_modes(shape: Sequence[int]) -> list[int]:
    """Sizes of the modes of a parameter: pixels (as one), inputs, outputs.

    Args:
        shape: of the parameter.

    Returns:
        One size a mode; `[1]` for a scalar.

    Example:
        >>> curvature_modes((3, 3, 1, 64))
        [9, 1, 64]
    """
    sizes = [int(size) for size in shape] or [1]
    pixels, rest = sizes[:-2], sizes[-2:]
    n_pixels = 1
    for size in pixels:
        n_pixels *= size
    return [n_pixels, *rest] if pixels else rest


def multiply_modes(gradient: tf.Tensor, matrices: Sequence[tf.Tensor]) -> tf.Tensor:
    """`gradient x_1 M_1 x_2 M_2 ...`, the mode products of Meta-Curvature (equation 6).

    Args:
        gradient: a tensor of any shape.
        matrices: one for each of its `curvature_modes`.

    Returns:
        A tensor of the shape of `gradient`.

    Example:
        >>> multiply_modes(tf.constant([1.0, 2.0]), [tf.constant([[0.0, 1.0], [1.0, 0.0]])]).numpy()
        array([2., 1.], dtype=float32)
    """
    product = tf.reshape(gradient, [m.shape[0] for m in matrices])
    for mode, matrix in enumerate(matrices):
        product = tf.tensordot(matrix, product, [[1], [mode]])
        product = tf.transpose(product, _moved_from_front(len(matrices), mode))
    return tf.reshape(product, gradient.shape)


def _moved_from_front(rank: int, mode: int) -> list[int]:
    """The permutation that puts the first axis at place `mode`."""
    return [*range(1, mode + 1), 0, *range(mode + 1, rank)]
