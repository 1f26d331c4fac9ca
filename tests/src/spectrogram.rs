//! Pictures of sound: time to the right, frequency upwards on a logarithmic axis, level as colour.

use embedded_graphics::mono_font::{MonoTextStyle, ascii::FONT_8X13};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::text::{Alignment, Baseline, Text, TextStyle, TextStyleBuilder};
use image::{Rgb, RgbImage};
use realfft::RealFftPlanner;

/// Samples a frame of the transform.
const FRAME: usize = 2048;
/// Lowest and highest frequency shown, in Hz.
const FREQUENCIES: (f64, f64) = (60.0, 20_000.0);
/// Level of the darkest colour below that of the brightest, in dB.
const RANGE: f64 = 80.0;

const PANEL_WIDTH: u32 = 1100;
const PANEL_HEIGHT: u32 = 220;
const MARGIN_LEFT: u32 = 60;
const MARGIN_RIGHT: u32 = 20;
const MARGIN_TOP: u32 = 24;
const MARGIN_BOTTOM: u32 = 24;

const BACKGROUND: Rgb<u8> = Rgb([255, 255, 255]);
const INK: Rgb888 = Rgb888::new(40, 40, 40);

/// The colour map *magma* at nine equal distances (N. Smith, S. van der Walt, "A better default
/// colormap for Matplotlib", 2015; CC0): its lightness grows evenly.
const MAGMA: [[u8; 3]; 9] = [
    [0, 0, 4],
    [28, 16, 68],
    [79, 18, 123],
    [129, 37, 129],
    [181, 54, 122],
    [229, 80, 100],
    [251, 135, 97],
    [254, 194, 135],
    [252, 253, 191],
];

/// One picture of several mono sounds of the same length at `rate` Hz, one below the other, each
/// under its title. The same level has the same colour in all.
///
/// # Panics
/// If there is no sound, or it is shorter than a frame of the transform.
pub fn draw(sounds: &[(&str, &[f32])], rate: f64) -> RgbImage {
    let levels: Vec<Levels> = sounds.iter().map(|(_, sound)| Levels::of(sound)).collect();
    let loudest = levels.iter().map(Levels::loudest).fold(f64::MIN, f64::max);
    let panel = MARGIN_TOP + PANEL_HEIGHT + MARGIN_BOTTOM;
    let mut canvas = Canvas(RgbImage::from_pixel(
        MARGIN_LEFT + PANEL_WIDTH + MARGIN_RIGHT,
        panel * sounds.len() as u32,
        BACKGROUND,
    ));
    for (index, ((title, sound), levels)) in sounds.iter().zip(&levels).enumerate() {
        let top = panel * index as u32 + MARGIN_TOP;
        for y in 0..PANEL_HEIGHT {
            let bin = frequency_at(y) / rate * FRAME as f64;
            for x in 0..PANEL_WIDTH {
                let time = f64::from(x) / f64::from(PANEL_WIDTH - 1);
                let shade = 1.0 + (levels.at(time, bin) - loudest) / RANGE;
                canvas.0.put_pixel(MARGIN_LEFT + x, top + y, magma(shade));
            }
        }
        canvas.axes(title, top, sound.len() as f64 / rate);
    }
    canvas.0
}

/// The frequency in Hz of the row `y` of a panel.
fn frequency_at(y: u32) -> f64 {
    let (low, high) = FREQUENCIES;
    high * (low / high).powf(f64::from(y) / f64::from(PANEL_HEIGHT - 1))
}

/// The row of a panel that shows `frequency` Hz.
fn row_of(frequency: f64) -> u32 {
    let (low, high) = FREQUENCIES;
    ((frequency / high).ln() / (low / high).ln() * f64::from(PANEL_HEIGHT - 1)).round() as u32
}

/// The colour for 0 (darkest) to 1 (brightest).
fn magma(shade: f64) -> Rgb<u8> {
    let position = shade.clamp(0.0, 1.0) * (MAGMA.len() - 1) as f64;
    let below = (position as usize).min(MAGMA.len() - 2);
    let part = position - below as f64;
    let mix = |channel: usize| {
        let (a, b) = (f64::from(MAGMA[below][channel]), f64::from(MAGMA[below + 1][channel]));
        (a + part * (b - a)).round() as u8
    };
    Rgb([mix(0), mix(1), mix(2)])
}

/// Levels in dB, frame by frame, bin by bin.
struct Levels(Vec<Vec<f64>>);

impl Levels {
    /// The sound's spectrogram: Hann window, as many frames as the picture has columns.
    fn of(sound: &[f32]) -> Self {
        assert!(sound.len() >= FRAME, "a sound shorter than a frame");
        let fft = RealFftPlanner::<f32>::new().plan_fft_forward(FRAME);
        let mut frame = fft.make_input_vec();
        let mut spectrum = fft.make_output_vec();
        let window: Vec<f32> =
            (0..FRAME).map(|n| 0.5 - 0.5 * (std::f32::consts::TAU * n as f32 / FRAME as f32).cos()).collect();
        let last = sound.len() - FRAME;
        Self(
            (0..PANEL_WIDTH as usize)
                .map(|column| {
                    let start = column * last / (PANEL_WIDTH as usize - 1);
                    for ((sample, weight), value) in frame.iter_mut().zip(&window).zip(&sound[start..]) {
                        *sample = weight * value;
                    }
                    fft.process(&mut frame, &mut spectrum).expect("buffers of the transform's own lengths");
                    spectrum.iter().map(|bin| 10.0 * f64::from(bin.norm_sqr()).max(1e-20).log10()).collect()
                })
                .collect(),
        )
    }

    fn loudest(&self) -> f64 {
        self.0.iter().flatten().copied().fold(f64::MIN, f64::max)
    }

    /// The level at `time`, 0–1 of the whole, and the bin `bin`, between bins interpolated.
    fn at(&self, time: f64, bin: f64) -> f64 {
        let column = &self.0[(time * (self.0.len() - 1) as f64).round() as usize];
        let below = (bin as usize).min(column.len() - 2);
        let part = (bin - below as f64).clamp(0.0, 1.0);
        column[below] + part * (column[below + 1] - column[below])
    }
}

/// The picture as something that text can be drawn on.
struct Canvas(RgbImage);

impl Canvas {
    /// Title, frequencies at the left and seconds below the panel that begins in the row `top`.
    fn axes(&mut self, title: &str, top: u32, seconds: f64) {
        let (left, bottom) = (MARGIN_LEFT as i32, (top + PANEL_HEIGHT) as i32);
        self.text(title, left, top as i32 - 4, Alignment::Left, Baseline::Bottom);
        self.text("Hz", left - 8, top as i32 - 4, Alignment::Right, Baseline::Bottom);
        for (frequency, label) in [(100.0, "100"), (1000.0, "1k"), (10_000.0, "10k")] {
            let y = top + row_of(frequency);
            self.mark(MARGIN_LEFT - 5..MARGIN_LEFT, y..y + 1);
            self.text(label, left - 8, y as i32, Alignment::Right, Baseline::Middle);
        }
        for second in 0..=seconds as u32 {
            let x = MARGIN_LEFT + (f64::from(second) / seconds * f64::from(PANEL_WIDTH - 1)).round() as u32;
            self.mark(x..x + 1, bottom as u32..bottom as u32 + 5);
            let unit = if second == 0 { " s" } else { "" };
            self.text(&format!("{second}{unit}"), x as i32, bottom + 7, Alignment::Center, Baseline::Top);
        }
    }

    fn mark(&mut self, columns: std::ops::Range<u32>, rows: std::ops::Range<u32>) {
        for x in columns {
            for y in rows.clone() {
                self.0.put_pixel(x, y, Rgb([INK.r(), INK.g(), INK.b()]));
            }
        }
    }

    fn text(&mut self, text: &str, x: i32, y: i32, alignment: Alignment, baseline: Baseline) {
        let style: TextStyle = TextStyleBuilder::new().alignment(alignment).baseline(baseline).build();
        let font = MonoTextStyle::new(&FONT_8X13, INK);
        let Ok(_) = Text::with_text_style(text, Point::new(x, y), font, style).draw(self);
    }
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        Size::new(self.0.width(), self.0.height())
    }
}

impl DrawTarget for Canvas {
    type Color = Rgb888;
    type Error = std::convert::Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(&mut self, pixels: I) -> Result<(), Self::Error> {
        for Pixel(point, colour) in pixels {
            let (Ok(x), Ok(y)) = (u32::try_from(point.x), u32::try_from(point.y)) else {
                continue;
            };
            if x < self.0.width() && y < self.0.height() {
                self.0.put_pixel(x, y, Rgb([colour.r(), colour.g(), colour.b()]));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::Audio;

    /// Brightness of a colour of the map, which grows with the level.
    fn brightness(colour: &Rgb<u8>) -> u32 {
        colour.0.iter().map(|&channel| u32::from(channel)).sum()
    }

    #[test]
    fn a_tone_is_brightest_at_its_frequency() {
        let tone = Audio::sine(1, 48_000, 48_000.0, 1000.0, 0.5);
        let picture = draw(&[("a tone", tone.channel(0))], 48_000.0);
        let column = MARGIN_LEFT + PANEL_WIDTH / 2;
        let brightest =
            (0..PANEL_HEIGHT).max_by_key(|y| brightness(picture.get_pixel(column, MARGIN_TOP + y))).unwrap();
        assert!(brightest.abs_diff(row_of(1000.0)) <= 1, "row {brightest}, not {}", row_of(1000.0));
    }

    #[test]
    fn rows_and_frequencies_belong_together() {
        assert_eq!(row_of(FREQUENCIES.1), 0);
        assert_eq!(row_of(FREQUENCIES.0), PANEL_HEIGHT - 1);
        assert_eq!(row_of(frequency_at(100)), 100);
    }
}
