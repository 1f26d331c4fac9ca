//! The eight slots: what each says, which one is active, choosing another, and sets for all of them.

use std::path::PathBuf;

use egui::accesskit::Role;
use egui::containers::menu::{MenuButton, MenuConfig};
use egui::{
    Align2, Button, PopupCloseBehavior, Rect, RichText, Sense, Stroke, StrokeKind, TextEdit, TextWrapMode,
    Ui, UiBuilder, WidgetInfo, WidgetText, vec2,
};
use nice_plug::prelude::*;
use sift_engine::{SLOTS, Stage};

use super::query_box::clipboard;
use super::slider::set_once;
use super::theme;
use crate::params::SiftParams;
use crate::sets::{self, Set};

const HEIGHT: f32 = 32.0;
/// The slots stand in one row where each is at least this wide.
const COMFORTABLE_WIDTH: f32 = 124.0;
/// Of the button beside the slots.
const MENU_WIDTH: f32 = 56.0;
const MENU_CONTENT_WIDTH: f32 = 240.0;

/// The slots, and the menu of sets beside them.
#[derive(Default)]
pub struct Slots {
    menu: SetsMenu,
}

impl Slots {
    /// With a person's own sets in `folder`.
    #[cfg(test)]
    pub fn with_sets(folder: PathBuf) -> Self {
        Self { menu: SetsMenu { folder: Some(folder), ..SetsMenu::default() } }
    }

    /// Draws the slots in one row or two, a click makes a slot the active one, and the menu beside them.
    /// Whether other words are to be typed for the active one.
    pub fn show(&mut self, ui: &mut Ui, params: &SiftParams, setter: &ParamSetter<'_>) -> bool {
        let height = height(ui.available_width() - MENU_WIDTH - theme::GAP);
        let (area, _) = ui.allocate_exact_size(vec2(ui.available_width(), height), Sense::hover());
        let (left, right) = area.split_left_right_at_x(area.right() - MENU_WIDTH);
        let left = left.with_max_x(left.right() - theme::GAP);
        let rename = slots(&mut ui.new_child(UiBuilder::new().max_rect(left)), params, setter);
        self.menu.show(&mut ui.new_child(UiBuilder::new().max_rect(right)), params, setter);
        rename
    }
}

/// Slots side by side in this width.
fn columns(width: f32) -> usize {
    if width >= COMFORTABLE_WIDTH * SLOTS as f32 { SLOTS } else { SLOTS / 2 }
}

fn height(width: f32) -> f32 {
    let rows = SLOTS / columns(width);
    rows as f32 * (HEIGHT + theme::GAP) - theme::GAP
}

/// The menu of sets: those that come with Sift, and a person's own.
struct SetsMenu {
    folder: Option<PathBuf>,
    /// What the folder holds, while the menu is open.
    listed: Option<Vec<Result<Set, String>>>,
    /// What the slots are to be saved as.
    name: String,
    problem: Option<String>,
}

impl Default for SetsMenu {
    fn default() -> Self {
        Self { folder: sets::folder(), listed: None, name: String::new(), problem: None }
    }
}

impl SetsMenu {
    fn show(&mut self, ui: &mut Ui, params: &SiftParams, setter: &ParamSetter<'_>) {
        let button = Button::new("Sets").fill(theme::of(ui).surface).stroke((1.0, theme::of(ui).outline));
        let button = button.min_size(vec2(MENU_WIDTH, HEIGHT)).corner_radius(theme::RADIUS);
        let stays = MenuConfig::new().close_behavior(PopupCloseBehavior::CloseOnClickOutside);
        let (response, content) = MenuButton::from_button(button).config(stays).ui(ui, |ui| {
            ui.set_width(MENU_CONTENT_WIDTH);
            let chosen = self.content(ui, &params.queries.0.texts());
            if chosen.is_some() {
                ui.close();
            }
            chosen
        });
        match content {
            None => {
                self.listed = None;
                response.on_hover_text(
                    "Fill all eight slots at once, or keep them as a file to use again and to share",
                );
            }
            Some(content) => {
                if let Some(texts) = content.inner {
                    params.queries.0.set_texts(&texts);
                    params.mark_edited(setter);
                }
            }
        }
    }

    /// Draws the menu; the texts that all slots are to have, when a set was chosen.
    fn content(&mut self, ui: &mut Ui, texts: &[String; SLOTS]) -> Option<[String; SLOTS]> {
        let mut chosen = None;
        for (name, queries) in sets::FACTORY {
            if ui.button(name).on_hover_text(queries.join(", ")).clicked() {
                chosen = Some(queries.map(String::from));
            }
        }
        let folder = self.folder.clone()?;
        ui.separator();
        for listed in self.listed.get_or_insert_with(|| sets::list(&folder)) {
            match listed {
                Ok(set) => {
                    if ui.button(&set.name).on_hover_text(set.queries.join(", ")).clicked() {
                        chosen = Some(set.texts());
                    }
                }
                Err(problem) => {
                    ui.label(RichText::new(&*problem).size(theme::SMALL).color(theme::of(ui).warning));
                }
            }
        }
        ui.horizontal(|ui| {
            let field = TextEdit::singleline(&mut self.name).hint_text("Name of a set");
            ui.add(field.desired_width(MENU_CONTENT_WIDTH - 80.0));
            if ui.add_enabled(!self.name.trim().is_empty(), Button::new("Save")).clicked() {
                let set = Set { name: self.name.trim().into(), queries: texts.to_vec() };
                self.problem = sets::save(&folder, &set).err();
                self.listed = None;
            }
        });
        if ui.button("Open the folder").clicked() {
            self.problem = super::open_folder(&folder);
        }
        if let Some(problem) = &self.problem {
            ui.label(RichText::new(problem).size(theme::SMALL).color(theme::of(ui).warning));
        }
        chosen
    }
}

fn slots(ui: &mut Ui, params: &SiftParams, setter: &ParamSetter<'_>) -> bool {
    let width = ui.available_width();
    let columns = columns(width);
    let gap = theme::GAP;
    let (area, _) = ui.allocate_exact_size(vec2(width, height(width)), Sense::hover());
    let cell = vec2((width + gap) / columns as f32 - gap, HEIGHT);
    let mut rename = false;
    for (index, text) in params.queries.0.texts().iter().enumerate() {
        let (row, column) = (index / columns, index % columns);
        let corner = area.min + vec2(column as f32, row as f32) * (cell + vec2(gap, gap));
        rename |= slot(ui, Rect::from_min_size(corner, cell), index, text, params, setter);
    }
    rename
}

/// Draws a slot, which a click makes the active one. Whether other words are to be typed for it.
fn slot(
    ui: &mut Ui,
    rect: Rect,
    index: usize,
    text: &str,
    params: &SiftParams,
    setter: &ParamSetter<'_>,
) -> bool {
    let active = params.active_slot() == index;
    let failed = params.queries.0.stage(index) == Stage::Failed;
    let response = ui.interact(rect, ui.scope_id().with(("slot", index)), Sense::click());
    response.widget_info(|| {
        WidgetInfo::selected(Role::RadioButton, true, active, format!("Slot {}: {text}", index + 1))
    });

    let (fill, outline, color) = match active {
        true => (theme::of(ui).accent, theme::of(ui).accent, theme::of(ui).on_accent),
        false if response.hovered() => {
            (theme::of(ui).surface_hovered, theme::of(ui).outline, theme::of(ui).text)
        }
        false => (theme::of(ui).surface, theme::of(ui).outline, theme::of(ui).text),
    };
    let number_color = match (failed, active) {
        (true, false) => theme::of(ui).warning,
        (_, true) => theme::of(ui).on_accent,
        (false, false) => theme::of(ui).text_weak,
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

    theme::paint_focus(ui, &response, rect);
    let mut rename = response.double_clicked();
    response.context_menu(|ui| {
        rename |= ui.button("Rename").clicked();
        if ui.button("Copy the words").clicked() {
            ui.copy_text(text.to_owned());
        }
        let pasted = ui.button("Paste words").clicked().then(clipboard).flatten();
        let cleared = ui.button("Clear").clicked().then(String::new);
        if let Some(words) = pasted.or(cleared) {
            params.queries.0.set_text(index, &words);
            params.mark_edited(setter);
        }
    });
    if (response.clicked() || rename) && !active {
        set_once(&params.query, index as i32 + 1, setter);
    }
    if elided {
        response.on_hover_text(text);
    }
    rename
}

#[cfg(test)]
mod tests {
    use egui::accesskit::Toggled;
    use egui_kittest::kittest::{NodeT, Queryable};

    use super::*;
    use crate::editor::SMALLEST;
    use crate::editor::testing::{Host, window};

    fn harness(host: &Host) -> egui_kittest::Harness<'_> {
        egui_kittest::Harness::new_ui(|ui| {
            slots(ui, &host.params, &host.setter());
        })
    }

    /// The slots with their menu, whose own sets lie in `folder`.
    fn with_menu(host: &Host, folder: PathBuf) -> egui_kittest::Harness<'_> {
        let mut shown = Slots::with_sets(folder);
        egui_kittest::Harness::new_ui(move |ui| {
            shown.show(ui, &host.params, &host.setter());
        })
    }

    fn nowhere(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("sift-slots-{name}-{}", std::process::id()))
    }

    #[test]
    fn a_set_of_the_menu_fills_all_slots_in_one_gesture() {
        let host = Host::default();
        let mut window = with_menu(&host, nowhere("factory"));
        window.get_by_label("Sets").click();
        window.run();
        window.get_by_label("Nature").click();
        window.run();
        assert_eq!(host.params.queries.0.text(0), "birds chirping");
        assert!((0..SLOTS).all(|slot| !host.params.queries.0.text(slot).is_empty()));
        assert_eq!(host.gestures(), ["begin revision", "set revision", "end revision"]);
        assert!(window.query_by_label("Nature").is_none(), "the menu is closed");
    }

    #[test]
    fn the_slots_can_be_saved_as_a_set_and_filled_by_it_again() {
        let host = Host::default();
        let folder = nowhere("own");
        let mut window = with_menu(&host, folder.clone());
        window.get_by_label("Sets").click();
        window.run();
        window.get_by_role(Role::TextInput).click();
        window.run();
        window.event(egui::Event::Text("My set".into()));
        window.run();
        window.get_by_label("Save").click();
        window.run();
        host.params.queries.0.set_text(1, "");
        window.get_by_label("My set").click();
        window.run();
        assert_eq!(host.params.queries.0.text(1), "drums");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_slot_is_renamed_by_typing_once_it_is_active() {
        for by_menu in [true, false] {
            let host = Host::default();
            let mut window = window(&host, SMALLEST);
            let slot = window.get_by_label("Slot 3: piano");
            if by_menu {
                slot.click_secondary();
                window.run_steps(3);
                window.get_by_label("Rename").click();
            } else {
                slot.click();
                window.get_by_label("Slot 3: piano").click();
            }
            window.run_steps(3);
            assert_eq!(host.params.active_slot(), 2);
            window.event(egui::Event::Text("an old piano".into()));
            window.key_press(egui::Key::Enter);
            window.run_steps(3);
            assert_eq!(host.params.queries.0.text(2), "an old piano", "what was there is replaced");
            assert_eq!(host.params.queries.0.text(0), "a person speaking");
        }
    }

    #[test]
    fn a_slot_can_be_cleared() {
        let host = Host::default();
        let mut window = harness(&host);
        window.get_by_label("Slot 2: drums").click_secondary();
        window.run();
        window.get_by_label("Clear").click();
        window.run();
        assert_eq!(host.params.queries.0.text(1), "");
        assert_eq!(host.params.queries.0.text(0), "a person speaking");
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
