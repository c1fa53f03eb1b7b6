"""Examples, loaders, class splits and episodes."""

from tfmeta.data.arrays import from_arrays
from tfmeta.data.augment import RandomAffine
from tfmeta.data.check import check_examples
from tfmeta.data.digits import handwritten_digits, printed_digits
from tfmeta.data.directory import from_directory
from tfmeta.data.episodes import TaskFamily, episode_dataset
from tfmeta.data.examples import Examples
from tfmeta.data.forecast_tasks import ForecastTasks, forecast_tasks, unit_of
from tfmeta.data.frozen import freeze_episodes, load_episodes
from tfmeta.data.glyphs import glyphs, register_glyphs
from tfmeta.data.hashing import episode_hash
from tfmeta.data.held_out import split_examples
from tfmeta.data.npz import from_npz
from tfmeta.data.series import Series, series_from_csv, series_from_npz
from tfmeta.data.sinusoids import sinusoids
from tfmeta.data.splits import check_disjoint, load_split, split_classes
from tfmeta.data.streams import stream_dataset
from tfmeta.data.text import from_csv, from_json, from_jsonl, from_texts
from tfmeta.data.tfds import from_tfds

__all__ = [
    "Examples",
    "ForecastTasks",
    "RandomAffine",
    "Series",
    "TaskFamily",
    "check_disjoint",
    "check_examples",
    "episode_dataset",
    "episode_hash",
    "forecast_tasks",
    "freeze_episodes",
    "from_arrays",
    "from_csv",
    "from_directory",
    "from_json",
    "from_jsonl",
    "from_npz",
    "from_texts",
    "from_tfds",
    "glyphs",
    "handwritten_digits",
    "load_episodes",
    "load_split",
    "printed_digits",
    "register_glyphs",
    "series_from_csv",
    "series_from_npz",
    "sinusoids",
    "split_classes",
    "split_examples",
    "stream_dataset",
    "unit_of",
]
