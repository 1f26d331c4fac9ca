//! The model menu: which packages are installed, what their cards say, and going over to another.

use std::path::Path;

use egui::containers::menu::{MenuButton, MenuConfig};
use egui::{Align, Button, Color32, Id, Layout, Modal, PopupCloseBehavior, RichText, ScrollArea, Ui, vec2};
use egui_commonmark::{CommonMarkCache, CommonMarkViewer};
use sift_engine::package::speed_records::{Speed, Speeds};
use sift_engine::package::{Listing, PackageError, search};

use super::theme;

const MENU_WIDTH: f32 = 330.0;
/// Share of the window's size that a card takes at most.
const CARD_SHARE: f32 = 0.85;

/// The menu, and the card that is being read.
pub struct Models {
    /// Finds what is installed.
    find: fn() -> Vec<Listed>,
    /// What that was, while the menu is open.
    listed: Option<Vec<Listed>>,
    card: Option<Card>,
    problem: Option<String>,
}

/// An entry of the menu.
pub struct Listed {
    package: Result<Listing, PackageError>,
    /// What `sift doctor` found it to be good for on this machine, a line a provider.
    advice: Vec<String>,
}

impl Listed {
    /// The packages `found`, with the speeds in the file `speeds`.
    pub fn all(found: Vec<Result<Listing, PackageError>>, speeds: Option<&Path>) -> Vec<Self> {
        // The menu does without figures that cannot be read: `sift models` says why.
        let speeds = speeds.and_then(|file| Speeds::read(file).ok()).unwrap_or_default();
        let advice = |package: &Listing| speeds.of(package).map(Speed::advice).collect();
        found
            .into_iter()
            .map(|package| Self { advice: package.as_ref().map_or(Vec::new(), advice), package })
            .collect()
    }
}

struct Card {
    title: String,
    text: String,
    cache: CommonMarkCache,
}

impl Default for Models {
    fn default() -> Self {
        Self::finding(|| Listed::all(search::installed(), Speeds::file().as_deref()))
    }
}

impl Models {
    pub fn finding(find: fn() -> Vec<Listed>) -> Self {
        Self { find, listed: None, card: None, problem: None }
    }

    /// Draws the button that says `model`, and what it opened. The name of the model that is to run
    /// from now on, when one was chosen; the same one is loaded anew.
    pub fn show(&mut self, ui: &mut Ui, model: &str) -> Option<String> {
        let label = RichText::new(format!("{model} ⏷")).font(theme::font(theme::SMALL));
        let button = Button::new(label.color(theme::of(ui).text_weak)).frame(false).truncate();
        let stays = MenuConfig::new().close_behavior(PopupCloseBehavior::CloseOnClickOutside);
        let (response, content) = MenuButton::from_button(button).config(stays).ui(ui, |ui| {
            ui.set_width(MENU_WIDTH);
            let chosen = self.content(ui, model);
            if chosen.is_some() || self.card.is_some() {
                ui.close();
            }
            chosen
        });
        if content.is_none() {
            (self.listed, self.problem) = (None, None);
            response.on_hover_text("The network that separates: choose another, or read what this one knows");
        }
        self.read_card(ui);
        content.and_then(|content| content.inner)
    }

    fn content(&mut self, ui: &mut Ui, model: &str) -> Option<String> {
        let mut chosen = None;
        for Listed { package, advice } in self.listed.get_or_insert_with(self.find) {
            match package {
                Ok(listing) => {
                    let manifest = &listing.manifest;
                    ui.horizontal(|ui| {
                        let name = ui.selectable_label(manifest.name == model, &manifest.name);
                        if name.on_hover_text(listing.origin.to_string()).clicked() {
                            chosen = Some(manifest.name.clone());
                        }
                        ui.with_layout(Layout::right_to_left(Align::Min), |ui| {
                            if ui.button("Card").on_hover_text(format!("What {} is", manifest.name)).clicked()
                            {
                                match listing.card() {
                                    Ok(text) => self.card = Some(Card::new(listing, &text)),
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
        if ui.button("Load it anew").on_hover_text("After its files have changed").clicked() {
            chosen = Some(model.to_owned());
        }
        if let Some(folder) = search::user_folder()
            && ui.button("Open the folder").on_hover_text("Models are installed there").clicked()
        {
            self.problem = super::open_folder(&folder);
        }
        if let Some(problem) = &self.problem {
            small(ui, problem.clone(), theme::of(ui).warning);
        }
        chosen
    }

    /// Draws the card that is being read, above everything else, until it is closed.
    fn read_card(&mut self, ui: &Ui) {
        let Some(card) = &mut self.card else { return };
        let most = CARD_SHARE * ui.ctx().content_rect().size();
        let modal = Modal::new(Id::unique("sift model card")).show(ui.ctx(), |ui| {
            ui.set_width(most.x);
            ui.horizontal(|ui| {
                ui.heading(&card.title);
                ui.with_layout(Layout::right_to_left(Align::Center), |ui| ui.button("Close").clicked()).inner
            })
            .inner
            .then(|| ui.close());
            ui.separator();
            let area = ScrollArea::both().max_height(most.y - 80.0).auto_shrink([false, true]);
            area.show(ui, |ui| {
                ui.set_min_size(vec2(most.x, 0.0));
                CommonMarkViewer::new().show(ui, &mut card.cache, &card.text);
            });
        });
        if modal.should_close() {
            self.card = None;
        }
    }
}

/// A small paragraph, whose lines are not stretched to the menu's width.
fn small(ui: &mut Ui, text: String, color: Color32) {
    let text = RichText::new(text).size(theme::SMALL).color(color);
    ui.with_layout(Layout::top_down(Align::Min), |ui| ui.label(text));
}

impl Card {
    fn new(listing: &Listing, text: &str) -> Self {
        // Pictures lie beside the card, where the window does not look.
        let text =
            text.lines().filter(|line| !line.trim_start().starts_with("![")).collect::<Vec<_>>().join("\n");
        let title = format!("{} {}", listing.manifest.name, listing.manifest.version);
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

    /// The menu on its own, opened; what was chosen is collected.
    fn menu(chosen: &mut Vec<String>) -> Harness<'_> {
        let mut models = Models::finding(|| Listed::all(vec![Ok(Listing::built_in())], None));
        let mut harness = Harness::builder()
            .with_size(vec2(700.0, 500.0))
            .with_context_setup(theme::apply)
            .with_step_dt(0.05)
            .build_ui(move |ui| chosen.extend(models.show(ui, package::DEFAULT)));
        harness.get_by_label_contains("⏷").click();
        harness.run_steps(4);
        harness
    }

    #[test]
    fn the_menu_lists_what_is_installed_with_version_and_licence() {
        let mut chosen = Vec::new();
        let menu = menu(&mut chosen);
        let manifest = Listing::built_in().manifest;
        menu.get_by_label(&manifest.name);
        menu.get_by_label(&format!("version {} · {}", manifest.version, manifest.licence));
    }

    #[test]
    fn what_a_model_was_measured_to_be_good_for_is_listed_with_it() {
        let file = std::env::temp_dir().join(format!("sift-menu-{}.toml", std::process::id()));
        let advice = |file| Listed::all(vec![Ok(Listing::built_in())], Some(file)).pop().unwrap().advice;
        assert!(advice(&file).is_empty(), "nothing was measured yet");
        let speed = Speed::new(&Listing::built_in(), Provider::Cpu, 3.1);
        Speeds::keep(&file, &speed).unwrap();
        assert_eq!(advice(&file), [speed.advice()]);
        std::fs::remove_file(file).unwrap();
    }

    #[test]
    fn the_card_is_read_in_the_window_and_closed() {
        let mut chosen = Vec::new();
        let mut menu = menu(&mut chosen);
        menu.get_by_label("Card").click();
        menu.run_steps(6);
        menu.get_by_label("Figures");
        menu.get_by_label("Close").click();
        menu.run_steps(4);
        assert!(menu.query_by_label("Figures").is_none());
        drop(menu);
        assert!(chosen.is_empty(), "reading chooses nothing");
    }

    #[test]
    fn a_model_is_chosen_once_and_the_same_one_can_be_loaded_anew() {
        for (button, label) in [(package::DEFAULT, "name"), ("Load it anew", "again")] {
            let mut chosen = Vec::new();
            let mut menu = menu(&mut chosen);
            menu.get_by_label(button).click();
            menu.run_steps(4);
            assert!(menu.query_by_label("Load it anew").is_none(), "the menu closes after {label}");
            drop(menu);
            assert_eq!(chosen, [package::DEFAULT]);
        }
    }
}
