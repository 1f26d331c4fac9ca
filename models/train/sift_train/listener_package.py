"""The listener's part of a package: `listener.onnx`, `listener.json`, `listener.f16`, and its table of package.toml.

`listener.json` has the concepts in the order of the outputs, the umbrellas' members, which concepts cannot be told from each
other or may contain each other, and how a concept that is heard becomes the rest of a text (`rest.py`).
"""

import copy
import json
from itertools import combinations

import numpy as np
import torch

from . import config as configuration
from . import data
from .captions import LABELS
from .export_graph import export_graph
from .listener import Listener, StreamingListener, fold_listener
from .rest import RestOptions
from .vocabulary import Vocabulary
from .weights import read_weights

GRAPH_FILE = "listener.onnx"
LISTENER_FILE = "listener.json"
EMBEDDINGS_FILE = "listener.f16"

MANIFEST = """
[listener]
file = "{graph}"
sha256 = "{sha256}"
frames = {frames}
concepts = "{concepts}"
embeddings = "{embeddings}"
"""


def load_listener(config, path=configuration.LISTENER_WEIGHTS):
    """Loads a trained listener: (Listener, names of its outputs, scale and offset of its calibration)."""
    weights = read_weights(path)
    names = Vocabulary(config["query"]["vocabulary"]).names
    scale, offset = weights.pop("calibration.scale"), weights.pop("calibration.offset")
    if len(scale) != len(names):
        raise ValueError(
            f"{path}: {len(scale)} outputs; expected {len(names)}, the names of the vocabulary. Train the listener again."
        )
    listener = Listener(config["listener"], config["audio"], len(names))
    listener.load_state_dict(weights)
    return listener.eval(), names, scale, offset


def load_package_listener(config, path=configuration.LISTENER_WEIGHTS):
    """Loads the listener of the first model's package: folded and calibrated, with the outputs of `LABELS`."""
    listener, names, scale, offset = load_listener(config, path)
    columns = torch.tensor([names.index(label) for label in LABELS])
    return fold_listener(listener, columns, scale[columns], offset[columns])


def describe_concepts(names, vocabulary):
    """Lists the entries of `listener.json` for these names: [{name, members, overlaps}].

    Names overlap if their recordings are not mixed with each other in the training of either model.
    """
    concepts = {name: {"name": name, "members": [], "overlaps": []} for name in names}
    for name, entry in concepts.items():
        entry["members"] = sorted(vocabulary.members[name].intersection(names) - {name})
    for first, second in combinations(names, 2):
        if second in concepts[first]["members"] or first in concepts[second]["members"]:
            continue
        if may_be_confused(first, second, vocabulary):
            concepts[first]["overlaps"].append(second)
            concepts[second]["overlaps"].append(first)
    return [{**entry, "overlaps": sorted(entry["overlaps"])} for entry in concepts.values()]


def may_be_confused(first, second, vocabulary):
    """Returns whether two names cannot be told apart, or one may contain the other."""
    if second in data.conflicts(first) or first in data.conflicts(second):
        return True
    # Both, because what conflicts with an umbrella need not sound like the concept of that name.
    return first in vocabulary.conflicts[second] and second in vocabulary.conflicts[first]


def usual_embeddings(query_head, condition_head):
    """Computes the separator's embedding of the usual caption of every label, [labels, E] half floats, in `LABELS`' order.

    In double precision and rounded once, so that all processors give the same bits.
    """
    query_head, condition_head = (copy.deepcopy(module).double().eval() for module in (query_head, condition_head))
    with torch.no_grad():
        embedding, _ = query_head(query_head.concepts.usual)
        return condition_head(embedding).numpy().astype("<f2")


def write_listener(folder, config, bins, query_head, condition_head, weights=configuration.LISTENER_WEIGHTS):
    """Writes the listener's files for a package with magnitudes of `bins`. Returns its table of package.toml, as text."""
    streaming = StreamingListener(load_package_listener(config, weights))
    inputs = ["magnitude", *streaming.STATES]
    outputs = ["heard", *(f"next_{name}" for name in streaming.STATES)]
    export_graph(
        streaming,
        # With one stream, the tracer would treat the axis as constant.
        streaming.example(bins, streams=2),
        folder / GRAPH_FILE,
        input_names=inputs,
        output_names=outputs,
        dynamic_axes={name: {0: "N"} for name in inputs + outputs},
    )
    entries = describe_concepts(LABELS, Vocabulary(config["query"]["vocabulary"]))
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)
    rest = json.dumps(RestOptions.parse(config["rest"]).as_table())
    (folder / LISTENER_FILE).write_text(f'{{"concepts": [\n{lines}\n],\n"rest": {rest}}}\n', encoding="utf-8")
    usual_embeddings(query_head, condition_head).tofile(folder / EMBEDDINGS_FILE)
    return MANIFEST.format(
        graph=GRAPH_FILE,
        sha256=configuration.digest(folder / GRAPH_FILE),
        frames=streaming.listener.frames,
        concepts=LISTENER_FILE,
        embeddings=EMBEDDINGS_FILE,
    )


def read_embeddings(path, concepts):
    """Reads an embeddings file of this many concepts: [concepts, E] float32."""
    return np.fromfile(path, "<f2").astype(np.float32).reshape(concepts, -1)
