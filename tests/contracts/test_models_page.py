"""docs/models.md shows the catalogue as it is."""

from __future__ import annotations

from docs.make_models import PAGE, make_page


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == make_page(), "run python docs/make_models.py"
