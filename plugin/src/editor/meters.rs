//! The meters: levels of input, output and removed sound with held peaks, and presence of the described sound.

use egui::accesskit::Role;
use egui::{Align2, Color32, Rect, Sense, Ui, WidgetInfo, lerp, pos2, remap_clamp, vec2};
use sift_engine::dsp::analyzer::PeakLevels;

use super::theme;

/// Width of all meters together, in points.
pub const WIDTH: f32 = 124.0;
/// Levels at the ends of a meter, in dBFS.
const RANGE: std::ops::RangeInclusive<f32> = -60.0..=0.0;
/// Rate at which a shown level falls, in decibels per second.
const FALL_RATE: f32 = 24.0;
/// Seconds for which a peak is held.
const PEAK_HOLD: f64 = 1.5;
/// Short label and full name of each meter.
const NAMES: [(&str, &str); 3] = [("In", "Input"), ("Out", "Output"), ("Cut", "Removed")];
/// Height of a meter's label, in points.
const LABEL_HEIGHT: f32 = 15.0;

/// One shown level: rises at once and falls slowly.
#[derive(Clone, Copy)]
struct Level {
    /// In dBFS.
    shown: f32,
    /// Held peak, in dBFS.
    held: f32,
    /// Time of the held peak, in seconds.
    held_since: f64,
}

impl Default for Level {
    fn default() -> Self {
        Self { shown: f32::NEG_INFINITY, held: f32::NEG_INFINITY, held_since: 0.0 }
    }
}

impl Level {
    /// Updates the level to a linear `peak` at the time `now`, `elapsed` seconds after the last update.
    fn update(&mut self, peak: f32, now: f64, elapsed: f32) {
        let level = 20.0 * peak.log10();
        self.shown = level.max(self.shown - FALL_RATE * elapsed);
        if level >= self.held || now - self.held_since > PEAK_HOLD {
            (self.held, self.held_since) = (self.shown, now);
        }
    }
}

/// The meters with their state between frames.
#[derive(Default)]
pub struct Meters {
    levels: [Level; 3],
    /// Time of the last frame, in seconds.
    last_frame: f64,
}

impl Meters {
    /// Draws the meters over the available height. `presence` of the described sound is 0 to 1, or `None` if the
    /// model does not report it.
    pub fn show(&mut self, ui: &mut Ui, peaks: PeakLevels, presence: Option<f32>) {
        let now = ui.input(|input| input.time);
        let elapsed = (now - self.last_frame).clamp(0.0, 1.0) as f32;
        self.last_frame = now;
        for (level, peak) in self.levels.iter_mut().zip([peaks.input, peaks.output, peaks.removed]) {
            level.update(peak, now, elapsed);
        }

        let (rect, _) = ui.allocate_exact_size(vec2(WIDTH, ui.available_height()), Sense::hover());
        let bars = NAMES.len() + 1;
        let step = rect.width() / bars as f32;
        let cell = |index: usize| {
            let left = rect.left() + index as f32 * step;
            Rect::from_x_y_ranges(left..=left + step - 5.0, rect.y_range())
        };
        for (index, ((short, name), level)) in NAMES.into_iter().zip(self.levels).enumerate() {
            let height = |level: f32| remap_clamp(level, RANGE, 0.0..=1.0);
            let description = match level.held {
                held if held < *RANGE.start() => format!("{name}: silent"),
                held => format!("{name}: peak {held:.1} dB"),
            };
            let fill = if level.held > -0.1 { theme::of(ui).warning } else { theme::of(ui).accent_dim };
            bar(ui, cell(index), short, &description, height(level.shown), Some(height(level.held)), fill);
        }
        let (description, share) = match presence {
            Some(presence) => {
                (format!("Presence of the described sound: {:.0} %", 100.0 * presence), presence)
            }
            None => ("This model does not report the presence of the sound".into(), 0.0),
        };
        bar(ui, cell(NAMES.len()), "Found", &description, share, None, theme::of(ui).accent);
    }
}

/// Draws one bar with its label below. `share` and the peak `held` are shares of its height.
fn bar(ui: &Ui, rect: Rect, name: &str, description: &str, share: f32, held: Option<f32>, fill: Color32) {
    let response = ui.interact(rect, ui.scope_id().with(("meter", name)), Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(Role::Meter, true, description));
    let (value, range) = match held {
        Some(held) => (lerp(RANGE, held), RANGE),
        None => (100.0 * share, 0.0..=100.0),
    };
    ui.ctx().accesskit_node_builder(response.id, |node| {
        node.set_numeric_value(value.into());
        node.set_min_numeric_value((*range.start()).into());
        node.set_max_numeric_value((*range.end()).into());
    });
    let groove = rect.with_max_y(rect.bottom() - LABEL_HEIGHT);
    let at = |share: f32| groove.bottom() - share * groove.height();
    let painter = ui.painter();
    painter.rect_filled(groove, 3, theme::of(ui).surface);
    painter.rect_filled(groove.with_min_y(at(share)), 3, fill);
    if let Some(held) = held.filter(|held| *held > 0.0) {
        painter.hline(groove.x_range(), at(held), (1.5, theme::of(ui).text));
    }
    let under = pos2(rect.center().x, rect.bottom());
    painter.text(
        under,
        Align2::CENTER_BOTTOM,
        name,
        theme::font(theme::SMALL - 3.0),
        theme::of(ui).text_weak,
    );
    response.on_hover_text(description);
}

#[cfg(test)]
mod tests {
    use egui_kittest::Harness;
    use egui_kittest::kittest::Queryable;

    use super::*;

    #[test]
    fn level_rises_at_once_falls_slowly_and_holds_its_peak() {
        let mut level = Level::default();
        level.update(0.5, 0.0, 0.1);
        assert!((level.shown + 6.02).abs() < 0.01);
        level.update(0.0, 0.5, 0.5);
        assert!((level.shown + 18.02).abs() < 0.01);
        assert!((level.held + 6.02).abs() < 0.01);
        level.update(0.0, 2.0, 1.5);
        assert!(level.held < -50.0, "the peak is no longer held");
    }

    #[test]
    fn meters_have_descriptions() {
        let show = |ui: &mut Ui, meters: &mut Meters| {
            meters.show(ui, PeakLevels { input: 1.0, output: 0.5, removed: 0.0 }, Some(0.83));
        };
        let editor = Harness::builder().with_size(vec2(200.0, 120.0)).build_ui_state(show, Meters::default());
        editor.get_by_label("Input: peak 0.0 dB");
        editor.get_by_label("Output: peak -6.0 dB");
        editor.get_by_label("Removed: silent");
        editor.get_by_label("Presence of the described sound: 83 %");
    }
}
