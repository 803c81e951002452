"""Writes the table in docs/models.md from the catalogue; with --check it only says whether it differs.

python docs/make_models.py
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from faceflow.vision.model_catalogue import ModelEntry, load_catalogue

PAGE = Path(__file__).with_name("models.md")
MARK = "<!-- made by docs/make_models.py -->"


def make_page() -> str:
    """The page with the table of the catalogue."""
    head = PAGE.read_text().split(MARK)[0]
    known = load_catalogue()
    lines = ["| Model | Kind | MB | Hash | Licence | Commercial |", "|---|---|---|---|---|---|"]
    for entry in known.entries():
        commercial = all(part.commercial_ok for part in known.with_needs([entry.name]))
        cells = (f"`{entry.name}`", entry.kind.value, _size(entry), _hash(entry), f"`{entry.licence.name}`")
        lines.append(f"| {' | '.join(cells)} | {'yes' if commercial else 'no'} |")
    lines += ["", "| Licence | Terms |", "|---|---|"]
    for licence in {entry.licence.name: entry.licence for entry in known.entries()}.values():
        title = f"[{licence.title}]({licence.url})" if licence.url else licence.title
        lines.append(f"| `{licence.name}` | {' '.join((title + '.', licence.note)).strip()} |")
    return head + MARK + "\n\n" + "\n".join(lines) + "\n"


def _size(entry: ModelEntry) -> str:
    return f"{entry.size_bytes / 1e6:.1f}" if entry.size_bytes else ""


def _hash(entry: ModelEntry) -> str:
    return (
        "published" if entry.files and all(file.sha256 for file in entry.files) else "first use" if entry.files else ""
    )


def main() -> int:
    """Writes or checks the page; 1 when it was to be checked and differs."""
    page = make_page()
    if "--check" in sys.argv[1:]:
        return 0 if PAGE.read_text() == page else 1
    PAGE.write_text(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
