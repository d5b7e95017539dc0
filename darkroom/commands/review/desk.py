"""What a person reviews in one sitting: the pictures, the queues, and the ledger that takes the decisions."""

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.commands.review import pictures, pool, queues, similarity
from darkroom.commands.review.pictures import Picture
from darkroom.commands.review.queues import Item
from darkroom.core.errors import UserError
from darkroom.core.model_spec import SPEC, ModelSpec
from darkroom.core.paths import MODELS
from darkroom.download import ledger
from darkroom.download.ledger import Decision
from darkroom.evaluate.embedding import Embedding, embed, nearest
from darkroom.models.classifier import Classifier

NEIGHBOURS = 6  # of each class
OUTLIERS = 200
CHOICE = 50  # unlabelled pictures that are offered at a time
TITLES = {
    "suspicious": "Suspicious labels",
    "unlikely": "Unlikely labels",
    "conflicts": "Two labels",
    "mistakes": "Mistakes",
    "uncertain": "Uncertain",
    "outliers": "Outliers",
    "unlabelled": "Without a label",
}


class Desk:
    """The state of the page. Decisions are read from the ledger each time, since others may add to it."""

    def __init__(self, path: Path, unlabelled: Path, author: str, seed: int) -> None:
        self.path, self.author, self.seed = path, author, seed
        labelled = pictures.labelled()
        self.unlabelled = pictures.unlabelled(unlabelled, labelled)
        self.pictures = {picture.md5: picture for picture in (*self.unlabelled, *labelled)}
        self.by_path = {picture.path: picture for picture in labelled}
        self.classes = sorted({picture.label for picture in labelled})
        self._items: dict[str, list[Item]] = {}
        self._undoing = threading.Lock()
        self._searching = threading.RLock()  # OpenBLAS crashes if hundreds of requests compute at once
        self._more: dict[str, Callable[[], list[Item]]] = {}
        if self.has_model:
            self._more["outliers"] = self._outliers
        if self.unlabelled:
            self._more["unlabelled"] = self._informative

    @property
    def titles(self) -> dict[str, str]:
        """The queues that there are, by name."""
        return {name: TITLES[name] for name in (*queues.QUEUES, *self._more)}

    @cached_property
    def has_model(self) -> bool:
        """Whether a model was trained, whose features tell which pictures look alike."""
        return (MODELS / SPEC).exists()

    def queue(self, name: str) -> list[dict[str, Any]]:
        """The items of a queue in order, with what was decided."""
        if name in self._more:
            with self._searching:
                if name not in self._items:
                    self._items[name] = self._more[name]()
        elif name not in self._items:
            items = list(queues.QUEUES[name](self.by_path))
            self._items[name] = list({item.md5: item for item in reversed(items)}.values())[::-1]
        holding = ledger.holding(self.lines())
        return [self.describe(item, holding.get(item.md5)) for item in self._items[name]]

    def describe(self, item: Item, decision: Decision | None) -> dict[str, Any]:
        """An item as the page shows it."""
        picture = self.pictures[item.md5]
        return {
            "md5": item.md5,
            "path": picture.path.as_posix(),
            "split": picture.split,
            "label": picture.label,
            "expected": item.expected if item.expected != picture.label else "",
            "reason": item.reason,
            "decision": decision and {name: getattr(decision, name) for name in ("decision", "label", "author")},
        }

    def surroundings(self, md5: str, expected: str) -> dict[str, Any]:
        """The near-duplicates of a picture, and the labelled pictures of both classes that look most like it."""
        picture = self._picture(md5)
        twins = [each for each in self.by_path.values() if each.group and each.group == picture.group]
        groups = [("Near-duplicates", [each for each in twins if each.md5 != md5])]
        if picture.label and self.has_model:
            with self._searching:
                row = self._rows.get(picture.path)
                for label in dict.fromkeys((picture.label, expected)):
                    if label and row is not None:
                        groups.append((f"Nearest {label}", self._nearest(row, label, twins)))
        shown = [
            {"title": title, "pictures": [{"md5": each.md5, "label": each.label} for each in members]}
            for title, members in groups
            if members
        ]
        history = [line for line in self.lines() if line.md5 == md5]
        return {"groups": shown, "history": [line._asdict() for line in history]}

    def decide(self, md5s: Sequence[str], decision: str, label: str, note: str) -> None:
        """Write decisions: `label` gives, or confirms, a class, and `drop` and `revert` take none.

        Raises:
            UserError: there is no such picture or decision, or the label cannot be a class.
        """
        for md5 in md5s:
            picture = self._picture(md5)
            kind = decision
            if decision == "label" and picture.label:
                kind = "confirm" if label == picture.label else "relabel"
            self._append(md5, kind, label if decision == "label" else "", note)

    def undo(self, md5: str) -> None:
        """Restore what held for a picture before the latest decision."""
        with self._undoing:
            lines = [line for line in self.lines() if line.md5 == md5]
            if not lines:
                raise UserError("nothing was decided on this picture.")
            before = ledger.holding(lines[:-1]).get(md5)
            if before:
                self._append(md5, before.decision, before.label, before.note)
            else:
                self._append(md5, "revert", "", "")

    def lines(self) -> list[Decision]:
        """The ledger."""
        return ledger.read(self.path)

    def _append(self, md5: str, kind: str, label: str, note: str) -> None:
        decision = Decision(md5, kind, label, self.author, ledger.now(), note.strip())  # type: ignore[arg-type]
        ledger.append(self.path, decision)

    def _picture(self, md5: str) -> Picture:
        if md5 not in self.pictures:
            raise UserError(f"there is no picture {md5[:32]} in the last run.")
        return self.pictures[md5]

    @cached_property
    def embedding(self) -> Embedding:
        """Of all labelled pictures; the first use takes seconds."""
        with self._searching:
            return embed(ModelSpec.load(MODELS), self._model, self.seed)

    def _model(self) -> Classifier:
        """The trained model, which takes TensorFlow: only a network from scratch is loaded for its features."""
        from darkroom.core import runtime

        runtime.prepare(self.seed)
        return Classifier.load(MODELS)

    @cached_property
    def _rows(self) -> dict[Path, int]:
        """The row of each picture in the embedding."""
        return {Path(path): row for row, (_, path) in enumerate(self.embedding.pictures)}

    @cached_property
    def _rows_of_class(self) -> dict[str, np.ndarray]:
        rows: defaultdict[str, list[int]] = defaultdict(list)
        for path, row in self._rows.items():
            if path in self.by_path:
                rows[self.by_path[path].label].append(row)
        return {label: np.array(numbers) for label, numbers in rows.items()}

    def _nearest(self, row: int, label: str, twins: Sequence[Picture]) -> list[Picture]:
        """The pictures of a class that look most like that in a row, without its near-duplicates."""
        same = [self._rows[each.path] for each in twins if each.path in self._rows]
        candidates = np.setdiff1d(self._rows_of_class.get(label, np.arange(0)), same)
        found = nearest(self.embedding.features, row, candidates, NEIGHBOURS)
        return [self.by_path[Path(self.embedding.pictures[number][1])] for number in found]

    def _outliers(self) -> list[Item]:
        rows = similarity.outliers(self.embedding.features, OUTLIERS)
        paths = [Path(self.embedding.pictures[row][1]) for row in rows]
        reason = "Few pictures look like this one."
        return [Item(self.by_path[path].md5, "", reason) for path in paths if path in self.by_path]

    def _informative(self) -> list[Item]:
        offered = pool.classify(self.unlabelled, self.seed)
        if not offered.pictures:
            return []
        rows = similarity.informative(offered.features, offered.probabilities, CHOICE, self.seed)
        items = []
        for row in rows:
            best = int(offered.probabilities[row].argmax())
            label, share = offered.classes[best], f"{100 * offered.probabilities[row][best]:.1f} %"
            items.append(Item(offered.pictures[row].md5, label, f"The model says {label} with {share}."))
        return items
