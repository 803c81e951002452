"""Two registries, one that the image comes from and one near a pool, for all tests of this folder."""

import json
import threading
from itertools import count

import pytest

from faceflow.infrastructure.machine.images.image_settings import ImageSettings
from faceflow.infrastructure.machine.images.skopeo import Skopeo
from faceflow.infrastructure.settings import Settings
from faceflow.settings import PathSettings
from tests.images.registries import put_image, running_registry

_NUMBERS = count(1)


@pytest.fixture(scope="session")
def origin(tmp_path_factory):
    with running_registry(tmp_path_factory.mktemp("origin") / "registry") as registry:
        yield registry


@pytest.fixture(scope="session")
def near(tmp_path_factory):
    with running_registry(tmp_path_factory.mktemp("near") / "registry") as registry:
        yield registry


@pytest.fixture
def name():
    """A repository that no other test has."""
    return f"team/faceflow-{next(_NUMBERS)}"


@pytest.fixture
def release(origin, name, tmp_path):
    """Pushes versions of the image under the tag 1.0 to the origin; gives each one's digest."""
    numbers = count(1)

    def push(**options):
        number = next(numbers)
        return put_image(origin.host, name, "1.0", tmp_path / f"image-{number}", seed=number, **options)

    return push


@pytest.fixture
def settings(origin, near, name, tmp_path):
    """Two pools with a repository each on the second registry."""
    return Settings(
        paths=PathSettings(state=tmp_path / "state", scratch=tmp_path / "scratch"),
        images=ImageSettings(
            source=f"{origin.host}/{name}:1.0",
            registries={"aws": f"{near.host}/{name}-aws", "azure": f"{near.host}/{name}-azure"},
            without_tls=(origin.host, near.host),
        ),
    )


@pytest.fixture
def environment(settings):
    """The same as variables."""
    return {
        "FACEFLOW_IMAGES__SOURCE": settings.images.source,
        "FACEFLOW_IMAGES__REGISTRIES": json.dumps(settings.images.registries),
        "FACEFLOW_IMAGES__WITHOUT_TLS": ",".join(settings.images.without_tls),
    }


@pytest.fixture
def skopeo(settings):
    return Skopeo(None, settings.images.without_tls, threading.Event())
