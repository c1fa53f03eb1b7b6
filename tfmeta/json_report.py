"""Reports that are equal by content, and go through JSON bit for bit."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

Report = TypeVar("Report", bound="JsonReport")


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class JsonReport:
    """Base of the reports: frozen dataclasses of numbers, texts, arrays, mappings and tuples.

    A subclass with fields that JSON does not keep (arrays, tuples) gives them back in
    `_from_plain`.

    Example:
        >>> @dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
        ... class Minutes(JsonReport):
        ...     minutes: float
        >>> Minutes.from_json(Minutes(minutes=0.1).to_json()) == Minutes(minutes=0.1)
        True
    """

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and self.to_json() == other.to_json()

    __hash__ = None  # type: ignore[assignment]

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """The report as JSON text, also written to a file if a path is given.

        Args:
            path: a file; it is either written whole or left as it was.

        Returns:
            The text, from which `from_json` gives back an equal report, bit for bit.
        """
        plain = {"format": _format_of(type(self)), **_plain(self)}
        text = json.dumps(plain, indent=1, ensure_ascii=False)
        if path is not None:
            beside = f"{os.fspath(path)}.{os.getpid()}.part"
            with open(beside, "w", encoding="utf-8") as file:
                file.write(text + "\n")
            os.replace(beside, path)
        return text

    @classmethod
    def from_json(cls: type[Report], source: str | os.PathLike[str]) -> Report:
        """The report that `to_json` wrote.

        Args:
            source: a path, or the text itself.

        Returns:
            An equal report.

        Raises:
            ValueError: for text that is not a report, or misses a part of one.
        """
        fields = _parsed(cls, source)
        names = {field.name for field in dataclasses.fields(cls)} | {"format"}
        is_report = isinstance(fields, dict) and set(fields) == names
        if not is_report or fields.pop("format") != _format_of(cls):
            raise ValueError(
                f"`source` must be a report with the keys {sorted(names)}. Received: "
                f"{sorted(fields) if isinstance(fields, dict) else type(fields).__name__}. "
                f"Write the report again with `{cls.__name__}.to_json`."
            )
        return cls(**cls._from_plain(fields))

    @classmethod
    def _from_plain(cls, fields: dict[str, Any]) -> dict[str, Any]:
        return fields


def _format_of(report: type) -> str:
    return f"tfmeta.{report.__name__}"


def _plain(value: Any) -> Any:
    """What JSON takes: lists for arrays and tuples, dictionaries for mappings and dataclasses."""
    if dataclasses.is_dataclass(value):
        return {
            field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def _parsed(report: type, source: str | os.PathLike[str]) -> Any:
    text = os.fspath(source)
    if not text.lstrip().startswith("{"):
        with open(text, encoding="utf-8") as file:
            text = file.read()
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"`source` must be a report in JSON, as `{report.__name__}.to_json` writes it. "
            f"Received: {text[:60]!r}, which is not JSON ({error}). Write the report again."
        ) from error
