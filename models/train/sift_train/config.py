"""The configuration, a TOML file read into a dictionary, and the paths of files and folders."""

import hashlib
import os
import tomllib
from pathlib import Path

TRAIN_FOLDER = Path(__file__).resolve().parent.parent
REPOSITORY = TRAIN_FOLDER.parent.parent
PACKAGE = REPOSITORY / "models" / "default"
DEFAULT_CONFIG = TRAIN_FOLDER / "config.toml"
DEFAULT_WEIGHTS = TRAIN_FOLDER / "checkpoints" / "default.safetensors"
ADAPTER = TRAIN_FOLDER / "checkpoints" / "languages.safetensors"
LISTENER_CONFIG = TRAIN_FOLDER / "listener.toml"
LISTENER_WEIGHTS = TRAIN_FOLDER / "checkpoints" / "listener.safetensors"
VOCABULARY = TRAIN_FOLDER / "vocabulary"
CONCEPTS = TRAIN_FOLDER / "checkpoints" / "concepts.safetensors"


def load(path=DEFAULT_CONFIG):
    """Reads a configuration file and makes its paths absolute."""
    with open(path, "rb") as file:
        config = tomllib.load(file)
    corpus = config["corpus"]
    corpus["path"] = str((REPOSITORY / corpus["path"]).resolve())
    corpus["further"] = [str((REPOSITORY / folder).resolve()) for folder in corpus["further"]]
    if "vocabulary" in config["query"]:
        config["query"]["vocabulary"] = str(REPOSITORY / config["query"]["vocabulary"])
    return config


def load_listener(path=LISTENER_CONFIG):
    """Reads the listener's configuration; the corpora, vocabulary and mixing are those of its `material`."""
    with open(path, "rb") as file:
        own = tomllib.load(file)
    config = load(Path(path).with_name(own.pop("material"))) | own
    config["mixing"]["segment_seconds"] = config["mixtures"]["segment_seconds"]
    return config


def cache_folder():
    """Returns the folder of files that can be recreated: `SIFT_CACHE`, else the user's cache folder."""
    base = os.environ.get("SIFT_CACHE")
    if not base:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sift"
    folder = Path(base)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def digest(path):
    """Computes the SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
