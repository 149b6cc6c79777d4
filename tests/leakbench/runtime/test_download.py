"""Downloads against a server of the test's own: resumed, checked, renamed when whole, one line where there is none."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from leakbench.runtime.download.checksum import find_damage, recorded_sha256
from leakbench.runtime.download.resource import Resource, downloads_folder, fetch, is_offline
from leakbench.runtime.errors import UsageError

BODY = np.random.default_rng(0).bytes(3_000_001)
SHA256, MD5 = hashlib.sha256(BODY).hexdigest(), hashlib.md5(BODY).hexdigest()


class Served:
    """What the server is to do, and what it was asked for: (path, Range header or None)."""

    def __init__(self):
        self.body, self.ranges, self.cuts, self.asked, self.changed = BODY, True, [], [], False
        self.gate = threading.Event()
        self.gate.set()


def handler_of(served):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            wanted = self.headers.get("Range")
            served.asked.append((self.path, wanted))
            served.gate.wait(20)
            if self.path == "/missing":
                return self.send_error(404)
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and served.ranges else 0
            if start and served.changed:
                assert self.headers["If-Unmodified-Since"].endswith("GMT")
                return self.send_error(412)
            if start >= len(served.body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(served.body)}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
            rest = served.body[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(served.body) - 1}/{len(served.body)}")
            self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            self.wfile.write(rest[: served.cuts.pop(0)] if served.cuts else rest)

        def log_message(self, *words):
            pass

    return Handler


@contextmanager
def serving():
    served = Served()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(served))
    served.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def served(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as served:
        yield served


def resource(*urls, **hashes):
    return Resource(name="thing", file="thing.bin", urls=urls, **(hashes or {"sha256": SHA256}))


def refused(wanted, folder, *words):
    with pytest.raises(UsageError) as caught:
        fetch(wanted, folder)
    message = str(caught.value)
    assert "\n" not in message
    for word in ("thing.bin", str(folder), wanted.urls[0], *words):
        assert word in message, message
    return message


@pytest.mark.parametrize("hashes", [{"sha256": SHA256}, {"sha256": SHA256[:8].upper()}, {"md5": MD5}])
def test_a_file_is_fetched_once(served, tmp_path, hashes):
    wanted, told = resource(f"{served.url}/thing", **hashes), []
    path = fetch(wanted, tmp_path / "new", lambda here, total: told.append((here, total)))
    assert path.read_bytes() == BODY
    assert sorted(p.name for p in path.parent.iterdir()) == ["thing.bin", "thing.bin.sha256"]
    assert told[-1] == (len(BODY), len(BODY)) and [here for here, _ in told] == sorted(here for here, _ in told)
    assert fetch(wanted, tmp_path / "new") == path
    assert len(served.asked) == 1


def test_the_note_is_one_that_sha256sum_reads(served, tmp_path):
    path = fetch(resource(f"{served.url}/thing"), tmp_path)
    assert recorded_sha256(path) == SHA256
    done = subprocess.run(["sha256sum", "-c", "thing.bin.sha256"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "thing.bin: OK\n"


@pytest.mark.parametrize("ranges", [True, False])
def test_what_is_there_is_not_asked_for_again(served, tmp_path, ranges):
    served.ranges = ranges
    (tmp_path / "thing.bin.part").write_bytes(BODY[:1_000_000])
    assert fetch(resource(f"{served.url}/thing"), tmp_path).read_bytes() == BODY
    assert served.asked == [("/thing", "bytes=1000000-")]


def test_a_cut_connection_is_taken_up_again(served, tmp_path):
    served.cuts = [1_500_000, 700_000]
    assert fetch(resource(f"{served.url}/thing"), tmp_path).read_bytes() == BODY
    assert served.asked == [("/thing", None), ("/thing", "bytes=1500000-"), ("/thing", "bytes=2200000-")]


def test_a_connection_that_never_holds_is_an_error_and_keeps_what_came(served, tmp_path):
    served.cuts = [1000] * 100
    refused(resource(f"{served.url}/thing"), tmp_path, "broke off")
    part = tmp_path / "thing.bin.part"
    assert 1000 < part.stat().st_size < 100_000 and BODY.startswith(part.read_bytes())
    served.cuts = []
    assert fetch(resource(f"{served.url}/thing"), tmp_path).read_bytes() == BODY
    assert not part.exists()


def test_a_whole_part_only_lacks_its_name(served, tmp_path):
    (tmp_path / "thing.bin.part").write_bytes(BODY)
    assert fetch(resource(f"{served.url}/thing"), tmp_path).read_bytes() == BODY


@pytest.mark.parametrize("rest", [BODY + b"more", b"of another file" * 100])
def test_a_part_of_another_file_is_started_again(served, tmp_path, rest):
    served.changed = len(rest) < len(BODY)
    (tmp_path / "thing.bin.part").write_bytes(rest)
    assert fetch(resource(f"{served.url}/thing"), tmp_path).read_bytes() == BODY


@pytest.mark.parametrize("hashes", [{"sha256": "0" * 64}, {"sha256": "00000000"}, {"md5": "1" * 32}])
def test_a_wrong_checksum_deletes_and_says_both(served, tmp_path, hashes):
    ((kind, digits),) = hashes.items()
    found = SHA256 if kind == "sha256" else MD5
    refused(resource(f"{served.url}/thing", **hashes), tmp_path / "new", digits, found, "deleted")
    assert list((tmp_path / "new").iterdir()) == []


def test_mirrors_are_tried_in_order(served, tmp_path):
    wanted = resource(f"{served.url}/missing", f"{served.url}/thing", f"{served.url}/never")
    assert fetch(wanted, tmp_path).read_bytes() == BODY
    assert [path for path, _ in served.asked] == ["/missing", "/thing"]


def test_an_address_without_the_file_is_one_line(served, tmp_path):
    refused(resource(f"{served.url}/missing"), tmp_path / "new", "HTTP 404")
    assert list((tmp_path / "new").iterdir()) == []


def test_no_network_is_one_line(monkeypatch, tmp_path):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as gone:
        pass
    refused(resource(f"{gone.url}/thing"), tmp_path, "refused")


def test_offline_asks_nobody(served, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert is_offline()
    refused(resource(f"{served.url}/thing"), tmp_path, "--offline")
    (tmp_path / "thing.bin").write_bytes(BODY)
    assert fetch(resource(f"{served.url}/thing"), tmp_path) == tmp_path / "thing.bin"
    (tmp_path / "thing.bin").write_bytes(BODY[:-1])
    refused(resource(f"{served.url}/thing"), tmp_path, SHA256)
    assert (tmp_path / "thing.bin").stat().st_size == len(BODY) - 1, "what somebody put there is not ours to delete"
    assert served.asked == []


def test_a_damaged_file_is_named_and_fetched_again(served, tmp_path, capsys):
    path = fetch(resource(f"{served.url}/thing"), tmp_path)
    path.write_bytes(BODY[:-1] + bytes([BODY[-1] ^ 1]))
    os.utime(path, (0, 0))  # an old date does not hide it
    assert fetch(resource(f"{served.url}/thing"), tmp_path).read_bytes() == BODY
    assert str(path) in capsys.readouterr().err


def test_without_a_published_hash_the_first_one_counts(served, tmp_path):
    wanted = Resource(name="thing", file="thing.bin", urls=(f"{served.url}/thing",))
    path = fetch(wanted, tmp_path)
    assert recorded_sha256(path) == SHA256 and wanted.find_damage(path) is None
    path.unlink()
    served.body = BODY[::-1]
    refused(wanted, tmp_path, SHA256, hashlib.sha256(served.body).hexdigest(), "first download")
    assert not path.exists()


def test_a_folder_that_cannot_be_written_to_is_one_line(served, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"thing: the folder .*cannot be written to"):
        fetch(resource(f"{served.url}/thing"), tmp_path / "file" / "folder")


def test_two_processes_share_one_download(served, tmp_path):
    code = f"""
from pathlib import Path
from leakbench.runtime.download.resource import Resource, fetch
fetch(Resource(name="thing", file="thing.bin", urls=("{served.url}/thing",)), Path({str(tmp_path / "new")!r}))
"""
    served.gate.clear()
    both = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    while not served.asked:
        time.sleep(0.01)
    time.sleep(0.5)  # time for the other one to ask as well, if it would
    served.gate.set()
    assert [process.wait(60) for process in both] == [0, 0]
    assert len(served.asked) == 1
    assert (tmp_path / "new" / "thing.bin").read_bytes() == BODY
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["thing.bin", "thing.bin.sha256"]


def test_downloads_lie_in_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("LEAKBENCH_CACHE", str(tmp_path))
    assert downloads_folder() == tmp_path / "downloads"


def test_a_file_that_was_changed_while_the_clock_was_set_back_is_hashed_again(tmp_path):
    """Its time of last change lies before that of its hash."""
    path, note = tmp_path / "file.bin", tmp_path / "file.bin.sha256"
    path.write_bytes(b"first")
    assert find_damage(path, hashlib.sha256(b"first").hexdigest(), None) is None
    path.write_bytes(b"other")
    os.utime(note, ns=(2**62, 2**62))
    assert "not " + hashlib.sha256(b"first").hexdigest() in find_damage(
        path, hashlib.sha256(b"first").hexdigest(), None
    )
