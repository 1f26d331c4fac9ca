"""The VST3's window, opened and closed again and again in pedalboard while sound plays."""

import ctypes
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pedalboard

import support
from desktop import Desktop

RATE = 48_000
BLOCK = 512
OPEN_SECONDS = 0.25
LEFT_MIB = 0.21
"""By every opening, by what Sift is built on: 0.16 by nice-plug 0.4.2, whose VST3 view never drops the queue by which it
talks to a host's run loop on Linux, and 0.05 by baseview 0.4.2, which never drops the keyboard's map on X11."""


def ignore_x_errors():
    """pedalboard asks for a property of no window, at which Xlib ends the program. Gives what must be kept."""
    handler = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(lambda *_: 0)
    ctypes.CDLL("libX11.so.6").XSetErrorHandler(handler)
    return handler


class Player(threading.Thread):
    """Plays the demo mixture in a loop through `plugin`, in step with the clock."""

    def __init__(self, plugin):
        super().__init__()
        self._plugin = plugin
        self._mixture = support.read(support.DEMO / "mixture.wav")[0]
        self._stopped = threading.Event()

    def run(self):
        begin, played = time.monotonic(), 0
        while not self._stopped.is_set():
            block = self._mixture[:, np.arange(played, played + BLOCK) % self._mixture.shape[1]]
            time.sleep(max(0.0, begin + played / RATE - time.monotonic()))
            self._plugin.process(np.ascontiguousarray(block), RATE, BLOCK, reset=False)
            played += BLOCK

    def stop(self) -> None:
        self._stopped.set()
        self.join()


@dataclass
class Openings:
    readings: list[tuple[int, int]]
    """Resident memory in MiB and threads, every so many rounds."""
    seconds: list[float]
    """That each opening and closing took, beside the time it stayed open."""


def readings() -> tuple[int, int]:
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") >> 20, len(os.listdir("/proc/self/task"))


def openings(rounds: int, every: int) -> Openings:
    """Opens and closes the window so often."""
    kept = ignore_x_errors()
    plugin = pedalboard.VST3Plugin(str(support.bundle("Sift.vst3")))
    player = Player(plugin)
    player.start()
    done = Openings([], [])
    for number in range(rounds + 1):
        close = threading.Event()
        threading.Timer(OPEN_SECONDS, close.set).start()
        begin = time.monotonic()
        plugin.show_editor(close)
        done.seconds.append(time.monotonic() - begin - OPEN_SECONDS)
        if number % every == 0:
            time.sleep(0.5)
            done.readings.append(readings())
    player.stop()
    del kept
    return done


def test_a_hundred_openings_at_play_leave_no_thread_and_no_memory_behind(monkeypatch):
    # One arena: glibc otherwise keeps what threads that have ended had freed, which is not ours to judge.
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    rounds, every = 100, 20
    with Desktop(support.environment()) as desktop:
        done = support.in_process(openings, rounds, every, display=desktop.environment["DISPLAY"])
    print(f"\nmeasured: {1000 * np.median(done.seconds):.0f} ms to open and close; MiB, threads: {done.readings}")
    # What is made once is there after the first rounds.
    (memory, threads), *later = done.readings[1:]
    for times, (now, running) in enumerate(later, 1):
        # Heaps come apart a little, too.
        assert now <= memory + 12 + LEFT_MIB * every * times, f"MiB: {memory}, then {later}"
        assert running <= threads, f"threads: {threads}, then {later}"
