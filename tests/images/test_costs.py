"""Small files that would take their reader long, or much memory, are refused by their structure."""

import io
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from darkroom.core.errors import UserError
from darkroom.images.decode import decode
from tests.helpers.costly_files import FILES, jpeg2000, many_scans, ppm, tiled
from tests.helpers.odd_files import PHOTOS, encoded, photo
from tests.helpers.project import ROOT

SECONDS, MEMORY = 20, 2**30  # of processor time, and beyond what the libraries take
LIMITED = """
import resource, sys
from PIL import Image
from darkroom.core.errors import UserError
from darkroom.images.decode import decode
Image.init()
data = open(sys.argv[1], "rb").read()
taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + int(sys.argv[3]),) * 2)
resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[2]),) * 2)
try:
    print("decoded", decode(data, 1, 1e8).shape)
except UserError as reason:
    print(reason)
"""


@pytest.mark.full
@pytest.mark.table
@pytest.mark.parametrize("name", FILES)
def test_a_costly_file_takes_little(name, tmp_path):
    make, reason = FILES[name]
    (tmp_path / "x").write_bytes(make())
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LIMITED, tmp_path / "x", str(SECONDS), str(MEMORY)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "decoded" in done.stdout if reason is None else reason in done.stdout
    if reason:
        assert "it would take too long or too much memory to decode: it has " in done.stdout


@pytest.mark.parametrize("name", ["scans.jpg", "exif.jpg", "tile.tif", "planes.tif", "precincts.jp2", "layers.jp2"])
def test_a_costly_file_is_refused_with_its_reason(name):
    make, reason = FILES[name]
    with pytest.raises(UserError, match=reason):
        decode(make(), max_pixels=1e8)


def test_what_programs_write_is_kept():
    """Progressive JPEGs of any kind, tiles larger than the picture, precincts and tiles of JPEG 2000."""
    pixels = PHOTOS[0]
    assert decode(many_scans(1000, 20)).shape == (1000, 1000, 3)
    assert decode(encoded(pixels, "JPEG", progressive=True, subsampling=0)).shape == pixels.shape
    assert decode(tiled(100, 100, 512, 1, data=bytes(512 * 512 * 3))).shape == (100, 100, 3)
    options = {"codeblock_size": (16, 16), "precinct_size": (32, 32), "tile_size": (128, 128), "quality_layers": [9, 5]}
    assert decode(encoded(pixels, "JPEG2000", **options)).shape == pixels.shape
    motion = encoded(pixels, "JPEG") + b"\xff\xda" * 20_000  # a telephone appends a film
    assert decode(motion).shape == pixels.shape


@pytest.mark.parametrize(
    ("magic", "largest"), [(b"P5", 4095), (b"P5", 100), (b"P6", 1023), (b"P6", 100), (b"P6", 65535)]
)
def test_scaled_values_are_as_pillow_scales_them(magic, largest):
    values = np.arange(48 * 64 * 3).reshape(48, 64, 3) * 7 % (largest + 1)
    values = values if magic == b"P6" else values[..., 0]
    kind = ">u2" if largest > 255 else "u1"
    data = ppm(magic, 64, 48, largest, values.astype(kind).tobytes())
    expected = np.asarray(Image.open(io.BytesIO(data)))
    expected = expected // 257 if expected.dtype == np.int32 else expected
    if expected.ndim == 3:
        assert (decode(data) == expected).all()
    else:
        assert (decode(data) == expected[..., None]).all()
    with pytest.raises(UserError, match="cannot be decoded"):
        decode(data[:-1])


def test_only_regular_files_are_opened(tmp_path):
    """A pipe or a terminal would block, and /dev/zero never ends."""
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.jpg"))
        for name in ("pipe.jpg", "folder.jpg", "zero.jpg", "socket.jpg"):
            with pytest.raises(UserError, match=r"^not a regular file$"):
                decode(tmp_path / name)
    (tmp_path / "kernel.jpg").symlink_to("/proc/self/environ")
    with pytest.raises(UserError, match=r"^empty file$"):
        decode(tmp_path / "kernel.jpg")


def test_a_file_larger_than_any_picture_is_not_read(tmp_path):
    with (tmp_path / "x.jpg").open("wb") as stream:
        stream.write(encoded(photo(1), "JPEG"))
        stream.truncate(2**40)  # sparse
    with pytest.raises(UserError, match=r"1,099,511,627,776 bytes are more than the largest picture may have"):
        decode(tmp_path / "x.jpg", max_pixels=1e8)


def test_every_header_of_a_jpeg_2000_counts():
    """A tile's header may set other blocks than the main one."""
    data = jpeg2000((9000, 9000))
    start = data.index(b"\xff\x90")
    coding = jpeg2000((9000, 9000), precinct=1)
    coding = coding[coding.index(b"\xff\x52") : coding.index(b"\xff\x5c")]
    with pytest.raises(UserError, match="blocks"):
        decode(data[: start + 12] + coding + data[start + 12 :])
