"""Writes the figures of an evaluation as Markdown and as a picture, and puts text into the model card."""

import numpy as np
import torch

from .data import spectrogram
from .names_lists import make_names_markdown
from .validation_list import SECONDS

SHOWN_LABELS = ("speech", "drums", "piano", "violin", "dog barking", "rain", "clock ticking", "wolf howling")


def _table(heading, rows):
    """Formats summaries by name as the lines of a table."""
    lines = [
        f"| {heading} | SDRi | SDRi median | SI-SDR | SI-SDR median | SI-SDR 10th percentile | SI-SDRi "
        "| SI-SDR below 0 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        lines.append(
            f"| {name} | {row['sdri']:.1f} | {row['sdri_median']:.1f} | {row['si_sdr']:.1f} | "
            f"{row['si_sdr_median']:.1f} | {row['si_sdr_10th_percentile']:.1f} | {row['si_sdri']:.1f} | "
            f"{100 * row['failures']:.0f} % |"
        )
    return lines


def make_markdown(figures):
    """Formats the figures of `evaluate` as text with tables."""
    absent, present, levels = figures["absent"], figures["present"], figures["levels"]
    drift = ", ".join(f"{row['label']} {row['second']:.2f} and {row['last']:.2f}" for row in figures["drift"])
    present_count = figures["outputs"]["usual captions"]["cases"]
    further_count = next(iter(figures["further"].values()))["cases"]
    lines = [
        f"{present_count} mixtures of two sources at 0 dB, {SECONDS:.0f} s each; all values in dB.",
        "",
        *_table("output", figures["outputs"]),
        "",
        "Held-out captions (not used in training), by whether the nearest concept is the label of the caption.",
        "",
        *_table(
            "captions",
            {
                f"{name}, {share['cases']} {understanding}": share
                for name, shares in figures["held out"].items()
                for understanding, share in shares.items()
            },
        ),
        "",
        f"Other lists, of {further_count} mixtures each, separated by the usual caption.",
        "",
        *_table("list", figures["further"]),
        "",
        f"Absent sounds ({absent['cases']} mixtures without the described sound): the level of the output relative to "
        f"the input is {absent['median_db']:.1f} dB (median) and {absent['90th_percentile_db']:.1f} dB (90th "
        f"percentile); in {100 * absent['20_db_below']:.0f} % of the mixtures it is -20 dB or less. The presence, "
        f"averaged over time from the second second on, is {absent['presence_median']:.2f} (median), and below 0.1 in "
        f"{100 * absent['presence_below_0.1']:.0f} % of the mixtures. For present sounds, the 90th percentile of the "
        f"presence over time is {present['presence_median']:.2f} (median) and "
        f"{present['presence_10th_percentile']:.2f} (10th percentile), and below 0.1 in "
        f"{100 * present['presence_below_0.1']:.0f} % of the mixtures.",
        "",
        "Mean SI-SDR by the peak level of the mixture: "
        + ", ".join(f"{value:.2f} dB at {level} dBFS" for level, value in levels.items())
        + ".",
        "",
        f"SI-SDR of {SECONDS:.0f} s repeated for ten minutes, in the second and the last repetition: {drift} dB.",
        "",
        f"Encoding of a text: {figures['query_milliseconds']:.1f} ms (median), on one thread.",
        "",
        "| label | cases | SDRi | SI-SDR | SI-SDR 10th percentile |",
        "|---|---|---|---|---|",
    ]
    for label, row in figures["labels"].items():
        lines.append(
            f"| {label} | {row['cases']} | {row['sdri']:.1f} | {row['si_sdr']:.1f} | "
            f"{row['si_sdr_10th_percentile']:.1f} |"
        )
    if "names" in figures:
        lines += ["", *make_names_markdown(figures["names"])]
    return "\n".join(lines) + "\n"


def draw_spectrograms(package, validation, path):
    """Draws the spectrograms of one case per `SHOWN_LABELS`: mixture, target and output."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    cases = [next(case for case in validation.present if case.label == label) for label in SHOWN_LABELS]
    figure, axes = pyplot.subplots(
        len(cases), 3, figsize=(10, 1.5 * len(cases)), layout="constrained", sharex=True, sharey=True
    )
    for row, case in zip(axes, cases):
        output, _ = package.separate(case.mixture, case.caption)
        sounds = {"mixture": case.mixture, "target": case.target, "output": output}
        for axis, (name, sound) in zip(row, sounds.items()):
            power = spectrogram(torch.from_numpy(sound)[None], package.audio)[0].abs().square().T.numpy()
            image = 10 * np.log10(power + 1e-6)
            reference = 10 * np.log10(np.percentile(np.abs(case.mixture), 99) ** 2 * package.audio["n_fft"] ** 2 / 8)
            axis.imshow(
                image,
                origin="lower",
                aspect="auto",
                cmap="magma",
                vmin=reference - 60,
                vmax=reference,
                extent=(0, SECONDS, 0, package.audio["sample_rate"] / 2000),
            )
            axis.set_title(f"{name}: {case.caption}" if name == "output" else name, fontsize=8)
        row[0].set_ylabel("kHz")
    for axis in axes[-1]:
        axis.set_xlabel("s")
    figure.savefig(path, dpi=80)
    pyplot.close(figure)


def write_into_card(card, marks, text):
    """Replaces the text between two marks of the model card."""
    before, rest = card.read_text(encoding="utf-8").split(marks[0])
    after = rest.split(marks[1])[1]
    card.write_text(f"{before}{marks[0]}\n{text}{marks[1]}{after}", encoding="utf-8")
