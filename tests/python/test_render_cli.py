"""`sift render`: on mixtures that are known by their seeds, and on input that is no good."""

import numpy as np
import pytest
import soundfile

import support

QUERY = "a person speaking"
SECONDS = 6


def mixture(seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    """A mixture of the demonstration's stems, the speech in it, and the rate.

    The seed decides from where in each of them, and how much louder the speech is than the music: −3 to 3 dB.
    """
    random = np.random.default_rng(seed)
    speech, rate = support.read(support.DEMO / "speech.wav")
    music, _ = support.read(support.DEMO / "music.wav")
    frames = SECONDS * rate

    def piece(stem: np.ndarray) -> np.ndarray:
        start = random.integers(stem.shape[1] - frames + 1)
        return stem[:, start : start + frames]

    speech, music = piece(speech), piece(music)
    louder = 10 ** (random.uniform(-3, 3) / 20)
    music = music * np.float32(np.linalg.norm(speech) / np.linalg.norm(music) / louder)
    return speech + music, speech, rate


def improvement(tmp_path, seed: int, query: str) -> float:
    """By how many decibels the SI-SDR of the speech is better in the target than in the mixture."""
    mixed, speech, rate = mixture(seed)
    source = support.write(tmp_path / "mixture.wav", mixed, rate)
    done = support.render(source, "--query", query, "--output", tmp_path / "target.wav")
    assert done.returncode == 0, done.stderr
    target, target_rate = support.read(tmp_path / "target.wav")
    assert (target.shape, target_rate) == (mixed.shape, rate)
    return support.si_sdr(target, speech) - support.si_sdr(mixed, speech)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_target_is_better_than_the_mixture_by_3_decibels(tmp_path, seed):
    assert improvement(tmp_path, seed, QUERY) > 3


def test_korean_is_understood(tmp_path):
    speech = improvement(tmp_path, 2, "말하는 사람")
    music = improvement(tmp_path, 2, "음악")
    assert speech > 2 and music < 0, (speech, music)


def resampled(samples: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """`samples` [channels, N] at another rate, by way of their spectrum: nothing is lost going up."""
    length = samples.shape[1] * new_rate // rate
    spectrum = np.fft.rfft(samples)[:, : length // 2 + 1]
    padded = np.pad(spectrum, ((0, 0), (0, length // 2 + 1 - spectrum.shape[1])))
    return (np.fft.irfft(padded, length) * (new_rate / rate)).astype(np.float32)


def test_any_rate_separates_as_well_as_the_models_own(tmp_path):
    mixed, speech, rate = mixture(2)
    # Nothing above what the lowest rate can hold.
    mixed, speech = (resampled(samples, rate, 32_000) for samples in (mixed, speech))
    found = {}
    for rate in (32_000, 44_100, 48_000, 96_000):
        source = support.write(tmp_path / f"{rate}.wav", resampled(mixed, 32_000, rate), rate)
        target = tmp_path / f"{rate}-target.wav"
        done = support.render(source, "--query", QUERY, "--output", target)
        assert done.returncode == 0, done.stderr
        found[rate] = support.si_sdr(support.read(target)[0], resampled(speech, 32_000, rate))
    assert all(abs(value - found[32_000]) < 0.3 for value in found.values()), found


def test_what_was_understood_is_told(tmp_path):
    source = support.write(tmp_path / "noise.wav", support.noise(4_800), 48_000)
    known = support.render(source, "--query", "my dog is barking", "--output", tmp_path / "known.wav")
    assert "understood as: dog barking" in known.stderr, known.stderr
    unknown = support.render(source, "--query", "photosynthesis", "--output", tmp_path / "unknown.wav")
    assert "does not know" in unknown.stderr, unknown.stderr


@pytest.mark.parametrize("rate", [22_050, 44_100, 50_317, 96_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_rate_length_and_time_are_kept(tmp_path, rate, channels):
    samples = support.noise(rate + 123, 0.5)[:channels]
    source = support.write(tmp_path / "noise.wav", samples, rate)
    done = support.render(
        source,
        *("--query", QUERY, "--output", tmp_path / "target.wav", "--residual", tmp_path / "residual.wav"),
        *("--model", support.PACKAGES / "half"),
    )
    assert done.returncode == 0, done.stderr
    target, target_rate = support.read(tmp_path / "target.wav")
    residual, residual_rate = support.read(tmp_path / "residual.wav")
    assert target.shape == residual.shape == samples.shape
    assert target_rate == residual_rate == rate
    assert np.abs(target - samples / 2).max() < 1e-5
    assert np.abs(target + residual - samples).max() < 1e-6


def test_strength_0_is_the_input_bit_for_bit(tmp_path):
    samples = support.noise(48_000, 0.5)
    source = support.write(tmp_path / "noise.wav", samples, 48_000)
    done = support.render(source, "--query", QUERY, "--strength", "0", "--output", tmp_path / "target.wav")
    assert done.returncode == 0, done.stderr
    assert np.array_equal(support.read(tmp_path / "target.wav")[0], samples)


def test_isolate_and_remove_add_up_to_the_input(tmp_path):
    mixed, _, rate = mixture(1)
    source = support.write(tmp_path / "mixture.wav", mixed, rate)
    parts = []
    for mode in ("isolate", "remove"):
        output = tmp_path / f"{mode}.wav"
        done = support.render(source, "--query", QUERY, "--mode", mode, "--output", output)
        assert done.returncode == 0, done.stderr
        parts.append(support.read(output)[0])
    assert np.abs(sum(parts) - mixed).max() < 1e-6


def test_flac_is_read(tmp_path):
    samples = support.noise(48_000, 0.5)
    soundfile.write(tmp_path / "noise.flac", samples.T, 48_000, subtype="PCM_24")
    done = support.render(
        tmp_path / "noise.flac",
        *("--query", QUERY, "--output", tmp_path / "target.wav", "--model", support.PACKAGES / "half"),
    )
    assert done.returncode == 0, done.stderr
    assert np.abs(support.read(tmp_path / "target.wav")[0] - samples / 2).max() < 1e-5


def refused(output, *arguments) -> str:
    """The message of a rendering that must fail and leave no file behind."""
    done = support.render(*arguments, "--output", output)
    assert done.returncode != 0, f"it succeeded: {done.stdout}"
    assert not output.exists(), "it left a file behind"
    assert "panicked" not in done.stderr, done.stderr
    return done.stderr


def test_a_missing_file_is_named(tmp_path):
    message = refused(tmp_path / "target.wav", tmp_path / "no-such.wav", "--query", QUERY)
    assert "no-such.wav" in message


def test_a_file_that_is_no_sound_is_named(tmp_path):
    (tmp_path / "letter.wav").write_text("Dear listener,")
    message = refused(tmp_path / "target.wav", tmp_path / "letter.wav", "--query", QUERY)
    assert "letter.wav" in message


def test_a_file_that_breaks_off_is_named(tmp_path):
    source = support.write(tmp_path / "whole.wav", support.noise(48_000, 0.5), 48_000)
    soundfile.write(tmp_path / "cut.flac", support.read(source)[0].T, 48_000)
    content = (tmp_path / "cut.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(content[: len(content) // 2])
    message = refused(tmp_path / "target.wav", tmp_path / "cut.flac", "--query", QUERY)
    assert "cut.flac" in message


def test_a_model_that_is_not_there_is_named(tmp_path):
    source = support.write(tmp_path / "noise.wav", support.noise(4_800), 48_000)
    message = refused(tmp_path / "target.wav", source, "--query", QUERY, "--model", tmp_path / "no-model")
    assert "no-model" in message


def test_a_broken_model_is_named_with_the_file_that_is_wrong(tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in (support.PACKAGES / "half").iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    with (broken / "separator.onnx").open("ab") as file:
        file.write(b"\0")
    source = support.write(tmp_path / "noise.wav", support.noise(4_800), 48_000)
    message = refused(tmp_path / "target.wav", source, "--query", QUERY, "--model", broken)
    assert "separator.onnx" in message


@pytest.mark.parametrize("strength", ["-0.1", "1.1", "loud"])
def test_a_strength_out_of_range_is_refused(tmp_path, strength):
    source = support.write(tmp_path / "noise.wav", support.noise(4_800), 48_000)
    message = refused(tmp_path / "target.wav", source, "--query", QUERY, f"--strength={strength}")
    assert "strength" in message


def test_a_folder_that_is_not_there_is_named(tmp_path):
    source = support.write(tmp_path / "noise.wav", support.noise(4_800), 48_000)
    message = refused(tmp_path / "no-folder" / "target.wav", source, "--query", QUERY)
    assert "no-folder" in message
