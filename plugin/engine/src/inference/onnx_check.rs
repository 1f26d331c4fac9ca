//! Checks of an ONNX file before ONNX Runtime loads it.
//!
//! Some parts of a file can take a few bytes there and gigabytes in memory. No limit applies while ONNX Runtime loads them.
//! Others name further files, which no hash covers.

/// Deepest nesting of messages that is accepted; that of protobuf itself.
const MAX_DEPTH: usize = 100;

/// Position and value of the mark of ONNX Runtime's own format, which is not ONNX.
const ORT_FORMAT: (std::ops::Range<usize>, &[u8]) = (4..8, b"ORTM");

/// The messages of `onnx.proto` that can contain refused parts.
#[derive(Clone, Copy)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
}

/// Value of a tensor's `data_location` for data inside the file.
const DEFAULT_LOCATION: u64 = 0;

const EXTERNAL_DATA: &str = "contains tensors with external data; expected all data in the file";

/// Checks that `onnx` may be loaded. Returns its number of nodes, with those of nested graphs.
///
/// # Errors
/// If `onnx` is not an ONNX file, or contains sparse tensors, functions or external data. ONNX Runtime expands sparse tensors
/// with zeros, copies a function to each call, also to those in other functions, and reads external data from the working
/// directory.
pub fn check(onnx: &[u8]) -> Result<usize, &'static str> {
    let (range, mark) = ORT_FORMAT;
    if onnx.get(range) == Some(mark) {
        return Err("is in ONNX Runtime's own format; expected ONNX");
    }
    check_message(Message::Model, onnx, MAX_DEPTH)
}

fn check_message(message: Message, mut bytes: &[u8], depth: usize) -> Result<usize, &'static str> {
    let mut nodes = usize::from(matches!(message, Message::Node));
    let depth = depth.checked_sub(1).ok_or("nests graphs too deeply")?;
    while !bytes.is_empty() {
        let Field { number, value, content } = take_field(&mut bytes).ok_or("is not an ONNX file")?;
        let inner = match (message, number) {
            (Message::Model, 7) | (Message::Attribute, 6 | 11) => Message::Graph,
            (Message::Graph, 1) => Message::Node,
            (Message::Node, 5) => Message::Attribute,
            (Message::Graph, 5) | (Message::Attribute, 5 | 10) => Message::Tensor,
            (Message::Tensor, 13) => return Err(EXTERNAL_DATA),
            (Message::Tensor, 14) if value != DEFAULT_LOCATION => return Err(EXTERNAL_DATA),
            (Message::Model, 25) => return Err("contains functions; expected none"),
            (Message::Graph, 15) | (Message::Attribute, 22 | 23) => {
                return Err("contains sparse tensors; expected dense ones");
            }
            _ => continue,
        };
        nodes += check_message(inner, content, depth)?;
    }
    Ok(nodes)
}

/// A field of a message.
struct Field<'a> {
    number: u32,
    /// Value of a varint, otherwise 0.
    value: u64,
    /// Content of a length-delimited field, otherwise empty.
    content: &'a [u8],
}

/// Removes the first field from `bytes`.
fn take_field<'a>(bytes: &mut &'a [u8]) -> Option<Field<'a>> {
    // Protobuf drops the higher bits of a longer key, and so would read another number.
    let key = u32::try_from(take_varint(bytes)?).ok()?;
    let (mut value, mut content) = (0, &[][..]);
    match key & 7 {
        0 => value = take_varint(bytes)?,
        1 => drop(take(bytes, 8)?),
        2 => {
            let length = usize::try_from(take_varint(bytes)?).ok()?;
            content = take(bytes, length)?;
        }
        5 => drop(take(bytes, 4)?),
        _ => return None,
    }
    Some(Field { number: key >> 3, value, content })
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Encodes a field with a message.
    fn message_field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut push_varint = |mut value: usize| {
            while value >= 0x80 {
                bytes.push(value as u8 | 0x80);
                value >>= 7;
            }
            bytes.push(value as u8);
        };
        push_varint(usize::from(number) << 3 | 2);
        push_varint(content.len());
        [bytes, content.to_vec()].concat()
    }

    fn graph_in_node(graph: &[u8]) -> Vec<u8> {
        message_field(1, &message_field(5, &message_field(6, graph)))
    }

    #[test]
    fn nodes_of_nested_graphs_are_counted() {
        let two = [message_field(1, b""), message_field(1, b"")].concat();
        assert_eq!(check(&message_field(7, b"")), Ok(0));
        assert_eq!(check(&message_field(7, &two)), Ok(2));
        assert_eq!(check(&message_field(7, &[two.clone(), graph_in_node(&two)].concat())), Ok(5));
    }

    #[test]
    fn sparse_tensors_are_refused_at_any_depth() {
        let initializer = message_field(15, b"");
        let constant = message_field(1, &message_field(5, &message_field(22, b"")));
        let constants = message_field(1, &message_field(5, &message_field(23, b"")));
        for graph in [initializer, constant, constants] {
            for graph in [graph.clone(), graph_in_node(&graph), graph_in_node(&graph_in_node(&graph))] {
                let after_other_fields =
                    [&[0x08, 9, 0x15, 1, 2, 3, 4][..], &message_field(7, &graph)].concat();
                assert_eq!(check(&after_other_fields), Err("contains sparse tensors; expected dense ones"));
            }
        }
    }

    #[test]
    fn external_data_is_refused_at_any_depth() {
        let (named_file, located_outside) = (message_field(13, b""), vec![14 << 3, 1]);
        // Protobuf reads the lower 32 bits of the location.
        let longer_location = vec![14 << 3, 0x81, 0x80, 0x80, 0x80, 0x10];
        for tensor in [named_file, located_outside, longer_location] {
            let initializer = message_field(5, &tensor);
            let constant = message_field(1, &message_field(5, &message_field(5, &tensor)));
            let constants = message_field(1, &message_field(5, &message_field(10, &tensor)));
            for graph in [initializer, constant, constants] {
                for graph in [graph.clone(), graph_in_node(&graph), graph_in_node(&graph_in_node(&graph))] {
                    assert_eq!(check(&message_field(7, &graph)), Err(EXTERNAL_DATA), "{graph:?}");
                }
            }
        }
    }

    #[test]
    fn external_data_of_sparse_tensors_is_refused() {
        let values = message_field(1, &message_field(13, b""));
        for graph in [
            message_field(15, &values),
            message_field(1, &message_field(5, &message_field(22, &values))),
            message_field(1, &message_field(5, &message_field(23, &values))),
        ] {
            assert!(check(&message_field(7, &graph)).is_err(), "{graph:?}");
        }
    }

    #[test]
    fn tensors_with_their_data_in_the_file_are_accepted() {
        // Dimensions, type, name, data and the default location.
        let tensor = [&[8, 1, 16, 1][..], &message_field(8, b"w"), &message_field(9, &[0; 4]), &[14 << 3, 0]];
        let graph = message_field(5, &tensor.concat());
        assert_eq!(check(&message_field(7, &[graph.clone(), graph_in_node(&graph)].concat())), Ok(1));
    }

    #[test]
    fn functions_are_refused() {
        assert_eq!(check(&message_field(25, b"")), Err("contains functions; expected none"));
    }

    #[test]
    fn files_that_are_not_onnx_are_refused() {
        /// The key of the empty graph, and a bit that protobuf drops.
        const LONG_KEY: &[u8] = &[0xba, 0x80, 0x80, 0x80, 0x10, 0];
        for bytes in
            [&b"no network at all"[..], &[0x3a], &[0x3a, 0x7f, 0], &[0x3b, 0x3c], &[0xff; 11], LONG_KEY]
        {
            assert_eq!(check(bytes), Err("is not an ONNX file"), "{bytes:?}");
        }
        assert!(check(b"\x0a\x40\0\0ORTM").unwrap_err().contains("ONNX Runtime's own format"));
    }

    #[test]
    fn graphs_nested_too_deeply_are_refused() {
        let deep = (0..50).fold(Vec::new(), |graph, _| graph_in_node(&graph));
        assert!(check(&message_field(7, &deep)).unwrap_err().contains("too deeply"));
    }
}
