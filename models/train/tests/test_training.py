"""Training runs: resuming, stopping, validating, processes; and the losses."""

import multiprocessing
import time

import pytest
import torch
from torch import distributed

from sift_train.captions import LABELS, both_caption, caption_indices, caption_set
from sift_train.data import Corpus, MixtureGenerator
from sift_train.losses import presence_loss, separation_loss
from sift_train.train import TrainingRun, learning_rate_factor
from sift_train.weights import read_weights


def new_run(config, folder, corpus, begin_from=None):
    """A run with the captions of the first model, and random sentence vectors."""
    captions = caption_set()
    sentences = torch.randn(len(captions.meanings), 384, generator=torch.Generator().manual_seed(1))
    return TrainingRun(config, folder, MixtureGenerator(corpus, config), captions, sentences, begin_from=begin_from)


@pytest.fixture
def start(small_config, corpus, tmp_path):
    return lambda name, begin_from=None: new_run(small_config, tmp_path / name, corpus, begin_from)


def test_resuming_gives_the_same_result(start):
    whole = start("whole")
    whole.train()
    first = start("parts")
    first.train(until=0.5)
    assert first.step == 3
    # Advance the global generator, as work between the two runs would.
    torch.randn(17)
    second = start("parts")
    assert second.step == 3
    second.train()
    assert second.step == whole.step == 6
    for name, value in whole.average.values.items():
        assert torch.equal(value, second.average.values[name]), name
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name


def test_stopped_run_resumes_at_its_step(start):
    run = start("stopped")
    original = run.train_step

    def stop_after_two(batch):
        loss = original(batch)
        run.is_stopping = run.step == 2
        return loss

    run.train_step = stop_after_two
    run.train()
    assert start("stopped").step == 2


def test_signal_to_the_loader_does_not_change_the_result(start):
    whole = start("whole")
    whole.train()
    run = start("signalled")
    original = run.train_step

    def signal_the_loader(batch):
        for worker in multiprocessing.active_children():
            worker.terminate()
        time.sleep(0.2)
        return original(batch)

    run.train_step = signal_the_loader
    run.train()
    assert run.step == whole.step
    for name, value in whole.average.values.items():
        assert torch.equal(value, run.average.values[name]), name


def test_validation_does_not_change_the_result(start):
    plain = start("plain")
    plain.train()
    watched = start("watched")
    watched.training = watched.training | {"validate_minutes": 0.0}
    seen = []
    watched.train(lambda model: seen.append(model) or {"sdri": 0.0, "si_sdr": 0.0, "absent": 0.0})
    assert len(seen) > 3
    for name, value in plain.average.values.items():
        assert torch.equal(value, watched.average.values[name]), name


def test_best_weights_are_stored_and_start_a_new_run(start, tmp_path):
    run = start("run")
    run.training = run.training | {"validate_minutes": 0.0}
    scores, seen = iter([1.0, 3.0, 2.0, 2.5, 1.5, 0.5, 0.0]), []

    def validate(model):
        seen.append(model)
        return {"sdri": next(scores), "si_sdr": 0.0, "absent": 0.0}

    run.train(validate)
    best = read_weights(tmp_path / "run" / "best.safetensors")
    for name, value in seen[1].state_dict().items():
        assert torch.allclose(best[name], value, rtol=1e-3, atol=1e-4), name
    fresh = start("fresh", best)
    assert fresh.step == 0
    for name, value in fresh.model.state_dict().items():
        assert torch.equal(value, best[name]), name


def _train_in_process(rank, folder, config):
    """Trains as one of two processes, as under torchrun."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    corpus = Corpus(config["corpus"]["path"], "val", config["audio"]["sample_rate"])
    run = new_run(config, folder / "run", corpus)
    seen = []
    train_step = run.train_step
    run.train_step = lambda batch: seen.append(batch[0].clone()) or train_step(batch)
    run.train()
    torch.save((seen, dict(run.model.named_parameters()), run.examples), folder / f"{rank}.pt")
    distributed.destroy_process_group()


def test_two_processes_train_one_model_on_different_batches(small_config, corpus, tmp_path):
    torch.multiprocessing.spawn(_train_in_process, (tmp_path, small_config), nprocs=2)
    (first, model, examples), (second, twin, _) = (torch.load(tmp_path / f"{n}.pt", weights_only=False) for n in (0, 1))
    assert len(first) == len(second) == small_config["training"]["steps"]
    assert examples == 2 * small_config["training"]["steps"] * small_config["training"]["batch"]
    assert not any(torch.equal(one, other) for one, other in zip(first, second))
    for name, value in model.items():
        assert torch.equal(value, twin[name]), name
    assert (tmp_path / "run" / "last.pt").is_file()


def test_bfloat16_gives_nearly_the_same_masks(small_config, start):
    run = start("run")
    model = run.averaged_model()
    magnitude, sentence = torch.rand(2, 20, 513), torch.randn(2, 384)
    with torch.no_grad():
        mask, presence, _ = model(magnitude, sentence)
        with torch.autocast("cpu", torch.bfloat16):
            coarse_mask, coarse_presence, _ = model(magnitude, sentence)
    # In bfloat16 a presence of nearly 1 would round to 1 and have no gradient.
    assert coarse_presence.dtype == torch.float32
    assert (coarse_mask - mask).abs().max() < 0.03 and (coarse_presence - presence).abs().max() < 0.03


def test_training_lowers_the_loss(small_config, corpus, start):
    run = start("learns")
    # More steps than the test trains, so that the learning rate does not fall.
    run.training = run.training | {"steps": 1000}
    batch = MixtureGenerator(corpus, small_config).batch(0)
    losses = [run.train_step(batch) for _ in range(40)]
    assert sum(losses[-5:]) / 5 < sum(losses[:5]) / 5 - 1


def test_learning_rate_rises_stays_and_falls_to_zero():
    training = {"warm_up_steps": 10, "anneal": 0.5}
    factors = [learning_rate_factor(step / 100, step, training) for step in range(101)]
    assert factors[0] == 0.1 and factors[9] == factors[50] == 1.0
    assert factors[75] == pytest.approx(0.5) and factors[100] == 0.0


def _spectra():
    generator = torch.Generator().manual_seed(2)
    return torch.view_as_complex(torch.randn(2, 4, 20, 513, 2, generator=generator)).unbind(0)


def test_loss_orders_target_mixture_and_silence():
    target, interferer = _spectra()
    mixture = target + 0.5 * interferer
    present = torch.zeros(4, dtype=torch.bool)
    exact, unprocessed, silent = (
        separation_loss(estimate, target, mixture, present) for estimate in (target, mixture, 0 * mixture)
    )
    assert exact < unprocessed < silent


def test_loss_of_absent_sounds_is_least_for_silence_and_finite():
    mixture, _ = _spectra()
    absent = torch.ones(4, dtype=torch.bool)
    silence = separation_loss(0 * mixture, 0 * mixture, mixture, absent)
    assert silence < separation_loss(0.1 * mixture, 0 * mixture, mixture, absent)
    assert torch.isfinite(separation_loss(0 * mixture, 0 * mixture, 0 * mixture, absent))


def test_loss_does_not_depend_on_level():
    target, interferer = _spectra()
    mixture = target + interferer
    present = torch.zeros(4, dtype=torch.bool)
    loud, quiet = (
        separation_loss(gain * 0.7 * mixture, gain * target, gain * mixture, present) for gain in (1.0, 0.01)
    )
    assert loud == pytest.approx(quiet.item(), abs=1e-3)


def test_start_weights_can_lack_parts_but_not_add_any(start, capsys):
    run = start("run")
    weights = {name: value for name, value in run.model.state_dict().items() if "presence.asked" not in name}
    fresh = start("a", weights)
    assert "start untrained: separator.presence.asked.weight, separator.presence.asked.bias" in capsys.readouterr().out
    assert torch.allclose(fresh.model.query.linear.weight, run.model.query.linear.weight, atol=1e-3)
    with pytest.raises(ValueError, match=r"separator\.other"):
        start("b", {**weights, "separator.other": torch.zeros(1)})


def test_label_loss_targets_are_all_labels_of_a_caption(start):
    run = start("run")
    index = caption_indices()
    assert run.label_loss.labels[index["rain"], LABELS.index("rain")] == 1
    pair = run.label_loss.labels[index[both_caption("rain", "piano", "train")]]
    assert pair[LABELS.index("rain")] == pair[LABELS.index("piano")] == 0.5


def test_presence_loss_expects_presence_while_audible():
    mixture = torch.ones(2, 120, 9, dtype=torch.complex64)
    target = torch.zeros_like(mixture)
    target[0, 20:30] = 0.5
    right = torch.full((2, 120), 0.005)
    right[0, 20 : 30 + 30] = 0.995
    absent = torch.tensor([False, True])
    assert presence_loss(right, target, mixture, absent) < 0.05
    assert presence_loss(1 - right, target, mixture, absent) > 5


def test_presence_of_absent_sounds_costs_more_than_a_pause():
    mixture, target = torch.ones(1, 60, 9, dtype=torch.complex64), torch.zeros(1, 60, 9, dtype=torch.complex64)
    loud = torch.full((1, 60), 0.9)
    costs = [presence_loss(loud, target, mixture, torch.tensor([absent])) for absent in (True, False)]
    assert costs[0] > 3 * costs[1]
