//! A slider for a parameter, set by dragging, wheel, keys or typing.

use egui::accesskit::{Action, ActionData};
use egui::text::CCursor;
use egui::text_selection::CCursorRange;
use egui::{
    Align2, Color32, CornerRadius, CursorIcon, Event, EventFilter, Id, Key, MouseWheelUnit, Rect, Response,
    Sense, TextEdit, TextWrapMode, Ui, Vec2, WidgetInfo, WidgetText, emath, pos2, vec2,
};
use nice_plug::prelude::*;

use super::theme::{self, Palette};

/// Share of the range that a fine drag over the whole bar covers.
const FINE_DRAG_RATIO: f32 = 0.1;

/// Scroll distance on a touch pad that equals one notch of a wheel, in points.
const POINTS_PER_NOTCH: f32 = 20.0;

/// Largest width of the field for typing a value, in points.
const MAX_FIELD_WIDTH: f32 = 96.0;

/// Sizes, in points, and fill of a slider.
pub struct SliderStyle {
    pub text: f32,
    pub value_text: f32,
    pub bar_height: f32,
    pub fill: fn(&Palette) -> Color32,
    /// Fill the bar from the default value instead of the left end.
    pub fill_from_default: bool,
}

impl SliderStyle {
    /// Height of the whole slider.
    pub fn height(&self) -> f32 {
        self.line_height() + self.bar_height
    }

    fn line_height(&self) -> f32 {
        self.value_text.max(self.text) * 1.4 + 3.0
    }
}

/// Sets a parameter as one complete gesture.
pub fn set_once<P: Param>(param: &P, value: P::Plain, setter: &ParamSetter<'_>) {
    setter.begin_set_parameter(param);
    setter.set_parameter(param, value);
    setter.end_set_parameter(param);
}

/// State of a drag, in normalised values.
#[derive(Clone, Copy, Default)]
struct Drag {
    /// Value under the pointer, before rounding to the parameter's steps.
    value: f32,
    /// Value last sent to the host.
    sent: f32,
}

/// Draws a slider for `param` over the available width.
///
/// Dragging sets the value, with Shift in fine steps; so do the wheel and, with the focus, the arrow keys.
/// A double click, or a click with Ctrl (Cmd), resets it to the default. A click on the value opens a text field.
pub fn slider(ui: &mut Ui, param: &FloatParam, setter: &ParamSetter<'_>, style: &SliderStyle) -> Response {
    let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), style.height()), Sense::hover());
    let (line, bar) = rect.split_top_bottom_at_y(rect.top() + style.line_height());
    let id = ui.scope_id().with(param.name());

    let response = ui.interact(bar, id, Sense::click_and_drag());
    let value = drag(ui, &response, param, setter);
    step(ui, &response, param, value, setter);
    response.widget_info(|| {
        WidgetInfo::slider(ui.is_enabled(), f64::from(param.preview_plain(value)), param.name())
    });
    describe(ui, &response, param, value);
    paint_bar(ui, &response, value, style.fill_from_default.then(|| param.default_normalized_value()), style);

    let field = value_field(ui, line, id.with("value"), param, value, setter, style);
    let name = WidgetText::from(param.name()).into_galley(
        ui,
        Some(TextWrapMode::Truncate),
        field.left() - line.left() - 4.0,
        theme::font(style.text),
    );
    ui.painter().galley_with_override_text_color(line.min, name, theme::of(ui).text_weak);
    response
}

/// Handles a drag. Returns the normalised value to show.
fn drag(ui: &Ui, response: &Response, param: &FloatParam, setter: &ParamSetter<'_>) -> f32 {
    let id = response.id;
    let previous = ui.data(|data| data.get_temp::<Drag>(id));
    if !response.is_pointer_button_down_on() {
        let Some(drag) = previous else { return param.unmodulated_normalized_value() };
        if response.double_clicked() {
            setter.set_parameter(param, param.default_plain_value());
        }
        setter.end_set_parameter(param);
        ui.data_mut(|data| data.remove_temp::<Drag>(id));
        return drag.sent;
    }

    let mut drag = previous.unwrap_or_else(|| {
        setter.begin_set_parameter(param);
        let value = param.unmodulated_normalized_value();
        Drag { value, sent: value }
    });
    let (modifiers, delta, pressed) =
        ui.input(|input| (input.modifiers, input.pointer.delta().x, input.pointer.any_pressed()));
    if modifiers.command {
        drag.value = param.default_normalized_value();
    } else if modifiers.shift {
        drag.value = (drag.value + delta / response.rect.width() * FINE_DRAG_RATIO).clamp(0.0, 1.0);
    } else if let Some(pointer) = response.interact_pointer_pos()
        && (pressed || delta != 0.0)
    {
        drag.value = emath::remap_clamp(pointer.x, response.rect.x_range(), 0.0..=1.0);
    }
    let plain = param.preview_plain(drag.value);
    let normalised = param.preview_normalized(plain);
    if normalised != drag.sent {
        setter.set_parameter(param, plain);
        drag.sent = normalised;
    }
    ui.data_mut(|data| data.insert_temp(id, drag));
    drag.sent
}

/// Tells assistive technology the range of `param`, its `value` in words, and how to change it.
fn describe(ui: &Ui, response: &Response, param: &FloatParam, value: f32) {
    ui.ctx().accesskit_node_builder(response.id, |node| {
        node.set_min_numeric_value(param.preview_plain(0.0).into());
        node.set_max_numeric_value(param.preview_plain(1.0).into());
        node.set_value(param.normalized_value_to_string(value, true));
        for action in [Action::SetValue, Action::Increment, Action::Decrement] {
            node.add_action(action);
        }
    });
}

/// Changes the value by steps: wheel over the bar, arrow keys with the focus, and assistive technology, which also sets it.
fn step(ui: &Ui, response: &Response, param: &FloatParam, value: f32, setter: &ParamSetter<'_>) {
    if let Some(value) = assistive_value(ui, response) {
        let value = value.clamp(param.preview_plain(0.0), param.preview_plain(1.0));
        set_once(param, value, setter);
        return;
    }
    let mut steps = assistive_steps(ui, response);
    if response.has_focus() {
        let arrows = EventFilter { horizontal_arrows: true, vertical_arrows: true, ..Default::default() };
        ui.memory_mut(|memory| memory.set_focus_lock_filter(response.id, arrows));
        let keys = [(Key::ArrowUp, 1), (Key::ArrowRight, 1), (Key::ArrowDown, -1), (Key::ArrowLeft, -1)];
        steps += ui
            .input(|input| keys.iter().map(|(key, step)| step * input.num_presses(*key) as i32).sum::<i32>());
    }
    if response.hovered() {
        let scrolled: f32 = ui.input_mut(|input| {
            // The same wheel movement must not scroll the editor as well.
            input.smooth_scroll_delta = Vec2::ZERO;
            input.events.iter().map(notches).sum()
        });
        // A touch pad scrolls by fractions of a notch.
        let id = response.id.with("wheel");
        let scrolled = scrolled + ui.data(|data| data.get_temp::<f32>(id)).unwrap_or_default();
        ui.data_mut(|data| data.insert_temp(id, scrolled.fract()));
        steps += scrolled as i32;
    }
    if steps == 0 || response.is_pointer_button_down_on() {
        return;
    }
    let is_fine = ui.input(|input| input.modifiers.shift);
    let step_once = |value: f32, _| match steps > 0 {
        true => param.next_normalized_step(value, is_fine),
        false => param.previous_normalized_step(value, is_fine),
    };
    let stepped = (0..steps.unsigned_abs()).fold(value, step_once);
    set_once(param, param.preview_plain(stepped), setter);
}

/// Steps requested by assistive technology.
fn assistive_steps(ui: &Ui, response: &Response) -> i32 {
    let requests = |action| ui.input(|input| input.num_accesskit_action_requests(response.id, action) as i32);
    requests(Action::Increment) - requests(Action::Decrement)
}

/// Value set by assistive technology.
fn assistive_value(ui: &Ui, response: &Response) -> Option<f32> {
    ui.input(|input| {
        let requests = input.accesskit_action_requests(response.id, Action::SetValue);
        let values = requests.filter_map(|request| match request.data {
            Some(ActionData::NumericValue(value)) => Some(value as f32),
            _ => None,
        });
        values.filter(|value| value.is_finite()).last()
    })
}

/// Upward movement of the wheel, in notches. With Shift, systems report it as sideways.
fn notches(event: &Event) -> f32 {
    let Event::MouseWheel { unit, delta, .. } = event else { return 0.0 };
    let scrolled = delta.x + delta.y;
    if *unit == MouseWheelUnit::Point { scrolled / POINTS_PER_NOTCH } else { scrolled }
}

/// Paints the bar, filled from `origin` or the left end to `value`, both normalised.
fn paint_bar(ui: &Ui, response: &Response, value: f32, origin: Option<f32>, style: &SliderStyle) {
    let bar = response.rect;
    let is_active = response.hovered() || response.is_pointer_button_down_on();
    let radius = CornerRadius::same((style.bar_height / 2.0).min(7.0) as u8);
    let painter = ui.painter();
    painter.rect_filled(
        bar,
        radius,
        if is_active { theme::of(ui).surface_hovered } else { theme::of(ui).surface },
    );
    let at = |value: f32| emath::lerp(bar.x_range(), value);
    let (left, right) = (at(value.min(origin.unwrap_or(0.0))), at(value.max(origin.unwrap_or(0.0))));
    if right > left {
        let fill = Rect::from_x_y_ranges(left..=right, bar.y_range());
        painter.rect_filled(fill, radius, (style.fill)(theme::of(ui)));
    }
    let x = at(value).clamp(bar.left() + 2.0, bar.right() - 2.0);
    let handle = Rect::from_center_size(pos2(x, bar.center().y), vec2(4.0, bar.height() + 4.0));
    painter.rect_filled(
        handle,
        CornerRadius::same(2),
        if is_active { theme::of(ui).accent } else { theme::of(ui).text },
    );
    theme::paint_focus(ui, response, bar);
    if response.hovered() {
        ui.set_cursor_icon(CursorIcon::ResizeHorizontal);
    }
}

/// Draws the value at the right of `line` as text, which a click turns into a text field. Returns what it covers.
fn value_field(
    ui: &mut Ui,
    line: Rect,
    id: Id,
    param: &FloatParam,
    value: f32,
    setter: &ParamSetter<'_>,
    style: &SliderStyle,
) -> Rect {
    let text = param.normalized_value_to_string(value, true);
    let Some(mut typed) = ui.data(|data| data.get_temp::<String>(id)) else {
        let galley =
            ui.painter().layout_no_wrap(text.clone(), theme::font(style.value_text), theme::of(ui).text);
        let rect = Align2::RIGHT_TOP.align_size_within_rect(galley.size(), line);
        let response = ui.interact(rect, id.with("click"), Sense::click()).on_hover_cursor(CursorIcon::Text);
        response.widget_info(|| {
            WidgetInfo::labeled(egui::accesskit::Role::Button, true, format!("{}: {text}", param.name()))
        });
        ui.painter().galley(rect.min, galley, theme::of(ui).text);
        if response.clicked() {
            let mut state = egui::widgets::text_edit::TextEditState::default();
            let end = CCursor::new(text.chars().count());
            state.cursor.set_char_range(Some(CCursorRange::two(CCursor::default(), end)));
            state.store(ui.ctx(), id);
            ui.memory_mut(|memory| memory.request_focus(id));
            ui.data_mut(|data| data.insert_temp(id, text));
        }
        return rect;
    };

    let edit = TextEdit::singleline(&mut typed)
        .id(id)
        .font(theme::font(style.value_text))
        .align(Align2::RIGHT_TOP)
        .hint_text(param.name())
        .frame(egui::Frame::NONE.fill(theme::of(ui).surface).corner_radius(3));
    let field = line.with_min_x(line.left().max(line.right() - MAX_FIELD_WIDTH));
    let response = ui.put(field, edit);
    ui.ctx().accesskit_node_builder(id, |node| node.set_label(param.name()));
    if response.lost_focus() {
        let is_confirmed = ui.input(|input| !input.key_pressed(Key::Escape));
        if let Some(normalised) = param.string_to_normalized_value(&typed).filter(|_| is_confirmed) {
            set_once(param, param.preview_plain(normalised), setter);
        }
        ui.data_mut(|data| data.remove_temp::<String>(id));
    } else {
        ui.data_mut(|data| data.insert_temp(id, typed));
    }
    field
}

#[cfg(test)]
mod tests {
    use egui_kittest::Harness;
    use egui_kittest::kittest::Queryable;

    use super::*;
    use crate::editor::mock_host::MockHost;

    const STYLE: SliderStyle = SliderStyle {
        text: theme::BODY,
        value_text: theme::BODY,
        bar_height: 20.0,
        fill: |palette| palette.accent,
        fill_from_default: false,
    };

    fn harness(host: &MockHost) -> Harness<'_> {
        let show = |ui: &mut Ui| {
            slider(ui, &host.params.gain, &host.setter(), &STYLE);
        };
        Harness::builder().with_step_dt(0.05).build_ui(show)
    }

    fn bar(editor: &Harness<'_>) -> Rect {
        editor.get_by_role_and_label(egui::accesskit::Role::Slider, "Output gain").rect()
    }

    #[test]
    fn drag_is_one_gesture_and_sets_the_value_at_the_pointer() {
        let host = MockHost::default();
        let mut editor = harness(&host);
        let bar = bar(&editor);
        editor.drag_at(bar.center());
        editor.step();
        editor.hover_at(bar.right_center());
        editor.step();
        editor.drop_at(bar.right_center());
        editor.run_steps(3);
        assert_eq!(host.gestures(), ["begin gain", "set gain", "set gain", "end gain"]);
        assert_eq!(host.params.gain.value(), 12.0);
    }

    #[test]
    fn click_is_one_complete_gesture() {
        let host = MockHost::default();
        let mut editor = harness(&host);
        let at = bar(&editor).left_center();
        editor.drag_at(at);
        editor.drop_at(at);
        editor.run_steps(4);
        assert_eq!(host.gestures(), ["begin gain", "set gain", "end gain"]);
        assert_eq!(host.params.gain.value(), -24.0);
    }

    #[test]
    fn drag_with_shift_is_fine_and_does_not_jump() {
        let host = MockHost::default();
        let mut editor = harness(&host);
        let bar = bar(&editor);
        let from = bar.left_center();
        editor.hover_at(from);
        editor.step();
        editor.event(Event::ModifiersChanged(egui::Modifiers::SHIFT));
        editor.drag_at(from);
        editor.run_steps(2);
        editor.hover_at(bar.center());
        editor.run_steps(2);
        editor.drop_at(bar.center());
        editor.run_steps(2);
        let travelled = host.params.gain.value();
        assert!(
            (1.0..=2.6).contains(&travelled),
            "half the bar must be about a twentieth of 36 dB, not {travelled}"
        );
    }

    #[test]
    fn double_click_resets_to_the_default() {
        let host = MockHost::default();
        host.automate(&host.params.gain, -6.0);
        let mut editor = harness(&host);
        let at = bar(&editor).left_center();
        for _ in 0..2 {
            editor.drag_at(at);
            editor.drop_at(at);
        }
        editor.run_steps(6);
        assert_eq!(host.params.gain.value(), 0.0);
        assert_eq!(host.gestures().last().unwrap(), "end gain");
    }

    fn scroll(editor: &mut Harness<'_>, notches: f32) {
        let delta = vec2(0.0, notches);
        editor.event(Event::MouseWheel {
            unit: MouseWheelUnit::Line,
            delta,
            phase: egui::TouchPhase::Move,
            source: egui::MouseWheelSource::Wheel,
            modifiers: egui::Modifiers::NONE,
        });
        editor.run_steps(2);
    }

    #[test]
    fn wheel_changes_the_value_only_over_the_bar() {
        let host = MockHost::default();
        let mut editor = harness(&host);
        let bar = bar(&editor);
        editor.hover_at(bar.center() + vec2(0.0, 200.0));
        scroll(&mut editor, 1.0);
        assert!(host.gestures().is_empty());
        editor.hover_at(bar.center());
        editor.step();
        scroll(&mut editor, 2.0);
        let up = host.params.gain.value();
        assert!((0.2..=3.0).contains(&up), "two notches: {up} dB");
        assert_eq!(host.gestures(), ["begin gain", "set gain", "end gain"]);
        scroll(&mut editor, -2.0);
        assert!(host.params.gain.value().abs() < 1e-3);
    }

    #[test]
    fn keys_with_focus_and_assistive_technology_change_the_value() {
        let host = MockHost::default();
        let mut editor = harness(&host);
        editor.key_press(Key::ArrowUp);
        editor.run_steps(2);
        assert!(host.gestures().is_empty(), "nothing has the focus");
        editor.get_by_role_and_label(egui::accesskit::Role::Slider, "Output gain").focus();
        editor.run_steps(2);
        for key in [Key::ArrowUp, Key::ArrowRight, Key::ArrowLeft] {
            editor.key_press(key);
            editor.run_steps(2);
        }
        let up = host.params.gain.value();
        assert!(up > 0.0 && host.gestures().len() == 9, "{up} {:?}", host.gestures());
        editor.get_by_role_and_label(egui::accesskit::Role::Slider, "Output gain").decrement_accesskit();
        editor.run_steps(2);
        assert!(host.params.gain.value() < up);
    }

    #[test]
    fn typed_value_is_applied() {
        let host = MockHost::default();
        let mut editor = harness(&host);
        editor.get_by_label_contains("Output gain: ").click();
        editor.run_steps(2);
        editor.event(Event::Text("-3.5".into()));
        editor.key_press(Key::Enter);
        editor.run_steps(4);
        assert_eq!(host.gestures(), ["begin gain", "set gain", "end gain"]);
        assert_eq!(host.params.gain.value(), -3.5);
    }
}
