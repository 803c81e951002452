"""Writes docs/settings.md from the docstrings of all groups of settings; with --check it only says whether it differs.

python docs/make_settings.py
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

sys.path.insert(0, str(Path(__file__).parents[1]))

from pydantic.fields import FieldInfo

from faceflow.infrastructure.settings import Settings

PAGE = Path(__file__).with_name("settings.md")
HEAD = """\
# Settings

Every setting is an environment variable, `FACEFLOW_<GROUP>__<NAME>`. Settings belong to a machine;
everything about a single job (quality, engine, faces) is part of the job. A wrong value stops the program with a
message that names it. If set, `XDG_STATE_HOME` and `XDG_CACHE_HOME` move the folders.

This page is made from the settings' own docstrings by `python docs/make_settings.py`.
"""


def main() -> int:
    """Writes or checks the page; 1 when it was to be checked and differs."""
    page = make_page()
    if "--check" in sys.argv[1:]:
        if not PAGE.is_file() or PAGE.read_text() != page:
            print("docs/settings.md is not up to date: run python docs/make_settings.py")
            return 1
        return 0
    PAGE.write_text(page)
    return 0


def make_page() -> str:
    """The whole page as Markdown."""
    # Folders are shown as rules, not as they are on the machine that makes the page.
    os.environ["HOME"] = "/home/you"
    for variable in ("XDG_STATE_HOME", "XDG_CACHE_HOME"):
        os.environ.pop(variable, None)
    lines = [HEAD]
    for group, field in Settings.model_fields.items():
        model: Any = field.annotation
        lines += [f"## {group}", "", model.__doc__, ""]
        lines += ["| Variable | Default | Values | Meaning |", "|---|---|---|---|"]
        for name, setting in model.model_fields.items():
            variable = f"`FACEFLOW_{group.upper()}__{name.upper()}`"
            meaning = " ".join((setting.description or "").split()).replace("|", "\\|")
            lines.append(f"| {variable} | {_default(setting)} | {_values(setting)} | {meaning} |")
        lines.append("")
    return "\n".join(lines).replace("/home/you", "~").rstrip() + "\n"


def _default(setting: FieldInfo) -> str:
    value = setting.get_default(call_default_factory=True, validated_data={})
    return "none" if value is None or value == "" else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _values(setting: FieldInfo) -> str:
    kind: Any = setting.annotation
    if get_origin(kind) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(kind))
    if isinstance(kind, type) and hasattr(kind, "__members__"):
        return ", ".join(f"`{member.value}`" for member in kind)
    words = {bool: "`true`, `false`", int: "whole number", float: "number", Path: "folder", str: "text"}
    bounds = []
    for limit in setting.metadata:
        for attribute, text in (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below")):
            if getattr(limit, attribute, None) is not None:
                bounds.append(f"{text} {getattr(limit, attribute)}")
    return ", ".join([words.get(kind, "text"), *bounds])


if __name__ == "__main__":
    sys.exit(main())
