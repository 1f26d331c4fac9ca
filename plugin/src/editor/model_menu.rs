//! The model menu: lists the installed packages, shows their model cards, and selects one.

use std::path::Path;

use egui::containers::menu::{MenuButton, MenuConfig};
use egui::{Align, Button, Color32, Id, Layout, Modal, PopupCloseBehavior, RichText, ScrollArea, Ui, vec2};
use egui_commonmark::{CommonMarkCache, CommonMarkViewer};
use sift_engine::package::speed_records::{SpeedRecord, SpeedRecords};
use sift_engine::package::{PackageError, PackageInfo, search};

use super::theme;

const MENU_WIDTH: f32 = 330.0;
/// Largest share of the editor's width and height that a model card covers.
const MAX_CARD_SHARE: f32 = 0.85;

/// Sizes in samples that can be chosen for the largest block; `None` for that of the host.
const BLOCK_LIMITS: [Option<usize>; 5] = [None, Some(256), Some(512), Some(1024), Some(2048)];

/// What the user has selected in the menu.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MenuChoice {
    /// The model of this name.
    Model(String),
    /// The latency for blocks of up to so many samples; `None` for the largest block of the host.
    BlockLimit(Option<usize>),
}

/// The menu, and the open model card.
pub struct ModelMenu {
    /// Finds the installed packages.
    find: fn() -> Vec<MenuEntry>,
    /// The result of `find`, while the menu is open.
    entries: Option<Vec<MenuEntry>>,
    card: Option<ModelCard>,
    problem: Option<String>,
}

/// An entry of the menu.
pub struct MenuEntry {
    package: Result<PackageInfo, PackageError>,
    /// Result of `sift doctor` on this machine, one line per provider.
    advice: Vec<String>,
}

impl MenuEntry {
    /// Creates an entry for each package in `found`, with the speeds in the file `speeds`.
    pub fn list(found: Vec<Result<PackageInfo, PackageError>>, speeds: Option<&Path>) -> Vec<Self> {
        // Speeds that cannot be read are left out here; `sift models` reports the error.
        let speeds = speeds.and_then(|file| SpeedRecords::read(file).ok()).unwrap_or_default();
        let advice = |package: &PackageInfo| speeds.for_package(package).map(SpeedRecord::advice).collect();
        found
            .into_iter()
            .map(|package| Self { advice: package.as_ref().map_or(Vec::new(), advice), package })
            .collect()
    }
}

struct ModelCard {
    title: String,
    text: String,
    cache: CommonMarkCache,
}

impl Default for ModelMenu {
    fn default() -> Self {
        Self::new(|| MenuEntry::list(search::list_installed(), SpeedRecords::file().as_deref()))
    }
}

impl ModelMenu {
    /// Creates the menu of the packages that `find` returns.
    pub fn new(find: fn() -> Vec<MenuEntry>) -> Self {
        Self { find, entries: None, card: None, problem: None }
    }

    /// Draws the button labelled `model`, the open menu and the open card. Returns what the user selected; the current model
    /// is selected to load it again.
    pub fn show(&mut self, ui: &mut Ui, model: &str, block_limit: Option<usize>) -> Option<MenuChoice> {
        let label = RichText::new(format!("{model} ⏷")).font(theme::font(theme::SMALL));
        let button = Button::new(label.color(theme::of(ui).text_weak)).frame(false).truncate();
        let config = MenuConfig::new().close_behavior(PopupCloseBehavior::CloseOnClickOutside);
        let (response, content) = MenuButton::from_button(button).config(config).ui(ui, |ui| {
            ui.set_width(MENU_WIDTH);
            let selected = self.content(ui, model).map(MenuChoice::Model);
            let selected = selected.or(block_limits(ui, block_limit).map(MenuChoice::BlockLimit));
            if selected.is_some() || self.card.is_some() {
                ui.close();
            }
            selected
        });
        if content.is_none() {
            (self.entries, self.problem) = (None, None);
            response.on_hover_text("Select another model, or read the model card");
        }
        self.show_card(ui);
        content.and_then(|content| content.inner)
    }

    fn content(&mut self, ui: &mut Ui, model: &str) -> Option<String> {
        let mut selected = None;
        for MenuEntry { package, advice } in self.entries.get_or_insert_with(self.find) {
            match package {
                Ok(package) => {
                    let manifest = &package.manifest;
                    ui.horizontal(|ui| {
                        let name = ui.selectable_label(manifest.name == model, &manifest.name);
                        if name.on_hover_text(package.origin.to_string()).clicked() {
                            selected = Some(manifest.name.clone());
                        }
                        ui.with_layout(Layout::right_to_left(Align::Min), |ui| {
                            if ui
                                .button("Card")
                                .on_hover_text(format!("Model card of {}", manifest.name))
                                .clicked()
                            {
                                match package.model_card() {
                                    Ok(text) => self.card = Some(ModelCard::new(package, &text)),
                                    Err(error) => self.problem = Some(error.to_string()),
                                }
                            }
                        });
                    });
                    let facts = format!("version {} · {}", manifest.version, manifest.licence);
                    for line in std::iter::once(facts).chain(advice.iter().cloned()) {
                        small(ui, line, theme::of(ui).text_weak);
                    }
                }
                Err(problem) => small(ui, problem.to_string(), theme::of(ui).warning),
            }
        }
        ui.separator();
        if ui.button("Reload").on_hover_text("Loads the model again after its files have changed").clicked() {
            selected = Some(model.to_owned());
        }
        if let Some(folder) = search::user_folder()
            && ui.button("Open folder").on_hover_text("Model packages are installed there").clicked()
        {
            self.problem = super::open_folder(&folder);
        }
        if let Some(problem) = &self.problem {
            small(ui, problem.clone(), theme::of(ui).warning);
        }
        selected
    }

    /// Draws the open model card above everything else, until it is closed.
    fn show_card(&mut self, ui: &Ui) {
        let Some(card) = &mut self.card else { return };
        let max_size = MAX_CARD_SHARE * ui.ctx().content_rect().size();
        let modal = Modal::new(Id::unique("sift model card")).show(ui.ctx(), |ui| {
            ui.set_width(max_size.x);
            ui.horizontal(|ui| {
                ui.heading(&card.title);
                ui.with_layout(Layout::right_to_left(Align::Center), |ui| ui.button("Close").clicked()).inner
            })
            .inner
            .then(|| ui.close());
            ui.separator();
            let area = ScrollArea::both().max_height(max_size.y - 80.0).auto_shrink([false, true]);
            area.show(ui, |ui| {
                ui.set_min_size(vec2(max_size.x, 0.0));
                CommonMarkViewer::new().show(ui, &mut card.cache, &card.text);
            });
        });
        if modal.should_close() {
            self.card = None;
        }
    }
}

/// Draws the choice of the largest block. Returns another one that the user selected.
fn block_limits(ui: &mut Ui, current: Option<usize>) -> Option<Option<usize>> {
    ui.separator();
    small(ui, "Latency for blocks of up to".into(), theme::of(ui).text_weak);
    let mut selected = None;
    ui.horizontal(|ui| {
        for limit in BLOCK_LIMITS {
            let label = limit.map_or("host's".to_owned(), |samples| samples.to_string());
            let hint = "Hosts may announce far larger blocks than they pass, which only adds latency. Masks for blocks \
                        beyond the chosen size are late";
            if ui.selectable_label(limit == current, label).on_hover_text(hint).clicked() && limit != current {
                selected = Some(limit);
            }
        }
    });
    selected
}

/// Draws a small paragraph. Its lines are not justified to the menu's width.
fn small(ui: &mut Ui, text: String, color: Color32) {
    let text = RichText::new(text).size(theme::SMALL).color(color);
    ui.with_layout(Layout::top_down(Align::Min), |ui| ui.label(text));
}

impl ModelCard {
    fn new(package: &PackageInfo, text: &str) -> Self {
        // Images are separate files, which the editor does not load.
        let text =
            text.lines().filter(|line| !line.trim_start().starts_with("![")).collect::<Vec<_>>().join("\n");
        let title = format!("{} {}", package.manifest.name, package.manifest.version);
        Self { title, text, cache: CommonMarkCache::default() }
    }
}

#[cfg(test)]
mod tests {
    use egui::vec2;
    use egui_kittest::Harness;
    use egui_kittest::kittest::Queryable;
    use sift_engine::inference::provider::Provider;
    use sift_engine::package;

    use super::*;

    /// The open menu on its own. `selected` collects the selected models.
    fn menu(selected: &mut Vec<MenuChoice>) -> Harness<'_> {
        let mut model_menu = ModelMenu::new(|| MenuEntry::list(vec![Ok(PackageInfo::built_in())], None));
        let mut harness = Harness::builder()
            .with_size(vec2(700.0, 500.0))
            .with_context_setup(theme::apply)
            .with_step_dt(0.05)
            .build_ui(move |ui| selected.extend(model_menu.show(ui, package::DEFAULT_PACKAGE, Some(512))));
        harness.get_by_label_contains("⏷").click();
        harness.run_steps(4);
        harness
    }

    #[test]
    fn menu_lists_packages_with_version_and_licence() {
        let mut selected = Vec::new();
        let menu = menu(&mut selected);
        let manifest = PackageInfo::built_in().manifest;
        menu.get_by_label(&manifest.name);
        menu.get_by_label(&format!("version {} · {}", manifest.version, manifest.licence));
    }

    #[test]
    fn menu_lists_the_measured_speed_of_a_package() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("speeds.toml");
        let advice =
            |file| MenuEntry::list(vec![Ok(PackageInfo::built_in())], Some(file)).pop().unwrap().advice;
        assert!(advice(&file).is_empty(), "nothing is measured yet");
        let speed = SpeedRecord::new(&PackageInfo::built_in(), Provider::Cpu, 3.1);
        SpeedRecords::add(&file, &speed).unwrap();
        assert_eq!(advice(&file), [speed.advice()]);
    }

    #[test]
    fn block_limit_is_selected_once_and_the_current_one_never() {
        for (label, expected) in [("host's", vec![None]), ("256", vec![Some(256)]), ("512", vec![])] {
            let mut selected = Vec::new();
            let mut menu = menu(&mut selected);
            menu.get_by_label(label).click();
            menu.run_steps(4);
            drop(menu);
            assert_eq!(selected, expected.into_iter().map(MenuChoice::BlockLimit).collect::<Vec<_>>());
        }
    }

    #[test]
    fn model_card_opens_and_closes() {
        let mut selected = Vec::new();
        let mut menu = menu(&mut selected);
        menu.get_by_label("Card").click();
        menu.run_steps(6);
        menu.get_by_label("Figures");
        menu.get_by_label("Close").click();
        menu.run_steps(4);
        assert!(menu.query_by_label("Figures").is_none());
        drop(menu);
        assert!(selected.is_empty(), "reading selects nothing");
    }

    #[test]
    fn model_is_selected_once_by_name_and_by_reload() {
        for (button, label) in [(package::DEFAULT_PACKAGE, "name"), ("Reload", "again")] {
            let mut selected = Vec::new();
            let mut menu = menu(&mut selected);
            menu.get_by_label(button).click();
            menu.run_steps(4);
            assert!(menu.query_by_label("Reload").is_none(), "the menu closes after {label}");
            drop(menu);
            assert_eq!(selected, [MenuChoice::Model(package::DEFAULT_PACKAGE.into())]);
        }
    }
}
