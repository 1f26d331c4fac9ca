//! Writes the smallest model package into a folder, loads it, and separates a block with it.
//!
//!     ORT_DYLIB_PATH=… cargo run -p sift-engine --example minimal_package -- FOLDER
//!
//! Its mask is 0.5 or more, and larger for louder frequencies, whatever the query. A real package has trained networks with
//! the same inputs and outputs; `models/README.md` describes them.

use std::path::Path;
use std::time::Duration;
use std::{env, fs};

use sha2::{Digest, Sha256};
use sift_engine::{AuxOutputs, Config, Controls, Instance, ModelChoice};

/// Element types of ONNX tensors.
const FLOAT: u64 = 1;
const INT64: u64 = 7;

const BINS: u64 = 513;

/// Fields of protobuf messages, in the binary format of ONNX files.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    fn bytes(mut self, field: u64, value: impl AsRef<[u8]>) -> Self {
        self.varint(field << 3 | 2);
        self.varint(value.as_ref().len() as u64);
        self.0.extend(value.as_ref());
        self
    }

    fn message(self, field: u64, value: Self) -> Self {
        self.bytes(field, value.0)
    }
}

/// A `ValueInfoProto`: a tensor's name, element type and shape. A dimension of 0 is left open.
fn tensor(name: &str, element: u64, shape: &[u64]) -> Message {
    let dimensions = shape.iter().fold(Message::default(), |dimensions, &length| {
        let dimension = match length {
            0 => Message::default().bytes(2, "length"),
            _ => Message::default().number(1, length),
        };
        dimensions.message(1, dimension)
    });
    let tensor_type = Message::default().number(1, element).message(2, dimensions);
    Message::default().bytes(1, name).message(2, Message::default().message(1, tensor_type))
}

/// A `NodeProto`.
fn node(operator: &str, inputs: &[&str], output: &str) -> Message {
    let node = inputs.iter().fold(Message::default(), |node, input| node.bytes(1, input));
    node.bytes(2, output).bytes(4, operator)
}

/// An `AttributeProto` with an integer.
fn integer(name: &str, value: u64) -> Message {
    Message::default().bytes(1, name).number(3, value).number(20, 2)
}

/// An `AttributeProto` with a list of one integer.
fn integers(name: &str, value: u64) -> Message {
    Message::default().bytes(1, name).number(8, value).number(20, 7)
}

/// A `TensorProto` with one 64-bit integer.
fn constant(name: &str, value: u64) -> Message {
    Message::default().number(1, 1).number(2, INT64).number(7, value).bytes(8, name)
}

/// A `ModelProto`.
fn network(nodes: Vec<Message>, constants: Vec<Message>, inputs: Vec<Message>, output: Message) -> Vec<u8> {
    let mut graph = Message::default().bytes(2, "graph");
    for (field, parts) in [(1, nodes), (5, constants), (11, inputs), (12, vec![output])] {
        for part in parts {
            graph = graph.message(field, part);
        }
    }
    let operators = Message::default().bytes(1, "").number(2, 17);
    Message::default().number(1, 8).message(7, graph).message(8, operators).0
}

/// mask = sigmoid(magnitude)
fn separator() -> Vec<u8> {
    network(
        vec![
            node("Unsqueeze", &["magnitude", "axis"], "unsqueezed"),
            node("Sigmoid", &["unsqueezed"], "mask"),
        ],
        vec![constant("axis", 1)],
        vec![tensor("magnitude", FLOAT, &[1, 1, BINS]), tensor("embedding", FLOAT, &[1, 1])],
        tensor("mask", FLOAT, &[1, 1, 1, BINS]),
    )
}

/// embedding = mean of the token ids, which the separator ignores
fn query() -> Vec<u8> {
    network(
        vec![
            node("Mul", &["input_ids", "attention_mask"], "ids"),
            node("Cast", &["ids"], "numbers").message(5, integer("to", FLOAT)),
            node("ReduceMean", &["numbers"], "embedding").message(5, integers("axes", 1)),
        ],
        vec![],
        vec![tensor("input_ids", INT64, &[1, 0]), tensor("attention_mask", INT64, &[1, 0])],
        tensor("embedding", FLOAT, &[1, 1]),
    )
}

const TOKENIZER: &str = r#"{
    "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
    "pre_tokenizer": { "type": "WhitespaceSplit" }, "post_processor": null, "decoder": null,
    "model": { "type": "WordLevel", "vocab": { "[UNK]": 0 }, "unk_token": "[UNK]" }
}"#;

fn write_package(folder: &Path) -> std::io::Result<()> {
    let hash =
        |bytes: &[u8]| -> String { Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect() };
    let (separator, query) = (separator(), query());
    let manifest = format!(
        r#"format = 1
name = "Minimal"
version = "1.0.0"
licence = "MIT OR Apache-2.0"

[audio]
sample_rate = 32000
n_fft = 1024
hop = 512
window = "sqrt_hann"

[separator]
file = "separator.onnx"
sha256 = "{}"
kind = "streaming"

[query]
file = "query.onnx"
sha256 = "{}"
tokenizer = "tokenizer.json"
max_tokens = 64
"#,
        hash(&separator),
        hash(&query),
    );
    fs::create_dir_all(folder)?;
    fs::write(folder.join("package.toml"), manifest)?;
    fs::write(folder.join("separator.onnx"), separator)?;
    fs::write(folder.join("query.onnx"), query)?;
    fs::write(folder.join("tokenizer.json"), TOKENIZER)
}

fn main() -> Result<(), String> {
    let folder = env::args_os().nth(1).ok_or("usage: minimal_package FOLDER")?;
    let folder = Path::new(&folder);
    write_package(folder).map_err(|error| format!("{}: {error}", folder.display()))?;

    let config = Config { sample_rate: 48_000.0, max_block: 512, channels: 1, offline: true };
    let instance = Instance::new(ModelChoice::Folder(folder.to_owned()));
    instance.queries().set_text(0, "anything");
    let mut processor = instance.start(config);
    instance.wait_until_ready(Duration::from_secs(60))?;

    let mut block = [0.25; 512];
    let controls = Controls::new(&[1.0; 512], &[1.0; 512]);
    processor.process(&mut [&mut block], &mut AuxOutputs::default(), &controls);
    println!("{} works, with a latency of {} samples at 48 kHz", folder.display(), processor.latency());
    Ok(())
}
