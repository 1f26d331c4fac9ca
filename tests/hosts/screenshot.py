"""Pictures of the standalone program's window while the demo mixture plays, for the README.

python tests/hosts/screenshot.py --program target/bundled/release/sift-standalone --output assets/screenshots
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
"""The program's name as a client of JACK."""
QUERY_BOX = (300, 75)
"""A position in the query box, in pixels of a window of the default size."""
PICTURE = (slice(161, 391), slice(20, 600))
"""Rows and columns of the spectrogram in a window of the default size."""
PICTURE_SECONDS = 8.2
"""Duration that the spectrogram shows."""


@dataclass
class Capture:
    """A picture of the window, and the output at the same time."""

    pixels: np.ndarray
    """[height, width, 3], 0 to 255."""
    sound: np.ndarray
    """[channels, frames]."""
    load: dict[str, float]
    """Share of one processor by thread name."""


def take(program: Path, output: Path) -> list[Capture]:
    """Plays the demo mixture through `program` and saves `window.png` and `window-typed.png`.

    The first shows the first slot's initial text, the second a typed one in its place.
    """
    with Desktop(support.environment()) as desktop:
        # The program does not read JACK's period, but announces this one to the plugin.
        process = desktop.start(program, "--backend", "jack", "--period-size", PERIOD)
        window = desktop.window(TITLE)
        desktop.play(support.DEMO / "mixture.wav", CLIENT)
        first = _capture(desktop, process.pid, window, output / "window.png")
        window.click(*QUERY_BOX)
        type_with_correction(desktop)
        return [first, _capture(desktop, process.pid, window, output / "window-typed.png")]


def type_with_correction(desktop: Desktop) -> None:
    """Replaces the text by "the music", with a space, and a mistake that a backspace corrects."""
    desktop.keys("ctrl+a")
    desktop.type("the musik")
    desktop.keys("BackSpace")
    desktop.type("c")
    desktop.keys("Return")


def settle(desktop: Desktop) -> None:
    """Moves the pointer away and waits until hints and fading colours are gone, of which X11 gives no sign."""
    desktop.rest_pointer()
    time.sleep(3)


def _seconds_by_thread(pid: int) -> Counter:
    """Processor seconds that the threads of each name have taken so far."""
    spent = Counter()
    for task in Path(f"/proc/{pid}/task").iterdir():
        name, fields = (task / "stat").read_text().split("(", 1)[1].rsplit(")", 1)
        user, system = fields.split()[11:13]
        # Names of a pool's threads differ by a number.
        spent[re.sub(r"[-:]?\d+$", "", name)] += (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return spent


def _capture(desktop: Desktop, pid: int, window, path: Path) -> Capture:
    """Takes a capture once the spectrogram shows only sound of the present query."""
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
    return Capture(pixels, sound, {name: (after[name] - before[name]) / took for name in after})


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
