"""Composes and renders small random arrangements stem by stem, so that instruments play together in time and in key.

FluidSynth renders them with several sound fonts, so that the network does not learn one set of samples. The stems of
one arrangement have the same group and the same length.
"""

import random
import subprocess
from pathlib import Path

import mido
import numpy as np
import soundfile

from .render_cache import rendered_folder

ARRANGEMENTS = 160
SECONDS = 12.0
RATE = 48_000
TICKS = 480  # per quarter note
DRUM_CHANNEL = 9

FONTS = {
    "/usr/share/sounds/sf2/FluidR3_GM.sf2": "fluid-soundfont-gm",
    "/usr/share/sounds/sf2/TimGM6mb.sf2": "timgm6mb-soundfont",
    "/usr/share/sounds/sf3/MuseScore_General_Lite.sf3": "musescore-general-soundfont-small",
}

PROGRAMS = {
    "piano": [0, 1, 2, 3],
    "electric piano": [4, 5],
    "organ": [16, 17, 18, 19],
    "acoustic guitar": [24, 25],
    "electric guitar": [26, 27, 28],
    "distorted guitar": [29, 30],
    "bass guitar": [32, 33, 34, 35, 36],
    "violin": [40],
    "cello": [42],
    "harp": [46],
    "strings": [48, 49],
    "choir": [52, 53],
    "trumpet": [56, 59],
    "brass": [57, 61],
    "saxophone": [64, 65, 66, 67],
    "clarinet": [71],
    "flute": [73],
    "synthesizer": [80, 81, 88, 90],
    "marimba": [12],
    "drums": [0, 8, 16, 24, 25, 32, 40],
}
"""General MIDI programs of each label, counted from 0; for drums, the kits."""

CHORDS = ["piano", "electric piano", "organ", "acoustic guitar", "electric guitar", "distorted guitar", "harp"]
PADS = ["strings", "choir", "synthesizer", "organ", "brass"]
LEADS = [
    "violin",
    "cello",
    "trumpet",
    "saxophone",
    "clarinet",
    "flute",
    "marimba",
    "synthesizer",
    "electric guitar",
    "piano",
]
RANGES = {"cello": (40, 64), "violin": (57, 88), "flute": (62, 90), "saxophone": (50, 76), "trumpet": (55, 80)}
SCALES = [[0, 2, 4, 5, 7, 9, 11], [0, 2, 3, 5, 7, 8, 10], [0, 2, 3, 5, 7, 9, 10], [0, 2, 4, 5, 7, 9, 10]]


class Harmony:
    """The key, scale, tempo and chords of one arrangement."""

    def __init__(self, rng):
        self.rng = rng
        self.key = rng.randrange(12)
        self.scale = rng.choice(SCALES)
        self.tempo = rng.uniform(65, 165)  # quarter notes per minute
        self.bars = int(SECONDS * self.tempo / 60 / 4) + 1
        loop = [rng.choice([0, 3, 4, 5, 1]) for _ in range(rng.choice([2, 4]))]
        self.degrees = [loop[bar % len(loop)] for bar in range(self.bars)]
        self.swing = rng.choice([0, 0, 0, TICKS // 6])

    def pitch(self, degree, octave):
        """The MIDI key of a degree of the scale; degrees from seven on are in higher octaves."""
        return self.key + 12 * (octave + degree // 7) + self.scale[degree % 7]

    def chord(self, bar, octave):
        root = self.degrees[bar]
        steps = (0, 2, 4, 6) if self.rng.random() < 0.3 else (0, 2, 4)
        return [self.pitch(root + step, octave) for step in steps]


def bass(harmony):
    """A bass line. Like all parts, yields (start in quarters, MIDI key, length in quarters, velocity)."""
    rng = harmony.rng
    rhythm = rng.choice([[0, 2], [0, 1, 2, 3], [0, 1.5, 2, 3.5], [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5], [0, 2.5, 3]])
    for bar in range(harmony.bars):
        for position, beat in enumerate(rhythm):
            degree = harmony.degrees[bar] + (0 if position == 0 else rng.choice([0, 0, 4, 7, 2]))
            key = harmony.pitch(degree, 3) - 12 * (rng.random() < 0.3)
            yield 4 * bar + beat, key, rng.uniform(0.3, 0.9), rng.randint(75, 115)


def chords(harmony):
    """Block, strummed or broken chords."""
    rng = harmony.rng
    broken = rng.random() < 0.4
    rhythm = rng.choice([[0], [0, 2], [0, 1, 2, 3], [0.5, 1.5, 2.5, 3.5], [0, 1.5, 3]])
    spread = rng.uniform(0, 0.05)
    octave = rng.choice([4, 5])
    for bar in range(harmony.bars):
        keys = harmony.chord(bar, octave)
        if broken:
            for step in range(8):
                key = keys[step % len(keys)] + 12 * (step % 3 == 2)
                yield 4 * bar + step / 2, key, rng.uniform(0.4, 1.5), rng.randint(55, 100)
        else:
            for beat in rhythm:
                length, velocity = rng.uniform(0.3, 1.6), rng.randint(60, 108)
                for place, key in enumerate(keys):
                    yield 4 * bar + beat + place * spread, key, length, velocity


def pad(harmony):
    """Sustained chords, one per bar."""
    rng = harmony.rng
    octave = rng.choice([4, 5])
    for bar in range(harmony.bars):
        for key in harmony.chord(bar, octave):
            yield 4 * bar, key, 3.95, rng.randint(55, 90)


def lead(harmony, lowest=55, highest=84):
    """A random melody in the scale, with rests."""
    rng = harmony.rng
    degree, beat = rng.randrange(7), rng.choice([0, 0.5, 1, 4])
    while beat < 4 * harmony.bars:
        length = rng.choice([0.25, 0.5, 0.5, 1, 1, 1.5, 2])
        key = harmony.pitch(degree, 5)
        while key < lowest:
            key += 12
        while key > highest:
            key -= 12
        if rng.random() < 0.82:
            yield beat, key, length * rng.uniform(0.6, 1.0), rng.randint(65, 115)
        beat += length
        degree = max(0, min(13, degree + rng.choice([-2, -1, -1, 0, 1, 1, 2, 4, -4])))


def drums(harmony):
    """Kick, snare, cymbals and fills."""
    rng = harmony.rng
    kicks = rng.choice([[0, 2], [0, 1, 2, 3], [0, 2.5], [0, 1.75, 2.5], [0, 0.75, 2]])
    snares = rng.choice([[1, 3], [2], [1, 3, 3.75], []])
    cymbal = rng.choice([42, 42, 51, 46, 70])
    division = rng.choice([1, 2, 2, 4])
    snare = rng.choice([38, 40, 37, 39])
    for bar in range(harmony.bars):
        for beat in kicks:
            yield 4 * bar + beat, 36, 0.2, rng.randint(85, 120)
        for beat in snares:
            yield 4 * bar + beat, snare, 0.2, rng.randint(75, 118)
        for step in range(4 * division):
            if rng.random() < 0.92:
                yield 4 * bar + step / division, cymbal, 0.1, rng.randint(40, 90)
        if bar % 4 == 0 and rng.random() < 0.4:
            yield 4 * bar, 49, 1.0, rng.randint(70, 110)
        if bar % 4 == 3 and rng.random() < 0.6:
            for step in range(4):
                yield 4 * bar + 3 + step / 4, rng.choice([41, 45, 47, 50, 38]), 0.2, rng.randint(80, 118)


def draw_parts(rng):
    """Draws the parts of an arrangement, three to six with different labels: [(label, composing function)]."""
    chosen = []
    if rng.random() < 0.85:
        chosen.append(("drums", drums))
    if rng.random() < 0.85:
        chosen.append(("bass guitar", bass))
    chosen += [(label, chords) for label in rng.sample(CHORDS, rng.choice([1, 1, 2]))]
    if rng.random() < 0.6:
        chosen.append((rng.choice(PADS), pad))
    if rng.random() < 0.7 or len(chosen) < 3:
        chosen.append((rng.choice(LEADS), lead))
    return list(dict(reversed(chosen)).items())


def make_midi(label, notes, harmony, program):
    """Makes the MIDI file of one stem."""
    rng = harmony.rng
    channel = DRUM_CHANNEL if label == "drums" else 0
    events = []
    for beat, key, length, velocity in notes:
        late = harmony.swing if beat % 1 == 0.5 else 0
        start = max(0, round(beat * TICKS + late + rng.gauss(0, 6)))
        events.append((start, 1, mido.Message("note_on", channel=channel, note=key, velocity=velocity)))
        events.append((start + max(20, round(length * TICKS)), 0, mido.Message("note_off", channel=channel, note=key)))
    track = mido.MidiTrack()
    track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(harmony.tempo)))
    track.append(mido.Message("program_change", channel=channel, program=program))
    now = 0
    for tick, _, message in sorted(events, key=lambda event: event[:2]):
        track.append(message.copy(time=tick - now))
        now = tick
    return mido.MidiFile(ticks_per_beat=TICKS, tracks=[track])


def render_stem(score, font, reverberate, path):
    """Renders `SECONDS` of a MIDI file to mono FLAC; returns False if it is silent."""
    midi_path, wave_path = path.with_suffix(".mid"), path.with_suffix(".wav")
    score.save(midi_path)
    options = [
        "-n",
        "-i",
        "-q",
        "-r",
        str(RATE),
        "-R",
        str(int(reverberate)),
        "-C",
        "0",
        "-g",
        "0.6",
        "-o",
        "synth.dynamic-sample-loading=1",
    ]
    subprocess.run(["fluidsynth", *options, "-F", wave_path, font, midi_path], check=True, capture_output=True)
    samples, _ = soundfile.read(wave_path, dtype="float32", frames=int(SECONDS * RATE), always_2d=True)
    midi_path.unlink()
    wave_path.unlink()
    samples = np.pad(samples.mean(axis=1), (0, int(SECONDS * RATE) - len(samples)))
    if (samples**2).mean() < 1e-7:
        return False
    soundfile.write(path, samples, RATE)
    return True


def _render(folder):
    fonts = list(FONTS)
    for number in range(ARRANGEMENTS):
        rng = random.Random(f"arrangement {number}")
        harmony = Harmony(rng)
        one_font = rng.choice(fonts) if rng.random() < 0.5 else None
        reverberate = rng.random() < 0.5
        for label, compose in draw_parts(rng):
            notes = lead(harmony, *RANGES.get(label, (55, 84))) if compose is lead else compose(harmony)
            score = make_midi(label, notes, harmony, rng.choice(PROGRAMS[label]))
            font = one_font or rng.choice(fonts)
            path = f"{number:03}-{label.replace(' ', '-')}.flac"
            if render_stem(score, font, reverberate, folder / path):
                yield path, label, f"FluidSynth, {Path(font).stem}", f"arrangement:{number:03}"


def folder():
    """Returns the folder of the stems and their index; renders them first if they are missing."""
    return rendered_folder("synthetic-music", __file__, {"fluidsynth": "fluidsynth", **FONTS}, _render)
