"""Questions to a server of this process: retries, waits, counts, budgets, faults; and answers that are kept."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from http.client import HTTPConnection

import numpy as np
import pytest

from leakbench.models.hosted import client, http
from leakbench.models.hosted.client import ServiceFault
from leakbench.models.hosted.endpoint import Endpoint
from leakbench.models.hosted.ledger import BudgetSpent
from leakbench.models.hosted.plan import describe_calls
from leakbench.models.hosted.question import Question
from leakbench.models.hosted.service import Service

SHAPE = (1, 8, 8)
PICTURE = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)
PNG = {"Content-Type": "image/png"}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(client, "FIRST_WAIT", 0.01)


def questions(count, image=None):
    return [Question("", seed, image) for seed in range(count)]


def spent_of(service):
    return service.spent.calls, service.spent.money


def test_answers_come_in_order_and_are_asked_once_in_all(hosting):
    with hosting.serving() as server:
        endpoint = Endpoint(url=server.url, price=0.5)
        asked = [*questions(6), *questions(3)]
        first = Service(endpoint).ask(asked, SHAPE)
        wanted = [hosting.noise({"seed": one.seed})[..., None] for one in asked]
        assert (first == np.stack(wanted)).all()
        again = Service(endpoint.model_copy(update={"price": 9.0}))
        assert (again.ask(asked, SHAPE) == first).all()
        assert len(server.asked) == 6 and spent_of(again) == (6, 3.0)
        Service(endpoint.model_copy(update={"version": "other"})).ask(questions(1), SHAPE)
        assert len(server.asked) == 7


def test_the_body_is_the_template_with_what_is_asked(hosting, monkeypatch):
    monkeypatch.setenv("HOSTED_TOKEN", "tok-123")
    body = {"text": "a photo, {prompt}", "n": 1, "more": {"seed": "{seed}", "init": "{image}", "far": ["{strength}"]}}
    with hosting.serving(lambda asked, number: (200, PNG, hosting.png(PICTURE[..., 0]))) as server:
        endpoint = Endpoint(url=server.url, body=body, headers={"X-Api-Key": "k ${HOSTED_TOKEN}"})
        service = Service(endpoint)
        service.ask([Question("{seed} cats", 7)], SHAPE)
        service.ask([Question("cats", 8, PICTURE, 0.2)], SHAPE)
    assert server.asked[0] == {"text": "a photo, {seed} cats", "n": 1, "more": {"seed": 7, "far": []}}
    sent = server.asked[1]["more"]
    assert sent["far"] == [0.2] and (hosting.levels_of({"image": sent["init"]}) == PICTURE[..., 0]).all()
    assert server.headers[0]["X-Api-Key"] == "k tok-123"


def test_it_tries_again_after_429_and_500_and_counts_what_was_not_refused(hosting):
    def respond(asked, number):
        if number == 1:
            return 429, {"Retry-After": "0"}, b""
        return (500, {}, b"down") if number == 2 else (200, PNG, hosting.png(hosting.noise(asked)))

    with hosting.serving(respond) as server:
        service = Service(Endpoint(url=server.url, price=1.0))
        service.ask(questions(1), SHAPE)
    assert len(server.asked) == 3 and spent_of(service) == (2, 2.0)


@pytest.mark.parametrize("asked_for", ["1", "date"])
def test_it_waits_as_long_as_the_service_says(hosting, asked_for):
    from email.utils import formatdate

    def respond(asked, number):
        after = "1" if asked_for == "1" else formatdate(time.time() + 2, usegmt=True)  # a date has whole seconds
        return (503, {"Retry-After": after}, b"") if number == 1 else (200, PNG, hosting.png(hosting.noise(asked)))

    with hosting.serving(respond) as server:
        began = time.monotonic()
        Service(Endpoint(url=server.url)).ask(questions(1), SHAPE)
    assert time.monotonic() - began > 0.9


JSON = {"Content-Type": "application/json"}
WRONG = {
    "no image": (
        (200, {"Content-Type": "text/html"}, b"<html>"),
        "neither an image nor JSON .6 bytes, said to be text/h",
    ),
    "garbage": ((200, PNG, b"\x89PNG\r\n\x1a\ngarbage"), "15 bytes that are no image"),
    "another key": ((200, JSON, b'{"images": []}'), "there is no 'image'; its keys are images"),
    "an address": ((200, JSON, b'{"image": "file:///etc/passwd"}'), "an address, which is not followed"),
    "no text": ((200, JSON, b'{"image": 5}'), "is int, and not an image in base64"),
    "no base64": ((200, JSON, b'{"image": "***"}'), "is not base64"),
    "a redirect": ((302, {"Location": "file:///etc/passwd"}, b""), "redirects are not followed"),
    "refused": ((403, {}, b"no such key: tok-123\x1b[31m"), r"status 403 \(no such key: \*\*\*\\x1b"),
    "too long a wait": ((429, {"Retry-After": "90000"}, b""), "to be left alone for 90000 s"),
    "always down": ((500, {}, b"oh"), r"status 500 \(oh\); asked 5 times"),
}


@pytest.mark.parametrize("case", WRONG)
def test_each_fault_is_one_line_that_names_the_service(hosting, monkeypatch, case):
    monkeypatch.setenv("HOSTED_TOKEN", "tok-123")
    reply, words = WRONG[case]
    with hosting.serving(lambda asked, number: reply) as server:
        service = Service(Endpoint(url=server.url, headers={"Authorization": "Bearer ${HOSTED_TOKEN}"}))
        with pytest.raises(ServiceFault, match=words) as fault:
            service.ask(questions(1), SHAPE)
        count = len(server.asked)
        with pytest.raises(ServiceFault):  # and nobody waits for it again
            service.ask(questions(1), SHAPE)
    assert str(fault.value).startswith("127.0.0.1:") and str(fault.value).isprintable()
    assert len(server.asked) == count == (5 if case == "always down" else 1)
    assert spent_of(service)[0] == (0 if case == "too long a wait" else count)


def test_an_image_of_another_size_says_what_would_be_right(hosting):
    with hosting.serving(lambda asked, number: (200, PNG, hosting.png(hosting.noise(asked, 16)))) as server:
        service = Service(Endpoint(url=server.url))
        with pytest.raises(
            ServiceFault, match=r"images of 16x16 .*, and members are 8x8: --size 16, or have it answer"
        ):
            service.ask(questions(1), SHAPE)


def test_grey_and_colour_become_what_the_members_are(hosting):
    colour = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    with hosting.serving(
        lambda asked, number: (200, PNG, hosting.png(colour if asked["seed"] else PICTURE[..., 0]))
    ) as it:
        service = Service(Endpoint(url=it.url))
        rgb = service.ask(questions(2), (3, 8, 8))
        assert (rgb[0] == PICTURE).all() and (rgb[1] == colour).all()
        again = Service(Endpoint(url=it.url, version="grey")).ask(questions(2), SHAPE)
    luma = np.rint(colour @ [0.299, 0.587, 0.114])[..., None]
    assert (again[0] == PICTURE).all() and np.abs(again[1] - luma).max() <= 1


def test_json_in_base64_and_data_urls_are_read(hosting):
    def respond(asked, number):
        text = base64.b64encode(hosting.png(hosting.noise(asked))).decode()
        return (
            200,
            JSON,
            json.dumps({"data": [{"b64": ("data:image/png;base64," if number % 2 else "") + text}]}).encode(),
        )

    with hosting.serving(respond) as server:
        found = Service(Endpoint(url=server.url, answer="data.0.b64")).ask(questions(2), SHAPE)
    assert (found[1, ..., 0] == hosting.noise({"seed": 1})).all()


def test_slow_answers_and_large_ones_are_given_up(hosting, monkeypatch):
    gone = threading.Event()

    def drip(asked, number):
        gone.wait(5)
        return 200, PNG, b""

    monkeypatch.setattr(client, "TRIES", 2)
    with hosting.serving(drip) as server:
        with pytest.raises(ServiceFault, match=r"no answer within 0\.1 s; asked 2 times"):
            Service(Endpoint(url=server.url, timeout=0.1)).ask(questions(1), SHAPE)
        gone.set()
    monkeypatch.setattr(http, "MOST_BYTES", 2**20)
    for headers, data, words in (
        ({}, b"x" * 2**21, "a broken answer: more than 1 MiB"),
        ({"Content-Length": "99"}, b"x", "1 of 99 bytes, and then the connection ended"),
    ):
        reply = 200, PNG | headers, data
        with (
            hosting.serving(lambda asked, number, reply=reply: reply) as server,
            pytest.raises(ServiceFault, match=words),
        ):
            Service(Endpoint(url=server.url)).ask(questions(1), SHAPE)


@pytest.fixture
def nobody(hosting):
    """An address where nobody listens."""
    with hosting.serving() as server:
        return server.url


@pytest.fixture
def no_handshake():
    """An https address at which the greeting of TLS is not understood."""
    listening = socket.create_server(("127.0.0.1", 0))

    def answer():
        with suppress(OSError):  # closed
            while True:
                with listening.accept()[0] as line:
                    line.recv(2**12)
                    line.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")

    threading.Thread(target=answer, daemon=True).start()
    yield f"https://127.0.0.1:{listening.getsockname()[1]}/"
    listening.close()


UNREACHED = {"nobody": "Connection refused", "no_handshake": "SSL", "http://a..b/": "label"}


@pytest.mark.parametrize("where", UNREACHED)
def test_a_request_that_was_not_sent_costs_nothing_and_is_said_in_words(request, capsys, where):
    url = where if "://" in where else request.getfixturevalue(where)
    service = Service(Endpoint(url=url, price=0.04, most_calls=10))
    with pytest.raises(ServiceFault, match=rf"cannot be reached \(.*{UNREACHED[where]}.*\); asked 5 times"):
        service.ask(questions(4), SHAPE)
    assert spent_of(service) == (0, 0.0)
    assert "cannot be reached" in capsys.readouterr().err


def test_connecting_has_a_shorter_time_than_the_answer(hosting, monkeypatch):
    times, connect, request = [], HTTPConnection.connect, HTTPConnection.request
    monkeypatch.setattr(HTTPConnection, "connect", lambda line: (times.append(line.timeout), connect(line)))
    monkeypatch.setattr(
        HTTPConnection, "request", lambda line, *given: (times.append(line.sock.gettimeout()), request(line, *given))
    )
    with hosting.serving() as server:
        for timeout in (120.0, 4.0):
            Service(Endpoint(url=server.url, timeout=timeout, version=str(timeout))).ask(questions(1), SHAPE)
    assert times == [10.0, 120.0, 4.0, 4.0]


def test_before_each_wait_a_line_says_why(hosting, monkeypatch, capsys):
    monkeypatch.setenv("HOSTED_TOKEN", "tok-123")

    def respond(asked, number):
        return (503, {"Retry-After": "0"}, b"no tok-123") if number < 3 else (200, PNG, hosting.png(PICTURE[..., 0]))

    with hosting.serving(respond) as server:
        endpoint = Endpoint(url=server.url, headers={"X-Api-Key": "${HOSTED_TOKEN}"})
        Service(endpoint).ask(questions(1), SHAPE)
    line = f"leakbench: {endpoint.name}: answers status 503 (no ***); asked again in 0 s\n"
    assert capsys.readouterr().err == 2 * line


SECRET = "sk-" + "0123456789" * 6
ACROSS = {  # replies in which the end of what is shown lies within the secret
    "text": (403, {}, b"x" * 190 + SECRET.encode()),
    "text after spaces": (403, {}, b"x" * 100 + b" " * 690 + SECRET.encode()),
    "place": (302, {"Location": "/" + "x" * 190 + SECRET}, b""),
    "key": (200, {"Content-Type": "application/json"}, json.dumps({SECRET: 1}).encode()),
}


@pytest.mark.parametrize("case", ACROSS)
def test_no_half_of_a_secret_stays_where_a_message_is_cut(hosting, monkeypatch, case):
    monkeypatch.setenv("HOSTED_TOKEN", SECRET)
    with hosting.serving(lambda asked, number: ACROSS[case]) as server:
        service = Service(Endpoint(url=server.url, headers={"Authorization": "Bearer ${HOSTED_TOKEN}"}))
        with pytest.raises(ServiceFault) as fault:
            service.ask(questions(1), SHAPE)
    assert "sk-" not in str(fault.value) and "***" in str(fault.value)


def test_a_secret_that_begins_as_another_does_is_cut_out_whole(monkeypatch):
    for number in range(6):
        monkeypatch.setenv(f"TOKEN_{number}", "sk-" + "0123456789"[: 4 + number])
    endpoint = Endpoint(url="https://localhost/", headers={f"X-{one}": f"${{TOKEN_{one}}}" for one in range(6)})
    assert endpoint.cut_out("no sk-012345678") == "no ***"


@pytest.mark.parametrize("limit", [{"most_calls": 5}, {"most_money": 1.3}])
def test_a_budget_stops_and_goes_on_when_it_is_raised(hosting, limit):
    with hosting.serving() as server:
        endpoint = Endpoint(url=server.url, price=0.25, **limit)
        assert "allows 5 more calls" in describe_calls(endpoint, 12)[1]
        with pytest.raises(BudgetSpent, match=r"most_.* spent.*run the same command to go on"):
            Service(endpoint).ask(questions(12), SHAPE)
        assert len(server.asked) == 5
        raised = endpoint.model_copy(update={"most_calls": None, "most_money": 3.0})
        assert "5 answers are kept, and 5 calls were made for 1.25" in describe_calls(raised, 12)[0]
        Service(raised).ask(questions(12), SHAPE)
        assert sorted(one["seed"] for one in server.asked) == list(range(12))
    assert spent_of(Service(raised)) == (12, 3.0)


def test_calls_keep_to_their_rate(hosting):
    with hosting.serving() as server:
        began = time.monotonic()
        Service(Endpoint(url=server.url, calls_per_minute=1200)).ask(questions(9), SHAPE)
    assert time.monotonic() - began >= 8 * 60 / 1200


ASK = """
import sys
from leakbench.models.hosted.endpoint import Endpoint
from leakbench.models.hosted.question import Question
from leakbench.models.hosted.service import Service
service = Service(Endpoint(url=sys.argv[1]))
service.ask([Question("", seed) for seed in range(60)], (1, 8, 8))
"""


def test_a_killed_process_goes_on_where_it_was(hosting):
    ready = threading.Event()

    def respond(asked, number):
        if number == 20:
            ready.set()
            time.sleep(30)
        return 200, PNG, hosting.png(hosting.noise(asked))

    with hosting.serving(respond) as server:
        asking = subprocess.Popen([sys.executable, "-c", ASK, server.url], env=os.environ)
        assert ready.wait(60)
        asking.send_signal(signal.SIGKILL)
        asking.wait()
        service = Service(Endpoint(url=server.url))
        kept = {one.seed for one in questions(60) if service.answers.get(one.key, SHAPE) is not None}
        assert 10 <= len(kept) < 60 and len(kept) <= service.spent.calls <= len(kept) + 4
        found = service.ask(questions(60), SHAPE)
    assert (found[59, ..., 0] == hosting.noise({"seed": 59})).all()
    times = Counter(one["seed"] for one in server.asked)  # four were under way, and may have been heard
    assert all(times[seed] == 1 for seed in kept) and set(times) == set(range(60)) and times.total() <= 64


def test_a_damaged_answer_is_asked_for_again(hosting):
    with hosting.serving() as server:
        service = Service(Endpoint(url=server.url))
        service.ask(questions(2), SHAPE)
        path = next(service.answers.folder.glob("??/*.png"))
        path.write_bytes(path.read_bytes()[:40])
        service.ask(questions(2), SHAPE)
    assert len(server.asked) == 3
    assert service.answers.folder.stat().st_mode & 0o077 == 0
