"""Failed exports name the problem in one line and leave no files."""

import argparse
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sift_export import package as packages
from sift_export import reference_weights, tokenizers


@pytest.fixture
def error_of(small, tmp_path, capsys):
    """Runs an export that fails, and returns its message."""

    def of(**changes):
        folder = tmp_path / "folder"
        folder.mkdir()
        with pytest.raises(SystemExit) as exit_:
            small.export(folder / "package", **changes)
        assert list(folder.iterdir()) == []
        message = str(exit_.value.code)
        assert message.startswith("error: ") and message.endswith(".") and "\n" not in message
        return message

    return of


def write_changed(small, path, change):
    state = dict(small.state)
    change(state)
    return small.save(path, state)


def test_truncated_checkpoint(small, error_of, tmp_path):
    path = tmp_path / "short.ckpt"
    path.write_bytes(small.checkpoint.read_bytes()[:-5000])
    message = error_of(checkpoint=path)
    assert "short.ckpt" in message and "incomplete file" in message and "Download it again" in message


def test_truncated_checkpoint_of_old_pytorch(small, error_of, tmp_path):
    path = tmp_path / "short.ckpt"
    torch.save(torch.load(small.checkpoint, weights_only=True), path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:-5000])
    assert "damaged" in error_of(checkpoint=path)


def test_other_file_type(error_of, tmp_path):
    path = tmp_path / "page.ckpt"
    path.write_text("<html>not found</html>")
    assert "not a PyTorch checkpoint" in error_of(checkpoint=path)


def test_missing_checkpoint(error_of, tmp_path):
    assert "file not found" in error_of(checkpoint=tmp_path / "none.ckpt")


def test_checkpoint_with_objects(small, error_of, tmp_path):
    path = small.save(tmp_path / "objects.ckpt", small.state, hyper_parameters=argparse.Namespace(lr=1))
    message = error_of(checkpoint=path)
    assert "argparse.Namespace" in message and "weights_only=False" in message


def test_checkpoint_of_another_architecture(small, error_of, tmp_path):
    path = tmp_path / "other.ckpt"
    torch.save({small.architecture.ENTRY: {"module.classifier.weight": torch.ones(3, 3)}}, path)
    message = error_of(checkpoint=path)
    assert "other.ckpt" in message and (
        "not a checkpoint of this architecture" in message or "no text encoder" in message
    )


def test_checkpoint_without_the_entry(error_of, tmp_path):
    path = tmp_path / "other.ckpt"
    torch.save({"weights": {}}, path)
    assert "no entry" in error_of(checkpoint=path)


def test_renamed_tensors(small, error_of, tmp_path):
    name = next(name for name in small.state if name.endswith("conv_block2.conv1.weight"))
    path = write_changed(small, tmp_path / "renamed.ckpt", lambda state: state.update({name + "s": state.pop(name)}))
    message = error_of(checkpoint=path)
    assert "1 missing" in message and f"({name})" in message and f"({name}s)" in message


def test_tensors_of_wrong_shape(small, error_of, tmp_path):
    name = next(name for name in small.state if name.endswith(("after_conv.weight", "after_conv2.weight")))
    path = write_changed(small, tmp_path / "shape.ckpt", lambda state: state.update({name: state[name][:, :1]}))
    assert name in error_of(checkpoint=path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_not_finite(small, error_of, tmp_path, value):
    name = next(name for name in small.state if name.endswith("conv_block1.conv2.weight"))

    def spoil(state):
        state[name] = state[name].clone()
        state[name].view(-1)[-1] = value

    message = error_of(checkpoint=write_changed(small, tmp_path / "nan.ckpt", spoil))
    assert name in message and "not finite" in message


def test_tokenizer_of_another_size(small, error_of, tmp_path):
    reference_weights.write_placeholder_tokenizer(tmp_path / "other", small.architecture.TOKENIZER, 321, {})
    message = error_of(tokenizer=tmp_path / "other")
    assert "321 tokens" in message and "320" in message


def test_tokenizer_of_another_kind(small, error_of, tmp_path):
    other = tokenizers.BERT if small.name == "audiosep" else tokenizers.ROBERTA
    reference_weights.write_placeholder_tokenizer(tmp_path / "other", other, 320, {})
    assert "does not fit" in error_of(tokenizer=tmp_path / "other")


def test_folder_without_a_tokenizer(small, error_of, tmp_path):
    (tmp_path / "empty").mkdir()
    message = error_of(tokenizer=tmp_path / "empty")
    assert "tokenizer.json" in message and small.architecture.TOKENIZER.published_as in message


def test_output_folder_that_exists(small, tmp_path):
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "mine").write_text("precious")
    with pytest.raises(SystemExit, match="already exists"):
        small.export(folder)
    assert [path.name for path in folder.iterdir()] == ["mine"]


def test_output_folder_without_a_parent(small, tmp_path):
    with pytest.raises(SystemExit, match="not a folder"):
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
def test_window_settings_beyond_the_engines_limits(error_of, window, option):
    assert option in error_of(**window)


def test_exported_network_that_differs_from_pytorch(small, error_of, monkeypatch):
    """Simulates a bug of the exporter: the shifts of the query network are not folded."""
    monkeypatch.setattr(type(small.model), "fold", lambda self: self.separator.fold())
    assert "differs from PyTorch" in error_of()


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of file sizes on Windows")
def test_file_size_limit(error_of):
    """Exceeding the limit takes the same path as a full disk."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limits[1]))
    try:
        message = error_of()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "not enough space" in message and "Free some space" in message


def test_full_disk(small, tmp_path):
    """Exports to a file system of 200 kB in the process's own mount namespace."""
    own_mounts = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    place = tmp_path / "disk"
    place.mkdir()
    mount = 'mount -t tmpfs -o size=200k tmpfs "$0"'
    if shutil.which("unshare") is None or subprocess.run([*own_mounts, mount, place], capture_output=True).returncode:
        pytest.skip("mounting in an own namespace is not permitted")
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
    assert "not enough space" in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert "package" not in done.stdout.splitlines()[-1], done.stdout


def test_interruption(small, tmp_path, monkeypatch):
    place = tmp_path / "place"
    place.mkdir()

    def interrupted(*arguments, **options):
        assert len(list(place.iterdir())) == 1
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(packages.onnx.checker, "check_model", interrupted)
    with pytest.raises(SystemExit, match="nothing was written"):
        small.export(place / "package")
    assert list(place.iterdir()) == []
