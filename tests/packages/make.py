"""Generates the small model packages that tests run instead of a trained model.

Their masks are known in advance, so a test knows the exact output:

  identity   the mask is 1 everywhere
  half       the mask is 0.5 everywhere
  by-query   the mask is 1 if the query has the word KEPT_WORD, else 0
  nan        the mask is NaN while the loudest bin exceeds NAN_ABOVE, else 1
  gate       the mask is 1 while the loudest bin exceeds GATE_ABOVE, else 0
  recurrent  the mask is 1 / (1 + state), half of it without KEPT_WORD; each frame, state = 0.9 state + mean of the bins
  heavy      the mask is 0.6 if the query has KEPT_WORD, else 0.3; with the word xN the network does N times the work
  window     as gate, of the window kind and complex: run every 4 frames on the last 12, with masks 3 frames late
  listener   knows the sounds of SOUNDS, which are bands of the spectrum, and hears them; the mask is a row of profiles(),
             times 1 / 2, 3 / 4, 7 / 8 ... in the first frames of a stream; takes several streams per run

and, in `hostile`, separators that the plugin must reject:

  external   a weight in a file outside the package's folder
  external-attribute  the same weight as an attribute of a node in a branch
  custom     an operator of a custom domain
  memory     a tensor of four terabytes
  state      a state of four terabytes
  hog        a tensor of HOG bytes in each run
  constants  CONSTANTS bytes computed from constants, all at once while the network loads
  sparse     HOG bytes of zeros from small sparse tensors
  functions  FUNCTIONS functions, each of which calls the one before it twice
  endless    a loop without end
  endless-when-heard  a loop without end while the loudest bin exceeds GATE_ABOVE
  huge       the mask is HUGE while the loudest bin exceeds NAN_ABOVE, else 1
  short-state  a state of two values, of which a frame whose loudest bin exceeds GATE_ABOVE leaves none; several streams

and query networks:

  query-hog, query-endless     as the separators
  query-endless-when-asked     a loop without end if the query has KEPT_WORD

Each package has the name and the [audio] values of the default package, so that it replaces the default one where
SIFT_MODELS names its folder. Every query network looks each token up in a small table and takes the maximum of each
column, so different texts have different embeddings.

Run: python tests/packages/make.py      (needs only `onnx`; writes to its own folder, always the same bytes)
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

NAME = "Sift default"
SAMPLE_RATE, N_FFT, HOP = 32_000, 1024, 512
BINS = N_FFT // 2 + 1
EMBEDDING = 4
KEPT_WORD = "말소리"
NAN_ABOVE = 100.0
GATE_ABOVE = 30.0
CONTEXT, ADVANCE, LOOKAHEAD = 12, 4, 3
VOCABULARY = ["[UNK]", KEPT_WORD, "speech", "drums", "🎹"]
# Words of the package `heavy` with their units of work, and the side of the square matrix that a unit multiplies.
WORK = {f"x{units << power}": units << power for power in range(10) for units in (4, 5, 6, 7)}
WORK_SIDE = 128
# More memory than a network may use, but not more than a machine has.
HOG = 8 << 30
CONSTANTS = 2 << 30
FUNCTIONS = 40
FOREVER = 1 << 62
HUGE = 1e10
# The sounds of the package `listener`, and the frequencies in hertz at which one ends and the next begins.
SOUNDS = ["low", "middle", "high"]
EDGES = [1_000, 4_000]
# Smallest and largest gain of their masks, and the gain of a text that names none of them.
SMALL_GAIN, LARGE_GAIN, UNKNOWN_GAIN = 0.05, 0.95, 0.3
# Frames per run of the listener, and the runs that it remembers: 1.02 s.
LISTENER_FRAMES, LISTENER_RUNS = 4, 16
# Power of a band, the sum of its squared magnitudes, that is heard with a probability of 0.5: a sine of -26 dBFS.
HEARD_POWER = 300.0
OPSET, IR_VERSION = 17, 9


def model(name: str, nodes: list, inputs: list, outputs: list, constants: dict) -> bytes:
    """Serialises one checked graph; `constants` become its initialisers."""
    initialisers = [numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()]
    graph = helper.make_graph(nodes, name, inputs, outputs, initialisers)
    built = helper.make_model(
        graph, producer_name="sift-tests", opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    onnx.checker.check_model(built, full_check=True)
    return built.SerializeToString(deterministic=True)


def words(kind: str) -> list[str]:
    """The tokens, in the order of their numbers."""
    match kind:
        case "heavy":
            return VOCABULARY + list(WORK)
        case "listener":
            return [VOCABULARY[0], *SOUNDS, "a", "and", "sound"]
        case _:
            return VOCABULARY


def query(kind: str) -> bytes:
    """token ids [1, L] → embedding [1, 4]; column 0 is 1 exactly if KEPT_WORD is among them.

    In the package `heavy`, column 1 is the units of work of the words.
    """
    table = np.zeros((len(words(kind)), EMBEDDING), np.float32)
    table[VOCABULARY.index(KEPT_WORD), 0] = 1.0
    if kind == "heavy":
        table[len(VOCABULARY) :, 1] = list(WORK.values())
    else:
        table[:, 1:] = np.linspace(0.0, 1.0, table[:, 1:].size, dtype=np.float32).reshape(len(table), -1)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"], axis=0),
        helper.make_node("Cast", ["attention_mask"], ["weight"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["weight", "last"], ["weights"]),
        helper.make_node("Mul", ["rows", "weights"], ["attended"]),
        helper.make_node("ReduceMax", ["attended"], ["embedding"], axes=[1], keepdims=0),
    ]
    inputs = [
        helper.make_tensor_value_info(key, TensorProto.INT64, [1, "L"]) for key in ("input_ids", "attention_mask")
    ]
    outputs = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, EMBEDDING])]
    return model("query", nodes, inputs, outputs, {"table": table, "last": np.array([2], np.int64)})


def separator(kind: str) -> bytes:
    """magnitude [1, 1, F], embedding [1, 4] → mask [1, 1, 1, F]: one value for all bins."""
    shape = np.array([1, 1, 1, BINS], np.int64)
    constants: dict = {"shape": shape}
    match kind:
        case "identity" | "half":
            constants["value"] = np.float32(1.0 if kind == "identity" else 0.5).reshape(1)
            nodes = []
        case "by-query":
            constants |= {"zero": np.array([0], np.int64), "first": np.array([1], np.int64)}
            nodes = [helper.make_node("Slice", ["embedding", "zero", "first", "first"], ["value"])]
        case "nan":
            constants |= {
                "limit": np.float32(NAN_ABOVE),
                "nan": np.array([np.nan], np.float32),
                "one": np.array([1.0], np.float32),
            }
            nodes = [
                helper.make_node("ReduceMax", ["magnitude"], ["loudest"], keepdims=0),
                helper.make_node("Greater", ["loudest", "limit"], ["loud"]),
                helper.make_node("Where", ["loud", "nan", "one"], ["value"]),
            ]
        case "gate":
            constants["limit"] = np.float32(GATE_ABOVE)
            nodes = [
                helper.make_node("ReduceMax", ["magnitude"], ["loudest"], keepdims=0),
                helper.make_node("Greater", ["loudest", "limit"], ["loud"]),
                helper.make_node("Cast", ["loud"], ["value"], to=TensorProto.FLOAT),
            ]
        case "recurrent":
            constants |= {
                "zero": np.array([0], np.int64),
                "first": np.array([1], np.int64),
                "keep": np.float32(0.9),
                "one": np.float32(1.0),
                "half": np.float32(0.5),
            }
            nodes = [
                helper.make_node("ReduceMean", ["magnitude"], ["mean"], keepdims=0),
                helper.make_node("Mul", ["state_0", "keep"], ["kept"]),
                helper.make_node("Add", ["kept", "mean"], ["next_state_0"]),
                helper.make_node("Add", ["next_state_0", "one"], ["divisor"]),
                helper.make_node("Slice", ["embedding", "zero", "first", "first"], ["word"]),
                helper.make_node("Add", ["word", "one"], ["twice"]),
                helper.make_node("Mul", ["twice", "half"], ["share"]),
                helper.make_node("Div", ["share", "divisor"], ["value"]),
            ]
        case "heavy":
            constants |= {
                "zero": np.array([0], np.int64),
                "first": np.array([1], np.int64),
                "second": np.array([2], np.int64),
                "go on": np.array(True),
                "share": np.float32(0.3),
                "nothing": np.float32(0.0),
                "matrix": np.eye(WORK_SIDE, dtype=np.float32),
            }
            square = [WORK_SIDE, WORK_SIDE]
            unit = helper.make_graph(
                [
                    helper.make_node("MatMul", ["before", "matrix"], ["after"]),
                    helper.make_node("Identity", ["going"], ["still going"]),
                ],
                "unit",
                [
                    helper.make_tensor_value_info("number", TensorProto.INT64, []),
                    helper.make_tensor_value_info("going", TensorProto.BOOL, []),
                    helper.make_tensor_value_info("before", TensorProto.FLOAT, square),
                ],
                [
                    helper.make_tensor_value_info("still going", TensorProto.BOOL, []),
                    helper.make_tensor_value_info("after", TensorProto.FLOAT, square),
                ],
            )
            nodes = [
                helper.make_node("Slice", ["embedding", "first", "second", "first"], ["units"]),
                helper.make_node("Squeeze", ["units"], ["unit count"]),
                helper.make_node("Cast", ["unit count"], ["times"], to=TensorProto.INT64),
                helper.make_node("Loop", ["times", "go on", "matrix"], ["worked"], body=unit),
                helper.make_node("ReduceSum", ["worked"], ["sum"], keepdims=0),
                helper.make_node("Mul", ["sum", "nothing"], ["nought"]),
                helper.make_node("Slice", ["embedding", "zero", "first", "first"], ["word"]),
                helper.make_node("Mul", ["word", "share"], ["more"]),
                helper.make_node("Add", ["more", "share"], ["gain"]),
                helper.make_node("Add", ["gain", "nought"], ["value"]),
            ]
        case _:
            raise ValueError(kind)
    nodes.append(helper.make_node("Expand", ["value", "shape"], ["mask"]))
    inputs = [
        helper.make_tensor_value_info("magnitude", TensorProto.FLOAT, [1, 1, BINS]),
        helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, EMBEDDING]),
    ]
    outputs = [helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1, 1, 1, BINS])]
    if kind == "recurrent":
        inputs.append(helper.make_tensor_value_info("state_0", TensorProto.FLOAT, [1]))
        outputs.append(helper.make_tensor_value_info("next_state_0", TensorProto.FLOAT, [1]))
    return model(f"separator-{kind}", nodes, inputs, outputs, constants)


def window_separator() -> bytes:
    """magnitude [1, T, F], embedding [1, 4] → mask [1, 2, T, F]: real and imaginary part of each frame's gain."""
    constants = {
        "limit": np.float32(GATE_ABOVE),
        "axis": np.array([1], np.int64),
        "shape": np.array([1, 1, CONTEXT, BINS], np.int64),
        "zeros": np.zeros((1, 1, CONTEXT, BINS), np.float32),
    }
    nodes = [
        helper.make_node("ReduceMax", ["magnitude"], ["loudest"], axes=[2]),
        helper.make_node("Greater", ["loudest", "limit"], ["loud"]),
        helper.make_node("Cast", ["loud"], ["open"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["open", "axis"], ["gain"]),
        helper.make_node("Expand", ["gain", "shape"], ["real"]),
        helper.make_node("Concat", ["real", "zeros"], ["mask"], axis=1),
    ]
    inputs = [
        helper.make_tensor_value_info("magnitude", TensorProto.FLOAT, [1, CONTEXT, BINS]),
        helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, EMBEDDING]),
    ]
    outputs = [helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1, 2, CONTEXT, BINS])]
    return model("separator-window", nodes, inputs, outputs, constants)


def listener_query() -> bytes:
    """token ids [1, L] → embedding [1, 4], concept [1, 4].

    `embedding` has a 1 for each named sound; an unknown word is the last column. `concept` is the same, scaled to length 1.
    """
    known = words("listener")
    table = np.zeros((len(known), len(SOUNDS) + 1), np.float32)
    table[1 : len(SOUNDS) + 1, : len(SOUNDS)] = np.eye(len(SOUNDS))
    table[0, len(SOUNDS)] = 1.0
    constants = {
        "table": table,
        "last": np.array([2], np.int64),
        "tiny": np.float32(1e-6),
    }
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"], axis=0),
        helper.make_node("Cast", ["attention_mask"], ["weight"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["weight", "last"], ["weights"]),
        helper.make_node("Mul", ["rows", "weights"], ["attended"]),
        helper.make_node("ReduceMax", ["attended"], ["embedding"], axes=[1], keepdims=0),
        helper.make_node("ReduceL2", ["embedding"], ["length"], axes=[1], keepdims=1),
        helper.make_node("Max", ["length", "tiny"], ["divisor"]),
        helper.make_node("Div", ["embedding", "divisor"], ["concept"]),
    ]
    inputs = [
        helper.make_tensor_value_info(key, TensorProto.INT64, [1, "L"]) for key in ("input_ids", "attention_mask")
    ]
    outputs = [
        helper.make_tensor_value_info(key, TensorProto.FLOAT, [1, len(SOUNDS) + 1]) for key in ("embedding", "concept")
    ]
    return model("query-listener", nodes, inputs, outputs, constants)


def profiles() -> np.ndarray:
    """Masks of the three sounds and of an unknown one, [4, F]: LARGE_GAIN within the sound's band, SMALL_GAIN outside.

    Each sound reaches into its neighbours' bands: at an edge, both have a gain of 0.91.
    """
    octaves = np.log2(np.maximum(np.arange(BINS) * SAMPLE_RATE / N_FFT, 1.0))

    def is_above(edge: float, shift: float) -> np.ndarray:
        return 1.0 / (1.0 + np.exp(-6.0 * (octaves - np.log2(edge) - shift)))

    shares = np.ones((len(SOUNDS), BINS))
    for number, edge in enumerate(EDGES):
        shares[number] *= 1.0 - is_above(edge, 0.5)
        shares[number + 1] *= is_above(edge, -0.5)
    gains = SMALL_GAIN + (LARGE_GAIN - SMALL_GAIN) * shares
    return np.vstack([gains, np.full((1, BINS), UNKNOWN_GAIN)]).astype(np.float32)


def listener_separator() -> bytes:
    """magnitude [B, 1, F], embedding [B, 4], state_0 [B, 1] → mask [B, 1, 1, F], next_state_0 [B, 1].

    The state is the factor of the mask: 0 before a stream, then (state + 1) / 2.
    """
    constants = {
        "profiles": profiles(),
        "largest": np.float32(LARGE_GAIN),
        "half": np.float32(0.5),
        "axes": np.array([1, 2], np.int64),
    }
    nodes = [
        helper.make_node("MatMul", ["embedding", "profiles"], ["sum"]),
        helper.make_node("Min", ["sum", "largest"], ["gain"]),
        helper.make_node("Mul", ["state_0", "half"], ["kept"]),
        helper.make_node("Add", ["kept", "half"], ["next_state_0"]),
        helper.make_node("Mul", ["gain", "next_state_0"], ["value"]),
        helper.make_node("Unsqueeze", ["value", "axes"], ["mask"]),
    ]
    inputs = [
        helper.make_tensor_value_info("magnitude", TensorProto.FLOAT, ["B", 1, BINS]),
        helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["B", len(SOUNDS) + 1]),
        helper.make_tensor_value_info("state_0", TensorProto.FLOAT, ["B", 1]),
    ]
    outputs = [
        helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["B", 1, 1, BINS]),
        helper.make_tensor_value_info("next_state_0", TensorProto.FLOAT, ["B", 1]),
    ]
    return model("separator-listener", nodes, inputs, outputs, constants)


def listener() -> bytes:
    """magnitude [N, T, F], state_0 [N, R, 3] → heard [N, 3], next_state_0 [N, R, 3].

    The state has the power of each band in the last R runs. `heard` is p / (p + HEARD_POWER) for the highest power p.
    """
    frequencies = np.arange(BINS) * SAMPLE_RATE / N_FFT
    bands = np.eye(len(SOUNDS), dtype=np.float32)[np.searchsorted(EDGES, frequencies, side="right")]
    constants = {
        "bands": bands,
        "begin": np.array([1], np.int64),
        "end": np.array([LISTENER_RUNS], np.int64),
        "level": np.float32(HEARD_POWER),
    }
    nodes = [
        helper.make_node("Mul", ["magnitude", "magnitude"], ["powers"]),
        helper.make_node("MatMul", ["powers", "bands"], ["frames"]),
        helper.make_node("ReduceMean", ["frames"], ["newest"], axes=[1], keepdims=1),
        helper.make_node("Slice", ["state_0", "begin", "end", "begin"], ["before"]),
        helper.make_node("Concat", ["before", "newest"], ["next_state_0"], axis=1),
        helper.make_node("ReduceMax", ["next_state_0"], ["highest"], axes=[1], keepdims=0),
        helper.make_node("Add", ["highest", "level"], ["divisor"]),
        helper.make_node("Div", ["highest", "divisor"], ["heard"]),
    ]
    state = ["N", LISTENER_RUNS, len(SOUNDS)]
    inputs = [
        helper.make_tensor_value_info("magnitude", TensorProto.FLOAT, ["N", LISTENER_FRAMES, BINS]),
        helper.make_tensor_value_info("state_0", TensorProto.FLOAT, state),
    ]
    outputs = [
        helper.make_tensor_value_info("heard", TensorProto.FLOAT, ["N", len(SOUNDS)]),
        helper.make_tensor_value_info("next_state_0", TensorProto.FLOAT, state),
    ]
    return model("listener", nodes, inputs, outputs, constants)


def listener_files() -> dict[str, bytes]:
    """The files of the package `listener`, but for the manifest."""
    directions = np.eye(len(SOUNDS), len(SOUNDS) + 1, dtype=np.float32)
    concepts = {
        "closeness": {"slope": 10.0, "offset": -5.0},
        "concepts": [
            {"name": name, "direction": direction.tolist()} for name, direction in zip(SOUNDS, directions, strict=True)
        ],
    }
    heard = {
        "concepts": [{"name": name, "members": [], "overlaps": []} for name in SOUNDS],
        "rest": {"from": 0.5, "full": 0.9, "strength": 0.7, "fade": 0.25, "switch": 1.0, "margin": 0.1},
    }
    return {
        "separator.onnx": listener_separator(),
        "query.onnx": listener_query(),
        "tokenizer.json": tokenizer("listener"),
        "concepts.json": json.dumps(concepts, indent=2).encode() + b"\n",
        "listener.onnx": listener(),
        "listener.json": json.dumps(heard, indent=2).encode() + b"\n",
        "listener.f16": directions.astype("<f2").tobytes(),
    }


def constant(graph: onnx.GraphProto, name: str, value: object) -> None:
    graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))


def first_of(graph: onnx.GraphProto, embedding: str, result: str) -> None:
    """Adds `result`, a float [1]: the first value of `embedding`."""
    constant(graph, "first", np.array([1], np.int64))
    constant(graph, "zero", np.array([0], np.int64))
    graph.node.append(helper.make_node("Slice", [embedding, "zero", "first", "first"], ["part"]))
    graph.node.append(helper.make_node("Squeeze", ["part", "zero"], [result]))


def hog(graph: onnx.GraphProto, value: str, result: str) -> None:
    """Adds a tensor of HOG bytes from `value`, a float [1], and its sum `result`."""
    constant(graph, "hog size", np.array([HOG // 4], np.int64))
    graph.node.append(helper.make_node("Expand", [value, "hog size"], ["hog"]))
    graph.node.append(helper.make_node("ReduceSum", ["hog"], [result], keepdims=1))


def endless(graph: onnx.GraphProto, times: str, value: str, result: str) -> None:
    """Adds a loop that copies `value`, a float [1], to `result`, `times` times."""
    constant(graph, "go on", True)
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["still going"]),
            helper.make_node("Identity", ["before"], ["after"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("number", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, [1]),
        ],
        [
            helper.make_tensor_value_info("still going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, [1]),
        ],
    )
    graph.node.append(helper.make_node("Loop", [times, "go on", value], [result], body=body))


def forever_if(graph: onnx.GraphProto, condition: str, times: str) -> None:
    """Adds `times`: FOREVER if the scalar `condition` holds, else 0."""
    constant(graph, "forever", np.int64(FOREVER))
    constant(graph, "never", np.int64(0))
    graph.node.append(helper.make_node("Where", [condition, "forever", "never"], [times]))


def serialise(graph: onnx.GraphProto, *domains: str, functions: tuple = ()) -> bytes:
    opsets = [helper.make_opsetid("", OPSET), *(helper.make_opsetid(domain, 1) for domain in domains)]
    built = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, functions=functions)
    return built.SerializeToString(deterministic=True)


def move_outside(tensor: TensorProto) -> None:
    """Replaces the data of `tensor`, 4 bytes, by those of a file outside the package's folder."""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in {"location": "../../outside.bin", "offset": "0", "length": "4"}.items():
        tensor.external_data.add(key=key, value=text)


def hostile_separator(kind: str) -> bytes:
    """The separator of `identity`, or of `nan` for `huge`, with a harmful addition."""
    shape = [1, 1, 1, BINS]
    graph = onnx.load_from_string(separator("nan" if kind == "huge" else "identity")).graph
    if kind in ("hog", "constants", "sparse", "functions", "endless", "endless-when-heard"):
        # The mask is computed from the addition's result.
        (expand,) = graph.node
        graph.ClearField("node")
    domains: tuple = ()
    functions: tuple = ()
    match kind:
        case "external":
            (value,) = (tensor for tensor in graph.initializer if tensor.name == "value")
            move_outside(value)
        case "external-attribute":
            weight = numpy_helper.from_array(np.ones(1, np.float32), "weight")
            move_outside(weight)
            branch = helper.make_graph(
                [helper.make_node("Constant", [], ["weighted"], value=weight)],
                "branch",
                [],
                [helper.make_tensor_value_info("weighted", TensorProto.FLOAT, [1])],
            )
            constant(graph, "always", True)
            graph.node.insert(0, helper.make_node("If", ["always"], ["weight"], then_branch=branch, else_branch=branch))
            graph.node[-1].input[0] = "weight"
        case "huge":
            (value,) = (tensor for tensor in graph.initializer if tensor.name == "nan")
            value.CopyFrom(numpy_helper.from_array(np.array([HUGE], np.float32), "nan"))
        case "custom":
            graph.node.append(helper.make_node("Shell", ["mask"], ["ran"], domain="example"))
            graph.output.append(helper.make_tensor_value_info("ran", TensorProto.FLOAT, shape))
            domains = ("example",)
        case "memory":
            graph.initializer.append(numpy_helper.from_array(np.array([1 << 40], np.int64), "size"))
            graph.node.append(helper.make_node("ConstantOfShape", ["size"], ["zeros"]))
            graph.node.append(helper.make_node("ReduceSum", ["zeros"], ["presence"], keepdims=1))
        case "state":
            size = [1, 1 << 40]
            graph.input.append(helper.make_tensor_value_info("state_0", TensorProto.FLOAT, size))
            graph.output.append(helper.make_tensor_value_info("next_state_0", TensorProto.FLOAT, size))
            graph.node.append(helper.make_node("Identity", ["state_0"], ["next_state_0"]))
        case "hog":
            # From an input, so that it is not computed while the network loads.
            first_of(graph, "embedding", "one")
            hog(graph, "one", "result")
        case "constants":
            parts = 32
            first_of(graph, "embedding", "heard")
            constant(graph, "part size", np.array([CONSTANTS // parts // 4], np.int64))
            for part in range(parts):
                constant(graph, f"value {part}", np.full(1, part / parts, np.float32))
                graph.node.append(helper.make_node("Expand", [f"value {part}", "part size"], [f"constant {part}"]))
                # With an input as a factor, so that the constant is kept.
                graph.node.append(helper.make_node("Mul", [f"constant {part}", "heard"], [f"product {part}"]))
                graph.node.append(helper.make_node("ReduceMax", [f"product {part}"], [f"part {part}"], keepdims=1))
            graph.node.append(helper.make_node("Max", [f"part {part}" for part in range(parts)], ["result"]))
        case "sparse":
            one = numpy_helper.from_array(np.ones(1, np.float32), "one")
            place = numpy_helper.from_array(np.zeros(1, np.int64), "place")
            for number in range(8):
                zeros = helper.make_sparse_tensor(one, place, [HOG // 8 // 4])
                graph.node.append(helper.make_node("Constant", [], [f"zeros {number}"], sparse_value=zeros))
                graph.node.append(helper.make_node("ReduceMax", [f"zeros {number}"], [f"part {number}"], keepdims=1))
            graph.node.append(helper.make_node("Max", [f"part {number}" for number in range(8)], ["result"]))
        case "functions":
            domains = ("example",)
            opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("example", 1)]
            first = helper.make_node("Neg", ["in"], ["out"])
            functions = (helper.make_function("example", "f0", ["in"], ["out"], [first], opsets),)
            for number in range(1, FUNCTIONS):
                before = f"f{number - 1}"
                calls = [
                    helper.make_node(before, ["in"], ["between"], domain="example"),
                    helper.make_node(before, ["between"], ["out"], domain="example"),
                ]
                functions += (helper.make_function("example", f"f{number}", ["in"], ["out"], calls, opsets),)
            graph.node.append(helper.make_node(f"f{FUNCTIONS - 1}", ["value"], ["result"], domain="example"))
        case "endless":
            constant(graph, "times", np.int64(FOREVER))
            endless(graph, "times", "value", "result")
        case "endless-when-heard":
            constant(graph, "limit", np.float32(GATE_ABOVE))
            graph.node.append(helper.make_node("ReduceMax", ["magnitude"], ["loudest"], keepdims=0))
            graph.node.append(helper.make_node("Greater", ["loudest", "limit"], ["loud"]))
            forever_if(graph, "loud", "times")
            endless(graph, "times", "value", "result")
        case _:
            raise ValueError(kind)
    if graph.node[-1].output[0] == "result":
        expand.input[0] = "result"
        graph.node.append(expand)
    return serialise(graph, *domains, functions=functions)


def short_state() -> bytes:
    """magnitude [B, 1, F], embedding [B, 4], state_0 [B, 2] → mask of 1 [B, 1, 1, F], next_state_0 [B, 2] or [B, 0]."""
    constants = {
        "limit": np.float32(GATE_ABOVE),
        "zero": np.array([0], np.int64),
        "axis": np.array([1], np.int64),
        "all": np.array([2], np.int64),
        "nothing": np.float32(0.0),
        "one": np.float32(1.0),
    }
    nodes = [
        helper.make_node("ReduceMax", ["magnitude"], ["loudest"], keepdims=0),
        helper.make_node("Greater", ["loudest", "limit"], ["loud"]),
        helper.make_node("Where", ["loud", "zero", "all"], ["end"]),
        helper.make_node("Slice", ["state_0", "zero", "end", "axis"], ["next_state_0"]),
        helper.make_node("Mul", ["magnitude", "nothing"], ["zeros"]),
        helper.make_node("Add", ["zeros", "one"], ["ones"]),
        helper.make_node("Unsqueeze", ["ones", "axis"], ["mask"]),
    ]
    inputs = [
        helper.make_tensor_value_info("magnitude", TensorProto.FLOAT, ["B", 1, BINS]),
        helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["B", EMBEDDING]),
        helper.make_tensor_value_info("state_0", TensorProto.FLOAT, ["B", 2]),
    ]
    outputs = [
        helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["B", 1, 1, BINS]),
        helper.make_tensor_value_info("next_state_0", TensorProto.FLOAT, ["B", "N"]),
    ]
    return model("separator-short-state", nodes, inputs, outputs, constants)


def hostile_query(kind: str) -> bytes:
    """The query network of `half` with a harmful addition to its embedding."""
    graph = onnx.load_from_string(query("half")).graph
    graph.node[-1].output[0] = "harmless"
    first_of(graph, "harmless", "kept")
    match kind:
        case "query-hog":
            hog(graph, "kept", "result")
        case "query-endless":
            constant(graph, "times", np.int64(FOREVER))
            endless(graph, "times", "kept", "result")
        case "query-endless-when-asked":
            graph.node.append(helper.make_node("Squeeze", ["kept"], ["asked"]))
            graph.node.append(helper.make_node("Cast", ["asked"], ["condition"], to=TensorProto.BOOL))
            forever_if(graph, "condition", "times")
            endless(graph, "times", "kept", "result")
        case _:
            raise ValueError(kind)
    graph.node.append(helper.make_node("Add", ["harmless", "result"], ["embedding"]))
    return serialise(graph)


def tokenizer(kind: str) -> bytes:
    """A tokenizer that splits at white space; unknown words become [UNK]."""
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "WordLevel",
            "vocab": {word: index for index, word in enumerate(words(kind))},
            "unk_token": VOCABULARY[0],
        },
    }
    return json.dumps(content, ensure_ascii=False, indent=2).encode() + b"\n"


def manifest(kind: str, sha256: dict[str, str]) -> bytes:
    runs = 'kind = "streaming"\nlookahead = 0'
    if kind == "window":
        runs = f'kind = "window"\ncontext = {CONTEXT}\nadvance = {ADVANCE}\nlookahead = {LOOKAHEAD}'
    listener = ""
    if kind == "listener":
        listener = f"""
[listener]
file = "listener.onnx"
sha256 = "{sha256["listener.onnx"]}"
frames = {LISTENER_FRAMES}
concepts = "listener.json"
embeddings = "listener.f16"
"""
    return f"""\
format = 1
name = "{NAME}"
version = "0.0.0"
licence = "MIT OR Apache-2.0"

[audio]
sample_rate = {SAMPLE_RATE}
n_fft = {N_FFT}
hop = {HOP}
window = "sqrt_hann"

[separator]
file = "separator.onnx"
sha256 = "{sha256["separator.onnx"]}"
{runs}

[query]
file = "query.onnx"
sha256 = "{sha256["query.onnx"]}"
tokenizer = "tokenizer.json"
max_tokens = 32
prefix = ""
{listener}""".encode()


def main() -> None:
    for kind in ("identity", "half", "by-query", "nan", "gate", "recurrent", "heavy", "window", "listener"):
        folder = Path(__file__).parent / kind
        folder.mkdir(exist_ok=True)
        if kind == "listener":
            files = listener_files()
        else:
            network = window_separator() if kind == "window" else separator(kind)
            files = {"separator.onnx": network, "query.onnx": query(kind), "tokenizer.json": tokenizer(kind)}
        sha256 = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        files["package.toml"] = manifest(kind, sha256)
        for name, content in files.items():
            (folder / name).write_bytes(content)

    hostile = Path(__file__).parent / "hostile"
    hostile.mkdir(exist_ok=True)
    separators = (
        "external external-attribute custom memory state hog constants sparse functions endless endless-when-heard huge"
    )
    for kind in separators.split():
        (hostile / f"{kind}.onnx").write_bytes(hostile_separator(kind))
    (hostile / "short-state.onnx").write_bytes(short_state())
    for kind in ("query-hog", "query-endless", "query-endless-when-asked"):
        (hostile / f"{kind}.onnx").write_bytes(hostile_query(kind))


if __name__ == "__main__":
    main()
