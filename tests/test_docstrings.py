import doctest
import importlib
import inspect
import pkgutil

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmeta
import tfmeta.models
from tfmeta import controls, data, evaluation, functional, inner_loop, layers, learners, plots

MODULES = [
    info.name
    for package in (tfmeta, tfmeta.models)
    for info in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
]
# Their examples read files, or download data, of the user's own.
READS_FILES = {f"tfmeta.data.{name}" for name in ("directory", "npz", "splits", "tfds")}
READS_FILES |= {"tfmeta.runs"}
RUNNABLE = [name for name in MODULES if name not in READS_FILES]


def names_for_examples():
    """What an example may use without saying so: the library's public names and small data."""
    parts = (tfmeta, controls, data, evaluation, functional, inner_loop, layers, learners, plots)
    public = {name: getattr(part, name) for part in parts for name in getattr(part, "__all__", ())}
    rng = np.random.default_rng(0)
    x = rng.integers(0, 255, (6 * 20, 28, 28, 1)).astype("uint8")
    examples = data.Examples(x, np.repeat(np.arange(6), 20))
    small = {"examples": examples, "test": examples, "learner": controls.NearestCentroid()}
    return {**public, **small, "tf": tf, "np": np, "keras": keras, "tfmeta": tfmeta}


class ShownOutputs(doctest.OutputChecker):
    """Compares the outputs that an example shows; a call may leave its own out."""

    def check_output(self, want, got, optionflags):
        return not want or super().check_output(want, got, optionflags)


def is_documented_here(thing, module):
    is_code = inspect.isfunction(thing) or inspect.isclass(thing)
    return is_code and thing.__module__ == module.__name__


@pytest.mark.parametrize("name", RUNNABLE)
def test_the_examples_of_docstrings_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    names = {**names_for_examples(), **vars(module)}
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    runner = doctest.DocTestRunner(checker=ShownOutputs(), optionflags=flags)
    for test in doctest.DocTestFinder().find(module, name, module=module, globs=names):
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0


@pytest.mark.parametrize("name", MODULES)
def test_public_code_is_documented(name):
    module = importlib.import_module(name)
    public = {key: thing for key, thing in vars(module).items() if not key.startswith("_")}
    bare = [key for key, t in public.items() if is_documented_here(t, module) and not t.__doc__]
    assert bare == []
