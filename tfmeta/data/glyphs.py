"""Embedded data: characters drawn from the fonts that matplotlib carries."""

from __future__ import annotations

import importlib
import math
import os
import unicodedata
from collections.abc import Sequence
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tfmeta.data.counts import check_counts
from tfmeta.data.examples import Examples

_FACES = tuple(
    [f"DejaVuSans{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")]
    + [f"DejaVuSansMono{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")]
    + [f"DejaVuSerif{style}" for style in ("", "-Bold", "-Italic", "-BoldItalic")]
    + [f"STIXGeneral{style}" for style in ("", "Bol", "Italic", "BolIta")]
)
_CATEGORIES = ("Lu", "Ll", "Lt", "Lo", "Nd")
# Characters whose name does not begin with their script.
_SCRIPTS = {"TURNED": "LATIN", "ROMAN": "LATIN", "OLD": "OLD ITALIC"}
_EM = 0.85  # size of the font, as a share of the picture's side
_ROOM = 0.78  # largest side of a drawing, likewise; the distortion needs the rest
_SUPERSAMPLING = 3
_COMPARED = 48  # size of the font in which characters are compared
_ROTATION, _SHEAR, _SCALE, _SHIFT = math.radians(10), 0.15, 0.12, 0.06


def glyphs(
    image_size: int = 28,
    *,
    n_drawers: int = 20,
    scripts: Sequence[str] | None = None,
    min_faces: int = 8,
    seed: int = 0,
    max_classes: int | None = None,
) -> Examples:
    """Pictures of letters and digits of many scripts, made on the spot without a download.

    A class is a character, its group the script, and each of its drawers one of the 16 DejaVu and
    STIX faces in matplotlib with a small distortion (rotation, shear, scale, shift). A character
    counts only where a face really has it. Of characters that look the same in some face, such as
    Latin A and Greek Alpha, only the first by code point is kept, so that no drawing can occur in
    two classes or splits. Variants of other characters (ligatures, full-width forms, ...) are
    left out. The same arguments give the same bytes, as long as Pillow and matplotlib stay.

    Args:
        image_size: Height and width in pixels.
        n_drawers: Pictures of each character.
        scripts: Groups to keep, such as `["GREEK", "GEORGIAN"]`; `None` for all.
        min_faces: Faces that must have a character, 1 to 16; fewer give more characters and
            scripts.
        seed: Of the distortions and of the faces' order.
        max_classes: At most so many classes, evenly spread over the code points.

    Returns:
        `Examples`: uint8 `[n_classes * n_drawers, image_size, image_size, 1]`, ink 255 on 0;
        class names such as `"LATIN SMALL LETTER A"`; digits are the group `"DIGIT"`.

    Raises:
        ValueError: a count is wrong, or a script is unknown.

    Example:
        >>> glyphs(scripts=["GEORGIAN"], n_drawers=16).example_shape
        (28, 28, 1)
    """
    check_counts(image_size=image_size, n_drawers=n_drawers)
    check_counts(least=0, seed=seed)
    characters = select_characters(scripts=scripts, min_faces=min_faces, max_classes=max_classes)
    rows = [
        _draw_class(character, faces, image_size, n_drawers, seed)
        for character, faces in characters.items()
    ]
    return Examples(
        np.concatenate(rows)[..., None],
        np.repeat(np.arange(len(rows)), n_drawers),
        class_names=[unicodedata.name(character) for character in characters],
        groups=[script_of(character) for character in characters],
    )


def register_glyphs() -> None:
    """Make `glyphs` known to tensorflow-datasets: `tfds.load("glyphs")` prepares it offline.

    Example:
        >>> import tensorflow_datasets as tfds
        >>> register_glyphs()
        >>> dataset = tfds.load("glyphs/small", split="train", data_dir="data")
    """
    importlib.import_module("tfmeta.data.glyphs_builder")


def script_of(character: str) -> str:
    """Group of a character: its script, from its Unicode name, or `"DIGIT"`."""
    if unicodedata.category(character) == "Nd":
        return "DIGIT"
    word = unicodedata.name(character).split()[0]
    return _SCRIPTS.get(word, word)


def select_characters(
    *, scripts: Sequence[str] | None = None, min_faces: int = 8, max_classes: int | None = None
) -> dict[str, tuple[str, ...]]:
    """Characters that `glyphs` draws with these arguments, each with its faces.

    Raises:
        ValueError: a count is wrong, or a script is unknown.
    """
    check_counts(min_faces=min_faces)
    if max_classes is not None:
        check_counts(max_classes=max_classes)
    if min_faces > len(_FACES):
        raise ValueError(
            f"`min_faces` must be at most the number of faces ({len(_FACES)}). "
            f"Received: min_faces={min_faces}. Lower `min_faces`."
        )
    distinct = distinct_characters(min_faces)
    known = sorted({script_of(character) for character in distinct})
    wanted = known if scripts is None else list(scripts)
    if not wanted or not set(wanted) <= set(known):
        raise ValueError(
            f"`scripts` must name some of: {', '.join(known)}. Received: scripts={scripts!r}. "
            "Lower `min_faces` for more scripts."
        )
    chosen = [character for character in distinct if script_of(character) in wanted]
    if max_classes is not None and max_classes < len(chosen):
        places = np.linspace(0, len(chosen) - 1, max_classes).round().astype(int)
        chosen = [chosen[place] for place in places]
    return {character: distinct[character] for character in chosen}


@cache
def distinct_characters(min_faces: int) -> dict[str, tuple[str, ...]]:
    """Letters and digits that at least `min_faces` faces have, each with these faces.

    No two of them are drawn alike in any face.

    Args:
        min_faces: Smallest number of faces.

    Returns:
        The names of the faces by character, in the order of code points.
    """
    faces_of: dict[str, list[str]] = {}
    for face in _FACES:
        for character in _characters_of(face):
            faces_of.setdefault(character, []).append(face)
    distinct: dict[str, tuple[str, ...]] = {}
    seen: set[tuple[str, tuple[int, int], bytes]] = set()
    for character in sorted(faces_of):
        faces = tuple(faces_of[character])
        if len(faces) >= min_faces:
            drawings = [(face, _drawing(character, face, _COMPARED)) for face in faces]
            keys = {(face, drawing.size, drawing.tobytes()) for face, drawing in drawings}
            if seen.isdisjoint(keys):
                seen |= keys
                distinct[character] = faces
    return distinct


def _path(face: str) -> str:
    import matplotlib

    return os.path.join(matplotlib.get_data_path(), "fonts", "ttf", f"{face}.ttf")


def _characters_of(face: str) -> list[str]:
    """Letters and digits that a face really has, without variants of other characters."""
    from matplotlib.ft2font import FT2Font

    # Glyph 0 is the box for missing characters.
    codes = [code for code, glyph in FT2Font(_path(face)).get_charmap().items() if glyph != 0]
    return [
        character
        for character in map(chr, codes)
        if unicodedata.category(character) in _CATEGORIES
        and unicodedata.normalize("NFKC", character) == character
        and unicodedata.name(character, None) is not None
    ]


@cache
def _font(face: str, size: int) -> ImageFont.FreeTypeFont:
    # The basic layout is always there; the other one depends on the machine.
    return ImageFont.truetype(_path(face), size, layout_engine=ImageFont.Layout.BASIC)


def _drawing(character: str, face: str, size: int) -> Image.Image:
    """The character in white on black, cut to its ink, from a font of `size` pixels."""
    font = _font(face, size)
    left, top, right, bottom = (int(side) for side in font.getbbox(character))
    picture = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(picture).text((-left, -top), character, fill=255, font=font)
    return picture


def _draw_class(
    character: str, faces: Sequence[str], image_size: int, n_drawers: int, seed: int
) -> np.ndarray:
    """Pictures `[n_drawers, image_size, image_size]`; faces take turns in random order."""
    side = _SUPERSAMPLING * image_size
    rng = np.random.default_rng([seed, ord(character)])
    order = rng.permutation(len(faces))
    distortions = rng.uniform(-1, 1, [n_drawers, 6])
    drawings = {
        i: _drawing(character, faces[i], round(_EM * side)) for i in order[:n_drawers].tolist()
    }
    pictures = np.empty([n_drawers, image_size, image_size], np.uint8)
    for drawer, distortion in enumerate(distortions):
        drawing = drawings[int(order[drawer % len(order)])]
        affine = _inverse_affine(distortion, drawing.size, side)
        large = drawing.transform(
            (side, side), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR
        )
        pictures[drawer] = np.asarray(large.reduce(_SUPERSAMPLING))
    return pictures


def _inverse_affine(distortion: np.ndarray, size: tuple[int, int], side: int) -> tuple[float, ...]:
    """Where each place of the picture lies in the drawing, as Pillow wants it.

    A point `q` of the drawing, measured from its centre, goes to `R K S q + shift`, measured from
    the picture's centre, with rotation `R`, shear `K` and scale `S`.

    Args:
        distortion: Six numbers in -1 ... 1: rotation, shear, two scales, two shifts.
        size: Width and height of the drawing.
        side: Width and height of the picture.

    Returns:
        `(a, b, c, d, e, f)` with `x' = a x + b y + c` and `y' = d x + e y + f`.
    """
    fit = min(1.0, _ROOM * side / max(size))
    angle = _ROTATION * distortion[0]
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    shear = np.array([[1.0, _SHEAR * distortion[1]], [0.0, 1.0]])
    scale = np.diag(fit * (1 + _SCALE * distortion[2:4]))
    inverse = np.linalg.inv(rotation @ shear @ scale)
    centre = side / 2 + _SHIFT * side * distortion[4:6]
    offset = np.array(size) / 2 - inverse @ centre
    return (*inverse[0], offset[0], *inverse[1], offset[1])
