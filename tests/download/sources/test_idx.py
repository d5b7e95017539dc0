import gzip

import numpy as np
import pytest

from darkroom.core.errors import UserError
from darkroom.images.decode import decode
from tests.helpers.source_files import files_of, names_of, write_idx, write_idx_pair


@pytest.fixture
def digits(pictures):
    """Twelve labelled grey pictures."""
    return [(number % 3, decode(path)[..., 0]) for number, path in enumerate(pictures[:12])]


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_idx_files_are_pictures(ending, digits, tmp_path):
    write_idx_pair(tmp_path, "train", digits, ending)
    write_idx_pair(tmp_path, "t10k", digits[:4], ending)
    files = files_of("idx", tmp_path)
    assert names_of(files)[:2] == [("test", "0", "t10k-000000.png"), ("test", "1", "t10k-000001.png")]
    train = [file for file in files if file.part == "train"]
    for (label, pixels), file in zip(digits, train, strict=True):
        assert (file.label, (file.content == pixels).all()) == (str(label), True)


def test_incomplete_idx_files_are_named(digits, tmp_path):
    images, labels = np.stack([pixels for _, pixels in digits]), np.arange(12)
    with pytest.raises(UserError, match=r"holds no IDX files such as train-images-idx3-ubyte.gz"):
        files_of("idx", tmp_path)
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", images)
    with pytest.raises(UserError, match=r"train-labels-idx1-ubyte.gz is missing: it has the labels of train-images"):
        files_of("idx", tmp_path)
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", labels[:7])
    with pytest.raises(UserError, match="do not match"):
        files_of("idx", tmp_path)
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", labels)
    whole = (tmp_path / "train-images-idx3-ubyte.gz").read_bytes()
    for bad in (whole[: len(whole) // 2], b"", b"no", gzip.compress(b"\0\0\x0d\3" + bytes(20)), whole[:-3]):
        (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(bad)
        with pytest.raises(UserError, match=r"train-images-idx3-ubyte.gz is not a complete IDX file of bytes"):
            files_of("idx", tmp_path)


@pytest.mark.parametrize("shape", [(12, 4, 4, 1), (12,), (12, 4, 4, 2)])
def test_idx_files_of_other_shapes_are_refused(shape, tmp_path):
    write_idx(tmp_path / "train-images-idx3-ubyte", np.zeros(shape))
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.zeros(12))
    with pytest.raises(UserError, match="do not match"):
        files_of("idx", tmp_path)
