import gzip

import pytest

from darkroom.core.errors import UserError
from darkroom.download import tfds_mirror


def test_the_gzip_header_gets_its_name_back():
    data = gzip.compress(b"pictures", mtime=0)
    named = tfds_mirror._with_gzip_name(data, "train-images-idx3-ubyte", 1504176606)
    assert gzip.decompress(named) == b"pictures"
    assert named[:10].hex() == "1f8b0808" + (1504176606).to_bytes(4, "little").hex() + "0003"
    assert named[10:34] == b"train-images-idx3-ubyte\x00"


def test_a_set_without_a_mirror_is_named(tmp_path):
    with pytest.raises(UserError, match="data set cats_vs_dogs cannot be reached and no mirror has it"):
        tfds_mirror.tfds_files("cats_vs_dogs", tmp_path)
