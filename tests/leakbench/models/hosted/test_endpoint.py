"""Descriptions of endpoints: what is read, what is refused in one line, and what makes two of them one."""

import re
from pathlib import Path

import pytest

from leakbench.models.hosted.endpoint import Endpoint, endpoint_title, read_endpoint
from leakbench.runtime.errors import UsageError

FULL = """
url = "https://api.example.com/v1/images?version=3"
method = "PUT"
headers = { Authorization = "Bearer ${EXAMPLE_TOKEN}", Accept = "application/json" }
answer = "data.0.b64_json"
price = 0.04
calls_per_minute = 60
most_calls = 5000
most_money = 20
timeout = 30

[body]
prompt = "a photo, {prompt}"
steps = 30
options = { seed = "{seed}", strength = "{strength}" }
"""


def read(tmp_path, text):
    path = tmp_path / "service.toml"
    path.write_text(text)
    return read_endpoint(str(path))


def test_a_file_is_read_and_a_bare_address_has_the_plain_body(tmp_path):
    found = read(tmp_path, FULL)
    assert found.name == "api.example.com/v1/images" and found.most_money == 20
    assert [found.takes(one) for one in ("prompt", "seed", "image", "strength")] == [True, True, False, True]
    bare = read_endpoint("http://127.0.0.1:8000/generate")
    assert bare.body == {"prompt": "{prompt}", "seed": "{seed}", "image": "{image}"}
    assert endpoint_title("http://127.0.0.1:8000/generate") == "127.0.0.1:8000/generate"
    assert endpoint_title(str(tmp_path / "service.toml")) == "service"


def test_the_example_of_the_docs_is_read_and_its_keys_are_those_there_are(tmp_path):
    page = (Path(__file__).parents[4] / "docs" / "hosted.md").read_text()
    found = read(tmp_path, re.search(r"^```toml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)[1])
    assert found.takes("strength") and found.most_money == 20
    rows = re.search(r"^\| key .*?\n\n", page, re.DOTALL | re.MULTILINE)[0]
    named = re.findall(r"`(\w+)`", " ".join(line.split("|")[1] for line in rows.splitlines()[2:] if line))
    assert sorted(named) == sorted(Endpoint.model_fields)


def test_price_and_limits_ask_nothing_anew_and_all_else_does(tmp_path):
    known = read(tmp_path, FULL).key
    same = FULL.replace("0.04", "0.05").replace("5000", "9000").replace("= 60", "= 6").replace("= 30\n\n", "= 9\n\n")
    assert read(tmp_path, same).key == known
    for old, new in {
        "v1": "v2",
        "steps = 30": "steps = 31",
        "data.0": "data.1",
        "price": 'version = "b"\nprice',
    }.items():
        assert read(tmp_path, FULL.replace(old, new)).key != known


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("https://", "file:///"), "begins with http:// or https://"),
        (("https://", "https://me:secret@"), "without user and password"),
        (("https://", "http://"), "https://, as a secret travels"),
        (
            ("Bearer ${EXAMPLE_TOKEN}", "Bearer sk-123"),
            r'no secret: write Authorization = "... \${NAME}", where NAME is an environment variable',
        ),
        (("Accept", "Content-Length"), "no header Content-Length"),
        (("a photo, {prompt}", "a photo"), "a body that asks something"),
        (("a photo, {prompt}", "{promt}"), r"a body that asks something: .* or both; {promt} is neither"),
        (('"PUT"', '"GET"'), "POST or PUT"),
        (("steps = 30", "steps = nan"), "a body of what JSON has"),
        (("price = 0.04", "price = 0"), "most_money beside a `price`"),
        (("most_calls = 5000", "most_calls = 0"), "most_calls = 0"),
        (("timeout = 30", "time_out = 30"), "did you mean 'timeout'"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line_that_names_it(tmp_path, change, words):
    assert change[0] in FULL
    with pytest.raises(UsageError, match=words) as refused:
        read(tmp_path, FULL.replace(*change))
    assert "service.toml" in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("tail", ["?key=hunter2", "#hunter2", "@hunter2"])
def test_what_is_typed_may_hold_no_secret(tail):
    with pytest.raises(UsageError, match="write it as `url` into a TOML file") as refused:
        read_endpoint(f"https://api.example.com/v1{tail}")
    assert "hunter2" not in str(refused.value)


def test_a_secret_that_is_not_set_is_named(monkeypatch):
    endpoint = Endpoint(url="https://a.example/x", headers={"X-Api-Key": "${NO_SUCH_TOKEN}"})
    with pytest.raises(UsageError, match="the environment variable NO_SUCH_TOKEN is not set"):
        endpoint.check_secrets()
    monkeypatch.setenv("NO_SUCH_TOKEN", "two\nlines")
    with pytest.raises(UsageError, match="no printable line"):
        endpoint.check_secrets()
