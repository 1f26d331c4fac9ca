"""Folders of training material that is rendered rather than recorded: made once, kept in the cache."""

import csv
import shutil
from pathlib import Path

from . import config as configuration

COLUMNS = ["path", "label", "source", "group", "split", "licence", "author", "origin"]
"""Of `index.csv`, as in the corpus."""


def rendered_folder(name, maker, packages, render):
    """The folder `name`, rendered if it is not in the cache.

    `maker`: the source file that decides what is rendered. `packages`: {file or program that is needed: Debian package
    it comes in}. `render(folder)` writes the clips and yields their rows (path, label, source, group).
    """
    done = configuration.cache_folder() / f"{name}-{configuration.digest(maker)[:12]}"
    if done.is_dir():
        return done
    there = {need for need in packages if shutil.which(need) or Path(need).is_file()}
    missing = {package for need, package in packages.items() if need not in there}
    if missing:
        raise FileNotFoundError(f"{name} cannot be rendered: apt-get install {' '.join(sorted(missing))}")
    print(f"rendering {name} into {done}", flush=True)
    partial = done.with_suffix(".part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    with open(partial / "index.csv", "w", newline="", encoding="utf-8") as file:
        index = csv.writer(file)
        index.writerow(COLUMNS)
        for path, label, source, group in render(partial):
            index.writerow([path, label, source, group, "train", "", "", source])
    partial.rename(done)
    return done
