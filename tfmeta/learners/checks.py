"""What is asked of a learner's arguments and of the episodes it is given."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfmeta.errors import require

REQUIRED = ("support_x", "support_y", "query_x")
OPTIONAL = ("support_mask", "episode")
_CLASS_LOSSES = ("sparse_categorical_crossentropy", "categorical_crossentropy")
_VALUE_LOSSES = (
    "mean_squared_error",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_logarithmic_error",
    "huber",
    "log_cosh",
)


def check_choice(name: str, value: Any, choices: Sequence[Any]) -> None:
    """Refuses a value that is not among the choices."""
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {list(choices)}. Received: {name}={value!r}")


def check_network(name: str, network: Any) -> None:
    """Refuses what is not a built Keras model with one input and one output."""
    if not isinstance(network, keras.Model):
        raise ValueError(
            f"`{name}` must be a `keras.Model`, for example `tfmeta.models.conv4()`. "
            f"Received: {name}={network!r}"
        )
    # A TextVectorization calls the lookup in it, which has no weights, without building it.
    layers = [x for x in network._flatten_layers() if not isinstance(x, keras.layers.StringLookup)]
    if not network.built or not all(layer.built for layer in layers):
        raise ValueError(
            f"`{name}` must be built before a learner takes it, because an unbuilt network has no "
            f"weights to learn. Received: {network.name!r}, not built. Call it once on a batch, or "
            "give it a `keras.Input`."
        )
    shape = getattr(network, "input_shape", None)
    if not isinstance(shape, tuple):
        raise ValueError(
            f"`{name}` must have one input of a known shape. Received: {network.name!r} with input "
            f"shape {shape}. Join several inputs into one; wrap a subclassed model, as in "
            "`keras.Sequential([keras.Input(shape), model])`."
        )


def check_vectors(name: str, network: keras.Model) -> None:
    """Refuses a network whose outputs are not vectors of a known length."""
    shape = network.output_shape
    if not isinstance(shape, tuple) or len(shape) != 2 or shape[-1] is None:
        raise ValueError(
            f"`{name}` must have one output of shape [batch, n], n known. Received: output shape "
            f"{shape}. End it with a Flatten, a global pooling or a Dense layer."
        )


def check_positive_number(name: str, value: Any) -> None:
    """Refuses what is not a finite number above zero."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not 0.0 < value < float("inf"):
        raise ValueError(f"`{name}` must be a positive number. Received: {name}={value!r}")


def check_new_rule(rule: Any, *, n_weights_before: int) -> None:
    """Refuses an update rule to which another learner has given weights before."""
    if 0 < n_weights_before < len(rule.weights):
        raise ValueError(
            "An update rule that learns belongs to one learner. "
            f"Received: update_rule={type(rule).__name__}, which has weights already. Make another "
            "one: `type(rule).from_config(rule.get_config())`."
        )


def check_fixed_rule(learner: str, rule: Any) -> None:
    """Refuses an update rule that learns, for a learner whose meta-gradient does not reach it."""
    if rule.trainable_variables:
        raise ValueError(
            f"`{learner}` has no meta-gradient for an update rule that learns. "
            f"Received: update_rule={type(rule).__name__} with "
            f"{[v.name for v in rule.trainable_variables]}. Use `MAML`, or a rule without weights."
        )


def check_loss(loss: Any) -> None:
    """Refuses a cross-entropy that takes probabilities: learners return logits."""
    if any(_takes_probabilities(each) for each in keras.tree.flatten(loss)):
        raise ValueError(
            "`loss` must take logits, and this one takes probabilities. "
            f"Received: loss={loss!r}. Leave `loss` out, or pass "
            "`keras.losses.SparseCategoricalCrossentropy(from_logits=True)`."
        )


def _takes_probabilities(loss: Any) -> bool:
    loss = keras.losses.get(loss) if isinstance(loss, str) else loss
    if inspect.isfunction(loss):
        parameter = inspect.signature(loss).parameters.get("from_logits")
        return parameter is not None and parameter.default is False
    return getattr(loss, "from_logits", None) is False


def check_optimizer_in_strategy(optimizer: Any, n_replicas: int) -> None:
    """Refuses what Keras computes wrongly, or not at all, on several replicas."""
    if n_replicas < 2 or optimizer is None:
        return
    names = ("clipnorm", "global_clipnorm", "clipvalue", "gradient_accumulation_steps")
    given = {name: getattr(optimizer, name, None) for name in names}
    given = {name: value for name, value in given.items() if value is not None}
    if given:
        raise ValueError(
            "Under `tf.distribute` with several replicas the optimizer must neither clip (Keras "
            "clips each replica's gradient before the sum) nor accumulate gradients (Keras fails). "
            f"Received: {given} on {n_replicas} replicas. Use more tasks per step, or one replica."
        )


def check_steps_in_strategy(steps_per_execution: int, n_replicas: int) -> None:
    """Refuses several steps per execution on several replicas, where Keras fails."""
    if n_replicas > 1 and steps_per_execution > 1:
        raise ValueError(
            "Under `tf.distribute` with several replicas Keras runs one step at a time. Received: "
            f"steps_per_execution={steps_per_execution} on {n_replicas} replicas. Leave "
            "`steps_per_execution` out of `compile`, or use one replica."
        )


def check_task_count(data: Any, batch_size: int | None, n_replicas: int) -> None:
    """Refuses a number of tasks that the replicas cannot share evenly."""
    if n_replicas < 2:
        return
    n_tasks = batch_size
    if isinstance(data, tf.data.Dataset):
        specs = tf.nest.flatten(data.element_spec)
        n_tasks = specs[0].shape[0] if specs and specs[0].shape.rank else None
    if n_tasks is not None and n_tasks % n_replicas:
        raise ValueError(
            f"`n_tasks` must be a multiple of the number of replicas ({n_replicas}). "
            f"Received: n_tasks={n_tasks}."
        )


def assert_task_count(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """The inputs of one replica, after a check that all replicas have as many tasks.

    For batches whose size only the graph knows, such as a last batch that is cut short.
    """
    n_replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if n_replicas < 2 or inputs["support_x"].shape[0] is not None:
        return inputs
    n_tasks = tf.shape(inputs["support_x"])[0]
    n_tasks = tf.distribute.get_replica_context().all_reduce("SUM", n_tasks)
    return require(
        tf.equal(n_tasks % n_replicas, 0),
        f"`n_tasks` must be a multiple of the number of replicas ({n_replicas}), in the last batch "
        "too: `dataset.batch(n_tasks, drop_remainder=True)`. Received: n_tasks =",
        [n_tasks],
        inputs,
    )


def check_numeric(data: Any) -> None:
    """Refuses arrays of strings or objects, of which Keras says only that they are invalid."""
    arrays = data.items() if isinstance(data, Mapping) else ()
    dtypes = {key: getattr(x, "dtype", None) for key, x in arrays}
    wrong = {key: str(d) for key, d in dtypes.items() if getattr(d, "kind", "f") in "OSU"}
    if wrong:
        raise ValueError(
            f"Episodes must be arrays of numbers. Received: {wrong}. Decode pictures first "
            "(`tfmeta.data.from_directory` reads image files), and pass texts as tensors, "
            "`tf.constant(texts)`, to a network that takes strings."
        )


def check_inputs(inputs: Any, example_shape: Sequence[int | None]) -> dict[str, tf.Tensor]:
    """The inputs of an episode batch as a dict, after a look at keys, ranks and shapes.

    Args:
        inputs: a mapping with `support_x [tasks, support, ...]`, `support_y [tasks, support]` or
            `[tasks, support, d]`, `query_x [tasks, query, ...]` and optionally `support_mask
            [tasks, support]` and `episode [tasks]`.
        example_shape: what the network takes, without the batch axis.

    Returns:
        The same tensors, entries that are `None` left out.

    Raises:
        ValueError: for missing or unknown keys, and shapes that do not fit.
    """
    if not isinstance(inputs, Mapping):
        raise ValueError(
            f"Episodes must be a dict with {list(REQUIRED)}. Received: {type(inputs).__name__}. "
            "`tfmeta.data.episode_dataset` makes them."
        )
    given = {key: tf.convert_to_tensor(x) for key, x in inputs.items() if x is not None}
    missing = [key for key in REQUIRED if key not in given]
    unknown = [key for key in given if key not in REQUIRED + OPTIONAL]
    if missing or unknown:
        raise ValueError(
            f"Episodes must have {list(REQUIRED)} and may have {list(OPTIONAL)}. "
            f"Received: {list(given)} (missing {missing}, unknown {unknown})."
        )
    for key in ("support_x", "query_x"):
        check_examples(key, given[key], example_shape, leading="[tasks, examples]", n_leading=2)
    support_x = given["support_x"]
    check_axes("support_y", given["support_y"], "[tasks, support]", support_x)
    check_axes("query_x", given["query_x"], "[tasks]", support_x)
    for key, axes in (("support_mask", "[tasks, support]"), ("episode", "[tasks]")):
        if key in given:
            check_axes(key, given[key], axes, support_x, exact=True)
    return given


def check_axes(name: str, x: Any, axes: str, examples: Any, *, exact: bool = False) -> None:
    """Refuses what has not one entry for every example, or for every task.

    Args:
        name: what `x` is called.
        x: of shape `axes`, or with more axes behind them unless `exact`.
        axes: the names of the axes, `"[tasks]"` or `"[tasks, query]"`.
        examples: whose first axes are those.
        exact: whether `x` has no other axes.

    Raises:
        ValueError: with both shapes.
    """
    n_axes = axes.count(",") + 1
    got, wanted = tuple(x.shape), tuple(examples.shape)[:n_axes]
    fits = len(got) == n_axes if exact else len(got) >= n_axes
    if fits and all(a is None or b is None or a == b for a, b in zip(got, wanted, strict=False)):
        return
    raise ValueError(
        f"`{name}` must have the axes {axes}, as the examples have: {wanted}. "
        f"Received: {name} of shape {got}."
    )


def check_queries(
    inputs: Mapping[str, tf.Tensor], query_y: tf.Tensor, sample_weight: tf.Tensor | None
) -> None:
    """Refuses targets and weights that are not one for each query.

    Args:
        inputs: what `check_inputs` returned.
        query_y: `[tasks, query]` or `[tasks, query, d]`.
        sample_weight: `[tasks, query]`, or None.

    Raises:
        ValueError: for other shapes.
    """
    check_axes("query_y", query_y, "[tasks, query]", inputs["query_x"])
    if sample_weight is not None:
        # `class_weight` ends here too: the classes of an episode are drawn anew each time.
        check_axes("sample_weight", sample_weight, "[tasks, query]", inputs["query_x"], exact=True)
    sizes = tuple(inputs["support_y"].shape)[2:], tuple(query_y.shape)[2:]
    if sizes[0] != sizes[1]:
        raise ValueError(
            "Targets must be as wide in the query as in the support. Received: support_y of shape "
            f"{inputs['support_y'].shape}, query_y of shape {query_y.shape}."
        )


def check_examples(
    name: str, x: Any, example_shape: Sequence[int | None], *, leading: str, n_leading: int
) -> None:
    """Refuses examples of another shape or dtype than the network takes."""
    shape = tuple(x.shape)[n_leading:]
    fits = len(tuple(x.shape)) == n_leading + len(example_shape) and all(
        want is None or got is None or want == got
        for want, got in zip(example_shape, shape, strict=True)
    )
    if not fits:
        raise ValueError(
            f"`{name}` must have the shape {leading} + {tuple(example_shape)}, which is what the "
            f"network takes. Received: {name} of shape {tuple(x.shape)}. Resize the examples "
            "(`image_size=` of the loaders) or build the network with their `input_shape`."
        )


def is_regression_loss(loss: Any) -> bool:
    """Whether a loss, as `compile` takes it, is known to be for float targets."""
    return _loss_name(loss) in _VALUE_LOSSES


def _loss_name(loss: Any) -> str:
    name = getattr(loss, "name", loss if isinstance(loss, str) else getattr(loss, "__name__", ""))
    return {"mse": "mean_squared_error", "mae": "mean_absolute_error"}.get(name, name)


def check_targets(y: tf.Tensor, loss: Any, *, is_classification: bool) -> None:
    """Refuses query targets whose dtype or rank does not fit the support's labels or the loss.

    Args:
        y: `[tasks, query]` integers or `[tasks, query, d]` floats.
        loss: what was given to `compile`, or None.
        is_classification: whether the support has class numbers.

    Raises:
        ValueError: for float class labels, integer targets of a regression, or the loss of the
            other kind.
    """
    name = _loss_name(loss)
    wrong_loss = is_regression_loss(loss) if is_classification else name in _CLASS_LOSSES
    fits = y.dtype.is_integer == is_classification
    fits = fits and len(y.shape) == (2 if is_classification else 3)
    if fits and not wrong_loss:
        return
    wanted = "integers [tasks, query]" if is_classification else "floats [tasks, query, d]"
    raise ValueError(
        f"`query_y` must be {wanted}, as `support_y` is, and the loss must be for such targets. "
        f"Received: query_y {y.dtype.name} of shape {tuple(y.shape)}, loss {name or 'default'!r}. "
        "A cross-entropy takes class numbers, a regression loss takes float targets."
    )


def assert_labels(name: str, y: tf.Tensor, n_way: int | tf.Tensor) -> tf.Tensor:
    """The labels, after a check that they lie in `0 ... n_way - 1`."""
    smallest, largest = tf.reduce_min(y), tf.reduce_max(y)
    message = (
        f"`{name}` must hold class numbers 0 ... n_way - 1. Number the classes of each episode "
        "anew, or give the network n_way outputs. Received: smallest, largest, n_way ="
    )
    n_way = tf.cast(n_way, y.dtype)
    return require((smallest >= 0) & (largest < n_way), message, [smallest, largest, n_way], y)


def assert_width(support_y: tf.Tensor, n_outputs: int) -> tf.Tensor:
    """The labels of a batch without mask, after a check that the network is not wider than they."""
    n_way = tf.reduce_max(support_y) + 1
    return require(
        n_way >= n_outputs,
        "A network must have n_way outputs. Build it with as many, or pass `support_mask` if "
        "tasks have fewer classes on purpose. Received: n_way, outputs =",
        [n_way, tf.constant(n_outputs)],
        support_y,
    )


def assert_every_class(support_y: tf.Tensor) -> tf.Tensor:
    """The labels of one episode, after a check that no class up to the largest is missing."""
    found = tf.sort(tf.unique(support_y)[0])
    return require(
        tf.reduce_all(tf.equal(found, tf.range(tf.size(found)))),
        "`support_y` must hold an example of every class 0 ... n_way - 1. Number the classes of "
        "each episode anew. Received: classes",
        [found],
        support_y,
    )
