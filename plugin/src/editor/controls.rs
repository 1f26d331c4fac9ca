//! Everything that is not words: strength and mode, the shape of the mask, gain, and what is
//! listened to.

use egui::accesskit::Role;
use egui::{Align2, CornerRadius, Rect, Response, Sense, Ui, UiBuilder, WidgetInfo, vec2};
use nice_plug::prelude::*;
use sift_engine::user::preferences::ThemeChoice;

use super::slider::{Look, set_once, slider};
use super::theme::{self, Chosen};
use crate::params::SiftParams;

const STRENGTH: Look = Look {
    text: theme::BODY,
    value_text: 20.0,
    bar_height: 20.0,
    fill: |palette| palette.accent,
    from_default: false,
};

const SMALL: Look = Look {
    text: theme::SMALL,
    value_text: theme::SMALL,
    bar_height: 10.0,
    fill: |palette| palette.accent_dim,
    from_default: true,
};

const MODE_WIDTH: f32 = 190.0;
const MODE_HEIGHT: f32 = 34.0;
const LISTEN_WIDTH: f32 = 220.0;
const BYPASS_WIDTH: f32 = 72.0;
const THEME_WIDTH: f32 = 30.0;

/// Strength, the one big control, with the mode beside it.
pub fn strength_and_mode(ui: &mut Ui, params: &SiftParams, setter: &ParamSetter<'_>) {
    let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), STRENGTH.height()), Sense::hover());
    let (left, right) = rect.split_left_right_at_x(rect.right() - MODE_WIDTH);
    let mut left = ui.new_child(UiBuilder::new().max_rect(left.with_max_x(left.right() - 3.0 * theme::GAP)));
    slider(&mut left, &params.strength, setter, &STRENGTH).on_hover_text(
        "How much of the mask is applied. Shift drags finely, a double click sets the default",
    );
    let right = right.with_min_y(right.bottom() - MODE_HEIGHT);
    switch(ui, right, &params.mode, setter, theme::BODY, [theme::of(ui).lit(); 2]);
}

/// The shape of the mask, and the gain.
pub fn shape(ui: &mut Ui, params: &SiftParams, setter: &ParamSetter<'_>) {
    let all = [
        (&params.sharpness, "Above 1, the mask decides more sharply; below, more softly"),
        (&params.floor, "What is taken away is turned down to this level, and no further"),
        (&params.smooth, "Smooths the mask over time: less flutter, slower to follow"),
        (&params.gain, "Gain of the output"),
    ];
    ui.spacing_mut().item_spacing.x = 2.0 * theme::GAP;
    ui.columns_const(|columns: &mut [Ui; 4]| {
        for (ui, (param, hint)) in columns.iter_mut().zip(all) {
            slider(ui, param, setter, &SMALL).on_hover_text(hint);
        }
    });
}

/// The other theme, when it is asked for.
fn theme_button(ui: &mut Ui) -> Option<ThemeChoice> {
    let (name, symbol, other) = match ui.visuals().dark_mode {
        true => ("Light theme", "☀", ThemeChoice::Light),
        false => ("Dark theme", "🌙", ThemeChoice::Dark),
    };
    let (rect, response) = ui.allocate_exact_size(vec2(THEME_WIDTH, ui.available_height()), Sense::click());
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, name));
    theme::paint_surface(ui, rect, theme::fill(ui, &response));
    let font = theme::font(theme::BODY);
    ui.painter().text(rect.center(), Align2::CENTER_CENTER, symbol, font, theme::of(ui).text_weak);
    theme::paint_focus(ui, &response, rect);
    response.on_hover_text(name).clicked().then_some(other)
}

/// Width of [`listen_bypass_and_theme`] with the gaps in it.
pub const HEADER_WIDTH: f32 = LISTEN_WIDTH + BYPASS_WIDTH + THEME_WIDTH + 2.0 * theme::GAP;

/// What is listened to, the bypass, and the theme, from left to right. The theme that was chosen.
pub fn listen_bypass_and_theme(
    ui: &mut Ui,
    params: &SiftParams,
    setter: &ParamSetter<'_>,
) -> Option<ThemeChoice> {
    let height = ui.available_height();
    let (rect, _) = ui.allocate_exact_size(vec2(LISTEN_WIDTH, height), Sense::hover());
    switch(ui, rect, &params.listen, setter, theme::SMALL, [theme::of(ui).quiet(), theme::of(ui).alert()]);
    let (rect, response) = ui.allocate_exact_size(vec2(BYPASS_WIDTH, height), Sense::click());
    let on = params.bypass.value();
    theme::paint_surface(ui, rect, theme::of(ui).surface);
    let chosen = on.then_some(theme::of(ui).alert());
    paint_choice(ui, &response, rect.shrink(2.0), params.bypass.name(), chosen, theme::SMALL);
    response.widget_info(|| WidgetInfo::selected(Role::CheckBox, true, on, params.bypass.name()));
    if response.on_hover_text("The input, delayed as Sift delays it").clicked() {
        set_once(&params.bypass, !on, setter);
    }
    theme_button(ui)
}

/// The two variants of `param` side by side, each as wide as its name needs. The one that is chosen
/// looks as `looks` says.
fn switch<T: Enum + PartialEq + Copy + 'static>(
    ui: &mut Ui,
    rect: Rect,
    param: &EnumParam<T>,
    setter: &ParamSetter<'_>,
    text: f32,
    looks: [Chosen; 2],
) {
    theme::paint_surface(ui, rect, theme::of(ui).surface);
    let chosen = param.value().to_index();
    let width = |name: &str| {
        ui.painter().layout_no_wrap(name.to_owned(), theme::font(text), theme::of(ui).text).size().x
    };
    let widths: Vec<f32> = T::variants().iter().map(|name| width(name)).collect();
    let spare = (rect.width() - widths.iter().sum::<f32>()) / widths.len() as f32;
    let mut left = rect.left();
    for (index, ((name, width), look)) in T::variants().iter().zip(widths).zip(looks).enumerate() {
        let part = rect.with_min_x(left).with_max_x(left + width + spare);
        left = part.right();
        let response = ui.interact(part, ui.scope_id().with((param.name(), index)), Sense::click());
        response.widget_info(|| WidgetInfo::selected(Role::RadioButton, true, index == chosen, name));
        paint_choice(ui, &response, part.shrink(2.0), name, (index == chosen).then_some(look), text);
        if response.clicked() && index != chosen {
            set_once(param, T::from_index(index), setter);
        }
    }
}

/// A flat button with `name` in its middle, filled when `chosen`.
fn paint_choice(ui: &Ui, response: &Response, rect: Rect, name: &str, chosen: Option<Chosen>, text: f32) {
    let hovered = response
        .hovered()
        .then_some(Chosen { fill: theme::of(ui).surface_hovered, text: theme::of(ui).text });
    let at_rest = Chosen { fill: theme::of(ui).surface, text: theme::of(ui).text_weak };
    let look = chosen.or(hovered).unwrap_or(at_rest);
    let painter = ui.painter();
    painter.rect_filled(rect, CornerRadius::same(5), look.fill);
    painter.text(rect.center(), Align2::CENTER_CENTER, name, theme::font(text), look.text);
    theme::paint_focus(ui, response, rect);
}

#[cfg(test)]
mod tests {
    use egui_kittest::Harness;
    use egui_kittest::kittest::Queryable;

    use super::*;
    use crate::editor::testing::Host;
    use crate::params::{ListenParam, ModeParam};

    fn harness(host: &Host) -> Harness<'_> {
        Harness::new_ui(|ui| {
            strength_and_mode(ui, &host.params, &host.setter());
            shape(ui, &host.params, &host.setter());
            ui.horizontal(|ui| {
                ui.set_height(30.0);
                listen_bypass_and_theme(ui, &host.params, &host.setter());
            });
        })
    }

    #[test]
    fn every_parameter_that_is_not_the_slot_has_a_control() {
        let host = Host::default();
        let window = harness(&host);
        for slider in ["Mask strength", "Sharpness", "Floor", "Smoothing", "Output gain"] {
            window.get_by_role_and_label(Role::Slider, slider);
        }
        for choice in ["Isolate", "Remove", "Output", "What was taken away"] {
            window.get_by_role_and_label(Role::RadioButton, choice);
        }
        window.get_by_role_and_label(Role::CheckBox, "Bypass");
    }

    #[test]
    fn a_choice_is_one_whole_gesture() {
        let host = Host::default();
        let mut window = harness(&host);
        for choice in ["Remove", "What was taken away", "Bypass"] {
            window.get_by_label(choice).click();
            window.run();
        }
        assert!(host.params.mode.value() == ModeParam::Remove);
        assert!(host.params.listen.value() == ListenParam::Removed);
        assert!(host.params.bypass.value());
        let gestures = ["mode", "listen", "bypass"];
        let gestures = gestures.map(|id| ["begin", "set", "end"].map(|what| format!("{what} {id}")));
        assert_eq!(host.gestures(), gestures.concat());
    }

    #[test]
    fn choosing_what_is_chosen_tells_the_host_nothing() {
        let host = Host::default();
        let mut window = harness(&host);
        window.get_by_label("Isolate").click();
        window.run();
        assert!(host.gestures().is_empty());
    }
}
