//! Decoding of an audio file by the command line.

use std::io::Cursor;
use std::path::Path;

use sift_cli::audio_reader::{AudioReader, Ffmpeg};

/// The name that the file gets, by its first byte.
const NAMES: [&str; 5] = ["a.wav", "a.flac", "a.mp3", "a.ogg", "a"];

/// Samples per channel after which a short file has shown all it can.
const MAX_SAMPLES: usize = 1 << 22;

/// Decodes `bytes` as a file, whose first byte selects its name.
///
/// # Panics
/// If the error does not begin with the file's name, or the samples cannot be separated.
pub fn check(bytes: &[u8]) {
    let Some((&name, bytes)) = bytes.split_first() else { return };
    let path = Path::new(NAMES[usize::from(name) % NAMES.len()]);
    if let Err(error) = read(bytes, path) {
        let message = format!("{error:#}");
        assert!(message.starts_with(&format!("{}: ", path.display())), "{message}");
    }
}

fn read(bytes: &[u8], path: &Path) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut source = AudioReader::read_with(Box::new(Cursor::new(bytes.to_vec())), path, Ffmpeg::absent())?;
    let (rate, channels) = (source.sample_rate(), source.channels());
    assert!(
        (4_000..=768_000).contains(&rate) && (1..=2).contains(&channels),
        "{rate} Hz, {channels} channels"
    );
    let mut samples = 0;
    while let Some(block) = source.next_block()? {
        assert_eq!(block.len(), channels);
        assert!(block.iter().all(|channel| !channel.is_empty() && channel.len() == block[0].len()));
        samples += block[0].len();
        if samples > MAX_SAMPLES {
            break;
        }
    }
    Ok(())
}
