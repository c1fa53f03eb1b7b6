"""Networks from a window of a series to its horizon: recurrent, convolutional, fully connected."""

from __future__ import annotations

import keras

from tfmeta.sizes import check_sizes


def lstm_forecaster(
    window: int,
    horizon: int,
    *,
    units: int = 32,
    points_per_step: int = 1,
    from_last: bool = False,
    return_state: bool = False,
    name: str = "lstm_forecaster",
) -> keras.Model:
    """An LSTM (Hochreiter and Schmidhuber 1997) that reads a window and gives all of its horizon.

    It has second derivatives on every device, which cuDNN's LSTM has not.

    Args:
        window: points that it reads.
        horizon: points that it forecasts.
        units: of the LSTM.
        points_per_step: of the window, that the LSTM reads at once: a day of hours, say. Fewer
            steps are faster, and easier to learn through.
        from_last: whether what it reads and what it forecasts are deviations from the window's last
            value.
        return_state: whether the layer `lstm` gives its states too, as `MetaLSTM(memory="lstm")`
            needs it; the outputs are the same.
        name: name of the model.

    Returns:
        A functional model from `[batch, window]` to `[batch, horizon]`.

    Raises:
        ValueError: for sizes that are not positive, or steps that do not fill the window.

    Example:
        >>> lstm_forecaster(24, 6, points_per_step=4).output_shape
        (None, 6)
    """
    check_sizes(window=window, horizon=horizon, units=units, points_per_step=points_per_step)
    if window % points_per_step:
        raise ValueError(
            "`points_per_step` must divide the window. "
            f"Received: points_per_step={points_per_step}, window={window}."
        )
    x = inputs = keras.Input((window,), name="window")
    if from_last:
        last = _last_of(inputs, window)
        x = keras.layers.Subtract(name="deviations")([inputs, last])
    x = keras.layers.Reshape((-1, points_per_step), name="steps")(x)
    lstm = keras.layers.LSTM(units, use_cudnn=False, return_state=return_state, name="lstm")
    x = lstm(x)[0] if return_state else lstm(x)
    outputs = keras.layers.Dense(horizon, name="head")(x)
    if from_last:
        outputs = keras.layers.Add(name="forecast")([last, outputs])
    return keras.Model(inputs, outputs, name=name)


def tcn_forecaster(
    window: int, horizon: int, *, filters: int = 32, n_blocks: int = 4, name: str = "tcn_forecaster"
) -> keras.Model:
    """A temporal convolution network (Bai et al. 2018): causal, dilated, with shortcuts.

    Block `k` looks `2^k` points further back with each of its two taps; four blocks see 31 points
    of the window, and the last place gives the forecast.

    Args:
        window: points that it reads.
        horizon: points that it forecasts.
        filters: of every convolution.
        n_blocks: blocks of two convolutions each.
        name: name of the model.

    Returns:
        A functional model from `[batch, window]` to `[batch, horizon]`.

    Raises:
        ValueError: for sizes that are not positive.

    Example:
        >>> tcn_forecaster(24, 6).output_shape
        (None, 6)
    """
    check_sizes(window=window, horizon=horizon, filters=filters, n_blocks=n_blocks)
    inputs = keras.Input((window,), name="window")
    x = keras.layers.Reshape((window, 1), name="steps")(inputs)
    x = keras.layers.Conv1D(filters, 1, name="channels")(x)
    for number in range(n_blocks):
        shortcut = x
        for part in ("a", "b"):
            x = keras.layers.Conv1D(
                filters,
                2,
                dilation_rate=2**number,
                padding="causal",
                activation="relu",
                name=f"conv_{number + 1}{part}",
            )(x)
        x = keras.layers.Add(name=f"block_{number + 1}")([shortcut, x])
    x = keras.layers.Cropping1D((window - 1, 0), name="last")(x)
    x = keras.layers.Flatten(name="features")(x)
    outputs = keras.layers.Dense(horizon, name="head")(x)
    return keras.Model(inputs, outputs, name=name)


def nbeats_forecaster(
    window: int,
    horizon: int,
    *,
    units: int = 64,
    n_blocks: int = 3,
    n_layers: int = 3,
    name: str = "nbeats_forecaster",
) -> keras.Model:
    """Fully connected blocks with a double residual, as in N-BEATS (Oreshkin et al. 2020).

    Each block explains a part of the window, which is taken from it, and adds its forecast
    (section 3.2, the generic architecture). The forecasts are deviations from the window's last
    value, so that a network that says nothing is the naive method.

    Args:
        window: points that it reads.
        horizon: points that it forecasts.
        units: of every hidden layer.
        n_blocks: number of blocks.
        n_layers: hidden layers of a block.
        name: name of the model.

    Returns:
        A functional model from `[batch, window]` to `[batch, horizon]`.

    Raises:
        ValueError: for sizes that are not positive.

    Example:
        >>> nbeats_forecaster(24, 6).output_shape
        (None, 6)
    """
    check_sizes(window=window, horizon=horizon, units=units, n_blocks=n_blocks, n_layers=n_layers)
    inputs = keras.Input((window,), name="window")
    last = _last_of(inputs, window)
    rest = keras.layers.Subtract(name="deviations")([inputs, last])
    forecasts = []
    for block in range(1, n_blocks + 1):
        x = rest
        for layer in range(1, n_layers + 1):
            x = keras.layers.Dense(units, "relu", name=f"block_{block}_dense_{layer}")(x)
        forecasts.append(keras.layers.Dense(horizon, name=f"block_{block}_forecast")(x))
        if block < n_blocks:
            explained = keras.layers.Dense(window, name=f"block_{block}_backcast")(x)
            rest = keras.layers.Subtract(name=f"rest_{block}")([rest, explained])
    outputs = keras.layers.Add(name="forecast")([last, *forecasts])
    return keras.Model(inputs, outputs, name=name)


def _last_of(inputs: keras.KerasTensor, window: int) -> keras.KerasTensor:
    """The last value of every window, `[batch, 1]`."""
    last = keras.layers.Reshape((window, 1), name="values")(inputs)
    last = keras.layers.Cropping1D((window - 1, 0), name="last")(last)
    return keras.layers.Flatten(name="level")(last)
