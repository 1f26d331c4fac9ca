"""The VST3's window in Ardour: a description is typed into it, with a space and a backspace, and comes back with the session.

Usage: python tests/hosts/ardour_editor.py --output assets/screenshots
"""

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))

import screenshot
import support
from ardour import Ardour
from desktop import Desktop, until

QUERY_BOX = (332, 108)
"""A place in the box, in pixels of Ardour's window of the plugin, which has a row of its own above ours."""

SLOTS = ((105, 454), (265, 454))
"""The first and the second one, likewise."""


@dataclass
class Typed:
    """What became of "the music"."""

    saved: str
    """The plugin's state in the session that was saved after typing ..."""
    reopened: str
    """... and in the one that was opened and saved again."""
    exported: np.ndarray
    """[channels, frames] of that one."""
    pixels: np.ndarray
    """[height, width, 3]: its window."""


def type_and_reopen(home: Path, picture: Path) -> Typed:
    """Types into the window of a new session, saves it by Ardour's shortcut after a click on a slot, opens it again,
    and saves a `picture` of it."""
    ardour = Ardour(home, [support.bundle("Sift.vst3")], support.environment())
    session = ardour.session(support.DEMO / "mixture.wav")
    session.insert_sift()
    session.show_sift()
    with Desktop(support.environment()) as desktop:
        workstation = session.open(desktop)

        def typed():
            # A window that has just opened, or a machine that is busy, may miss a click.
            workstation.plugin.click(*QUERY_BOX)
            screenshot.type_with_a_slip(desktop)
            workstation.save()
            return "the music" in session.sift_state()

        until(typed, "text in the session")
        workstation.save_from_the_plugin(*reversed(SLOTS))
        workstation.quit()
    saved = session.sift_state()

    with Desktop(support.environment()) as desktop:
        workstation = session.open(desktop)
        screenshot.settle(desktop)
        workstation.plugin.save(picture)
        pixels = workstation.plugin.pixels()
        workstation.save()
        workstation.quit()
    return Typed(saved, session.sift_state(), support.read(session.export())[0], pixels)


def kept_and_lost(exported: np.ndarray) -> tuple[float, float]:
    """How much of the demo's music and speech an export is: SI-SDR in dB."""
    stems = (support.read(support.DEMO / f"{name}.wav")[0] for name in ("music", "speech"))
    pairs = ((exported[:, : stem.shape[1]], stem[:, : exported.shape[1]]) for stem in stems)
    music, speech = (support.si_sdr(output, stem) for output, stem in pairs)
    return music, speech


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    picture = parser.parse_args().output / "ardour.png"
    typed = type_and_reopen(Path(tempfile.mkdtemp()) / "home", picture)
    music, speech = kept_and_lost(typed.exported)
    print(f"wrote {picture}; what Ardour exports is the music by {music:.1f} dB, the speech by {speech:.1f} dB")


if __name__ == "__main__":
    main()
