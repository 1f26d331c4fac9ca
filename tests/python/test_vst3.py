"""The bundled VST3 in a JUCE host, pedalboard, which renders offline and takes the reported latency off."""

import ctypes
import gc
import os
from pathlib import Path

import numpy as np
import pedalboard
import pytest

import support
import vstpreset

RATES = [44_100, 48_000, 96_000, 50_317]
BLOCKS = [1, 64, 480, 512, 2048]
RECONSTRUCTION = 1e-5  # −100 dB


def plugin(**settings: float) -> pedalboard.VST3Plugin:
    """A new instance with parameters set, each by its name and a value of 0 to 1."""
    instance = pedalboard.VST3Plugin(str(support.bundle("Sift.vst3")))
    for name, value in settings.items():
        instance.parameters[name].raw_value = value
    return instance


def rendered(samples: np.ndarray, rate: int, block: int, settings: dict[str, float]) -> tuple[np.ndarray, int]:
    """What comes out of a new instance, and the latency that it reported."""
    instance = plugin(**settings)
    output = instance.process(samples, rate, block)
    return output, instance.reported_latency_samples


def rendered_at_once(cases: list[tuple]) -> list[tuple[np.ndarray, int]]:
    return [rendered(*case) for case in cases]


@pytest.mark.parametrize(
    ("package", "settings", "tolerance"),
    [("half", {"mask_strength": 0.0}, 0.0), ("identity", {}, RECONSTRUCTION)],
    ids=["strength 0", "through the separator"],
)
def test_an_impulse_stays_where_it_is(package, settings, tolerance):
    cases = [(support.impulse(12_000, 3_000), rate, block, settings) for rate in RATES for block in BLOCKS]
    results = support.in_process(rendered_at_once, cases, package=package)
    for (samples, rate, block, _), (output, latency) in zip(cases, results, strict=True):
        assert latency == support.expected_latency(rate, block), f"{rate} Hz, blocks of {block}"
        assert np.abs(output - samples).max() <= tolerance, f"{rate} Hz, blocks of {block}"


def test_strength_0_is_the_input_bit_for_bit():
    samples = support.noise(48_000)
    output, _ = support.in_process(rendered, samples, 48_000, 512, {"mask_strength": 0.0}, package="half")
    assert np.array_equal(output, samples)


def test_bypass_is_the_input_bit_for_bit():
    samples = support.noise(48_000)
    output, _ = support.in_process(rendered, samples, 48_000, 512, {"bypass": 1.0}, package="half")
    assert np.array_equal(output, samples)


def test_the_identity_reconstructs_to_100_decibels():
    samples = support.noise(96_000)
    for rate in RATES:
        output, _ = support.in_process(rendered, samples, rate, 512, {}, package="identity")
        assert np.abs(output - samples).max() <= RECONSTRUCTION, f"{rate} Hz"


def test_isolate_and_remove_add_up_to_the_input():
    samples = support.noise(48_000)
    cases = [(samples, 48_000, 512, {"mode": mode}) for mode in (0.0, 1.0)]
    (isolated, _), (removed, _) = support.in_process(rendered_at_once, cases, package="half")
    assert np.abs(isolated + removed - samples).max() <= 1e-6


def test_listening_to_what_was_taken_away_gives_the_rest_of_the_input():
    samples = support.noise(48_000)
    cases = [(samples, 48_000, 512, {"listen_to": listen}) for listen in (0.0, 1.0)]
    (output, _), (taken, _) = support.in_process(rendered_at_once, cases, package="half")
    assert np.abs(output + taken - samples).max() <= 1e-6


def test_mono_is_processed():
    samples = support.noise(48_000)[:1]
    output, _ = support.in_process(rendered, samples, 48_000, 512, {}, package="half")
    assert output.shape == samples.shape
    assert np.abs(output - samples / 2).max() <= RECONSTRUCTION


def test_a_host_that_reports_offline_late_loses_no_parcel():
    """nice-plug sees the offline flag one activation late; a parcel that came late would differ from run to run."""
    mixture, rate = support.read(support.DEMO / "mixture.wav")
    mixture = mixture[:, : 4 * rate]
    cases = [(mixture, rate, block, {}) for block in (512, 512, 64, 480, 8192)]
    (first, _), *others = support.in_process(rendered_at_once, cases)
    assert not np.array_equal(first, mixture), "nothing was separated"
    for (_, _, block, _), (output, _) in zip(cases[1:], others, strict=True):
        difference = np.abs(output - first).max()
        assert difference == 0, f"blocks of {block}: differs by {difference}"


def rendered_twice_by_one_instance(first: np.ndarray, second: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
    instance = plugin()
    instance.process(first, rate, 512)
    again = instance.process(second, rate, 512, reset=True)
    return again, plugin().process(second, rate, 512)


def test_nothing_of_the_old_stream_is_heard_after_a_reset():
    mixture, rate = support.read(support.DEMO / "mixture.wav")
    first, second = mixture[:, : 2 * rate], mixture[:, 3 * rate : 5 * rate]
    again, fresh = support.in_process(rendered_twice_by_one_instance, first, second, rate)
    assert np.array_equal(again, fresh)


def saved_and_loaded(texts: list[str]) -> tuple[list[str], bool]:
    """The texts after a round trip through the preset, and whether the host's state is stable over another one."""
    instance = plugin()
    instance.preset_data = vstpreset.with_queries(instance.preset_data, texts)
    saved = instance.raw_state
    other = plugin()
    other.raw_state = saved
    return vstpreset.queries(other.preset_data), other.raw_state == saved


def test_texts_in_any_script_survive_save_and_load():
    texts = ["기타 소리 🎸", 'a “quoted” \\ "text"', "", "한" * 256, "كلب ينبح", "e\u0301", "👩‍👩‍👧‍👦", "wind"]
    loaded, stable = support.in_process(saved_and_loaded, texts)
    assert loaded == texts
    assert stable, "loading a state and saving it again gives other bytes"


def gains(texts: list[str]) -> list[float]:
    """What part of a sound comes through with each text in the first slot, loaded into one instance."""
    instance = plugin()
    samples = support.noise(24_000, 0.5)
    result = []
    for text in texts:
        slots = vstpreset.queries(instance.preset_data)
        instance.preset_data = vstpreset.with_queries(instance.preset_data, [text, *slots[1:]])
        output = instance.process(samples, 48_000, 512)
        result.append(float(np.sum(output * samples) / np.sum(samples**2)))
    return result


def test_a_loaded_text_takes_effect_without_a_window():
    texts = [f"기타 {support.KEPT_WORD} 🎸", "drums", support.KEPT_WORD]
    assert support.in_process(gains, texts, package="by-query") == pytest.approx([1, 0, 1], abs=1e-3)


def test_the_person_speaking_comes_out_clearer():
    mixture, rate = support.read(support.DEMO / "mixture.wav")
    speech, _ = support.read(support.DEMO / "speech.wav")
    output, _ = support.in_process(rendered, mixture, rate, 512, {})
    assert support.si_sdr(output, speech) > support.si_sdr(mixture, speech) + 3


def readings(rounds: int, every: int) -> list[tuple[int, int]]:
    """Resident memory in MiB and threads, every so many rounds of an instance that comes, plays and goes."""
    found = []
    for number in range(rounds + 1):
        plugin().process(np.zeros((2, 4096), np.float32), 48_000, 512)
        gc.collect()
        if number % every == 0:
            ctypes.CDLL("libc.so.6").malloc_trim(0)
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            found.append((pages * os.sysconf("SC_PAGESIZE") >> 20, len(os.listdir("/proc/self/task"))))
    return found


def test_a_hundred_rounds_of_the_default_model_leave_threads_and_memory_where_they_were(monkeypatch):
    # One arena: glibc otherwise keeps what threads that have ended had freed, which is not ours to judge.
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    (memory, threads), *later = support.in_process(readings, 100, 20)
    assert all(now <= memory + 8 for now, _ in later), f"MiB: {memory}, then {later}"
    assert all(now <= threads for _, now in later), f"threads: {threads}, then {later}"
