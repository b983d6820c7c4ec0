"""What a volume's reader sends is taken only as far as it was asked for, announced and unchanged."""

from __future__ import annotations

import asyncio
import hashlib
import io
import itertools
import json
import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splittraining.api.errors import ProtocolViolation, StorageFailed
from splittraining.api.results import OUTPUT_PATHS
from splittraining.api.usage import ClusterFailed
from splittraining.cli import volume_reader
from splittraining.cli.parcel import AnnouncedFile, parse_announcement, receive_files
from support.cluster_api import iterate

FILES = {"result/segments.safetensors": bytes(range(256)) * 300, "log.jsonl": b'{"message": "x"}\n', "plan.json": b""}


def write(folder, files):
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)


def send(folder) -> bytes:
    out = io.BytesIO()
    volume_reader.send(str(folder), list(OUTPUT_PATHS), out)
    return out.getvalue()


def receive(sent, folder, *, pieces=None, free_bytes=1 << 30, **tell):
    pieces = [sent] if pieces is None else pieces
    return asyncio.run(receive_files(iterate(pieces), folder, OUTPUT_PATHS, free_bytes=free_bytes, **tell))


def read_all(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def volume(tmp_path):
    folder = tmp_path / "volume"
    write(folder, {**FILES, "secret.txt": b"not asked for"})
    return folder


@pytest.fixture
def target(tmp_path):
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


def test_what_is_on_the_volume_arrives_and_nothing_that_was_not_asked_for(volume, target):
    told = []
    files = receive(send(volume), target, announce=told.append, advance=told.append)
    assert read_all(target) == FILES
    assert files == [AnnouncedFile(path, len(FILES[path])) for path in OUTPUT_PATHS if path in FILES]
    assert told[0] == sum(told[1:]) == sum(map(len, FILES.values()))


@given(cuts=st.lists(st.integers(0, 78000), max_size=30))
def test_where_the_line_cuts_its_pieces_makes_no_difference(tmp_path_factory, cuts):
    folder = tmp_path_factory.mktemp("parcel")
    write(folder / "volume", FILES)
    (folder / "target").mkdir()
    sent = send(folder / "volume")
    places = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
    receive(sent, folder / "target", pieces=[sent[a:b] for a, b in itertools.pairwise(places)])
    assert read_all(folder / "target") == FILES


@given(share=st.floats(0, 1, exclude_max=True))
def test_a_transfer_that_ends_anywhere_too_soon_is_an_error(tmp_path_factory, share):
    folder = tmp_path_factory.mktemp("parcel")
    write(folder / "volume", FILES)
    (folder / "target").mkdir()
    sent = send(folder / "volume")
    with pytest.raises(ClusterFailed, match="the transfer ended"):
        receive(sent[: int(len(sent) * share)], folder / "target")


@given(place=st.integers(0, 1 << 20), bit=st.integers(0, 7))
def test_a_bit_that_changes_on_the_way_is_an_error_or_changes_nothing(tmp_path_factory, place, bit):
    folder = tmp_path_factory.mktemp("parcel")
    write(folder / "volume", FILES)
    (folder / "target").mkdir()
    sent = bytearray(send(folder / "volume"))
    sent[place % len(sent)] ^= 1 << bit
    try:
        receive(bytes(sent), folder / "target")
    except (ClusterFailed, ProtocolViolation, StorageFailed):
        return
    assert read_all(folder / "target") == FILES


EVIL = (
    "/etc/passwd",
    "../outside",
    "result/../../outside",
    "result/./segments.safetensors",
    "./log.jsonl",
    "log.jsonl/",
    "result//manifest.json",
    "LOG.jsonl",
    "log.jsonl\x00",
    "",
    "result",
    None,
    7,
    ["log.jsonl"],
    {"path": "log.jsonl"},
)


def announce(*files) -> bytes:
    return json.dumps({"version": 1, "files": list(files)}).encode()


@pytest.mark.parametrize("path", EVIL, ids=repr)
def test_a_name_that_was_not_asked_for_letter_by_letter_is_refused(path):
    with pytest.raises(ProtocolViolation, match="not asked for"):
        parse_announcement(announce({"path": path, "size": 1}), OUTPUT_PATHS)


@given(path=st.text() | st.sampled_from(OUTPUT_PATHS))
def test_no_name_but_those_asked_for_is_ever_taken(path):
    try:
        files = parse_announcement(announce({"path": path, "size": 1}), OUTPUT_PATHS)
    except ProtocolViolation:
        assert path not in OUTPUT_PATHS
    else:
        assert [file.path for file in files] == [path]
        assert path in OUTPUT_PATHS


@pytest.mark.parametrize("size", [-1, True, 1.0, "1", None, [1]], ids=repr)
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(ProtocolViolation, match=r"log\.jsonl with a size of"):
        parse_announcement(announce({"path": "log.jsonl", "size": size}), OUTPUT_PATHS)


def test_a_file_may_come_once():
    file = {"path": "log.jsonl", "size": 1}
    with pytest.raises(ProtocolViolation, match="for a second time"):
        parse_announcement(announce(file, file), OUTPUT_PATHS)


@pytest.mark.parametrize(
    "line",
    [b"", b"[]", b"{", b'{"version": 2, "files": []}', b'{"version": 1}', b"[" * 100_000],
    ids=lambda line: line[:20],
)
def test_an_announcement_that_is_none_is_refused(line):
    with pytest.raises(ProtocolViolation, match="the volume's reader sent"):
        parse_announcement(line, OUTPUT_PATHS)


def test_a_line_that_never_ends_is_not_kept(target):
    with pytest.raises(ProtocolViolation, match="a line of more than"):
        receive(b"", target, pieces=[b"x" * 40_000] * 10)


def test_more_than_there_is_room_for_is_refused_before_a_byte_is_written(volume, target):
    with pytest.raises(StorageFailed, match=r"75\.0 KiB are to come"):
        receive(send(volume), target, free_bytes=70_000)
    assert read_all(target) == {}


def test_what_comes_after_the_announced_files_is_refused(target):
    digest = hashlib.sha256(b"x").hexdigest()
    sent = (
        announce({"path": "log.jsonl", "size": 1})
        + b"\nx"
        + json.dumps({"path": "log.jsonl", "sha256": digest}).encode()
    )
    with pytest.raises(ProtocolViolation, match="more than was announced"):
        receive(sent + b'\n{"path": "plan.json"}\n', target)


def test_a_file_with_another_digest_is_refused(volume, target):
    sent = send(volume).replace(b'{"message": "x"}', b'{"message": "y"}')
    with pytest.raises(ClusterFailed, match=r"log\.jsonl was changed on its way"):
        receive(sent, target)


def test_an_empty_volume_sends_no_file(tmp_path, target):
    (tmp_path / "empty").mkdir()
    assert receive(send(tmp_path / "empty"), target) == []


def make_link(path):
    path.symlink_to("/etc/passwd")


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


@pytest.mark.parametrize("make", [make_link, os.mkfifo, make_socket, os.mkdir], ids=lambda make: make.__name__)
def test_the_reader_refuses_what_is_no_plain_file_and_never_waits_for_it(tmp_path, make):
    make(tmp_path / "log.jsonl")
    with pytest.raises(volume_reader.Refused, match=r"log\.jsonl"):
        send(tmp_path)


def test_the_reader_refuses_a_device():
    with pytest.raises(volume_reader.Refused, match="null: not a plain file"):
        volume_reader.open_inside("/dev", "null")


def test_the_reader_follows_no_linked_folder(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "manifest.json").write_text("{}")
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume" / "result").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(volume_reader.Refused, match=r"result/segments\.safetensors: Not a directory"):
        send(tmp_path / "volume")


def test_the_reader_leaves_no_file_open_that_it_refused(tmp_path):
    before = len(list(Path("/proc/self/fd").iterdir()))
    os.mkfifo(tmp_path / "log.jsonl")
    for _ in range(5):
        with pytest.raises(volume_reader.Refused):
            volume_reader.open_inside(str(tmp_path), "log.jsonl")
        assert volume_reader.open_inside(str(tmp_path), "result/none") is None
    assert len(list(Path("/proc/self/fd").iterdir())) == before


class Shrinking(io.BytesIO):
    """Shortens the file once its size is announced."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def write(self, data):
        os.truncate(self.path, 3)
        return super().write(data)


def test_the_reader_says_when_a_file_became_shorter(tmp_path):
    (tmp_path / "log.jsonl").write_bytes(b"0123456789")
    with pytest.raises(volume_reader.Refused, match="became shorter"):
        volume_reader.send(str(tmp_path), ["log.jsonl"], Shrinking(tmp_path / "log.jsonl"))
