//! Plots of spectrograms: three below each other with common scales, or one below the sounds that are heard in it.

pub mod spectrogram;
pub mod timeline;

use std::convert::Infallible;
use std::io::{self, BufWriter, Write};

use embedded_graphics::mono_font::MonoTextStyle;
use embedded_graphics::mono_font::ascii::FONT_7X13;
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;
use embedded_graphics::text::{Alignment, Baseline, Text, TextStyleBuilder};

use self::spectrogram::{MIN_FREQUENCY, ROWS, Spectrogram};

/// Width of the plot, in pixels.
pub const WIDTH: u32 = 1_100;
/// Height of the plot of three spectrograms, in pixels.
pub const HEIGHT: u32 = 3 * PANEL_STEP + BOTTOM;
/// Margins and sizes, in pixels.
const LEFT: u32 = 64;
const RIGHT: u32 = 84;
const TITLE: u32 = 24;
const PANEL: u32 = ROWS as u32;
const PANEL_STEP: u32 = TITLE + PANEL + 8;
const BOTTOM: u32 = 36;
const PLOT: u32 = WIDTH - LEFT - RIGHT;

/// Level range from the darkest to the brightest colour, in decibels.
const LEVEL_RANGE: f32 = 80.0;

const BACKGROUND: Rgb888 = Rgb888::WHITE;
const FOREGROUND: Rgb888 = Rgb888::new(40, 40, 40);

/// A drawn plot.
pub struct Picture {
    /// In pixels; the width is [`WIDTH`].
    height: u32,
    /// Red, green and blue of each pixel, row by row.
    pixels: Vec<[u8; 3]>,
}

impl Picture {
    /// Writes the picture as PNG.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn write_png(&self, to: impl Write) -> io::Result<()> {
        let mut to = BufWriter::new(to);
        let mut encoder = png::Encoder::new(&mut to, WIDTH, self.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut encoder = encoder.write_header()?;
        encoder.write_image_data(self.pixels.as_flattened())?;
        encoder.finish()?;
        to.flush()
    }
}

/// The spectrograms of one rendering: input, target and residual.
pub struct SpectrogramPlot {
    pub mixture: Spectrogram,
    pub target: Spectrogram,
    pub residual: Spectrogram,
}

impl SpectrogramPlot {
    /// Creates empty spectrograms for `sample_rate` hertz.
    pub fn new(sample_rate: u32, channels: usize) -> Self {
        let empty = || Spectrogram::new(sample_rate, channels);
        Self { mixture: empty(), target: empty(), residual: empty() }
    }

    /// Draws the plot.
    pub fn draw(mut self) -> Picture {
        for spectrogram in [&mut self.mixture, &mut self.target, &mut self.residual] {
            spectrogram.finish();
        }
        let mut canvas = Canvas::new(HEIGHT);
        // The mixture's loudest point is 0 dB in all three.
        let reference = self.mixture.peak().max(f32::MIN_POSITIVE);
        let panels = [("Mixture", &self.mixture), ("Target", &self.target), ("Residual", &self.residual)];
        for (top, (title, spectrogram)) in (TITLE..).step_by(PANEL_STEP as usize).zip(panels) {
            canvas.spectrogram(title, spectrogram, reference, top);
        }
        canvas.seconds(self.mixture.duration(), HEIGHT - BOTTOM - 8);
        canvas.0
    }
}

struct Canvas(Picture);

impl Canvas {
    /// Creates an empty canvas of `height` pixels.
    fn new(height: u32) -> Self {
        let background = [BACKGROUND.r(), BACKGROUND.g(), BACKGROUND.b()];
        Self(Picture { height, pixels: vec![background; (WIDTH * height) as usize] })
    }

    /// Draws a spectrogram from `top` on, with its scales, and `title` above it.
    fn spectrogram(&mut self, title: &str, spectrogram: &Spectrogram, reference: f32, top: u32) {
        self.text(title, LEFT, top - 5, Alignment::Left, Baseline::Bottom);
        self.panel(spectrogram, reference, top);
        self.frequencies(spectrogram, top);
        self.decibels(top);
    }

    /// Does nothing outside the picture.
    fn set_pixel(&mut self, x: u32, y: u32, colour: [u8; 3]) {
        if x < WIDTH && y < self.0.height {
            self.0.pixels[(y * WIDTH + x) as usize] = colour;
        }
    }

    fn panel(&mut self, spectrogram: &Spectrogram, reference: f32, top: u32) {
        for x in 0..PLOT {
            let Some(column) = spectrogram.at(f64::from(x) / f64::from(PLOT)) else { return };
            for (y, power) in column.iter().rev().enumerate() {
                let decibels = 10.0 * (power / reference).max(1e-30).log10();
                self.set_pixel(LEFT + x, top + y as u32, colour(1.0 + decibels / LEVEL_RANGE));
            }
        }
    }

    fn frequencies(&mut self, spectrogram: &Spectrogram, top: u32) {
        let nyquist = spectrogram.nyquist();
        for (frequency, label) in [
            (100.0, "100 Hz"),
            (300.0, "300 Hz"),
            (1_000.0, "1 kHz"),
            (3_000.0, "3 kHz"),
            (10_000.0, "10 kHz"),
            (30_000.0, "30 kHz"),
        ] {
            let height = (frequency / MIN_FREQUENCY).ln() / (nyquist / MIN_FREQUENCY).ln();
            if height < 1.0 {
                let y = top + ((1.0 - height) * PANEL as f32) as u32;
                self.rectangle(LEFT - 4, y, 4, 1, FOREGROUND);
                self.text(label, LEFT - 7, y, Alignment::Right, Baseline::Middle);
            }
        }
    }

    fn decibels(&mut self, top: u32) {
        let left = LEFT + PLOT + 12;
        for y in 0..PANEL {
            let [r, g, b] = colour(1.0 - y as f32 / PANEL as f32);
            self.rectangle(left, top + y, 12, 1, Rgb888::new(r, g, b));
        }
        for (n, label) in ["0 dB", "-20", "-40", "-60", "-80"].into_iter().enumerate() {
            let y = top + n as u32 * (PANEL - 1) / 4;
            self.rectangle(left + 12, y, 4, 1, FOREGROUND);
            self.text(label, left + 20, y, Alignment::Left, Baseline::Middle);
        }
    }

    /// Draws the time axis below `bottom`.
    fn seconds(&mut self, duration: f64, bottom: u32) {
        let step = tick_step(duration);
        let decimals = (-step.log10().floor()).max(0.0) as usize;
        for n in 0..=(duration / step) as u32 {
            let time = f64::from(n) * step;
            let x = LEFT + (time / duration * f64::from(PLOT - 1)) as u32;
            self.rectangle(x, bottom, 1, 4, FOREGROUND);
            let label = format!("{time:.decimals$}{}", if n == 0 { " s" } else { "" });
            self.text(&label, x, bottom + 7, Alignment::Center, Baseline::Top);
        }
    }

    fn text(&mut self, text: &str, x: u32, y: u32, alignment: Alignment, baseline: Baseline) {
        let position = Point::new(x as i32, y as i32);
        let style = TextStyleBuilder::new().alignment(alignment).baseline(baseline).build();
        let Ok(_) = Text::with_text_style(text, position, MonoTextStyle::new(&FONT_7X13, FOREGROUND), style)
            .draw(self);
    }

    fn rectangle(&mut self, x: u32, y: u32, width: u32, height: u32, colour: Rgb888) {
        let area = Rectangle::new(Point::new(x as i32, y as i32), Size::new(width, height));
        let Ok(()) = self.fill_solid(&area, colour);
    }
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        Size::new(WIDTH, self.0.height)
    }
}

impl DrawTarget for Canvas {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(&mut self, pixels: I) -> Result<(), Infallible> {
        for Pixel(point, colour) in pixels {
            if let (Ok(x), Ok(y)) = (u32::try_from(point.x), u32::try_from(point.y)) {
                self.set_pixel(x, y, [colour.r(), colour.g(), colour.b()]);
            }
        }
        Ok(())
    }
}

/// The colour of `value` from 0 (dark) to 1 (bright).
fn colour(value: f32) -> [u8; 3] {
    colorous::MAGMA.eval_continuous(f64::from(value.clamp(0.0, 1.0))).as_array()
}

/// Interval of the time axis' labels, in seconds: 1, 2 or 5 times a power of ten, for at most twelve labels.
fn tick_step(duration: f64) -> f64 {
    let min_step = (duration / 12.0).max(1e-3);
    let power = 10_f64.powf(min_step.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|&step| step >= min_step)
        .unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plot of a tone, all of it target.
    fn plot() -> SpectrogramPlot {
        let mut plot = SpectrogramPlot::new(48_000, 2);
        let tone: Vec<f32> = (0..48_000).map(|n| (n as f32 * 0.1).sin()).collect();
        plot.mixture.push(&[&tone, &tone]);
        plot.target.push(&[&tone, &tone]);
        plot.residual.push(&[vec![0.0; 48_000], vec![0.0; 48_000]]);
        plot
    }

    #[test]
    fn png_has_the_same_size_and_all_pixels_for_every_length() {
        for plot in [plot(), SpectrogramPlot::new(8_000, 1)] {
            let picture = plot.draw();
            let mut file = Vec::new();
            picture.write_png(&mut file).unwrap();
            let mut reader = png::Decoder::new(io::Cursor::new(file)).read_info().unwrap();
            assert_eq!(reader.info().size(), (WIDTH, HEIGHT));
            let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
            reader.next_frame(&mut pixels).unwrap();
            assert!(pixels == picture.pixels.as_flattened());
        }
    }

    #[test]
    fn panels_show_mixture_target_and_residual() {
        let picture = plot().draw();
        let brightest = |n: u32| {
            let top = TITLE + n * PANEL_STEP;
            let sum =
                |y| picture.pixels[(y * WIDTH + LEFT + PLOT / 2) as usize].map(u32::from).iter().sum::<u32>();
            (top..top + PANEL).map(sum).max().unwrap()
        };
        assert!(brightest(0) > 600 && brightest(1) == brightest(0));
        assert!(brightest(2) < 20);
    }

    #[test]
    fn colours_are_brighter_for_larger_values() {
        let luminance = |value| {
            let [r, g, b] = colour(value).map(f32::from);
            0.2126 * r + 0.7152 * g + 0.0722 * b
        };
        assert!((1..=100).all(|n| luminance(n as f32 / 100.0) >= luminance((n - 1) as f32 / 100.0)));
        assert_eq!((colour(-3.0), colour(7.0)), (colour(0.0), colour(1.0)));
    }

    #[test]
    fn time_axis_has_four_to_twelve_labels() {
        for duration in [0.01, 0.9, 12.0, 59.0, 3_600.0, 100_000.0] {
            let labels = duration / tick_step(duration);
            assert!((4.0..=12.0).contains(&labels), "{labels} for {duration} s");
        }
    }
}
