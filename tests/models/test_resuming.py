"""A broken pull goes on where it was, and never mixes two files."""

from __future__ import annotations

from tests.models.conftest import CONTENT, OTHER, onnx_bytes
from tests.models.interrupting import interrupted

UNKNOWN = ""


def test_a_broken_pull_goes_on(bench):
    bench.add("net").pause_s = 0.01
    here = interrupted(bench, 60_000)
    assert 0 < here < len(CONTENT)
    bench.pull()
    second = bench.server.gets("/net.onnx")[1]
    assert second.range == f"bytes={here}-"
    assert second.headers["if-range"].startswith('"')
    assert bench.path().read_bytes() == CONTENT
    assert bench.files() == {"net.onnx", "net.onnx.record"}


def test_cut_connections_are_gone_on_with(bench):
    bench.add("net").cut_after = [70_000, 0, 70_000]
    bench.pull(attempts=2)
    ranges = [one.range for one in bench.server.gets("/net.onnx")]
    assert ranges[0] == ""
    assert [one != "" for one in ranges[1:]] == [True] * (len(ranges) - 1)
    assert bench.path().read_bytes() == CONTENT


def test_an_end_that_nobody_told_is_seen_by_the_size(bench):
    how = bench.add("net")
    how.sizeless, how.cut_after = True, [70_000]
    bench.pull()
    assert bench.server.gets("/net.onnx")[1].range != ""
    assert bench.path().read_bytes() == CONTENT


def test_nothing_of_a_longer_file_stays(bench):
    how = bench.add("net", facts=UNKNOWN)
    how.pause_s = 0.01
    interrupted(bench, 100_000)
    how.content = onnx_bytes(50_000, 3)
    bench.pull()
    assert bench.path().read_bytes() == how.content


def test_a_server_without_ranges_gives_all_again(bench):
    how = bench.add("net")
    how.ranges, how.cut_after = False, [70_000]
    bench.pull()
    assert bench.path().read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_comes_whole(bench):
    how = bench.add("net", facts=UNKNOWN)
    how.pause_s = 0.01
    interrupted(bench, 60_000)
    how.content = OTHER
    bench.pull()
    assert bench.path().read_bytes() == OTHER


def test_a_file_that_changed_is_seen_though_the_server_does_not_look(bench):
    how = bench.add("net", facts=UNKNOWN)
    how.pause_s, how.deaf = 0.01, True
    interrupted(bench, 60_000)
    how.content = OTHER
    bench.pull()
    assert bench.path().read_bytes() == OTHER


def test_without_validator_and_hash_it_begins_anew(bench):
    how = bench.add("net", facts=UNKNOWN)
    how.pause_s, how.tag = 0.01, ""
    interrupted(bench, 60_000)
    how.content = OTHER
    bench.pull()
    assert bench.server.gets("/net.onnx")[-1].range == ""
    assert bench.path().read_bytes() == OTHER


def test_bytes_of_another_source_may_stand_where_the_hash_is_known(bench):
    bench.add("net").pause_s = 0.01
    bench.add("twin")
    here = interrupted(bench, 60_000)
    bench.server.files["/net.onnx"].status = 404
    bench.text = bench.text.replace('/net.onnx"]', f'/net.onnx", "{bench.server.url}/twin.onnx"]')
    bench.pull()
    assert bench.server.gets("/twin.onnx")[0].range == f"bytes={here}-"
    assert bench.path().read_bytes() == CONTENT


def test_wrong_bytes_of_before_are_fetched_again(bench):
    bench.add("net").pause_s = 0.01
    here = interrupted(bench, 60_000)
    part = bench.path().with_name(".net.onnx.part")
    part.write_bytes(bytes(here))
    bench.pull()
    assert [one.range for one in bench.server.gets("/net.onnx")] == ["", f"bytes={here}-", ""]
    assert bench.path().read_bytes() == CONTENT


def test_more_bytes_than_the_file_has_are_dropped(bench):
    bench.add("net").pause_s = 0.01
    interrupted(bench, 60_000)
    bench.path().with_name(".net.onnx.part").write_bytes(bytes(len(CONTENT) + 5))
    bench.pull()
    assert bench.path().read_bytes() == CONTENT


def test_a_complete_part_is_only_checked(bench):
    bench.add("net").pause_s = 0.01
    interrupted(bench, 60_000)
    bench.path().with_name(".net.onnx.part").write_bytes(CONTENT)
    bench.pull()
    assert bench.path().read_bytes() == CONTENT
    assert [one.range for one in bench.server.gets("/net.onnx")] == ["", f"bytes={len(CONTENT)}-"]


def test_a_part_whose_note_is_lost_is_not_trusted(bench):
    bench.add("net").pause_s = 0.01
    interrupted(bench, 60_000)
    bench.path().with_name(".net.onnx.part.json").unlink()
    bench.pull()
    assert bench.server.gets("/net.onnx")[-1].range == ""
