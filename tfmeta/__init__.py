"""tfmeta: few-shot learning, meta-learning and transfer learning for Keras 3 on TensorFlow."""

from tfmeta import data, evaluation, functional, inner_loop, layers, learners, plots, transfer
from tfmeta.advice_report import AdviceReport
from tfmeta.advise import advise
from tfmeta.classifier_export import export_classifier
from tfmeta.evaluation import EpisodeReport, compare_reports, evaluate_episodes
from tfmeta.export import export_learner
from tfmeta.forecasting import ForecastReport, evaluate_forecasts, forecast
from tfmeta.learners.rejection import Rejection
from tfmeta.open_set import OpenSetReport, calibrate_rejection, evaluate_open_set
from tfmeta.ranking import BackboneRanking, rank_backbones
from tfmeta.streams import StreamReport, evaluate_streams
from tfmeta.testing import gradcheck, hessian_vector_check
from tfmeta.threads import configure_threads

__version__ = "0.1.0"

__all__ = [
    "AdviceReport",
    "BackboneRanking",
    "EpisodeReport",
    "ForecastReport",
    "OpenSetReport",
    "Rejection",
    "StreamReport",
    "advise",
    "calibrate_rejection",
    "compare_reports",
    "configure_threads",
    "data",
    "evaluate_episodes",
    "evaluate_forecasts",
    "evaluate_open_set",
    "evaluate_streams",
    "evaluation",
    "export_classifier",
    "export_learner",
    "forecast",
    "functional",
    "gradcheck",
    "hessian_vector_check",
    "inner_loop",
    "layers",
    "learners",
    "plots",
    "rank_backbones",
    "transfer",
]
