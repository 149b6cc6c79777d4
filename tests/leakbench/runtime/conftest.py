"""What tests of the artefact stores fill them with."""

import pytest


@pytest.fixture(scope="session")
def filler():
    """filler(text, calls): fills a folder with two files, and notes the text among the calls."""

    def filler(text="content", calls=None):
        def fill(folder):
            (folder / "data.bin").write_text(text)
            (folder / "info.json").write_text("{}")
            if calls is not None:
                calls.append(text)

        return fill

    return filler
