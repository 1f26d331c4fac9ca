//! The menu of query sets: fills all slots at once, and saves them as a set.

use std::path::PathBuf;
use std::sync::Arc;

use egui::containers::menu::{MenuButton, MenuConfig};
use egui::{Button, PopupCloseBehavior, RichText, TextEdit, Ui, vec2};
use nice_plug::prelude::*;
use sift_engine::{Queries, SLOTS};

use super::{slot_bar, theme};
use crate::params::SiftParams;
use crate::query_sets::{self, QuerySet};

/// Width of the button that opens the menu.
pub const BUTTON_WIDTH: f32 = 56.0;
/// Height of the button that opens the menu.
pub const BUTTON_HEIGHT: f32 = 32.0;
const MENU_WIDTH: f32 = 240.0;

/// The menu of query sets: the built-in ones, and the user's own in `folder`.
pub struct QuerySetMenu {
    folder: Option<PathBuf>,
    /// Content of the folder, while the menu is open.
    listed: Option<Vec<Result<QuerySet, String>>>,
    /// Name under which the slots are saved.
    name: String,
    problem: Option<String>,
}

impl Default for QuerySetMenu {
    fn default() -> Self {
        Self { folder: query_sets::folder(), listed: None, name: String::new(), problem: None }
    }
}

impl QuerySetMenu {
    /// Creates the menu with the user's sets in `folder`.
    #[cfg(test)]
    pub fn with_folder(folder: PathBuf) -> Self {
        Self { folder: Some(folder), ..Self::default() }
    }

    /// Draws the button and the open menu. A selected set fills all slots.
    pub fn show(
        &mut self,
        ui: &mut Ui,
        queries: &Arc<Queries>,
        params: &SiftParams,
        setter: &ParamSetter<'_>,
    ) {
        let button = Button::new("Sets").fill(theme::of(ui).surface).stroke((1.0, theme::of(ui).outline));
        let button = button.min_size(vec2(BUTTON_WIDTH, BUTTON_HEIGHT)).corner_radius(theme::RADIUS);
        let config = MenuConfig::new().close_behavior(PopupCloseBehavior::CloseOnClickOutside);
        let (response, content) = MenuButton::from_button(button).config(config).ui(ui, |ui| {
            ui.set_width(MENU_WIDTH);
            slot_bar::undo_entries(ui, queries, params, setter);
            let selected = self.content(ui, &queries.texts());
            if selected.is_some() {
                ui.close();
            }
            selected
        });
        match content {
            None => {
                self.listed = None;
                response.on_hover_text("Fill all eight slots from a set, or save them as one");
            }
            Some(content) => {
                if let Some(texts) = content.inner {
                    let texts = texts.iter().map(String::as_str).enumerate();
                    if params.history.lock().edit(queries, texts) {
                        params.mark_edited(setter);
                    }
                }
            }
        }
    }

    /// Draws the open menu. `texts` are those of the slots, which can be saved. Returns the texts of
    /// a selected set.
    fn content(&mut self, ui: &mut Ui, texts: &[String; SLOTS]) -> Option<[String; SLOTS]> {
        let mut selected = None;
        for (name, queries) in query_sets::FACTORY_SETS {
            if ui.button(name).on_hover_text(queries.join(", ")).clicked() {
                selected = Some(queries.map(String::from));
            }
        }
        let folder = self.folder.clone()?;
        ui.separator();
        for listed in self.listed.get_or_insert_with(|| query_sets::list(&folder)) {
            match listed {
                Ok(set) => {
                    if ui.button(&set.name).on_hover_text(set.queries.join(", ")).clicked() {
                        selected = Some(set.texts());
                    }
                }
                Err(problem) => {
                    ui.label(RichText::new(&*problem).size(theme::SMALL).color(theme::of(ui).warning));
                }
            }
        }
        ui.horizontal(|ui| {
            let field = TextEdit::singleline(&mut self.name).hint_text("Name of the set");
            let field = ui.add(field.desired_width(MENU_WIDTH - 80.0));
            ui.ctx().accesskit_node_builder(field.id, |node| node.set_label("Name of the set"));
            if ui.add_enabled(!self.name.trim().is_empty(), Button::new("Save")).clicked() {
                let set = QuerySet { name: self.name.trim().into(), queries: texts.to_vec() };
                self.problem = query_sets::save(&folder, &set).err();
                self.listed = None;
            }
        });
        if ui.button("Open folder").clicked() {
            self.problem = super::open_folder(&folder);
        }
        if let Some(problem) = &self.problem {
            ui.label(RichText::new(problem).size(theme::SMALL).color(theme::of(ui).warning));
        }
        selected
    }
}

#[cfg(test)]
mod tests {
    use egui::accesskit::Role;
    use egui_kittest::Harness;
    use egui_kittest::kittest::Queryable;

    use super::*;
    use crate::editor::mock_host::MockHost;

    fn harness(host: &MockHost, folder: PathBuf) -> Harness<'_> {
        let mut menu = QuerySetMenu::with_folder(folder);
        Harness::new_ui(move |ui| menu.show(ui, host.queries(), &host.params, &host.setter()))
    }

    #[test]
    fn selected_set_fills_all_slots_in_one_gesture() {
        let host = MockHost::default();
        let mut editor = harness(&host, tempfile::tempdir().unwrap().path().into());
        editor.get_by_label("Sets").click();
        editor.run();
        editor.get_by_label("Nature").click();
        editor.run();
        assert_eq!(host.queries().text(0), "birds chirping");
        assert!((0..SLOTS).all(|slot| !host.queries().text(slot).is_empty()));
        assert_eq!(host.gestures(), ["begin revision", "set revision", "end revision"]);
        assert!(editor.query_by_label("Nature").is_none(), "the menu is closed");
    }

    #[test]
    fn set_chosen_by_mistake_gives_the_eight_texts_back() {
        let host = MockHost::default();
        let before = host.queries().texts();
        let mut editor = harness(&host, tempfile::tempdir().unwrap().path().into());
        for entry in ["Nature", "Undo"] {
            editor.get_by_label("Sets").click();
            editor.run();
            editor.get_by_label(entry).click();
            editor.run();
        }
        assert_eq!(host.queries().texts(), before);
        assert!(editor.query_by_label("Undo").is_none(), "the menu is closed");
    }

    #[test]
    fn saved_set_can_be_selected_again() {
        let host = MockHost::default();
        let folder = tempfile::tempdir().unwrap();
        let mut editor = harness(&host, folder.path().into());
        editor.get_by_label("Sets").click();
        editor.run();
        editor.get_by_role(Role::TextInput).click();
        editor.run();
        editor.event(egui::Event::Text("My set".into()));
        editor.run();
        editor.get_by_label("Save").click();
        editor.run();
        host.queries().set_text(1, "");
        editor.get_by_label("My set").click();
        editor.run();
        assert_eq!(host.queries().text(1), "drums");
    }
}
