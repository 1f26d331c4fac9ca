"""Writes the attributions that the licences of the corpus require, from its index."""

import csv
from collections import defaultdict

_HEAD = """\
# What this model was trained from

The separator was trained on the recordings below, on sentences spoken by eSpeak NG and Flite
(`sift_train/synthetic_speech.py`), and on our own arrangements, played by FluidSynth with the sound fonts FluidR3 GM
(MIT), TimGM6mb (GPL-2) and MuseScore General (MIT) (`sift_train/synthetic_music.py`). None of them is part of the
package. The text encoder is all-MiniLM-L6-v2 (Apache-2.0, see LICENSE-APACHE-all-MiniLM-L6-v2) with two changes: its
weights are quantised to eight bits, and it was trained for Korean (`sift_train/adapt_encoder.py`).
`python -m sift_train.export` writes this file from the index of the corpus.
"""


def make_attribution(indexes):
    """Lists, by licence, the authors of the training recordings, their origins and labels, as Markdown."""
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
            # A vertical bar would end a cell of the table.
            author, origin = (text.replace("|", "/") or "—" for text in (author, origin))
            parts.append(f"| {author} | {origin} | {count} | {', '.join(sorted(labels))} |\n")
    return "".join(parts)
