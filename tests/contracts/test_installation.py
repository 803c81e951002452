"""Texts name a command that works where the program runs: in a checkout, from a wheel, in the image."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import faceflow
from faceflow.installation import IMAGE_MARK, Installation, Place, installation


def pretend(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "faceflow").mkdir()
    monkeypatch.setattr(faceflow, "__file__", str(root / "faceflow" / "__init__.py"))


@pytest.mark.parametrize(
    ("there", "prefix", "place"),
    [
        ("requirements/setup.sh", ".venv", Place.CHECKOUT),
        ("requirements/setup.sh", "elsewhere", Place.WHEEL),  # make would install into another environment
        ("", ".venv", Place.WHEEL),
        (IMAGE_MARK, ".venv", Place.IMAGE),
    ],
)
def test_the_place_is_known(
    there: str, prefix: str, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(tmp_path, monkeypatch)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / prefix))
    if there:
        (tmp_path / there).parent.mkdir(exist_ok=True)
        (tmp_path / there).touch()
    assert installation().place is place


@pytest.mark.parametrize(
    ("place", "extra", "said"),
    [
        (Place.CHECKOUT, "people", "(make develop)"),
        (Place.CHECKOUT, "demo", "(make setup)"),
        (Place.CHECKOUT, "gpu", "(requirements/setup.sh gpu)"),
        (Place.WHEEL, "people", "(pip install 'faceflow[people]')"),
        (Place.IMAGE, "people", "Use an image that has the extra `people`"),
    ],
)
def test_an_extra_is_installed_as_the_place_needs(
    place: Place, extra: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in Installation(place, tmp_path).with_extra(extra)


def test_a_checkout_is_named_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    checkout = Installation(Place.CHECKOUT, Path("/a b/checkout"))
    assert "make -C '/a b/checkout' develop" in checkout.with_extra("people")
    assert "'/a b/checkout/deployments/policies/pools.yaml'" in checkout.example("policies/pools.yaml")


@pytest.mark.parametrize("place", [Place.WHEEL, Place.IMAGE])
def test_where_no_checkout_is_the_examples_are_written(place: Place, tmp_path: Path) -> None:
    assert "faceflow examples" in Installation(place, tmp_path).example("policies/pools.yaml")
    assert "make" not in Installation(place, tmp_path).anew().split()
