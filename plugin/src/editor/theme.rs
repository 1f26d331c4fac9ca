//! Colours, text sizes and spacing: a dark theme with one accent.

use egui::{Color32, CornerRadius, FontFamily, FontId, Stroke, TextStyle, Theme, Visuals, vec2};

pub const BACKGROUND: Color32 = Color32::from_rgb(0x16, 0x18, 0x1d);
/// Behind the status line.
pub const FOOTER: Color32 = Color32::from_rgb(0x10, 0x12, 0x16);
/// Fields and buttons at rest.
pub const SURFACE: Color32 = Color32::from_rgb(0x22, 0x26, 0x2e);
/// Fields and buttons under the pointer.
pub const SURFACE_HOVERED: Color32 = Color32::from_rgb(0x2c, 0x31, 0x3b);
pub const OUTLINE: Color32 = Color32::from_rgb(0x38, 0x3e, 0x4a);
pub const TEXT: Color32 = Color32::from_rgb(0xe8, 0xea, 0xee);
pub const TEXT_WEAK: Color32 = Color32::from_rgb(0x97, 0x9f, 0xad);
pub const ACCENT: Color32 = Color32::from_rgb(0x4a, 0xd6, 0xb4);
/// The accent where it must not shout.
pub const ACCENT_DIM: Color32 = Color32::from_rgb(0x2f, 0x86, 0x75);
/// Text on the accent.
pub const ON_ACCENT: Color32 = Color32::from_rgb(0x06, 0x1d, 0x18);
pub const WARNING: Color32 = Color32::from_rgb(0xff, 0xb4, 0x54);

/// A choice that is made, by how much it should be noticed.
#[derive(Clone, Copy)]
pub struct Chosen {
    pub fill: Color32,
    pub text: Color32,
}

/// As things usually are.
pub const QUIET: Chosen = Chosen { fill: OUTLINE, text: TEXT };
pub const LIT: Chosen = Chosen { fill: ACCENT, text: ON_ACCENT };
/// Easily forgotten, and then puzzling.
pub const ALERT: Chosen = Chosen { fill: WARNING, text: ON_ACCENT };

pub const RADIUS: CornerRadius = CornerRadius::same(7);
/// Between neighbours that belong together, in points.
pub const GAP: f32 = 8.0;

/// Text sizes in points.
pub const SMALL: f32 = 13.0;
pub const BODY: f32 = 15.0;
pub const LARGE: f32 = 22.0;

pub fn font(size: f32) -> FontId {
    FontId::new(size, FontFamily::Proportional)
}

/// Gives everything in `ctx` this theme, whatever the system prefers.
pub fn apply(ctx: &egui::Context) {
    ctx.set_theme(Theme::Dark);
    ctx.style_mut_of(Theme::Dark, |style| {
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
        style.visuals = visuals();
    });
}

fn visuals() -> Visuals {
    let mut visuals = Visuals::dark();
    visuals.panel_fill = BACKGROUND;
    visuals.window_fill = SURFACE;
    visuals.window_stroke = Stroke::new(1.0, OUTLINE);
    visuals.override_text_color = Some(TEXT);
    visuals.warn_fg_color = WARNING;
    visuals.error_fg_color = WARNING;
    visuals.selection.bg_fill = ACCENT_DIM;
    visuals.selection.stroke = Stroke::new(1.0, TEXT);
    visuals.text_cursor.stroke = Stroke::new(2.0, ACCENT);
    visuals.resize_corner_size = 14.0;
    visuals.menu_corner_radius = RADIUS;
    visuals
}
