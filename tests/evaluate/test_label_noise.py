"""Wrong labels among real pictures are found, by predictions that saw neither the picture nor its near-duplicates."""

import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from darkroom.core.files import write_csv
from darkroom.evaluate import embedding, label_noise
from darkroom.evaluate.label_noise import assign_folds, out_of_sample
from darkroom.images.folders import PARTS, Picture
from darkroom.models.classifier import Classifier
from darkroom.models.inputs import Held, Pictures
from tests.helpers.pictures import write_splits
from tests.helpers.training import extracted, model_spec, untrained

BAGS = (50, 51, 52, 55)  # among the pictures of bags
PLACES = [("train", "Sandal"), ("val", "Coat"), ("test", "Sandal"), ("test", "Coat")]


@pytest.fixture(scope="module")
def mislabelled(fashion, tmp_path_factory):
    """A split project as the current folder, with four bags among sandals and coats: `(path, split, label)` of each."""
    folder, issues = tmp_path_factory.mktemp("mislabelled"), []
    write_splits(folder, fashion / "train")
    bags = sorted((fashion / "train/Bag").iterdir())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for place, (part, label) in zip(BAGS, PLACES, strict=True):
            target = Path("data/split") / part / label / f"bag_{bags[place].name}"
            shutil.copy(bags[place], target)
            issues.append((str(target), part, label))
        Path("data/augmented/Sandal").mkdir()
        shutil.copy(bags[BAGS[0]], "data/augmented/Sandal/made_of_a_bag.png")
        write_groups({})
        yield issues


def write_groups(groups):
    """Write reports/groups.csv, with each picture as it lies in data/raw: those of test in an official part."""
    places = [path.relative_to("data/split").parts for path in sorted(Path("data/split").rglob("*.png"))]
    rows = [
        ("/".join(("test" if part == "test" else "train", *name)), "0", groups.get(name[-1])) for part, *name in places
    ]
    write_csv(Path("reports/groups.csv"), ("picture", "hash", "group"), rows)


def assessed(model, seed):
    """The quality of all labels, as the stage assesses it."""
    return label_noise.assess(embedding.embed(model.spec, lambda: model, seed), model.spec.classes, seed)


def model_with(backbone):
    """A model as far as the search needs one: its specification."""
    return Classifier(model_spec({}, backbone=backbone), None, None)


@pytest.mark.usefixtures("tensorflow")
def test_wrong_labels_are_found_in_all_parts(mislabelled, capsys):
    """Three of four at least, hardly more, no augmented one; the worst first; the same twice; without warnings."""
    for changes in ({"layers": ["block2_pool", "block3_pool"]}, {"layers": ["block3_pool"]}, {"pooling": "avg"}):
        backbone = extracted(**changes)
        capsys.readouterr()
        found = assessed(model_with(backbone), seed=1)
        issues = [row for row in found if row.issue]
        assert capsys.readouterr().err == ""  # what is printed is the progress
        assert {row[:3] for row in issues[:3]} < set(mislabelled)
        assert {row.split for row in issues[:3]} == {"train", "val", "test"}
        assert {row.suggested for row in issues[:3]} == {"Bag"}
        assert len(issues) <= 5
        assert all(0 <= row.quality < 0.5 for row in issues)
        assert all(row.suggested_quality > 0.5 for row in issues[:3])
        assert all(0 <= row.suggested_quality <= 1.0001 - row.quality for row in found)
        assert found == sorted(found, key=lambda row: (row.quality, row.path))
        assert all(row.path.startswith("data/split/") and row.label != row.suggested for row in found)
        assert len({row.path for row in found}) == len(found) == 154
    assert assessed(model_with(backbone), seed=1) == found


@pytest.mark.usefixtures("tensorflow")
def test_near_duplicates_do_not_vouch_for_each_other(mislabelled, fashion, tmp_path, monkeypatch):
    """Twelve copies of a bag among the sandals, each a little darker: known to be one picture they are found."""
    shutil.copytree(".", tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    for path, _, _ in mislabelled:
        Path(path).unlink()
    pixels = np.asarray(Image.open(sorted((fashion / "train/Bag").iterdir())[50]))
    twins = [f"data/split/{part}/Sandal/{part}_{number}.png" for part in PARTS for number in range(4)]
    for number, path in enumerate(twins):
        Image.fromarray((pixels * (1 - 0.005 * number)).astype(np.uint8)).save(path)
    model, suspects = model_with(extracted()), []
    for group in ("", "7"):
        write_groups({Path(path).name: group for path in twins})
        suspects.append({row.path for row in assessed(model, seed=1) if row.issue} & set(twins))
    assert len(suspects[0]) < 6
    assert suspects[1] == set(twins)


@pytest.mark.usefixtures("tensorflow")
def test_a_network_from_scratch_is_judged_by_its_last_hidden_layer(mislabelled):
    issues = [row for row in assessed(untrained("mini_vggnet", seed=1), seed=1) if row.issue]
    assert len(set(mislabelled) & {row[:3] for row in issues}) >= 3
    assert len(issues) <= 8


def test_no_label_is_suspect_where_all_are_clear():
    """Two classes that no classifier could mistake."""
    generator = np.random.default_rng(0)
    labels = np.arange(60) % 2
    features = generator.normal(labels[:, None] * 10, 1, (60, 5))
    probabilities = out_of_sample(features, labels, np.arange(60) // 2 % 5)
    assert probabilities[np.arange(60), labels].min() > 0.9


def test_probabilities_are_those_of_unseen_rows():
    """A row that is unlike all others of its label never gets it, though the regression could memorise it."""
    labels = np.array([0] * 20 + [1] * 20)
    features = np.random.default_rng(0).normal(labels[:, None] * 10, 0.1, (40, 5))
    labels[0] = 1
    assert out_of_sample(features, labels, np.arange(40) % 5)[0, 1] < 0.1


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), min_size=1, max_size=80),
    st.integers(0, 2**32 - 1),
)
def test_folds_keep_groups_together_and_classes_apart(rows, seed):
    labels, groups = np.array([label for label, _ in rows]), [str(group) for _, group in rows]
    folds = assign_folds(labels, groups, seed)
    used = folds >= 0
    assert folds.max() < label_noise.FOLDS
    for group in set(groups):
        assert len(set(folds[used & (np.array(groups) == group)])) <= 1
    for fold in set(folds[used]):
        assert set(labels[used & (folds != fold)]) == set(labels[used])
    if used.any():
        assert len(set(labels[used])) >= 2
    assert (assign_folds(labels, groups, seed) == folds).all()


def test_small_classes_mean_fewer_folds_and_single_pictures_are_left_out():
    labels = np.array([0] * 10 + [1] * 3 + [2])
    folds = assign_folds(labels, [str(row) for row in range(14)], 1)
    assert set(folds[:13]) == {0, 1, 2}
    assert folds[13] == -1
    assert sorted(folds[10:13]) == [0, 1, 2]


def test_many_features_are_not_copied_several_times():
    generator = np.random.default_rng(0)
    labels, folds = generator.integers(0, 3, 20_000), np.arange(20_000) % 5
    features = generator.random((20_000, 64), np.float32)
    out_of_sample(features[:100], labels[:100], folds[:100])  # imports
    tracemalloc.start()
    out_of_sample(features, labels, folds)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.3 * features.nbytes


def test_a_chunk_of_features_is_in_memory_at_a_time():
    wide = np.broadcast_to(np.float32(1), (8192, 2048))  # 64 MB if all are read
    held = Held(wide, Pictures([Picture(Path("1.png"), "Coat")] * len(wide), (1, 1)))
    embedding.reduced([held], [np.arange(100)], 1, components=2)  # imports
    tracemalloc.start()
    result = embedding.reduced([held], [np.arange(len(wide))], 1, components=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert result.shape == (8192, 2)
    assert peak < 2 * wide.nbytes
