"""Logins of registries: a file that is named in the settings, or a secret that becomes a file for as long as needed."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faceflow.given_files import read_given
from faceflow.infrastructure.machine.images.image_settings import SettingsWithImages
from faceflow.infrastructure.machine.images.registry_errors import RegistrySetupError


@contextmanager
def credentials_file(settings: SettingsWithImages, secret: str | None = None) -> Iterator[Path | None]:
    """The file for skopeo while the block runs; None leaves it to skopeo where it looks.

    Args:
        settings: `images.credentials` names the file.
        secret: content of such a file; wins over the file, and is on the disk, readable by us alone, only meanwhile.

    Raises:
        RegistrySetupError: `registry.credentials_invalid`.
    """
    if secret is not None:
        _check(secret, "The secret that holds the registry logins")
        with tempfile.TemporaryDirectory(prefix="faceflow-logins-") as folder:  # mode 0700
            file = Path(folder, "auth.json")
            file.write_text(secret)
            yield file
        return
    named = settings.images.credentials
    if named is not None:
        try:
            content = read_given(named)
        except UnicodeDecodeError:
            content = ""  # no JSON, which is told below
        except OSError as error:
            raise RegistrySetupError(
                "registry.credentials_invalid",
                f"The file {str(named)!r} with the registry logins cannot be read: {error.strerror}.",
                "Create it with `skopeo login --authfile FILE HOST`, and set FACEFLOW_IMAGES__CREDENTIALS to it.",
            ) from error
        _check(content, f"The file {str(named)!r} with the registry logins")
    yield named


def _check(content: str, what: str) -> None:
    try:
        good = isinstance(json.loads(content)["auths"], dict)
    except (ValueError, TypeError, KeyError, RecursionError):  # what is in it is not repeated: it is secret
        good = False
    if not good:
        raise RegistrySetupError(
            "registry.credentials_invalid",
            f"{what} does not have the right form.",
            'It must be JSON, {"auths": {"HOST": {"auth": ...}}}. Create it with `skopeo login --authfile FILE HOST`.',
        )
