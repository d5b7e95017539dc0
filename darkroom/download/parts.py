"""The names that people give to the official parts of a set: training_set, seg_train, valid or Test Data."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

PARTS_BY_WORD = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "development"), "val"),
    **dict.fromkeys(("test", "testing", "tst", "holdout", "eval", "evaluation"), "test"),
}
_EVALUATION = ("eval", "evaluation")
# They may stand beside the part or be joined to it, and say nothing.
_FILLERS = ("set", "sets", "data", "dataset", "split", "images", "image", "imgs", "img", "pictures", "photos", "pics")
_PREFIXES = ("seg", "the", "my", "new", "raw")


def parts_by_name(names: Iterable[str]) -> dict[str, str]:
    """The part that each of some names beside each other means; those that mean none are left out.

    A name has one word for a part, in any case, with numbers and fillers such as `set`. Other words are allowed where
    another part has the same: `asl_alphabet_train` beside `asl_alphabet_test`. `eval` is test, or val beside a test.
    """
    found = {name: parsed for name in names if (parsed := _parse(name))}
    parts = {}
    for name, (word, rest) in found.items():
        partners = {PARTS_BY_WORD[other] for other, other_rest in found.values() if other_rest == rest}
        if not rest or len(partners) > 1:
            parts[name] = PARTS_BY_WORD[word]
    if list(parts.values()).count("test") > 1 and "val" not in parts.values():
        parts |= {name: "val" for name in parts if found[name][0] in _EVALUATION}
        if "test" not in parts.values():  # eval beside evaluation
            parts |= {name: "test" for name in parts if found[name][0] in _EVALUATION}
    return parts


def _parse(name: str) -> tuple[str, tuple[str, ...]] | None:
    """The only word for a part in a name, and its other words."""
    words = re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    words = [_without_filler(word) for word in words if word not in _FILLERS and word not in _PREFIXES]
    parts = [word for word in words if word in PARTS_BY_WORD]
    if len(parts) != 1:
        return None
    return parts[0], tuple(word for word in words if word not in PARTS_BY_WORD)


def _without_filler(word: str) -> str:
    """`trainset` as `train`."""
    stems = (word.removesuffix(filler) for filler in _FILLERS if word.endswith(filler))
    return next((stem for stem in stems if stem in PARTS_BY_WORD), word)


def parts_of_files(files: Sequence[Path]) -> list[str]:
    """The official part in each file's name, such as `mnist_test.csv`; all are train if none would be."""
    names = {**PARTS_BY_WORD, "t10k": "test"}
    words = [re.split(r"[^a-z0-9]+", file.name.lower()) for file in files]
    parts = [next((part for name, part in names.items() if name in file_words), "train") for file_words in words]
    return parts if "train" in parts else ["train"] * len(files)
