"""Random bad input: any of it is taken, or refused in one line, and nothing else happens.

`fuzzed` runs a target on hypothesis's cases, collects the faults by the place where they were raised, and reports each
place once with its smallest case. Every test runs twice: on some cases in each run of the tests, and on 10,000 with
`pytest -m fuzz tests/fuzz` (LEAKBENCH_FUZZ_CASES says another number). Faults that were found stand as cases of their
own in the file of their target, or where what was mended is tested.
"""

from __future__ import annotations

import contextlib
import io
import os
import resource
import signal
import struct
import traceback
import warnings
import zipfile
import zlib
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from leakbench.runtime.errors import UsageError, format_error

FEW, MANY = 25, int(os.environ.get("LEAKBENCH_FUZZ_CASES", "10000"))
SECONDS = 20  # of processor, for one case
MEMORY = 8 * 2**30  # of address space more than before, for one case


def pytest_generate_tests(metafunc):
    if "cases" in metafunc.fixturenames:
        many = pytest.param(MANY, marks=[pytest.mark.fuzz, pytest.mark.slow], id="many")
        metafunc.parametrize("cases", [pytest.param(FEW, id="few"), many])


class TooSlow(BaseException):
    """A case took longer than SECONDS. No Exception, so that nothing catches it by the way."""


def _too_slow(*_):
    raise TooSlow


@contextlib.contextmanager
def _limits():
    """Time and memory of one case; a case that asks for more gets an error instead of the machine."""
    before, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    previous = signal.signal(signal.SIGPROF, _too_slow)
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, hard))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)
        resource.setrlimit(resource.RLIMIT_AS, (before, hard))


def _place(error):
    """Where an error came from: its type, the last line of ours, and the line that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if any(f"/{part}/" in f.filename for part in ("leakbench", "reports", "defenses"))]
    ours = [f for f in ours if "/tests/" not in f.filename and "site-packages" not in f.filename]
    own = f"{ours[-1].filename.rpartition('/')[2]}:{ours[-1].lineno}" if ours else "?"
    last = frames[-1]
    return f"{type(error).__name__} at {own}, raised at {last.filename.rpartition('/')[2]}:{last.lineno}"


def _attempt(target, case, names):
    """Give a case to a target: True where it is taken, False where it is refused. Raises what no user should see."""
    with _limits(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a warning is no traceback; that none is shown is tested elsewhere
        try:
            return target(case) is not False
        except UsageError as error:
            line = format_error(error)
            assert line and line.isprintable(), line
            assert not names or any(name in line for name in names), f"names none of {names}: {line}"
            return False


@pytest.fixture
def fuzzed(cases, capsys):
    """fuzzed(strategy, target, names=()): run a target on so many cases; every refusal names one of `names`."""

    def run(strategy, target, names=(), share=1):
        faults, count, taken = {}, 0, 0

        @settings(
            max_examples=max(1, cases // share),
            deadline=None,
            derandomize=cases == FEW,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(strategy)
        def attempt(case):
            nonlocal count, taken
            count += 1
            capsys.readouterr()
            try:
                taken += _attempt(target, case, names)
                shown = "".join(capsys.readouterr())
                assert shown.replace("\n", "").replace("\r", "").isprintable(), f"printed as it is: {shown!a}"
            except (Exception, TooSlow) as error:
                place, shown = _place(error), repr(case)[:3000]
                number, smallest, said = faults.get(place, (0, shown, str(error)))
                faults[place] = (number + 1, min(smallest, shown, key=len), said)

        attempt()
        if cases != FEW:
            with capsys.disabled():
                name = os.environ["PYTEST_CURRENT_TEST"].partition("::")[2]
                print(f"\n{name}: {count} cases, {taken} of them taken, {len(faults)} kinds of faults")
        words = [f"{n} x {place}: {said[:300]}\n    {case}" for place, (n, case, said) in faults.items()]
        if faults:
            pytest.fail(f"of {count} cases:\n" + "\n".join(words), pytrace=False)

    return run


# Values that nobody expects ---

TEXTS = ["", " ", "\0", "\x1b[31mred", "a\nb", "../../etc/passwd", "/dev/null", "~nobody-here/x", "a" * 5000]
TEXTS += ["\u202eback", "<script>alert(1)</script>", "{{ 7 * 7 }}", "%s%n", "\U0001f600", "é", "e\u0301", "Ⅷ", "\ufffe"]
TEXTS += ["digits", "npz:/nowhere.npz", "npz:\0", "folder:.", "folder:\0", "folder:" + "a" * 300, "npy:", "hf:"]
TEXTS += ["sides:a=b", "torchscript:x", "torchscript:\0", "auto", "none", "label", "nan", "1e999", "-1", "0"]
NUMBERS = [0, -1, 1, 2, 255, 256, 2**15, 2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64, 10**30, 10**400]
NUMBERS += [-(2**63) - 1, 0.0, -0.0, 0.5, 1.5, 1e-320, 1e308, -1e308, 0.9999999999999999]
NUMBERS += [float("nan"), float("inf"), float("-inf")]

texts = st.sampled_from(TEXTS) | st.text(st.characters(blacklist_categories=["Cs"]), max_size=20)
numbers = st.sampled_from(NUMBERS) | st.integers(-(2**70), 2**70) | st.floats()
leaves = st.one_of(numbers, texts, st.booleans())
odd = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=5
)


def paths_in(content, path=()):
    """Every place below the top of tables within lists within tables."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from paths_in(inner, (*path, key))


def copied(content):
    if isinstance(content, dict):
        return {key: copied(value) for key, value in content.items()}
    return [copied(value) for value in content] if isinstance(content, list) else content


def _reached(content, path):
    for step in path:
        content = content[step]
    return content


EDITS = ("value", "value", "value", "delete", "rename", "move", "add", "twice", "wrap")


@st.composite
def edited(draw, content, values=odd):
    """The same tables with one to three changes: other values, keys that are gone, renamed, moved or new."""
    content = copied(content)
    for _ in range(draw(st.integers(1, 3))):
        places = list(paths_in(content))
        if not places:
            return content
        path, how = draw(st.sampled_from(places)), draw(st.sampled_from(EDITS))
        above, key = _reached(content, path[:-1]), path[-1]
        if how == "value":
            above[key] = draw(values)
        elif how == "delete":
            del above[key]
        elif how == "rename" and isinstance(above, dict):
            above[draw(texts)] = above.pop(key)
        elif how == "move":
            above[key] = copied(_reached(content, draw(st.sampled_from(places))))
        elif how == "add" and isinstance(above, dict):
            above[draw(texts)] = draw(values)
        elif how == "twice" and isinstance(above, list):
            above.append(copied(above[key]))
        elif how == "wrap":
            above[key] = draw(st.sampled_from([[above[key]], {"a": above[key]}, {str(key): above[key]}]))
    return content


def quoted(text):
    return '"' + "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in text) + '"'


def written(value):
    """A value as TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(str(k))} = {written(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, str):
        return quoted(value)
    return str(value).lower() if isinstance(value, bool) else repr(value)


def to_toml(table):
    return "\n".join(f"{quoted(key)} = {written(value)}" for key, value in table.items()) + "\n"


@st.composite
def damaged(draw, data):
    """Bytes with one to four changes: flipped, overwritten, cut off, left out, put in, repeated."""
    data = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        how = draw(st.sampled_from(("flip", "flip", "over", "number", "cut", "out", "in", "repeat")))
        if how == "flip" and data:
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "over":
            new = draw(st.binary(min_size=1, max_size=8))
            data[at : at + len(new)] = new
        elif how == "number":
            new = struct.pack("<Q", draw(st.sampled_from([0, 1, 255, 2**16 - 1, 2**31, 2**32 - 1, 2**40, 2**64 - 1])))
            size = draw(st.sampled_from((2, 4, 8)))
            data[at : at + size] = new[:size]
        elif how == "cut":
            del data[at:]
        elif how == "out":
            del data[at : at + draw(st.integers(1, 64))]
        elif how == "in":
            data[at:at] = draw(st.binary(max_size=16))
        else:
            data[at:at] = data[at : at + draw(st.integers(1, 64))]
    return bytes(data)


@st.composite
def damaged_text(draw, text):
    """Text with one to four changes, in UTF-8 and perhaps not."""
    words = text
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(words)))
        piece = draw(
            st.sampled_from(["", "\0", "[", "]]", '"', "'''", "=", "\n", "\r", "#", ".", ",", "{", "}", "nan"]) | texts
        )
        words = words[:at] + piece + words[at + draw(st.integers(0, 6)) :]
    data = words.encode("utf-8", "surrogatepass")
    return draw(damaged(data)) if draw(st.integers(0, 9)) == 0 else data


@st.composite
def damaged_png(draw, data):
    """A PNG with a chunk changed and its checksum right, so that the decoder reads on."""
    chunks, at = [], 8
    while at + 8 <= len(data):
        size = struct.unpack(">I", data[at : at + 4])[0]
        chunks.append([data[at + 4 : at + 8], data[at + 8 : at + 8 + size]])
        at += size + 12
    chosen = draw(st.integers(0, len(chunks) - 1))
    chunks[chosen][1] = draw(damaged(chunks[chosen][1]))
    if draw(st.integers(0, 3)) == 0:
        chunks[chosen][0] = draw(
            st.sampled_from([b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"iCCP", b"zTXt", b"acTL"])
        )
    if draw(st.integers(0, 5)) == 0:
        chunks.insert(draw(st.integers(0, len(chunks))), chunks[draw(st.integers(0, len(chunks) - 1))])
    return data[:8] + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


DESCR = [
    "|u1",
    "|u1",
    "<f4",
    "<f8",
    ">f8",
    "<i8",
    "<u8",
    "|b1",
    "|O",
    "<U4",
    "|S9",
    "<c16",
    "|V8",
    "<M8[ns]",
    "<f2",
    "<f16",
    "u1",
    "",
]
DESCR += ["[('a', '<f8')]", "('|u1', (2, 2))"]
SIDES = st.sampled_from([0, 1, 2, 3, 4, 8, 12, -1, 2**31, 2**63 - 1, 2**64, 10**30])


@st.composite
def npy_files(draw, data):
    """A .npy file: that of before with bytes changed, or one with a header of odd types and shapes."""
    if draw(st.booleans()):
        return draw(damaged(data))
    shape = tuple(draw(st.lists(SIDES, max_size=5)))
    descr, order = draw(st.sampled_from(DESCR)), draw(st.sampled_from(["False", "False", "True", "1", "None"]))
    descr = descr if descr.startswith(("[", "(")) else repr(descr)
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape!r}, }}"
    if draw(st.integers(0, 3)) == 0:
        header = draw(damaged_text(header)).decode("latin-1")
    version = draw(st.sampled_from([1, 1, 1, 2, 3, 4]))
    text = header.encode("latin-1", "replace") + b"\n"
    size = struct.pack("<H" if version == 1 else "<I", len(text) & 0xFFFF)
    body = draw(st.binary(max_size=16)) * draw(st.sampled_from([0, 1, 12, 192]))
    return b"\x93NUMPY" + bytes([version, 0]) + size + text + body


def zipped(members):
    """An archive of (name, content) as they are."""
    packed = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(packed, "w") as archive:
        warnings.simplefilter("ignore")  # zipfile's, of names that stand there twice
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content)
    return packed.getvalue()


@st.composite
def npz_files(draw, arrays):
    """An .npz file of these .npy files: one changed, renamed, missing or twice; or the archive's bytes changed."""
    members = list(arrays.items())
    at = draw(st.integers(0, len(members) - 1))
    name, data = members[at]
    how = draw(st.sampled_from(("array", "array", "array", "bytes", "bytes", "name", "missing", "twice")))
    if how == "array":
        members[at] = (name, draw(npy_files(data)))
    elif how == "name":
        members[at] = (draw(texts).replace("\0", "0") or "x", data)
    elif how == "missing":
        del members[at]
    elif how == "twice":
        members.append((name, draw(npy_files(data))))
    whole = zipped((f"{name}.npy", data) for name, data in members)
    return draw(damaged(whole)) if how == "bytes" else whole


@pytest.fixture(scope="session")
def mutations():
    """The strategies and writers of this file."""
    return SimpleNamespace(
        **{"odd": odd, "texts": texts, "numbers": numbers, "edited": edited, "to_toml": to_toml, "damaged": damaged},
        **{"damaged_text": damaged_text, "damaged_png": damaged_png, "npy_files": npy_files, "npz_files": npz_files},
        **{"zipped": zipped},
    )


def npy_bytes(array):
    import numpy as np

    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)
    return file.getvalue()


@pytest.fixture(scope="session")
def images():
    """Arrays of a good data set as .npy files, by name: 12 grey images of 8 x 8."""
    import numpy as np

    draw = np.random.default_rng(0)
    return {
        "images": npy_bytes(draw.integers(0, 256, (12, 8, 8)).astype(np.uint8)),
        "labels": npy_bytes(np.arange(12) % 3),
        "attribute": npy_bytes(np.arange(12) % 2),
        "index": npy_bytes(np.arange(12)),
        "group": npy_bytes(np.arange(12) // 2),
        "split": npy_bytes(np.array(["member", "nonmember", "pool", "reference"] * 3)),
    }
