"""Forecasting as few-shot learning on the M4 competition: every series is a task.

    python recipes/time_series/m4.py --kind weekly --data data/timeseries/m4_hourly_weekly.npz
    python recipes/time_series/m4.py --kind hourly --data data/timeseries/m4_hourly_weekly.npz

The support set of a task is the latest windows of a series' own past, a season or a horizon apart,
and closer in a short past; the query is its horizon. A network of N-BEATS-like blocks first learns
all series; from its weights, MAML, Reptile and Meta-LSTM learn to adapt to one, and the control
goes on for as many steps without adaptation. Another control is trained on each series alone. The
same again with an LSTM: an outer LSTM, which reads the hidden and the cell state, the gradient and
the loss of the inner one, updates its weights on the past of the series.

All learn from the pasts without their last horizon, on which the epoch is chosen, the start among
them, and are tested on the official hold-out: OWA, where Naive2 is 1, and its paired difference
from the same network without adaptation. `--also data/timeseries/m3.npz:OTHER` tests on other
series too, on which nothing is trained.
"""

import os
import time

import keras
import tensorflow as tf

import tfmeta
from tfmeta import cli, plots, runs
from tfmeta.data import forecast_tasks, series_from_npz
from tfmeta.functional import naive2
from tfmeta.inner_loop import (
    Adam,
    ClippedGradients,
    GradientDescent,
    LayerStepRates,
    MetaLSTMRule,
)
from tfmeta.intervals import mean_interval
from tfmeta.learners import MAML, MetaLSTM, Reptile
from tfmeta.models import lstm_forecaster, nbeats_forecaster
from tfmeta.optimizers import cosine_adam

# The layers of the blocks that forecast.
HEADS = "_forecast/"
# The period and the official horizon, and the windows of a support set.
HOURLY = {"period": 24, "horizon": 48, "window": 168, "n_shot": 8, "stride": 24}
WEEKLY = {"period": 1, "horizon": 13, "window": 26, "n_shot": 6, "stride": 13}
# What an LSTM reads at once; what Reptile and Meta-LSTM adapt, and how fast at the start; the LSTM
# that updates, which keeps about ten times its units for each weight, step and task.
HOURLY |= {"points_per_step": 24, "adapt": HEADS, "adapt_rate": 0.02}
WEEKLY |= {"points_per_step": 2, "adapt": "all", "adapt_rate": 0.01}
HOURLY |= {"rule_units": 20, "rule_tasks": 16}
WEEKLY |= {"rule_units": 8, "rule_tasks": 4}
KINDS = {"hourly": HOURLY, "weekly": WEEKLY}
# Of each network, the control comes first.
OF_BLOCKS = ("no adaptation", "maml", "reptile", "meta-lstm", "from scratch")
OF_LSTM = ("lstm no adaptation", "lstm over lstm")
METHODS = OF_BLOCKS + OF_LSTM
COLUMNS = (
    "series",
    "forecaster",
    "OWA",
    "sMAPE",
    "MASE",
    "OWA against no adaptation",
    "minutes after the first network",
)


def parse(arguments):
    """The options, with the sizes of the kind of series that they name."""
    parser = cli.parser(
        __doc__,
        recipe="time_series/m4.py",
        n_query=4,
        n_tasks=32,
        steps=300,
        epochs=5,
        learning_rate=3e-4,
        run="runs/m4",
    )
    add = parser.add_argument
    add("--data", default="data/timeseries/m4_hourly_weekly.npz")
    add("--kind", default="weekly", choices=tuple(KINDS))
    windows = ("period", "horizon", "window", "stride", "points_per_step")
    for name in (*windows, "rule_units", "rule_tasks"):
        add(f"--{name.replace('_', '-')}", type=int)
    add("--adapt", help="what Reptile and Meta-LSTM adapt: all, or a pattern of paths of weights")
    add("--adapt-rate", type=float, help="of these, at the start")
    add("--first-steps", type=int, default=4000, help="on all series, before any adaptation")
    add("--first-rate", type=float, default=1e-3, help="learning rate of these")
    add("--units", type=int, default=128)
    add("--lstm-units", type=int, default=32, help="of the LSTM that forecasts")
    add("--inner-steps", type=int, default=5)
    add("--inner-rate", type=float, default=0.01)
    add("--scratch-steps", type=int, default=100, help="of Adam, on each series alone")
    add("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    add("--also", nargs="*", default=[], metavar="FILE:KIND", help="other series to test on")
    parser.set_defaults(**KINDS[parser.parse_known_args(arguments)[0].kind])
    return cli.parse(parser, arguments)


def build_network(method, options):
    """The network of a forecaster."""
    if method in OF_LSTM:
        return lstm_forecaster(
            options.window,
            options.horizon,
            units=options.lstm_units,
            points_per_step=options.points_per_step,
            from_last=True,
            return_state=True,
        )
    return nbeats_forecaster(options.window, options.horizon, units=options.units)


def tasks_of(series, options):
    """The family of tasks of some series."""
    sizes = {name: getattr(options, name) for name in ("window", "horizon", "stride")}
    return forecast_tasks(series, min_stride=1, **sizes)


def build_learner(method, network, options):
    """A learner that adapts to a series."""
    name = method.replace(" ", "_").replace("-", "_")
    common = {"engine": "vectorized", "name": name, "inner_steps": options.inner_steps}
    of_lstm = {"forget": 0.9999, "units": options.rule_units}
    if method == "from scratch":
        return MAML(
            network, update_rule=Adam(1e-3), **common | {"inner_steps": options.scratch_steps}
        )
    if method == "maml":
        return MAML(network, update_rule=clipped(LayerStepRates(options.inner_rate)), **common)
    if method == "reptile":
        rule = clipped(GradientDescent(options.adapt_rate))
        return Reptile(network, update_rule=rule, adapt=options.adapt, **common)
    if method == "meta-lstm":
        rule = clipped(MetaLSTMRule(options.adapt_rate, **of_lstm))
        return MetaLSTM(network, update_rule=rule, adapt=options.adapt, **common)
    rule = clipped(MetaLSTMRule(options.inner_rate, n_context=2, **of_lstm))
    return MetaLSTM(network, update_rule=rule, memory="lstm", **common)


def clipped(rule):
    """A rule that a series whose level jumps, with errors beyond all others, cannot carry away."""
    return ClippedGradients(rule, max_norm=1.0)


def train_learner(method, network, train, options):
    """A trained learner, at the epoch with the best validation error."""
    learner = build_learner(method, network, options)
    if method == "from scratch":
        learner.compile()
        return learner
    optimizer = cosine_adam(options.learning_rate, options.steps)
    if method == "reptile":
        optimizer = keras.optimizers.SGD(0.1)
    learner.compile(optimizer, loss="mae")
    n_tasks = options.rule_tasks if isinstance(learner, MetaLSTM) else options.n_tasks
    batches = cli.episodes(train, "train", options, n_query=options.n_query, n_tasks=n_tasks)
    best = BestForecasts(learner, train, options.n_shot)
    learner.fit(batches, **epochs_of(options.steps, options), callbacks=[best], verbose=0)
    return learner


def train_without_adaptation(network, train, options, *, steps, rate):
    """A network, trained on the same windows of all series."""
    network.compile(cosine_adam(rate, steps), loss="mae")

    def windows(inputs, query_y):
        x = tf.concat([inputs["support_x"], inputs["query_x"]], axis=1)
        y = tf.concat([inputs["support_y"], query_y], axis=1)
        return tf.reshape(x, [-1, options.window]), tf.reshape(y, [-1, options.horizon])

    batches = cli.episodes(train, "train", options, n_query=options.n_query).map(windows)
    forecaster = without_adaptation(network)
    best = BestForecasts(forecaster, train, options.n_shot)
    network.fit(batches, **epochs_of(steps, options), callbacks=[best], verbose=0)
    return forecaster


def without_adaptation(network):
    """A network as a forecaster of episodes, of which it looks at the query alone."""
    return lambda inputs: network(inputs["query_x"][:, 0])[:, tf.newaxis]


def epochs_of(steps, options):
    """Epochs and their steps, as `fit` takes them."""
    epochs = min(options.epochs, steps)
    return {"epochs": epochs, "steps_per_epoch": steps // epochs}


class BestForecasts(keras.callbacks.Callback):
    """Prints the validation OWA of the start and of every epoch, and goes back to the best one."""

    def __init__(self, forecaster, validation, n_shot):
        super().__init__()
        self.forecaster, self.validation, self.n_shot = forecaster, validation, n_shot
        self.best = None

    def on_train_begin(self, logs=None):
        self.on_epoch_end(-1)

    def on_epoch_end(self, epoch, logs=None):
        report = tfmeta.evaluate_forecasts(
            self.forecaster, self.validation, n_shot=self.n_shot, name=self.model.name
        )
        owa, _ = report.mean("owa")
        print(f"{self.model.name}, epoch {epoch + 1}: validation {report}", flush=True)
        if self.best is None or owa < self.best[0]:
            self.best = (owa, self.model.get_weights())

    def on_train_end(self, logs=None):
        self.model.set_weights(self.best[1])


def rows_of(title, reports, minutes):
    """The lines of the table for all forecasters of some series, and that of Naive2."""
    rows = []
    for method, report in reports.items():
        cells = ["{:.3f} ± {:.3f}".format(*report.mean(name)) for name in ("owa", "smape", "mase")]
        control = OF_LSTM[0] if method in OF_LSTM else OF_BLOCKS[0]
        difference = "–"
        if control in reports and control != method:
            paired = mean_interval(report.owa - reports[control].owa)
            difference = "{:+.3f} ± {:.3f}".format(*paired)
        rows.append((title, method, *cells, difference, f"{minutes[method]:.1f}"))
    naive = (f"{report.naive_smape:.3f}", f"{report.naive_mase:.3f}")
    return [*rows, (title, "Naive2", "1.000", *naive, "–", "–")]


def draw(forecasts, series, options, number):
    """The forecasts of one series, into the run's folder."""
    plots.plot_forecast(
        series.past[number],
        {name: each[number] for name, each in forecasts.items()},
        future=series.future[number],
        last=3 * options.horizon,
        title=series.ids[number],
        save=os.path.join(options.run, f"forecast_{series.ids[number]}.png"),
    )


def other_series(place, options):
    """Series of another file, named as `FILE:KIND`, that are long enough; and their name."""
    path, kind = place.rsplit(":", 1)
    series = series_from_npz(path, kind=kind, period=options.period)
    needed = tasks_of(series, options).past_needed(options.n_shot) - options.horizon
    series, left_out = series.longer_than(needed - 1)
    name = os.path.splitext(os.path.basename(path))[0]
    print(f"{place}: {len(series)} series, {len(left_out)} left out, which are too short")
    return f"{name} {kind}, {len(series)} series, {len(left_out)} too short", series


def learned_forecasters(train, options):
    """Every method's trained forecaster, and the minutes of its training, one after the other."""
    firsts = {}
    for method in options.methods:
        network = build_network(method, options)
        if method != "from scratch":
            if network.name not in firsts:
                first = firsts[network.name] = build_network(method, options)
                sizes = {"steps": options.first_steps, "rate": options.first_rate}
                train_without_adaptation(first, train, options, **sizes)
            network.set_weights(firsts[network.name].get_weights())
        start = time.perf_counter()
        if method.endswith("no adaptation"):
            sizes = {"steps": options.steps, "rate": options.learning_rate}
            forecaster = train_without_adaptation(network, train, options, **sizes)
        else:
            forecaster = train_learner(method, network, train, options)
        yield method, forecaster, (time.perf_counter() - start) / 60


def main(arguments=None):
    """Runs the recipe and returns its record."""
    options = parse(arguments)
    series = series_from_npz(options.data, kind=options.kind.upper(), period=options.period)
    tests = {f"M4 {options.kind}, {len(series)} series": series}
    tests |= dict(other_series(place, options) for place in options.also)
    options.run = cli.new_folder(options.run)
    train = tasks_of(series.hold_out(options.horizon), options)
    drawn = series.select(range(min(3, len(series))))
    reports, minutes, forecasts = {title: {} for title in tests}, {}, {}
    for method, forecaster, minutes[method] in learned_forecasters(train, options):
        for number, (title, each) in enumerate(tests.items()):
            report = tfmeta.evaluate_forecasts(
                forecaster, tasks_of(each, options), n_shot=options.n_shot, name=method
            )
            reports[title][method] = report
            name = f"report_{number}_{method.replace(' ', '_')}.json"
            report.to_json(os.path.join(options.run, name))
            print(f"{title}: {method}: {report}", flush=True)
        forecasts[method] = tfmeta.forecast(
            forecaster, tasks_of(drawn, options), n_shot=options.n_shot
        )
        if method == "maml":
            tfmeta.export_learner(forecaster, os.path.join(options.run, "saved_model"))
    forecasts["Naive2"] = [
        naive2(past, options.horizon, period=options.period) for past in drawn.past
    ]
    for number in range(len(drawn)):
        draw(forecasts, drawn, options, number)
    rows = [row for title in tests for row in rows_of(title, reports[title], minutes)]
    title = (
        f"M4 {options.kind}, {options.steps} steps after the first network's, seed {options.seed}"
    )
    record = runs.table_record(COLUMNS, rows, title=title, command=options.command)
    runs.write_table(record, os.path.join(options.run, "results.json"), options.record)
    return record


if __name__ == "__main__":
    tfmeta.configure_threads("operations")
    main()
