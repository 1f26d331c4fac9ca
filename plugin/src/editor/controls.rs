//! The controls of all parameters except the active query.

use egui::accesskit::Role;
use egui::{Align2, CornerRadius, Rect, Response, Sense, Ui, UiBuilder, Vec2, WidgetInfo, pos2, vec2};
use nice_plug::prelude::*;
use sift_engine::user::preferences::ThemeChoice;

use super::slider::{SliderStyle, set_once, slider};
use super::theme::{self, ButtonColors};
use crate::params::SiftParams;

const STRENGTH_STYLE: SliderStyle = SliderStyle {
    text: theme::BODY,
    value_text: 20.0,
    bar_height: 20.0,
    fill: |palette| palette.accent,
    fill_from_default: false,
};

const SMALL_STYLE: SliderStyle = SliderStyle {
    text: theme::SMALL,
    value_text: theme::SMALL,
    bar_height: 10.0,
    fill: |palette| palette.accent_dim,
    fill_from_default: true,
};

const MODE_WIDTH: f32 = 190.0;
const MODE_HEIGHT: f32 = 34.0;
const LISTEN_WIDTH: f32 = 220.0;
const BYPASS_WIDTH: f32 = 72.0;
const THEME_WIDTH: f32 = 30.0;
/// Width of [`rest_switch`].
pub const REST_WIDTH: f32 = 148.0;
/// Height of [`rest_switch`].
pub const REST_HEIGHT: f32 = 22.0;
/// Size of the track in which a switch's knob moves.
const TRACK: Vec2 = vec2(26.0, 14.0);

/// Draws the mask strength with the mode to its right.
pub fn strength_and_mode(ui: &mut Ui, params: &SiftParams, setter: &ParamSetter<'_>) {
    let (rect, _) =
        ui.allocate_exact_size(vec2(ui.available_width(), STRENGTH_STYLE.height()), Sense::hover());
    let (left, right) = rect.split_left_right_at_x(rect.right() - MODE_WIDTH);
    let mut left = ui.new_child(UiBuilder::new().max_rect(left.with_max_x(left.right() - 3.0 * theme::GAP)));
    slider(&mut left, &params.strength, setter, &STRENGTH_STYLE).on_hover_text(
        "How much of the mask is applied. Drag with Shift for fine steps, double-click to reset",
    );
    let right = right.with_min_y(right.bottom() - MODE_HEIGHT);
    switch(ui, right, &params.mode, setter, theme::BODY, [theme::of(ui).prominent(); 2]);
}

/// Draws the settings that shape the mask, how much places count, and the output gain.
pub fn mask_shape_and_gain(ui: &mut Ui, params: &SiftParams, setter: &ParamSetter<'_>) {
    let all = [
        (&params.sharpness, "Contrast of the mask: higher above 1, lower below"),
        (&params.floor, "Lowest gain that the mask applies to removed sound"),
        (&params.smooth, "Smooths the mask over time: fewer artefacts, slower response"),
        (
            &params.stereo,
            "How much it counts where in the stereo picture a sound stands, beside the mask: what stands elsewhere goes, too",
        ),
        (&params.gain, "Gain of the output"),
    ];
    ui.spacing_mut().item_spacing.x = 2.0 * theme::GAP;
    ui.columns_const(|columns: &mut [Ui; 5]| {
        for (ui, (param, hint)) in columns.iter_mut().zip(all) {
            slider(ui, param, setter, &SMALL_STYLE).on_hover_text(hint);
        }
    });
}

/// Draws the button that switches the theme. Returns the other theme when clicked.
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

/// Draws the switch for the output signal, bypass and theme from left to right. Returns the theme that was selected.
pub fn listen_bypass_and_theme(
    ui: &mut Ui,
    params: &SiftParams,
    setter: &ParamSetter<'_>,
) -> Option<ThemeChoice> {
    let height = ui.available_height();
    let (rect, _) = ui.allocate_exact_size(vec2(LISTEN_WIDTH, height), Sense::hover());
    switch(ui, rect, &params.listen, setter, theme::SMALL, [theme::of(ui).quiet(), theme::of(ui).alert()]);
    let (rect, response) = ui.allocate_exact_size(vec2(BYPASS_WIDTH, height), Sense::click());
    let is_on = params.bypass.value();
    theme::paint_surface(ui, rect, theme::of(ui).surface);
    let colors = is_on.then_some(theme::of(ui).alert());
    paint_choice(ui, &response, rect.shrink(2.0), params.bypass.name(), colors, theme::SMALL);
    response.widget_info(|| WidgetInfo::selected(Role::CheckBox, true, is_on, params.bypass.name()));
    if response.on_hover_text("Passes the input, delayed by the latency").clicked() {
        set_once(&params.bypass, !is_on, setter);
    }
    theme_button(ui)
}

/// Draws the switch for the rest at the right of the available width.
pub fn rest_switch(ui: &mut Ui, params: &SiftParams, setter: &ParamSetter<'_>) {
    let (rect, response) = ui.allocate_exact_size(ui.available_size(), Sense::click());
    let param = &params.rest;
    let is_on = param.value();
    response.widget_info(|| WidgetInfo::selected(Role::CheckBox, true, is_on, param.name()));
    let palette = theme::of(ui);
    let color = if is_on || response.hovered() { palette.text } else { palette.text_weak };
    let painter = ui.painter();
    let font = theme::font(theme::SMALL);
    let label = painter.text(rect.right_center(), Align2::RIGHT_CENTER, param.name(), font, color);
    let middle = pos2(label.left() - theme::GAP - TRACK.x / 2.0, rect.center().y);
    let track = Rect::from_center_size(middle, TRACK);
    painter.rect_filled(track, TRACK.y / 2.0, if is_on { palette.accent_dim } else { palette.outline });
    let end = if is_on { track.right() - TRACK.y / 2.0 } else { track.left() + TRACK.y / 2.0 };
    painter.circle_filled(pos2(end, middle.y), TRACK.y / 2.0 - 2.0, color);
    theme::paint_focus(ui, &response, track.union(label).expand(3.0));
    let response = response.on_hover_text(
        "Also separates what else is heard, or what the text excludes, so that less of it remains. Takes up to half \
         of the separator's time more",
    );
    if response.clicked() {
        set_once(param, !is_on, setter);
    }
}

/// Draws the two variants of `param` side by side, each as wide as its name needs. `colors` are those of the
/// selected variant.
fn switch<T: Enum + PartialEq + Copy + 'static>(
    ui: &mut Ui,
    rect: Rect,
    param: &EnumParam<T>,
    setter: &ParamSetter<'_>,
    text: f32,
    colors: [ButtonColors; 2],
) {
    theme::paint_surface(ui, rect, theme::of(ui).surface);
    let selected = param.value().to_index();
    let width = |name: &str| {
        ui.painter().layout_no_wrap(name.to_owned(), theme::font(text), theme::of(ui).text).size().x
    };
    let widths: Vec<f32> = T::variants().iter().map(|name| width(name)).collect();
    let spare = (rect.width() - widths.iter().sum::<f32>()) / widths.len() as f32;
    let mut left = rect.left();
    for (index, ((name, width), colors)) in T::variants().iter().zip(widths).zip(colors).enumerate() {
        let part = rect.with_min_x(left).with_max_x(left + width + spare);
        left = part.right();
        let response = ui.interact(part, ui.scope_id().with((param.name(), index)), Sense::click());
        response.widget_info(|| WidgetInfo::selected(Role::RadioButton, true, index == selected, name));
        ui.ctx().accesskit_node_builder(response.id, |node| node.set_description(param.name()));
        paint_choice(ui, &response, part.shrink(2.0), name, (index == selected).then_some(colors), text);
        if response.clicked() && index != selected {
            set_once(param, T::from_index(index), setter);
        }
    }
}

/// Paints a flat button with `name` in its middle. `selected` are its colours if it is selected.
fn paint_choice(
    ui: &Ui,
    response: &Response,
    rect: Rect,
    name: &str,
    selected: Option<ButtonColors>,
    text: f32,
) {
    let hovered = response
        .hovered()
        .then_some(ButtonColors { fill: theme::of(ui).surface_hovered, text: theme::of(ui).text });
    let at_rest = ButtonColors { fill: theme::of(ui).surface, text: theme::of(ui).text_weak };
    let colors = selected.or(hovered).unwrap_or(at_rest);
    let painter = ui.painter();
    painter.rect_filled(rect, CornerRadius::same(5), colors.fill);
    painter.text(rect.center(), Align2::CENTER_CENTER, name, theme::font(text), colors.text);
    theme::paint_focus(ui, response, rect);
}

#[cfg(test)]
mod tests {
    use egui_kittest::Harness;
    use egui_kittest::kittest::Queryable;

    use super::*;
    use crate::editor::mock_host::MockHost;
    use crate::params::{ListenParam, ModeParam};

    fn harness(host: &MockHost) -> Harness<'_> {
        Harness::new_ui(|ui| {
            strength_and_mode(ui, &host.params, &host.setter());
            mask_shape_and_gain(ui, &host.params, &host.setter());
            ui.horizontal(|ui| {
                ui.set_height(30.0);
                listen_bypass_and_theme(ui, &host.params, &host.setter());
            });
            rest_switch(ui, &host.params, &host.setter());
        })
    }

    #[test]
    fn every_parameter_except_the_query_has_a_control() {
        let host = MockHost::default();
        let editor = harness(&host);
        for slider in ["Mask strength", "Sharpness", "Floor", "Smoothing", "Stereo", "Output gain"] {
            editor.get_by_role_and_label(Role::Slider, slider);
        }
        for choice in ["Isolate", "Remove", "Output", "What was taken away"] {
            editor.get_by_role_and_label(Role::RadioButton, choice);
        }
        for switch in ["Bypass", "Listen to the rest"] {
            editor.get_by_role_and_label(Role::CheckBox, switch);
        }
    }

    #[test]
    fn selection_is_one_complete_gesture() {
        let host = MockHost::default();
        let mut editor = harness(&host);
        for choice in ["Remove", "What was taken away", "Bypass", "Listen to the rest"] {
            editor.get_by_label(choice).click();
            editor.run();
        }
        assert!(host.params.mode.value() == ModeParam::Remove);
        assert!(host.params.listen.value() == ListenParam::Removed);
        assert!(host.params.bypass.value());
        assert!(!host.params.rest.value());
        let gestures = ["mode", "listen", "bypass", "rest"];
        let gestures = gestures.map(|id| ["begin", "set", "end"].map(|call| format!("{call} {id}")));
        assert_eq!(host.gestures(), gestures.concat());
    }

    #[test]
    fn click_on_the_selected_choice_sends_nothing() {
        let host = MockHost::default();
        let mut editor = harness(&host);
        editor.get_by_label("Isolate").click();
        editor.run();
        assert!(host.gestures().is_empty());
    }
}
