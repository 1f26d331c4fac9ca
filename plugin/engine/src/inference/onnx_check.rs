//! The ONNX format, as far as a file must be looked at before ONNX Runtime reads it: what a few bytes of it
//! make large while it is being loaded, where no limit holds.

/// Messages within messages that are looked at; protobuf, too, ends at a hundred.
const MAX_DEPTH: usize = 100;

/// Where the `ort` format, which is none of ONNX, has its name.
const ORT_FORMAT: (std::ops::Range<usize>, &[u8]) = (4..8, b"ORTM");

/// The messages of `onnx.proto` on the way to what is refused.
#[derive(Clone, Copy)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
}

/// Whether `onnx` may be loaded; gives how many nodes it has, those of graphs within graphs included.
///
/// # Errors
/// What it holds that may not be: sparse tensors, which are filled up with zeros; functions of its own, which are
/// copied to wherever they are called, also from one another.
pub fn check(onnx: &[u8]) -> Result<usize, &'static str> {
    let (place, name) = ORT_FORMAT;
    if onnx.get(place) == Some(name) {
        return Err("is in the format of ONNX Runtime, not of ONNX");
    }
    check_message(Message::Model, onnx, MAX_DEPTH)
}

fn check_message(message: Message, mut bytes: &[u8], depth: usize) -> Result<usize, &'static str> {
    let mut nodes = usize::from(matches!(message, Message::Node));
    let depth = depth.checked_sub(1).ok_or("has graphs within graphs, too deep")?;
    while !bytes.is_empty() {
        let (number, content) = field(&mut bytes).ok_or("is no ONNX file")?;
        let inner = match (message, number) {
            (Message::Model, 7) | (Message::Attribute, 6 | 11) => Message::Graph,
            (Message::Graph, 1) => Message::Node,
            (Message::Node, 5) => Message::Attribute,
            (Message::Model, 25) => return Err("has functions of its own"),
            (Message::Graph, 15) | (Message::Attribute, 22 | 23) => return Err("has sparse tensors"),
            _ => continue,
        };
        nodes += check_message(inner, content, depth)?;
    }
    Ok(nodes)
}

/// Takes the first field off `bytes`: its number, and what it holds, where that is of any length.
fn field<'a>(bytes: &mut &'a [u8]) -> Option<(u64, &'a [u8])> {
    let key = varint(bytes)?;
    let content = match key & 7 {
        0 => {
            varint(bytes)?;
            &[]
        }
        1 => take(bytes, 8)?,
        2 => {
            let length = usize::try_from(varint(bytes)?).ok()?;
            take(bytes, length)?
        }
        5 => take(bytes, 4)?,
        _ => return None,
    };
    Some((key >> 3, content))
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
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

    /// A field that holds another message.
    fn field_of(number: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut varint = |mut value: usize| {
            while value >= 0x80 {
                bytes.push(value as u8 | 0x80);
                value >>= 7;
            }
            bytes.push(value as u8);
        };
        varint(usize::from(number) << 3 | 2);
        varint(content.len());
        [bytes, content.to_vec()].concat()
    }

    fn graph_in_node(graph: &[u8]) -> Vec<u8> {
        field_of(1, &field_of(5, &field_of(6, graph)))
    }

    #[test]
    fn nodes_are_counted_wherever_they_are() {
        let two = [field_of(1, b""), field_of(1, b"")].concat();
        assert_eq!(check(&field_of(7, b"")), Ok(0));
        assert_eq!(check(&field_of(7, &two)), Ok(2));
        assert_eq!(check(&field_of(7, &[two.clone(), graph_in_node(&two)].concat())), Ok(5));
    }

    #[test]
    fn sparse_tensors_are_found_wherever_they_are() {
        let initializer = field_of(15, b"");
        let constant = field_of(1, &field_of(5, &field_of(22, b"")));
        let constants = field_of(1, &field_of(5, &field_of(23, b"")));
        for graph in [initializer, constant, constants] {
            for graph in [graph.clone(), graph_in_node(&graph), graph_in_node(&graph_in_node(&graph))] {
                let behind_other_fields = [&[0x08, 9, 0x15, 1, 2, 3, 4][..], &field_of(7, &graph)].concat();
                assert_eq!(check(&behind_other_fields), Err("has sparse tensors"));
            }
        }
    }

    #[test]
    fn functions_are_found() {
        assert_eq!(check(&field_of(25, b"")), Err("has functions of its own"));
    }

    #[test]
    fn what_is_no_onnx_file_is_refused() {
        for bytes in [&b"no network at all"[..], &[0x3a], &[0x3a, 0x7f, 0], &[0x3b, 0x3c], &[0xff; 11]] {
            assert_eq!(check(bytes), Err("is no ONNX file"), "{bytes:?}");
        }
        assert!(check(b"\x0a\x40\0\0ORTM").unwrap_err().contains("format"));
    }

    #[test]
    fn graphs_within_graphs_end_somewhere() {
        let deep = (0..50).fold(Vec::new(), |graph, _| graph_in_node(&graph));
        assert!(check(&field_of(7, &deep)).unwrap_err().contains("too deep"));
    }
}
