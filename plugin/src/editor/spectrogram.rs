//! The scrolling spectrogram of the input, with the kept part in colour and the removed part in grey.

use egui::accesskit::Role;
use egui::{
    Align2, Color32, ColorImage, Painter, Pos2, Rect, Response, Sense, Stroke, TextureHandle, TextureOptions,
    Theme, Ui, WidgetInfo, lerp, pos2, remap, vec2,
};
use sift_engine::Mode;
use sift_engine::dsp::analyzer::{FrequencyScale, LEVEL_RANGE, ROWS, SpectrumColumn};
use sift_engine::user::preferences::SpectrogramView;

use super::theme::{self, Palette};

/// Width of the spectrogram, in hops.
const COLUMNS: usize = 512;
/// Labels of the frequency axis, in hertz.
const FREQUENCIES: [f32; 8] = [100.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0, 20_000.0];
/// Levels from black to the brightest colour, in dBFS.
const DISPLAYED_RANGE: std::ops::Range<f32> = -90.0..-10.0;
/// Brightness of the removed part, relative to the kept part.
const REMOVED_BRIGHTNESS: f32 = 0.45;

/// The views to select from, with their names.
const VIEWS: [(SpectrogramView, &str); 3] = [
    (SpectrogramView::Input, "Input"),
    (SpectrogramView::Output, "Output"),
    (SpectrogramView::Removed, "Removed"),
];

/// The parameters by which the mask changes the sound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaskDisplay {
    pub mode: Mode,
    /// 0 to 1.
    pub strength: f32,
}

impl MaskDisplay {
    /// The gain that results from the gain `mask` of the mask.
    fn gain(self, mask: f32) -> f32 {
        match self.mode {
            Mode::Isolate => 1.0 - self.strength * (1.0 - mask),
            Mode::Remove => 1.0 - self.strength * mask,
        }
    }
}

/// The spectrogram and the newest hops, from which it is drawn.
pub struct Spectrogram {
    /// Ring buffer; the oldest column is at `next`.
    columns: Vec<SpectrumColumn>,
    next: usize,
    texture: Option<TextureHandle>,
    /// Settings that the texture was drawn with.
    drawn: Option<(SpectrogramView, MaskDisplay)>,
    is_frozen: bool,
}

impl Default for Spectrogram {
    fn default() -> Self {
        let silence = SpectrumColumn { level: [0; ROWS], mask: [255; ROWS] };
        Self { columns: vec![silence; COLUMNS], next: 0, texture: None, drawn: None, is_frozen: false }
    }
}

impl Spectrogram {
    /// Draws the spectrogram over the available space. `columns` are the hops since the last frame. Returns the view
    /// that the user selected.
    pub fn show(
        &mut self,
        ui: &mut Ui,
        columns: impl IntoIterator<Item = SpectrumColumn>,
        shown: (SpectrogramView, MaskDisplay),
        scale: FrequencyScale,
    ) -> Option<SpectrogramView> {
        self.update_texture(ui, columns, shown);
        let (rect, response) = ui.allocate_exact_size(ui.available_size(), Sense::click());
        response.widget_info(|| {
            WidgetInfo::selected(Role::Image, true, self.is_frozen, "Spectrogram; click to freeze")
        });
        if response.clicked() {
            self.is_frozen = !self.is_frozen;
        }
        let painter = ui.painter_at(rect);
        self.paint(&painter, rect);
        axes(&painter, rect, scale);
        theme::paint_focus(ui, &response, rect.shrink(2.0));
        let selected = view_switch(ui, rect, shown.0);
        self.show_values(response, rect, scale);
        selected
    }

    /// Appends `columns` and updates the texture.
    fn update_texture(
        &mut self,
        ui: &Ui,
        columns: impl IntoIterator<Item = SpectrumColumn>,
        shown: (SpectrogramView, MaskDisplay),
    ) {
        let texture = self.texture.get_or_insert_with(|| {
            let black = ColorImage::filled([COLUMNS, ROWS], Color32::BLACK);
            ui.load_texture("spectrogram", black, TextureOptions::LINEAR)
        });
        for column in columns {
            if self.is_frozen {
                continue;
            }
            self.columns[self.next] = column;
            texture.set_partial([self.next, 0], image(&[column], shown), TextureOptions::LINEAR);
            self.next = (self.next + 1) % COLUMNS;
        }
        if self.drawn != Some(shown) {
            texture.set(image(&self.columns, shown), TextureOptions::LINEAR);
            self.drawn = Some(shown);
        }
    }

    /// Draws the ring buffer in two parts, with the oldest column at the left.
    fn paint(&self, painter: &Painter, rect: Rect) {
        let Some(texture) = &self.texture else { return };
        let seam = self.next as f32 / COLUMNS as f32;
        let split = rect.left() + (1.0 - seam) * rect.width();
        for (part, from, to) in [(rect.with_max_x(split), seam, 1.0), (rect.with_min_x(split), 0.0, seam)] {
            let uv = Rect::from_min_max(pos2(from, 0.0), pos2(to, 1.0));
            painter.image(texture.id(), part, uv, Color32::WHITE);
        }
        if self.is_frozen {
            let at = rect.left_top() + vec2(48.0, 6.0);
            painter.text(at, Align2::LEFT_TOP, "Frozen", theme::font(theme::SMALL), text_palette().warning);
        }
    }

    /// Shows time, frequency, level and mask under the pointer.
    fn show_values(&self, response: Response, rect: Rect, scale: FrequencyScale) {
        let Some(position) = response.hover_pos() else { return };
        let (column, age, row) = self.at(rect, position);
        let frequency = scale.frequency(row);
        let level = lerp(LEVEL_RANGE.start..=LEVEL_RANGE.end, f32::from(column.level[row]) / 255.0);
        let mask = 100.0 * f32::from(column.mask[row]) / 255.0;
        let text = format!(
            "{} · {:.1} s ago · {level:.0} dB · mask {mask:.0} %",
            format_frequency(frequency),
            age as f32 * scale.hop,
        );
        response.on_hover_text_at_pointer(text);
    }

    /// The column at `position`, its age in hops, and the row.
    fn at(&self, rect: Rect, position: Pos2) -> (&SpectrumColumn, usize, usize) {
        let share = ((position.x - rect.left()) / rect.width()).clamp(0.0, 1.0);
        let from_left = ((share * COLUMNS as f32) as usize).min(COLUMNS - 1);
        let height = ((rect.bottom() - position.y) / rect.height()).clamp(0.0, 1.0);
        let row = ((height * ROWS as f32) as usize).min(ROWS - 1);
        (&self.columns[(self.next + from_left) % COLUMNS], COLUMNS - 1 - from_left, row)
    }
}

/// Draws the buttons that select a view. Returns the view that was clicked.
fn view_switch(ui: &mut Ui, rect: Rect, shown: SpectrogramView) -> Option<SpectrogramView> {
    let mut clicked = None;
    let mut right = rect.right() - 6.0;
    for (view, name) in VIEWS.into_iter().rev() {
        let galley = ui.painter().layout_no_wrap(name.into(), theme::font(theme::SMALL), theme::of(ui).text);
        let size = galley.size() + vec2(14.0, 6.0);
        let part = Rect::from_min_size(pos2(right - size.x, rect.top() + 6.0), size);
        right = part.left() - 2.0;
        let response = ui.interact(part, ui.scope_id().with(("shown", name)), Sense::click());
        let is_selected = view == shown;
        response.widget_info(|| {
            WidgetInfo::selected(Role::RadioButton, true, is_selected, format!("Show {name}"))
        });
        let (fill, text) = match (is_selected, response.hovered()) {
            (true, _) => (theme::of(ui).quiet().fill, theme::of(ui).quiet().text),
            (false, true) => (theme::of(ui).surface_hovered, theme::of(ui).text),
            (false, false) => (theme::of(ui).surface.gamma_multiply(0.8), theme::of(ui).text_weak),
        };
        ui.painter().rect_filled(part, 5, fill);
        ui.painter().text(part.center(), Align2::CENTER_CENTER, name, theme::font(theme::SMALL), text);
        theme::paint_focus(ui, &response, part);
        if response.clicked() {
            clicked = Some(view);
        }
    }
    clicked
}

/// Colours `columns`, with the highest frequency in the top row.
fn image(columns: &[SpectrumColumn], (view, mask): (SpectrogramView, MaskDisplay)) -> ColorImage {
    let pixels = (0..ROWS).rev().flat_map(|row| {
        columns.iter().map(move |column| {
            let level = lerp(LEVEL_RANGE.start..=LEVEL_RANGE.end, f32::from(column.level[row]) / 255.0);
            colour(level, mask.gain(f32::from(column.mask[row]) / 255.0), view)
        })
    });
    ColorImage::new([columns.len(), ROWS], pixels.collect())
}

/// The colour of a point of `level` dBFS, which the mask multiplies by `gain`.
fn colour(level: f32, gain: f32, view: SpectrogramView) -> Color32 {
    let bright = |level: f32| {
        let share = remap(level, DISPLAYED_RANGE.start..=DISPLAYED_RANGE.end, 0.0..=1.0).clamp(0.0, 1.0);
        let colorous::Color { r, g, b } = colorous::INFERNO.eval_continuous(f64::from(share));
        Color32::from_rgb(r, g, b)
    };
    let damped = |gain: f32| level + 20.0 * gain.max(1e-5).log10();
    match view {
        SpectrogramView::Output => bright(damped(gain)),
        SpectrogramView::Removed => bright(damped(1.0 - gain)),
        SpectrogramView::Input => {
            let colour = bright(level);
            let grey = (REMOVED_BRIGHTNESS * colour.intensity() * 255.0) as u8;
            Color32::from_rgb(grey, grey, grey.saturating_add(grey / 4)).lerp_to_gamma(colour, gain)
        }
    }
}

/// Palette for text on the spectrogram, which is dark in both themes.
fn text_palette() -> &'static Palette {
    theme::palette(Theme::Dark)
}

/// Draws grid lines and labels for frequency and time.
fn axes(painter: &Painter, rect: Rect, scale: FrequencyScale) {
    let font = theme::font(theme::SMALL - 2.0);
    let faint = Stroke::new(1.0, Color32::from_white_alpha(20));
    for frequency in FREQUENCIES.into_iter().filter(|frequency| *frequency < scale.highest) {
        let y = rect.bottom() - scale.height(frequency) * rect.height();
        painter.hline(rect.x_range(), y, faint);
        painter.text(
            pos2(rect.left() + 5.0, y),
            Align2::LEFT_CENTER,
            format_frequency(frequency),
            font.clone(),
            text_palette().text_weak,
        );
    }
    let duration = COLUMNS as f32 * scale.hop;
    for seconds in (1..duration as usize).filter(|seconds| seconds % 2 == 0) {
        let x = rect.right() - seconds as f32 / duration * rect.width();
        painter.vline(x, rect.y_range(), faint);
        let at = pos2(x, rect.bottom() - 2.0);
        painter.text(
            at,
            Align2::CENTER_BOTTOM,
            format!("−{seconds} s"),
            font.clone(),
            text_palette().text_weak,
        );
    }
}

fn format_frequency(frequency: f32) -> String {
    match frequency {
        below if below < 1_000.0 => format!("{below:.0} Hz"),
        round if (round / 1_000.0).fract() < 0.005 => format!("{:.0} kHz", round / 1_000.0),
        above => format!("{:.1} kHz", above / 1_000.0),
    }
}

#[cfg(test)]
mod tests {
    use egui_kittest::Harness;
    use egui_kittest::kittest::Queryable;

    use super::*;

    const ISOLATE: MaskDisplay = MaskDisplay { mode: Mode::Isolate, strength: 1.0 };

    /// A column of equal level everywhere, whose mask keeps the upper half.
    const HALF: SpectrumColumn = {
        let mut mask = [0; ROWS];
        let mut row = ROWS / 2;
        while row < ROWS {
            mask[row] = 255;
            row += 1;
        }
        SpectrumColumn { level: [200; ROWS], mask }
    };

    #[test]
    fn kept_part_is_brighter_than_removed_part() {
        let image = image(&[HALF], (SpectrogramView::Input, ISOLATE));
        let (top, bottom) = (image[(0, 0)], image[(0, ROWS - 1)]);
        assert!(top.intensity() > 1.8 * bottom.intensity(), "{top:?} {bottom:?}");
        assert!(bottom.intensity() > 0.1, "the removed part stays visible");
        let removing = MaskDisplay { mode: Mode::Remove, strength: 1.0 };
        let inverted = super::image(&[HALF], (SpectrogramView::Input, removing));
        assert_eq!((inverted[(0, 0)], inverted[(0, ROWS - 1)]), (bottom, top));
    }

    #[test]
    fn everything_is_bright_at_strength_zero() {
        let none = MaskDisplay { mode: Mode::Isolate, strength: 0.0 };
        let image = image(&[HALF], (SpectrogramView::Input, none));
        assert_eq!(image[(0, 0)], image[(0, ROWS - 1)]);
    }

    #[test]
    fn output_and_removed_views_complement_each_other() {
        let output = image(&[HALF], (SpectrogramView::Output, ISOLATE));
        let removed = image(&[HALF], (SpectrogramView::Removed, ISOLATE));
        assert!(output[(0, 0)].intensity() > 0.3 && output[(0, ROWS - 1)].intensity() < 0.02);
        assert_eq!(output[(0, 0)], removed[(0, ROWS - 1)]);
    }

    #[derive(Default)]
    struct Fixture {
        spectrogram: Spectrogram,
        new_columns: Vec<SpectrumColumn>,
        shown: SpectrogramView,
    }

    fn fixture() -> Harness<'static, Fixture> {
        let show = |ui: &mut Ui, fixture: &mut Fixture| {
            let columns = std::mem::take(&mut fixture.new_columns);
            let shown = (fixture.shown, ISOLATE);
            let selected = fixture.spectrogram.show(ui, columns, shown, FrequencyScale::default());
            fixture.shown = selected.unwrap_or(fixture.shown);
        };
        Harness::builder().with_size(vec2(512.0, 200.0)).build_ui_state(show, Fixture::default())
    }

    #[test]
    fn new_columns_appear_at_the_right() {
        let mut fixture = fixture();
        fixture.state_mut().new_columns = vec![HALF];
        fixture.step();
        let rect = Rect::from_min_size(Pos2::ZERO, vec2(512.0, 200.0));
        let spectrogram = &fixture.state().spectrogram;
        assert_eq!(spectrogram.at(rect, rect.right_center()), (&HALF, 0, ROWS / 2));
        assert_ne!(spectrogram.at(rect, rect.left_center()).0, &HALF);
    }

    #[test]
    fn click_freezes_and_unfreezes_the_spectrogram() {
        let mut fixture = fixture();
        for is_frozen in [true, false] {
            fixture.get_by_role(Role::Image).click();
            fixture.step();
            fixture.state_mut().new_columns = vec![HALF];
            fixture.step();
            assert_eq!(fixture.state().spectrogram.is_frozen, is_frozen);
            assert_eq!(fixture.state().spectrogram.columns.contains(&HALF), !is_frozen);
        }
    }

    #[test]
    fn view_switch_selects_another_view() {
        let mut fixture = fixture();
        fixture.get_by_label("Show Removed").click();
        fixture.run_steps(2);
        assert_eq!(fixture.state().shown, SpectrogramView::Removed);
        assert_eq!(fixture.state().spectrogram.drawn, Some((SpectrogramView::Removed, ISOLATE)));
    }

    #[test]
    fn frequencies_are_formatted_briefly() {
        assert_eq!([100.0, 1_000.0, 1_530.0].map(format_frequency), ["100 Hz", "1 kHz", "1.5 kHz"]);
    }
}
