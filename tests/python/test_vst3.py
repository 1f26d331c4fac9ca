"""The bundled VST3 in pedalboard, a JUCE host, which renders offline and removes the reported latency."""

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
RECONSTRUCTION = 1e-5
"""Largest error of reconstruction: −100 dB."""


def plugin(**settings: float) -> pedalboard.VST3Plugin:
    """A new instance with `settings`: values from 0 to 1 by parameter."""
    instance = pedalboard.VST3Plugin(str(support.bundle("Sift.vst3")))
    for name, value in settings.items():
        instance.parameters[name].raw_value = value
    return instance


def rendered(samples: np.ndarray, rate: int, block: int, settings: dict[str, float]) -> tuple[np.ndarray, int]:
    """The output of a new instance, and its reported latency."""
    instance = plugin(**settings)
    output = instance.process(samples, rate, block)
    return output, instance.reported_latency_samples


def rendered_all(cases: list[tuple]) -> list[tuple[np.ndarray, int]]:
    return [rendered(*case) for case in cases]


@pytest.mark.parametrize(
    ("package", "settings", "tolerance"),
    [("half", {"mask_strength": 0.0}, 0.0), ("identity", {}, RECONSTRUCTION)],
    ids=["strength 0", "through the separator"],
)
def test_impulse_is_not_shifted_at_any_rate_and_block_size(package, settings, tolerance):
    cases = [(support.impulse(12_000, 3_000), rate, block, settings) for rate in RATES for block in BLOCKS]
    results = support.in_process(rendered_all, cases, package=package)
    for (samples, rate, block, _), (output, latency) in zip(cases, results, strict=True):
        assert latency == support.expected_latency(rate, block), f"{rate} Hz, blocks of {block}"
        assert np.abs(output - samples).max() <= tolerance, f"{rate} Hz, blocks of {block}"


def test_bypass_gives_the_input_bit_for_bit():
    samples = support.noise(48_000)
    output, _ = support.in_process(rendered, samples, 48_000, 512, {"bypass": 1.0}, package="half")
    assert np.array_equal(output, samples)


def test_isolate_and_remove_add_up_to_the_input():
    samples = support.noise(48_000)
    cases = [(samples, 48_000, 512, {"mode": mode}) for mode in (0.0, 1.0)]
    (isolated, _), (removed, _) = support.in_process(rendered_all, cases, package="half")
    assert np.abs(isolated + removed - samples).max() <= 1e-6


def test_listen_to_what_was_taken_away_gives_input_minus_output():
    samples = support.noise(48_000)
    cases = [(samples, 48_000, 512, {"listen_to": listen}) for listen in (0.0, 1.0)]
    (output, _), (taken, _) = support.in_process(rendered_all, cases, package="half")
    assert np.abs(output + taken - samples).max() <= 1e-6


def test_mono_through_a_mask_of_one_half_is_half_the_sound():
    samples = support.noise(48_000)[:1]
    output, _ = support.in_process(rendered, samples, 48_000, 512, {}, package="half")
    assert output.shape == samples.shape
    assert np.abs(output - samples / 2).max() <= RECONSTRUCTION


def test_offline_mode_reported_late_gives_the_same_bits():
    """nice-plug sees the offline flag one activation late; a late mask would differ from run to run."""
    mixture, rate = support.read(support.DEMO / "mixture.wav")
    mixture = mixture[:, : 4 * rate]
    cases = [(mixture, rate, block, {}) for block in (512, 512, 64, 480, 8192)]
    (first, _), *others = support.in_process(rendered_all, cases)
    assert not np.array_equal(first, mixture), "the output is the input: nothing was separated"
    for (_, _, block, _), (output, _) in zip(cases[1:], others, strict=True):
        difference = np.abs(output - first).max()
        assert difference == 0, f"blocks of {block}: differs by {difference}"


def rendered_twice_by_one_instance(first: np.ndarray, second: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
    instance = plugin()
    instance.process(first, rate, 512)
    again = instance.process(second, rate, 512, reset=True)
    return again, plugin().process(second, rate, 512)


def test_reset_leaves_nothing_of_the_old_stream():
    mixture, rate = support.read(support.DEMO / "mixture.wav")
    first, second = mixture[:, : 2 * rate], mixture[:, 3 * rate : 5 * rate]
    again, fresh = support.in_process(rendered_twice_by_one_instance, first, second, rate)
    assert np.array_equal(again, fresh)


def saved_and_loaded(texts: list[str]) -> tuple[list[str], bool]:
    """The texts after they are saved and loaded, and whether saving and loading the state again gives the same bytes."""
    instance = plugin()
    instance.preset_data = vstpreset.with_queries(instance.preset_data, texts)
    saved = instance.raw_state
    other = plugin()
    other.raw_state = saved
    return vstpreset.queries(other.preset_data), other.raw_state == saved


def test_texts_in_any_script_are_the_same_after_save_and_load():
    texts = ["기타 소리 🎸", 'a “quoted” \\ "text"', "", "한" * 256, "كلب ينبح", "e\u0301", "👩‍👩‍👧‍👦", "wind"]
    loaded, stable = support.in_process(saved_and_loaded, texts)
    assert loaded == texts
    assert stable, "a state that is loaded and saved again has other bytes"


def rendered_with_rest(samples: np.ndarray) -> tuple[list[bool], list[np.ndarray]]:
    """Whether the rest is on, and the output: of a new instance, with it switched off, and with a preset from before it."""
    values, outputs = [], []
    for is_off, is_old in [(False, False), (True, False), (False, True)]:
        instance = plugin()
        texts = vstpreset.queries(instance.preset_data)
        preset = vstpreset.with_queries(instance.preset_data, ["low", *texts[1:]])
        instance.preset_data = vstpreset.without_parameter(preset, "rest") if is_old else preset
        if is_off:
            instance.parameters["listen_to_the_rest"].raw_value = 0.0
        outputs.append(instance.process(samples, 48_000, 512))
        # The host's own copy of a parameter does not follow a preset.
        values.append(vstpreset.state(instance.preset_data)["params"]["rest"]["bool"])
    return values, outputs


def test_preset_from_before_the_rest_loads_with_it_off_and_keeps_its_bits():
    time = np.arange(96_000) / 48_000
    tones = 0.2 * sum(np.sin(2 * np.pi * frequency * time) for frequency in (400, 1_000, 2_000))
    samples = np.tile(tones.astype(np.float32), (2, 1))
    values, (on, off, old) = support.in_process(rendered_with_rest, samples, package="listener")
    assert values == [True, False, False]
    assert np.array_equal(old, off)
    assert np.abs(on - off).max() > 0.01, "the rest changes nothing"


def gains(texts: list[str]) -> list[float]:
    """Gain with each text in the first slot, loaded one after another into one instance."""
    instance = plugin()
    samples = support.noise(24_000, 0.5)
    result = []
    for text in texts:
        slots = vstpreset.queries(instance.preset_data)
        instance.preset_data = vstpreset.with_queries(instance.preset_data, [text, *slots[1:]])
        output = instance.process(samples, 48_000, 512)
        result.append(float(np.sum(output * samples) / np.sum(samples**2)))
    return result


def test_loaded_text_takes_effect_without_the_editor():
    texts = [f"기타 {support.KEPT_WORD} 🎸", "drums", support.KEPT_WORD]
    assert support.in_process(gains, texts, package="by-query") == pytest.approx([1, 0, 1], abs=1e-3)


def test_built_in_model_raises_si_sdr_of_speech_by_3_db():
    mixture, rate = support.read(support.DEMO / "mixture.wav")
    speech, _ = support.read(support.DEMO / "speech.wav")
    output, _ = support.in_process(rendered, mixture, rate, 512, {})
    assert support.si_sdr(output, speech) > support.si_sdr(mixture, speech) + 3


def readings(rounds: int, every: int) -> list[tuple[int, int]]:
    """Resident memory in MiB and threads, after every `every` rounds of creating, playing and destroying an instance."""
    found = []
    for number in range(rounds + 1):
        plugin().process(np.zeros((2, 4096), np.float32), 48_000, 512)
        gc.collect()
        if number % every == 0:
            ctypes.CDLL("libc.so.6").malloc_trim(0)
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            found.append((pages * os.sysconf("SC_PAGESIZE") >> 20, len(os.listdir("/proc/self/task"))))
    return found


def test_hundred_instances_leave_no_thread_and_no_memory(monkeypatch):
    # With more than one arena glibc keeps memory that ended threads have freed.
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    (memory, threads), *later = support.in_process(readings, 100, 20)
    assert all(now <= memory + 8 for now, _ in later), f"memory grew from {memory} MiB: {later}"
    assert all(now <= threads for _, now in later), f"there were {threads} threads: {later}"
