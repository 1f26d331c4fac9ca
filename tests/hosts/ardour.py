"""Ardour: scans a plugin, makes a session with it, exports; and its window.

Everything Ardour writes stays in one folder, the home of a user who has nothing else: the settings of the real
user are neither read nor changed. The programs are Debian's (`apt-get install ardour`).
"""

import shutil
import subprocess
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import soundfile
from desktop import until

PROGRAMS = Path("/usr/lib/ardour7")
SCRIPTS = Path(__file__).parent
SUPERCLOCK_TICKS = 282_240_000
"""What Ardour divides a second into."""


class Ardour:
    """One user's Ardour, in `home`, with the plugins `vst3` installed and `environment` around it."""

    def __init__(self, home: Path, vst3: list[Path], environment: dict[str, str]):
        assert shutil.which("ardour7-lua"), "Ardour 7 is missing: install it with `apt-get install ardour`"
        self.home = home
        self.environment = {
            **environment,
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / ".config"),
            "XDG_CACHE_HOME": str(home / ".cache"),
        }
        for folder in (".vst3", ".config", ".cache"):
            (home / folder).mkdir(parents=True)
        for bundle in vst3:
            installed = home / ".vst3" / bundle.name
            installed.symlink_to(bundle, target_is_directory=True)
            self._run(PROGRAMS / "ardour-vst3-scanner", "-f", installed, library_path=PROGRAMS)

    def session(self, recording: Path) -> "Session":
        """A new session with `recording`, a stereo file, on a track from the start."""
        rate = soundfile.info(recording).samplerate
        # Ardour keeps its files under the folder's name, which so must be the session's.
        session = Session(self, self.home / "sift")
        self.lua("create_session.lua", session.folder, session.name, rate)
        session.add_region(recording)
        return session

    def lua(self, script: str, *arguments) -> None:
        """Runs a script of this folder.

        Raises:
            AssertionError: if it fails; Ardour itself says so only in its output.
        """
        output = self._run("ardour7-lua", SCRIPTS / script, *arguments)
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
    """A session of one track, `Mixture`."""

    def __init__(self, ardour: Ardour, folder: Path):
        self.ardour = ardour
        self.folder = folder
        self.name = folder.name

    def add_region(self, recording: Path) -> None:
        """Puts `recording` on the track, without fades, and makes it the session's range.

        Ardour imports files only through its window; this writes into the session's file what an import leaves.
        """
        path = self.folder / f"{self.name}.ardour"
        tree = ElementTree.parse(path)
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
        tree.write(path, encoding="UTF-8", xml_declaration=True)

    def insert_sift(self, **automation: list[tuple[float, float]]) -> None:
        """Inserts Sift, with steps (seconds, value from 0 to 1) by parameter, `mask_strength` for `Mask strength`."""
        steps = [
            f"{name.replace('_', ' ').capitalize()}=" + ",".join(f"{at}:{value:.9f}" for at, value in points)
            for name, points in automation.items()
        ]
        self.ardour.lua("insert_sift.lua", self.folder, self.name, *steps)

    def open(self, desktop) -> "Workstation":
        """Opens the session in Ardour's window on `desktop`, through whose JACK it plays."""
        return Workstation(self, desktop)

    def export(self) -> Path:
        """Exports the session's range at its rate, in float, and returns the file."""
        path = self.folder / "export" / "export.wav"
        self.ardour._run("ardour7-export", "-b", "float", "-o", path, self.folder, self.name)
        return path


class Workstation:
    """Ardour's window with a session. Places are those of Ardour 7.3 in the size that it begins with."""

    AUDIO_SYSTEM, CONNECT = (287, 50), (566, 351)
    MIXER, FIRST_PLUGIN = (1325, 73), (311, 208)

    def __init__(self, session: Session, desktop):
        ardour = session.ardour
        self._desktop = desktop
        own = ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")
        desktop.environment |= {name: ardour.environment[name] for name in own}
        # Asked for by its first start, otherwise.
        (ardour.home / ".config" / "ardour7" / ".a7").touch()
        self._program = desktop.start("ardour", "--no-announcements", "--no-splash", session.folder)

        title = f"{session.name} - Ardour"

        def first_window():
            """Ardour's own, if it knows the audio system from the last time; else the choice of one."""
            if there := desktop.find(title):
                return there
            # Until then it says, in a window without a title, that the sound card is another one.
            desktop.keys("Return")
            return desktop.find("Audio/MIDI Setup")

        dialog = until(first_window, "window of Ardour's")
        if not desktop.find(title):
            time.sleep(1)
            dialog.click(*self.AUDIO_SYSTEM)
            time.sleep(1)
            desktop.keys("Down", "Return")
            time.sleep(3)
            dialog.click(*self.CONNECT)
        until(lambda: "ardour" in " ".join(desktop.ports()), "connection of Ardour's to JACK")
        self.window = desktop.window(title)

    def open_plugin(self):
        """The window of the first track's first plugin."""

        def opened():
            time.sleep(3)
            self.window.click(*self.FIRST_PLUGIN, times=2)
            time.sleep(3)
            if there := self._desktop.find("Mixture: Sift"):
                return there
            # The button shows the mixer, or hides it where the session remembers it shown.
            self.window.click(*self.MIXER)
            return None

        plugin = until(opened, "window of the plugin's")
        time.sleep(3)
        return plugin

    def save_and_quit(self) -> None:
        self.window.activate()
        self._desktop.keys("ctrl+s")
        time.sleep(3)
        self._desktop.keys("ctrl+q")
        self._program.wait(60)
