"""What cannot be exported is refused with a sentence that names it, and leaves nothing behind."""

import argparse
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sift_export import golden, tokens
from sift_export import package as packages


@pytest.fixture
def refusal(small, tmp_path, capsys):
    """The message with which an export ends, and nothing but that."""

    def of(**changes):
        place = tmp_path / "place"
        place.mkdir()
        with pytest.raises(SystemExit) as exit_:
            small.export(place / "package", **changes)
        assert list(place.iterdir()) == []
        message = str(exit_.value.code)
        assert message.startswith("error: ") and message.endswith(".") and "\n" not in message
        return message

    return of


def changed(small, path, change):
    state = dict(small.state)
    change(state)
    return small.save(path, state)


def test_a_truncated_file(small, refusal, tmp_path):
    path = tmp_path / "short.ckpt"
    path.write_bytes(small.checkpoint.read_bytes()[:-5000])
    message = refusal(checkpoint=path)
    assert "short.ckpt" in message and "cut short" in message and "Download it again" in message


def test_a_truncated_file_of_older_pytorch(small, refusal, tmp_path):
    path = tmp_path / "short.ckpt"
    torch.save(torch.load(small.checkpoint, weights_only=True), path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:-5000])
    assert "damaged" in refusal(checkpoint=path)


def test_a_file_that_is_no_checkpoint(refusal, tmp_path):
    path = tmp_path / "page.ckpt"
    path.write_text("<html>not found</html>")
    assert "is no PyTorch checkpoint" in refusal(checkpoint=path)


def test_a_file_that_is_not_there(refusal, tmp_path):
    assert "there is no such file" in refusal(checkpoint=tmp_path / "none.ckpt")


def test_a_file_that_holds_objects(small, refusal, tmp_path):
    path = small.save(tmp_path / "objects.ckpt", small.state, hyper_parameters=argparse.Namespace(lr=1))
    message = refusal(checkpoint=path)
    assert "argparse.Namespace" in message and "weights_only=False" in message


def test_a_checkpoint_of_another_architecture(small, refusal, tmp_path):
    path = tmp_path / "other.ckpt"
    torch.save({small.architecture.ENTRY: {"module.classifier.weight": torch.ones(3, 3)}}, path)
    message = refusal(checkpoint=path)
    assert "other.ckpt" in message and ("another architecture" in message or "no text encoder" in message)


def test_a_checkpoint_without_the_entry(refusal, tmp_path):
    path = tmp_path / "other.ckpt"
    torch.save({"weights": {}}, path)
    assert "has no entry" in refusal(checkpoint=path)


def test_renamed_tensors(small, refusal, tmp_path):
    name = next(name for name in small.state if name.endswith("conv_block2.conv1.weight"))
    path = changed(small, tmp_path / "renamed.ckpt", lambda state: state.update({name + "s": state.pop(name)}))
    message = refusal(checkpoint=path)
    assert "1 missing" in message and f"({name})" in message and f"({name}s)" in message


def test_tensors_of_another_shape(small, refusal, tmp_path):
    name = next(name for name in small.state if name.endswith(("after_conv.weight", "after_conv2.weight")))
    path = changed(small, tmp_path / "shape.ckpt", lambda state: state.update({name: state[name][:, :1]}))
    assert name in refusal(checkpoint=path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(small, refusal, tmp_path, value):
    name = next(name for name in small.state if name.endswith("conv_block1.conv2.weight"))

    def spoil(state):
        state[name] = state[name].clone()
        state[name].view(-1)[-1] = value

    message = refusal(checkpoint=changed(small, tmp_path / "nan.ckpt", spoil))
    assert name in message and "not finite" in message


def test_a_tokenizer_of_another_size(small, refusal, tmp_path):
    golden.stand_in(tmp_path / "other", small.architecture.TOKENIZER, 321, {})
    message = refusal(tokenizer=tmp_path / "other")
    assert "321 tokens" in message and "320" in message


def test_a_tokenizer_of_another_kind(small, refusal, tmp_path):
    other = tokens.BERT if small.name == "audiosep" else tokens.ROBERTA
    golden.stand_in(tmp_path / "other", other, 320, {})
    assert "does not fit" in refusal(tokenizer=tmp_path / "other")


def test_a_folder_without_a_tokenizer(small, refusal, tmp_path):
    (tmp_path / "empty").mkdir()
    message = refusal(tokenizer=tmp_path / "empty")
    assert "tokenizer.json" in message and small.architecture.TOKENIZER.published_as in message


def test_an_output_folder_that_exists(small, tmp_path):
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "mine").write_text("precious")
    with pytest.raises(SystemExit, match="exists already"):
        small.export(folder)
    assert [path.name for path in folder.iterdir()] == ["mine"]


def test_an_output_folder_in_none(small, tmp_path):
    with pytest.raises(SystemExit, match="is no folder"):
        small.export(tmp_path / "none" / "package")


@pytest.mark.parametrize(
    "window, option",
    [
        ({"context": 15}, "--context"),
        ({"advance": 0}, "--advance"),
        ({"lookahead": -1}, "--lookahead"),
        ({"context": 8193}, "--context"),
    ],
)
def test_a_window_that_the_engine_could_not_run(refusal, window, option):
    assert option in refusal(**window)


def test_networks_that_differ_from_pytorch(small, refusal, monkeypatch):
    """As a fault of the exporter would be: the folding is left out of what the words give."""
    monkeypatch.setattr(type(small.model), "fold", lambda self: self.separator.fold())
    assert "differs from PyTorch" in refusal()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no limits of file sizes")
def test_no_room_for_a_file(refusal):
    """The error that the system gives beyond a limit of file sizes takes the path of a full disk's."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limits[1]))
    try:
        message = refusal()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "no room" in message and "Make room" in message


def test_a_full_disk(small, tmp_path):
    """On a file system of 200 kB that a process may mount for itself alone."""
    own_mounts = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    place = tmp_path / "disk"
    place.mkdir()
    mount = 'mount -t tmpfs -o size=200k tmpfs "$0"'
    if shutil.which("unshare") is None or subprocess.run([*own_mounts, mount, place], capture_output=True).returncode:
        pytest.skip("a process may not mount anything here")
    export = [sys.executable, "-m", "sift_export", small.name, small.checkpoint, "--tokenizer", small.tokenizer]
    export += ["--output", place / "package", "--context", "40", "--advance", "8", "--lookahead", "8"]
    script = f'{mount} || exit 9; place=$0; "$@"; status=$?; ls -A "$place"; exit $status'
    root = Path(packages.__file__).resolve().parent.parent
    done = subprocess.run(
        [*own_mounts, script, place, *export],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(root)},
    )
    assert done.returncode == 1, done
    assert "no room" in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert "package" not in done.stdout.splitlines()[-1], done.stdout


def test_an_interruption(small, tmp_path, monkeypatch):
    place = tmp_path / "place"
    place.mkdir()

    def interrupted(*arguments, **options):
        assert len(list(place.iterdir())) == 1
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(packages.onnx.checker, "check_model", interrupted)
    with pytest.raises(SystemExit, match="nothing was written"):
        small.export(place / "package")
    assert list(place.iterdir()) == []
