"""Streams of a package's networks in ONNX Runtime: the separator, hop by hop, and the listener, run by run."""

import json

import numpy as np

from .listener_package import read_embeddings
from .rest import RestOptions, RestSelection, compete


def _initial_states(session):
    """Returns the states at the start of one stream by name. Named dimensions are the number of streams."""
    return {
        tensor.name: np.zeros([length if isinstance(length, int) else 1 for length in tensor.shape], np.float32)
        for tensor in session.get_inputs()
        if tensor.name.startswith("state_")
    }


class _Stream:
    """One stream of a network whose states are inputs `state_*` and outputs `next_state_*`."""

    def __init__(self, session, outputs):
        self._session = session
        self._states = _initial_states(session)
        self._count = len(outputs)
        self._outputs = [*outputs, *(f"next_{name}" for name in self._states)]

    def _run(self, inputs):
        values = self._session.run(self._outputs, inputs | self._states)
        self._states = dict(zip(self._states, values[self._count :]))
        return values[: self._count]


class SeparatorStream(_Stream):
    """A stream of the separator."""

    def __init__(self, session):
        super().__init__(session, ["mask", "presence"])

    def run(self, frame, embedding):
        """Separates one frame: magnitudes [F], embedding [1, E] → gains [F] and presence."""
        mask, presence = self._run({"magnitude": frame[None, None], "embedding": embedding})
        return mask[0, 0, 0], presence[0, 0]

    def fork(self):
        """Returns a stream that continues from the present state."""
        other = object.__new__(SeparatorStream)
        other.__dict__ = dict(self.__dict__)
        return other


class PackageListener:
    """The listener of a package, with its files."""

    def __init__(self, folder, manifest, open_session):
        """`manifest`: the table [listener] of package.toml. `open_session`: path → InferenceSession."""
        self.frames = manifest["frames"]
        self._session = open_session(folder / manifest["file"])
        table = json.loads((folder / manifest["concepts"]).read_text(encoding="utf-8"))
        self.concepts = table["concepts"]
        self.rest = RestOptions.parse(table["rest"])
        self.embeddings = read_embeddings(folder / manifest["embeddings"], len(self.concepts))

    @property
    def names(self):
        return [concept["name"] for concept in self.concepts]

    def hear(self, magnitude):
        """Hears magnitudes [T, F]: the newest probabilities at each frame [T, C], zeros before the first run."""
        stream = _Stream(self._session, ["heard"])
        newest = np.zeros(len(self.concepts), np.float32)
        heard = []
        for frame in range(1, len(magnitude) + 1):
            if frame % self.frames == 0:
                newest = stream._run({"magnitude": magnitude[None, frame - self.frames : frame]})[0][0]
            heard.append(newest)
        return np.stack(heard)


class SaidRest:
    """Lets gains compete with those of sounds that were named: `rest(hop, frame, gains, before)` → gains [F]."""

    def __init__(self, streams, weight):
        """`streams`: [(SeparatorStream, embedding [1, E])]."""
        self._streams, self._weight = streams, weight

    def __call__(self, hop, frame, gains, before):
        masks = [stream.run(frame, embedding)[0] for stream, embedding in self._streams]
        return compete(gains, np.maximum.reduce(masks), self._weight)


class HeardRest:
    """Lets gains compete with those of the sound that the listener hears most surely beside the text."""

    def __init__(self, listener, candidates, magnitude, hop_seconds):
        self._listener, self._candidates = listener, candidates
        self._heard = listener.hear(magnitude)
        self._selection = RestSelection(listener.rest, hop_seconds)
        self._current, self._stream = None, None

    def __call__(self, hop, frame, gains, before):
        """`before`: a SeparatorStream with the state of the text's first stream before this hop."""
        concept, weight = self._selection.step(self._heard[hop], self._candidates)
        if concept is not None and concept != self._current:
            self._stream = before
        self._current = concept
        if concept is None:
            return gains
        mask, _ = self._stream.run(frame, self.embedding(concept)[None])
        return compete(gains, mask, weight)

    def embedding(self, concept):
        """Returns the separator's embedding [E] of a concept of the listener."""
        return self._listener.embeddings[concept]
