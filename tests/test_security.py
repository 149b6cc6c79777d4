"""What SECURITY.md says: no code from data, no network unless asked, every word of a stranger shown as letters."""

from __future__ import annotations

import ast
import re
import socket
from functools import cache
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
SOURCES = [
    p for room in ("leakbench", "attacks", "defenses", "reports", "benchmarks") for p in (ROOT / room).rglob("*.py")
]

PICKLE = {  # what may unpickle, and why: bytes that the run's own processes wrote
    "leakbench/runtime/distributed.py": {"pickle.loads"},  # between the ranks of torchrun
    "leakbench/runner/executors/transport.py": {"pickle.loads"},  # from the command to the nodes of its Ray cluster
    "leakbench/runner/executors/ray_task.py": {"pickle.loads"},
}
NEVER = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "os.system",
    "os.popen",
    "yaml.load",
    "yaml.unsafe_load",
    "marshal.loads",
}
NEVER |= {"joblib.load", "shelve.open", "dill.loads", "dill.load", "cloudpickle.loads", "cloudpickle.load"}
NEVER |= {"pickle.load", "pickle.loads", "pickle.Unpickler", "pandas.read_pickle", "pd.read_pickle"}


@cache
def calls(path):
    """(dotted name, call) of every call in a file."""
    found = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    return [(ast.unparse(node.func), node) for node in found]


def keyword(call, name):
    """The value of a keyword as it is written; None where it is not given."""
    return next((ast.unparse(one.value) for one in call.keywords if one.arg == name), None)


def test_nothing_is_unpickled_evaluated_or_run_but_what_is_listed():
    found = {}
    for path in SOURCES:
        for name, _ in calls(path):
            if name in NEVER:
                found.setdefault(str(path.relative_to(ROOT)), set()).add(name)
    assert found == PICKLE


def test_weights_are_loaded_as_tensors_alone_unless_their_user_says_trust_pickle():
    found = {}
    for path in SOURCES:
        for name, call in calls(path):
            if name == "torch.load":
                found.setdefault(keyword(call, "weights_only"), []).append(path.name)
    assert set(found) == {"True", "not trust_pickle"} and found["not trust_pickle"] == ["pickles.py"]


def test_arrays_are_loaded_without_pickle():
    for path in SOURCES:
        for name, call in calls(path):
            if name in ("np.load", "numpy.load", "np.lib.format.read_array"):
                assert keyword(call, "allow_pickle") in (None, "False"), path  # numpy's default is False
            if name.rpartition(".")[2] in ("savez", "savez_compressed", "save") and name.startswith("np."):
                assert keyword(call, "allow_pickle") != "True", path


def test_torchscript_and_code_of_models_run_only_where_their_user_says_so():
    scripts = {str(p.relative_to(ROOT)) for p in SOURCES for name, _ in calls(p) if name == "torch.jit.load"}
    assert scripts <= {"leakbench/metrics/features.py"}  # torchscript:PATH, which a suite's author writes
    trusting = {
        str(p.relative_to(ROOT))
        for p in SOURCES
        for _, call in calls(p)
        if keyword(call, "trust_remote_code") not in (None, "False")
    }
    assert trusting == {"leakbench/models/pretrained/inspect.py"}  # under --trust-code


def test_no_shell_is_started():
    for path in SOURCES:
        for name, call in calls(path):
            assert keyword(call, "shell") in (None, "False"), path
            if name.startswith("subprocess."):
                assert not isinstance(call.args[0], ast.Constant | ast.JoinedStr), path


def test_archives_are_never_unpacked_by_their_own_names():
    assert not [
        path for path in SOURCES for name, _ in calls(path) if name.rpartition(".")[2] in ("extractall", "extract")
    ]


def test_what_is_downloaded_comes_by_https_or_has_its_hash_in_the_code():
    plain = {p.name for p in SOURCES if re.search(r'"http://[^"]+"', p.read_text())}
    assert plain == {"fashion_mnist.py", "served_callable.py"}  # the latter: this computer's own address
    for path in SOURCES:
        for name, call in calls(path):
            if name == "Resource" and path.name in plain:
                assert keyword(call, "sha256") or keyword(call, "md5"), path


@pytest.fixture
def no_network(monkeypatch):
    """Whoever asks for a connection or an address fails the test, and is told so."""

    def refuse(*words, **_):
        asked.append(words[1:] or words)
        raise OSError("the network is blocked")

    asked = []
    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("create_connection", "getaddrinfo", "gethostbyname"):
        monkeypatch.setattr(socket, name, refuse)
    return asked


def test_a_run_offline_asks_for_no_connection(tiny, tmp_path, leakbench, trained, no_network, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")  # which --offline changes
    outcome = leakbench("--offline", "run", tiny, "--out", tmp_path / "run", "--workers", 1, formats=("csv", "md"))
    assert outcome.code == 0, outcome.err
    for words in (("report", tmp_path / "run", "--format", "terminal,html"), ("why", tmp_path / "run")):
        assert leakbench("--offline", *words).code == 0
    assert not no_network


def test_an_audit_offline_asks_for_no_connection(tmp_path, leakbench, pipelines, no_network, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")  # which --offline changes
    pipelines.tiny().save_pretrained(tmp_path / "model")
    draw = np.random.default_rng(0)
    for side in ("members", "nonmembers"):
        np.savez(tmp_path / f"{side}.npz", images=draw.integers(0, 256, (80, 8, 8)).astype(np.uint8))
    words = (
        "audit",
        tmp_path / "model",
        "--members",
        tmp_path / "members.npz",
        "--nonmembers",
        tmp_path / "nonmembers.npz",
    )
    more = ("--attacks", "loss", "--set", "quality.samples=20", "--set", "sampler.steps=2", "--workers", 1)
    outcome = leakbench("--offline", *words, *more, "--out", tmp_path / "run")
    assert outcome.code in (0, 3), outcome.err
    assert not no_network


def test_a_model_or_a_data_set_of_the_hub_is_refused_offline_in_one_line(tmp_path, leakbench, no_network, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")  # which --offline changes
    for side in ("members", "nonmembers"):
        np.savez(tmp_path / f"{side}.npz", images=np.zeros((40, 8, 8), np.uint8))
    sides = ("--members", tmp_path / "members.npz", "--nonmembers", tmp_path / "nonmembers.npz")
    outcome = leakbench("--offline", "audit", "google/ddpm-cifar10-32", *sides, "--plan")
    assert outcome.code == 2 and "hub's files cannot be had" in outcome.err
    assert leakbench("--offline", "fetch", "cifar10").code in (1, 2)
    assert not no_network
