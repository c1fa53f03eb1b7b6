import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from tfmeta.data import from_npz
from tfmeta.data.omniglot_runs import read_omniglot_runs

N_RUNS, N_WAY, SIDE = 3, 4, 21


def bits_of(run, character, drawer):
    """A drawing, True where there is ink."""
    return np.random.default_rng([run, character, drawer]).random((SIDE, SIDE)) < 0.2


def png(bits):
    file = io.BytesIO()
    Image.fromarray(~bits).save(file, "PNG")  # one bit a pixel, ink black on white
    return file.getvalue()


def answer(run, trial):
    return (trial + run) % N_WAY


def runs_files(folder=""):
    """The files of an archive in the official layout, by name."""
    files = {}
    for run in range(N_RUNS):
        name, lines = f"run{run + 1:02d}", []
        for k in range(N_WAY):
            files[f"{folder}{name}/training/class{k + 1:02d}.png"] = png(bits_of(run, k, 0))
            right = answer(run, k)
            files[f"{folder}{name}/test/item{k + 1:02d}.png"] = png(bits_of(run, right, 1))
            lines.append(
                f"{name}/test/item{k + 1:02d}.png {name}/training/class{right + 1:02d}.png"
            )
        files[f"{folder}{name}/class_labels.txt"] = "\n".join(lines) + "\n"
    return files


def written(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("folder", ["", "all_runs/"])
def test_the_runs_are_episodes(folder, tmp_path):
    files = {**runs_files(folder), "__MACOSX/run01/class_labels.txt": "junk"}
    inputs, query_y = read_omniglot_runs(written(tmp_path / "r.zip", files), image_size=SIDE)
    assert inputs["support_x"].shape == (N_RUNS, N_WAY, SIDE, SIDE, 1)
    np.testing.assert_array_equal(inputs["support_y"], [range(N_WAY)] * N_RUNS)
    np.testing.assert_array_equal(inputs["episode"], range(N_RUNS))
    for run in range(N_RUNS):
        for k in range(N_WAY):
            right = answer(run, k)
            assert query_y[run, k] == right
            np.testing.assert_array_equal(
                inputs["support_x"][run, k, ..., 0], 255 * bits_of(run, k, 0)
            )
            np.testing.assert_array_equal(
                inputs["query_x"][run, k, ..., 0], 255 * bits_of(run, right, 1)
            )


def test_the_pictures_are_those_of_the_packed_file(tmp_path):
    bits = np.stack([bits_of(0, k, 0) for k in range(N_WAY)])
    arrays = {"images": np.packbits(bits.reshape(N_WAY, -1), axis=1)}
    arrays |= {"image_shape": [SIDE, SIDE], "class_index": np.arange(N_WAY)}
    np.savez(tmp_path / "packed.npz", **arrays)
    packed = from_npz(tmp_path / "packed.npz", image_size=9)
    inputs, _ = read_omniglot_runs(written(tmp_path / "r.zip", runs_files()), image_size=9)
    np.testing.assert_array_equal(inputs["support_x"][0], packed.x)


def test_what_is_refused(tmp_path):
    files, path = runs_files(), tmp_path / "r.zip"
    labels = "run02/class_labels.txt"
    lines = files[labels].splitlines()
    cases = {
        "0 runs": {"readme.txt": "nothing"},
        "trials \\[4, 3, 4\\]": {**files, labels: "\n".join(lines[:3])},
        "not in the archive, such as 'run02/test/gone.png'": {
            **files,
            labels: "\n".join(["run02/test/gone.png run02/training/class01.png", *lines[1:]]),
        },
        "must name a test picture": {**files, labels: "run02/test/item01.png"},
        "'run02/test/item01.png' cannot be decoded": {**files, "run02/test/item01.png": b"text"},
    }
    for message, content in cases.items():
        with pytest.raises(ValueError, match=message):
            read_omniglot_runs(written(path, content))
    path.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="no intact archive"):
        read_omniglot_runs(path)
    with pytest.raises(ValueError, match="no intact archive"):
        read_omniglot_runs(tmp_path / "missing.zip")
