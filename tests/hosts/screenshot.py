"""The standalone program's window while the demo mixture plays: what the README shows.

Usage: python tests/hosts/screenshot.py --program target/release/sift-standalone --output assets/screenshots
"""

import argparse
import os
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))

import support
from desktop import PERIOD, Desktop

TITLE = "Sift"
CLIENT = "sift"
"""Of JACK."""
QUERY_BOX = (300, 75)
"""A place in the box, in pixels of a window of the default size."""
PICTURE = (slice(137, 360), slice(20, 600))
"""Rows and columns of the window that the spectrogram takes, at the default size."""
PICTURE_SECONDS = 8.2
"""That the spectrogram shows."""


@dataclass
class Look:
    """One look at the window, and what was heard meanwhile."""

    pixels: np.ndarray
    """[height, width, 3]."""
    sound: np.ndarray
    """[channels, frames]."""
    load: dict[str, float]
    """Of each of the program's threads by name, as a share of one processor."""


def take(program: Path, output: Path) -> list[Look]:
    """Plays the demo mixture through `program` and saves `window.png` and `window-typed.png`.

    The first shows what the first slot says when nothing was done; the second what was typed in its place.
    """
    with Desktop(support.environment()) as desktop:
        # It takes JACK's period for granted, and announces this one to the plugin.
        process = desktop.start(program, "--backend", "jack", "--period-size", PERIOD)
        window = desktop.window(TITLE)
        desktop.play(support.DEMO / "mixture.wav", CLIENT)
        first = _look(desktop, process.pid, window, output / "window.png")
        window.click(*QUERY_BOX)
        type_with_a_slip(desktop)
        return [first, _look(desktop, process.pid, window, output / "window-typed.png")]


def type_with_a_slip(desktop: Desktop) -> None:
    """Types "the music" in place of what is there, with a space, and a slip that a backspace mends."""
    desktop.keys("ctrl+a")
    desktop.type("the musik")
    desktop.keys("BackSpace")
    desktop.type("c")
    desktop.keys("Return")


def settle(desktop: Desktop) -> None:
    """Until the window shows nothing but what it shows at rest."""
    desktop.rest_pointer()
    time.sleep(3)


def _seconds_by_thread(pid: int) -> Counter:
    """Of processor time that threads of each name have taken so far."""
    spent = Counter()
    for task in Path(f"/proc/{pid}/task").iterdir():
        name, fields = (task / "stat").read_text().split("(", 1)[1].rsplit(")", 1)
        user, system = fields.split()[11:13]
        # Threads of a pool differ by a number.
        spent[re.sub(r"[-:]?\d+$", "", name)] += (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return spent


def _look(desktop: Desktop, pid: int, window, path: Path) -> Look:
    """Once nothing is left in the picture of what was before."""
    settle(desktop)
    begin, before = time.monotonic(), _seconds_by_thread(pid)
    recording = path.with_suffix(".wav")
    recording.parent.mkdir(parents=True, exist_ok=True)
    desktop.record(CLIENT, round(PICTURE_SECONDS), recording)
    took, after = time.monotonic() - begin, _seconds_by_thread(pid)
    window.save(path)
    pixels = window.pixels()
    sound, _ = support.read(recording)
    recording.unlink()
    return Look(pixels, sound, {name: (after[name] - before[name]) / took for name in after})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    first, _ = take(arguments.program, arguments.output)
    print(f"wrote window.png and window-typed.png into {arguments.output}")
    print("processor time with the window open, by thread, as a share of one processor:")
    for name, share in sorted(first.load.items(), key=lambda entry: -entry[1]):
        if share >= 0.001:
            print(f"  {name:20} {100 * share:5.1f} %")


if __name__ == "__main__":
    main()
