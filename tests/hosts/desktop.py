"""A desktop without a screen, a keyboard and a sound card: X11 by Xvfb, typing by xdotool, sound by JACK.

All of it is Debian's (`apt-get install xvfb openbox xdotool imagemagick jackd2 sndfile-tools`) and ends with the `with`
block.
"""

import os
import shutil
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np

PROGRAMS = ("Xvfb", "openbox", "xdotool", "import", "jackd", "jack_lsp", "jack_connect", "jack_rec", "sndfile-jackplay")
PATIENCE = 30.0
"""Seconds that anything may take to appear."""
PERIOD = 1024
"""Frames that JACK processes at a time."""


def until(found, what: str):
    """What `found()` gives as soon as that is something.

    Raises:
        AssertionError: naming `what`, if it never is.
    """
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.1)
    raise AssertionError(f"there was no {what} within {PATIENCE:.0f} s")


class Desktop:
    """A display of 1600 by 1200, and a JACK server of 48 kHz in step with the clock."""

    def __init__(self, environment: dict[str, str], rate: int = 48_000):
        missing = [program for program in PROGRAMS if not shutil.which(program)]
        assert not missing, f"missing programs: {', '.join(missing)}. `cargo xtask test` installs them"
        self.environment = dict(environment)
        self.rate = rate
        self._stack = ExitStack()

    def __enter__(self):
        screen = ["-screen", "0", "1600x1200x24", "-nolisten", "tcp"]
        reader, writer = os.pipe()
        self.start("Xvfb", "-displayfd", str(writer), *screen, pass_fds=[writer])
        os.close(writer)
        with os.fdopen(reader) as answer:
            display = answer.readline().strip()
        assert display, "Xvfb opened no display"
        self.environment["DISPLAY"] = f":{display}"
        # Dialogs get the keyboard from it.
        self.start("openbox")
        self.environment |= {"JACK_DEFAULT_SERVER": f"sift-{os.getpid()}", "JACK_NO_START_SERVER": "1"}
        server = ["--no-realtime", "-n", self.environment["JACK_DEFAULT_SERVER"], "-d", "dummy"]
        self.start("jackd", *server, "-r", str(self.rate), "-p", str(PERIOD))
        remedy = "killed ones may have taken all eight places: `rm -r /dev/shm/jack*` while none runs"
        until(lambda: "system:capture_1" in self.ports(), f"JACK server ({remedy})")
        return self

    def __exit__(self, *_):
        self._stack.close()

    def start(self, *command, pass_fds=()) -> subprocess.Popen:
        """Starts a program that ends with the desktop."""
        arguments = [str(part) for part in command]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        program = subprocess.Popen(arguments, env=self.environment, pass_fds=pass_fds, **quiet)

        def end():
            # Asked first: a JACK server that is killed leaves its place among eight taken.
            program.terminate()
            try:
                program.wait(5)
            except subprocess.TimeoutExpired:
                program.kill()
                program.wait()

        self._stack.callback(end)
        return program

    def run(self, *command) -> bytes:
        """What a program that succeeds prints; empty if it fails."""
        arguments = [str(part) for part in command]
        done = subprocess.run(arguments, env=self.environment, capture_output=True, timeout=PATIENCE)
        return done.stdout if done.returncode == 0 else b""

    def ports(self) -> list[str]:
        """Of JACK."""
        return self.run("jack_lsp").decode().split("\n")

    def play(self, recording: Path, client: str) -> None:
        """Plays `recording`, a stereo file of the desktop's rate, again and again into `client`."""
        self.start("sndfile-jackplay", "--loop=0", recording)
        until(lambda: "jackplay:out_2" in " ".join(self.ports()), "player")
        outputs = [port for port in self.ports() if "jackplay:out_" in port]
        inputs = until(lambda: self.inputs(client), f"input of {client}")
        for output, input_ in zip(outputs, inputs):
            self.run("jack_connect", output, input_)

    def inputs(self, client: str) -> list[str]:
        return [port for port in self.ports() if port.startswith(f"{client}:input")]

    def record(self, client: str, seconds: int, path: Path) -> None:
        """Records the main outputs of `client` into a WAV file."""
        outputs = [port for port in self.ports() if port.startswith(f"{client}:output")][:2]
        assert len(outputs) == 2, f"{client} has no two outputs among {self.ports()}"
        self.run("jack_rec", "-f", path, "-d", str(seconds), "-b", "16", *outputs)

    def window(self, title: str) -> "Window":
        """The window whose title begins so, once it is there."""
        return until(lambda: self.find(title), f"window called {title}")

    def find(self, title: str) -> "Window | None":
        """The window whose title begins so, if it is there."""
        number = self.run("xdotool", "search", "--onlyvisible", "--name", f"^{title}").decode().split("\n")[0]
        return Window(self, number) if number else None

    def rest_pointer(self) -> None:
        """Moves the pointer where it points at nothing."""
        self.run("xdotool", "mousemove", 1599, 1199)

    def keys(self, *names: str) -> None:
        """Presses keys one after another, by their X11 names, in whatever window has the keyboard."""
        for name in names:
            self.run("xdotool", "key", name)
            time.sleep(0.1)

    def type(self, text: str) -> None:
        self.run("xdotool", "type", "--delay", "60", text)
        time.sleep(0.3)


class Window:
    """One window of a desktop. Places are pixels from its upper left corner."""

    def __init__(self, desktop: Desktop, number: str):
        self._desktop = desktop
        self._number = number

    def click(self, x: int, y: int, times: int = 1) -> None:
        self._desktop.run("xdotool", "mousemove", "--window", self._number, x, y)
        time.sleep(0.2)
        self._desktop.run("xdotool", "click", "--repeat", times, "--delay", "80", "1")
        time.sleep(0.3)

    def activate(self) -> None:
        """Gives it the keyboard."""
        self._desktop.run("xdotool", "windowactivate", "--sync", self._number)

    def save(self, path: Path) -> None:
        """Saves its picture, as the file's extension says."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._desktop.run("import", "-window", self._number, path)
        assert path.is_file(), f"no picture was taken into {path}"

    def pixels(self) -> np.ndarray:
        """[height, width, 3], 0 to 255."""
        image = self._desktop.run("import", "-window", self._number, "-depth", "8", "ppm:-")
        magic, size, depth, pixels = image.split(b"\n", 3)
        assert (magic, depth) == (b"P6", b"255"), image[:40]
        width, height = map(int, size.split())
        return np.frombuffer(pixels, np.uint8).reshape(height, width, 3)
