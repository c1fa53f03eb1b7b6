"""Adapters: small trainable parts around a frozen layer that begin as the identity."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

Effective = dict[str, tf.Tensor]


class Adapter(keras.layers.Wrapper):
    """A frozen layer with a small trainable part around it.

    A subclass makes its weights in `build_adapter`. One whose effect is another value of the
    layer's own weights says so in `effective_weights`, and can then be merged into the layer.

    Args:
        layer: a built Keras layer; it is frozen.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Raises:
        ValueError: for a layer that is not built, or of a kind that the adapter does not fit.
    """

    def __init__(self, layer: keras.layers.Layer, **kwargs: Any) -> None:
        kwargs.setdefault("name", f"{layer.name}_{type(self).__name__.lower()}")
        super().__init__(layer, **kwargs)
        layer.trainable = False

    @classmethod
    def fits(cls, layer: keras.layers.Layer) -> bool:
        """Whether the adapter can be put around a layer."""
        raise NotImplementedError

    def build(self, input_shape: Any = None) -> None:
        if not self.layer.built:
            self.layer.build(input_shape)
        if not self.fits(self.layer):
            raise ValueError(
                f"{type(self).__name__} does not fit the layer {self.layer.name!r} "
                f"({type(self.layer).__name__}). Choose other layers by `pattern`."
            )
        self.build_adapter()
        self.built = True

    def build_adapter(self) -> None:
        """Makes the adapter's weights; the layer is built."""
        raise NotImplementedError

    def effective_weights(self) -> Effective:
        """Values that stand in for weights of the layer, by attribute."""
        raise NotImplementedError

    def call(self, inputs, **kwargs):
        values = self.effective_weights()
        # Read before the scope, which hides values that an inner loop has put in their place.
        mapping = [(v, tf.convert_to_tensor(v)) for v in self.layer.variables]
        replaced = {id(getattr(self.layer, name)): value for name, value in values.items()}
        mapping = [(v, tf.cast(replaced.get(id(v), value), v.dtype)) for v, value in mapping]
        with keras.StatelessScope(state_mapping=mapping):
            return self.layer.call(inputs, **kwargs)

    def merged_weights(self) -> list[Any]:
        """Weights of the layer that give the outputs of layer and adapter together."""
        values = {id(getattr(self.layer, n)): v for n, v in self.effective_weights().items()}
        return [keras.ops.convert_to_numpy(values.get(id(v), v)) for v in self.layer.weights]

    def compute_output_shape(self, input_shape):
        return self.layer.compute_output_shape(input_shape)


@keras.saving.register_keras_serializable("tfmeta")
class LoRA(Adapter):
    """A low-rank change of a layer's kernel: `W + alpha / rank * A B`.

    Hu et al. 2022, "LoRA: Low-Rank Adaptation of Large Language Models". The kernel is taken as a
    matrix `[inputs, outputs]` with all its axes but the last as inputs, so that dense, einsum and
    convolution layers and embeddings are one case. B begins at zero.

    Args:
        layer: a built layer with a `kernel`, or an embedding.
        rank: columns of A, rows of B.
        alpha: scale; None for `rank`.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Example:
        >>> layer = keras.layers.Dense(3)
        >>> layer.build((None, 2))
        >>> adapted = LoRA(layer, rank=1)
        >>> bool(tf.reduce_all(adapted(tf.ones((1, 2))) == layer(tf.ones((1, 2)))))
        True
        >>> adapted.count_params() - layer.count_params()
        5
    """

    def __init__(
        self, layer: keras.layers.Layer, *, rank: int = 4, alpha: float | None = None, **kwargs: Any
    ) -> None:
        if rank < 1:
            raise ValueError(f"`rank` must be at least 1. Received: rank={rank}.")
        super().__init__(layer, **kwargs)
        self.rank, self.alpha = rank, alpha

    @classmethod
    def fits(cls, layer: keras.layers.Layer) -> bool:
        kinds = (keras.layers.Dense, keras.layers.EinsumDense, keras.layers.Embedding)
        return isinstance(layer, (*kinds, keras.layers.Conv1D, keras.layers.Conv2D))

    def build_adapter(self) -> None:
        *inputs, outputs = self._kernel().shape
        n_inputs = 1
        for size in inputs:
            n_inputs *= size
        rank = self.rank
        self.lora_a = self.add_weight((n_inputs, rank), initializer="he_uniform", name="lora_a")
        self.lora_b = self.add_weight((rank, outputs), initializer="zeros", name="lora_b")

    def effective_weights(self) -> Effective:
        kernel = tf.convert_to_tensor(self._kernel())
        a, b = tf.convert_to_tensor(self.lora_a), tf.convert_to_tensor(self.lora_b)
        scale = (self.rank if self.alpha is None else self.alpha) / self.rank
        return {self._name(): kernel + scale * tf.reshape(tf.matmul(a, b), kernel.shape)}

    def _name(self) -> str:
        return "_embeddings" if isinstance(self.layer, keras.layers.Embedding) else "_kernel"

    def _kernel(self) -> keras.Variable:
        return getattr(self.layer, self._name())

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rank": self.rank, "alpha": self.alpha}


@keras.saving.register_keras_serializable("tfmeta")
class FiLM(Adapter):
    """A scale and a shift of every output channel, before the activation.

    `gamma * layer(x) + beta` (Perez et al. 2018, "FiLM: Visual Reasoning with a General
    Conditioning Layer"; so adapted by Requeima et al. 2019). For a layer with kernel and bias, or
    a normalisation layer with scale and offset; gamma begins at one and beta at zero.

    Args:
        layer: a built layer.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Example:
        >>> layer = keras.layers.Dense(3)
        >>> layer.build((None, 2))
        >>> FiLM(layer)(tf.ones((1, 2))).shape
        TensorShape([1, 3])
    """

    @classmethod
    def fits(cls, layer: keras.layers.Layer) -> bool:
        if isinstance(layer, keras.layers.EinsumDense):
            return False
        return all(getattr(layer, name, None) is not None for name in cls._names(layer))

    @staticmethod
    def _names(layer: keras.layers.Layer) -> tuple[str, str]:
        is_norm = hasattr(layer, "gamma") and hasattr(layer, "beta")
        return ("gamma", "beta") if is_norm else ("_kernel", "bias")

    def build_adapter(self) -> None:
        shape = getattr(self.layer, self._names(self.layer)[0]).shape[-1:]
        self.film_scale = self.add_weight(shape, initializer="ones", name="film_scale")
        self.film_shift = self.add_weight(shape, initializer="zeros", name="film_shift")

    def effective_weights(self) -> Effective:
        scale_name, shift_name = self._names(self.layer)
        scale, shift = tf.convert_to_tensor(self.film_scale), tf.convert_to_tensor(self.film_shift)
        kernel = tf.convert_to_tensor(getattr(self.layer, scale_name))
        bias = tf.convert_to_tensor(getattr(self.layer, shift_name))
        return {scale_name: scale * kernel, shift_name: scale * bias + shift}


@keras.saving.register_keras_serializable("tfmeta")
class BottleneckAdapter(Adapter):
    """A layer plus a small network on its output: `f_target = f_source + f_adapter(f_source)`.

    `h + up(relu(down(h)))` over the last axis (Houlsby et al. 2019, "Parameter-Efficient Transfer
    Learning for NLP"; for pictures Rebuffi et al. 2018). `up` begins at zero. It is not linear and
    cannot be merged.

    Args:
        layer: a built layer.
        width: of the bottleneck.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Example:
        >>> layer = keras.layers.Dense(3)
        >>> layer.build((None, 2))
        >>> adapted = BottleneckAdapter(layer, width=2)
        >>> bool(tf.reduce_all(adapted(tf.ones((1, 2))) == layer(tf.ones((1, 2)))))
        True
    """

    def __init__(self, layer: keras.layers.Layer, *, width: int = 8, **kwargs: Any) -> None:
        if width < 1:
            raise ValueError(f"`width` must be at least 1. Received: width={width}.")
        super().__init__(layer, **kwargs)
        self.width = width

    @classmethod
    def fits(cls, layer: keras.layers.Layer) -> bool:
        kinds = (keras.layers.Dense, keras.layers.Conv1D, keras.layers.Conv2D)
        return isinstance(layer, kinds)

    def build_adapter(self) -> None:
        channels = self.layer._kernel.shape[-1]
        self.down = self.add_weight(
            (channels, self.width), initializer="he_uniform", name="adapter_down"
        )
        self.down_bias = self.add_weight(
            (self.width,), initializer="zeros", name="adapter_down_bias"
        )
        self.up = self.add_weight((self.width, channels), initializer="zeros", name="adapter_up")

    def call(self, inputs, **kwargs):
        h = self.layer(inputs, **kwargs)
        inner = tf.nn.relu(tf.tensordot(h, self.down, 1) + self.down_bias)
        return h + tf.tensordot(inner, self.up, 1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "width": self.width}
