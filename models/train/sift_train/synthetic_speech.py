"""Renders synthetic speech with eSpeak NG and Flite, to add voices to the recordings of the corpus.

Users also type "a person speaking" for synthetic speech. The sentences and voices are not those of the demo.
"""

import random
import subprocess

from .render_cache import rendered_folder

CLIPS = 480
FLITE_SHARE = 0.35
FLITE_VOICES = ["kal16", "awb", "rms"]
VOICES = ["en-gb", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029", "de", "nl", "sv"]
VARIANTS = ["", "+m1", "+m2", "+m4", "+m6", "+m7", "+f1", "+f3", "+f4", "+f5", "+Andy", "+Annie", "+Denis", "+linda"]

SUBJECTS = [
    "My sister",
    "The captain",
    "An old friend",
    "Our neighbour",
    "The teacher",
    "Nobody",
    "A young doctor",
    "The new driver",
    "Everyone in the room",
    "The quiet man upstairs",
    "Your brother",
    "The woman at the desk",
]
DEEDS = [
    "forgot to close the window",
    "bought seven green apples",
    "will call again on Thursday",
    "sings when it snows",
    "found the key under a stone",
    "cannot explain the answer",
    "wrote three letters home",
    "keeps asking for more",
    "has never seen the desert",
    "painted the kitchen yellow",
    "runs faster than before",
    "waited for the last bus",
]
ENDINGS = [
    "before breakfast.",
    "and nobody noticed.",
    "because the shop was shut.",
    "which surprised us all.",
    "as far as I know.",
    "without saying a word.",
    "in the middle of July.",
    "just to be sure.",
    "while the coffee got cold.",
    "for the second time.",
]


def _render(folder):
    rng = random.Random(1)
    for number in range(CLIPS):
        sentence = " ".join(map(rng.choice, (SUBJECTS, DEEDS, ENDINGS)))
        path = f"{number:03}.wav"
        if rng.random() < FLITE_SHARE:
            program, voice = "flite", rng.choice(FLITE_VOICES)
            stretch, pitch = rng.uniform(0.8, 1.3), rng.uniform(0.85, 1.2)
            options = ["-voice", voice, "--setf", f"duration_stretch={stretch:.2f}", "--setf", f"f0_shift={pitch:.2f}"]
            command = [program, *options, "-t", sentence, "-o", folder / path]
        else:
            program, voice = "espeak-ng", rng.choice(VOICES) + rng.choice(VARIANTS)
            options = ["-v", voice, "-s", str(rng.randint(120, 210)), "-p", str(rng.randint(15, 85))]
            command = [program, *options, "-w", folder / path, sentence]
        subprocess.run(command, check=True)
        yield path, "speech", program, f"{program}:{voice}"


def folder():
    """Returns the folder of the clips and their index; renders them first if they are missing."""
    return rendered_folder("synthetic-speech", __file__, {"espeak-ng": "espeak-ng", "flite": "flite"}, _render)
