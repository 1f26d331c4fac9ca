//! Checks of an ONNX file before ONNX Runtime loads it.
//!
//! Some parts of a file can take a few bytes there and gigabytes in memory. No limit applies while ONNX Runtime loads them.

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
}

/// Checks that `onnx` may be loaded. Returns its number of nodes, with those of nested graphs.
///
/// # Errors
/// If `onnx` is not an ONNX file, or contains sparse tensors or functions. ONNX Runtime expands sparse tensors with zeros,
/// and copies a function to each call, also to those in other functions.
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
        let (number, content) = take_field(&mut bytes).ok_or("is not an ONNX file")?;
        let inner = match (message, number) {
            (Message::Model, 7) | (Message::Attribute, 6 | 11) => Message::Graph,
            (Message::Graph, 1) => Message::Node,
            (Message::Node, 5) => Message::Attribute,
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

/// Removes the first field from `bytes`. Returns its number and, if it is length-delimited, its content.
fn take_field<'a>(bytes: &mut &'a [u8]) -> Option<(u64, &'a [u8])> {
    let key = take_varint(bytes)?;
    let content = match key & 7 {
        0 => {
            take_varint(bytes)?;
            &[]
        }
        1 => take(bytes, 8)?,
        2 => {
            let length = usize::try_from(take_varint(bytes)?).ok()?;
            take(bytes, length)?
        }
        5 => take(bytes, 4)?,
        _ => return None,
    };
    Some((key >> 3, content))
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
    fn functions_are_refused() {
        assert_eq!(check(&message_field(25, b"")), Err("contains functions; expected none"));
    }

    #[test]
    fn files_that_are_not_onnx_are_refused() {
        for bytes in [&b"no network at all"[..], &[0x3a], &[0x3a, 0x7f, 0], &[0x3b, 0x3c], &[0xff; 11]] {
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
