"""A models folder full of stand-ins, and settings that name it."""

from __future__ import annotations

import pytest

from benchmarks.material import ASTRONAUT, SIX_PEOPLE
from faceflow.infrastructure.settings import Settings
from faceflow.settings import EngineSettings, ModelSettings, PathSettings
from faceflow.vision.model_catalogue import Catalogue, ModelKind, catalogue
from faceflow.vision.registry import release_engines
from tests.engines.standins import build, catalogue_text
from tests.vision.conftest import load

KINDS = (ModelKind.SWAPPER, ModelKind.RESTORER, ModelKind.CONVERTER, ModelKind.RECOGNISER, ModelKind.MASKER)


class Studio:
    """A machine with all published models, as stand-ins; each is built when it is asked for."""

    def __init__(self, folder):
        self.folder = folder

    @property
    def catalogue(self) -> Catalogue:
        return catalogue(self.settings())

    def install(self, *names: str) -> None:
        for entry in self.catalogue.with_needs(names):
            for file in entry.files:  # a pack has none
                path = self.folder / "models" / entry.name / file.name
                if not path.exists():
                    build(entry, path)

    def settings(self, **engine) -> Settings:
        return Settings(
            paths=PathSettings(state=self.folder / "state", scratch=self.folder / "scratch"),
            models=ModelSettings(folder=self.folder / "models", extra=self.folder / "models.toml"),
            engine=EngineSettings(threads=1, **engine),
        )


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studio")
    (folder / "models.toml").write_text(catalogue_text())
    yield Studio(folder)
    release_engines()


@pytest.fixture(scope="session")
def six_people():
    return load(SIX_PEOPLE)


@pytest.fixture(scope="session")
def astronaut():
    return load(ASTRONAUT)
