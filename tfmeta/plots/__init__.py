"""Pictures of episodes, adaptation, training and results; matplotlib without a display."""

from tfmeta.plots.curves import plot_adaptation, plot_history, plot_regression
from tfmeta.plots.episode import plot_episode
from tfmeta.plots.forecast import plot_forecast
from tfmeta.plots.memory import plot_gates, plot_instances, plot_memory
from tfmeta.plots.optimization import plot_optimization
from tfmeta.plots.report import plot_report

__all__ = [
    "plot_adaptation",
    "plot_episode",
    "plot_forecast",
    "plot_gates",
    "plot_history",
    "plot_instances",
    "plot_memory",
    "plot_optimization",
    "plot_regression",
    "plot_report",
]
