import pytest

from darkroom.core.errors import UserError
from darkroom.split.groups import check_leaks, make_groups, match_of, resolve


def test_a_pattern_with_alternatives():
    assert [match_of(r"^a(\d)|^b(\d)", f"train/x/{name}") for name in ("a1", "b2", "c3")] == ["1", "2", ""]
    assert match_of(r"^a\d", "train/a9/a1.png") == "a1"
    assert match_of(None, "train/x/a1.png") == ""


def test_near_duplicates_and_matches_of_a_pattern_join_groups():
    names = ["train/a/p1_x.png", "train/b/p1_y.png", "train/a/p2.png", "test/a/q.png", "train/a/alone.png"]
    near = {"train/b/p1_y.png": "1", "test/a/q.png": "1", "train/a/alone.png": ""}
    assert make_groups(near, {}, r"^(p\d)", names) == [["test/a/q.png", "train/a/p1_x.png", "train/b/p1_y.png"]]
    assert make_groups({}, {}, None, names) == []
    assert make_groups({}, dict.fromkeys(names[:2], "ann"), None, names) == [sorted(names[:2])]


@pytest.mark.parametrize(
    ("parts", "official", "move", "expected"),
    [
        ("train train val", [], True, "train train train"),
        ("train val test", [], True, "train train train"),  # a tie goes to train
        ("val test test", [], True, "test test test"),
        ("train train val", [], False, "- - val"),
        ("train val test", [], False, "- - test"),
        ("train train test", ["test"], True, "- - test"),
        ("train val val", ["val"], True, "- val val"),
        ("train val test", ["val", "test"], True, "- - test"),
        ("train train train", ["test"], True, "train train train"),
    ],
)
def test_a_group_ends_in_one_part(parts, official, move, expected):
    group = ["a", "b", "c"]
    assignment = dict(zip(group, parts.split(), strict=True)) | {"other": "val"}
    left_out = resolve(assignment, [group], official, move)
    assert [assignment.get(name, "-") for name in group] == expected.split()
    assert set(left_out) == {name for name in group if name not in assignment}
    assert all(reason in assignment for reason in left_out.values())
    assert assignment["other"] == "val"


def test_a_leak_is_an_error():
    pair = ["train/a/1.png", "train/b/2.png"]
    with pytest.raises(UserError, match=r"train/a/1.png in train and train/b/2.png in test belong together: that is"):
        check_leaks(dict(zip(pair, ("train", "test"), strict=True)), [pair])
    check_leaks({"train/a/1.png": "train"}, [pair])  # the other is left out
