"""Writes docs/errors.md: every error code in the source, with what it says and what to do, read from the code itself.

python docs/make_errors.py            writes the page
python docs/make_errors.py --check    exit code 1 where the page is not what the code says
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from collections import defaultdict
from pathlib import Path

from faceflow.errors import FaceflowError
from faceflow.installation import Installation, Place

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "errors.md"
LAYERS = ("faceflow", "infrastructure", "tasks", "flows", "gateway")
HEAD = """# Error codes

Every failure has a stable code, a message and a resolution; `--json` prints them as one object. Exit code 2 means bad
input, so trying again does not help; 1 means a fault of the machine, a server or faceflow. A task retries its own
retryable faults. Commands that install something are those of an installed wheel; in a checkout and in the image the
program names those that work there. This page is made from the source by `python docs/make_errors.py`.

"""


def sources() -> list[Path]:
    """Every module of ours; the links in faceflow/ lead to folders that are read as such."""
    return sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))


def error_classes() -> dict[str, type[FaceflowError]]:
    """Every class of errors by name, from the modules of their owners. Only those modules are imported."""
    found: dict[str, type[FaceflowError]] = {}
    for path in sources():
        named = [
            node.name
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.ClassDef)
            and any(isinstance(base, ast.Name) and base.id.endswith("Error") for base in node.bases)
        ]
        if not named and path != ROOT / "faceflow" / "errors.py":
            continue
        parts = path.relative_to(ROOT).with_suffix("").parts
        module = importlib.import_module(".".join(parts if parts[0] == "faceflow" else ("faceflow", *parts)))
        kinds = {name: kind for name, kind in vars(module).items() if inspect.isclass(kind)}
        found |= {
            name: kind
            for name, kind in kinds.items()
            if issubclass(kind, FaceflowError) and kind.__module__ == module.__name__
        }
    return found


CLASSES = error_classes()


def text_of(node: ast.expr) -> str:
    """A message as written in the code; parts that depend on the case stand as `…`."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(text_of, node.values))
    if isinstance(node, ast.FormattedValue) and (words := words_of_place(node.value)) is not None:
        return words
    if isinstance(node, ast.IfExp):
        return f"{text_of(node.body)} / {text_of(node.orelse)}"
    return "…"


def words_of_place(node: ast.expr) -> str | None:
    """What `installation().NAME("...")` says in an installed wheel; None for any other expression."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Call(func=ast.Name(id="installation")), attr=name), args=arguments):
            return str(getattr(Installation(Place.WHEEL, ROOT), name)(*map(text_of, arguments)))
    return None


def codes() -> dict[str, list[tuple[str, str, str]]]:
    """(class, message, resolution) of every place that raises each code."""
    found: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) >= 3):
                continue
            first = text_of(node.args[0])
            if node.func.id not in CLASSES and node.func.id not in {"family", "kind"}:
                continue
            for code in [first.replace("…", kind) for kind in ("media", "picture")] if "…" in first else [first]:
                if "." not in code.strip("."):
                    continue
                entry = (node.func.id, text_of(node.args[1]), text_of(node.args[2]))
                if entry not in found[code]:
                    found[code].append(entry)
    return found


def page() -> str:
    """The whole page."""
    lines = ["| code | exit | retried | message | what to do |", "|---|---|---|---|---|"]
    families = {kind.family: kind for kind in CLASSES.values()}
    for code, entries in sorted(codes().items()):
        for name, message, resolution in entries:
            kind = CLASSES.get(name) or families[code.split(".")[0]]
            retried = "yes" if kind.retryable else ""
            cells = [f"`{code}`", str(kind.exit_code), retried, message, resolution]
            lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return HEAD + "\n".join(lines) + "\n"


def main() -> int:
    """Writes or checks the page."""
    if "--check" in sys.argv[1:]:
        return 0 if PAGE.read_text() == page() else 1
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
