"""Folders of rendered training material, which is rendered once and cached."""

import csv
import shutil
from pathlib import Path

from . import config as configuration

COLUMNS = ["path", "label", "source", "group", "split", "licence", "author", "origin"]
"""The columns of `index.csv`, as in the corpus."""


def rendered_folder(name, source_file, packages, render):
    """Returns the cached folder `name`, and renders it first if it is missing.

    `source_file`: the Python file that defines the material; a change of it renders again. `packages`: required file or
    program → its Debian package. `render(folder)` writes the clips and yields their rows (path, label, source, group).
    """
    done = configuration.cache_folder() / f"{name}-{configuration.digest(source_file)[:12]}"
    if done.is_dir():
        return done
    missing = {package for need, package in packages.items() if not shutil.which(need) and not Path(need).is_file()}
    if missing:
        raise FileNotFoundError(
            f"{name}: missing programs or sound fonts. Install them: apt-get install {' '.join(sorted(missing))}"
        )
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
