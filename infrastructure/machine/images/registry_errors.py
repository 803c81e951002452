"""What skopeo says when it fails, as errors that say what to do. Its last line holds the registry's own words."""

from __future__ import annotations

import re

from faceflow.errors import FaceflowError, FaultError

_DENIED = re.compile(
    r"unauthori[sz]ed|authentication required|denied|forbidden|invalid username/password|\b40[13]\b", re.I
)
_MISSING = re.compile(r"manifest unknown|name unknown|not found|no such image|repository does not exist|\b404\b", re.I)
_TLS = re.compile(r"x509|tls:|certificate|server gave HTTP response to HTTPS client", re.I)
_POLICY = re.compile(r"policy\.json|signature.*(required|rejected)|Source image rejected", re.I)
_MESSAGE = re.compile(r'level=fatal msg="(?P<message>(?:[^"\\]|\\.)*)"')
_LOGIN = re.compile(r"//[^/@\s]+@")


class RegistryError(FaultError):
    """A registry of images did not answer, or not as it must. May pass, so it is worth another try."""

    family = "registry"
    retryable = True


class RegistrySetupError(FaultError):
    """A registry of images cannot be used as it is set up: its logins, its certificate, the image's name."""

    family = "registry"


def failure(output: str, host: str, what: str) -> FaceflowError:
    """The error behind what skopeo wrote on standard error.

    Args:
        output: all of it.
        host: the registry that was spoken to, as far as it is known.
        what: the address that could not be read or written, for the message.
    """
    words = _last_words(output)
    if _POLICY.search(words):
        return RegistrySetupError(
            "registry.signature_refused",
            f"The signature policy of this machine rejects {what}: {words}",
            "Correct /etc/containers/policy.json, or sign the image as the policy requires.",
        )
    if _TLS.search(words):
        return RegistrySetupError(
            "registry.certificate",
            f"The certificate of {host} is not trusted on this machine: {words}",
            "Put the authority's certificate into /etc/containers/certs.d/HOST:PORT/ca.crt, or list a registry "
            "without TLS in FACEFLOW_IMAGES__WITHOUT_TLS.",
        )
    if _DENIED.search(words):
        return RegistrySetupError(
            "registry.denied",
            f"{host} refused the login for {what}: {words}",
            "Log in with `skopeo login --authfile FILE HOST` and set FACEFLOW_IMAGES__CREDENTIALS to that file, or put "
            "its content into the Secret block that FACEFLOW_IMAGES__CREDENTIALS_BLOCK names.",
        )
    if _MISSING.search(words):
        return RegistrySetupError(
            "registry.image_missing",
            f"{host} has no {what}.",
            "Push the image there first, or correct the name or tag.",
        )
    return RegistryError(
        "registry.failed",
        f"{host} failed for {what}: {words}",
        "Try again: layers that have arrived are not sent again. If it keeps failing, contact the registry's "
        "operators.",
    )


def is_missing(error: FaceflowError) -> bool:
    """Whether the registry answered, and only the image is not there."""
    return error.code == "registry.image_missing"


def _last_words(output: str) -> str:
    found = [match["message"] for match in _MESSAGE.finditer(output)]
    words = found[-1].replace('\\"', '"') if found else (output.strip().splitlines() or ["it gave no reason"])[-1]
    return _LOGIN.sub("//***@", words)
