//! The text box: edits the query of the active slot, completes it, and says what was understood.

use std::time::Duration;

use copypasta::ClipboardProvider;
use egui::accesskit::Role;
use egui::text::CCursor;
use egui::text_selection::CCursorRange;
use egui::{
    Align, Align2, Color32, Frame, Key, Label, Layout, Margin, Modifiers, Popup, PopupCloseBehavior,
    Response, RichText, Sense, Stroke, StrokeKind, TextEdit, Ui, WidgetInfo, vec2,
};
use sift_engine::{MAX_CHARACTERS, Queries, Readiness, SURE, Stage, Understood};

use super::theme::{self, Tone};

/// Seconds without a keystroke after which a text is taken as meant.
const PAUSE: f64 = 0.4;
const PLACEHOLDER: &str = "Describe a sound: a dog barking, 기타 소리 …";
const HEIGHT: f32 = 50.0;
const PASTE_WIDTH: f32 = 74.0;
/// Characters that may be left before their number is shown.
const NEARLY_FULL: usize = 56;
/// Suggestions shown at once.
const SUGGESTIONS: usize = 5;
/// Concepts that are less close than this are not worth showing.
const LEAST_CLOSENESS: f32 = 0.1;

/// The text that a slot is to have.
#[derive(Debug, PartialEq, Eq)]
pub struct Edit {
    pub slot: usize,
    pub text: String,
}

/// The text being edited and the slot it belongs to.
///
/// The box shows the active slot, whoever changes it. Only while somebody types does it stay with
/// the slot that they began in: until the focus leaves.
#[derive(Default)]
pub struct QueryBox {
    text: String,
    slot: usize,
    /// Of the texts, when last looked at.
    generation: Option<u64>,
    /// When the last keystroke was, in seconds, while it has not been taken.
    pending: Option<f64>,
    /// Something was typed since the box got the focus.
    typing: bool,
    /// The suggestion that the arrow keys chose.
    chosen: Option<usize>,
    /// The next frame is to give it the focus.
    begins: bool,
}

impl QueryBox {
    /// Draws the box for the `active` slot; an edit when one is complete. `engine` is how far the
    /// engine has come, if one runs.
    pub fn show(
        &mut self,
        ui: &mut Ui,
        queries: &Queries,
        active: usize,
        engine: Option<Readiness>,
    ) -> Option<Edit> {
        self.follow(queries, active);
        let now = ui.input(|input| input.time);
        let suggestions = if self.typing { suggestions(&queries.known(), &self.text) } else { Vec::new() };
        self.choose(ui, &suggestions);
        let mut lost_focus = false;
        ui.horizontal(|ui| {
            let field = self.text_edit(ui, queries, now);
            lost_focus = field.lost_focus();
            if let Some(taken) = self.suggest(&field, &suggestions) {
                self.text = taken;
                self.pending = Some(now - PAUSE);
                (self.typing, self.chosen) = (false, None);
            }
            let pasted = paste_button(ui) | self.menu(&field);
            if pasted && let Some(text) = clipboard() {
                self.text = one_line(&text);
                self.pending = Some(now - PAUSE);
            }
        });

        ui.add_space(theme::GAP);
        let edit = self.take(now, lost_focus);
        if lost_focus {
            self.typing = false;
        }
        if let Some(typed) = self.pending {
            ui.ctx().request_repaint_after(Duration::from_secs_f64(typed + PAUSE - now));
        }
        self.feedback(ui, queries, active, engine);
        edit
    }

    /// Lets the words of the active slot be typed anew from the next frame on.
    pub fn begin(&mut self) {
        self.begins = true;
    }

    /// Shows what the slot says, unless somebody types.
    fn follow(&mut self, queries: &Queries, active: usize) {
        if self.pending.is_some() {
            return;
        }
        let slot = if self.typing { self.slot } else { active };
        let generation = queries.generation();
        if slot != self.slot || self.generation != Some(generation) {
            self.slot = slot;
            self.generation = Some(generation);
            self.text = queries.text(slot);
        }
    }

    /// The edit, when typing paused or the focus left.
    fn take(&mut self, now: f64, lost_focus: bool) -> Option<Edit> {
        self.pending.take_if(|typed| lost_focus || now - *typed >= PAUSE)?;
        Some(Edit { slot: self.slot, text: self.text.clone() })
    }

    /// Moves among the suggestions by the arrow keys, and takes the chosen one by Enter or Tab.
    fn choose(&mut self, ui: &Ui, suggestions: &[String]) {
        self.chosen = self.chosen.filter(|chosen| *chosen < suggestions.len());
        if suggestions.is_empty() {
            return;
        }
        let pressed = |key| ui.input_mut(|input| input.consume_key(Modifiers::NONE, key));
        let last = suggestions.len() - 1;
        let (down, up) = (pressed(Key::ArrowDown), pressed(Key::ArrowUp));
        if down {
            self.chosen = Some(self.chosen.map_or(0, |chosen| last.min(chosen + 1)));
        }
        if up {
            self.chosen = self.chosen.and_then(|chosen| chosen.checked_sub(1));
        }
        if down || up {
            // Who chooses has not paused.
            self.pending = Some(ui.input(|input| input.time));
        }
        // Either key also takes the focus from the box, and so brings the text into force.
        if let Some(chosen) = self.chosen
            && ui.input(|input| input.key_pressed(Key::Enter) || input.key_pressed(Key::Tab))
        {
            self.text = suggestions[chosen].clone();
            self.pending = Some(ui.input(|input| input.time));
        }
    }

    /// Shows the suggestions under the box; the one that is clicked.
    fn suggest(&self, field: &Response, suggestions: &[String]) -> Option<String> {
        let mut taken = None;
        let open = !suggestions.is_empty() && (field.has_focus() || field.lost_focus());
        let popup = Popup::from_response(field)
            .open(open)
            .close_behavior(PopupCloseBehavior::IgnoreClicks)
            .width(field.rect.width())
            .gap(2.0);
        popup.show(|ui| {
            ui.set_min_width(field.rect.width() - 2.0 * theme::GAP);
            for (index, suggestion) in suggestions.iter().enumerate() {
                if ui.selectable_label(self.chosen == Some(index), suggestion).clicked() {
                    taken = Some(suggestion.clone());
                }
            }
        });
        taken
    }

    /// The menu of a right click; whether to paste.
    fn menu(&self, field: &Response) -> bool {
        let mut paste = false;
        field.context_menu(|ui| {
            if ui.button("Copy").clicked() {
                ui.copy_text(self.text.clone());
            }
            paste = ui.button("Paste over the words").clicked();
        });
        paste
    }

    fn text_edit(&mut self, ui: &mut Ui, queries: &Queries, now: f64) -> Response {
        let width = ui.available_width() - PASTE_WIDTH - theme::GAP;
        let mut output = TextEdit::singleline(&mut self.text)
            .id_salt("query")
            .font(theme::font(theme::LARGE))
            .hint_text(PLACEHOLDER)
            .char_limit(MAX_CHARACTERS)
            .desired_width(width)
            .min_size(vec2(width, HEIGHT))
            .align(Align2::LEFT_CENTER)
            .frame(
                Frame::NONE
                    .inner_margin(Margin::symmetric(14, 0))
                    .fill(theme::of(ui).surface)
                    .corner_radius(theme::RADIUS),
            )
            .show(ui);
        let response = output.response.response;
        let outline = match response.has_focus() {
            true => Stroke::new(2.0, theme::of(ui).accent),
            false => Stroke::new(1.0, theme::of(ui).outline),
        };
        ui.painter().rect_stroke(response.rect, theme::RADIUS, outline, StrokeKind::Inside);
        if response.changed() {
            self.text = one_line(&self.text);
            queries.draft(self.slot, &self.text);
            self.pending = Some(now);
            self.typing = true;
        }
        if std::mem::take(&mut self.begins) {
            response.request_focus();
        }
        if response.gained_focus() {
            // What is typed next replaces the words, as in an address bar.
            let everything = CCursorRange::two(CCursor::new(0), CCursor::new(self.text.chars().count()));
            output.state.cursor.set_char_range(Some(everything));
            output.state.clone().store(ui.ctx(), response.id);
        }
        response
    }

    fn feedback(&self, ui: &mut Ui, queries: &Queries, active: usize, engine: Option<Readiness>) {
        let stage = match self.pending {
            Some(_) => Stage::Encoding,
            None => queries.stage(self.slot),
        };
        let (mut text, tone) = feedback(stage, engine, &queries.understood(self.slot));
        let color = tone.color(theme::of(ui));
        if self.slot != active {
            text = format!("You edit slot {}; slot {} is active. {text}", self.slot + 1, active + 1);
        }
        say(ui, &text, color, self.text.chars().count());
    }
}

/// A line of feedback, cut off where there is no room for it, and the number of characters where these run out.
fn say(ui: &mut Ui, text: &str, color: Color32, characters: usize) {
    let small = |text: &str, color| RichText::new(text).size(theme::SMALL).color(color);
    ui.horizontal(|ui| {
        let (dot, _) = ui.allocate_exact_size(vec2(8.0, theme::SMALL), Sense::hover());
        ui.painter().circle_filled(dot.center(), 4.0, color);
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            if characters + NEARLY_FULL > MAX_CHARACTERS {
                let count = format!("{characters} of {MAX_CHARACTERS} characters");
                ui.label(small(&count, theme::of(ui).text_weak));
            }
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                // The pointer on it shows all of it.
                ui.add(Label::new(small(text, color)).truncate());
            });
        });
    });
}

/// Known sounds that what is being typed begins, or a word of them.
fn suggestions(known: &[String], typed: &str) -> Vec<String> {
    let typed = typed.trim().to_lowercase();
    if typed.is_empty() || known.contains(&typed) {
        return Vec::new();
    }
    let begins = |name: &&String| name.starts_with(&typed);
    let has_word = |name: &&String| !begins(name) && name.contains(&format!(" {typed}"));
    known.iter().filter(begins).chain(known.iter().filter(has_word)).take(SUGGESTIONS).cloned().collect()
}

/// What is said beneath the box.
fn feedback(stage: Stage, engine: Option<Readiness>, understood: &[Understood]) -> (String, Tone) {
    if let (Stage::Ready, Some(Readiness::Ready), Some(nearest)) = (stage, engine, understood.first()) {
        if nearest.closeness < SURE {
            let meant = understood.iter().filter(|near| near.meant).count();
            let names: Vec<_> = understood.iter().take(meant.max(2)).map(|near| near.name.as_str()).collect();
            let begin = match meant {
                1 => "Sift does not know this sound well; try",
                _ => "Not sure: taken for",
            };
            return (format!("{begin} “{}”", names.join("” or “")), Tone::Warning);
        }
        let near = understood.iter().filter(|near| near.meant || near.closeness >= LEAST_CLOSENESS);
        return (Understood::told(near, " · "), Tone::Good);
    }
    let (text, tone) = match (stage, engine) {
        (Stage::Empty, _) => ("Type what you want to hear", Tone::Waiting),
        (Stage::Failed, _) => ("These words could not be encoded", Tone::Warning),
        (Stage::Encoding, None) => ("Takes effect once the host activates Sift", Tone::Waiting),
        (Stage::Encoding, Some(Readiness::Loading)) => ("Waits for the model", Tone::Waiting),
        (_, Some(Readiness::Failed)) => ("Without a model, words have no effect", Tone::Warning),
        (Stage::Encoding, Some(Readiness::Ready)) => ("Encoding …", Tone::Waiting),
        (Stage::Ready, _) => ("Ready", Tone::Good),
    };
    (text.to_owned(), tone)
}

/// A single line of at most [`MAX_CHARACTERS`].
fn one_line(text: &str) -> String {
    let text = text.trim_end_matches(['\r', '\n']).replace(['\r', '\n', '\t'], " ");
    text.chars().take(MAX_CHARACTERS).collect()
}

fn paste_button(ui: &mut Ui) -> bool {
    let (rect, response) = ui.allocate_exact_size(vec2(PASTE_WIDTH, HEIGHT), Sense::click());
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, "Paste"));
    theme::paint_surface(ui, rect, theme::fill(ui, &response));
    ui.painter().text(
        rect.center(),
        Align2::CENTER_CENTER,
        "Paste",
        theme::font(theme::BODY),
        theme::of(ui).text,
    );
    theme::paint_focus(ui, &response, rect);
    // Hosts keep some keys for themselves; the clipboard comes past them.
    response.on_hover_text("Replaces the words by what is in the clipboard").clicked()
}

/// The clipboard's text, if it has any. The window's own clipboard is out of reach: egui-baseview
/// reads it only when Ctrl+V (Cmd+V) is pressed.
pub fn clipboard() -> Option<String> {
    let text = copypasta::ClipboardContext::new().ok()?.get_contents().ok()?;
    (!text.trim().is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use egui_kittest::Harness;
    use egui_kittest::kittest::Queryable;

    use super::*;

    /// Seconds between frames.
    const FRAME: f32 = 0.05;

    /// The box on the slots of a fresh instance, the edits it made, and the active slot.
    #[derive(Default)]
    struct Desk {
        query_box: QueryBox,
        queries: Arc<Queries>,
        active: usize,
        edits: Vec<Edit>,
    }

    fn desk() -> Harness<'static, Desk> {
        let show = |ui: &mut Ui, desk: &mut Desk| {
            let edit = desk.query_box.show(ui, &desk.queries, desk.active, Some(Readiness::Ready));
            if let Some(edit) = edit {
                desk.queries.set_text(edit.slot, &edit.text);
                desk.edits.push(edit);
            }
        };
        let builder = Harness::builder().with_step_dt(FRAME).allow_missing_glyphs();
        builder.build_ui_state(show, Desk::default())
    }

    fn type_text(desk: &mut Harness<Desk>, text: &str) {
        let field = desk.get_by_role(Role::TextInput);
        if !field.is_focused() {
            field.click();
            desk.step();
        }
        desk.event(egui::Event::Text(text.into()));
        desk.step();
    }

    fn wait(desk: &mut Harness<Desk>, seconds: f32) {
        desk.run_steps((seconds / FRAME).ceil() as usize);
    }

    fn edit(slot: usize, text: &str) -> Edit {
        Edit { slot, text: text.into() }
    }

    #[test]
    fn enter_takes_the_text_once_and_gives_the_focus_back() {
        let mut desk = desk();
        type_text(&mut desk, "a violin");
        assert!(desk.state().edits.is_empty());
        desk.key_press(Key::Enter);
        desk.step();
        assert_eq!(desk.state().edits, [edit(0, "a violin")]);
        assert!(!desk.get_by_role(Role::TextInput).is_focused());
        wait(&mut desk, 1.0);
        assert_eq!(desk.state().edits.len(), 1);
    }

    #[test]
    fn escape_gives_the_focus_back_and_keeps_what_was_typed() {
        let mut desk = desk();
        type_text(&mut desk, "a violin");
        desk.key_press(Key::Escape);
        desk.run_steps(2);
        assert!(!desk.get_by_role(Role::TextInput).is_focused());
        assert_eq!(desk.state().edits, [edit(0, "a violin")]);
    }

    #[test]
    fn a_pause_takes_the_text_once_and_keeps_the_focus() {
        let mut desk = desk();
        for letters in ["ra", "in", " on", " tin"] {
            type_text(&mut desk, letters);
            wait(&mut desk, 0.2);
            assert!(desk.state().edits.is_empty(), "taken while somebody types");
        }
        wait(&mut desk, 0.5);
        assert_eq!(desk.state().edits, [edit(0, "rain on tin")]);
        assert!(desk.get_by_role(Role::TextInput).is_focused());
        wait(&mut desk, 1.0);
        assert_eq!(desk.state().edits.len(), 1);
    }

    #[test]
    fn a_text_that_the_window_closes_on_is_saved() {
        let mut desk = desk();
        type_text(&mut desk, "a violin");
        assert!(desk.state().edits.is_empty());
        assert_eq!(desk.state().queries.texts()[0], "a violin");
    }

    #[test]
    fn the_box_shows_the_active_slot_when_automation_chooses_another() {
        let mut desk = desk();
        desk.state_mut().active = 1;
        desk.step();
        assert_eq!(desk.state().query_box.text, "drums");
    }

    #[test]
    fn the_box_shows_the_texts_of_a_state_that_is_loaded() {
        let mut desk = desk();
        desk.state().queries.set_text(0, "기타 소리");
        desk.step();
        assert_eq!(desk.state().query_box.text, "기타 소리");
    }

    #[test]
    fn neither_automation_nor_a_state_overwrites_what_is_being_typed() {
        let mut desk = desk();
        type_text(&mut desk, "a vio");
        desk.state_mut().active = 1;
        desk.state().queries.set_text(0, "loaded");
        type_text(&mut desk, "lin");
        wait(&mut desk, 0.5);
        assert_eq!(desk.state().edits, [edit(0, "a violin")]);
        type_text(&mut desk, "s");
        desk.key_press(Key::Enter);
        desk.step();
        assert_eq!(desk.state().edits.last(), Some(&edit(0, "a violins")));
        desk.step();
        assert_eq!(desk.state().query_box.text, "drums", "the box follows again");
    }

    #[test]
    fn a_right_click_offers_to_copy_the_words_and_to_paste_over_them() {
        let mut desk = desk();
        desk.get_by_role(Role::TextInput).click_secondary();
        desk.run_steps(3);
        desk.get_by_label("Paste over the words");
        desk.get_by_label("Copy").click();
        desk.step();
        let copied = egui::OutputCommand::CopyText("a person speaking".into());
        assert!(desk.output().platform_output.commands.contains(&copied));
    }

    #[test]
    fn a_text_is_one_line_of_at_most_256_characters() {
        assert_eq!(one_line("a dog\r\nbarking\n"), "a dog  barking");
        assert_eq!(one_line(&"소".repeat(300)).chars().count(), MAX_CHARACTERS);
    }

    #[test]
    fn the_feedback_never_promises_what_does_not_happen() {
        let said = |stage, engine| feedback(stage, engine, &[]).0;
        assert_eq!(said(Stage::Encoding, None), "Takes effect once the host activates Sift");
        assert_eq!(said(Stage::Encoding, Some(Readiness::Loading)), "Waits for the model");
        assert_eq!(said(Stage::Encoding, Some(Readiness::Ready)), "Encoding …");
        assert_eq!(said(Stage::Ready, Some(Readiness::Ready)), "Ready");
        assert_eq!(said(Stage::Ready, Some(Readiness::Failed)), "Without a model, words have no effect");
        assert_eq!(said(Stage::Failed, Some(Readiness::Ready)), "These words could not be encoded");
    }

    fn near(name: &str, closeness: f32) -> Understood {
        Understood { name: name.into(), closeness, meant: false }
    }

    fn meant(name: &str, closeness: f32) -> Understood {
        Understood { meant: true, ..near(name, closeness) }
    }

    #[test]
    fn what_was_understood_is_said_with_its_closeness() {
        let said = |understood: &[Understood]| feedback(Stage::Ready, Some(Readiness::Ready), understood).0;
        let dog = [meant("dog barking", 0.83), near("rooster crowing", 0.31), near("cello", 0.04)];
        assert_eq!(said(&dog), "dog barking 0.83 · rooster crowing 0.31");
        let none = [meant("kitchen", 0.21), near("fan", 0.12), near("wind", 0.1)];
        assert_eq!(said(&none), "Sift does not know this sound well; try “kitchen” or “fan”");
        let guitar = [meant("electric guitar", 0.62), meant("acoustic guitar", 0.55), near("harp", 0.2)];
        assert_eq!(said(&guitar), "electric guitar 0.62 or acoustic guitar 0.55 · harp 0.20");
        let doubtful = [meant("kitchen", 0.21), meant("fan", 0.2), meant("wind", 0.19)];
        assert_eq!(said(&doubtful), "Not sure: taken for “kitchen” or “fan” or “wind”");
    }

    #[test]
    fn feedback_that_is_longer_than_the_window_is_wide_does_not_widen_it() {
        let text = "Not sure: taken for “construction site” or “underwater rumble” or “windshield wipers”";
        for characters in [10, MAX_CHARACTERS] {
            let show = |ui: &mut Ui| {
                let room = ui.available_width();
                say(ui, text, Color32::WHITE, characters);
                assert!(ui.min_rect().width() <= room, "{} of {room}", ui.min_rect().width());
            };
            let builder = Harness::builder().with_size(vec2(400.0, 100.0)).with_context_setup(theme::apply);
            builder.build_ui(show).run_steps(2);
        }
    }

    #[test]
    fn the_arrow_keys_choose_among_the_suggestions_and_enter_takes_the_chosen_one() {
        let mut desk = desk();
        desk.state().queries.set_known(["acoustic guitar", "bass guitar", "drums"].map(String::from).into());
        type_text(&mut desk, "gui");
        desk.step();
        for key in [Key::ArrowDown, Key::ArrowDown, Key::ArrowDown, Key::ArrowUp, Key::ArrowDown, Key::Enter]
        {
            desk.key_press(key);
            desk.step();
        }
        desk.run_steps(2);
        assert_eq!(desk.state().edits, [edit(0, "bass guitar")]);
        assert!(desk.query_by_label("acoustic guitar").is_none(), "the suggestions are gone");
    }

    #[test]
    fn a_suggestion_that_is_clicked_is_taken() {
        let mut desk = desk();
        desk.state().queries.set_known(["acoustic guitar", "bass guitar", "drums"].map(String::from).into());
        type_text(&mut desk, "gui");
        desk.run_steps(2);
        desk.get_by_label("acoustic guitar").click();
        desk.run_steps(3);
        assert_eq!(desk.state().edits.last(), Some(&edit(0, "acoustic guitar")));
        assert_eq!(desk.state().queries.text(0), "acoustic guitar");
    }

    #[test]
    fn enter_without_a_choice_takes_what_was_typed() {
        let mut desk = desk();
        desk.state().queries.set_known(["drums"].map(String::from).into());
        type_text(&mut desk, "dr");
        desk.key_press(Key::Enter);
        desk.run_steps(2);
        assert_eq!(desk.state().edits, [edit(0, "dr")]);
    }

    #[test]
    fn known_sounds_complete_what_is_typed() {
        let known = ["acoustic guitar", "bass guitar", "drums", "guitar"].map(String::from);
        assert_eq!(suggestions(&known, "Gui"), ["guitar", "acoustic guitar", "bass guitar"]);
        assert_eq!(suggestions(&known, "dr"), ["drums"]);
        for nothing in ["", "  ", "drums", "uitar", "xylophone"] {
            assert!(suggestions(&known, nothing).is_empty(), "{nothing}");
        }
    }
}
