"""docs/errors.md says what the source says, and every code has one meaning."""

from __future__ import annotations

import re

from docs.make_errors import PAGE, codes, page

CODE = re.compile(r"^[a-z]+\.[a-z0-9_]+$")


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "run python docs/make_errors.py"


def test_every_code_is_well_formed_and_says_what_to_do() -> None:
    found = codes()
    assert len(found) > 60
    for code, entries in found.items():
        assert CODE.match(code), code
        assert all(len(resolution) > 5 for _, _, resolution in entries), code
