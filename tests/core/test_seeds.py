import numpy as np

from darkroom.core.seeds import derive, stream


def test_seeds_are_the_same_everywhere():
    """Results depend on these numbers: they stay as they are on every machine and in every version."""
    assert derive(42, "shuffle", 3) == 1658124986
    assert stream(42, "bootstrap").integers(1000, size=3).tolist() == [561, 900, 139]


def test_every_stream_has_its_own_numbers():
    seeds = {derive(seed, name, number) for seed in range(5) for name in ("a", "b") for number in range(50)}
    assert len(seeds) == 500
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert not np.array_equal(stream(1, "a").random(5), stream(1, "b").random(5))
