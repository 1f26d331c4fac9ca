"""Synthetic speech, rendered by eSpeak NG: voices that no recording of the corpus has.

Speech synthesisers are among what "a person speaking" is said of. The sentences and voices are not those of the demo.
"""

import csv
import random
import shutil
import subprocess

from . import config as configuration

CLIPS = 360
VOICES = ["en-gb", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029", "de", "nl", "sv"]
VARIANTS = ["", "+m1", "+m2", "+m4", "+m6", "+m7", "+f1", "+f3", "+f4", "+f5", "+Andy", "+Annie", "+Denis", "+linda"]

SUBJECTS = ["My sister", "The captain", "An old friend", "Our neighbour", "The teacher", "Nobody", "A young doctor",
            "The new driver", "Everyone in the room", "The quiet man upstairs", "Your brother", "The woman at the desk"]
DEEDS = ["forgot to close the window", "bought seven green apples", "will call again on Thursday", "sings when it snows",
         "found the key under a stone", "cannot explain the answer", "wrote three letters home", "keeps asking for more",
         "has never seen the desert", "painted the kitchen yellow", "runs faster than before", "waited for the last bus"]
ENDINGS = ["before breakfast.", "and nobody noticed.", "because the shop was shut.", "which surprised us all.",
           "as far as I know.", "without saying a word.", "in the middle of July.", "just to be sure.",
           "while the coffee got cold.", "for the second time."]


def folder():
    """The folder of the clips and their index, rendered if it is not in the cache."""
    done = configuration.cache_folder() / f"synthetic-speech-{configuration.digest(__file__)[:12]}"
    if done.is_dir():
        return done
    if shutil.which("espeak-ng") is None:
        raise FileNotFoundError("espeak-ng is missing, which renders synthetic speech: apt-get install espeak-ng")
    print(f"rendering {CLIPS} clips of synthetic speech into {done}", flush=True)
    partial = done.with_suffix(".part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    rng = random.Random(1)
    with open(partial / "index.csv", "w", newline="", encoding="utf-8") as file:
        index = csv.writer(file)
        index.writerow(["path", "label", "source", "group", "split", "licence", "author", "origin"])
        for number in range(CLIPS):
            voice = rng.choice(VOICES) + rng.choice(VARIANTS)
            sentence = " ".join(map(rng.choice, (SUBJECTS, DEEDS, ENDINGS)))
            options = ["-v", voice, "-s", str(rng.randint(120, 210)), "-p", str(rng.randint(15, 85))]
            path = f"{number:03}.wav"
            subprocess.run(["espeak-ng", *options, "-w", partial / path, sentence], check=True)
            index.writerow([path, "speech", "espeak-ng", f"espeak-ng:{voice}", "train", "", "", "eSpeak NG"])
    partial.rename(done)
    return done
