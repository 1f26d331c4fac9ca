//! A plot of the sounds of a recording over time, above its spectrogram.

use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::text::{Alignment, Baseline};
use sift_engine::offline::timeline::{Timeline, TimelineSound};

use crate::spectrogram::Spectrogram;
use crate::{BOTTOM, Canvas, LEFT, PANEL, PLOT, Picture, TITLE};

/// Most sounds that are drawn, those with the longest time.
const MAX_SOUNDS: usize = 16;

/// Height of a sound's name and of its bar, in pixels.
const NAME: u32 = 15;
const BAR: u32 = 9;
const ROW: u32 = NAME + BAR + 5;

/// Width of a character, in pixels.
const CHARACTER: u32 = 7;

/// Colour of the time in which a sound is not heard.
const TRACK: Rgb888 = Rgb888::new(236, 236, 240);
/// Colours of a sound that is heard with a probability of 0.5, and of 1.
const UNSURE: Rgb888 = Rgb888::new(190, 200, 235);
const SURE: Rgb888 = Rgb888::new(70, 50, 160);

/// The spectrogram of a recording, below the sounds that are heard in it.
pub struct TimelinePlot {
    pub spectrogram: Spectrogram,
}

impl TimelinePlot {
    /// Creates a plot with an empty spectrogram for `sample_rate` hertz.
    pub fn new(sample_rate: u32, channels: usize) -> Self {
        Self { spectrogram: Spectrogram::new(sample_rate, channels) }
    }

    /// Draws the plot: a bar per sound, darker where it is surer, with its name and highest probability.
    pub fn draw(mut self, timeline: &Timeline) -> Picture {
        self.spectrogram.finish();
        let sounds = longest(timeline);
        let rows = sounds.len().max(1) as u32 * ROW;
        let bottom = TITLE + rows + TITLE + PANEL;
        let mut canvas = Canvas::new(bottom + 8 + BOTTOM);
        canvas.text("Sounds", LEFT, TITLE - 5, Alignment::Left, Baseline::Bottom);
        if sounds.is_empty() {
            canvas.text("none that the model knows", LEFT, TITLE, Alignment::Left, Baseline::Top);
        }
        for (top, sound) in (TITLE..).step_by(ROW as usize).zip(sounds) {
            canvas.sound(sound, timeline.seconds, top);
        }
        let reference = self.spectrogram.peak().max(f32::MIN_POSITIVE);
        canvas.spectrogram("Spectrogram", &self.spectrogram, reference, bottom - PANEL);
        canvas.seconds(timeline.seconds, bottom);
        canvas.0
    }
}

/// The sounds with the longest time, in the order of the timeline.
fn longest(timeline: &Timeline) -> Vec<&TimelineSound> {
    let mut seconds: Vec<f64> = timeline.sounds.iter().map(TimelineSound::seconds).collect();
    seconds.sort_by(|a, b| b.total_cmp(a));
    let shortest = seconds.get(MAX_SOUNDS - 1).copied().unwrap_or(0.0);
    timeline.sounds.iter().filter(|sound| sound.seconds() >= shortest).take(MAX_SOUNDS).collect()
}

impl Canvas {
    /// Draws the row of a sound: its name where it begins, and its bar.
    fn sound(&mut self, sound: &TimelineSound, seconds: f64, top: u32) {
        let x = |time: f64| LEFT + (time / seconds.max(f64::MIN_POSITIVE) * f64::from(PLOT)) as u32;
        let name = format!("{} {:.2}", sound.name, sound.probability());
        let width = CHARACTER * name.chars().count() as u32;
        let begin = sound.segments.first().map_or(LEFT, |first| x(first.start));
        let place = begin.min((LEFT + PLOT).saturating_sub(width)).max(LEFT);
        self.text(&name, place, top, Alignment::Left, Baseline::Top);
        self.rectangle(LEFT, top + NAME, PLOT, BAR, TRACK);
        for segment in &sound.segments {
            let (start, end) = (x(segment.start), x(segment.end));
            let width = end.saturating_sub(start).max(1);
            self.rectangle(start, top + NAME, width, BAR, bar_colour(segment.probability));
        }
    }
}

/// The colour between [`UNSURE`] and [`SURE`] for a probability from 0.5 to 1.
fn bar_colour(probability: f32) -> Rgb888 {
    let share = (2.0 * probability - 1.0).clamp(0.0, 1.0);
    let mix = |unsure: u8, sure: u8| {
        (f32::from(unsure) + share * (f32::from(sure) - f32::from(unsure))).round() as u8
    };
    Rgb888::new(mix(UNSURE.r(), SURE.r()), mix(UNSURE.g(), SURE.g()), mix(UNSURE.b(), SURE.b()))
}

#[cfg(test)]
mod tests {
    use sift_engine::offline::timeline::Segment;

    use super::*;
    use crate::WIDTH;

    fn sound(name: &str, segments: &[(f64, f64, f32)]) -> TimelineSound {
        let segments =
            segments.iter().map(|&(start, end, probability)| Segment { start, end, probability }).collect();
        TimelineSound { concept: 0, name: name.into(), segments }
    }

    fn draw(sounds: Vec<TimelineSound>) -> Picture {
        let mut plot = TimelinePlot::new(8_000, 1);
        plot.spectrogram.push(&[vec![0.1; 80_000]]);
        plot.draw(&Timeline { seconds: 10.0, sounds })
    }

    /// The colour of a row's bar at `seconds`.
    fn bar(picture: &Picture, row: u32, seconds: f64) -> Rgb888 {
        let x = LEFT + (seconds / 10.0 * f64::from(PLOT)) as u32;
        let y = TITLE + row * ROW + NAME + BAR / 2;
        let [r, g, b] = picture.pixels[(y * WIDTH + x) as usize];
        Rgb888::new(r, g, b)
    }

    #[test]
    fn bars_cover_the_time_of_their_sounds() {
        let picture = draw(vec![
            sound("rain", &[(0.0, 2.0, 0.5), (6.0, 10.0, 1.0)]),
            sound("a sound of a long name at the end", &[(9.5, 10.0, 0.75)]),
        ]);
        for (row, seconds, colour) in
            [(0, 1.0, UNSURE), (0, 3.0, TRACK), (0, 8.0, SURE), (1, 5.0, TRACK), (1, 9.7, bar_colour(0.75))]
        {
            assert_eq!(bar(&picture, row, seconds), colour, "row {row} at {seconds} s");
        }
        assert_eq!(picture.pixels.len() as u32, WIDTH * picture.height);
    }

    #[test]
    fn picture_grows_with_the_sounds_up_to_a_limit() {
        let height = |count: usize| draw(vec![sound("rain", &[(0.0, 1.0, 0.9)]); count]).height;
        assert_eq!(height(0), height(1));
        assert_eq!(height(2), height(1) + ROW);
        assert_eq!(height(40), height(MAX_SOUNDS));
    }
}
