"""Ardour: scanning a plugin, a session with it, exporting, and Ardour's window.

Ardour reads and writes one folder, the home of a user with no other files, and leaves the settings of the real user
alone. The programs are Debian's (`apt-get install ardour`).
"""

import base64
import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import soundfile

from desktop import attempt, until

SCRIPTS = Path(__file__).parent
PLAYS_THROUGH_JACK = """\
<?xml version="1.0" encoding="UTF-8"?>
<Ardour>
  <Config>
    <Option name="try-autostart-engine" value="1"/>
  </Config>
  <Extra>
    <AudioMIDISetup>
      <EngineStates>
        <State backend="JACK" driver="" device="" input-device="" output-device="" sample-rate="48000" buffer-size="1024"
          n-periods="0" input-latency="0" output-latency="0" lm-input="" lm-output="" active="1" use-buffered-io="0"
          midi-option="" lru="1"/>
      </EngineStates>
    </AudioMIDISetup>
  </Extra>
</Ardour>
"""
"""Settings of a user who has selected JACK."""
PRESET = "9d7c1f5e-2b64-4a0b-8f3e-5a6d0c9b7e21"
EXPORTS_FLOAT = f"""\
<?xml version="1.0" encoding="UTF-8"?>
<ExportPreset id="{PRESET}" name="32-bit float">
  <ExportFormat id="20b4ab09-6452-4cb3-bd66-b921cdbd2942"/>
</ExportPreset>
"""
"""A user's export preset with one of Ardour's own formats: WAV at the session's rate."""
SUPERCLOCK_TICKS = 282_240_000
"""Ticks per second of Ardour's clock."""


def installed_version() -> str:
    """The major version of the installed Ardour, which its programs and folders have in their names.

    Debian 12 has 7, Debian 13 has 8.
    """
    programs = [path for folder in os.get_exec_path() for path in Path(folder).glob("ardour[0-9]*-lua")]
    assert programs, "Ardour is missing. Install it: `apt-get install ardour`"
    return programs[0].name.removeprefix("ardour").removesuffix("-lua")


class Ardour:
    """The Ardour of a user with the folder `home`, the installed plugins `vst3`, and the variables `environment`."""

    def __init__(self, home: Path, vst3: list[Path], environment: dict[str, str]):
        self.home = home
        self.version = installed_version()
        self.environment = {
            **environment,
            # No vector instructions: with those of AVX-512, Ardour 7.3 writes past buffers, and one in six exports of a
            # session without plugins crashed.
            "ARDOUR_FPU_FLAGS": "0",
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / ".config"),
            "XDG_CACHE_HOME": str(home / ".cache"),
        }
        for folder in (".vst3", ".config", ".cache"):
            (home / folder).mkdir(parents=True)
        for bundle in vst3:
            installed = home / ".vst3" / bundle.name
            installed.symlink_to(bundle, target_is_directory=True)
            programs = Path(f"/usr/lib/ardour{self.version}")
            self._run(programs / "ardour-vst3-scanner", "-f", installed, library_path=programs)

    @property
    def settings(self) -> Path:
        """The folder with the user's settings."""
        return self.home / ".config" / f"ardour{self.version}"

    def session(self, recording: Path) -> "Session":
        """A new session with `recording`, a stereo file, at the start of a track."""
        rate = soundfile.info(recording).samplerate
        # Ardour names its files by the folder, so the session must have the folder's name.
        session = Session(self, self.home / "sift")
        self.lua("create_session.lua", session.folder, session.name, rate)
        session.add_region(recording)
        return session

    def lua(self, script: str, *arguments) -> None:
        """Runs a script of this folder.

        Raises:
            AssertionError: if it fails, which Ardour reports in its output alone.
        """
        output = self._run(f"ardour{self.version}-lua", SCRIPTS / script, *arguments)
        assert "Error:" not in output, output

    def _run(self, *command, library_path: Path | None = None) -> str:
        environment = self.environment | ({"LD_LIBRARY_PATH": str(library_path)} if library_path else {})
        done = subprocess.run(
            [str(part) for part in command],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}"
        return done.stdout


class Session:
    """A session with one track, `Mixture`."""

    def __init__(self, ardour: Ardour, folder: Path):
        self.ardour = ardour
        self.folder = folder
        self.name = folder.name

    def add_region(self, recording: Path) -> None:
        """Places `recording` on the track, without fades, and sets the session's range to it.

        Ardour imports files only in its window, so this edits the session's file as an import would.
        """
        tree = ElementTree.parse(self.file)
        root = tree.getroot()
        first = int(root.get("id-counter"))
        left, right, region, location = map(str, range(first, first + 4))
        root.set("id-counter", str(first + 4))

        shutil.copy(recording, self.folder / "interchange" / self.name / "audiofiles" / recording.name)
        info = soundfile.info(recording)
        length = f"a{info.frames * SUPERCLOCK_TICKS // info.samplerate}"
        for channel, source in enumerate((left, right)):
            attributes = {"id": source, "name": recording.name, "type": "audio", "channel": str(channel)}
            ElementTree.SubElement(
                root.find("Sources"), "Source", attributes | {"flags": "", "origin": "", "gain": "1"}
            )
        attributes = {
            "id": region,
            "name": recording.stem,
            "type": "audio",
            "channels": "2",
            "start": "a0",
            "length": f"{length}@a0",
            "sync-position": "a0",
            "fade-in-active": "0",
            "fade-out-active": "0",
            "default-fade-in": "0",
            "default-fade-out": "0",
            "scale-amplitude": "1",
            "opaque": "1",
            "source-0": left,
            "source-1": right,
            "master-source-0": left,
            "master-source-1": right,
        }
        ElementTree.SubElement(root.find("Playlists/Playlist[@name='Mixture']"), "Region", attributes)
        attributes = {"id": location, "name": "session", "start": "a0", "end": length, "flags": "IsSessionRange"}
        ElementTree.SubElement(root.find("Locations"), "Location", attributes | {"locked": "0"})
        tree.write(self.file, encoding="UTF-8", xml_declaration=True)

    @property
    def file(self) -> Path:
        """The file that Ardour writes when it saves."""
        return self.folder / f"{self.name}.ardour"

    def show_sift(self) -> None:
        """Edits the session's file so that Sift's editor opens with the session, as if it had been saved open."""
        tree = ElementTree.parse(self.file)
        root = tree.getroot()
        track = root.find("Routes/Route[@name='Mixture']")
        plugin = track.find("Processor[@name='Sift']")
        extra = root.find("Extra")
        extra = ElementTree.SubElement(root, "Extra") if extra is None else extra
        name = f"P-{track.get('id')}-{plugin.get('id')}"
        attributes = {"name": name, "visible": "1", "x-off": "60", "y-off": "130", "x-size": "-1", "y-size": "-1"}
        ElementTree.SubElement(ElementTree.SubElement(extra, "UI"), "Window", attributes | {"custom-ui": "1"})
        tree.write(self.file, encoding="UTF-8", xml_declaration=True)

    def sift_state(self) -> str:
        """The state of Sift in the session's file."""
        chunks = re.findall(r"[A-Za-z0-9+/]{200,}", self.file.read_text().replace("\n", ""))
        decoded = (base64.b64decode(chunk + "===").decode(errors="replace") for chunk in chunks)
        return next(chunk for chunk in decoded if "queries" in chunk)

    def insert_sift(self, **automation: list[tuple[float, float]]) -> None:
        """Inserts Sift with automation: steps (seconds, value from 0 to 1) by parameter, as `mask_strength`."""
        steps = [
            f"{name.replace('_', ' ').capitalize()}=" + ",".join(f"{at}:{value:.9f}" for at, value in points)
            for name, points in automation.items()
        ]
        self.ardour.lua("insert_sift.lua", self.folder, self.name, *steps)

    def open(self, desktop) -> "Workstation":
        """Opens the session in Ardour's window on `desktop`, with its JACK server."""
        return Workstation(self, desktop)

    def export(self) -> Path:
        """Exports the session's range at its rate in 32-bit float; returns the file."""
        presets = self.ardour.settings / "export"
        presets.mkdir(parents=True, exist_ok=True)
        (presets / "float.preset").write_text(EXPORTS_FLOAT)
        path = self.folder / "export" / "export.wav"
        self.ardour.lua("export.lua", self.folder, self.name, path.parent, path.stem, PRESET)
        return path


class Workstation:
    """Ardour's window with a session, and the plugin's editor, which opens with the session."""

    def __init__(self, session: Session, desktop):
        self._session, self._desktop = session, desktop
        ardour = session.ardour
        own = ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "ARDOUR_FPU_FLAGS")
        desktop.environment |= {name: ardour.environment[name] for name in own}
        # Without these files Ardour opens dialogs about its user and the audio system.
        (ardour.settings / f".a{ardour.version}").touch()
        if not (ardour.settings / "config").exists():
            (ardour.settings / "config").write_text(PLAYS_THROUGH_JACK)
        self._program = desktop.start("ardour", "--no-announcements", "--no-splash", session.folder)

        def opened():
            # A dialog without a title may report that the session was made with another audio system.
            if there := desktop.find(f"{session.name} - Ardour"):
                return there
            desktop.keys("Return")
            return None

        self._window = until(opened, "Ardour's window")
        self.editor = desktop.window("Mixture: Sift")

    def save(self) -> None:
        """Saves the session and waits until its file is written."""
        self._save(self._window.activate)

    def save_from_editor(self, *positions: tuple[int, int]) -> None:
        """Saves the session by Ardour's shortcut with the keyboard in the plugin's editor, after clicks at `positions`.

        The clicks must change the state, because Ardour does not save an unchanged session.
        """

        def click():
            for position in positions:
                self.editor.click(*position)

        self._save(click)

    def _save(self, focus) -> None:
        file = self._session.file
        before = file.stat().st_mtime_ns

        def save():
            focus()
            self._desktop.keys("ctrl+s")

        attempt(save, lambda: file.stat().st_mtime_ns > before, "the saved session", timeout=10)

    def quit(self) -> None:
        """Quits Ardour, whose session is saved."""

        def quit_by_keys():
            self._window.activate()
            self._desktop.keys("ctrl+q")

        attempt(quit_by_keys, lambda: self._program.poll() is not None, "Ardour's end", timeout=15)
