"""A neural Turing machine with least-recently-used access (Santoro et al. 2016)."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfmeta.models.memory.addressing import content_weights, read_memory, write_memory
from tfmeta.models.memory.cell import MemoryCell
from tfmeta.models.memory.controller import controller_step
from tfmeta.models.memory.least_recently_used import (
    decayed_usage,
    least_used_slots,
    lrua_write_weights,
)

WRITES = ("bound", "vector", "key")
# Where the biases of write gates and strengths start: new slots, and readings that are sharp.
_GATE, _STRENGTH = -2.0, 9.0


class MANNState(NamedTuple):
    """What a `MANN` keeps from one step to the next, each with a leading batch axis."""

    hidden: tf.Tensor
    carry: tf.Tensor
    memory: tf.Tensor
    read_weights: tf.Tensor
    usage: tf.Tensor
    keys: tf.Tensor
    read_vectors: tf.Tensor


class MANNTrace(NamedTuple):
    """What a step of a `MANN` looked at, for plots."""

    read_weights: tf.Tensor
    write_weights: tf.Tensor
    gates: tf.Tensor


@keras.saving.register_keras_serializable("tfmeta")
class MANN(MemoryCell):
    """A Keras RNN cell: an LSTM with a memory whose least recently used slots are written.

    In each step (Santoro et al. 2016, "Meta-Learning with Memory-Augmented Neural Networks",
    section 3, one write for every read):

        h_t, c_t = LSTM([x_t, r_{t-1}], h_{t-1}, c_{t-1})
        w^w_t = g_t w^r_{t-1} + (1 - g_t) w^lu_{t-1}       where to write, g_t from h_t
        M_t = M_{t-1}, least used slots set to zero, + w^w_t v_t
        w^r_t = softmax(beta_t K(k_t, M_t)),  r_t = w^r_t M_t
        w^u_t = gamma w^u_{t-1} + w^r_t + w^w_t

    and the output is `[h_t, r_t]`. What a head writes, `v_t`, is one of

    - `write="key"`: `k_t`, as in the paper; what is read is then the memory before the write, in
      which a key does not find itself.
    - `write="vector"`: `a_t`, which the controller emits beside the key.
    - `write="bound"`: `k_{t-1} + a_t`. A label comes one step after its example; so that it can be
      found by the example's key, it is written with the key of the step before. The controller
      need not learn to remember examples in the code in which it looks for them, which takes most
      of the training otherwise.

    In the paper `beta_t = 1` (`strengths=False`); but a softmax of similarities between -1 and 1
    cannot point at one of 128 slots, so that heads emit how sharp they read, as in the NTM.

    Args:
        units: of the LSTM.
        n_slots: slots of the memory.
        slot_width: numbers in a slot.
        n_heads: heads that read and write.
        usage_decay: `gamma`.
        write: `"bound"`, `"vector"` or `"key"`, what a head writes.
        strengths: whether a head emits how sharp its reading is.
        **kwargs: arguments of `keras.Layer`.

    Raises:
        ValueError: for a size that is not positive, more heads than slots, or another option out
            of range.

    Example:
        >>> stream = tf.zeros([2, 5, 3])
        >>> keras.layers.RNN(MANN(8, n_slots=6, slot_width=4, n_heads=1))(stream).shape
        TensorShape([2, 12])
    """

    # A key must say what is seen now. From gates that keep the past it says when, and the memory is
    # no help for thousands of steps of training.
    forget_start = -3.0

    def __init__(
        self,
        units: int = 200,
        *,
        n_slots: int = 128,
        slot_width: int = 40,
        n_heads: int = 4,
        usage_decay: float = 0.99,
        write: str = "bound",
        strengths: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(units, n_slots, slot_width, n_heads, **kwargs)
        if not 0.0 <= usage_decay < 1.0:
            raise ValueError(
                "`usage_decay` must lie between 0 and 1, 1 left out. "
                f"Received: usage_decay={usage_decay}."
            )
        if write not in WRITES:
            raise ValueError(f"`write` must be one of {WRITES}. Received: write={write!r}.")
        self.usage_decay = usage_decay
        self.write = write
        self.strengths = strengths

    @property
    def interface_sizes(self) -> list[int]:
        width = self.n_heads * self.slot_width
        vectors = 0 if self.write == "key" else width
        return [width, vectors, self.n_heads, self.n_heads if self.strengths else 0]

    @property
    def interface_start(self) -> list[float]:
        keys, vectors, gates, strengths = self.interface_sizes
        # From an even reading of all slots, there is hardly a gradient to a sharp one.
        starts = [0.0] * (keys + vectors), [_GATE] * gates, [_STRENGTH] * strengths
        return [value for start in starts for value in start]

    @property
    def state_size(self) -> MANNState:
        """Shapes of the state, without the batch axis."""
        slots, width, heads = self.n_slots, self.slot_width, self.n_heads
        return MANNState(
            hidden=(self.units,),
            carry=(self.units,),
            memory=(slots, width),
            read_weights=(heads, slots),
            usage=(slots,),
            keys=(heads, width),
            read_vectors=(heads * width,),
        )

    def step(self, projected, state):
        state = MANNState(*state)
        preactivations = self.recurrence(projected, state.hidden, state.read_vectors)
        hidden, carry, gates = controller_step(preactivations, state.carry)
        keys, vectors, write_gates, strengths = self._interface(hidden, state.keys)

        least_used = least_used_slots(state.usage, self.n_heads)
        write_weights = lrua_write_weights(write_gates, state.read_weights, least_used)
        is_kept = 1.0 - tf.reduce_sum(least_used, axis=1)
        memory = write_memory(state.memory * is_kept[..., tf.newaxis], write_weights, vectors)

        looked_at = state.memory if self.write == "key" else memory
        read_weights = content_weights(looked_at, keys, strengths)
        read_vectors = self.joined(read_memory(looked_at, read_weights))
        usage = decayed_usage(state.usage, read_weights, write_weights, self.usage_decay)
        state = MANNState(hidden, carry, memory, read_weights, usage, keys, read_vectors)
        output = tf.concat([hidden, read_vectors], axis=1)
        return output, list(state), MANNTrace(read_weights, write_weights, gates)

    def _interface(self, hidden: tf.Tensor, keys_before: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Keys and vectors `[batch, heads, width]`, gates and strengths `[batch, heads]`."""
        keys, vectors, gates, strengths = self.emitted(hidden)
        keys = tf.tanh(self.by_head(keys))
        vectors = keys if self.write == "key" else tf.tanh(self.by_head(vectors))
        vectors = vectors + keys_before if self.write == "bound" else vectors
        strengths = 1.0 + tf.nn.softplus(strengths) if self.strengths else tf.ones_like(gates)
        return keys, vectors, tf.sigmoid(gates), strengths

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "usage_decay": self.usage_decay,
            "write": self.write,
            "strengths": self.strengths,
        }
