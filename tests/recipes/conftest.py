"""Recipes, loaded as Python loads a script, and pictures for them."""

import importlib.util
import pathlib
import sys

import numpy as np
import pytest

RECIPES = pathlib.Path(__file__).parents[2] / "recipes"


@pytest.fixture(scope="session")
def load():
    """A function that returns the module of a recipe, by its path below `recipes/`."""

    def load_recipe(name):
        folder = str((RECIPES / name).parent)
        if folder not in sys.path:  # as Python does for a script
            sys.path.insert(0, folder)
        spec = importlib.util.spec_from_file_location(pathlib.Path(name).stem, RECIPES / name)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load_recipe


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Twelve classes in an .npz file, with a split of its own: four classes for each part."""
    draws = np.random.default_rng(0)
    prototypes = draws.integers(0, 256, (12, 1, 16, 16, 1))
    x = np.clip(prototypes + draws.integers(-20, 20, (12, 6, 16, 16, 1)), 0, 255)
    path = tmp_path_factory.mktemp("data") / "pictures.npz"
    np.savez(
        path,
        x=x.reshape(-1, 16, 16, 1).astype("uint8"),
        y=np.repeat(np.arange(12), 6),
        class_names=[f"class{c}" for c in range(12)],
        split=np.repeat(["train", "val", "test"], 4),
    )
    return path
