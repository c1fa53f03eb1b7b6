"""Pictures of episodes, adaptation, training and results; matplotlib without a display."""

from tfmeta.plots.curves import plot_adaptation, plot_history, plot_regression
from tfmeta.plots.episode import plot_episode
from tfmeta.plots.forecast import plot_forecast
from tfmeta.plots.report import plot_report

__all__ = [
    "plot_adaptation",
    "plot_episode",
    "plot_forecast",
    "plot_history",
    "plot_regression",
    "plot_report",
]
