"""The command line of the few-shot recipes: which data, which episodes, how long."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfmeta import data
from tfmeta.data.named import load_examples
from tfmeta.learners.base import EpisodicLearner
from tfmeta.optimizers import cosine_adam

# Seeds of the episodes of each part: a run's own seed times the stride, plus the part's.
_SEED_STRIDE = 1_000
_PART_SEEDS = {"train": 0, "validation": 1, "test": 2}


def parser(description: str, *, recipe: str, **defaults: Any) -> argparse.ArgumentParser:
    """The options that all few-shot recipes share.

    Args:
        description: shown by `--help`.
        recipe: path of the recipe below `recipes/`.
        **defaults: a recipe's own default values.

    Returns:
        The parser.

    Example:
        >>> parser("A recipe.", recipe="mine.py", n_way=20).parse_args([]).n_way
        20
    """
    options = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = options.add_argument
    add("--n-way", type=int, default=5, help="classes of a training episode")
    add("--n-shot", type=int, default=1, help="support examples a class")
    add("--n-query", type=int, default=5, help="queries a class in training")
    add("--n-tasks", type=int, default=4, help="episodes of one outer step")
    add("--steps", type=int, default=1000, help="outer steps")
    add("--epochs", type=int, default=10, help="validations, over all steps")
    add("--steps-per-execution", type=int, default=10, help="as in Keras' `compile`")
    add("--learning-rate", type=float, default=1e-3, help="of Adam, decayed to zero by a cosine")
    add("--n-validation", type=int, default=200, help="validation episodes an epoch")
    add("--n-episodes", type=int, default=600, help="frozen test episodes")
    add("--seed", type=int, default=0)
    add("--run", default="runs/latest", help="new folder for it all; numbered where it exists")
    add("--record", default=None, help="also write the results to this JSON file")
    options.set_defaults(recipe=recipe, **defaults)
    return options


def parse(options: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """The parsed options, and in `options.command` the line that gives them; seeds Keras.

    Args:
        options: what `parser` returned.
        arguments: the recipe's command line; None for that of the process.

    Returns:
        The options.

    Example:
        >>> parse(parser("A recipe.", recipe="mine.py"), ["--seed", "1"]).command
        'python recipes/mine.py --seed 1'
    """
    parsed = options.parse_args(arguments)
    keras.utils.set_random_seed(getattr(parsed, "seed", 0))
    if getattr(parsed, "test_shots", False) is None:
        parsed.test_shots = [parsed.n_shot]
    parsed.command = command_line(parsed.recipe, arguments)
    return parsed


def command_line(recipe: str, arguments: Sequence[str] | None) -> str:
    """The line that runs a recipe with the given arguments.

    Args:
        recipe: path of the recipe below `recipes/`.
        arguments: the recipe's command line; None for that of the process.

    Returns:
        The line, quoted for a shell.

    Example:
        >>> command_line("mine.py", ["--data", "my pictures"])
        "python recipes/mine.py --data 'my pictures'"
    """
    given = sys.argv[1:] if arguments is None else arguments
    return shlex.join(["python", f"recipes/{recipe}", *given])


def new_folder(path: str) -> str:
    """A folder that this call made: `path`, or `path-2`, `path-3`, ... where that exists.

    So that no run writes into the folder of another, not even of one that is still going on.

    Args:
        path: the folder wished for.

    Returns:
        The folder's path.

    Example:
        >>> new_folder("runs/maml")  # doctest: +SKIP
        'runs/maml-2'
    """
    folder, number = path, 1
    while True:
        try:
            os.makedirs(folder)
            return folder
        except FileExistsError:
            number += 1
            folder = f"{path}-{number}"


def add_class_options(options: argparse.ArgumentParser) -> None:
    """Adds the options about labelled pictures: where they are and how classes are divided.

    Args:
        options: what `parser` returned.

    Example:
        >>> add_class_options(parser("A recipe.", recipe="mine.py"))
    """
    add = options.add_argument
    add("--data", default="glyphs", help="glyphs | omniglot | FILE.npz | FOLDER")
    add("--rotate", default="train", choices=("none", "train", "all"), help="turned classes")
    add("--augment", action="store_true", help="random affine distortion of training pictures")
    add("--image-size", type=int, default=28)
    add_split_options(options)


def add_split_options(options: argparse.ArgumentParser) -> None:
    """Adds the options about classes of any kind: how they are divided and tested.

    Args:
        options: what `parser` returned.

    Example:
        >>> add_split_options(parser("A recipe.", recipe="mine.py"))
    """
    add = options.add_argument
    add("--split", default=None, metavar="FILE[:KEY]", help="published class split; else by group")
    add(
        "--train-on",
        default="train",
        choices=("train", "trainval"),
        help="trainval: on the validation classes too, once the options are chosen",
    )
    add("--test-query", type=int, default=15, help="queries a class in validation and test")
    add("--test-ways", type=int, nargs="+", default=[5], help="classes of the test episodes")
    add("--test-shots", type=int, nargs="+", default=None, help="as in training by default")


def load_class_splits(
    options: argparse.Namespace, examples: data.Examples | None = None
) -> tuple[data.Examples, data.Examples | None, data.Examples]:
    """Train, validation and test examples whose classes are disjoint.

    A published split if one is given, else by group where the data has three groups, else by class,
    which is saved in the run's folder. With `--train-on trainval` validation classes train too.

    Args:
        options: parsed options, those of `add_split_options` among them.
        examples: all examples; None for the pictures that the options name.

    Returns:
        Three `Examples`; None for those of the validation where it is trained on.

    Example:
        >>> train, validation, test = load_class_splits(options)  # doctest: +SKIP
    """
    if examples is None:
        examples = load_examples(options.data, options.image_size)
    options.run = new_folder(options.run)
    if options.split:
        path, _, key = options.split.partition(":")
        splits = data.load_split(examples, path, key=key or None)
    else:
        by = "group" if examples.groups and len(set(examples.groups)) >= 3 else "class"
        path = os.path.join(options.run, "split.json")
        splits = data.split_classes(examples, by=by, seed=options.seed, path=path)
    parts = dict(zip(("train", "validation", "test"), splits, strict=True))
    return prepare_parts(examples, parts, options)


def prepare_parts(
    examples: data.Examples, parts: dict[str, data.Examples], options: argparse.Namespace
) -> tuple[data.Examples, data.Examples | None, data.Examples]:
    """The parts, joined and rotated as the options say; problems are printed with their cures.

    Args:
        examples: all examples, unrotated.
        parts: `"train"`, `"validation"` and `"test"`.
        options: parsed options, those of `add_class_options` among them.

    Returns:
        Three `Examples`; None for those of the validation where it is trained on.

    Example:
        >>> train, _, test = prepare_parts(examples, parts, options)  # doctest: +SKIP
    """
    parts = dict(parts)
    if options.train_on == "trainval":
        names = [*parts["train"].class_names, *parts.pop("validation").class_names]
        parts["train"] = examples.select(names)
    for name, part in parts.items():
        rotate = getattr(options, "rotate", "none")
        if rotate == "all" or (rotate == "train" and name == "train"):
            part = parts[name] = part.rotate()
        _print_problems(part, options, is_train=name == "train")
        print(f"{name}: {part.n_classes} classes")
    return parts["train"], parts.get("validation"), parts["test"]


def _print_problems(part: data.Examples, options: argparse.Namespace, *, is_train: bool) -> None:
    n_way = options.n_way if is_train else max(options.test_ways)
    n_shot = options.n_shot if is_train else max(options.test_shots)
    n_query = options.n_query if is_train else options.test_query
    for problem in part.check(n_way, n_shot=n_shot, n_query=n_query):
        print(f"check: {problem}")


def episodes(source: Any, part: str, options: argparse.Namespace, **sizes: Any) -> tf.data.Dataset:
    """The episodes of one part of the data, of a seed of its own.

    Args:
        source: `Examples` or a task family.
        part: `"train"`, `"validation"` or `"test"`.
        options: parsed options.
        **sizes: arguments of `tfmeta.data.episode_dataset`; by default `options.n_shot` shots and
            `options.n_tasks` tasks.

    Returns:
        A dataset of episode batches; infinite for `"train"`.

    Example:
        >>> episodes(train, "train", options, n_way=5, n_query=10)  # doctest: +SKIP
    """
    seed = options.seed * _SEED_STRIDE + _PART_SEEDS[part]
    limit = {} if part == "train" else {"n_episodes": options.n_validation}
    sizes = {"n_shot": options.n_shot, "n_tasks": options.n_tasks, **limit, **sizes}
    return data.episode_dataset(source, seed=seed, **sizes)


def frozen_episodes(
    source: Any, options: argparse.Namespace, *, name: str = "test_episodes", **sizes: Any
) -> tf.data.Dataset:
    """The frozen test episodes, written into the run's folder and read back.

    Args:
        source: `Examples` or a task family.
        options: parsed options.
        name: of the file.
        **sizes: arguments of `tfmeta.data.freeze_episodes`; by default `options.n_shot` shots.

    Returns:
        A dataset of `options.n_episodes` episodes, 4 a batch.

    Example:
        >>> frozen_episodes(sinusoids(), options, n_query=100)  # doctest: +SKIP
    """
    path = os.path.join(options.run, f"{name}.npz")
    seed = options.seed * _SEED_STRIDE + _PART_SEEDS["test"]
    sizes = {"n_shot": options.n_shot, "n_episodes": options.n_episodes, **sizes}
    data.freeze_episodes(source, path, seed=seed, **sizes)
    return data.load_episodes(source, path, n_tasks=4)


class Trained(NamedTuple):
    """A trained learner, its history and the minutes that `fit` took, validation included."""

    learner: EpisodicLearner
    history: keras.callbacks.History
    minutes: float


def reptile_optimizer(options: argparse.Namespace) -> keras.optimizers.Optimizer | None:
    """Plain steps with a rate that falls to zero for Reptile; None, the usual, for other methods.

    Args:
        options: parsed options: method, learning rate, steps.

    Returns:
        What `fit` takes as `optimizer`.

    Example:
        >>> reptile_optimizer(argparse.Namespace(method="maml")) is None
        True
    """
    if options.method != "reptile":
        return None
    rate = keras.optimizers.schedules.PolynomialDecay(options.learning_rate, options.steps, 0.0)
    return keras.optimizers.SGD(rate)


def fit(
    learner: EpisodicLearner,
    train: tf.data.Dataset,
    validation: tf.data.Dataset | None,
    options: argparse.Namespace,
    *,
    metrics: Sequence[str] = (),
    optimizer: keras.optimizers.Optimizer | None = None,
) -> Trained:
    """Compiles and trains a learner, and returns the epoch that did best on validation.

    Args:
        learner: the learner.
        train: training episodes.
        validation: validation episodes, or None.
        options: parsed options: steps, epochs, learning rate, folder.
        metrics: as in `compile`.
        optimizer: of the outer loop; None for Adam with a cosine decay of the learning rate.

    Returns:
        The learner of the epoch with the lowest validation loss or of the last one, and history.

    Example:
        >>> learner, history, minutes = fit(learner, train, validation, options)  # doctest: +SKIP
    """
    start = time.perf_counter()
    path = os.path.join(options.run, "learner.keras")
    chosen = {} if validation is None else {"monitor": "val_loss", "save_best_only": True}
    if optimizer is None:
        optimizer = cosine_adam(options.learning_rate, options.steps)
    steps_per_epoch = max(1, options.steps // options.epochs)
    learner.compile(
        optimizer,
        metrics=list(metrics),
        # Small steps are done sooner than Python gets from one to the next.
        steps_per_execution=min(options.steps_per_execution, steps_per_epoch),
    )
    history = learner.fit(
        train,
        validation_data=validation,
        epochs=options.epochs,
        steps_per_epoch=steps_per_epoch,
        callbacks=[keras.callbacks.ModelCheckpoint(path, **chosen)],
    )
    minutes = (time.perf_counter() - start) / 60
    return Trained(keras.models.load_model(path), history, minutes)


def fit_classes(
    learner: EpisodicLearner,
    train: data.Examples,
    validation: data.Examples | None,
    options: argparse.Namespace,
    *,
    optimizer: keras.optimizers.Optimizer | None = None,
    train_options: Mapping[str, Any] | None = None,
    validation_options: Mapping[str, Any] | None = None,
) -> Trained:
    """As `fit`, on episodes of labelled examples.

    Args:
        learner: the learner.
        train: examples of the training classes.
        validation: examples of the validation classes, or None.
        options: parsed options, those of `add_class_options` among them.
        optimizer: of the outer loop; None for Adam with a cosine decay of the learning rate.
        train_options: other arguments of `tfmeta.data.episode_dataset` for training episodes.
        validation_options: the same for validation episodes.

    Returns:
        What `fit` returns.

    Example:
        >>> trained = fit_classes(learner, train, validation, options)  # doctest: +SKIP
    """
    learnt = {"n_way": options.n_way, "n_query": options.n_query, **(train_options or {})}
    learnt["augment"] = augmentation(train, options)
    unseen = {"n_way": options.test_ways[0], "n_shot": options.test_shots[0]}
    unseen |= {"n_query": options.test_query, **(validation_options or {})}
    return fit(
        learner,
        episodes(train, "train", options, **learnt),
        None if validation is None else episodes(validation, "validation", options, **unseen),
        options,
        metrics=["accuracy"],
        optimizer=optimizer,
    )


def augmentation(train: data.Examples, options: argparse.Namespace) -> data.RandomAffine | None:
    """The distortion of training pictures that `--augment` asks for: mirrored edges in colour."""
    if not getattr(options, "augment", False):
        return None
    return data.RandomAffine(fill="reflect" if train.example_shape[-1] == 3 else "constant")
