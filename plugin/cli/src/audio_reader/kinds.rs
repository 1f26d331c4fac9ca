//! Names of file formats by their first bytes, for messages.

/// A file that Sift does not read by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An audio or video format that ffmpeg reads.
    Known(&'static str),
    /// A format without audio.
    NotAudio(&'static str),
    Unknown,
}

/// First bytes of formats that ffmpeg reads.
const KNOWN: [(&[u8], &str); 17] = [
    (b"\x30\x26\xB2\x75\x8E\x66\xCF\x11", "Windows Media"),
    (b"MAC ", "Monkey's Audio"),
    (b"wvpk", "WavPack"),
    (b"TTA1", "True Audio"),
    (b"MPCK", "Musepack"),
    (b"MP+", "Musepack"),
    (b"DSD ", "DSD (DSF)"),
    (b"FRM8", "DSD (DSDIFF)"),
    (b"#!AMR", "AMR"),
    (b"\x0B\x77", "AC-3"),
    (b"\x7F\xFE\x80\x01", "DTS"),
    (b"FLV\x01", "Flash video"),
    (b"\x00\x00\x01\xBA", "an MPEG video"),
    (b"\x00\x00\x01\xB3", "an MPEG video"),
    (b".RMF", "RealMedia"),
    (b"tBaK", "TAK"),
    (b"OFR ", "OptimFROG"),
];

/// First bytes of formats without audio.
const NOT_AUDIO: [(&[u8], &str); 10] = [
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a PNG image"),
    (b"\xFF\xD8\xFF", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1F\x8B", "a gzip archive"),
    (b"7z\xBC\xAF\x27\x1C", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"MThd", "MIDI, which contains notes instead of sound"),
    (b"\x7FELF", "a program"),
];

/// Recognises the file that begins with `head`.
pub fn recognise(head: &[u8]) -> Kind {
    let named = |names: &[(&[u8], &'static str)]| {
        names.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, name)| *name)
    };
    if let Some(name) = named(&KNOWN) {
        return Kind::Known(name);
    }
    if let Some(name) = named(&NOT_AUDIO) {
        return Kind::NotAudio(name);
    }
    if head.starts_with(b"RIFF") && head.get(8..12) == Some(b"AVI ") {
        return Kind::Known("an AVI video");
    }
    // Packets of 188 bytes.
    if [0, 188, 376].iter().all(|&at| head.get(at) == Some(&0x47)) {
        return Kind::Known("an MPEG transport stream");
    }
    if head.iter().all(|&byte| byte == 0) {
        return Kind::NotAudio("zeros");
    }
    if is_text(head) {
        return Kind::NotAudio("text");
    }
    Kind::Unknown
}

/// Whether `head` is text in ASCII or UTF-8; its last character may be cut.
fn is_text(head: &[u8]) -> bool {
    let is_utf8 = std::str::from_utf8(head).map_or_else(|error| error.error_len().is_none(), |_| true);
    is_utf8 && head.iter().all(|byte| *byte >= b' ' || b"\t\n\r\x0C".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_recognised_by_their_first_bytes() {
        for (head, kind) in [
            (&b"wvpk\x10\x20\x00\x00"[..], Kind::Known("WavPack")),
            (b"RIFF\x10\x00\x00\x00AVI LIST", Kind::Known("an AVI video")),
            (b"%PDF-1.7", Kind::NotAudio("a PDF document")),
            (b"#EXTM3U\nhttp://example.org/a.mp3\n", Kind::NotAudio("text")),
            ("소리\n".as_bytes(), Kind::NotAudio("text")),
            (&[0; 100], Kind::NotAudio("zeros")),
            (&[1, 2, 3, 200], Kind::Unknown),
        ] {
            assert_eq!(recognise(head), kind, "{head:?}");
        }
    }
}
