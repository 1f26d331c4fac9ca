"""Reading and writing of VST3 preset files, which hold the plugin's own state.

The format is the VST 3 SDK's (`public.sdk/source/vst/vstpresetfile.h`): a header of 48 bytes (`VST3`, version,
class id, offset of the list of chunks), the chunks, and the list: `List`, count, and id, offset and size of each.
The chunk `Comp` is the state that the plugin wrote. Numbers are little endian.
"""

import json
import struct

HEADER = struct.Struct("<4si32sq")
LIST = struct.Struct("<4si")
ENTRY = struct.Struct("<4sqq")


def chunks(preset: bytes) -> dict[bytes, bytes]:
    """The chunks of a preset by id, in the order of its list."""
    magic, _, _, list_offset = HEADER.unpack_from(preset)
    if magic != b"VST3":
        raise ValueError(f"the preset begins with {magic!r}; expected b'VST3'")
    list_magic, count = LIST.unpack_from(preset, list_offset)
    if list_magic != b"List":
        raise ValueError(f"the list of chunks begins with {list_magic!r}; expected b'List'")
    found = {}
    for index in range(count):
        identifier, offset, size = ENTRY.unpack_from(preset, list_offset + LIST.size + index * ENTRY.size)
        found[identifier] = preset[offset : offset + size]
    return found


def with_component(preset: bytes, state: bytes) -> bytes:
    """The preset with `state` as the plugin's state."""
    magic, version, class_id, _ = HEADER.unpack_from(preset)
    body, entries, offset = b"", b"", HEADER.size
    replaced = {**chunks(preset), b"Comp": state}
    for identifier, content in replaced.items():
        entries += ENTRY.pack(identifier, offset, len(content))
        body += content
        offset += len(content)
    return HEADER.pack(magic, version, class_id, offset) + body + LIST.pack(b"List", len(replaced)) + entries


def state(preset: bytes) -> dict:
    """The plugin's state: its parameters, and its fields as JSON texts."""
    return json.loads(chunks(preset)[b"Comp"])


def without_parameter(preset: bytes, identifier: str) -> bytes:
    """The preset as saved by a version that did not have the parameter."""
    edited = state(preset)
    del edited["params"][identifier]
    return with_component(preset, json.dumps(edited, ensure_ascii=False).encode())


def queries(preset: bytes) -> list[str]:
    """The texts of the eight query slots."""
    return json.loads(state(preset)["fields"]["queries"])


def with_queries(preset: bytes, texts: list[str]) -> bytes:
    """The preset with `texts` in the query slots."""
    edited = state(preset)
    edited["fields"]["queries"] = json.dumps(texts, ensure_ascii=False)
    return with_component(preset, json.dumps(edited, ensure_ascii=False).encode())
