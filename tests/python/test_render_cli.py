"""`sift render` with the built-in model, at several rates, and with unusable input.

`plugin/cli/tests/command.rs` has its other tests.
"""

import numpy as np
import pytest
import soundfile

import support

QUERY = "a person speaking"
SECONDS = 6


def mixture(seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    """A mixture of the demo's speech and music, the speech in it, and the rate.

    The seed selects the excerpt of each, and the level of the speech against the music, from −3 to 3 dB.
    """
    random = np.random.default_rng(seed)
    speech, rate = support.read(support.DEMO / "speech.wav")
    music, _ = support.read(support.DEMO / "music.wav")
    frames = SECONDS * rate

    def excerpt(stem: np.ndarray) -> np.ndarray:
        start = random.integers(stem.shape[1] - frames + 1)
        return stem[:, start : start + frames]

    speech, music = excerpt(speech), excerpt(music)
    louder = 10 ** (random.uniform(-3, 3) / 20)
    music = music * np.float32(np.linalg.norm(speech) / np.linalg.norm(music) / louder)
    return speech + music, speech, rate


def improvement(tmp_path, seed: int, query: str) -> float:
    """SI-SDR improvement of the speech from the mixture to the target, in dB."""
    mixed, speech, rate = mixture(seed)
    source = support.write(tmp_path / "mixture.wav", mixed, rate)
    done = support.render(source, "--query", query, "--output", tmp_path / "target.wav", "--overwrite")
    assert done.returncode == 0, done.stderr
    target, target_rate = support.read(tmp_path / "target.wav")
    assert (target.shape, target_rate) == (mixed.shape, rate)
    return support.si_sdr(target, speech) - support.si_sdr(mixed, speech)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_built_in_model_raises_si_sdr_of_speech_by_3_db(tmp_path, seed):
    assert improvement(tmp_path, seed, QUERY) > 3


def test_what_stands_elsewhere_goes_too(tmp_path):
    mixed, speech, rate = mixture(1)
    speech, music = speech.mean(axis=0), (mixed - speech).mean(axis=0)
    places = {
        "apart": ((1.0, 0.0), (0.0, 1.0)),
        "half apart": ((0.9, 0.45), (0.45, 0.9)),
        "together": ((1.0, 1.0),) * 2,
    }
    gains = {}
    for name, (of_speech, of_music) in places.items():
        target, rest = (
            np.outer(place, samples).astype(np.float32) for place, samples in ((of_speech, speech), (of_music, music))
        )
        source = support.write(tmp_path / "mixture.wav", target + rest, rate)
        found = []
        for stereo in ("0", "1"):
            done = support.render(
                source, "--query", QUERY, "--stereo", stereo, "--output", tmp_path / "target.wav", "--overwrite"
            )
            assert done.returncode == 0, done.stderr
            found.append(support.si_sdr(support.read(tmp_path / "target.wav")[0], target))
        gains[name] = found[1] - found[0]
    assert gains["apart"] > 3 and gains["half apart"] > 3, gains
    assert gains["together"] == 0, gains


def test_korean_query_separates_the_sound_it_names(tmp_path):
    speech = improvement(tmp_path, 2, "말하는 사람")
    music = improvement(tmp_path, 2, "음악")
    assert speech > 2 and music < 0, (speech, music)


def resampled(samples: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """`samples` [channels, N] at `new_rate`, by zero-padding or cutting their spectrum."""
    length = samples.shape[1] * new_rate // rate
    spectrum = np.fft.rfft(samples)[:, : length // 2 + 1]
    padded = np.pad(spectrum, ((0, 0), (0, length // 2 + 1 - spectrum.shape[1])))
    return (np.fft.irfft(padded, length) * (new_rate / rate)).astype(np.float32)


def test_si_sdr_at_any_rate_is_that_at_the_models_rate(tmp_path):
    mixed, speech, rate = mixture(2)
    # Without the frequencies that the lowest rate cannot represent.
    mixed, speech = (resampled(samples, rate, 32_000) for samples in (mixed, speech))
    found = {}
    for rate in (32_000, 44_100, 48_000, 96_000):
        source = support.write(tmp_path / f"{rate}.wav", resampled(mixed, 32_000, rate), rate)
        target = tmp_path / f"{rate}-target.wav"
        done = support.render(source, "--query", QUERY, "--output", target)
        assert done.returncode == 0, done.stderr
        found[rate] = support.si_sdr(support.read(target)[0], resampled(speech, 32_000, rate))
    assert all(abs(value - found[32_000]) < 0.3 for value in found.values()), found


def test_understood_concept_is_printed(tmp_path):
    source = support.write(tmp_path / "noise.wav", support.noise(4_800), 48_000)
    known = support.render(source, "--query", "my dog is barking", "--output", tmp_path / "known.wav")
    assert "keeping dog barking" in known.stderr, known.stderr
    unknown = support.render(source, "--query", "photosynthesis", "--output", tmp_path / "unknown.wav")
    assert "does not know “photosynthesis”" in unknown.stderr, unknown.stderr
    assert np.array_equal(support.read(tmp_path / "unknown.wav")[0], support.read(source)[0])


@pytest.mark.parametrize("rate", [22_050, 44_100, 50_317, 96_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_output_has_rate_length_and_timing_of_the_input(tmp_path, rate, channels):
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


def test_flac_input_is_separated(tmp_path):
    samples = support.noise(48_000, 0.5)
    soundfile.write(tmp_path / "noise.flac", samples.T, 48_000, subtype="PCM_24")
    done = support.render(
        tmp_path / "noise.flac",
        *("--query", QUERY, "--output", tmp_path / "target.wav", "--model", support.PACKAGES / "half"),
    )
    assert done.returncode == 0, done.stderr
    assert np.abs(support.read(tmp_path / "target.wav")[0] - samples / 2).max() < 1e-5


def refused(output, *arguments) -> str:
    """The error message of a rendering that must fail and write no file."""
    done = support.render(*arguments, "--output", output)
    assert done.returncode != 0, f"`sift render` succeeded: {done.stdout}"
    assert not output.exists(), f"{output} was written"
    assert "panicked" not in done.stderr, done.stderr
    return done.stderr


def test_file_that_is_not_audio_is_named_in_the_error(tmp_path):
    (tmp_path / "letter.wav").write_text("Dear listener,")
    message = refused(tmp_path / "target.wav", tmp_path / "letter.wav", "--query", QUERY)
    assert "letter.wav" in message


def test_flac_file_cut_short_is_named_in_the_error(tmp_path):
    source = support.write(tmp_path / "whole.wav", support.noise(48_000, 0.5), 48_000)
    soundfile.write(tmp_path / "cut.flac", support.read(source)[0].T, 48_000)
    content = (tmp_path / "cut.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(content[: len(content) // 2])
    message = refused(tmp_path / "target.wav", tmp_path / "cut.flac", "--query", QUERY)
    assert "cut.flac" in message


@pytest.mark.parametrize("strength", ["-0.1", "1.1", "loud"])
def test_strength_out_of_range_is_named_in_the_error(tmp_path, strength):
    source = support.write(tmp_path / "noise.wav", support.noise(4_800), 48_000)
    message = refused(tmp_path / "target.wav", source, "--query", QUERY, f"--strength={strength}")
    assert "strength" in message
