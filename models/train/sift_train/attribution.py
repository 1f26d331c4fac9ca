"""The attributions that the corpus's licences ask for, from its index."""

import csv
from collections import defaultdict

_HEAD = """\
# What this model was trained from

The separator learned from the recordings below, from sentences spoken by eSpeak NG and Flite (`sift_train/voices.py`),
and from arrangements of our own, played by FluidSynth with the sound fonts FluidR3 GM (MIT), TimGM6mb (GPL-2) and
MuseScore General (MIT) (`sift_train/arrangements.py`); none of them is part of the package. The text encoder is
all-MiniLM-L6-v2 (Apache-2.0, see LICENSE-APACHE-all-MiniLM-L6-v2), changed: weights rounded to eight bits, and taught
Korean (`sift_train/languages.py`).
This file is made by `python -m sift_train.export` from the corpus's index.
"""


def attribution(indexes):
    """Markdown: for every licence, who made the recordings trained on, where they come from, and of which sounds."""
    licences = defaultdict(lambda: defaultdict(lambda: [0, set()]))
    for index in indexes:
        with open(index, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if row["split"] == "train":
                    entry = licences[row["licence"]][row["author"], row["origin"]]
                    entry[0] += 1
                    entry[1].add(row["label"])
    parts = [_HEAD]
    for licence, entries in sorted(licences.items()):
        parts.append(f"\n## {licence}\n\n| author | origin | clips | sounds |\n|---|---|---|---|\n")
        for (author, origin), (count, labels) in sorted(entries.items()):
            # Authors as the index gives them; a vertical bar would end a table's cell.
            author, origin = (text.replace("|", "/") or "—" for text in (author, origin))
            parts.append(f"| {author} | {origin} | {count} | {', '.join(sorted(labels))} |\n")
    return "".join(parts)
