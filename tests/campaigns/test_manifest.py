"""A campaign's list: what may stand in it, and every mistake at its line before anything starts."""

import json
from pathlib import Path

import pytest

from faceflow.errors import JobError
from faceflow.infrastructure.books.campaigns.manifest import read_manifest

CONSENT = {"consent": {"subject": "the visitor", "scope": "a greeting", "reference": "form 7"}}


@pytest.fixture
def manifest(tmp_path):
    def _manifest(text, name="list.csv"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return _manifest


def problems_of(path, defaults=CONSENT):
    with pytest.raises(JobError) as raised:
        read_manifest(path, defaults)
    assert raised.value.code == "job.manifest_invalid"
    assert "Nothing was started" in raised.value.resolution
    return {(one["line"], one["message"]) for one in raised.value.fields["problems"]}


def test_csv(manifest, tmp_path):
    path = manifest(
        "portrait,target,output,project,deadline,frames,width,height,label.kind,swap.engine,budget.limit_usd\n"
        "anna.jpg,hello.mp4,out/anna.mp4,greetings,2026-12-24T18:00:00+00:00,450,1280,720,campaign,mesh,0.05\n"
        "\n"
        'ben.jpg | ben2.jpg,"hello, 2.mp4",out/ben.mp4,,,,,,,,\n'
    )
    first, second = read_manifest(path, {**CONSENT, "project": "default-project"})
    assert (first.line, second.line) == (2, 4)
    assert first.job.sources[0].portraits == (str(tmp_path / "anna.jpg"),)
    assert (first.job.target, first.job.output) == (str(tmp_path / "hello.mp4"), str(tmp_path / "out/anna.mp4"))
    assert (first.job.project, first.job.swap.engine, str(first.job.budget.limit_usd)) == ("greetings", "mesh", "0.05")
    assert (first.frames, first.width, first.height, first.faces, first.labels) == (
        450,
        1280,
        720,
        None,
        {"kind": "campaign"},
    )
    assert first.job.consent.reference == "form 7"
    assert second.job.sources[0].portraits == (str(tmp_path / "ben.jpg"), str(tmp_path / "ben2.jpg"))
    assert second.job.target == str(tmp_path / "hello, 2.mp4")
    assert (second.job.project, second.job.deadline, second.frames) == ("default-project", None, None)


def test_json_lines_nested_or_with_dots(manifest, tmp_path):
    rows = [
        {"portrait": ["a.jpg", "b.jpg"], "target": "/abs/hello.mp4", "output": "a.mp4", "swap.engine": "mesh"},
        {
            "sources": [{"portraits": ["/p/c.jpg"]}],
            "target": "s3://bucket/x.mp4",
            "output": "b.mp4",
            "swap": {"restorer": "none"},
        },
    ]
    path = manifest("\n".join(map(json.dumps, rows)) + "\n\n", "list.jsonl")
    first, second = read_manifest(path, {**CONSENT, "swap": {"restore_blend": 0.5}})
    assert (first.job.swap.engine, first.job.swap.restore_blend) == ("mesh", 0.5)
    assert first.job.target == "/abs/hello.mp4"
    assert (second.job.swap.restorer, second.job.swap.restore_blend) == ("none", 0.5)
    assert second.job.target == "s3://bucket/x.mp4"


def test_a_job_is_named_by_what_it_says(manifest):
    text = "portrait,target,output\na.jpg,t.mp4,a.mp4\nb.jpg,t.mp4,b.mp4\n"
    names = [row.name for row in read_manifest(manifest(text), CONSENT)]
    other_way = "target,output,portrait,frames\nt.mp4,b.mp4,b.jpg,30\nt.mp4,a.mp4,a.jpg,30\n"
    assert [row.name for row in read_manifest(manifest(other_way, "other.csv"), CONSENT)] == names[::-1]
    assert len(set(names)) == 2


def test_every_mistake_is_named_at_its_line(manifest):
    path = manifest(
        "portrait,target,output,deadline,frames\n"
        "a.jpg,t.mp4,a.mp4,,\n"
        "b.jpg,t.mp4,a.mp4,,\n"
        "c.jpg,t.mp4,c.mp4,tomorrow,\n"
        "d.jpg,t.mp4\n"
        "e.jpg,,e.mp4,,\n"
        "f.jpg,t.mp4,f.mp4,2026-12-24T18:00:00,0\n"
    )
    found = problems_of(path)
    assert (3, "writes the same output as line 2") in found
    assert (5, "2 cells, but the header has 5") in found
    assert {line for line, _ in found} == {3, 4, 5, 6, 7}
    assert any(line == 4 and what.startswith("deadline:") for line, what in found)
    assert any(line == 6 and what.startswith("target:") for line, what in found)
    assert any(line == 7 and what.startswith("frames:") for line, what in found)


def test_json_lines_that_are_none(manifest):
    found = problems_of(
        manifest('{"target": 1\n[1]\n{"portrait": "a.jpg", "swap": 1, "swap.engine": "x"}\n', "l.jsonl")
    )
    assert {line for line, _ in found} == {1, 2, 3}
    assert (2, "not a JSON object") in found


@pytest.mark.parametrize(
    "text", ["", "portrait,target,output\n", "portrait,portrait\na,b\n", "portrait,\na,b\n", 'portrait\n"open\n']
)
def test_lists_without_jobs(manifest, text):
    assert problems_of(manifest(text))


def test_fields_that_no_job_has(manifest):
    found = problems_of(manifest("portrait,target,output,colour\na.jpg,t.mp4,a.mp4,blue\n"))
    assert any("colour" in what for _, what in found)


def test_many_mistakes_are_counted(manifest):
    path = manifest("portrait,target,output\n" + "a.jpg,,x.mp4\n" * 30)
    with pytest.raises(JobError) as raised:
        read_manifest(path, CONSENT)
    assert "... and" in raised.value.message
    assert len(raised.value.fields["problems"]) == 30


@pytest.mark.parametrize("name", ["list.txt", "missing.csv"])
def test_files_that_cannot_be_read(manifest, name):
    path = manifest("x", name) if name == "list.txt" else Path("/nowhere/missing.csv")
    with pytest.raises(JobError) as raised:
        read_manifest(path, CONSENT)
    assert raised.value.code == "job.manifest_unreadable"
