"""Networks that read streams into a memory: the cores of `tfmeta.learners.SequenceLearner`."""

from tfmeta.models.memory.dnc import DNC
from tfmeta.models.memory.mann import MANN
from tfmeta.models.memory.snail import SNAIL

__all__ = ["DNC", "MANN", "SNAIL"]
