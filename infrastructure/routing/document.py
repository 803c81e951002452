"""YAML and JSON texts that remember on which line every value stands.

What a rules file says must not depend on a reader's habits: keys that occur twice are refused (the usual readers take
the last one in silence), `on` and `22:00` are text, not a truth value and a number (YAML 1.2), and anchors, tags and
several documents in one file have no place in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 30
DEEPEST = 4 * MAX_DEPTH
"""Nesting up to here is told with its field, deeper one with its line only."""

FieldPath = tuple[str | int, ...]
"""Where a value stands: `("rules", 2, "when", "faces")`."""

_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_TAGS = frozenset({"map", "seq", "str", "int", "float", "bool", "null", "timestamp", "merge", "value"})
_WORDS = {"null": None, "~": None, "": None, "true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong with a document."""

    message: str
    path: FieldPath = ()
    line: int | None = None
    fatal: bool = True
    """False where the document can be used all the same."""

    @property
    def field(self) -> str:
        """The place as it is written for people: `rules[2].when.faces`."""
        text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path)
        return text.lstrip(".")

    def __str__(self) -> str:
        where = ", ".join(part for part in (f"line {self.line}" if self.line else "", self.field) if part)
        return f"{where}: {self.message}" if where else self.message

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"line": self.line, "field": self.field, "message": self.message, "fatal": self.fatal}


@dataclass(frozen=True, slots=True)
class Document:
    """A text's content, the lines of its values, and what was wrong with it."""

    value: Any = None
    lines: dict[FieldPath, int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    def problem(self, message: str, path: Sequence[str | int] = (), *, fatal: bool = True) -> Problem:
        """A problem with the line of its field, or of the nearest thing around it that is in the text."""
        known = tuple(path)
        while known and known not in self.lines:
            known = known[:-1]
        return Problem(message, tuple(path), self.lines.get(known), fatal)


def read_document(text: str) -> Document:
    """Reads a YAML or JSON text of at most 1 MiB; what is wrong with it is in `problems`."""
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        return Document(problems=(Problem("the text is longer than 1 MiB"),))
    try:
        plain = _without_tabs(text)
        deep_at = _too_deep(plain)
        if deep_at is not None:
            return Document(problems=(Problem("nested too deeply", line=deep_at),))
        node = yaml.compose(plain, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return Document(problems=(Problem(f"not YAML: {error.problem}", line=mark.line + 1 if mark else None),))
    except (yaml.YAMLError, RecursionError) as error:
        return Document(problems=(Problem(f"not YAML: {error}"),))
    if node is None:
        return Document(problems=(Problem("the text is empty"),))
    reader = _Reader()
    value = reader.read(node, ())
    return Document(value, reader.lines, tuple(reader.problems))


def _without_tabs(text: str) -> str:
    """JSON may be indented with tabs, which YAML forbids; in valid JSON no raw tab stands inside a string."""
    if "\t" not in text:
        return text
    try:
        json.loads(text)
    except ValueError:
        return text
    return text.replace("\t", " ")


def _too_deep(text: str) -> int | None:
    """The line on which nesting goes beyond anything of use: composing recurses in C, without a guard of its stack.

    Raises:
        yaml.YAMLError: it is no YAML up to there.
    """
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEEPEST:
            return event.start_mark.line + 1 if event.start_mark else 1
    return None


class _Reader:
    def __init__(self) -> None:
        self.lines: dict[FieldPath, int] = {}
        self.problems: list[Problem] = []
        self._seen: set[int] = set()

    def read(self, node: yaml.Node, path: FieldPath) -> Any:
        self.lines[path] = node.start_mark.line + 1
        if id(node) in self._seen:
            self._complain("anchors and aliases are not supported: write the value out", path)
            return None
        self._seen.add(id(node))
        if len(path) > MAX_DEPTH:
            self._complain("nested too deeply", path)
            return None
        if node.tag.removeprefix("tag:yaml.org,2002:") not in _TAGS:
            self._complain(f"the tag {node.tag} is not supported", path)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
        return _scalar(node)

    def _mapping(self, node: yaml.MappingNode, path: FieldPath) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._complain("a key must be a word", path)
                continue
            name = str(key.value)
            if name in mapping:
                self.problems.append(Problem("this key appears twice", (*path, name), key.start_mark.line + 1))
                continue
            mapping[name] = self.read(value, (*path, name))
            self.lines[*path, name] = key.start_mark.line + 1
        return mapping

    def _complain(self, message: str, path: FieldPath) -> None:
        self.problems.append(Problem(message, path, self.lines[path]))


def _scalar(node: yaml.Node) -> Any:
    text = str(node.value)
    if getattr(node, "style", None) in {"'", '"', "|", ">"}:  # quoted or block: text, whatever it looks like
        return text
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if _INT.fullmatch(text):
        return int(text) if len(text) < 40 else text
    return float(text) if _FLOAT.fullmatch(text) else text
