"""The VST3's editor in Ardour: a typed query, with a space and a backspace, is saved and loaded with the session.

python tests/hosts/ardour_editor.py --output assets/screenshots
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
from desktop import Desktop, attempt

QUERY_BOX = (332, 108)
"""A position in the query box, in pixels of Ardour's plugin window, which has a row of Ardour's own above the editor."""

SLOTS = ((105, 454), (265, 454))
"""Positions of the first and the second slot in the same window."""


@dataclass
class TypedQuery:
    """Result of typing the query "the music"."""

    saved: str
    """The plugin's state in the session that was saved after typing."""
    reopened: str
    """The plugin's state after that session was opened and saved again."""
    exported: np.ndarray
    """Export of the session: [channels, frames]."""
    pixels: np.ndarray
    """The editor in the opened session: [height, width, 3]."""


def type_and_reopen(home: Path, picture: Path) -> TypedQuery:
    """Types into the editor of a new session, saves the session by Ardour's shortcut after a click on a slot, opens it
    again, and saves a `picture` of the editor."""
    ardour = Ardour(home, [support.bundle("Sift.vst3")], support.environment())
    session = ardour.session(support.DEMO / "mixture.wav")
    session.insert_sift()
    session.show_sift()
    with Desktop(support.environment()) as desktop:
        workstation = session.open(desktop)

        def type_and_save():
            workstation.editor.click(*QUERY_BOX)
            screenshot.type_with_correction(desktop)
            workstation.save()

        attempt(type_and_save, lambda: "the music" in session.sift_state(), "the text in the session", timeout=1)
        workstation.save_from_editor(*reversed(SLOTS))
        workstation.quit()
    saved = session.sift_state()

    with Desktop(support.environment()) as desktop:
        workstation = session.open(desktop)
        screenshot.settle(desktop)
        workstation.editor.save(picture)
        pixels = workstation.editor.pixels()
        workstation.save()
        workstation.quit()
    return TypedQuery(saved, session.sift_state(), support.read(session.export())[0], pixels)


def kept_and_lost(exported: np.ndarray) -> tuple[float, float]:
    """SI-SDR of an export against the demo's music and speech, in dB."""
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
    print(
        f"wrote {picture}; SI-SDR of Ardour's export: {music:.1f} dB against the music, {speech:.1f} dB against the speech"
    )


if __name__ == "__main__":
    main()
