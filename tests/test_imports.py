import ast
import configparser
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# What each part of the library may import of tfmeta, itself apart. Parts not listed are free to
# import the library, and never `models` or `recipes`.
ALLOWED = {
    "functional": {"errors", "typing"},
    "inner_loop": {"functional", "sizes", "typing"},
    "layers": {"functional", "typing"},
    "transfer": {
        "errors",
        "functional",
        "inner_loop",
        "intervals",
        "json_report",
        "layers",
        "prefetching",
        "typing",
    },
    "learners": {
        "errors",
        "functional",
        "inner_loop",
        "layers",
        "prefetching",
        "sizes",
        "typing",
    },
    "data": {"prefetching", "typing"},
    "intervals": {"typing"},
    "json_report": set(),
    "reports": {"intervals", "json_report", "plots", "typing"},
    "controls": {"functional", "typing"},
    "episode_batches": {"typing"},
    "evaluation": {
        "controls",
        "data.hashing",
        "episode_batches",
        "errors",
        "intervals",
        "plots",
        "reports",
        "typing",
    },
    "forecasting": {"data", "functional", "intervals", "json_report"},
    "plots": {"intervals", "reports", "typing"},
    "typing": set(),
    "errors": set(),
    "prefetching": set(),
    "sizes": set(),
    "threads": set(),
    "models": {"functional", "layers", "sizes", "transfer", "typing"},
}


BUILDER = "tfmeta.data.glyphs_builder"


def library_files():
    files = [*(ROOT / "tfmeta").rglob("*.py"), *(ROOT / "models").rglob("*.py")]
    return sorted(file for file in files if "__pycache__" not in file.parts)


def module_of(file):
    """`("tfmeta", "data", "hashing")` of `tfmeta/data/hashing.py`; models are in tfmeta.models."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    parts = ("tfmeta", *parts) if parts[0] == "models" else parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def imports_of(file, *, anywhere=True):
    """Dotted names that a file imports: anywhere in it, or only when it is imported itself."""
    package = list(module_of(file) if file.name == "__init__.py" else module_of(file)[:-1])
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree) if anywhere else tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            # `from tfmeta import data` imports tfmeta.data.
            names = [f"{source}.{alias.name}" for alias in node.names]
            yield from names if source in ("tfmeta", "tfmeta.data") else [source]


def is_allowed(name, allowed):
    return any(name == prefix or name.startswith(prefix + ".") for prefix in allowed)


@pytest.mark.parametrize("file", library_files(), ids=lambda f: str(f.relative_to(ROOT)))
def test_imports_point_one_way(file):
    part = (*module_of(file), "")[1]
    inside = [n.removeprefix("tfmeta.") for n in imports_of(file) if n.startswith("tfmeta.")]
    others = [name for name in inside if name.split(".")[0] != part]
    if part in ALLOWED:
        assert [name for name in others if not is_allowed(name, ALLOWED[part])] == []
    if part != "models":
        assert not is_allowed("models", {name.split(".")[0] for name in inside})


@pytest.mark.parametrize("file", library_files(), ids=lambda f: str(f.relative_to(ROOT)))
def test_the_library_imports_no_recipe_no_test_and_no_display(file):
    outside = {name.split(".")[0] for name in imports_of(file)}
    assert not outside & {"recipes", "tests", "models", "conftest"}
    assert "matplotlib.pyplot" not in set(imports_of(file))


def test_tensorflow_datasets_is_imported_only_when_used():
    # The builder's class rests on it, so its module waits with it.
    heavy = {"tensorflow_datasets", BUILDER}
    eager = [
        str(file.relative_to(ROOT))
        for file in library_files()
        if ".".join(module_of(file)) != BUILDER
        and any(is_allowed(name, heavy) for name in imports_of(file, anywhere=False))
    ]
    assert eager == []


def test_the_reader_of_imports_sees_every_form(tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    file = tmp_path / "tfmeta" / "data" / "some.py"
    file.parent.mkdir(parents=True)
    file.write_text(
        "import tfmeta.models.conv4\n"
        "from tfmeta import learners\n"
        "from tfmeta.plots import plot_report\n"
        "from . import pictures\n"
        "from ..layers import exact\n"
        "def f():\n    import matplotlib.pyplot as plt\n"
    )
    assert list(imports_of(file)) == [
        "tfmeta.models.conv4",
        "tfmeta.learners",
        "tfmeta.plots",
        "tfmeta.data.pictures",
        "tfmeta.layers",
        "matplotlib.pyplot",
    ]
    assert "matplotlib.pyplot" not in imports_of(file, anywhere=False)


def test_setup_cfg_lists_every_package():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = config["options"]["packages"].split()
    packages = {".".join(module_of(file)) for file in library_files() if file.name == "__init__.py"}
    assert sorted(packages) == listed == sorted(listed)


def test_every_folder_of_the_library_is_a_package():
    folders = {file.parent for file in library_files()}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []
