//! The row below the query box: the sounds that are heard, as queries to choose, and the switch for the rest.

use egui::accesskit::Role;
use egui::{
    Align2, Color32, CursorIcon, DragAndDrop, Id, LayerId, Order, Rect, Response, Sense, StrokeKind, Ui,
    UiBuilder, WidgetInfo, pos2, vec2,
};
use nice_plug::prelude::*;
use sift_engine::{HeardSound, HearingState};

use super::{controls, theme};
use crate::params::SiftParams;

const HEIGHT: f32 = controls::REST_HEIGHT;
/// Space between a name and the edge of its button.
const PADDING: f32 = 5.0;
/// Width of the dot between two names, and of the mark for names without room.
const SEPARATOR_WIDTH: f32 = 10.0;
/// Width and height of the bar that shows the weight of the rest.
const WEIGHT_BAR: egui::Vec2 = vec2(28.0, 4.0);

/// Name of a sound that is dragged to a slot.
pub struct DraggedSound(pub String);

/// The names that are shown.
#[derive(Default)]
pub struct HeardSounds {
    names: Vec<String>,
    /// Whether the pointer or the keyboard focus was on a name in the last frame.
    is_in_use: bool,
}

impl HeardSounds {
    /// Draws the row for the sounds that are `heard`. Returns the name of a clicked one.
    pub fn show(
        &mut self,
        ui: &mut Ui,
        heard: &[HeardSound],
        params: &SiftParams,
        setter: &ParamSetter<'_>,
    ) -> Option<String> {
        self.update(heard);
        let (row, _) = ui.allocate_exact_size(vec2(ui.available_width(), HEIGHT), Sense::hover());
        let (left, right) = row.split_left_right_at_x(row.right() - controls::REST_WIDTH);
        let clicked = self.show_names(ui, left.with_max_x(left.right() - theme::GAP));
        controls::rest_switch(&mut ui.new_child(UiBuilder::new().max_rect(right)), params, setter);
        paint_dragged(ui);
        clicked
    }

    /// Takes the names of `heard`, unless that would move one away that the user is about to choose.
    fn update(&mut self, heard: &[HeardSound]) {
        let is_extended = heard.len() >= self.names.len()
            && heard.iter().zip(&self.names).all(|(sound, name)| sound.name == *name);
        if !self.is_in_use || is_extended {
            self.names = heard.iter().map(|sound| sound.name.clone()).collect();
        }
    }

    fn show_names(&mut self, ui: &Ui, area: Rect) -> Option<String> {
        self.is_in_use = ui.rect_contains_pointer(area);
        if self.names.is_empty() {
            return None;
        }
        let weak = theme::of(ui).text_weak;
        let font = theme::font(theme::SMALL);
        let label = ui.painter().text(area.left_center(), Align2::LEFT_CENTER, "heard:", font.clone(), weak);
        let mut left = label.right() + 2.0;
        let mut clicked = None;
        for (index, name) in self.names.iter().enumerate() {
            let width =
                ui.painter().layout_no_wrap(name.clone(), font.clone(), weak).size().x + 2.0 * PADDING;
            let separator = Rect::from_min_size(pos2(left, area.top()), vec2(SEPARATOR_WIDTH, area.height()));
            let dot_width = if index == 0 { 0.0 } else { SEPARATOR_WIDTH };
            let is_last = index + 1 == self.names.len();
            let needed = dot_width + width + if is_last { 0.0 } else { SEPARATOR_WIDTH };
            let has_room = left + needed <= area.right();
            if index > 0 || !has_room {
                let mark = if has_room { "·" } else { "…" };
                ui.painter().text(separator.center(), Align2::CENTER_CENTER, mark, font.clone(), weak);
            }
            if !has_room {
                let hidden = ui.interact(separator, ui.scope_id().with("hidden sounds"), Sense::hover());
                hidden.on_hover_text(self.names[index..].join(" · "));
                break;
            }
            let rect = Rect::from_min_size(pos2(left + dot_width, area.top()), vec2(width, area.height()));
            let response = name_button(ui, rect, name);
            self.is_in_use |= response.has_focus();
            if response.clicked() {
                clicked = Some(name.clone());
            }
            left = rect.right();
        }
        clicked
    }
}

fn name_button(ui: &Ui, rect: Rect, name: &str) -> Response {
    let response = ui.interact(rect, ui.scope_id().with(("heard", name)), Sense::click_and_drag());
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, format!("Heard: {name}")));
    response.dnd_set_drag_payload(DraggedSound(name.to_owned()));
    let fill = if response.hovered() { theme::of(ui).surface_hovered } else { Color32::TRANSPARENT };
    ui.painter().rect_filled(rect, theme::RADIUS, fill);
    let font = theme::font(theme::SMALL);
    ui.painter().text(rect.center(), Align2::CENTER_CENTER, name, font, theme::of(ui).text);
    theme::paint_focus(ui, &response, rect);
    response
        .on_hover_cursor(CursorIcon::PointingHand)
        .on_hover_text("Click to make it the active text, or drag it to a slot")
}

/// Paints the sound that is dragged, next to the pointer.
fn paint_dragged(ui: &Ui) {
    let Some(dragged) = DragAndDrop::payload::<DraggedSound>(ui.ctx()) else { return };
    let Some(pointer) = ui.ctx().pointer_interact_pos() else { return };
    let painter = ui.ctx().layer_painter(LayerId::new(Order::Tooltip, Id::unique("dragged sound")));
    let text = theme::of(ui).text;
    let galley = painter.layout_no_wrap(dragged.0.clone(), theme::font(theme::SMALL), text);
    let rect = Rect::from_min_size(pointer + vec2(12.0, 4.0), galley.size() + vec2(2.0 * PADDING, 6.0));
    let outline = (1.0, theme::of(ui).accent);
    painter.rect(rect, theme::RADIUS, theme::of(ui).surface, outline, StrokeKind::Inside);
    painter.galley(rect.min + vec2(PADDING, 3.0), galley, text);
}

/// Draws what competes as the rest, into a layout from right to left. Draws nothing if there is no rest.
pub fn show_rest(ui: &mut Ui, hearing: &HearingState) {
    let small = |text: String| egui::RichText::new(text).size(theme::SMALL).color(theme::of(ui).text_weak);
    if hearing.is_rest_paused {
        let text = small("rest: paused, the machine is busy".into());
        ui.label(text).on_hover_text("Use a larger block, close other programs, or render offline");
        return;
    }
    let Some(rest) = &hearing.rest else { return };
    let text = small(format!("rest: {}", rest.name.as_deref().unwrap_or("as you said")));
    let hint = format!("Competes with the described sound, with a weight of {:.2}", rest.weight);
    let (bar, response) = ui.allocate_exact_size(WEIGHT_BAR, Sense::hover());
    let filled = bar.with_max_x(bar.left() + bar.width() * rest.weight.clamp(0.0, 1.0));
    ui.painter().rect_filled(bar, bar.height() / 2.0, theme::of(ui).outline);
    ui.painter().rect_filled(filled, bar.height() / 2.0, theme::of(ui).accent_dim);
    response.on_hover_text(&hint);
    ui.label(text).on_hover_text(hint);
}

#[cfg(test)]
mod tests {
    use egui::{Key, Pos2, Vec2};
    use egui_kittest::Harness;
    use egui_kittest::kittest::Queryable;
    use sift_engine::{Readiness, RestSound, Snapshot};

    use super::*;
    use crate::editor::appearance::DEFAULT_EDITOR_SIZE;
    use crate::editor::mock_host::MockHost;
    use crate::editor::size::MIN_SIZE;
    use crate::editor::snapshot_tests::{heard, running};
    use crate::editor::view::{EditorData, EditorView};

    const DEFAULT_SIZE: Vec2 = vec2(DEFAULT_EDITOR_SIZE.0 as f32, DEFAULT_EDITOR_SIZE.1 as f32);
    const NAMES: [&str; 6] =
        ["drums", "bass guitar", "speech", "acoustic guitar", "crowd chatter", "saxophone"];

    /// The whole editor of an engine that hears `sounds`; its state is the engine's.
    fn editor<'a>(host: &'a MockHost, size: Vec2, sounds: &[&str]) -> Harness<'a, Snapshot> {
        let mut view = EditorView::default();
        let show = move |ui: &mut Ui, engine: &mut Snapshot| {
            let data = EditorData { engine: Some(engine), ..EditorData::default() };
            view.show(ui, host.queries(), &host.params, &host.setter(), data);
        };
        let engine = Snapshot {
            hearing: HearingState { sounds: heard(sounds), ..Default::default() },
            ..running(Readiness::Ready)
        };
        let builder = Harness::builder().with_size(size).with_context_setup(theme::apply).with_step_dt(0.05);
        let mut editor = builder.build_ui_state(show, engine);
        editor.run_steps(4);
        editor
    }

    /// Moves the pointer from a name to `target` with the button down.
    fn drag(editor: &mut Harness<'_, Snapshot>, name: &str, target: Pos2) {
        let from = editor.get_by_label(name).rect().center();
        editor.drag_at(from);
        editor.run_steps(1);
        editor.hover_at(from + vec2(0.0, 20.0));
        editor.run_steps(1);
        editor.hover_at(target);
        editor.run_steps(2);
    }

    #[test]
    fn clicked_sound_becomes_the_active_text() {
        let host = MockHost::default();
        host.automate(&host.params.query, 2);
        let mut editor = editor(&host, DEFAULT_SIZE, &NAMES);
        editor.get_by_label("Heard: bass guitar").click();
        editor.run_steps(2);
        assert_eq!(host.queries().text(1), "bass guitar");
        assert_eq!(host.gestures(), ["begin revision", "set revision", "end revision"]);
    }

    #[test]
    fn sound_is_chosen_with_the_keyboard() {
        let host = MockHost::default();
        let mut editor = editor(&host, DEFAULT_SIZE, &NAMES);
        editor.get_by_label("Heard: speech").focus();
        editor.run_steps(2);
        editor.key_press(Key::Enter);
        editor.run_steps(2);
        assert_eq!(host.queries().text(0), "speech");
    }

    #[test]
    fn tab_reaches_names_and_switch_in_reading_order() {
        let host = MockHost::default();
        let mut editor = editor(&host, DEFAULT_SIZE, &NAMES[..2]);
        editor.get_by_label("Paste").focus();
        editor.run_steps(2);
        for next in ["Heard: drums", "Heard: bass guitar", "Listen to the rest"] {
            editor.key_press(Key::Tab);
            editor.run_steps(2);
            assert!(editor.get_by_label(next).is_focused(), "{next}");
        }
        editor.key_press(Key::Enter);
        editor.run_steps(2);
        assert!(!host.params.rest.value());
    }

    #[test]
    fn clicked_sound_replaces_a_text_being_typed() {
        let host = MockHost::default();
        let mut editor = editor(&host, DEFAULT_SIZE, &NAMES);
        editor.get_by_role(Role::TextInput).click();
        editor.run_steps(2);
        editor.event(egui::Event::Text("a vio".into()));
        editor.run_steps(1);
        editor.get_by_label("Heard: saxophone").click();
        editor.run_steps(20);
        assert_eq!(host.queries().text(0), "saxophone");
        assert_eq!(editor.get_by_role(Role::TextInput).value().as_deref(), Some("saxophone"));
    }

    #[test]
    fn dragged_sound_goes_to_the_slot_where_it_is_dropped() {
        let host = MockHost::default();
        let mut editor = editor(&host, DEFAULT_SIZE, &NAMES);
        let slot = editor.get_by_label("Slot 7: a dog barking").rect().center();
        drag(&mut editor, "Heard: speech", slot);
        editor.drop_at(slot);
        editor.run_steps(2);
        assert_eq!(host.queries().text(6), "speech");
        assert_eq!(host.queries().text(0), "a person speaking");
        assert_eq!(host.params.active_slot(), 0);
        assert_eq!(host.gestures(), ["begin revision", "set revision", "end revision"]);
    }

    #[test]
    fn sound_dropped_elsewhere_changes_nothing() {
        let host = MockHost::default();
        let mut editor = editor(&host, DEFAULT_SIZE, &NAMES);
        let texts = host.queries().texts();
        let elsewhere = editor.get_by_label("Sets").rect().center();
        drag(&mut editor, "Heard: speech", elsewhere);
        editor.drop_at(elsewhere);
        editor.run_steps(2);
        assert_eq!(host.queries().texts(), texts);
        assert!(host.gestures().is_empty());
    }

    #[test]
    fn window_does_not_move_when_the_sounds_change() {
        let host = MockHost::default();
        for size in [MIN_SIZE, DEFAULT_SIZE] {
            let mut editor = editor(&host, size, &[]);
            let places = |editor: &Harness<'_, Snapshot>| {
                ["Slot 1: a person speaking", "Listen to the rest", "Output gain"]
                    .map(|label| editor.get_all_by_label(label).next().unwrap().rect())
            };
            let empty = places(&editor);
            for names in [&NAMES[..], &NAMES[..1], &[]] {
                editor.state_mut().hearing.sounds = heard(names);
                editor.state_mut().hearing.rest =
                    Some(RestSound { name: Some("acoustic guitar".into()), weight: 0.7 });
                editor.run_steps(4);
                assert_eq!(places(&editor), empty, "{names:?} at {size}");
            }
        }
    }

    #[test]
    fn names_without_room_are_left_out() {
        let host = MockHost::default();
        let shown = |size| {
            let editor = editor(&host, size, &NAMES);
            let switch = editor.get_by_label("Listen to the rest").rect();
            let names: Vec<_> = editor.get_all_by_label_contains("Heard: ").map(|name| name.rect()).collect();
            assert!(names.iter().all(|name| name.right() < switch.left()), "{names:?} overlap {switch}");
            names.len()
        };
        assert_eq!(shown(DEFAULT_SIZE), NAMES.len());
        assert!((3..NAMES.len()).contains(&shown(MIN_SIZE)), "{}", shown(MIN_SIZE));
    }

    #[test]
    fn names_stay_in_place_under_the_pointer() {
        let host = MockHost::default();
        let mut editor = editor(&host, DEFAULT_SIZE, &["drums", "speech"]);
        let speech = editor.get_by_label("Heard: speech").rect();
        editor.hover_at(speech.center());
        editor.run_steps(2);
        editor.state_mut().hearing.sounds = heard(&["speech"]);
        editor.run_steps(2);
        assert_eq!(editor.get_by_label("Heard: speech").rect(), speech);
        editor.state_mut().hearing.sounds = heard(&["drums", "speech", "rain"]);
        editor.run_steps(2);
        editor.get_by_label("Heard: rain");
        editor.state_mut().hearing.sounds = heard(&["speech"]);
        editor.hover_at(Pos2::ZERO);
        editor.run_steps(3);
        assert!(editor.query_by_label("Heard: drums").is_none());
    }

    #[test]
    fn rest_is_shown_by_name_or_as_said_or_as_paused() {
        let host = MockHost::default();
        let mut editor = editor(&host, MIN_SIZE, &[]);
        assert!(editor.query_by_label_contains("rest: ").is_none());
        let rest = |name: Option<&str>| Some(RestSound { name: name.map(str::to_owned), weight: 0.5 });
        for (hearing, text) in [
            (HearingState { rest: rest(Some("music")), ..Default::default() }, "rest: music"),
            (HearingState { rest: rest(None), ..Default::default() }, "rest: as you said"),
            (
                HearingState { is_rest_paused: true, ..Default::default() },
                "rest: paused, the machine is busy",
            ),
        ] {
            editor.state_mut().hearing = hearing;
            editor.run_steps(2);
            let rect = editor.get_by_label(text).rect();
            assert!(rect.right() < MIN_SIZE.x, "{text} at {rect}");
        }
    }
}
