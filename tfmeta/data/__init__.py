"""Examples, loaders, class splits and episodes."""

from tfmeta.data.arrays import from_arrays
from tfmeta.data.check import check_examples
from tfmeta.data.directory import from_directory
from tfmeta.data.examples import Examples
from tfmeta.data.npz import from_npz
from tfmeta.data.splits import check_disjoint, load_split, split_classes
from tfmeta.data.tfds import from_tfds

__all__ = [
    "Examples",
    "check_disjoint",
    "check_examples",
    "from_arrays",
    "from_directory",
    "from_npz",
    "from_tfds",
    "load_split",
    "split_classes",
]
