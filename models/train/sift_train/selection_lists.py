"""Lists of mixtures that measure the second model during training, drawn from a fixed seed.

`old`, `new`: pairs at 0 dB of the validation split, with concepts that the first corpus has and that it lacks.
`esc50`: pairs of the fourth fold of ESC-50. `other`: pairs of held-out sources. `absent`: pairs with the name of a third
sound. `vocals`, `drums`: a singer at 0 dB with drums, bass and chords, where the target is the named part.
"""

import numpy as np
import torch

from .data import Corpus, draw_loudest_part, energy, scale_to_snr, spectrogram, waveform
from .metrics import sdr, si_sdr
from .sentences import sentence_vectors

SEED = 5
CASES_PER_LIST = 40
CASE_SECONDS = 4.0
PEAK = 0.5
"""Largest sample of a mixture."""


def _normalise(samples):
    return samples / np.float32(np.sqrt(energy(samples) + 1e-9))


class SelectionLists:
    """Measures a model on all lists: `SelectionLists(vocabulary, config)(model)`."""

    def __init__(self, vocabulary, config, cases=CASES_PER_LIST):
        """`config`: names the folders of the corpora and the held-out sources. `cases`: number per list."""
        self.vocabulary = vocabulary
        self.audio = config["audio"]
        self.length = int(CASE_SECONDS * self.audio["sample_rate"])
        self.cases = []
        """(list, caption, mixture [N], target [N]) of each case. The target is None if the sound is absent."""
        pools = self._collect_recordings(config)
        rng = np.random.default_rng(SEED)
        for name in ("old", "new", "esc50", "other"):
            for concept in self._cycle_concepts(rng, pools[name], cases):
                self._add_pair(rng, name, pools[name], concept)
        for concept in self._cycle_concepts(rng, pools["old"], cases):
            self._add_pair(rng, "absent", pools["old"], concept, absent=True)
        for number in range(cases):
            self._add_band(rng, pools["all"], "singing" if number % 2 else "vocals")
        self.sentences = sentence_vectors([caption for _, caption, _, _ in self.cases], config)

    def _collect_recordings(self, config):
        """Returns the recordings of each list: {list: {concept: [(corpus, clip)]}}."""
        folders = [config["corpus"]["path"], *config["corpus"]["further"]]
        rate = config["audio"]["sample_rate"]
        held_out = set(config["corpus"]["held_out_sources"])
        validation = [Corpus(folder, "val", rate) for folder in folders]
        training = [Corpus(folder, "train", rate) for folder in folders]

        def select(corpora, is_selected):
            found = {}
            for corpus in corpora:
                for clip in corpus.clips:
                    if is_selected(clip):
                        found.setdefault(self.vocabulary.concept_of[clip.label], []).append((corpus, clip))
            return found

        first = select(training[:1] + validation[:1], lambda clip: True)
        trained = select(training, lambda clip: clip.source not in held_out)
        new = select(validation[1:], lambda clip: clip.source != "esc50" and clip.source not in held_out)
        other = select(validation + training, lambda clip: clip.source in held_out)
        return {
            "old": select(validation[:1], lambda clip: True),
            "new": {concept: clips for concept, clips in new.items() if concept not in first},
            "esc50": select(validation[1:], lambda clip: clip.source == "esc50"),
            "other": {concept: clips for concept, clips in other.items() if concept in trained},
            "all": select(validation, lambda clip: clip.source not in held_out),
        }

    @staticmethod
    def _cycle_concepts(rng, pool, count):
        concepts = sorted(pool)
        rng.shuffle(concepts)
        return [concepts[number % len(concepts)] for number in range(count)]

    def _draw_segment(self, rng, clips):
        """Draws the loudest of four random segments [N] of a random clip. Short clips repeat."""
        corpus, clip = clips[rng.integers(len(clips))]
        return draw_loudest_part(rng, corpus.samples(clip), self.length)

    def _add_pair(self, rng, name, pool, concept, absent=False):
        conflicts = self.vocabulary.conflicts
        allowed = [
            other for other in sorted(pool) if other not in conflicts[concept] and concept not in conflicts[other]
        ]
        first = allowed[rng.integers(len(allowed))] if absent else concept
        target = self._draw_segment(rng, pool[first])
        other = scale_to_snr(target, self._draw_segment(rng, pool[allowed[rng.integers(len(allowed))]]), 0.0)
        gain = np.float32(PEAK / (np.abs(target + other).max() + 1e-9))
        caption = self.vocabulary.usual_caption(concept)
        self.cases.append((name, caption, (target + other) * gain, None if absent else target * gain))

    def _add_band(self, rng, pool, singer):
        def draw(*names):
            members = sorted(set().union(*(self.vocabulary.members[name] for name in names)) & pool.keys())
            return self._draw_segment(rng, pool[members[rng.integers(len(members))]])

        vocals, drums, bass, chords = draw(singer), draw("drums"), draw("bass"), draw("keyboards", "guitar")
        parts = [_normalise(drums), 0.9 * _normalise(bass), 0.8 * _normalise(chords)]
        scale = np.float32(np.sqrt(energy(vocals) / (energy(sum(parts)) + 1e-9)))
        mixture = vocals + sum(parts) * scale
        gain = np.float32(PEAK / np.abs(mixture).max())
        self.cases.append(("vocals", "vocals", mixture * gain, vocals * gain))
        self.cases.append(("drums", "drums", mixture * gain, parts[0] * scale * gain))

    @torch.no_grad()
    def __call__(self, model):
        """Measures a model on all lists.

        Returns `sdri` and `si_sdr` (means over `old` and `other`, dB), `absent` (median output level, dB) and `lists`.
        `lists` has [SDRi, SI-SDR, 10th percentile of SI-SDR] in dB of each list, and of `absent` [median level in dB,
        share below −20 dB].
        """
        rows = {}
        device = next(model.parameters()).device
        for (name, _, mixture, target), sentence in zip(self.cases, self.sentences):
            spectrum = spectrogram(torch.from_numpy(mixture)[None].to(device), self.audio)
            mask, _, _ = model(spectrum.abs(), sentence[None].to(device))
            estimate = waveform(mask[:, 0] * spectrum, self.audio, len(mixture))[0].cpu().numpy()
            if target is None:
                rows.setdefault(name, []).append(10 * np.log10(energy(estimate) / energy(mixture) + 1e-9))
            else:
                improvement = sdr(target, estimate) - sdr(target, mixture)
                rows.setdefault(name, []).append((improvement, si_sdr(target, estimate)))
        levels = np.array(rows.pop("absent"))
        lists = {"absent": [round(float(np.median(levels)), 1), round(float((levels < -20).mean()), 2)]}
        for name, values in rows.items():
            improvements, scale_invariant = np.array(values).T
            figures = (improvements.mean(), scale_invariant.mean(), np.quantile(scale_invariant, 0.1))
            lists[name] = [round(float(figure), 2) for figure in figures]
        return {
            "sdri": (lists["old"][0] + lists["other"][0]) / 2,
            "si_sdr": (lists["old"][1] + lists["other"][1]) / 2,
            "absent": lists["absent"][0],
            "lists": lists,
        }
