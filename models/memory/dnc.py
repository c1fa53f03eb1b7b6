"""The differentiable neural computer (Graves et al. 2016)."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfmeta.models.memory.addressing import (
    content_weights,
    erase_memory,
    read_memory,
    write_memory,
)
from tfmeta.models.memory.cell import MemoryCell
from tfmeta.models.memory.controller import controller_step
from tfmeta.models.memory.dynamic_allocation import (
    allocation_weights,
    gated_write_weights,
    next_usage,
    retention,
)
from tfmeta.models.memory.temporal_links import (
    directional_weights,
    mixed_read_weights,
    next_links,
    next_precedence,
)


class DNCState(NamedTuple):
    """What a `DNC` keeps from one step to the next, each with a leading batch axis."""

    hidden: tf.Tensor
    carry: tf.Tensor
    memory: tf.Tensor
    read_weights: tf.Tensor
    write_weights: tf.Tensor
    usage: tf.Tensor
    links: tf.Tensor
    precedence: tf.Tensor
    read_vectors: tf.Tensor


class DNCTrace(NamedTuple):
    """What a step of a `DNC` looked at, for plots."""

    read_weights: tf.Tensor
    write_weights: tf.Tensor
    gates: tf.Tensor


class _Interface(NamedTuple):
    """What the controller says to the memory, activated."""

    read_keys: tf.Tensor
    read_strengths: tf.Tensor
    write_key: tf.Tensor
    write_strength: tf.Tensor
    erase: tf.Tensor
    vector: tf.Tensor
    free_gates: tf.Tensor
    allocation_gate: tf.Tensor
    write_gate: tf.Tensor
    modes: tf.Tensor


@keras.saving.register_keras_serializable("tfmeta")
class DNC(MemoryCell):
    """A Keras RNN cell: an LSTM whose memory is allocated, addressed by content, and ordered.

    In each step (Graves et al. 2016, "Hybrid computing using a neural network with dynamic
    external memory", Methods):

        h_t, c_t = LSTM([x_t, r_{t-1}], h_{t-1}, c_{t-1}), which emits the interface
        w^w_t: by allocation of unused slots and by content;  M_t: erase, then add
        L_t, p_t: which slot was written after which
        w^r_t: back or on along the links, or by content;  r_t = w^r_t M_t

    and the output is `[h_t, r_t]`, of which the head after it makes the paper's output.

    Args:
        units: of the LSTM.
        n_slots: slots of the memory.
        slot_width: numbers in a slot.
        n_heads: heads that read; one head writes.
        **kwargs: arguments of `keras.Layer`.

    Raises:
        ValueError: for a size that is not positive, or more heads than slots.

    Example:
        >>> stream = tf.zeros([2, 5, 3])
        >>> keras.layers.RNN(DNC(8, n_slots=6, slot_width=4, n_heads=1))(stream).shape
        TensorShape([2, 12])
    """

    def __init__(
        self,
        units: int = 64,
        *,
        n_slots: int = 16,
        slot_width: int = 16,
        n_heads: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(units, n_slots, slot_width, n_heads, **kwargs)

    @property
    def interface_sizes(self) -> list[int]:
        heads, width = self.n_heads, self.slot_width
        return [heads * width, heads, width, 1, width, width, heads, 1, 1, 3 * heads]

    @property
    def state_size(self) -> DNCState:
        """Shapes of the state, without the batch axis."""
        slots, width, heads = self.n_slots, self.slot_width, self.n_heads
        return DNCState(
            hidden=(self.units,),
            carry=(self.units,),
            memory=(slots, width),
            read_weights=(heads, slots),
            write_weights=(slots,),
            usage=(slots,),
            links=(slots, slots),
            precedence=(slots,),
            read_vectors=(heads * width,),
        )

    def step(self, projected, state):
        state = DNCState(*state)
        preactivations = self.recurrence(projected, state.hidden, state.read_vectors)
        hidden, carry, gates = controller_step(preactivations, state.carry)
        interface = self._interface(hidden)

        retained = retention(interface.free_gates, state.read_weights)
        usage = next_usage(state.usage, state.write_weights, retained)
        write_weights = self._write_weights(state.memory, usage, interface)
        memory = erase_memory(state.memory, write_weights, interface.erase)
        memory = write_memory(memory, write_weights[:, tf.newaxis], interface.vector[:, tf.newaxis])

        links = next_links(state.links, state.precedence, write_weights)
        precedence = next_precedence(state.precedence, write_weights)
        forward, backward = directional_weights(links, state.read_weights)
        content = content_weights(memory, interface.read_keys, interface.read_strengths)
        read_weights = mixed_read_weights(interface.modes, backward, content, forward)
        read_vectors = self.joined(read_memory(memory, read_weights))

        written = (read_weights, write_weights, usage, links, precedence, read_vectors)
        output = tf.concat([hidden, read_vectors], axis=1)
        trace = DNCTrace(read_weights, write_weights[:, tf.newaxis], gates)
        return output, [hidden, carry, memory, *written], trace

    def _write_weights(
        self, memory: tf.Tensor, usage: tf.Tensor, interface: _Interface
    ) -> tf.Tensor:
        key = interface.write_key[:, tf.newaxis]
        content = content_weights(memory, key, interface.write_strength)[:, 0]
        allocation = allocation_weights(usage)
        return gated_write_weights(
            interface.write_gate, interface.allocation_gate, allocation, content
        )

    def _interface(self, hidden: tf.Tensor) -> _Interface:
        parts = _Interface(*self.emitted(hidden))
        modes = tf.reshape(parts.modes, [-1, self.n_heads, 3])
        return parts._replace(
            read_keys=self.by_head(parts.read_keys),
            read_strengths=1.0 + tf.nn.softplus(parts.read_strengths),
            write_strength=1.0 + tf.nn.softplus(parts.write_strength),
            erase=tf.sigmoid(parts.erase),
            free_gates=tf.sigmoid(parts.free_gates),
            allocation_gate=tf.sigmoid(parts.allocation_gate),
            write_gate=tf.sigmoid(parts.write_gate),
            modes=tf.nn.softmax(modes),
        )
