"""tfmeta: few-shot learning, meta-learning and transfer learning for Keras 3 on TensorFlow."""

from tfmeta import data, evaluation, functional, inner_loop, layers, learners, plots, transfer
from tfmeta.evaluation import EpisodeReport, compare_reports, evaluate_episodes
from tfmeta.export import export_learner
from tfmeta.learners.rejection import Rejection
from tfmeta.open_set import OpenSetReport, calibrate_rejection, evaluate_open_set
from tfmeta.testing import gradcheck, hessian_vector_check
from tfmeta.threads import configure_threads

__version__ = "0.1.0"

__all__ = [
    "EpisodeReport",
    "OpenSetReport",
    "Rejection",
    "calibrate_rejection",
    "compare_reports",
    "configure_threads",
    "data",
    "evaluate_episodes",
    "evaluate_open_set",
    "evaluation",
    "export_learner",
    "functional",
    "gradcheck",
    "hessian_vector_check",
    "inner_loop",
    "layers",
    "learners",
    "plots",
    "transfer",
]
