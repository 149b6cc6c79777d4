"""Loading and refusing a data set by its name, and images as files."""

import io

import pytest
from PIL import Image

from leakbench.runtime import registry
from leakbench.runtime.errors import UsageError


@pytest.fixture(scope="session")
def load():
    """load(name, **options): the data set of that name."""
    return lambda name, **options: registry.dataset(name, **options)()


@pytest.fixture(scope="session")
def refusal(load):
    """refusal(name, **options): the one line that refuses a data set; of a folder: it names the place."""

    def refuse(name, **options):
        with pytest.raises(UsageError) as caught:
            load(name, **options)
        said = str(caught.value)
        kind, _, place = name.partition(":")
        assert "\n" not in said and (kind != "folder" or place.partition(",")[0].partition("@")[0] in said), said
        return said

    return refuse


@pytest.fixture(scope="session")
def png():
    """png(pixels): the bytes of a PNG file of uint8 (H, W) or (H, W, 3)."""

    def encode(pixels):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        return file.getvalue()

    return encode
