"""The embedded glyphs as a data set of tensorflow-datasets; importing this registers it."""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from tfmeta.data.examples import Examples
from tfmeta.data.glyphs import glyphs, script_of, select_characters
from tfmeta.data.splits import split_classes


@dataclasses.dataclass(kw_only=True)
class GlyphsConfig(tfds.core.BuilderConfig):
    """Arguments of `glyphs`."""

    image_size: int = 28
    n_drawers: int = 20
    min_faces: int = 8
    max_classes: int | None = None


class Glyphs(tfds.core.GeneratorBasedBuilder):
    """Characters of many scripts, drawn from fonts; no script is in two splits.

    The splits are those of `split_classes(glyphs(...), by="group")`. Labels count over the classes
    of all three, so that they mean the same everywhere.

    Example:
        >>> train = tfds.load("glyphs/small", split="train", data_dir="data")
    """

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [  # noqa: RUF012 (tensorflow-datasets wants a list)
        GlyphsConfig(name="default", description="All characters in at least 8 faces."),
        GlyphsConfig(name="small", description="100 of these characters.", max_classes=100),
    ]

    def _info(self) -> Any:
        config = self.builder_config
        characters = select_characters(min_faces=config.min_faces, max_classes=config.max_classes)
        size = config.image_size
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(size, size, 1), dtype=np.uint8),
                    "label": tfds.features.ClassLabel(names=[*map(unicodedata.name, characters)]),
                    "script": tfds.features.ClassLabel(
                        names=sorted({script_of(character) for character in characters})
                    ),
                }
            ),
            supervised_keys=("image", "label"),
        )

    @cached_property
    def _splits(self) -> dict[str, Examples]:
        config = self.builder_config
        names = ("image_size", "n_drawers", "min_faces", "max_classes")
        examples = glyphs(**{name: getattr(config, name) for name in names})
        parts = split_classes(examples, by="group")
        return dict(zip(("train", "validation", "test"), parts, strict=True))

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {name: self._generate_examples(part) for name, part in self._splits.items()}

    def _generate_examples(self, examples: Examples) -> Iterator[tuple[int, dict[str, Any]]]:
        scripts = examples.groups or ()
        for row, (picture, label) in enumerate(zip(examples.x, examples.y, strict=True)):
            yield (
                row,
                {
                    "image": picture,
                    "label": examples.class_names[label],
                    "script": scripts[label],
                },
            )
