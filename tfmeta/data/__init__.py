"""Examples, loaders, class splits and episodes."""

from tfmeta.data.examples import Examples

__all__ = ["Examples"]
