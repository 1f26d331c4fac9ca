//! The picture: the input's spectrum scrolling by, what is kept of it lit, what is taken away dim.

use egui::accesskit::Role;
use egui::{
    Align2, Color32, ColorImage, Painter, Pos2, Rect, Response, Sense, Stroke, TextureHandle, TextureOptions,
    Theme, Ui, WidgetInfo, lerp, pos2, remap, vec2,
};
use sift_engine::Mode;
use sift_engine::dsp::analyzer::{Column, LEVELS, ROWS, Scale};

use super::theme::{self, Palette};
use crate::params::Picture;

/// Hops that the picture is wide.
const COLUMNS: usize = 512;
/// Frequencies at the axis, in hertz.
const FREQUENCIES: [f32; 8] = [100.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0, 20_000.0];
/// Levels shown, in dBFS: what is softer is black.
const SHOWN: std::ops::Range<f32> = -90.0..-10.0;
/// How bright what is taken away is beside what is kept.
const DIM: f32 = 0.45;

const PICTURES: [(Picture, &str); 3] =
    [(Picture::Input, "Input"), (Picture::Output, "Output"), (Picture::Removed, "Removed")];

/// What of the mask is in force.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Force {
    pub mode: Mode,
    /// 0 to 1.
    pub strength: f32,
}

impl Force {
    /// The gain of what the mask lets through by `mask`.
    fn gain(self, mask: f32) -> f32 {
        match self.mode {
            Mode::Isolate => 1.0 - self.strength * (1.0 - mask),
            Mode::Remove => 1.0 - self.strength * mask,
        }
    }
}

/// The spectrogram, and the newest hops that it is drawn from.
pub struct Spectrogram {
    /// A ring: the oldest column is at `next`.
    columns: Vec<Column>,
    next: usize,
    texture: Option<TextureHandle>,
    /// What the texture shows.
    drawn: Option<(Picture, Force)>,
    frozen: bool,
}

impl Default for Spectrogram {
    fn default() -> Self {
        let silence = Column { level: [0; ROWS], mask: [255; ROWS] };
        Self { columns: vec![silence; COLUMNS], next: 0, texture: None, drawn: None, frozen: false }
    }
}

impl Spectrogram {
    /// Draws the picture into all the room there is. `columns` are the hops since the last frame. The
    /// picture that was chosen instead.
    pub fn show(
        &mut self,
        ui: &mut Ui,
        columns: impl IntoIterator<Item = Column>,
        look: (Picture, Force),
        scale: Scale,
    ) -> Option<Picture> {
        self.take(ui, columns, look);
        let (rect, response) = ui.allocate_exact_size(ui.available_size(), Sense::click());
        response.widget_info(|| {
            WidgetInfo::selected(Role::Image, true, self.frozen, "Spectrogram; a click freezes it")
        });
        if response.clicked() {
            self.frozen = !self.frozen;
        }
        let painter = ui.painter_at(rect);
        self.paint(&painter, rect);
        axes(&painter, rect, scale);
        theme::paint_focus(ui, &response, rect.shrink(2.0));
        let chosen = choose(ui, rect, look.0);
        self.tell(response, rect, scale);
        chosen
    }

    /// Takes in new columns and brings the texture up to date.
    fn take(&mut self, ui: &Ui, columns: impl IntoIterator<Item = Column>, look: (Picture, Force)) {
        let texture = self.texture.get_or_insert_with(|| {
            let black = ColorImage::filled([COLUMNS, ROWS], Color32::BLACK);
            ui.load_texture("spectrogram", black, TextureOptions::LINEAR)
        });
        for column in columns {
            if self.frozen {
                continue;
            }
            self.columns[self.next] = column;
            texture.set_partial([self.next, 0], image(&[column], look), TextureOptions::LINEAR);
            self.next = (self.next + 1) % COLUMNS;
        }
        if self.drawn != Some(look) {
            texture.set(image(&self.columns, look), TextureOptions::LINEAR);
            self.drawn = Some(look);
        }
    }

    /// The ring in two parts, the oldest column at the left.
    fn paint(&self, painter: &Painter, rect: Rect) {
        let Some(texture) = &self.texture else { return };
        let seam = self.next as f32 / COLUMNS as f32;
        let split = rect.left() + (1.0 - seam) * rect.width();
        for (part, from, to) in [(rect.with_max_x(split), seam, 1.0), (rect.with_min_x(split), 0.0, seam)] {
            let uv = Rect::from_min_max(pos2(from, 0.0), pos2(to, 1.0));
            painter.image(texture.id(), part, uv, Color32::WHITE);
        }
        if self.frozen {
            let at = rect.left_top() + vec2(48.0, 6.0);
            painter.text(at, Align2::LEFT_TOP, "Frozen", theme::font(theme::SMALL), ink().warning);
        }
    }

    /// Frequency, time and level under the pointer.
    fn tell(&self, response: Response, rect: Rect, scale: Scale) {
        let Some(at) = response.hover_pos() else { return };
        let (column, age, row) = self.under(rect, at);
        let frequency = scale.frequency(row);
        let level = lerp(LEVELS.start..=LEVELS.end, f32::from(column.level[row]) / 255.0);
        let mask = 100.0 * f32::from(column.mask[row]) / 255.0;
        let text = format!(
            "{} · {:.1} s ago · {level:.0} dB · mask {mask:.0} %",
            hertz(frequency),
            age as f32 * scale.hop,
        );
        response.on_hover_text_at_pointer(text);
    }

    /// The column at a place, how many hops ago it was, and the row.
    fn under(&self, rect: Rect, at: Pos2) -> (&Column, usize, usize) {
        let share = ((at.x - rect.left()) / rect.width()).clamp(0.0, 1.0);
        let from_left = ((share * COLUMNS as f32) as usize).min(COLUMNS - 1);
        let height = ((rect.bottom() - at.y) / rect.height()).clamp(0.0, 1.0);
        let row = ((height * ROWS as f32) as usize).min(ROWS - 1);
        (&self.columns[(self.next + from_left) % COLUMNS], COLUMNS - 1 - from_left, row)
    }
}

/// The switch between input, output and what is removed.
fn choose(ui: &mut Ui, rect: Rect, shown: Picture) -> Option<Picture> {
    let mut clicked = None;
    let mut right = rect.right() - 6.0;
    for (picture, name) in PICTURES.into_iter().rev() {
        let galley = ui.painter().layout_no_wrap(name.into(), theme::font(theme::SMALL), theme::of(ui).text);
        let size = galley.size() + vec2(14.0, 6.0);
        let part = Rect::from_min_size(pos2(right - size.x, rect.top() + 6.0), size);
        right = part.left() - 2.0;
        let response = ui.interact(part, ui.scope_id().with(("shown", name)), Sense::click());
        let chosen = picture == shown;
        response
            .widget_info(|| WidgetInfo::selected(Role::RadioButton, true, chosen, format!("Show {name}")));
        let (fill, text) = match (chosen, response.hovered()) {
            (true, _) => (theme::of(ui).quiet().fill, theme::of(ui).quiet().text),
            (false, true) => (theme::of(ui).surface_hovered, theme::of(ui).text),
            (false, false) => (theme::of(ui).surface.gamma_multiply(0.8), theme::of(ui).text_weak),
        };
        ui.painter().rect_filled(part, 5, fill);
        ui.painter().text(part.center(), Align2::CENTER_CENTER, name, theme::font(theme::SMALL), text);
        theme::paint_focus(ui, &response, part);
        if response.clicked() {
            clicked = Some(picture);
        }
    }
    clicked
}

/// The colours of some columns, the highest frequency on top.
fn image(columns: &[Column], (shown, force): (Picture, Force)) -> ColorImage {
    let pixels = (0..ROWS).rev().flat_map(|row| {
        columns.iter().map(move |column| {
            let level = lerp(LEVELS.start..=LEVELS.end, f32::from(column.level[row]) / 255.0);
            colour(level, force.gain(f32::from(column.mask[row]) / 255.0), shown)
        })
    });
    ColorImage::new([columns.len(), ROWS], pixels.collect())
}

/// The colour of a point of `level` dBFS, of which `gain` is kept.
fn colour(level: f32, gain: f32, shown: Picture) -> Color32 {
    let bright = |level: f32| {
        let share = remap(level, SHOWN.start..=SHOWN.end, 0.0..=1.0).clamp(0.0, 1.0);
        let colorous::Color { r, g, b } = colorous::INFERNO.eval_continuous(f64::from(share));
        Color32::from_rgb(r, g, b)
    };
    let damped = |gain: f32| level + 20.0 * gain.max(1e-5).log10();
    match shown {
        Picture::Output => bright(damped(gain)),
        Picture::Removed => bright(damped(1.0 - gain)),
        Picture::Input => {
            let lit = bright(level);
            let grey = (DIM * lit.intensity() * 255.0) as u8;
            Color32::from_rgb(grey, grey, grey.saturating_add(grey / 4)).lerp_to_gamma(lit, gain)
        }
    }
}

/// What is written on the picture, which is dark in every theme.
fn ink() -> &'static Palette {
    theme::palette(Theme::Dark)
}

fn axes(painter: &Painter, rect: Rect, scale: Scale) {
    let font = theme::font(theme::SMALL - 2.0);
    let faint = Stroke::new(1.0, Color32::from_white_alpha(20));
    for frequency in FREQUENCIES.into_iter().filter(|frequency| *frequency < scale.highest) {
        let y = rect.bottom() - scale.height(frequency) * rect.height();
        painter.hline(rect.x_range(), y, faint);
        painter.text(
            pos2(rect.left() + 5.0, y),
            Align2::LEFT_CENTER,
            hertz(frequency),
            font.clone(),
            ink().text_weak,
        );
    }
    let whole = COLUMNS as f32 * scale.hop;
    for seconds in (1..whole as usize).filter(|seconds| seconds % 2 == 0) {
        let x = rect.right() - seconds as f32 / whole * rect.width();
        painter.vline(x, rect.y_range(), faint);
        let at = pos2(x, rect.bottom() - 2.0);
        painter.text(at, Align2::CENTER_BOTTOM, format!("−{seconds} s"), font.clone(), ink().text_weak);
    }
}

fn hertz(frequency: f32) -> String {
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

    const ISOLATE: Force = Force { mode: Mode::Isolate, strength: 1.0 };

    /// A column as loud everywhere, whose mask keeps the upper half.
    const HALF: Column = {
        let mut mask = [0; ROWS];
        let mut row = ROWS / 2;
        while row < ROWS {
            mask[row] = 255;
            row += 1;
        }
        Column { level: [200; ROWS], mask }
    };

    #[test]
    fn what_is_kept_is_brighter_than_what_is_taken_away() {
        let image = image(&[HALF], (Picture::Input, ISOLATE));
        let (top, bottom) = (image[(0, 0)], image[(0, ROWS - 1)]);
        assert!(top.intensity() > 1.8 * bottom.intensity(), "{top:?} {bottom:?}");
        assert!(bottom.intensity() > 0.1, "what is taken away can still be seen");
        let removing = Force { mode: Mode::Remove, strength: 1.0 };
        let turned = super::image(&[HALF], (Picture::Input, removing));
        assert_eq!((turned[(0, 0)], turned[(0, ROWS - 1)]), (bottom, top));
    }

    #[test]
    fn without_strength_everything_is_lit() {
        let none = Force { mode: Mode::Isolate, strength: 0.0 };
        let image = image(&[HALF], (Picture::Input, none));
        assert_eq!(image[(0, 0)], image[(0, ROWS - 1)]);
    }

    #[test]
    fn output_and_removed_show_one_side_each() {
        let output = image(&[HALF], (Picture::Output, ISOLATE));
        let removed = image(&[HALF], (Picture::Removed, ISOLATE));
        assert!(output[(0, 0)].intensity() > 0.3 && output[(0, ROWS - 1)].intensity() < 0.02);
        assert_eq!(output[(0, 0)], removed[(0, ROWS - 1)]);
    }

    #[derive(Default)]
    struct Desk {
        picture: Spectrogram,
        coming: Vec<Column>,
        shown: Picture,
    }

    fn desk() -> Harness<'static, Desk> {
        let show = |ui: &mut Ui, desk: &mut Desk| {
            let coming = std::mem::take(&mut desk.coming);
            let look = (desk.shown, ISOLATE);
            let chosen = desk.picture.show(ui, coming, look, Scale::default());
            desk.shown = chosen.unwrap_or(desk.shown);
        };
        Harness::builder().with_size(vec2(512.0, 200.0)).build_ui_state(show, Desk::default())
    }

    #[test]
    fn columns_come_in_at_the_right() {
        let mut desk = desk();
        desk.state_mut().coming = vec![HALF];
        desk.step();
        let rect = Rect::from_min_size(Pos2::ZERO, vec2(512.0, 200.0));
        let picture = &desk.state().picture;
        assert_eq!(picture.under(rect, rect.right_center()), (&HALF, 0, ROWS / 2));
        assert_ne!(picture.under(rect, rect.left_center()).0, &HALF);
    }

    #[test]
    fn a_click_freezes_the_picture_and_another_lets_it_run() {
        let mut desk = desk();
        for frozen in [true, false] {
            desk.get_by_role(Role::Image).click();
            desk.step();
            desk.state_mut().coming = vec![HALF];
            desk.step();
            assert_eq!(desk.state().picture.frozen, frozen);
            assert_eq!(desk.state().picture.columns.contains(&HALF), !frozen);
        }
    }

    #[test]
    fn the_switch_shows_the_other_sides() {
        let mut desk = desk();
        desk.get_by_label("Show Removed").click();
        desk.run_steps(2);
        assert_eq!(desk.state().shown, Picture::Removed);
        assert_eq!(desk.state().picture.drawn, Some((Picture::Removed, ISOLATE)));
    }

    #[test]
    fn frequencies_are_written_shortly() {
        assert_eq!([100.0, 1_000.0, 1_530.0].map(hertz), ["100 Hz", "1 kHz", "1.5 kHz"]);
    }
}
