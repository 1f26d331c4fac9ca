"""A desktop without hardware: X11 by Xvfb, keyboard and mouse by xdotool, sound by JACK.

The programs are Debian's (`apt-get install xvfb openbox xdotool imagemagick jackd2 sndfile-tools`). They end with the
`with` block.
"""

import os
import shutil
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np

PROGRAMS = ("Xvfb", "openbox", "xdotool", "import", "jackd", "jack_lsp", "jack_connect", "jack_rec", "sndfile-jackplay")
APPEAR_TIMEOUT = 30.0
"""Seconds that a window, a port or a file may take to appear."""
ATTEMPTS = 2
"""Times that input is sent: a window that has just opened may miss the first time."""
POLL_INTERVAL = 0.1
PERIOD = 1024
"""Frames per period of JACK."""


def until(find, what: str, timeout: float = APPEAR_TIMEOUT):
    """The first true value of `find()`, which is polled.

    Raises:
        AssertionError: naming `what`, after `timeout` seconds.
    """
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if value := find():
            return value
        time.sleep(POLL_INTERVAL)
    raise AssertionError(f"{what} did not appear within {timeout:.0f} s")


def attempt(action, has_worked, what: str, timeout: float) -> None:
    """Calls `action` until `has_worked()` within `timeout` seconds of it, at most ATTEMPTS times; prints the count.

    Raises:
        AssertionError: naming `what`, after the last attempt.
    """
    for number in range(1, ATTEMPTS + 1):
        action()
        try:
            until(has_worked, what, timeout)
        except AssertionError:
            continue
        print(f"\nmeasured: {what} at attempt {number} of {ATTEMPTS}")
        return
    raise AssertionError(f"{what} did not appear after {ATTEMPTS} attempts of {timeout:.0f} s")


class Desktop:
    """A display of 1600 by 1200 pixels, and a JACK server at `rate` Hz in real time."""

    def __init__(self, environment: dict[str, str], rate: int = 48_000):
        missing = [program for program in PROGRAMS if not shutil.which(program)]
        assert not missing, f"missing programs: {', '.join(missing)}. Install them: `cargo xtask test` does"
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
        # Without a window manager, dialogs get no keyboard.
        self.start("openbox")
        self.environment |= {"JACK_DEFAULT_SERVER": f"sift-{os.getpid()}", "JACK_NO_START_SERVER": "1"}
        server = ["--no-realtime", "-n", self.environment["JACK_DEFAULT_SERVER"], "-d", "dummy"]
        self.start("jackd", *server, "-r", str(self.rate), "-p", str(PERIOD))
        remedy = "if killed servers have taken all eight places, `rm -r /dev/shm/jack*` while none runs"
        until(lambda: "system:capture_1" in self.ports(), f"the JACK server ({remedy})")
        return self

    def __exit__(self, *_):
        self._stack.close()

    def start(self, *command, pass_fds=()) -> subprocess.Popen:
        """Starts a program that ends with the desktop."""
        arguments = [str(part) for part in command]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        program = subprocess.Popen(arguments, env=self.environment, pass_fds=pass_fds, **quiet)

        def end():
            # Not killed at once: a killed JACK server keeps its place, of which there are eight.
            program.terminate()
            try:
                program.wait(5)
            except subprocess.TimeoutExpired:
                program.kill()
                program.wait()

        self._stack.callback(end)
        return program

    def start_session_bus(self) -> None:
        """Starts a D-Bus session bus, which starts the services of AT-SPI when they are needed."""
        reader, writer = os.pipe()
        self.start("dbus-daemon", "--session", "--nofork", f"--print-address={writer}", pass_fds=[writer])
        os.close(writer)
        with os.fdopen(reader) as answer:
            address = answer.readline().strip()
        assert address, "dbus-daemon opened no bus"
        self.environment["DBUS_SESSION_BUS_ADDRESS"] = address

    def run(self, *command) -> bytes:
        """The output of a program that succeeds; empty if it fails."""
        arguments = [str(part) for part in command]
        done = subprocess.run(arguments, env=self.environment, capture_output=True, timeout=APPEAR_TIMEOUT)
        return done.stdout if done.returncode == 0 else b""

    def ports(self) -> list[str]:
        """The ports of JACK."""
        return self.run("jack_lsp").decode().split("\n")

    def play(self, recording: Path, client: str) -> None:
        """Plays `recording`, a stereo file at the desktop's rate, repeatedly into `client`."""
        self.start("sndfile-jackplay", "--loop=0", recording)
        until(lambda: "jackplay:out_2" in " ".join(self.ports()), "the player's second port")
        outputs = [port for port in self.ports() if "jackplay:out_" in port]
        inputs = until(lambda: self.inputs(client), f"an input of {client}")
        for output, input_ in zip(outputs, inputs):
            self.run("jack_connect", output, input_)

    def inputs(self, client: str) -> list[str]:
        """The input ports of `client`."""
        return [port for port in self.ports() if port.startswith(f"{client}:input")]

    def record(self, client: str, seconds: int, path: Path) -> None:
        """Records the main outputs of `client` into a WAV file."""
        outputs = [port for port in self.ports() if port.startswith(f"{client}:output")][:2]
        assert len(outputs) == 2, f"{client} has {len(outputs)} outputs among {self.ports()}; expected 2"
        self.run("jack_rec", "-f", path, "-d", str(seconds), "-b", "16", *outputs)

    def window(self, title: str) -> "Window":
        """The window whose title begins with `title`, once it is there."""
        return until(lambda: self.find(title), f"a window with the title {title}")

    def find(self, title: str) -> "Window | None":
        """The window whose title begins with `title`, if it is there."""
        number = self.run("xdotool", "search", "--onlyvisible", "--name", f"^{title}").decode().split("\n")[0]
        return Window(self, number) if number else None

    def rest_pointer(self) -> None:
        """Moves the pointer away from all windows."""
        self.run("xdotool", "mousemove", 1599, 1199)

    def keys(self, *names: str) -> None:
        """Presses keys one after another, by their X11 names, in the window that has the keyboard."""
        for name in names:
            self.run("xdotool", "key", name)
            time.sleep(0.1)

    def type(self, text: str) -> None:
        """Types `text` in the window that has the keyboard."""
        self.run("xdotool", "type", "--delay", "60", text)
        time.sleep(0.3)


class Window:
    """A window of a desktop. Positions are in pixels from its upper left corner."""

    def __init__(self, desktop: Desktop, number: str):
        self._desktop = desktop
        self._number = number

    def click(self, x: int, y: int, times: int = 1) -> None:
        """Clicks `times` times at a position."""
        self._desktop.run("xdotool", "mousemove", "--window", self._number, x, y)
        time.sleep(0.2)
        self._desktop.run("xdotool", "click", "--repeat", times, "--delay", "80", "1")
        time.sleep(0.3)

    def activate(self) -> None:
        """Gives the window the keyboard."""
        self._desktop.run("xdotool", "windowactivate", "--sync", self._number)

    def save(self, path: Path) -> None:
        """Saves a picture of the window, in the format of the file's extension."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._desktop.run("import", "-window", self._number, path)
        assert path.is_file(), f"no picture was written to {path}"

    def pixels(self) -> np.ndarray:
        """[height, width, 3], 0 to 255."""
        image = self._desktop.run("import", "-window", self._number, "-depth", "8", "ppm:-")
        magic, size, depth, pixels = image.split(b"\n", 3)
        assert (magic, depth) == (b"P6", b"255"), image[:40]
        width, height = map(int, size.split())
        return np.frombuffer(pixels, np.uint8).reshape(height, width, 3)
