//! Specification: what is read, with how many samples, and what is refused.
//!
//! The sound of all files is [`signal`]: what is lost or moved shows, because every tenth of a second has its own tone.

use std::f64::consts::TAU;
use std::io::Cursor;

use symphonia::core::io::ReadOnlySource;

use super::*;
use crate::test_files::write_wav;

/// Sample `n` of `channel`.
fn signal(n: u64, channel: usize, rate: u32) -> f64 {
    let (n, rate) = (n as f64, f64::from(rate));
    let step = (n / (rate / 10.0)).floor();
    let frequency = 300.0 + 40.0 * ((7.0 * step + 11.0 * channel as f64) % 29.0);
    let noise = (7_919.0 * n + 31.0 * channel as f64) % 2_003.0 / 2_003.0 - 0.5;
    0.4 * (TAU * frequency * n / rate).sin() + 0.05 * noise
}

/// A decoded file.
struct Decoded {
    rate: u32,
    channels: Vec<Vec<f32>>,
    length: Option<u64>,
    warnings: Vec<String>,
}

fn decode(reader: Result<AudioReader>) -> Result<Decoded> {
    let mut reader = reader?;
    let mut channels = vec![Vec::new(); reader.channels()];
    while let Some(block) = reader.next_block()? {
        channels.iter_mut().zip(block).for_each(|(channel, block)| channel.extend_from_slice(block));
    }
    let warnings = reader.take_warnings();
    Ok(Decoded { rate: reader.sample_rate(), channels, length: reader.length(), warnings })
}

fn read_all(path: &Path) -> Result<Vec<Vec<f32>>> {
    decode(AudioReader::open(path)).map(|decoded| decoded.channels)
}

fn refusal(path: &Path) -> String {
    let message = format!("{:#}", read_all(path).unwrap_err());
    assert!(message.starts_with(&format!("{}: ", path.display())), "{message}");
    message
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn awkward(name: &str) -> Vec<u8> {
    std::fs::read(data("awkward").join(name)).unwrap()
}

/// What reading a file comes to.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// Samples per channel, sample rate in hertz, channels.
    Read(u64, u32, usize),
    /// The parts of the error.
    Refused(&'static [&'static str]),
}

use Expected::{Read, Refused};

/// A file, and what is expected of it.
struct Case {
    name: &'static str,
    bytes: Vec<u8>,
    expected: Expected,
    /// Part of the only warning, or nothing.
    warning: &'static str,
    /// Samples more or less, where nothing tells the encoder's delay, and by how much the signal may be moved.
    tolerance: u64,
    gain: f64,
    /// The largest root of the mean squared error.
    error: f64,
    needs_ffmpeg: bool,
}

impl Case {
    /// A file without loss.
    fn new(name: &'static str, bytes: Vec<u8>, expected: Expected) -> Self {
        Self { name, bytes, expected, warning: "", tolerance: 0, gain: 1.0, error: 1e-4, needs_ffmpeg: false }
    }

    /// A file of `tests/data/awkward` that was encoded with loss.
    fn lossy(name: &'static str, expected: Expected) -> Self {
        Self { error: 0.04, ..Self::new(name, awkward(name), expected) }
    }

    fn warns(self, warning: &'static str) -> Self {
        Self { warning, ..self }
    }

    fn within(self, tolerance: u64) -> Self {
        Self { tolerance, ..self }
    }

    fn refuses(self, parts: &'static [&'static str]) -> Self {
        Self { expected: Refused(parts), ..self }
    }

    fn by_ffmpeg(self) -> Self {
        Self { needs_ffmpeg: true, ..self }
    }

    fn check(&self, folder: &Path, ffmpeg: &Ffmpeg) {
        let path = folder.join(self.name);
        std::fs::write(&path, &self.bytes).unwrap();
        let decoded = decode(AudioReader::open_with(&path, ffmpeg.clone()));
        self.check_result(&path.display().to_string(), decoded);
        // A pipe gives the same as a file.
        let pipe = Box::new(ReadOnlySource::new(Cursor::new(self.bytes.clone())));
        let decoded = decode(AudioReader::read_with(pipe, Path::new(self.name), ffmpeg.clone()));
        self.check_result(self.name, decoded);
    }

    fn check_result(&self, path: &str, decoded: Result<Decoded>) {
        match (self.expected, decoded) {
            (Refused(parts), Err(error)) => {
                let message = format!("{error:#}");
                assert!(message.starts_with(&format!("{path}: ")), "{message}");
                parts
                    .iter()
                    .for_each(|part| assert!(message.contains(part), "{part:?} is missing: {message}"));
            }
            (Read(..), Ok(decoded)) => self.check_audio(path, &decoded),
            (expected, Ok(decoded)) => {
                panic!("{path}: {} samples; expected {expected:?}", decoded.channels[0].len())
            }
            (expected, Err(error)) => panic!("{error:#}; expected {expected:?}"),
        }
    }

    fn check_audio(&self, path: &str, decoded: &Decoded) {
        let Read(frames, rate, channels) = self.expected else { unreachable!() };
        let found = decoded.channels[0].len() as u64;
        assert_eq!((decoded.rate, decoded.channels.len()), (rate, channels), "{path}");
        assert!(found.abs_diff(frames) <= self.tolerance, "{path}: {found} samples; expected {frames}");
        assert!(decoded.channels.iter().all(|channel| channel.len() as u64 == found), "{path}");
        let is_told = self.warning.contains("counts") || decoded.length.is_none_or(|length| length == found);
        assert!(is_told, "{path}: {:?} samples were told, {found} read", decoded.length);
        match self.warning {
            "" => assert!(decoded.warnings.is_empty(), "{:?}", decoded.warnings),
            part => {
                assert_eq!(decoded.warnings.len(), 1, "{:?}", decoded.warnings);
                let warning = &decoded.warnings[0];
                assert!(warning.starts_with(&format!("{path}: ")) && warning.contains(part), "{warning}");
            }
        }
        // Some encoders begin with noise.
        let start = if self.error > 0.01 { 6 * u64::from(rate) / 10 } else { 0 };
        for (index, channel) in decoded.channels.iter().enumerate() {
            let error = |delay: u64| {
                let end = frames.min(found.saturating_sub(delay));
                let squares = (start..end).step_by(17).map(|n| {
                    let sample = f64::from(channel[(n + delay) as usize]);
                    (sample - self.gain * signal(n, index, rate)).powi(2)
                });
                (squares.sum::<f64>() / (end.saturating_sub(start) as f64 / 17.0).max(1.0)).sqrt()
            };
            let least = (0..=self.tolerance.min(1_200)).map(error).fold(f64::INFINITY, f64::min);
            assert!(least < self.error, "{path}: channel {index} differs by {least}");
        }
    }
}

/// Checks all `cases`, with ffmpeg if it is installed.
fn check(cases: &[Case]) {
    let folder = tempfile::tempdir().unwrap();
    let ffmpeg = Ffmpeg::find();
    for case in cases {
        if case.needs_ffmpeg && !ffmpeg.is_installed() {
            eprintln!("skipped: {} needs ffmpeg, which is not installed", case.name);
            continue;
        }
        case.check(folder.path(), &ffmpeg);
        if !case.needs_ffmpeg {
            case.check(folder.path(), &Ffmpeg::absent());
        }
    }
}

/// `frames` of the signal, as interleaved samples.
fn samples(frames: u64, rate: u32, channels: usize) -> impl Iterator<Item = f64> {
    (0..frames).flat_map(move |n| (0..channels).map(move |channel| signal(n, channel, rate)))
}

/// The signal as 16-bit integers.
fn integers(frames: u64, rate: u32, channels: usize, order: raw::ByteOrder) -> Vec<u8> {
    let integer = |sample: f64| (sample * 32_768.0).round() as i16;
    samples(frames, rate, channels)
        .flat_map(|sample| match order {
            raw::ByteOrder::Little => integer(sample).to_le_bytes(),
            raw::ByteOrder::Big => integer(sample).to_be_bytes(),
        })
        .collect()
}

/// The signal as 32-bit floats.
fn floats(frames: u64, rate: u32, channels: usize) -> Vec<u8> {
    samples(frames, rate, channels).flat_map(|sample| (sample as f32).to_le_bytes()).collect()
}

const FRAMES: u64 = 4_001;
const RATE: u32 = 8_000;

/// The signal that most tests use: 4,001 frames of 16 bits at 8 kHz, mono.
fn pcm() -> Vec<u8> {
    integers(FRAMES, RATE, 1, raw::ByteOrder::Little)
}

/// A chunk with the given size in its header.
fn sized(id: &[u8; 4], content: &[u8], size: usize) -> Vec<u8> {
    [&id[..], &(size as u32).to_le_bytes(), content].concat()
}

/// A chunk, padded to an even size.
fn chunk(id: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut chunk = sized(id, content, content.len());
    chunk.resize(chunk.len().next_multiple_of(2), 0);
    chunk
}

/// The chunk `fmt `.
fn format(tag: u16, channels: u16, rate: u32, bits: u16) -> Vec<u8> {
    let align = channels * bits / 8;
    let mut content = [tag.to_le_bytes(), channels.to_le_bytes()].concat();
    content.extend([rate, rate * u32::from(align)].iter().flat_map(|field| field.to_le_bytes()));
    content.extend([align, bits].iter().flat_map(|field| field.to_le_bytes()));
    chunk(b"fmt ", &content)
}

/// The chunk `fmt ` of EXTENSIBLE, with `valid` bits.
fn extensible(tag: u16, bits: u16, valid: u16) -> Vec<u8> {
    let mut content = format(0xFFFE, 1, RATE, bits)[8..].to_vec();
    content.extend([22, valid, 4, 0, tag].iter().flat_map(|field| field.to_le_bytes()));
    content.extend(b"\x00\x00\x00\x00\x10\x00\x80\x00\x00\xAA\x00\x38\x9B\x71");
    chunk(b"fmt ", &content)
}

/// A RIFF file of `chunks`, with the given size in its header.
fn riff(id: &[u8; 4], chunks: &[&[u8]], size: Option<u32>) -> Vec<u8> {
    let content = chunks.concat();
    let size = size.unwrap_or(content.len() as u32 + 4);
    [&id[..], &size.to_le_bytes(), b"WAVE", &content].concat()
}

fn wav(chunks: &[&[u8]]) -> Vec<u8> {
    riff(b"RIFF", chunks, None)
}

#[test]
fn wav_is_read_whole_whatever_its_sizes_say() {
    let (fmt, data) = (format(1, 1, RATE, 16), chunk(b"data", &pcm()));
    let read = Read(FRAMES, RATE, 1);
    let data_of = |size: usize| sized(b"data", &pcm(), size);
    let full = pcm().len();
    let unknown = "read to the end of the file";
    check(&[
        Case::new("plain.wav", wav(&[&fmt, &data]), read),
        Case::new("data-ffffffff.wav", riff(b"RIFF", &[&fmt, &data_of(0xFFFF_FFFF)], Some(u32::MAX)), read)
            .warns(unknown),
        Case::new(
            "data-7ffff000.wav",
            riff(b"RIFF", &[&fmt, &data_of(0x7FFF_F000)], Some(0x7FFF_F024)),
            read,
        )
        .warns(unknown),
        Case::new("data-0.wav", riff(b"RIFF", &[&fmt, &data_of(0)], Some(0)), read).warns(unknown),
        Case::new("riff-0.wav", riff(b"RIFF", &[&fmt, &data], Some(0)), read),
        Case::new("riff-8-too-few.wav", riff(b"RIFF", &[&fmt, &data], Some(full as u32 + 28)), read),
        Case::new("riff-8-too-many.wav", riff(b"RIFF", &[&fmt, &data], Some(full as u32 + 44)), read),
        Case::new("data-4-too-many.wav", wav(&[&fmt, &data_of(full + 4)]), read)
            .warns("4 bytes of audio more"),
        Case::new(
            "half.wav",
            wav(&[&fmt, &sized(b"data", &pcm()[..full / 2], full)]),
            Refused(&["cut short", "again"]),
        ),
        Case::new("empty.wav", wav(&[&fmt, &data_of(0)[..8]]), Refused(&["contains no audio"])),
        Case::new(
            "only-a-list.wav",
            wav(&[&fmt, b"data\0\0\0\0", &chunk(b"LIST", b"INFO")]),
            Refused(&["no audio"]),
        ),
        Case::new("header.wav", wav(&[&fmt])[..20].to_vec(), Refused(&["cut short", "again"])),
        Case::new("no-data.wav", wav(&[&fmt]), Refused(&["cut short", "again"])),
    ]);
}

#[test]
fn chunks_that_others_forgive_are_forgiven() {
    let (fmt, data) = (format(1, 1, RATE, 16), chunk(b"data", &pcm()));
    let (float, float_data) = (format(3, 1, RATE, 32), chunk(b"data", &floats(FRAMES, RATE, 1)));
    let read = Read(FRAMES, RATE, 1);
    let half = pcm().len() / 4 * 2;
    let info = chunk(b"LIST", b"INFOISFT\x06\0\0\0a name");
    check(&[
        Case::new(
            "fact-of-8-bytes.wav",
            wav(&[&float, &chunk(b"fact", &[0xA1, 0x0F, 0, 0, 0, 0, 0, 0]), &float_data]),
            read,
        ),
        Case::new(
            "fact-of-half.wav",
            wav(&[&float, &chunk(b"fact", &[0xD0, 0x07, 0, 0]), &float_data]),
            read,
        ),
        Case::new("no-valid-bits.wav", wav(&[&extensible(3, 32, 0), &float_data]), read),
        Case::new("chunks-before.wav", wav(&[&chunk(b"JUNK", &[0; 33]), &info, &fmt, &data]), read),
        Case::new("chunks-behind.wav", wav(&[&fmt, &data, &info, &chunk(b"odd ", &[1; 7])]), read),
        Case::new("long-junk.wav", wav(&[&fmt, &chunk(b"JUNK", &[0xFF; 120_000]), &data]), read),
        Case::new("other-bytes-behind.wav", [wav(&[&fmt, &data]), vec![0xFF; 101]].concat(), read),
        Case::new("data-first.wav", wav(&[&data, &fmt]), read),
        Case::new("no-pad.wav", wav(&[&fmt, &sized(b"LIST", b"INFOISFT\x03\0\0\0abc", 15), &data]), read)
            .warns("pad byte"),
        Case::new(
            "two-data.wav",
            wav(&[&fmt, &chunk(b"data", &pcm()[..half]), &chunk(b"data", &pcm()[half..])]),
            read,
        )
        .warns("several chunks"),
        Case::new("no-fmt.wav", wav(&[&data]), Refused(&["fmt", "again"])),
    ]);
}

#[test]
fn relatives_of_wav_are_read() {
    let (fmt, data) = (format(1, 1, RATE, 16), chunk(b"data", &pcm()));
    let read = Read(FRAMES, RATE, 1);
    let size = pcm().len() as u64;
    let ds64 = chunk(b"ds64", &[size + 72, size, FRAMES, 0].map(u64::to_le_bytes).concat()[..28]);
    let unsized_data = sized(b"data", &pcm(), usize::MAX);
    let guid = |id: &[u8; 4]| [&id[..], b"\xF3\xAC\xD3\x11\x8C\xD1\x00\xC0\x4F\x8E\xDB\x8A"].concat();
    let wave64_chunk = |id: &[u8; 4], content: &[u8]| {
        let mut chunk =
            [guid(id), (content.len() as u64 + 24).to_le_bytes().to_vec(), content.to_vec()].concat();
        chunk.resize(chunk.len().next_multiple_of(8), 0);
        chunk
    };
    let wave64 = [
        b"riff\x2E\x91\xCF\x11\xA5\xD6\x28\xDB\x04\xC1\x00\x00\0\0\0\0\0\0\0\0".to_vec(),
        guid(b"wave"),
        wave64_chunk(b"fmt ", &fmt[8..]),
        wave64_chunk(b"junk", &[0; 5]),
        wave64_chunk(b"data", &pcm()),
    ]
    .concat();
    let big = integers(FRAMES, RATE, 1, raw::ByteOrder::Big);
    let rifx = [
        b"RIFX\0\0\0\0WAVEfmt \0\0\0\x10\0\x01\0\x01\0\0\x1F\x40\0\0\x3E\x80\0\x02\0\x10data".to_vec(),
        (size as u32).to_be_bytes().to_vec(),
        big,
    ]
    .concat();
    check(&[
        Case::new("a.rf64", riff(b"RF64", &[&ds64, &fmt, &unsized_data], Some(u32::MAX)), read),
        Case::new("a.bw64", riff(b"BW64", &[&ds64, &fmt, &unsized_data], Some(u32::MAX)), read),
        Case::new("no-ds64.wav", riff(b"RF64", &[&fmt, &unsized_data], Some(u32::MAX)), read)
            .warns("read to the end"),
        Case::new("a.w64", wave64.clone(), read),
        Case::new("cut.w64", wave64[..wave64.len() / 2].to_vec(), Refused(&["cut short"])),
        Case::new("rifx.wav", rifx, read),
        Case::new(
            "rf64.wav",
            riff(b"RF64", &[&ds64, &fmt, &sized(b"data", &pcm()[..100], usize::MAX)], None),
            Refused(&["cut short"]),
        ),
        Case::new("a.wav", wav(&[&fmt, &data]), read),
    ]);
}

#[test]
fn sample_formats_of_wav_are_read() {
    let of = |scale: f64, bytes: usize| -> Vec<u8> {
        samples(FRAMES, RATE, 1)
            .flat_map(|sample| ((sample * scale).round() as i64).to_le_bytes()[..bytes].to_vec())
            .collect()
    };
    let unsigned =
        samples(FRAMES, RATE, 1).map(|sample| ((sample * 128.0).round() + 128.0) as u8).collect::<Vec<_>>();
    let doubles: Vec<u8> = samples(FRAMES, RATE, 1).flat_map(f64::to_le_bytes).collect();
    let bits_24: Vec<u8> = of(f64::from(1 << 23), 3);
    // 24 bits in the upper bytes of 32.
    let padded: Vec<u8> = bits_24.chunks(3).flat_map(|sample| [0, sample[0], sample[1], sample[2]]).collect();
    let read = Read(FRAMES, RATE, 1);
    let case = |name, fmt: Vec<u8>, data: &[u8]| Case::new(name, wav(&[&fmt, &chunk(b"data", data)]), read);
    check(&[
        Case { error: 0.005, ..case("8-bit.wav", format(1, 1, RATE, 8), &unsigned) },
        case("24-bit.wav", format(1, 1, RATE, 24), &bits_24),
        case("24-in-32-bit.wav", extensible(1, 32, 24), &padded),
        case("32-bit.wav", format(1, 1, RATE, 32), &of(f64::from(1_u32 << 31), 4)),
        case("64-bit-float.wav", format(3, 1, RATE, 64), &doubles),
        Case::new(
            "stereo.wav",
            wav(&[&format(3, 2, 384_000, 32), &chunk(b"data", &floats(99, 384_000, 2))]),
            Read(99, 384_000, 2),
        ),
        Case::lossy("w_adpcm_ms.wav", Read(44_003, 22_050, 1)).within(1_012),
        Case::lossy("w_adpcm_ima.wav", Read(24_001, 16_000, 2)).within(1_017),
        Case::lossy("w_mp3_inside.wav", Read(44_003, 44_100, 1)).within(3_456),
        case("0-channels.wav", format(1, 0, RATE, 16), &pcm()).refuses(&["0 channels", "stereo"]),
        case("7-channels.wav", format(1, 7, RATE, 16), &pcm()).refuses(&["7 channels", "stereo"]),
        case("0-hz.wav", format(1, 1, 0, 16), &pcm()).refuses(&["0 Hz", "Resample"]),
        case("unknown-codec.wav", format(0x160, 1, RATE, 16), &pcm()).refuses(&["0x0160", "ffmpeg"]),
    ]);
}

#[test]
fn companded_wav_is_read() {
    // 0, and the loudest samples of both signs.
    let read = |tag, codes: &[u8]| {
        let bytes = wav(&[&format(tag, 1, RATE, 8), &chunk(b"data", codes)]);
        decode(AudioReader::read(Box::new(Cursor::new(bytes)), Path::new("a.wav")))
            .unwrap()
            .channels
            .remove(0)
    };
    let near = |found: Vec<f32>, expected: [f32; 3]| {
        assert!(
            found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 0.03) && found.len() == 3,
            "{found:?}"
        );
    };
    near(read(6, &[0xD5, 0xAA, 0x2A]), [0.0, 0.98, -0.98]);
    near(read(7, &[0xFF, 0x80, 0x00]), [0.0, 0.98, -0.98]);
}

#[test]
fn aiff_caf_and_au_are_read() {
    let chunk = |id: &[u8; 4], content: &[u8], pad: usize| {
        [&id[..], &(content.len() as u32).to_be_bytes(), content, &vec![0; pad]].concat()
    };
    let form = |kind: &[u8; 4], chunks: &[Vec<u8>]| {
        let content = chunks.concat();
        [b"FORM", &(content.len() as u32 + 4).to_be_bytes()[..], kind, &content].concat()
    };
    let common = |bits: u8, codec: &[u8]| {
        let mut content = vec![0, 1, 0, 0];
        content.extend((FRAMES as u16).to_be_bytes());
        // 8 kHz as an 80-bit float.
        content.extend([0, bits, 0x40, 0x0B, 0xFA, 0, 0, 0, 0, 0, 0, 0]);
        content.extend(codec);
        content
    };
    let pcm_big = integers(FRAMES, RATE, 1, raw::ByteOrder::Big);
    let ssnd = |audio: &[u8]| chunk(b"SSND", &[&[0; 8], audio].concat(), 0);
    let floats: Vec<u8> = samples(FRAMES, RATE, 1).flat_map(|sample| (sample as f32).to_be_bytes()).collect();
    let caf = |size: i64, format: &[u8; 4], audio: &[u8]| {
        let description = [
            &8_000_f64.to_be_bytes()[..],
            format,
            &[0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 16],
        ];
        [
            b"caff\0\x01\0\0desc\0\0\0\0\0\0\0\x20",
            &description.concat()[..],
            b"data",
            &size.to_be_bytes(),
            &[0; 4],
            audio,
        ]
        .concat()
    };
    let au = |size: u32, audio: &[u8]| {
        [b".snd\0\0\0\x18", &size.to_be_bytes()[..], b"\0\0\0\x03\0\0\x1F\x40\0\0\0\x01", audio].concat()
    };
    let read = Read(FRAMES, RATE, 1);
    let size = pcm_big.len();
    let mut streamed = form(b"AIFF", &[chunk(b"COMM", &common(16, b""), 0), ssnd(&pcm_big)]);
    let at = streamed.windows(4).position(|id| id == b"SSND").unwrap() + 4;
    streamed[at..at + 4].fill(0);
    check(&[
        Case::new("a.aiff", form(b"AIFF", &[chunk(b"COMM", &common(16, b""), 0), ssnd(&pcm_big)]), read),
        Case::new("streamed.aiff", streamed, read).warns("length of the audio is unknown"),
        Case::new(
            "sowt.aifc",
            form(b"AIFC", &[chunk(b"COMM", &common(16, b"sowt\0\0"), 0), ssnd(&pcm())]),
            read,
        ),
        Case::new(
            "fl32.aifc",
            form(b"AIFC", &[chunk(b"COMM", &common(32, b"fl32\0\0"), 0), ssnd(&floats)]),
            read,
        ),
        Case::new(
            "odd.aifc",
            form(b"AIFC", &[chunk(b"COMM", &common(16, b"NONE\x02ab"), 1), ssnd(&pcm_big)]),
            read,
        ),
        Case::new(
            "cut.aiff",
            form(b"AIFF", &[chunk(b"COMM", &common(16, b""), 0), ssnd(&pcm_big)])[..4_000].to_vec(),
            Refused(&["cut short"]),
        ),
        Case::new("a.caf", caf(size as i64 + 4, b"lpcm", &pcm_big), read),
        Case::new("open.caf", caf(-1, b"lpcm", &pcm_big), read).warns("length of the audio is unknown"),
        Case::new("cut.caf", caf(size as i64 + 5, b"lpcm", &pcm_big), Refused(&["cut short"])),
        Case::new("c_alac.caf", awkward("c_alac.caf"), Read(16_007, 16_000, 2)),
        Case::new("a.au", au(size as u32, &pcm_big), read),
        Case::new("open.au", au(u32::MAX, &pcm_big), read).warns("length of the audio is unknown"),
        Case::new("cut.au", au(size as u32 + 1, &pcm_big), Refused(&["cut short"])),
    ]);
}

#[test]
fn mpeg_audio_is_read_whole() {
    let garbage = "3000 bytes before the first frame";
    let joined_other_rate = [awkward("m_gapless.mp3"), awkward("m_mpeg25_8k.mp3")].concat();
    let mut within_frame = awkward("m_vbr_noxing.mp3");
    within_frame.truncate(within_frame.len() - 10);
    let with_id3 = [b"ID3\x04\0\0\0\0\x02\0".to_vec(), vec![0xFF; 256], awkward("m_gapless.mp3")].concat();
    let mut case = Case::lossy("m_gapless.mp3", Read(50_021, 44_100, 1));
    (case.name, case.bytes) = ("id3.mp3", with_id3);
    check(&[
        case,
        Case::lossy("m_vbr_noxing.mp3", Read(132_301, 44_100, 1)).within(3_456),
        Case { bytes: within_frame, ..Case::lossy("m_vbr_noxing.mp3", Read(132_301, 44_100, 1)) }
            .within(3_456)
            .warns("behind the last whole MPEG frame"),
        Case::lossy("m_joined.mp3", Read(132_302, 44_100, 1)).warns("2 MPEG files"),
        Case::lossy("m_xing_few.mp3", Read(66_151, 44_100, 1))
            .within(3_456)
            .warns("counts 29 of 59 MPEG frames"),
        Case::lossy("m_garbage_first.mp3", Read(66_151, 44_100, 1)).warns(garbage),
        Case::lossy("m_id3v1_ape.mp3", Read(66_151, 44_100, 1)),
        Case::lossy("m_crc.mp3", Read(44_101, 44_100, 2)),
        Case::lossy("m_gapless.mp3", Read(50_021, 44_100, 1)),
        Case::lossy("m_mpeg25_8k.mp3", Read(24_001, 8_000, 1)),
        Case::lossy("m_layer2.mp2", Read(48_003, 48_000, 2)).within(2_304),
        Case::lossy("m_cut.mp3", Refused(&["cut short", "39 MPEG frames", "59"])),
        Case::lossy("m_bad_middle.mp3", Refused(&["damaged", "again"])),
        Case::lossy("m_only_tags.mp3", Refused(&["no audio"])),
        Case::lossy("m_free.mp3", Refused(&["free format", "Convert"])),
        Case::new("two-rates.mp3", joined_other_rate, Refused(&["change within the file", "Convert"])),
    ]);
}

/// `f_minblock0.flac` with the smallest block that it should have, and changes by `change`.
fn flac(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = awkward("f_minblock0.flac");
    bytes.copy_within(10..12, 8);
    change(&mut bytes);
    bytes
}

/// Clears the MD5 of a FLAC file.
fn clear_md5(bytes: &mut [u8]) {
    bytes[26..42].fill(0);
}

#[test]
fn flac_is_read_whole_or_refused() {
    let read = Read(40_009, 32_000, 1);
    let half = |bytes: &mut Vec<u8>| {
        clear_md5(bytes);
        bytes[22..26].copy_from_slice(&20_004_u32.to_be_bytes());
    };
    let unknown = |bytes: &mut Vec<u8>| {
        clear_md5(bytes);
        bytes[22..26].fill(0);
    };
    let wrong_bit = |bytes: &mut Vec<u8>| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
    };
    let id3v1 = [&b"TAG"[..], &[b' '; 125]].concat();
    check(&[
        Case::new("plain.flac", flac(|_| ()), read),
        Case::new("f_minblock0.flac", awkward("f_minblock0.flac"), read),
        Case::new("no-total.flac", flac(unknown), read),
        Case::new("total-of-half.flac", flac(half), read).warns("counts 20004 of 40009 samples"),
        Case::new("id3v1.flac", [flac(|_| ()), id3v1].concat(), read),
        Case::new(
            "id3v2.flac",
            [b"ID3\x04\0\0\0\0\x01\0".to_vec(), vec![0; 128], flac(|_| ())].concat(),
            read,
        ),
        Case::new("f_oggflac.oga", awkward("f_oggflac.oga"), read),
        Case::new("cut.flac", flac(|bytes| bytes.truncate(35_055)), Refused(&["cut short", "again"])),
        Case::new("wrong-bit.flac", flac(wrong_bit), Refused(&["damaged", "checksum", "again"])),
        Case::new(
            "wrong-bit-no-total.flac",
            flac(|bytes| {
                unknown(bytes);
                wrong_bit(bytes);
            }),
            Refused(&["damaged", "again"]),
        ),
    ]);
}

#[test]
fn ogg_is_read_whole_or_refused() {
    let mut wrong_byte = awkward("o_vorbis_later.ogg");
    let middle = wrong_byte.len() / 2;
    wrong_byte[middle] ^= 0x55;
    let mut opus_wrong_byte = awkward("o_opus_preskip.opus");
    opus_wrong_byte[middle] ^= 0x55;
    let opus = Refused(&["Opus", "Install ffmpeg"]);
    check(&[
        Case::lossy("o_vorbis_later.ogg", Read(44_119, 32_000, 1)),
        Case::lossy("o_vorbis_chained.ogg", Read(88_238, 32_000, 1)).warns("2 Ogg streams"),
        Case::lossy("o_vorbis_cut.ogg", Refused(&["cut short", "again"])),
        Case::new("wrong-byte.ogg", wrong_byte, Refused(&["damaged", "checksum", "again"])),
        Case::new("wrong-byte.opus", opus_wrong_byte, Refused(&["damaged", "checksum", "again"])),
        Case::lossy("o_opus_51.opus", Refused(&["6 channels", "stereo"])),
        Case::lossy("o_opus_preskip.opus", Read(60_013, 48_000, 1)).by_ffmpeg(),
        Case::lossy("o_opus_chained.opus", Read(120_026, 48_000, 1)).warns("2 Ogg streams").by_ffmpeg(),
        Case { gain: 0.501_187, ..Case::lossy("o_opus_gain.opus", Read(60_013, 48_000, 1)) }.by_ffmpeg(),
    ]);
    let folder = tempfile::tempdir().unwrap();
    Case::lossy("o_opus_preskip.opus", opus).check(folder.path(), &Ffmpeg::absent());
}

#[test]
fn aac_alac_and_the_sound_of_videos_are_read() {
    let cut = |name: &'static str, at: f64| {
        let mut case = Case::lossy(name, Refused(&["cut short", "again"]));
        case.bytes.truncate((case.bytes.len() as f64 * at) as usize);
        case
    };
    let mut damaged = awkward("a_adts.aac");
    damaged[5_000..5_400].fill(0);
    check(&[
        Case::lossy("a_adts.aac", Read(44_123, 44_100, 1)).within(3_072),
        Case::new("damaged.aac", damaged, Refused(&["damaged", "again"])),
        cut("a_adts.aac", 0.5),
        Case::lossy("a_edit.m4a", Read(44_123, 44_100, 1)),
        cut("a_edit.m4a", 0.5),
        cut("a_edit.m4a", 0.99),
        Case::new("a_alac.m4a", awkward("a_alac.m4a"), Read(30_011, 44_100, 2)),
        Case::lossy("a_frag.mp4", Read(44_123, 44_100, 1)).within(2_048),
        cut("a_frag.mp4", 0.5),
        Case::lossy("v_video.mp4", Read(48_017, 48_000, 2)),
        Case::lossy("v_silent.mp4", Refused(&["no audio track", "sound"])),
        Case::lossy("v_video.mkv", Read(48_017, 48_000, 1)).within(2_048),
        cut("v_video.mkv", 0.7),
        Case::lossy("v_opus.webm", Read(48_017, 48_000, 1)).within(960).by_ffmpeg(),
        cut("v_opus.webm", 0.7),
    ]);
    let folder = tempfile::tempdir().unwrap();
    Case::lossy("v_opus.webm", Refused(&["Opus in Matroska", "Install ffmpeg"]))
        .check(folder.path(), &Ffmpeg::absent());
}

#[test]
fn what_is_not_audio_is_named() {
    check(&[
        Case::new("empty.wav", Vec::new(), Refused(&["empty", "again"])),
        Case::new("text.wav", b"not audio at all\n".repeat(1_000), Refused(&["not audio but text"])),
        Case::new("playlist.m3u8", b"#EXTM3U\nhttp://example.org/a.mp3\n".to_vec(), Refused(&["text"])),
        Case::new("zeros.wav", vec![0; 5_000], Refused(&["not audio but zeros"])),
        Case::new("a.pdf", b"%PDF-1.7 \xFF".to_vec(), Refused(&["PDF"])),
        Case::new(
            "noise.bin",
            (0..5_000_u32).map(|n| (n.wrapping_mul(2_654_435_769) >> 20) as u8 | 1).collect(),
            Refused(&["not audio of a known format"]),
        ),
    ]);
}

#[test]
fn samples_that_are_not_finite_are_refused() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut audio = floats(FRAMES, RATE, 1);
        audio[4_000..4_004].copy_from_slice(&value.to_le_bytes());
        let bytes = wav(&[&format(3, 1, RATE, 32), &chunk(b"data", &audio)]);
        let refused = Refused(&["sample 1000 of channel 1", "not a number", "audio editor"]);
        check(&[Case::new("nan.wav", bytes, refused)]);
    }
}

#[test]
fn codecs_that_only_ffmpeg_reads_need_it() {
    for (head, kind) in [
        (&b"wvpk\x10\x20\x00\x00"[..], "WavPack"),
        (b"\x30\x26\xB2\x75\x8E\x66\xCF\x11", "Windows Media"),
        (b"RIFF\x04\x00\x00\x00AVI ", "AVI"),
    ] {
        let media = Box::new(Cursor::new(head.to_vec()));
        let error =
            AudioReader::read_with(media, Path::new("a.b"), Ffmpeg::absent()).err().unwrap().to_string();
        assert!(error.starts_with("a.b: ") && error.contains(kind), "{error}");
        assert!(error.contains("Install ffmpeg") && error.contains("convert"), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn ffmpeg_that_drops_samples_is_an_error() {
    let ffmpeg = Ffmpeg::at(data("fake-ffmpeg.sh"));
    let media = Box::new(Cursor::new(b"wvpk\x10\x20\x00\x00".to_vec()));
    let mut reader = AudioReader::read_with(media, Path::new("a.wv"), ffmpeg).unwrap();
    assert_eq!((reader.sample_rate(), reader.channels()), (8_000, 1));
    let error = loop {
        match reader.next_block() {
            Ok(block) => assert!(block.is_some(), "the file ended without an error"),
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("a.wv: damaged: ffmpeg decodes 1.000 s of 2.000 s"), "{error}");
}

#[cfg(unix)]
#[test]
fn ffmpeg_that_fails_is_an_error_with_its_reason() {
    let ffmpeg = Ffmpeg::at("/bin/false".into());
    let media = Box::new(Cursor::new(b"wvpk\x10\x20\x00\x00".to_vec()));
    let error = AudioReader::read_with(media, Path::new("a.wv"), ffmpeg).err().unwrap().to_string();
    assert!(error.contains("a.wv: WavPack: ffmpeg fails: exit status: 1"), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn named_pipe_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fifo.wav");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let writer = path.clone();
    let bytes = wav(&[&format(1, 1, RATE, 16), &chunk(b"data", &pcm())]);
    let thread = std::thread::spawn(move || std::fs::write(writer, bytes).unwrap());
    let read = read_all(&path).unwrap();
    thread.join().unwrap();
    assert_eq!(read[0].len() as u64, FRAMES);
}

#[test]
fn wav_is_decoded_exactly_at_its_own_rate() {
    let folder = tempfile::tempdir().unwrap();
    for (rate, channels, length) in
        [(44_100, 1, 1), (48_000, 2, 10_007), (96_000, 2, 480), (22_051, 1, 5_000)]
    {
        let audio: Vec<Vec<f32>> = (0..channels)
            .map(|channel| (0..length).map(|n| ((n * 7 + channel) % 100) as f32 / 128.0 - 0.3).collect())
            .collect();
        let path = folder.path().join("any.wav");
        write_wav(&path, rate, &audio);
        let reader = AudioReader::open(&path).unwrap();
        assert_eq!((reader.sample_rate(), reader.channels()), (rate, channels));
        assert_eq!(reader.length(), Some(length as u64));
        assert_eq!(read_all(&path).unwrap(), audio);
    }
}

/// Path of a file in `tests/data`: 0.5·sin(2π·440·t), 64,077 samples at 32 kHz, mono, encoded by libsndfile.
fn tone(name: &str) -> PathBuf {
    data(name)
}

#[test]
fn compressed_files_are_decoded_completely_without_offset() {
    for name in ["tone.flac", "tone.mp3", "tone.ogg"] {
        assert_eq!(AudioReader::open(&tone(name)).unwrap().sample_rate(), 32_000);
        let audio = read_all(&tone(name)).unwrap();
        assert_eq!((audio.len(), audio[0].len()), (1, 64_077), "{name}");
        let expected = |n: usize| 0.5 * (TAU * 440.0 * n as f64 / 32_000.0).sin() as f32;
        let worst =
            audio[0].iter().enumerate().map(|(n, sample)| (sample - expected(n)).abs()).fold(0.0, f32::max);
        assert!(worst < 0.05, "{name}: error of {worst}");
    }
}

#[test]
fn compressed_file_with_a_wrong_byte_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["tone.flac", "tone.ogg"] {
        let mut bytes = std::fs::read(tone(name)).unwrap();
        let middle = 3 * bytes.len() / 4;
        bytes[middle] ^= 0x55;
        std::fs::write(folder.path().join(name), bytes).unwrap();
        let message = refusal(&folder.path().join(name));
        assert!(message.contains("Get the file again"), "{message}");
    }
}

#[test]
fn error_names_a_missing_or_unreadable_file() {
    let folder = tempfile::tempdir().unwrap();
    assert!(refusal(&folder.path().join("missing.wav")).contains("cannot be opened"));
    assert!(refusal(folder.path()).contains("folder"));
}

#[test]
fn panic_of_a_decoder_is_an_error() {
    let message = catch_panic::<()>(Path::new("a.wav"), || panic!("overflow")).unwrap_err().to_string();
    assert!(message.contains("a.wav: damaged") && message.contains("Get the file again"), "{message}");
}

#[test]
fn file_without_samples_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    write_wav(&folder.path().join("silent.wav"), 48_000, &[vec![]]);
    assert!(refusal(&folder.path().join("silent.wav")).contains("contains no audio"));
}

#[test]
fn truncated_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.wav");
    write_wav(&path, 48_000, &[vec![0.1; 20_000]]);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert!(refusal(&path).contains("ends before its audio"));
}

#[test]
fn more_than_two_channels_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("surround.wav");
    write_wav(&path, 48_000, &vec![vec![0.1; 100]; 6]);
    let message = refusal(&path);
    assert!(message.contains("6 channels") && message.contains("Mix the file down"), "{message}");
}

#[test]
fn unsupported_sample_rate_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slow.wav");
    write_wav(&path, 100, &[vec![0.1; 100]]);
    let message = refusal(&path);
    assert!(message.contains("100 Hz") && message.contains("Resample"), "{message}");
}
