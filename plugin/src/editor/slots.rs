//! The eight slots: what each says, which one is active, and choosing another.

use egui::accesskit::Role;
use egui::{Align2, Rect, Sense, Stroke, StrokeKind, TextWrapMode, Ui, WidgetInfo, WidgetText, vec2};
use nice_plug::prelude::*;
use sift_engine::{SLOTS, Stage};

use super::slider::set_once;
use super::theme;
use crate::params::SiftParams;

const HEIGHT: f32 = 32.0;
/// The slots stand in one row where each is at least this wide.
const COMFORTABLE_WIDTH: f32 = 124.0;

/// Draws the slots in one row or two; a click makes a slot the active one.
pub fn slots(ui: &mut Ui, params: &SiftParams, setter: &ParamSetter<'_>) {
    let width = ui.available_width();
    let columns = if width >= COMFORTABLE_WIDTH * SLOTS as f32 { SLOTS } else { SLOTS / 2 };
    let rows = SLOTS / columns;
    let gap = theme::GAP;
    let height = rows as f32 * (HEIGHT + gap) - gap;
    let (area, _) = ui.allocate_exact_size(vec2(width, height), Sense::hover());
    let cell = vec2((width + gap) / columns as f32 - gap, HEIGHT);
    for (index, text) in params.queries.0.texts().iter().enumerate() {
        let (row, column) = (index / columns, index % columns);
        let corner = area.min + vec2(column as f32, row as f32) * (cell + vec2(gap, gap));
        slot(ui, Rect::from_min_size(corner, cell), index, text, params, setter);
    }
}

fn slot(ui: &mut Ui, rect: Rect, index: usize, text: &str, params: &SiftParams, setter: &ParamSetter<'_>) {
    let active = params.active_slot() == index;
    let failed = params.queries.0.stage(index) == Stage::Failed;
    let response = ui.interact(rect, ui.scope_id().with(("slot", index)), Sense::click());
    response.widget_info(|| {
        WidgetInfo::selected(Role::RadioButton, true, active, format!("Slot {}: {text}", index + 1))
    });

    let (fill, outline, color) = match active {
        true => (theme::ACCENT, theme::ACCENT, theme::ON_ACCENT),
        false if response.hovered() => (theme::SURFACE_HOVERED, theme::OUTLINE, theme::TEXT),
        false => (theme::SURFACE, theme::OUTLINE, theme::TEXT),
    };
    let number_color = match (failed, active) {
        (true, false) => theme::WARNING,
        (_, true) => theme::ON_ACCENT,
        (false, false) => theme::TEXT_WEAK,
    };
    let painter = ui.painter();
    painter.rect(rect, theme::RADIUS, fill, Stroke::new(1.0, outline), StrokeKind::Inside);
    let number = rect.left_center() + vec2(10.0, 0.0);
    let number =
        painter.text(number, Align2::LEFT_CENTER, index + 1, theme::font(theme::SMALL), number_color);

    let words = rect.with_min_x(number.right() + 7.0).with_max_x(rect.right() - 8.0);
    let (shown, color) = match text.trim() {
        "" => ("empty", color.gamma_multiply(0.6)),
        text => (text, color),
    };
    let galley = WidgetText::from(shown).into_galley(
        ui,
        Some(TextWrapMode::Truncate),
        words.width(),
        theme::font(theme::SMALL + 1.0),
    );
    let elided = galley.elided;
    let at = Align2::LEFT_CENTER.align_size_within_rect(galley.size(), words);
    ui.painter().galley_with_override_text_color(at.min, galley, color);

    let response = if elided { response.on_hover_text(text) } else { response };
    if response.clicked() && !active {
        set_once(&params.query, index as i32 + 1, setter);
    }
}

#[cfg(test)]
mod tests {
    use egui::accesskit::Toggled;
    use egui_kittest::kittest::{NodeT, Queryable};

    use super::*;
    use crate::editor::testing::Host;

    fn harness(host: &Host) -> egui_kittest::Harness<'_> {
        egui_kittest::Harness::new_ui(|ui| slots(ui, &host.params, &host.setter()))
    }

    #[test]
    fn a_click_on_a_slot_is_one_whole_gesture_of_the_active_query() {
        let host = Host::default();
        let mut window = harness(&host);
        window.get_by_label("Slot 3: piano").click();
        window.run();
        assert_eq!(host.gestures(), ["begin query", "set query", "end query"]);
        assert_eq!(host.params.active_slot(), 2);
    }

    #[test]
    fn the_lit_slot_follows_automation() {
        let host = Host::default();
        let mut window = harness(&host);
        host.automate(&host.params.query, 5);
        window.run();
        let lit = |label| window.get_by_label(label).accesskit_node().toggled() == Some(Toggled::True);
        assert!(lit("Slot 5: rain"));
        assert!(!lit("Slot 1: a person speaking"));
        assert!(host.gestures().is_empty());
    }
}
