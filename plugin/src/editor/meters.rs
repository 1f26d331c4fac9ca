//! The meters: input, output and what is removed, with their peaks held; and the presence of the
//! described sound.

use egui::accesskit::Role;
use egui::{Align2, Color32, Rect, Sense, Ui, WidgetInfo, pos2, remap_clamp, vec2};
use sift_engine::dsp::analyzer::Peaks;

use super::theme;

/// Of all meters together, in points.
pub const WIDTH: f32 = 124.0;
/// Levels between a meter's ends, in dBFS.
const RANGE: std::ops::RangeInclusive<f32> = -60.0..=0.0;
/// How fast a level falls, in decibels a second.
const FALL: f32 = 24.0;
/// Seconds that a peak is held.
const HOLD: f64 = 1.5;
/// What stands under a meter, and what it is called.
const NAMES: [(&str, &str); 3] = [("In", "Input"), ("Out", "Output"), ("Cut", "Removed")];
/// Height of a meter's name.
const LABEL: f32 = 15.0;

/// One level in dBFS as it is shown: up at once, down slowly.
#[derive(Clone, Copy)]
struct Level {
    shown: f32,
    held: f32,
    /// When the held peak came, in seconds.
    since: f64,
}

impl Default for Level {
    fn default() -> Self {
        Self { shown: f32::NEG_INFINITY, held: f32::NEG_INFINITY, since: 0.0 }
    }
}

impl Level {
    fn follow(&mut self, peak: f32, now: f64, elapsed: f32) {
        let level = 20.0 * peak.log10();
        self.shown = level.max(self.shown - FALL * elapsed);
        if level >= self.held || now - self.since > HOLD {
            (self.held, self.since) = (self.shown, now);
        }
    }
}

#[derive(Default)]
pub struct Meters {
    levels: [Level; 3],
    /// When they were shown last, in seconds.
    last: f64,
}

impl Meters {
    /// Draws the meters as high as there is room. `presence`: of the described sound, 0 to 1, where
    /// the model tells.
    pub fn show(&mut self, ui: &mut Ui, peaks: Peaks, presence: Option<f32>) {
        let now = ui.input(|input| input.time);
        let elapsed = (now - self.last).clamp(0.0, 1.0) as f32;
        self.last = now;
        for (level, peak) in self.levels.iter_mut().zip([peaks.input, peaks.output, peaks.removed]) {
            level.follow(peak, now, elapsed);
        }

        let (rect, _) = ui.allocate_exact_size(vec2(WIDTH, ui.available_height()), Sense::hover());
        let bars = NAMES.len() + 1;
        let pitch = rect.width() / bars as f32;
        let cell = |index: usize| {
            let left = rect.left() + index as f32 * pitch;
            Rect::from_x_y_ranges(left..=left + pitch - 5.0, rect.y_range())
        };
        for (index, ((short, name), level)) in NAMES.into_iter().zip(self.levels).enumerate() {
            let height = |level: f32| remap_clamp(level, RANGE, 0.0..=1.0);
            let said = match level.held {
                held if held < *RANGE.start() => format!("{name}: silent"),
                held => format!("{name}: peak {held:.1} dB"),
            };
            let fill = if level.held > -0.1 { theme::of(ui).warning } else { theme::of(ui).accent_dim };
            bar(ui, cell(index), short, &said, height(level.shown), Some(height(level.held)), fill);
        }
        let (said, share) = match presence {
            Some(presence) => (format!("The described sound is there: {:.0} %", 100.0 * presence), presence),
            None => ("The model does not tell whether the described sound is there".into(), 0.0),
        };
        bar(ui, cell(NAMES.len()), "There", &said, share, None, theme::of(ui).accent);
    }
}

/// One bar with its name beneath; `held` is where its peak was.
fn bar(ui: &Ui, rect: Rect, name: &str, said: &str, share: f32, held: Option<f32>, fill: Color32) {
    let response = ui.interact(rect, ui.scope_id().with(("meter", name)), Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(Role::Meter, true, said));
    let groove = rect.with_max_y(rect.bottom() - LABEL);
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
    response.on_hover_text(said);
}

#[cfg(test)]
mod tests {
    use egui_kittest::Harness;
    use egui_kittest::kittest::Queryable;

    use super::*;

    #[test]
    fn a_level_rises_at_once_falls_slowly_and_its_peak_is_held() {
        let mut level = Level::default();
        level.follow(0.5, 0.0, 0.1);
        assert!((level.shown + 6.02).abs() < 0.01);
        level.follow(0.0, 0.5, 0.5);
        assert!((level.shown + 18.02).abs() < 0.01);
        assert!((level.held + 6.02).abs() < 0.01);
        level.follow(0.0, 2.0, 1.5);
        assert!(level.held < -50.0, "the peak is let go");
    }

    #[test]
    fn every_meter_says_what_it_shows() {
        let show = |ui: &mut Ui, meters: &mut Meters| {
            meters.show(ui, Peaks { input: 1.0, output: 0.5, removed: 0.0 }, Some(0.83));
        };
        let window = Harness::builder().with_size(vec2(200.0, 120.0)).build_ui_state(show, Meters::default());
        window.get_by_label("Input: peak 0.0 dB");
        window.get_by_label("Output: peak -6.0 dB");
        window.get_by_label("Removed: silent");
        window.get_by_label("The described sound is there: 83 %");
    }
}
