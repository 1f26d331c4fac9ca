#!/usr/bin/env python3
"""Generates the demo mixture: speech by eSpeak NG over a small band by FluidSynth.

Writes speech.wav, music.wav and mixture.wav to the folder of this script: 12 s, 48 kHz, stereo, 16 bit.
Both stems have the same energy (the mixture is at 0 dB), and the mixture is their sum, sample by sample,
without clipping.

Needs Python's standard library, `espeak-ng`, `fluidsynth` and the sound font FluidR3_GM.sf2
(Debian: espeak-ng fluidsynth fluid-soundfont-gm).
"""

import argparse
import array
import math
import struct
import subprocess
import sys
import tempfile
import wave
from pathlib import Path

RATE = 48_000
SECONDS = 12.0
FRAMES = int(RATE * SECONDS)
PEAK = 0.89  # largest sample of the mixture, full scale 1: about -1 dB
INT16_MAX = 32_767

# Speech: (start in seconds, text).
SENTENCES = [
    (0.7, "This is a person speaking."),
    (3.0, "Behind the voice, a small band is playing."),
    (6.3, "Type what you would like to hear,"),
    (8.5, "and the rest of the room goes quiet."),
]
VOICE = ["-v", "en-us", "-s", "155", "-p", "42"]

# The band: four bars composed for this demo, in General MIDI. Beats are quarter notes.
BEATS_PER_MINUTE = 84
TICKS_PER_BEAT = 480
DRUM_CHANNEL = 9
KICK, SNARE, HAT, OPEN_HAT, RIDE = 36, 38, 42, 46, 51


class Band:
    """Collects notes and writes them as the bytes of a MIDI file."""

    def __init__(self):
        self._events = []  # (tick, order, bytes); at the same tick, ends of notes come before starts

    def instrument(self, channel, program, volume, pan):
        """`program` counts from 0; `volume` and `pan` are MIDI controllers 7 and 10, 0..127."""
        self._events.append((0, 0, bytes([0xC0 | channel, program])))
        self._events.append((0, 0, bytes([0xB0 | channel, 7, volume])))
        self._events.append((0, 0, bytes([0xB0 | channel, 10, pan])))

    def note(self, channel, key, beat, beats, velocity):
        start = round(beat * TICKS_PER_BEAT)
        end = round((beat + beats) * TICKS_PER_BEAT)
        self._events.append((start, 2, bytes([0x90 | channel, key, velocity])))
        self._events.append((end, 1, bytes([0x80 | channel, key, 0])))

    def midi(self):
        microseconds = round(60e6 / BEATS_PER_MINUTE)
        track = bytes([0, 0xFF, 0x51, 3]) + microseconds.to_bytes(3, "big")
        now = 0
        for tick, _, event in sorted(self._events, key=lambda e: e[:2]):
            track += _variable_length(tick - now) + event
            now = tick
        track += bytes([0, 0xFF, 0x2F, 0])
        return b"MThd" + struct.pack(">IHHH", 6, 0, 1, TICKS_PER_BEAT) + b"MTrk" + struct.pack(">I", len(track)) + track


def _variable_length(value):
    """MIDI's variable-length quantity: seven bits per byte, with the high bit set in all but the last."""
    encoded = [value & 0x7F]
    while value := value >> 7:
        encoded.append(0x80 | value & 0x7F)
    return bytes(reversed(encoded))


def compose():
    piano, bass, strings = 0, 1, 2
    band = Band()
    band.instrument(piano, program=0, volume=100, pan=44)
    band.instrument(bass, program=33, volume=104, pan=64)
    band.instrument(strings, program=48, volume=62, pan=84)
    band.instrument(DRUM_CHANNEL, program=0, volume=96, pan=64)

    # One line per bar: the bass's root and approach note, the piano's chord, and two notes of the strings.
    bars = [
        (41, 36, (60, 64, 67, 69), (72, 76)),
        (43, 38, (59, 62, 65, 69), (71, 77)),
        (40, 35, (59, 62, 67, 71), (74, 79)),
        (45, 40, (60, 64, 67, 72), (72, 76)),
    ]
    melody = [
        (0.5, 79, 0.5), (1.0, 81, 1.0), (2.5, 76, 0.5), (3.0, 77, 0.75),
        (4.5, 74, 0.5), (5.0, 77, 0.5), (5.5, 81, 1.25), (7.5, 79, 0.5),
        (8.0, 83, 1.0), (9.5, 79, 0.5), (10.0, 78, 0.5), (10.5, 74, 1.0),
        (12.0, 76, 0.5), (12.5, 79, 0.5), (13.0, 84, 1.5), (15.0, 83, 0.5),
    ]  # fmt: skip
    for index, (root, approach, chord, pad) in enumerate(bars):
        at = 4.0 * index
        for beat, key, beats in [
            (0, root, 1.4),
            (1.5, root, 0.4),
            (2, root + 12, 0.9),
            (3, approach, 0.45),
            (3.5, approach + 2, 0.45),
        ]:
            band.note(bass, key, at + beat, beats, 92)
        for beat, velocity in [(0, 74), (1.5, 62), (2.5, 68)]:
            for spread, key in enumerate(chord):
                band.note(piano, key, at + beat + 0.012 * spread, 0.9, velocity - 3 * spread)
        for key in pad:
            band.note(strings, key, at, 3.95, 70)
        for beat in (0, 1.75, 2.5):
            band.note(DRUM_CHANNEL, KICK, at + beat, 0.2, 100)
        for beat in (1, 3):
            band.note(DRUM_CHANNEL, SNARE, at + beat, 0.2, 92)
        for eighth in range(8):
            last = eighth == 7
            band.note(DRUM_CHANNEL, OPEN_HAT if last else HAT, at + eighth / 2, 0.2, 80 if eighth % 2 == 0 else 58)
    for beat, key, beats in melody:
        band.note(piano, key, beat, beats, 82)

    # The last chord, which rings on.
    for key in (41, 60, 64, 69, 77):
        band.note(bass if key == 41 else piano, key, 16, 2, 84)
    band.note(DRUM_CHANNEL, KICK, 16, 0.2, 100)
    band.note(DRUM_CHANNEL, RIDE, 16, 0.2, 84)
    return band.midi()


def read_wav(path):
    """The channels of a 16-bit WAV as lists of floats in -1..1, and its sample rate."""
    with wave.open(str(path)) as file:
        if file.getsampwidth() != 2:
            sys.exit(f"{path}: its samples have {8 * file.getsampwidth()} bits; expected 16")
        samples = array.array("h", file.readframes(file.getnframes()))
        if sys.byteorder == "big":
            samples.byteswap()
        channels, rate = file.getnchannels(), file.getframerate()
    return [[s / (INT16_MAX + 1) for s in samples[c::channels]] for c in range(channels)], rate


def write_wav(path, frames):
    """`frames`: interleaved 16-bit samples of two channels."""
    samples = array.array("h", frames)
    if sys.byteorder == "big":
        samples.byteswap()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())


def resample(samples, rate):
    """`samples` at `rate` Hz, resampled to RATE by a Hann-windowed sinc of 24 samples on each side."""
    reach = 24
    divisor = math.gcd(rate, RATE)
    up, down = RATE // divisor, rate // divisor
    cutoff = min(1.0, up / down) * 0.95  # of the source's Nyquist frequency
    phases = []
    for phase in range(up):
        taps = []
        for k in range(-reach + 1, reach + 1):
            x = k - phase / up
            sinc = cutoff if x == 0 else math.sin(math.pi * cutoff * x) / (math.pi * x)
            taps.append(sinc * 0.5 * (1 + math.cos(math.pi * x / reach)))
        phases.append(taps)
    padded = [0.0] * reach + samples + [0.0] * reach
    resampled = []
    for n in range(len(samples) * up // down):
        whole, phase = divmod(n * down, up)
        window = padded[whole + 1 : whole + 1 + 2 * reach]
        resampled.append(sum(map(float.__mul__, window, phases[phase])))
    return resampled


def speak(folder):
    """The speech: one channel of FRAMES samples."""
    speech = [0.0] * FRAMES
    for number, (start, text) in enumerate(SENTENCES):
        path = folder / f"sentence-{number}.wav"
        subprocess.run(["espeak-ng", *VOICE, "-w", path, text], check=True)
        (sentence,), rate = read_wav(path)
        at = round(start * RATE)
        for offset, sample in enumerate(resample(sentence, rate)[: FRAMES - at]):
            speech[at + offset] += sample
    return speech


def play(folder, sound_font):
    """The band: two channels of FRAMES samples, faded over the last 0.4 s."""
    midi, rendered = folder / "band.mid", folder / "band.wav"
    midi.write_bytes(compose())
    subprocess.run(
        ["fluidsynth", "-ni", "-q", "-g", "0.6", "-r", str(RATE), "-F", rendered, sound_font, midi],
        check=True,
    )
    channels, rate = read_wav(rendered)
    assert rate == RATE and len(channels) == 2, (rate, len(channels))
    fade = round(0.4 * RATE)
    shaped = []
    for channel in channels:
        channel = (channel + [0.0] * FRAMES)[:FRAMES]
        for n in range(fade):
            channel[FRAMES - 1 - n] *= n / fade
        shaped.append(channel)
    return shaped


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--sound-font", type=Path, default=Path("/usr/share/sounds/sf2/FluidR3_GM.sf2"), help="default: %(default)s"
    )
    arguments = parser.parse_args()
    if not arguments.sound_font.is_file():
        sys.exit(
            f"{arguments.sound_font}: no such file; expected a sound font. Install fluid-soundfont-gm, or use --sound-font"
        )

    with tempfile.TemporaryDirectory() as folder:
        speech = speak(Path(folder))
        left, right = play(Path(folder), arguments.sound_font)

    # Equal energy of both stems; the speech is the same in both channels.
    speech_energy = 2 * sum(s * s for s in speech)
    music_energy = sum(s * s for s in left) + sum(s * s for s in right)
    balance = math.sqrt(music_energy / speech_energy)
    speech = [balance * s for s in speech]
    peak = max(max(abs(s + m) for s, m in zip(speech, side)) for side in (left, right))
    scale = PEAK * INT16_MAX / peak

    speech_frames = [round(scale * s) for s in speech for _ in range(2)]
    music_frames = [round(scale * m) for pair in zip(left, right) for m in pair]
    mixture_frames = [s + m for s, m in zip(speech_frames, music_frames)]

    here = Path(__file__).resolve().parent
    for name, frames in [("speech", speech_frames), ("music", music_frames), ("mixture", mixture_frames)]:
        write_wav(here / f"{name}.wav", frames)
        rms = math.sqrt(sum(f * f for f in frames) / len(frames)) / INT16_MAX
        print(f"{name}.wav: {SECONDS:g} s, {20 * math.log10(rms):.1f} dB RMS")


if __name__ == "__main__":
    main()
