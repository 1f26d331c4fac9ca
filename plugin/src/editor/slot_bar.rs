//! The slot bar: shows the eight queries, and selects, edits and clears them.

use std::sync::Arc;

use egui::accesskit::Role;
use egui::{
    Align2, Rect, Sense, Stroke, StrokeKind, TextWrapMode, Ui, UiBuilder, WidgetInfo, WidgetText, vec2,
};
use nice_plug::prelude::*;
use sift_engine::{Queries, SLOTS, SlotState};

use super::clipboard;
use super::heard_sounds::DraggedSound;
use super::query_set_menu::{self, QuerySetMenu};
use super::slider::set_once;
use super::theme;
use crate::params::SiftParams;

const HEIGHT: f32 = query_set_menu::BUTTON_HEIGHT;
/// Width per slot from which all slots fit in one row.
const COMFORTABLE_WIDTH: f32 = 124.0;

/// The slots, and the menu of query sets to their right.
#[derive(Default)]
pub struct SlotBar {
    pub menu: QuerySetMenu,
}

impl SlotBar {
    /// Draws the slots in one row or two, and the menu. Returns whether the user wants to type into the active slot.
    pub fn show(
        &mut self,
        ui: &mut Ui,
        queries: &Arc<Queries>,
        params: &SiftParams,
        setter: &ParamSetter<'_>,
    ) -> bool {
        let menu_width = query_set_menu::BUTTON_WIDTH;
        let height = height(ui.available_width() - menu_width - theme::GAP);
        let (area, _) = ui.allocate_exact_size(vec2(ui.available_width(), height), Sense::hover());
        let (left, right) = area.split_left_right_at_x(area.right() - menu_width);
        let left = left.with_max_x(left.right() - theme::GAP);
        let wants_typing = slots(&mut ui.new_child(UiBuilder::new().max_rect(left)), queries, params, setter);
        self.menu.show(&mut ui.new_child(UiBuilder::new().max_rect(right)), queries, params, setter);
        wants_typing
    }
}

/// Sets the text of `slot`. Marks the project as changed if it is another text.
pub fn set_text(
    queries: &Arc<Queries>,
    slot: usize,
    text: &str,
    params: &SiftParams,
    setter: &ParamSetter<'_>,
) {
    if params.history.lock().edit(queries, [(slot, text)]) {
        params.mark_edited(setter);
    }
}

/// Undoes the last edit of texts, or with `redo` repeats the one that was undone last.
pub fn undo(queries: &Arc<Queries>, redo: bool, params: &SiftParams, setter: &ParamSetter<'_>) {
    let mut history = params.history.lock();
    let has_changed = if redo { history.redo(queries) } else { history.undo(queries) };
    drop(history);
    if has_changed {
        params.mark_edited(setter);
    }
}

/// Draws the menu entries that undo and redo edits of texts, if there are any.
pub fn undo_entries(ui: &mut Ui, queries: &Arc<Queries>, params: &SiftParams, setter: &ParamSetter<'_>) {
    let (can_undo, can_redo) = params.history.lock().availability(queries);
    for (label, redo, is_available) in [("Undo", false, can_undo), ("Redo", true, can_redo)] {
        if is_available && ui.button(label).clicked() {
            undo(queries, redo, params, setter);
            ui.close();
        }
    }
}

/// Number of slots per row in this width.
fn columns(width: f32) -> usize {
    if width >= COMFORTABLE_WIDTH * SLOTS as f32 { SLOTS } else { SLOTS / 2 }
}

fn height(width: f32) -> f32 {
    let rows = SLOTS / columns(width);
    rows as f32 * (HEIGHT + theme::GAP) - theme::GAP
}

fn slots(ui: &mut Ui, queries: &Arc<Queries>, params: &SiftParams, setter: &ParamSetter<'_>) -> bool {
    let width = ui.available_width();
    let columns = columns(width);
    let gap = theme::GAP;
    let (area, _) = ui.allocate_exact_size(vec2(width, height(width)), Sense::hover());
    let cell = vec2((width + gap) / columns as f32 - gap, HEIGHT);
    let mut wants_typing = false;
    for (index, text) in queries.texts().iter().enumerate() {
        let (row, column) = (index / columns, index % columns);
        let corner = area.min + vec2(column as f32, row as f32) * (cell + vec2(gap, gap));
        wants_typing |= slot(ui, Rect::from_min_size(corner, cell), index, text, queries, params, setter);
    }
    wants_typing
}

/// Draws one slot, which a click selects. Returns whether the user wants to type into it.
fn slot(
    ui: &mut Ui,
    rect: Rect,
    index: usize,
    text: &str,
    queries: &Arc<Queries>,
    params: &SiftParams,
    setter: &ParamSetter<'_>,
) -> bool {
    let is_active = params.active_slot() == index;
    let has_no_effect = match queries.slot_state(index) {
        SlotState::Failed => true,
        SlotState::Ready => queries.understanding(index).passes_everything(),
        SlotState::Empty | SlotState::Encoding => false,
    };
    let response = ui.interact(rect, ui.scope_id().with(("slot", index)), Sense::click());
    response.widget_info(|| {
        WidgetInfo::selected(Role::RadioButton, true, is_active, format!("Slot {}: {text}", index + 1))
    });

    let is_drop_target = response.dnd_hover_payload::<DraggedSound>().is_some();
    if let Some(dropped) = response.dnd_release_payload::<DraggedSound>() {
        set_text(queries, index, &dropped.0, params, setter);
    }

    let (fill, outline, color) = match is_active {
        true => (theme::of(ui).accent, theme::of(ui).accent, theme::of(ui).on_accent),
        false if response.hovered() || is_drop_target => {
            (theme::of(ui).surface_hovered, theme::of(ui).outline, theme::of(ui).text)
        }
        false => (theme::of(ui).surface, theme::of(ui).outline, theme::of(ui).text),
    };
    let number_color = match (has_no_effect, is_active) {
        (true, false) => theme::of(ui).warning,
        (_, true) => theme::of(ui).on_accent,
        (false, false) => theme::of(ui).text_weak,
    };
    let painter = ui.painter();
    painter.rect(rect, theme::RADIUS, fill, Stroke::new(1.0, outline), StrokeKind::Inside);
    if is_drop_target {
        let ring = if is_active { theme::of(ui).text } else { theme::of(ui).accent };
        painter.rect_stroke(rect, theme::RADIUS, (2.0, ring), StrokeKind::Inside);
    }
    let number = rect.left_center() + vec2(10.0, 0.0);
    let number =
        painter.text(number, Align2::LEFT_CENTER, index + 1, theme::font(theme::SMALL), number_color);

    let label = rect.with_min_x(number.right() + 7.0).with_max_x(rect.right() - 8.0);
    let (shown, color) = match text.trim() {
        "" => ("empty", color.gamma_multiply(0.6)),
        text => (text, color),
    };
    let galley = WidgetText::from(shown).into_galley(
        ui,
        Some(TextWrapMode::Truncate),
        label.width(),
        theme::font(theme::SMALL + 1.0),
    );
    let elided = galley.elided;
    let at = Align2::LEFT_CENTER.align_size_within_rect(galley.size(), label);
    ui.painter().galley_with_override_text_color(at.min, galley, color);

    theme::paint_focus(ui, &response, rect);
    let mut wants_typing = response.double_clicked();
    response.context_menu(|ui| {
        wants_typing |= ui.button("Edit").clicked();
        if ui.button("Copy").clicked() {
            ui.copy_text(text.to_owned());
        }
        let pasted = ui.button("Paste").clicked().then(clipboard::text).flatten();
        let cleared = ui.button("Clear").clicked().then(String::new);
        if let Some(text) = pasted.or(cleared) {
            set_text(queries, index, &text, params, setter);
        }
        undo_entries(ui, queries, params, setter);
    });
    if (response.clicked() || wants_typing) && !is_active {
        set_once(&params.query, index as i32 + 1, setter);
    }
    if elided {
        response.on_hover_text(text);
    }
    wants_typing
}

#[cfg(test)]
mod tests {
    use egui::accesskit::Toggled;
    use egui_kittest::kittest::{NodeT, Queryable};

    use super::*;
    use crate::editor::mock_host::{MockHost, editor};
    use crate::editor::size::MIN_SIZE;

    fn harness(host: &MockHost) -> egui_kittest::Harness<'_> {
        egui_kittest::Harness::new_ui(|ui| {
            slots(ui, host.queries(), &host.params, &host.setter());
        })
    }

    #[test]
    fn slot_is_edited_by_double_click_and_by_menu() {
        for by_menu in [true, false] {
            let host = MockHost::default();
            let mut editor = editor(&host, MIN_SIZE);
            let slot = editor.get_by_label("Slot 3: piano");
            if by_menu {
                slot.click_secondary();
                editor.run_steps(3);
                editor.get_by_label("Edit").click();
            } else {
                slot.click();
                editor.get_by_label("Slot 3: piano").click();
            }
            editor.run_steps(3);
            assert_eq!(host.params.active_slot(), 2);
            editor.event(egui::Event::Text("an old piano".into()));
            editor.key_press(egui::Key::Enter);
            editor.run_steps(3);
            assert_eq!(host.queries().text(2), "an old piano", "the old text is replaced");
            assert_eq!(host.queries().text(0), "a person speaking");
        }
    }

    #[test]
    fn slot_can_be_cleared() {
        let host = MockHost::default();
        let mut editor = harness(&host);
        editor.get_by_label("Slot 2: drums").click_secondary();
        editor.run();
        editor.get_by_label("Clear").click();
        editor.run();
        assert_eq!(host.queries().text(1), "");
        assert_eq!(host.queries().text(0), "a person speaking");
    }

    #[test]
    fn cleared_slot_gets_its_text_back_by_its_menu() {
        let host = MockHost::default();
        let mut editor = harness(&host);
        for (entry, expected) in [("Clear", ""), ("Undo", "drums"), ("Redo", ""), ("Undo", "drums")] {
            let slot = if host.queries().text(1).is_empty() { "Slot 2: " } else { "Slot 2: drums" };
            editor.get_by_label(slot).click_secondary();
            editor.run();
            editor.get_by_label(entry).click();
            editor.run();
            assert_eq!(host.queries().text(1), expected, "{entry}");
        }
        assert_eq!(host.gestures().len(), 4 * 3, "each marks the project as changed");
    }

    #[test]
    fn click_on_a_slot_is_one_gesture_of_the_active_query() {
        let host = MockHost::default();
        let mut editor = harness(&host);
        editor.get_by_label("Slot 3: piano").click();
        editor.run();
        assert_eq!(host.gestures(), ["begin query", "set query", "end query"]);
        assert_eq!(host.params.active_slot(), 2);
    }

    #[test]
    fn selected_slot_follows_automation() {
        let host = MockHost::default();
        let mut editor = harness(&host);
        host.automate(&host.params.query, 5);
        editor.run();
        let is_selected =
            |label| editor.get_by_label(label).accesskit_node().toggled() == Some(Toggled::True);
        assert!(is_selected("Slot 5: rain"));
        assert!(!is_selected("Slot 1: a person speaking"));
        assert!(host.gestures().is_empty());
    }
}
