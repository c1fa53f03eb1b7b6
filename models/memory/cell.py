"""What recurrent cells with a memory have in common: controller weights, interface, state."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfmeta.models.memory.controller import controller_bias
from tfmeta.sizes import check_sizes


class MemoryCell(keras.Layer):
    """The base of Keras RNN cells that are an LSTM with an external memory.

    A step is split in two, so that the part that does not wait for the step before is one matrix
    product for a whole stream: `project(stream)`, and `step(projected, state)` on what it gives.

    Args:
        units: of the LSTM.
        n_slots: slots of the memory.
        slot_width: numbers in a slot.
        n_heads: heads that read.
        **kwargs: arguments of `keras.Layer`.

    Raises:
        ValueError: for a size that is not positive, or more heads than slots.
    """

    def __init__(
        self, units: int, n_slots: int, slot_width: int, n_heads: int, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_sizes(units=units, n_slots=n_slots, slot_width=slot_width, n_heads=n_heads)
        if n_heads > n_slots:
            raise ValueError(
                f"`n_heads` must be at most `n_slots` ({n_slots}), a slot for each head. "
                f"Received: n_heads={n_heads}. Lower it, or give the memory more slots."
            )
        self.units = units
        self.n_slots = n_slots
        self.slot_width = slot_width
        self.n_heads = n_heads

    # ----- what a cell defines --------------------------------------------------------------

    # The bias of the forget gates at the start.
    forget_start = 1.0

    @property
    def interface_sizes(self) -> list[int]:
        """How many numbers the controller emits for each part of its interface."""
        raise NotImplementedError

    @property
    def interface_start(self) -> list[float]:
        """Where the biases of the interface start."""
        return [0.0] * sum(self.interface_sizes)

    @property
    def state_size(self) -> Any:
        """Shapes of the state, without the batch axis; a named tuple."""
        raise NotImplementedError

    def step(self, projected: tf.Tensor, state: Any) -> tuple[tf.Tensor, list[tf.Tensor], Any]:
        """One step of the cell.

        Args:
            projected: a step of what `project` returned, `[batch, 4 units]`.
            state: as `get_initial_state` gives it.

        Returns:
            The output `[batch, output_size]`, the state after the step, and a named tuple of what
            plots show: `read_weights` `[batch, heads, slots]`, `write_weights`, `gates`.
        """
        raise NotImplementedError

    # ----- what follows from it -------------------------------------------------------------

    def build(self, input_shape: Any) -> None:
        outputs = 4 * self.units
        self.kernel = self.add_weight(shape=(input_shape[-1], outputs), name="kernel")
        self.recurrent_kernel = self.add_weight(
            shape=(self.output_size, outputs), name="recurrent_kernel"
        )
        bias = controller_bias(self.units, self.forget_start)
        self.bias = self.add_weight(
            shape=(outputs,),
            initializer=lambda shape, dtype: tf.constant(bias, dtype, shape),
            name="bias",
        )
        n_emitted = sum(self.interface_sizes)
        self.interface_kernel = self.add_weight(
            shape=(self.units, n_emitted), name="interface_kernel"
        )
        start = self.interface_start
        self.interface_bias = self.add_weight(
            shape=(n_emitted,),
            initializer=lambda shape, dtype: tf.constant(start, dtype, shape),
            name="interface_bias",
        )

    def call(self, inputs, states):
        output, states, _ = self.step(self.project(inputs), states)
        return output, states

    def project(self, inputs: tf.Tensor) -> tf.Tensor:
        """What a step, or all steps of a stream, add to the controller: `x W + b`.

        Args:
            inputs: `[..., features]`.

        Returns:
            `[..., 4 units]`.
        """
        return tf.tensordot(inputs, tf.convert_to_tensor(self.kernel), 1) + self.bias

    def recurrence(
        self, projected: tf.Tensor, hidden: tf.Tensor, read_vectors: tf.Tensor
    ) -> tf.Tensor:
        """Preactivations of the LSTM `[batch, 4 units]`, which sees what was read last."""
        return projected + tf.matmul(tf.concat([hidden, read_vectors], 1), self.recurrent_kernel)

    def emitted(self, hidden: tf.Tensor) -> list[tf.Tensor]:
        """The parts of the interface, before their activations."""
        values = tf.matmul(hidden, self.interface_kernel) + self.interface_bias
        return tf.split(values, self.interface_sizes, axis=1)

    def by_head(self, values: tf.Tensor) -> tf.Tensor:
        """`[batch, heads, width]` from `[batch, heads * width]`."""
        return tf.reshape(values, [-1, self.n_heads, self.slot_width])

    def joined(self, vectors: tf.Tensor) -> tf.Tensor:
        """`[batch, heads * width]` from `[batch, heads, width]`."""
        return tf.reshape(vectors, [-1, self.n_heads * self.slot_width])

    @property
    def output_size(self) -> int:
        """Length of an output: what the LSTM says and what the heads read."""
        return self.units + self.n_heads * self.slot_width

    def get_initial_state(self, batch_size: Any = None) -> list[tf.Tensor]:
        """The state before a stream: an empty memory.

        Args:
            batch_size: number of streams.

        Returns:
            A list of zeros `[batch, ...]`.
        """
        dtype = self.variable_dtype
        return [tf.zeros([batch_size, *shape], dtype) for shape in self.state_size]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "n_slots": self.n_slots,
            "slot_width": self.slot_width,
            "n_heads": self.n_heads,
        }
