"""Examples from texts: lists, CSV, JSON lines and JSON, gzipped or not."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tfmeta.data.arguments import as_text, as_texts
from tfmeta.data.arrays import from_arrays
from tfmeta.data.examples import Examples

_Path = str | os.PathLike[str]
_SPLITS = ("train", "val", "validation", "test")


def from_texts(texts: Sequence[str], labels: Sequence[str] | Sequence[int]) -> Examples:
    """Examples of texts in memory.

    They are kept as UTF-8 bytes, without the blanks around them, which is how `Examples` tells a
    text from the path of a picture; episodes hold them as `tf.string`.

    Args:
        texts: `n` strings.
        labels: `n` labels, strings or integers; sorted, they become the class names.

    Returns:
        `Examples`.

    Raises:
        ValueError: a text is blank or no string (its number is given), or the lengths differ.

    Example:
        >>> from_texts(["play a song", "wake me at six"], ["music", "alarm"])
        Examples(2 texts, 2 classes)
    """
    return from_arrays(as_texts(texts), labels)


def from_csv(
    path: _Path,
    *,
    text: str | int = "text",
    label: str | int = "label",
    delimiter: str = ",",
    encoding: str = "utf-8-sig",
) -> Examples:
    r"""Examples of texts from a CSV file, one a row.

    Args:
        path: the file; gzipped where it ends in `.gz`.
        text: column of the texts: its name in the first line, or its number in a file without
            such a line.
        label: column of the labels, given in the same way.
        delimiter: between two columns.
        encoding: of the file; a byte-order mark is passed over.

    Returns:
        `Examples`; classes are sorted by name.

    Raises:
        ValueError: the file cannot be read, has no such column, or a text or label is blank or
            missing; the message has the line.

    Example:
        >>> _ = open("intents.csv", "w").write("text,label\nplay a song,music\nwake me,alarm\n")
        >>> from_csv("intents.csv").class_names
        ('alarm', 'music')
    """
    if isinstance(text, int) != isinstance(label, int):
        raise ValueError(
            "`text` and `label` must be two names of columns, or two numbers. Received: "
            f"text={text!r}, label={label!r}."
        )
    reader = csv.reader(io.StringIO(_read(path, encoding), newline=""), delimiter=delimiter)
    are_numbers = isinstance(text, int) and isinstance(label, int)
    columns: Sequence[Any] = range(max(int(text), int(label)) + 1) if are_numbers else ()
    try:
        columns = columns or next(reader, [])
        _check_columns(columns, (text, label), path)
        # A row without fields is an empty line, which CSV writers leave at the end.
        rows = [(reader.line_num, dict(zip(columns, row, strict=False))) for row in reader if row]
    except csv.Error as error:
        raise ValueError(
            f"{_where(path, reader.line_num)} is not CSV ({error}). Mend the line, or pass the "
            "`delimiter` of the file."
        ) from error
    return _examples(((n, row.get(text), row.get(label)) for n, row in rows), path)


def from_jsonl(
    path: _Path, *, text: str = "text", label: str = "label", encoding: str = "utf-8-sig"
) -> Examples:
    r"""Examples of texts from a file with one JSON object a line.

    Args:
        path: the file; gzipped where it ends in `.gz`.
        text: key of the text in every object.
        label: key of the label, a string or an integer.
        encoding: of the file.

    Returns:
        `Examples`; classes are sorted by name.

    Raises:
        ValueError: the file cannot be read, a line is no JSON object or lacks a key, or a text or
            label is blank or of another type; the message has the line.

    Example:
        >>> _ = open("intents.jsonl", "w").write('{"raw": "play a song", "label": 3}\n')
        >>> from_jsonl("intents.jsonl", text="raw").class_names
        ('3',)
    """
    lines = enumerate(_read(path, encoding).split("\n"), start=1)
    return _examples(_json_rows(lines, text, label, path), path)


def from_json(
    path: _Path, *, parts: Iterable[str] | None = None, encoding: str = "utf-8-sig"
) -> Examples:
    """Examples of texts from one JSON file of pairs.

    The file holds `[[text, label], ...]`, or such lists by part, `{"train": [...], "test":
    [...]}`, as CLINC150 and BANKING77 are published; the parts are joined, because few-shot
    splits divide classes. Parts of other names, such as CLINC150's out-of-scope queries
    (`"oos_test"`), are no class to learn and are left out unless they are asked for.

    Args:
        path: the file; gzipped where it ends in `.gz`.
        parts: names of the parts to join; None for those of train, val, validation and test that
            are there.
        encoding: of the file.

    Returns:
        `Examples`; classes are sorted by name.

    Raises:
        ValueError: the file cannot be read, is of another form, lacks a part, or a text or label
            is blank or of another type; the message has the part and the number of the pair.

    Example:
        >>> pairs = {"train": [["play a song", "music"]], "oos_test": [["what is life", "oos"]]}
        >>> _ = open("intents.json", "w").write(json.dumps(pairs))
        >>> from_json("intents.json")
        Examples(1 texts, 1 classes)
    """
    try:
        content = json.loads(_read(path, encoding))
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{os.fspath(path)!r} must be one JSON value. Received: {error}. A file with one "
            "object a line is read by `from_jsonl`."
        ) from error
    if isinstance(content, list) and parts is None:
        return _examples(_pairs(content, "pair"), path)
    names = _part_names(content, parts, path)
    return _examples((row for n in names for row in _pairs(content[n], f"{n} pair")), path)


def _part_names(content: Any, parts: Iterable[str] | None, path: _Path) -> list[str]:
    there = [k for k, v in content.items() if isinstance(v, list)] if type(content) is dict else []
    names = [name for name in _SPLITS if name in there] if parts is None else list(parts)
    missing = [name for name in names if name not in there]
    if missing or not names:
        raise ValueError(
            f"{os.fspath(path)!r} must hold pairs [[text, label], ...], or lists of them by part. "
            f"Received: {type(content).__name__} with the lists {there}, asked for {names}. Pass "
            "the names of the lists as `parts`."
        )
    return names


def _pairs(pairs: Sequence[Any], what: str) -> Iterator[tuple[str, Any, Any]]:
    for number, pair in enumerate(pairs):
        if not isinstance(pair, list) or len(pair) != 2:
            raise ValueError(f"A pair must be [text, label]. Received {what} {number}: {pair!r}.")
        yield f"{what} {number}", *pair


def _json_rows(
    lines: Iterable[tuple[int, str]], text: str, label: str, path: _Path
) -> Iterator[tuple[int, Any, Any]]:
    for number, line in lines:
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(
                f"{_where(path, number)} is no JSON ({error}). Mend the line; a whole file of "
                "JSON is read by `from_json`."
            ) from error
        _check_columns(row if isinstance(row, dict) else (), (text, label), _where(path, number))
        yield number, row[text], row[label]


def _check_columns(columns: Any, wanted: Sequence[str | int], where: _Path) -> None:
    missing = [name for name in wanted if name not in columns]
    if missing:
        raise ValueError(
            f"{os.fspath(where)!r} must have {' and '.join(repr(name) for name in wanted)}. "
            f"Received: {', '.join(map(str, columns)) or 'none'}. Pass the names that it has as "
            "`text=` and `label=`."
        )


def _examples(rows: Iterable[tuple[int | str, Any, Any]], path: _Path) -> Examples:
    texts, labels = [], []
    for place, text, label in rows:
        where = _where(path, place)
        texts.append(as_text(text, where=where))
        labels.append(_label(label, where))
    if not texts:
        raise ValueError(f"{os.fspath(path)!r} must hold a labelled text. Received: none.")
    return from_arrays(as_texts(texts), labels)


def _label(label: Any, where: str) -> str:
    is_integer = isinstance(label, int) and not isinstance(label, bool)
    if is_integer or (isinstance(label, str) and label.strip()):
        return str(label).strip()
    raise ValueError(
        f"A label must be a string that is not blank, or an integer. Received {where}: {label!r}. "
        "Label the text or leave it out."
    )


def _where(path: _Path, place: int | str) -> str:
    return f"{os.fspath(path)}, {f'line {place}' if isinstance(place, int) else place}"


def _read(path: _Path, encoding: str) -> str:
    opened = gzip.open if os.fspath(path).endswith(".gz") else open
    try:
        with opened(path, "rt", encoding=encoding, newline="") as file:
            return file.read()
    except (OSError, EOFError, zlib.error, UnicodeError) as error:
        raise ValueError(
            f"{os.fspath(path)!r} cannot be read as {encoding} text ({error}). Check the path and "
            "the encoding; a truncated .gz file must be fetched again."
        ) from error
