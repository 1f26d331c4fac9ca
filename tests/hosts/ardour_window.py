"""The VST3's window in Ardour, by hand: types a description with a space and a backspace in it, saves, opens the session
again, and takes a picture. On a machine that does nothing else: clicks that come too soon are lost.

    python tests/hosts/ardour_window.py --output assets/screenshots
"""

import argparse
import base64
import re
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))

import screenshot  # noqa: E402
import support  # noqa: E402
from ardour import Ardour  # noqa: E402
from desktop import Desktop  # noqa: E402

QUERY_BOX = (332, 108)
"""A place in the box, in pixels of Ardour's window of the plugin, which has a row of its own above ours."""


def state_of(session) -> str:
    """What Sift has stored in the session's file."""
    text = (session.folder / f"{session.name}.ardour").read_text()
    chunks = (base64.b64decode(chunk + "===") for chunk in re.findall(r"[A-Za-z0-9+/]{200,}", text.replace("\n", "")))
    return next(chunk.decode(errors="replace") for chunk in chunks if b"queries" in chunk)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    output = parser.parse_args().output
    ardour = Ardour(Path(tempfile.mkdtemp()), [support.bundle("Sift.vst3")], support.environment())
    session = ardour.session(support.DEMO / "mixture.wav")
    session.insert_sift()
    with Desktop(support.environment()) as desktop:
        workstation = session.open(desktop)
        workstation.open_plugin().click(*QUERY_BOX)
        screenshot.type_with_a_slip(desktop)
        workstation.save_and_quit()
    assert "the music" in state_of(session), "space and backspace did not reach the window"

    with Desktop(support.environment()) as desktop:
        workstation = session.open(desktop)
        workstation.open_plugin().save(output / "ardour.png")
        workstation.save_and_quit()
    assert "the music" in state_of(session), "the text did not come back"
    exported, _ = support.read(session.export())
    music, speech = (support.read(support.DEMO / f"{name}.wav")[0] for name in ("music", "speech"))
    frames = min(exported.shape[1], music.shape[1])
    kept, lost = (support.si_sdr(exported[:, :frames], stem[:, :frames]) for stem in (music, speech))
    print(f"wrote {output / 'ardour.png'}; what Ardour exports is the music by {kept:.1f} dB, the speech by {lost:.1f} dB")


if __name__ == "__main__":
    main()
