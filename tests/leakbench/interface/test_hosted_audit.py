"""Audits of hosted models: by an address, and a function of one's own."""

import json

import numpy as np
import pytest
from PIL import Image

import leakbench as lb
from leakbench.runner import run_log
from leakbench.runtime.errors import UsageError

MEMBERS, NONMEMBERS = 40, 60
SCORED = 80  # of each side a part of 20 is left for calibration, and of nonmembers another for reference


@pytest.fixture
def folders(tmp_path):
    """Folders of 8x8 pictures, each with a caption beside it."""
    pictures = np.random.default_rng(0).integers(0, 256, (MEMBERS + NONMEMBERS, 8, 8), dtype=np.uint8)
    sides = {"members": pictures[:MEMBERS], "nonmembers": pictures[MEMBERS:]}
    for side, images in sides.items():
        (tmp_path / side).mkdir()
        for number, image in enumerate(images):
            Image.fromarray(image).save(tmp_path / side / f"{number:03}.png")
            word = hex((number * 7919 + 13 * (side == "members")) % 65521)
            (tmp_path / side / f"{number:03}.txt").write_text(f"picture {word}")
    return tmp_path


@pytest.fixture
def remembered(folders):
    """The member's picture, by its caption."""
    return {path.with_suffix(".txt").read_text(): path for path in (folders / "members").glob("*.png")}


@pytest.fixture
def one_thread():
    import torch

    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_an_endpoint_that_knows_its_captions_is_found_out_and_asked_once(
    hosting, folders, remembered, leakbench, monkeypatch
):
    """It draws a member's picture under its caption, and noise under any other."""
    monkeypatch.setenv("HOSTED_TOKEN", "hunter2")

    def respond(asked, number):
        path = remembered.get(asked["prompt"])
        picture = hosting.noise(asked) if path is None else np.asarray(Image.open(path))
        return 200, {"Content-Type": "image/png"}, hosting.png(picture)

    with hosting.serving(respond) as server:
        table = f"""
            url = "{server.url}"
            headers = {{ Authorization = "Bearer ${{HOSTED_TOKEN}}" }}
            body = {{ prompt = "{{prompt}}", seed = "{{seed}}" }}
            price = 0.5
            most_calls = 100
        """
        (folders / "service.toml").write_text(table)
        command = ["audit", "--endpoint", folders / "service.toml", "--members", folders / "members"]
        command += ["--nonmembers", folders / "nonmembers", "--captions", "txt", "--out", folders / "run"]
        command += ["--attacks", "reconstruction,rediffuse,blind", "--workers", 1, "--set", "quality.samples=20"]
        plan = leakbench(*command, "--plan")
        count = 20 + 3 * SCORED
        assert f"at most {count} calls, price {count / 2:.2f} at 0.5 a call; 0 answers are kept" in plan.out
        assert "its budget allows 100 more calls" in plan.out and not server.asked
        stopped = leakbench(*command)
        assert stopped.code == 1 and "most_calls = 100 are spent" in stopped.err and len(server.asked) == 100
        assert "s  model, seed 0: failed\n" in stopped.out
        (folders / "service.toml").write_text(table.replace("= 100", "= 1000"))
        done = leakbench(*command, formats=("csv", "md"))
        assert done.code == 0, done.err
        assert len(server.asked) == count and {"prompt", "seed"} == set(server.asked[0])
    results = lb.load(folders / "run")
    assert results.metric("model", "reconstruction", "auc").value > 0.99
    report = (folders / "run" / "report.md").read_text()
    assert f"{count} calls so far, price {count / 2:.2f}, at 0.5 a call" in report
    assert "| model | reconstruction | 3 |" in report and "the service takes no image to vary" in report
    for path in folders.rglob("*"):
        assert not path.is_file() or b"hunter2" not in path.read_bytes(), path


def test_a_function_is_asked_like_any_service(folders, one_thread, monkeypatch):
    """It gives back members as they are, and blurs all else; it has a parameter `strength`, and is told it."""
    members = {np.asarray(Image.open(path)).tobytes() for path in (folders / "members").glob("*.png")}
    asked = []

    def draw(prompt, seed, image, strength=None):
        asked.append((prompt, seed, image is None, strength))
        if image is None:
            return np.random.default_rng(seed).random((8, 8))
        return image if image.tobytes() in members else image // 2

    def audit():
        asked.clear()
        options = {"attacks": "rediffuse", "settings": ["quality.samples=20", "attack.rediffuse.draws=2"], "workers": 1}
        return lb.audit(draw, folders / "members", folders / "nonmembers", out=folders / "run", **options)

    monkeypatch.setattr(run_log, "FORMATS", ("csv",))
    found = audit()
    assert found.metric("model", "rediffuse", "auc").value == 1
    assert len(asked) == 2 + 20 + 2 * SCORED and {one[3] for one in asked if not one[2]} == {0.2}
    facts = [json.loads(path.read_text()) for path in (folders / "run" / "records").glob("*.json")]
    assert max(one["run"]["calls"].get("service_calls", 0) for one in facts) == 20 + 2 * SCORED
    audit()
    assert [one[:2] for one in asked] == [("", 0)] * 2  # asked who it is, and nothing else


FAULTY = {
    "no image": (lambda prompt, seed, image: "x", "the function failed (UsageError: the function answered str"),
    "two parameters": (lambda prompt, seed: None, "the function failed (TypeError: "),
    "raises": (lambda prompt, seed, image: [][seed], "the function failed (IndexError: list index out of range, line "),
    "another size": (lambda prompt, seed, image: np.zeros((4, 4)), "4x4"),
    "values": (lambda prompt, seed, image: np.zeros((8, 8)) - 3, "values from -3 to -3: 0 to 1 are wanted"),
}


@pytest.mark.parametrize("kind", FAULTY)
def test_a_faulty_function_is_one_line_before_anything_is_computed(folders, one_thread, kind):
    function, words = FAULTY[kind]
    options = {"attacks": "gan_leaks", "settings": ["quality.samples=20"], "out": folders / "run", "workers": 1}
    with pytest.raises(UsageError) as refused:
        lb.audit(function, folders / "members", folders / "nonmembers", **options)
    assert words in str(refused.value) and "\n" not in str(refused.value)
    assert not list((folders / "run").glob("records/*"))


def test_what_cannot_be_a_hosted_audit_is_refused(folders):
    sides = folders / "members", folders / "nonmembers"
    with pytest.raises(UsageError, match="goes in place of a model, and a function is given"):
        lb.audit(lambda prompt, seed, image: None, *sides, endpoint="http://127.0.0.1:9/x")
    with pytest.raises(UsageError, match="--endpoint URL of a hosted model"):
        lb.audit(None, *sides)
    with pytest.raises(UsageError, match=r"--guidance 3\.0: belongs to a MODEL"):
        lb.audit(None, *sides, endpoint="http://127.0.0.1:9/x", guidance=3.0)
    with pytest.raises(UsageError, match="--attacks loss: needs access DENOISER, and what was given allows API"):
        lb.audit(None, *sides, endpoint="http://127.0.0.1:9/x", attacks="loss")
