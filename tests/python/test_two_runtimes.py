"""The bundled VST3 in a host in which something else uses an ONNX Runtime of its own.

The other one has another version, and the same name for the dynamic linker (SONAME).
"""

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime
import pedalboard
import pytest

import support

RATE = 48_000
LIBRARY = "libonnxruntime.so"
CREATE_ENV = 3
"""Position of `CreateEnv` in the table `OrtApi` of onnxruntime_c_api.h, which never changes."""


class ApiBase(ctypes.Structure):
    """`OrtApiBase` of onnxruntime_c_api.h."""

    _fields_ = [
        ("get_api", ctypes.CFUNCTYPE(ctypes.POINTER(ctypes.c_void_p), ctypes.c_uint32)),
        ("get_version_string", ctypes.CFUNCTYPE(ctypes.c_char_p)),
    ]


class OtherRuntime:
    """ONNX Runtime as another plugin may load it: its symbols are visible to all, and it has threads and a session."""

    def __init__(self) -> None:
        version = onnxruntime.__version__
        path = Path(onnxruntime.__file__).parent / "capi" / f"{LIBRARY}.{version}"
        library = ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
        library.OrtGetApiBase.restype = ctypes.POINTER(ApiBase)
        base = library.OrtGetApiBase().contents
        assert base.get_version_string().decode() == version
        create = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(ctypes.c_void_p))
        self.environment = ctypes.c_void_p()
        status = create(base.get_api(1)[CREATE_ENV])(3, b"other", ctypes.byref(self.environment))
        assert status is None and self.environment.value
        self.session = onnxruntime.InferenceSession(
            support.PACKAGES / "half" / "separator.onnx", providers=["CPUExecutionProvider"]
        )

    def run(self) -> list[np.ndarray]:
        inputs = {
            value.name: np.ones([size if isinstance(size, int) else 1 for size in value.shape], np.float32)
            for value in self.session.get_inputs()
        }
        return self.session.run(None, inputs)


def separated(bundle: Path) -> np.ndarray:
    """The output of a new instance for two seconds of the demo."""
    mixture, rate = support.read(support.DEMO / "mixture.wav")
    assert rate == RATE
    return pedalboard.VST3Plugin(str(bundle)).process(mixture[:, : 2 * RATE], RATE, 512)


def separated_alone() -> np.ndarray:
    return separated(support.bundle("Sift.vst3"))


def loaded_runtimes() -> set[Path]:
    """The files of ONNX Runtime that this process has loaded."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    files = {Path(line.split(maxsplit=5)[5]) for line in lines if LIBRARY in line}
    return {file.resolve() for file in files}


def runtime_in(bundle: Path) -> Path:
    (file,) = bundle.rglob(LIBRARY)
    return file.resolve()


def separated_beside_another(loads_first: bool) -> list[np.ndarray]:
    """The outputs of Sift before, if it loads first, and while the other one is loaded."""
    bundle = support.bundle("Sift.vst3")
    outputs = [] if loads_first else [separated(bundle)]
    other = OtherRuntime()
    before = other.run()
    outputs.append(separated(bundle))
    for one, again in zip(before, other.run(), strict=True):
        assert np.array_equal(one, again), "the other runtime computes something else"
    assert runtime_in(bundle) in loaded_runtimes()
    assert len(loaded_runtimes()) == 2
    return outputs


@pytest.mark.parametrize("loads_first", [True, False], ids=["the other first", "Sift first"])
def test_another_version_in_the_host_changes_no_bit(loads_first):
    expected = support.in_process(separated_alone)
    outputs = support.in_process(separated_beside_another, loads_first)
    assert all(np.array_equal(output, expected) for output in outputs)


def separated_by_each(bundles: list[Path]) -> list[np.ndarray]:
    outputs = [separated(bundle) for bundle in bundles]
    assert loaded_runtimes() == {runtime_in(bundle) for bundle in bundles}
    return outputs


def test_two_copies_of_sift_use_each_its_own(tmp_path):
    bundle = support.bundle("Sift.vst3")
    copy = tmp_path / "Sift.vst3"
    shutil.copytree(bundle, copy)
    first, second = support.in_process(separated_by_each, [bundle, copy])
    assert np.array_equal(first, second)


ANSWERING = """
struct ApiBase { const void *(*get_api)(unsigned); const char *(*get_version_string)(void); };
static const void *get_api(unsigned version) { (void)version; return 0; }
static const char *get_version_string(void) { return "1.20.1"; }
static const struct ApiBase base = { get_api, get_version_string };
const struct ApiBase *OrtGetApiBase(void) { return &base; }
"""
"""A library in C that answers as another version of ONNX Runtime, and has nothing else."""


@pytest.fixture
def replaced(tmp_path) -> tuple[Path, Path]:
    """An ONNX Runtime in whose place another file answers, and that file."""
    own, other, source = tmp_path / LIBRARY, tmp_path / "other.so", tmp_path / "other.c"
    source.write_text(ANSWERING)
    compile_library = ["cc", "-shared", "-fPIC", "-o"]
    subprocess.run([*compile_library, other, source], check=True)
    source.write_text("")
    subprocess.run([*compile_library, own, source, "-Wl,--no-as-needed", other], check=True)
    return own, other


def test_version_that_answers_in_its_place_is_refused_and_named(replaced):
    variables = support.environment() | {"ORT_DYLIB_PATH": str(replaced[0])}
    doctor = subprocess.run([support.command_line(), "doctor"], env=variables, capture_output=True, text=True)
    assert doctor.returncode != 0
    (line,) = [line for line in doctor.stdout.splitlines() if "FAIL  ONNX Runtime" in line]
    for part in [*map(str, replaced), "version 1.20.1"]:
        assert part in line


def test_sound_passes_dry_while_another_version_answers(replaced, tmp_path):
    bundle = tmp_path / "Sift.vst3"
    shutil.copytree(support.bundle("Sift.vst3"), bundle)
    os.replace(replaced[0], runtime_in(bundle))
    output = support.in_process(separated, bundle)
    mixture, _ = support.read(support.DEMO / "mixture.wav")
    assert np.array_equal(output, mixture[:, : 2 * RATE])
