"""The bundled VST3 in Ardour: latency compensation, automation and export."""

import numpy as np
import pytest

import support
from ardour import Ardour

SLOT = 1 / 7
"""Distance between two query slots in the parameter's range of 0 to 1."""


@pytest.fixture
def mixture() -> tuple[np.ndarray, int]:
    return support.read(support.DEMO / "mixture.wav")


@pytest.fixture
def exported(tmp_path):
    """Exports the demo mixture through Sift with automation and, optionally, a package of tests/packages."""

    def export(package: str | None = None, **automation: list[tuple[float, float]]) -> np.ndarray:
        ardour = Ardour(tmp_path / "home", [support.bundle("Sift.vst3")], support.environment(package))
        session = ardour.session(support.DEMO / "mixture.wav")
        session.insert_sift(**automation)
        return support.read(session.export())[0]

    return export


def seconds(samples: np.ndarray, rate: int, start: float, end: float) -> np.ndarray:
    return samples[:, round(start * rate) : round(end * rate)]


def test_export_is_aligned_and_follows_automated_strength(exported, mixture):
    mixture, rate = mixture
    export = exported("half", mask_strength=[(0, 1), (4, 0), (8, 0.5)])
    assert export.shape == mixture.shape
    # A fifth of a second around a step is left for the change from one value to the next.
    for start, end, gain, tolerance in [(0.2, 3.9, 0.5, 1e-5), (4.2, 7.9, 1.0, 1e-6), (8.2, 12, 0.75, 1e-5)]:
        difference = seconds(export - np.float32(gain) * mixture, rate, start, end)
        assert np.abs(difference).max() <= tolerance, f"{start} s to {end} s"


def rendered(tmp_path, mixture: np.ndarray, rate: int, query: str, shift: int) -> np.ndarray:
    """Output of `sift render` with its first frame `shift` samples before the mixture."""
    silence = np.zeros((len(mixture), shift), np.float32)
    source = support.write(tmp_path / "shifted.wav", np.hstack([silence, mixture]), rate)
    done = support.render(source, "--query", query, "--output", tmp_path / "rendered.wav", "--overwrite")
    assert done.returncode == 0, done.stderr
    return support.read(tmp_path / "rendered.wav")[0][:, shift:]


def test_export_agrees_with_sift_render_for_each_slot(exported, mixture, tmp_path):
    mixture, rate = mixture
    export = exported(mask_strength=[(0, 1), (5, 0), (7, 1)], active_query=[(0, 0), (6, SLOT)])
    assert export.shape == mixture.shape

    # The host decides at which sample of the mixture the first frame begins, by when it starts the plugin. Masks change
    # little within an eighth of a hop, so one of eight beginnings is close enough.
    _, hop = support.stft_frame_and_hop(rate)
    speaking = {
        shift: rendered(tmp_path, mixture, rate, "a person speaking", shift) for shift in range(0, hop, hop // 8)
    }
    first = seconds(export, rate, 0.5, 4.8)
    agreement = {shift: support.sdr(first, seconds(output, rate, 0.5, 4.8)) for shift, output in speaking.items()}
    shift = max(agreement, key=agreement.get)
    assert agreement[shift] > 25, f"slot 1 is not what `sift render` gives: {agreement} dB by shift"

    dry = seconds(export - mixture, rate, 5.2, 6.8)
    assert np.abs(dry).max() <= 1e-6, "strength 0 is not the input"

    # The network's state holds sound of the first query, so here the two agree less.
    drums = rendered(tmp_path, mixture, rate, "drums", shift)
    last, drums, speaking = (seconds(samples, rate, 8, 12) for samples in (export, drums, speaking[shift]))
    to_drums, to_speaking = support.sdr(last, drums), support.sdr(last, speaking)
    assert to_drums > to_speaking + 6, f"slot 2 is not what `sift render` gives: {to_drums:.1f}, {to_speaking:.1f} dB"
