import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sift_train import config as configuration
from sift_train.data import Corpus


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def config():
    return configuration.load()


@pytest.fixture(scope="session")
def small_config(config):
    """The configuration with networks that are small enough to train in a test."""
    small = {table: dict(values) for table, values in config.items()}
    small["separator"] |= {"channels": [4, 4, 4, 4, 4, 4], "recurrent_size": 8}
    small["mixing"] |= {"segment_seconds": 0.5}
    small["training"] |= {"batch": 2, "steps": 6, "warm_up_steps": 2, "seed": 5, "compile": False}
    return small


@pytest.fixture(scope="session")
def corpus(config):
    folder = Path(config["corpus"]["path"])
    if not (folder / "index.csv").is_file():
        pytest.skip(f"no corpus at {folder}")
    return Corpus(folder, "val", config["audio"]["sample_rate"])
