"""Paths, the expected latency and measures, for the host tests in Python.

The formulas are those of the Rust modules `metrics` and `fixtures` of this crate, which name their sources.
"""

import math
import os
import subprocess
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import soundfile

REPOSITORY = Path(__file__).resolve().parents[2]
DEMO = REPOSITORY / "assets" / "demo"
PACKAGES = REPOSITORY / "tests" / "packages"

KEPT_WORD = "말소리"
"""The word that makes the mask of the package `by-query` 1; without it the mask is 0."""

TEST_TIMEOUT = 600
"""Seconds that a function in a process of its own, or one run of `sift`, may take."""


def bundle(name: str) -> Path:
    """The bundle `name` in the folder SIFT_BUNDLES, else in target/bundled/debug."""
    path = Path(os.environ.get("SIFT_BUNDLES", REPOSITORY / "target" / "bundled" / "debug")) / name
    assert path.exists(), (
        f"{path} is missing. Build it with `cargo xtask bundle`, or set SIFT_BUNDLES to the folder that holds it"
    )
    return path


def command_line() -> Path:
    """The program `sift`: SIFT_CLI, else the debug build."""
    path = Path(os.environ.get("SIFT_CLI", REPOSITORY / "target" / "debug" / "sift"))
    assert path.exists(), f"{path} is missing. Build it with `cargo build -p sift`, or set SIFT_CLI to the program"
    return path


def environment(package: str | None = None) -> dict[str, str]:
    """This process's environment without the user's packages and preferences.

    The plugin finds the ONNX Runtime of its own bundle and, in place of the default package, the package `package` of
    tests/packages.
    """
    chosen = ("ORT_DYLIB_PATH", "SIFT_MODELS", "SIFT_PROVIDER")
    variables = {name: value for name, value in os.environ.items() if name not in chosen}
    for folder in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        variables[folder] = str(REPOSITORY / "tests" / "no-such-folder")
    if package is not None:
        variables["SIFT_MODELS"] = str(PACKAGES / package)
    return variables


def _set_environment(variables: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(variables)


def in_process(function, *arguments, package: str | None = None, display: str | None = None):
    """Calls `function(*arguments)`, a function of a module, in a new process with `environment(package)` and `display`.

    The environment decides once per process which model the plugin finds, and a crash ends that process alone.
    """
    variables = environment(package) | ({"DISPLAY": display} if display else {})
    with ProcessPoolExecutor(
        1, mp_context=get_context("spawn"), initializer=_set_environment, initargs=(variables,)
    ) as pool:
        return pool.submit(function, *arguments).result(TEST_TIMEOUT)


def render(*arguments: str | Path, package: str | None = None) -> subprocess.CompletedProcess:
    """Runs `sift render` with `arguments`; does not raise if it fails."""
    variables = environment(package)
    if "ORT_DYLIB_PATH" in os.environ:
        variables["ORT_DYLIB_PATH"] = os.environ["ORT_DYLIB_PATH"]
    return subprocess.run(
        [command_line(), "render", *map(str, arguments)],
        env=variables,
        capture_output=True,
        text=True,
        timeout=TEST_TIMEOUT,
    )


def read(path: Path) -> tuple[np.ndarray, int]:
    """Samples [channels, frames] as float32, and the rate in Hz."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return np.ascontiguousarray(samples.T), rate


def write(path: Path, samples: np.ndarray, rate: int) -> Path:
    """Writes samples [channels, frames] as a WAV file of 32-bit float."""
    soundfile.write(path, samples.T, rate, subtype="FLOAT")
    return path


def stft_frame_and_hop(rate: float) -> tuple[int, int]:
    """Frame and hop of the default model's STFT at the host's rate, in samples."""
    ratio = rate / 32_000
    return 2 * math.floor(1024 * ratio / 2 + 0.5), math.floor(512 * ratio + 0.5)


def expected_latency(rate: float, max_block: int) -> int:
    """Latency of the default model, in samples."""
    frame, hop = stft_frame_and_hop(rate)
    return frame + math.ceil((max_block + 0.004 * rate) / hop) * hop


def impulse(frames: int, position: int) -> np.ndarray:
    """Two channels of `frames` samples: 1 at `position`, else 0."""
    samples = np.zeros((2, frames), np.float32)
    samples[:, position] = 1
    return samples


def noise(frames: int, amplitude: float = 1.0, seed: int = 1) -> np.ndarray:
    """Uniform white noise [2, frames]."""
    return np.random.default_rng(seed).uniform(-amplitude, amplitude, (2, frames)).astype(np.float32)


def sdr(estimate: np.ndarray, reference: np.ndarray) -> float:
    """Signal-to-distortion ratio in dB; infinite if both are equal.

    Y. Mitsufuji et al., "Music Demixing Challenge 2021", Frontiers in Signal Processing 1, 2022, equation 1.
    """
    distortion = np.sum((reference.astype(np.float64) - estimate) ** 2)
    energy = np.sum(reference.astype(np.float64) ** 2)
    return math.inf if distortion == 0 else 10 * math.log10(energy / distortion)


def si_sdr(estimate: np.ndarray, reference: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio in dB."""
    estimate, reference = estimate.astype(np.float64).ravel(), reference.astype(np.float64).ravel()
    target = (estimate @ reference) / (reference @ reference) * reference
    return 10 * math.log10(np.sum(target**2) / np.sum((target - estimate) ** 2))
