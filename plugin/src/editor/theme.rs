//! Colours, text sizes and spacing of the dark and the light theme.

use egui::{
    Color32, CornerRadius, FontFamily, FontId, Rect, Response, Stroke, StrokeKind, TextStyle, Theme, Ui,
    Visuals, vec2,
};

/// The colours of one theme.
pub struct Palette {
    pub background: Color32,
    /// Behind the status line.
    pub footer: Color32,
    /// Fields and buttons at rest.
    pub surface: Color32,
    /// Fields and buttons under the pointer.
    pub surface_hovered: Color32,
    pub outline: Color32,
    pub text: Color32,
    pub text_weak: Color32,
    pub accent: Color32,
    /// A less prominent accent.
    pub accent_dim: Color32,
    /// Text on the accent.
    pub on_accent: Color32,
    pub warning: Color32,
}

static DARK: Palette = Palette {
    background: Color32::from_rgb(0x16, 0x18, 0x1d),
    footer: Color32::from_rgb(0x10, 0x12, 0x16),
    surface: Color32::from_rgb(0x22, 0x26, 0x2e),
    surface_hovered: Color32::from_rgb(0x2c, 0x31, 0x3b),
    outline: Color32::from_rgb(0x38, 0x3e, 0x4a),
    text: Color32::from_rgb(0xe8, 0xea, 0xee),
    text_weak: Color32::from_rgb(0x97, 0x9f, 0xad),
    accent: Color32::from_rgb(0x4a, 0xd6, 0xb4),
    accent_dim: Color32::from_rgb(0x2f, 0x86, 0x75),
    on_accent: Color32::from_rgb(0x06, 0x1d, 0x18),
    warning: Color32::from_rgb(0xff, 0xb4, 0x54),
};

static LIGHT: Palette = Palette {
    background: Color32::from_rgb(0xf2, 0xf3, 0xf5),
    footer: Color32::from_rgb(0xe4, 0xe6, 0xea),
    surface: Color32::from_rgb(0xff, 0xff, 0xff),
    surface_hovered: Color32::from_rgb(0xe6, 0xf2, 0xef),
    outline: Color32::from_rgb(0xc2, 0xc7, 0xd0),
    text: Color32::from_rgb(0x1a, 0x1d, 0x23),
    text_weak: Color32::from_rgb(0x5a, 0x62, 0x70),
    accent: Color32::from_rgb(0x0b, 0x7d, 0x69),
    accent_dim: Color32::from_rgb(0x5f, 0xb5, 0xa5),
    on_accent: Color32::from_rgb(0xff, 0xff, 0xff),
    warning: Color32::from_rgb(0x95, 0x4a, 0x00),
};

/// The palette of the theme that `ui` uses.
pub fn of(ui: &Ui) -> &'static Palette {
    palette(if ui.visuals().dark_mode { Theme::Dark } else { Theme::Light })
}

/// The palette of `theme`.
pub fn palette(theme: Theme) -> &'static Palette {
    match theme {
        Theme::Dark => &DARK,
        Theme::Light => &LIGHT,
    }
}

/// Paints the background of a field or button.
pub fn paint_surface(ui: &Ui, rect: Rect, fill: Color32) {
    ui.painter().rect(rect, RADIUS, fill, (1.0, of(ui).outline), StrokeKind::Inside);
}

/// Paints a ring around `rect` if the part has the keyboard focus.
pub fn paint_focus(ui: &Ui, response: &Response, rect: Rect) {
    if response.has_focus() {
        ui.painter().rect_stroke(rect, RADIUS, (2.0, of(ui).text), StrokeKind::Outside);
    }
}

/// The fill of a button: normal, or under the pointer.
pub fn fill(ui: &Ui, response: &Response) -> Color32 {
    if response.hovered() { of(ui).surface_hovered } else { of(ui).surface }
}

/// Severity of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Good,
    Waiting,
    Warning,
}

impl Severity {
    /// The colour of the message's mark.
    pub fn color(self, palette: &Palette) -> Color32 {
        match self {
            Severity::Good => palette.accent,
            Severity::Waiting => palette.text_weak,
            Severity::Warning => palette.warning,
        }
    }
}

/// Colours of a selected button.
#[derive(Clone, Copy)]
pub struct ButtonColors {
    pub fill: Color32,
    pub text: Color32,
}

impl Palette {
    /// For a selection without consequence.
    pub fn quiet(&self) -> ButtonColors {
        ButtonColors { fill: self.outline, text: self.text }
    }

    /// For a prominent selection.
    pub fn prominent(&self) -> ButtonColors {
        ButtonColors { fill: self.accent, text: self.on_accent }
    }

    /// For a selection that is easily forgotten and then confusing, such as bypass.
    pub fn alert(&self) -> ButtonColors {
        ButtonColors { fill: self.warning, text: self.on_accent }
    }
}

/// Corner radius of fields and buttons, in points.
pub const RADIUS: CornerRadius = CornerRadius::same(7);
/// Space between related parts, in points.
pub const GAP: f32 = 8.0;

/// Text size of labels, in points.
pub const SMALL: f32 = 13.0;
/// Text size of buttons and values, in points.
pub const BODY: f32 = 15.0;
/// Text size of the query, in points.
pub const LARGE: f32 = 22.0;

/// The proportional font of `size` points.
pub fn font(size: f32) -> FontId {
    FontId::new(size, FontFamily::Proportional)
}

/// Applies both themes to `ctx` and selects the dark one, regardless of the system's preference.
pub fn apply(ctx: &egui::Context) {
    for theme in [Theme::Dark, Theme::Light] {
        ctx.style_mut_of(theme, |style| {
            style.text_styles = [
                (TextStyle::Small, font(SMALL)),
                (TextStyle::Body, font(BODY)),
                (TextStyle::Button, font(BODY)),
                (TextStyle::Monospace, FontId::new(SMALL, FontFamily::Monospace)),
                (TextStyle::Heading, font(LARGE)),
            ]
            .into();
            style.spacing.item_spacing = vec2(GAP, GAP);
            style.spacing.tooltip_width = 420.0;
            style.interaction.selectable_labels = false;
            style.visuals = visuals(theme);
        });
    }
    ctx.set_theme(Theme::Dark);
}

fn visuals(theme: Theme) -> Visuals {
    let palette = palette(theme);
    let mut visuals = theme.default_visuals();
    visuals.panel_fill = palette.background;
    visuals.window_fill = palette.surface;
    visuals.window_stroke = Stroke::new(1.0, palette.outline);
    visuals.override_text_color = Some(palette.text);
    visuals.warn_fg_color = palette.warning;
    visuals.error_fg_color = palette.warning;
    visuals.selection.bg_fill = palette.accent_dim;
    visuals.selection.stroke = Stroke::new(1.0, palette.text);
    visuals.text_cursor.stroke = Stroke::new(2.0, palette.accent);
    visuals.resize_corner_size = 14.0;
    visuals.menu_corner_radius = RADIUS;
    visuals
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Contrast ratio of two colours: Web Content Accessibility Guidelines 2.1, "contrast ratio".
    fn contrast(a: Color32, b: Color32) -> f32 {
        let luminance = |color: Color32| {
            let linear = |channel: u8| match f32::from(channel) / 255.0 {
                low if low <= 0.04045 => low / 12.92,
                high => ((high + 0.055) / 1.055).powf(2.4),
            };
            0.2126 * linear(color.r()) + 0.7152 * linear(color.g()) + 0.0722 * linear(color.b())
        };
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn text_has_enough_contrast_on_every_background() {
        for palette in [&DARK, &LIGHT] {
            for (text, backgrounds) in [
                (
                    palette.text,
                    [palette.background, palette.surface, palette.surface_hovered, palette.outline],
                ),
                (palette.text_weak, [palette.background, palette.surface, palette.footer, palette.surface]),
                (palette.warning, [palette.background, palette.footer, palette.background, palette.footer]),
                (palette.accent, [palette.background; 4]),
                (palette.on_accent, [palette.accent, palette.warning, palette.accent, palette.warning]),
            ] {
                for background in backgrounds {
                    let contrast = contrast(text, background);
                    assert!(contrast >= 4.5, "{text:?} on {background:?}: {contrast}");
                }
            }
        }
    }
}
