"""The official one-shot test of Omniglot: 20 runs of one alphabet each, read from their archive."""

from __future__ import annotations

import os
import re
import zipfile
import zlib

import numpy as np

from tfmeta.data.arguments import as_image_size
from tfmeta.data.pictures import decode_picture, map_in_threads, resize_picture

_LABELS = re.compile(r"(?:^|/)run(\d+)/class_labels\.txt$")


def read_omniglot_runs(
    path: str | os.PathLike[str], *, image_size: int | tuple[int, int] = 28
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The official within-alphabet one-shot runs as one batch of episodes.

    The archive (`all_runs.zip` of Lake et al. 2015, "Human-level concept learning through
    probabilistic program induction") holds folders `run01`, `run02`, ... with `training/`, `test/`
    and `class_labels.txt`, each line of which names a test picture and the training picture of the
    same character. It is read as it is, without unpacking. The pictures, black ink on white, become
    ink 255 on 0 and are resized exactly as `from_npz` does for Omniglot.

    Args:
        path: the archive.
        image_size: size, or `(height, width)`, of the pictures.

    Returns:
        `(inputs, query_y)` as `fit` and `evaluate_episodes` take them: `support_x`
        `[runs, n_way, height, width, 1]` uint8, `support_y` `[runs, n_way]`, `query_x`
        `[runs, trials, height, width, 1]`, `episode` `[runs]`, and `query_y` `[runs, trials]`.

    Raises:
        ValueError: the archive cannot be read, holds no runs or runs of different sizes, or a run
            lists a picture that is not there, not one training picture for each test picture, or
            a line of another form.

    Example:
        >>> inputs, query_y = read_omniglot_runs("all_runs.zip")  # doctest: +SKIP
        >>> inputs["support_x"].shape, query_y.shape  # doctest: +SKIP
        ((20, 20, 28, 28, 1), (20, 20))
    """
    size = as_image_size(image_size)
    try:
        with zipfile.ZipFile(path) as archive:
            folders = _run_folders(archive)
            runs = [_read_run(archive, folder, size) for folder in folders]
    except (OSError, zipfile.BadZipFile, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(
            f"{os.fspath(path)!r} is no intact archive of runs ({error}). Fetch it again."
        ) from error
    if not runs or len({(support.shape, query.shape) for support, query, _ in runs}) != 1:
        trials = [len(y) for _, _, y in runs]
        raise ValueError(
            f"{os.fspath(path)!r} must hold folders run01, run02, ... with a `class_labels.txt`, "
            f"all with as many trials. Received: {len(runs)} runs, trials {trials[:20]}."
        )
    support_x, query_x, query_y = (np.stack(part) for part in zip(*runs, strict=True))
    support_y = np.tile(np.arange(support_x.shape[1], dtype=np.int32), (len(runs), 1))
    inputs = {
        "support_x": support_x,
        "support_y": support_y,
        "query_x": query_x,
        "episode": np.arange(len(runs), dtype=np.int64),
    }
    return inputs, query_y


def _run_folders(archive: zipfile.ZipFile) -> list[str]:
    """Path prefixes of the runs, in their order; what the Mac adds to archives is left out."""
    found = {}
    for name in archive.namelist():
        match = _LABELS.search(name)
        if match and not name.startswith("__MACOSX"):
            found[int(match[1])] = name.removesuffix("class_labels.txt")
    return [found[number] for number in sorted(found)]


def _read_run(
    archive: zipfile.ZipFile, folder: str, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Support pictures, test pictures and the number of the right support picture of each."""
    text = archive.read(f"{folder}class_labels.txt").decode("utf-8")
    pairs = [line.split() for line in text.splitlines() if line.strip()]
    if not pairs or any(len(pair) != 2 for pair in pairs):
        raise ValueError(
            f"Every line of {folder}class_labels.txt must name a test picture and a training "
            f"picture. Received: {next((p for p in pairs if len(p) != 2), 'no line')}."
        )
    # The lines begin with the run's own folder, wherever that lies in the archive.
    root = folder.rstrip("/").rpartition("/")[0]
    tests, answers = (
        [f"{root}/{name}".lstrip("/") for name in part] for part in zip(*pairs, strict=True)
    )
    support = sorted(set(answers))
    if len(support) < 2:
        raise ValueError(
            f"A run must have at least two training pictures. Received: {support} in {folder}."
        )
    known = set(archive.namelist())
    missing = [name for name in (*support, *tests) if name not in known]
    if missing:
        raise ValueError(
            f"{folder}class_labels.txt names {len(missing)} pictures that are not in the archive, "
            f"such as {missing[0]!r}. Fetch it again."
        )
    query_y = np.array([support.index(name) for name in answers], np.int32)
    return _pictures(archive, support, size), _pictures(archive, tests, size), query_y


def _pictures(archive: zipfile.ZipFile, names: list[str], size: tuple[int, int]) -> np.ndarray:
    files = [archive.read(name) for name in names]
    return np.stack(
        map_in_threads(lambda i: ink_picture(files[i], name=names[i], image_size=size), len(files))
    )


def ink_picture(data: bytes, *, name: str, image_size: tuple[int, int] | None) -> np.ndarray:
    """A drawing in dark ink on white as uint8 `[height, width, 1]`, ink 255 on 0.

    Inverted first and resized then, as the bit-packed drawings of `from_npz` are.

    Args:
        data: content of the file.
        name: what error messages call the picture.
        image_size: `(height, width)` to resize to; `None` keeps the picture's own size.

    Returns:
        The picture.
    """
    return resize_picture(255 - decode_picture(data, name=name, channels=1), image_size)
