"""Errors keep their code, fields and family on every way that they travel."""

import json
import pickle

import pytest

from docs.make_errors import error_classes
from faceflow import errors
from faceflow.errors import FaultError, InputError
from faceflow.gateway.cli.dispatched_run import WaitingError

KINDS = [kind for _, kind in sorted(error_classes().items())]
FAMILIES = {
    "JobError": "job",
    "WaitingError": "job",
    "MediaError": "media",
    "PictureError": "picture",
    "FaceError": "face",
    "OutputError": "output",
    "ModelError": "model",
    "TrustError": "trust",
    "PolicyError": "policy",
    "BudgetError": "budget",
    "PolicySourceError": "policy",
    "ExactnessError": "fault",
    "ResourceError": "fault",
    "EngineError": "engine",
    "ModelFileError": "model",
    "DownloadError": "model",
    "StoreError": "store",
    "StoreSetupError": "store",
    "ServerError": "server",
    "RegistryError": "registry",
    "RegistrySetupError": "registry",
    "DatabaseError": "database",
    "DatabaseSetupError": "database",
    "CancelledError": "fault",
    "AnswerError": "fault",
}
EXIT_CODES = {FaultError: 1, InputError: 2, WaitingError: 3}
RETRYABLE = {
    "ResourceError",
    "DownloadError",
    "StoreError",
    "ServerError",
    "DatabaseError",
    "PolicySourceError",
    "RegistryError",
}


def made(kind):
    return kind(f"{kind.family}.example", "It broke.", "Mend it.", path="/a b", count=3)


@pytest.mark.parametrize("kind", KINDS)
def test_pickle_keeps_everything(kind):
    error = made(kind)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert copy.to_dict() == error.to_dict()
    assert copy.fields == {"path": "/a b", "count": 3}
    assert str(copy) == str(error)


@pytest.mark.parametrize("kind", KINDS)
def test_as_json(kind):
    found = json.loads(json.dumps(made(kind).to_dict()))
    assert found == {
        "code": f"{kind.family}.example",
        "message": "It broke.",
        "resolution": "Mend it.",
        "retryable": kind.retryable,
        "fields": {"path": "/a b", "count": 3},
    }
    assert "fields" not in kind("x.y", "a", "b").to_dict()


def test_every_family_is_in_the_tree():
    leaves = {kind.__name__: kind.family for kind in KINDS if not kind.__subclasses__()}
    assert leaves == FAMILIES


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.__subclasses__()])
def test_exit_codes_and_retries(kind):
    [code] = [code for family, code in EXIT_CODES.items() if issubclass(kind, family)]
    assert kind.exit_code == code
    assert kind.retryable == (kind.__name__ in RETRYABLE)
    assert kind.__name__ in errors.__doc__ or kind.__module__ != errors.__name__


def test_text_holds_what_happened_and_what_to_do():
    assert str(made(errors.MediaError)) == "It broke. [media.example] Mend it."
