from darkroom.backbones import vgg16_mirror


def test_damaged_weights_are_downloaded_again(tmp_path):
    cached = tmp_path / vgg16_mirror.CACHED
    vgg16_mirror.arrays(tmp_path)
    content = cached.read_bytes()
    cached.write_bytes(content[: len(content) // 2])
    vgg16_mirror.arrays(tmp_path)
    assert cached.read_bytes() == content
