"""The VST3's editor, opened and closed many times in pedalboard while sound plays."""

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
FRAGMENTATION_MIB = 12
"""Growth of a fragmented heap."""
LEAK_MIB_PER_OPENING = 0.21
"""Leaks of dependencies: 0.16 MiB of nice-plug 0.4.2, whose VST3 view never drops its queue to a host's run loop on
Linux, and 0.05 MiB of baseview 0.4.2, which never drops X11's keyboard map."""


def ignore_x_errors():
    """Ignores pedalboard's request for a property of no window, at which Xlib would exit. Keep the returned object."""
    handler = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(lambda *_: 0)
    ctypes.CDLL("libX11.so.6").XSetErrorHandler(handler)
    return handler


class Player(threading.Thread):
    """Plays the demo mixture in a loop through `plugin`, in real time."""

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
class OpenCloseResult:
    """Memory, threads and times of many openings."""

    readings: list[tuple[int, int]]
    """Resident memory in MiB and threads, at regular intervals."""
    seconds: list[float]
    """Time of each opening and closing, without the time that the editor stayed open."""


def reading() -> tuple[int, int]:
    """Resident memory in MiB, and threads."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") >> 20, len(os.listdir("/proc/self/task"))


def wait_for_threads(count: int) -> None:
    """Waits until at most `count` threads run, or for two seconds."""
    end = time.monotonic() + 2
    while reading()[1] > count and time.monotonic() < end:
        time.sleep(0.05)


def open_and_close(rounds: int, every: int) -> OpenCloseResult:
    """Opens and closes the editor `rounds` times, with a reading after every `every` times."""
    kept = ignore_x_errors()
    plugin = pedalboard.VST3Plugin(str(support.bundle("Sift.vst3")))
    player = Player(plugin)
    player.start()
    done = OpenCloseResult([], [])
    for number in range(rounds + 1):
        close = threading.Event()
        threading.Timer(OPEN_SECONDS, close.set).start()
        begin = time.monotonic()
        plugin.show_editor(close)
        done.seconds.append(time.monotonic() - begin - OPEN_SECONDS)
        if number % every == 0:
            # Threads of the closed editor end in the background.
            if done.readings:
                wait_for_threads(done.readings[-1][1])
            done.readings.append(reading())
    player.stop()
    del kept
    return done


def test_hundred_editor_openings_leave_no_thread_or_memory(monkeypatch):
    # With more than one arena glibc keeps memory that ended threads have freed.
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    rounds, every = 100, 20
    with Desktop(support.environment()) as desktop:
        done = support.in_process(open_and_close, rounds, every, display=desktop.environment["DISPLAY"])
    print(f"\nmeasured: {1000 * np.median(done.seconds):.0f} ms to open and close; MiB, threads: {done.readings}")
    # The first reading lacks what is allocated once.
    (memory, threads), *later = done.readings[1:]
    for times, (now, running) in enumerate(later, 1):
        limit = memory + FRAGMENTATION_MIB + LEAK_MIB_PER_OPENING * every * times
        assert now <= limit, f"memory grew from {memory} MiB: {later}"
        assert running <= threads, f"there were {threads} threads: {later}"
