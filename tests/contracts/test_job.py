"""The request: what is taken, what is refused, how it travels and how it looks as a form."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from pydantic import ValidationError

from faceflow.job import Sensitivity, SwapJob

LEAST = {"sources": [{"portraits": ["me.jpg"]}], "target": "in.mp4", "output": "out.mp4"}
FULL = {
    "sources": [
        {"portraits": ["a1.jpg", "a2.png"], "name": "anna"},
        {"portraits": ["s3://bucket/b.webp"], "name": "ben"},
    ],
    "target": "s3://bucket/in.mp4",
    "output": "out.mov",
    "face_map": [{"source": "anna", "reference": "old.jpg"}, {"source": "ben", "person": 0}],
    "swap": {"engine": "mesh", "selection": "mapped", "restorer": "none", "restore_blend": 0.5},
    "encoding": {"crf": 20, "preset": "slow", "max_long_side_px": 1280, "segment_s": 2.5},
    "consent": {
        "subject": "Anna",
        "scope": "greeting",
        "reference": "C-1",
        "expires_at": "2030-01-01T00:00:00+02:00",
    },
    "project": "xmas-2026",
    "sensitivity": "private",
    "priority": "urgent",
    "deadline": "2027-01-31T18:00:00+00:00",
    "budget": {"limit_usd": "1.25"},
    "callback": "https://example.org/done",
}


def test_least_and_full():
    assert SwapJob.model_validate(LEAST).sensitivity is Sensitivity.PUBLIC
    job = SwapJob.model_validate(FULL)
    assert job.budget.limit_usd == Decimal("1.25")
    assert job.deadline == datetime(2027, 1, 31, 18, tzinfo=UTC)


@pytest.mark.parametrize("request_", [LEAST, FULL])
def test_round_trip_through_json(request_):
    job = SwapJob.model_validate(request_)
    assert SwapJob.model_validate_json(job.model_dump_json()) == job
    assert SwapJob.model_validate(json.loads(json.dumps(job.model_dump(mode="json")))) == job


BAD = {
    "no source": {"sources": []},
    "source without portraits": {"sources": [{"portraits": []}]},
    "two sources of one name": {"sources": [{"portraits": ["a"]}, {"portraits": ["b"]}]},
    "empty target": {"target": ""},
    "NUL in a path": {"output": "a\0b.mp4"},
    "unknown source in the map": {"face_map": [{"source": "who", "person": 0}]},
    "map without a person": {"face_map": [{"source": "source"}]},
    "map with two answers": {"face_map": [{"source": "source", "person": 0, "reference": "r.jpg"}]},
    "negative person": {"face_map": [{"source": "source", "person": -1}]},
    "deadline without offset": {"deadline": "2027-01-31T18:00:00"},
    "consent end without offset": {"consent": {"subject": "A", "scope": "b", "expires_at": "2027-01-31T18:00:00"}},
    "consent without a subject": {"consent": {"subject": "", "scope": "b"}},
    "crf out of range": {"encoding": {"crf": 52}},
    "segment of no length": {"encoding": {"segment_s": 0}},
    "blend above one": {"swap": {"restore_blend": 1.1}},
    "blend not a number": {"swap": {"restore_blend": float("nan")}},
    "unknown preset": {"encoding": {"preset": "placebo"}},
    "budget of nothing": {"budget": {"limit_usd": 0}},
    "project with a slash": {"project": "../other"},
    "project in capitals": {"project": "Xmas"},
    "callback to a file": {"callback": "file:///etc/passwd"},
    "unknown sensitivity": {"sensitivity": "secret"},
    "unknown field": {"sensitivty": "private"},
    "unknown nested field": {"swap": {"engin": "mesh"}},
}


@pytest.mark.parametrize("change", BAD.values(), ids=BAD.keys())
def test_refused(change):
    with pytest.raises(ValidationError):
        SwapJob.model_validate(LEAST | change)


def test_cannot_be_changed():
    job = SwapJob.model_validate(LEAST)
    with pytest.raises(ValidationError):
        job.sensitivity = Sensitivity.PRIVATE
    assert hash(job) == hash(SwapJob.model_validate(LEAST))


def test_every_field_of_the_form_has_a_title_and_says_what_it_is():
    schema = SwapJob.model_json_schema()
    objects = [schema, *(part for part in schema["$defs"].values() if "properties" in part)]
    for part in objects:
        assert part.get("title")
        for name, field in part["properties"].items():
            assert field.get("title") or "$ref" in field or "allOf" in field or "anyOf" in field, name
    explained = [name for name, field in schema["properties"].items() if "description" in field]
    assert {"sources", "target", "output", "sensitivity", "priority", "deadline"} <= set(explained)
