//! The query box: edits the active slot's query, suggests completions, and shows how the query was understood.

use std::time::Duration;

use egui::accesskit::Role;
use egui::text::CCursor;
use egui::text_selection::CCursorRange;
use egui::{
    Align, Align2, Color32, Frame, Key, Label, Layout, Margin, Modifiers, Popup, PopupCloseBehavior,
    Response, RichText, Sense, Stroke, StrokeKind, TextEdit, Ui, WidgetInfo, vec2,
};
use sift_engine::{
    Choice, HearingState, MAX_CHARACTERS, Queries, Readiness, SlotState, Snapshot, Understanding,
};

use super::theme::{self, Severity};
use super::{accessibility, clipboard, heard_sounds};

/// Seconds without a keystroke after which the text takes effect.
const TYPING_PAUSE: f64 = 0.4;
const PLACEHOLDER: &str = "Describe a sound: a dog barking, 기타 소리 …";
/// Examples of what a text can ask for, shown below the empty box.
const EXAMPLES: &str =
    "drums · only the vocals · everything but the piano · speech without music · 말소리 빼고";
/// What to do in place of typing with an input method, which the window does not reach.
const PASTE_HINT: &str = "no input method in this window: copy the text elsewhere, then press Paste";
const HEIGHT: f32 = 50.0;
const PASTE_WIDTH: f32 = 74.0;
/// Number of free characters below which the length is shown.
const LENGTH_WARNING: usize = 56;
/// Number of suggestions shown at once.
const MAX_SUGGESTIONS: usize = 5;

/// A completed edit: the new text of a slot.
#[derive(Debug, PartialEq, Eq)]
pub struct Edit {
    pub slot: usize,
    pub text: String,
}

/// The text being edited, and its slot.
///
/// The box follows the active slot, except while the user types: then it keeps the slot in which the typing
/// began until it loses the focus.
#[derive(Default)]
pub struct QueryBox {
    text: String,
    slot: usize,
    /// Generation of the queries that `text` was read from.
    generation: Option<u64>,
    /// Time of the last keystroke, in seconds, until the edit is complete.
    pending: Option<f64>,
    /// The user has typed since the box got the focus.
    is_typing: bool,
    /// Index of the suggestion selected with the arrow keys.
    selected: Option<usize>,
    /// The box requests the focus in the next frame.
    wants_focus: bool,
    has_focus: bool,
    /// The text is another slot's, or was not typed: the text box must not undo it into the one of before.
    must_forget_typing: bool,
    /// The user has an input method, which the window does not reach.
    pub lacks_input_method: bool,
}

impl QueryBox {
    /// Draws the box for the `active` slot, and below it how `engine` understands the text. Returns an edit when one
    /// is complete.
    pub fn show(
        &mut self,
        ui: &mut Ui,
        queries: &Queries,
        active: usize,
        engine: Option<&Snapshot>,
    ) -> Option<Edit> {
        self.update_text(queries, active);
        let now = ui.input(|input| input.time);
        let suggestions =
            if self.is_typing { suggestions(&queries.concept_names(), &self.text) } else { Vec::new() };
        self.select_suggestion(ui, &suggestions);
        let mut lost_focus = false;
        ui.horizontal(|ui| {
            let field = self.text_edit(ui, queries, now);
            lost_focus = field.lost_focus();
            if let Some(clicked) = self.show_suggestions(&field, &suggestions) {
                self.text = clicked;
                self.pending = Some(now - TYPING_PAUSE);
                (self.is_typing, self.selected) = (false, None);
            }
            let pasted = paste_button(ui) | self.context_menu(&field);
            if pasted && let Some(text) = clipboard::text() {
                self.text = one_line(&text);
                self.pending = Some(now - TYPING_PAUSE);
            }
        });

        ui.add_space(theme::GAP);
        let mut edit = self.take_edit(now, lost_focus);
        if lost_focus {
            self.is_typing = false;
        }
        if let Some(typed) = self.pending {
            ui.ctx().request_repaint_after(Duration::from_secs_f64(typed + TYPING_PAUSE - now));
        }
        if let Some(chosen) = self.show_feedback(ui, queries, active, engine) {
            self.text.clone_from(&chosen);
            (self.pending, self.is_typing) = (None, false);
            edit = Some(Edit { slot: self.slot, text: chosen });
        }
        edit
    }

    /// Gives the box the focus in the next frame.
    pub fn request_focus(&mut self) {
        self.wants_focus = true;
    }

    /// Whether the box has the focus and its text is that of the slot.
    pub fn is_complete(&self) -> bool {
        self.has_focus && self.pending.is_none()
    }

    /// Reads the slot's text, unless an edit is pending.
    fn update_text(&mut self, queries: &Queries, active: usize) {
        if self.pending.is_some() {
            return;
        }
        let slot = if self.is_typing { self.slot } else { active };
        let generation = queries.generation();
        if slot != self.slot || self.generation != Some(generation) {
            self.slot = slot;
            self.generation = Some(generation);
            let text = queries.text(slot);
            self.must_forget_typing |= text != self.text;
            self.text = text;
        }
    }

    /// Returns the edit when the typing pauses or the focus is lost.
    fn take_edit(&mut self, now: f64, lost_focus: bool) -> Option<Edit> {
        self.pending.take_if(|typed| lost_focus || now - *typed >= TYPING_PAUSE)?;
        Some(Edit { slot: self.slot, text: self.text.clone() })
    }

    /// Selects a suggestion with the arrow keys, and copies it into the text on Enter or Tab.
    fn select_suggestion(&mut self, ui: &Ui, suggestions: &[String]) {
        self.selected = self.selected.filter(|selected| *selected < suggestions.len());
        if suggestions.is_empty() {
            return;
        }
        let pressed = |key| ui.input_mut(|input| input.consume_key(Modifiers::NONE, key));
        let last = suggestions.len() - 1;
        let (down, up) = (pressed(Key::ArrowDown), pressed(Key::ArrowUp));
        if down {
            self.selected = Some(self.selected.map_or(0, |selected| last.min(selected + 1)));
        }
        if up {
            self.selected = self.selected.and_then(|selected| selected.checked_sub(1));
        }
        if down || up {
            // Selecting counts as typing.
            self.pending = Some(ui.input(|input| input.time));
        }
        // Both keys also move the focus, which completes the edit.
        if let Some(selected) = self.selected
            && ui.input(|input| input.key_pressed(Key::Enter) || input.key_pressed(Key::Tab))
        {
            self.text = suggestions[selected].clone();
            self.pending = Some(ui.input(|input| input.time));
        }
    }

    /// Shows the suggestions below the box. Returns a clicked one.
    fn show_suggestions(&self, field: &Response, suggestions: &[String]) -> Option<String> {
        let mut clicked = None;
        let is_open = !suggestions.is_empty() && (field.has_focus() || field.lost_focus());
        let popup = Popup::from_response(field)
            .open(is_open)
            .close_behavior(PopupCloseBehavior::IgnoreClicks)
            .width(field.rect.width())
            .gap(2.0);
        popup.show(|ui| {
            ui.set_min_width(field.rect.width() - 2.0 * theme::GAP);
            for (index, suggestion) in suggestions.iter().enumerate() {
                if ui.selectable_label(self.selected == Some(index), suggestion).clicked() {
                    clicked = Some(suggestion.clone());
                }
            }
        });
        clicked
    }

    /// Shows the context menu. Returns whether to paste.
    fn context_menu(&self, field: &Response) -> bool {
        let mut paste = false;
        field.context_menu(|ui| {
            if ui.button("Copy").clicked() {
                ui.copy_text(self.text.clone());
            }
            paste = ui.button("Paste and replace").clicked();
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
        ui.ctx().accesskit_node_builder(response.id, |node| {
            node.set_label(format!("Sound to separate, slot {}", self.slot + 1));
        });
        let outline = match response.has_focus() {
            true => Stroke::new(2.0, theme::of(ui).accent),
            false => Stroke::new(1.0, theme::of(ui).outline),
        };
        ui.painter().rect_stroke(response.rect, theme::RADIUS, outline, StrokeKind::Inside);
        if response.changed() {
            self.text = one_line(&self.text);
            queries.draft(self.slot, &self.text);
            self.pending = Some(now);
            self.is_typing = true;
        }
        self.has_focus = response.has_focus();
        if std::mem::take(&mut self.must_forget_typing) {
            output.state.clear_undoer();
            output.state.clone().store(ui.ctx(), response.id);
        }
        if std::mem::take(&mut self.wants_focus) {
            response.request_focus();
        }
        if response.gained_focus() {
            // Selects all, so that typing replaces the text.
            let everything = CCursorRange::two(CCursor::new(0), CCursor::new(self.text.chars().count()));
            output.state.cursor.set_char_range(Some(everything));
            output.state.clone().store(ui.ctx(), response.id);
        }
        response
    }

    /// Shows how the text was understood. Returns the text with a sound that the user chose.
    fn show_feedback(
        &self,
        ui: &mut Ui,
        queries: &Queries,
        active: usize,
        engine: Option<&Snapshot>,
    ) -> Option<String> {
        let state = match self.pending {
            Some(_) => SlotState::Encoding,
            None => queries.slot_state(self.slot),
        };
        let understanding = queries.understanding(self.slot);
        let (mut text, severity) = feedback(state, engine.map(|engine| engine.readiness), &understanding);
        let choices = if state == SlotState::Ready { understanding.choices() } else { Vec::new() };
        let color = severity.color(theme::of(ui));
        if self.slot != active {
            text = format!("Editing slot {}; slot {} is active. {text}", self.slot + 1, active + 1);
        }
        if self.lacks_input_method && self.has_focus {
            text =
                if self.text.is_empty() { PASTE_HINT.to_owned() } else { format!("{text} · {PASTE_HINT}") };
        }
        let characters = self.text.chars().count();
        let hearing = engine.map(|engine| &engine.hearing);
        let chosen = show_feedback_line(ui, &text, &choices, color, characters, hearing)?;
        Some(replace_name(&self.text, chosen.typed, chosen.concept))
    }
}

/// Draws one line of feedback, truncated to the width, in which a click chooses one of `choices`. At its right are the rest,
/// and the text's length when it nears the limit.
fn show_feedback_line<'a>(
    ui: &mut Ui,
    text: &str,
    choices: &[Choice<'a>],
    color: Color32,
    characters: usize,
    hearing: Option<&HearingState>,
) -> Option<Choice<'a>> {
    let small = |text: &str, color| RichText::new(text).size(theme::SMALL).color(color);
    let mut chosen = None;
    ui.horizontal(|ui| {
        let (dot, _) = ui.allocate_exact_size(vec2(8.0, theme::SMALL), Sense::hover());
        ui.painter().circle_filled(dot.center(), 4.0, color);
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            if characters + LENGTH_WARNING > MAX_CHARACTERS {
                let count = format!("{characters} of {MAX_CHARACTERS} characters");
                ui.label(small(&count, theme::of(ui).text_weak));
            }
            if let Some(hearing) = hearing {
                heard_sounds::show_rest(ui, hearing);
            }
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                ui.spacing_mut().item_spacing.x = 0.0;
                for (piece, choice) in split_at_choices(text, choices) {
                    let Some(choice) = choice else {
                        // Hovering shows the full text.
                        accessibility::announce(&ui.add(Label::new(small(piece, color)).truncate()));
                        continue;
                    };
                    let link = Label::new(small(piece, color).underline()).sense(Sense::click()).truncate();
                    let link = ui.add(link).on_hover_text(format!("Mean {} only", choice.concept));
                    link.widget_info(|| {
                        WidgetInfo::labeled(Role::Link, true, format!("Mean {}", choice.concept))
                    });
                    if link.clicked() {
                        chosen = Some(choice);
                    }
                }
            });
        });
    });
    chosen
}

/// Splits `text` into pieces, of which those that name a choice have it.
fn split_at_choices<'t, 'a>(text: &'t str, choices: &[Choice<'a>]) -> Vec<(&'t str, Option<Choice<'a>>)> {
    let mut pieces = Vec::new();
    let mut rest = text;
    for &choice in choices {
        let Some((before, after)) = rest.split_once(choice.concept) else { continue };
        pieces.push((before, None));
        pieces.push((&rest[before.len()..rest.len() - after.len()], Some(choice)));
        rest = after;
    }
    pieces.push((rest, None));
    pieces.retain(|(piece, _)| !piece.is_empty());
    pieces
}

/// Replaces the name `typed`, in lower case, by `concept` in `text`, or all of it if it is not there.
fn replace_name(text: &str, typed: &str, concept: &str) -> String {
    let lower = text.to_lowercase();
    match lower.find(typed).filter(|_| lower.len() == text.len()) {
        Some(start) => format!("{}{concept}{}", &text[..start], &text[start + typed.len()..]),
        None => concept.to_owned(),
    }
}

/// Returns known sounds that start with `typed`, then those with another word that does.
fn suggestions(known: &[String], typed: &str) -> Vec<String> {
    let typed = typed.trim().to_lowercase();
    if typed.is_empty() || known.contains(&typed) {
        return Vec::new();
    }
    let begins = |name: &&String| name.starts_with(&typed);
    let has_word = |name: &&String| !begins(name) && name.contains(&format!(" {typed}"));
    known.iter().filter(begins).chain(known.iter().filter(has_word)).take(MAX_SUGGESTIONS).cloned().collect()
}

/// Returns the text below the box, and its severity.
fn feedback(
    state: SlotState,
    engine: Option<Readiness>,
    understanding: &Understanding,
) -> (String, Severity) {
    if let (SlotState::Ready, Some(Readiness::Ready)) = (state, engine) {
        let severity = if understanding.is_sure() { Severity::Good } else { Severity::Warning };
        return (understanding.describe(), severity);
    }
    let (text, severity) = match (state, engine) {
        (SlotState::Empty, _) => (EXAMPLES, Severity::Waiting),
        (SlotState::Failed, _) => ("This text could not be encoded", Severity::Warning),
        (SlotState::Encoding, None) => ("Takes effect once the host activates Sift", Severity::Waiting),
        (SlotState::Encoding, Some(Readiness::Loading)) => ("Waiting for the model", Severity::Waiting),
        (_, Some(Readiness::Failed)) => ("No effect: the model could not be loaded", Severity::Warning),
        (SlotState::Encoding, Some(Readiness::Ready)) => ("Encoding …", Severity::Waiting),
        (SlotState::Ready, _) => ("Ready", Severity::Good),
    };
    (text.to_owned(), severity)
}

/// Joins the lines of `text`, which are a list, and cuts it to [`MAX_CHARACTERS`].
fn one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = match text.contains(['\r', '\n']) {
        true => lines.collect::<Vec<_>>().join(", "),
        false => text.to_owned(),
    };
    line.replace('\t', " ").chars().take(MAX_CHARACTERS).collect()
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
    // Some hosts take Ctrl+V (Cmd+V) for themselves; the button still works.
    response.on_hover_text("Replaces the text with the clipboard's content").clicked()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use egui_kittest::Harness;
    use egui_kittest::kittest::Queryable;
    use sift_engine::{ConceptMatch, RestSound, UnderstoodSound};

    use super::*;
    use crate::editor::snapshot_tests;

    /// Seconds between frames.
    const FRAME_INTERVAL: f32 = 0.05;

    /// The query box with the queries of a new instance, and its edits so far.
    #[derive(Default)]
    struct Fixture {
        query_box: QueryBox,
        queries: Arc<Queries>,
        active: usize,
        edits: Vec<Edit>,
    }

    fn fixture() -> Harness<'static, Fixture> {
        let engine = snapshot_tests::running(Readiness::Ready);
        let show = move |ui: &mut Ui, fixture: &mut Fixture| {
            let edit = fixture.query_box.show(ui, &fixture.queries, fixture.active, Some(&engine));
            if let Some(edit) = edit {
                fixture.queries.set_text(edit.slot, &edit.text);
                fixture.edits.push(edit);
            }
        };
        let builder = Harness::builder().with_step_dt(FRAME_INTERVAL).allow_missing_glyphs();
        builder.build_ui_state(show, Fixture::default())
    }

    fn type_text(fixture: &mut Harness<Fixture>, text: &str) {
        let field = fixture.get_by_role(Role::TextInput);
        if !field.is_focused() {
            field.click();
            fixture.step();
        }
        fixture.event(egui::Event::Text(text.into()));
        fixture.step();
    }

    fn wait(fixture: &mut Harness<Fixture>, seconds: f32) {
        fixture.run_steps((seconds / FRAME_INTERVAL).ceil() as usize);
    }

    fn edit(slot: usize, text: &str) -> Edit {
        Edit { slot, text: text.into() }
    }

    #[test]
    fn enter_completes_the_edit_once_and_ends_the_focus() {
        let mut fixture = fixture();
        type_text(&mut fixture, "a violin");
        assert!(fixture.state().edits.is_empty());
        fixture.key_press(Key::Enter);
        fixture.step();
        assert_eq!(fixture.state().edits, [edit(0, "a violin")]);
        assert!(!fixture.get_by_role(Role::TextInput).is_focused());
        wait(&mut fixture, 1.0);
        assert_eq!(fixture.state().edits.len(), 1);
    }

    #[test]
    fn escape_completes_the_edit_and_ends_the_focus() {
        let mut fixture = fixture();
        type_text(&mut fixture, "a violin");
        fixture.key_press(Key::Escape);
        fixture.run_steps(2);
        assert!(!fixture.get_by_role(Role::TextInput).is_focused());
        assert_eq!(fixture.state().edits, [edit(0, "a violin")]);
    }

    #[test]
    fn typing_pause_completes_the_edit_and_keeps_the_focus() {
        let mut fixture = fixture();
        for letters in ["ra", "in", " on", " tin"] {
            type_text(&mut fixture, letters);
            wait(&mut fixture, 0.2);
            assert!(fixture.state().edits.is_empty(), "edit completed during typing");
        }
        wait(&mut fixture, 0.5);
        assert_eq!(fixture.state().edits, [edit(0, "rain on tin")]);
        assert!(fixture.get_by_role(Role::TextInput).is_focused());
        wait(&mut fixture, 1.0);
        assert_eq!(fixture.state().edits.len(), 1);
    }

    #[test]
    fn unfinished_text_is_saved() {
        let mut fixture = fixture();
        type_text(&mut fixture, "a violin");
        assert!(fixture.state().edits.is_empty());
        assert_eq!(fixture.state().queries.texts()[0], "a violin");
    }

    #[test]
    fn box_follows_the_automated_slot() {
        let mut fixture = fixture();
        fixture.state_mut().active = 1;
        fixture.step();
        assert_eq!(fixture.state().query_box.text, "drums");
    }

    #[test]
    fn box_shows_the_text_of_a_loaded_state() {
        let mut fixture = fixture();
        fixture.state().queries.set_text(0, "기타 소리");
        fixture.step();
        assert_eq!(fixture.state().query_box.text, "기타 소리");
    }

    #[test]
    fn automation_and_state_do_not_overwrite_typed_text() {
        let mut fixture = fixture();
        type_text(&mut fixture, "a vio");
        fixture.state_mut().active = 1;
        fixture.state().queries.set_text(0, "loaded");
        type_text(&mut fixture, "lin");
        wait(&mut fixture, 0.5);
        assert_eq!(fixture.state().edits, [edit(0, "a violin")]);
        type_text(&mut fixture, "s");
        fixture.key_press(Key::Enter);
        fixture.step();
        assert_eq!(fixture.state().edits.last(), Some(&edit(0, "a violins")));
        fixture.step();
        assert_eq!(fixture.state().query_box.text, "drums", "the box follows the active slot again");
    }

    #[test]
    fn paste_hint_shows_while_an_input_method_is_missed() {
        let mut fixture = fixture();
        let is_shown = |fixture: &Harness<Fixture>| fixture.query_by_label_contains(PASTE_HINT).is_some();
        type_text(&mut fixture, "an");
        fixture.step();
        assert!(!is_shown(&fixture), "the user has no input method");
        fixture.state_mut().query_box.lacks_input_method = true;
        fixture.step();
        assert!(is_shown(&fixture));
        fixture.key_press(Key::Escape);
        fixture.run_steps(2);
        assert!(!is_shown(&fixture), "nothing is typed");
    }

    #[test]
    fn context_menu_offers_copy_and_paste() {
        let mut fixture = fixture();
        fixture.get_by_role(Role::TextInput).click_secondary();
        fixture.run_steps(3);
        fixture.get_by_label("Paste and replace");
        fixture.get_by_label("Copy").click();
        fixture.step();
        let copied = egui::OutputCommand::CopyText("a person speaking".into());
        assert!(fixture.output().platform_output.commands.contains(&copied));
    }

    #[test]
    fn text_is_one_line_of_at_most_256_characters() {
        assert_eq!(one_line("drums\r\n\n bass\n"), "drums, bass");
        assert_eq!(one_line(" a dog "), " a dog ", "the user is typing");
        assert_eq!(one_line(&"소".repeat(300)).chars().count(), MAX_CHARACTERS);
    }

    #[test]
    fn feedback_follows_slot_and_engine() {
        let text = |state, engine| feedback(state, engine, &Understanding::default()).0;
        assert_eq!(text(SlotState::Empty, None), EXAMPLES);
        assert_eq!(text(SlotState::Encoding, None), "Takes effect once the host activates Sift");
        assert_eq!(text(SlotState::Encoding, Some(Readiness::Loading)), "Waiting for the model");
        assert_eq!(text(SlotState::Encoding, Some(Readiness::Ready)), "Encoding …");
        assert_eq!(
            text(SlotState::Ready, Some(Readiness::Failed)),
            "No effect: the model could not be loaded"
        );
        assert_eq!(text(SlotState::Failed, Some(Readiness::Ready)), "This text could not be encoded");
    }

    fn sound(name: &str, matches: &[(&str, f32)]) -> UnderstoodSound {
        let concept =
            |&(name, closeness): &(&str, f32)| ConceptMatch { name: name.into(), closeness, selected: true };
        let matches = matches.iter().map(concept).collect();
        UnderstoodSound { name: name.into(), matches, ..UnderstoodSound::default() }
    }

    #[test]
    fn feedback_tells_what_was_understood_and_how_surely() {
        let feedback = |understanding| feedback(SlotState::Ready, Some(Readiness::Ready), &understanding);
        let sure = Understanding {
            keep: vec![sound("voice", &[("speech", 0.93)])],
            leave_out: vec![sound("music", &[("music", 1.0)])],
            ..Understanding::default()
        };
        assert_eq!(feedback(sure), ("keeping speech 0.93 · leaving out music".into(), Severity::Good));
        let doubtful =
            Understanding { keep: vec![sound("hum", &[("fan", 0.4)])], ..Understanding::default() };
        assert_eq!(feedback(doubtful).1, Severity::Warning);
        let (text, severity) = feedback(Understanding::default());
        assert!(text.contains("everything passes") && severity == Severity::Warning);
    }

    #[test]
    fn click_on_a_name_in_doubt_chooses_it() {
        let choices = ["electric guitar", "harp"].map(|concept| Choice { typed: "guitar", concept });
        let show = |ui: &mut Ui, chosen: &mut Option<&str>| {
            let text = "keeping electric guitar 0.60 or harp 0.50";
            let clicked = show_feedback_line(ui, text, &choices, Color32::WHITE, 6, None);
            *chosen = clicked.map(|choice| choice.concept).or(*chosen);
        };
        let builder = Harness::builder().with_size(vec2(400.0, 100.0)).with_context_setup(theme::apply);
        let mut line = builder.build_ui_state(show, None);
        line.get_by_label("Mean harp").click();
        line.run_steps(2);
        assert_eq!(*line.state(), Some("harp"));
    }

    #[test]
    fn choice_replaces_the_name_in_the_text() {
        assert_eq!(replace_name("no Guitar, please", "guitar", "harp"), "no harp, please");
        assert_eq!(replace_name("gutar", "gutar", "electric guitar"), "electric guitar");
        assert_eq!(replace_name("İ guitar", "guitar", "harp"), "harp", "of another length in lower case");
    }

    #[test]
    fn choices_are_found_in_the_feedback() {
        let choice = |concept| Choice { typed: "guitar", concept };
        let choices = [choice("electric guitar"), choice("harp")];
        let pieces = split_at_choices("keeping electric guitar 0.6 or harp 0.5", &choices);
        let expected = [
            ("keeping ", None),
            ("electric guitar", Some(choices[0])),
            (" 0.6 or ", None),
            ("harp", Some(choices[1])),
            (" 0.5", None),
        ];
        assert_eq!(pieces, expected);
        assert_eq!(split_at_choices("keeping drums", &choices), [("keeping drums", None)]);
    }

    #[test]
    fn long_feedback_does_not_widen_the_editor() {
        let text =
            "Not sure: understood as “construction site” or “underwater rumble” or “windshield wipers”";
        for characters in [10, MAX_CHARACTERS] {
            let rest = RestSound { name: Some("construction site".into()), weight: 0.7 };
            let hearing = HearingState { rest: Some(rest), ..HearingState::default() };
            let show = |ui: &mut Ui| {
                let width = ui.available_width();
                show_feedback_line(ui, text, &[], Color32::WHITE, characters, Some(&hearing));
                assert!(ui.min_rect().width() <= width, "{} of {width}", ui.min_rect().width());
            };
            let builder = Harness::builder().with_size(vec2(400.0, 100.0)).with_context_setup(theme::apply);
            builder.build_ui(show).run_steps(2);
        }
    }

    #[test]
    fn arrow_keys_and_enter_select_a_suggestion() {
        let mut fixture = fixture();
        fixture
            .state()
            .queries
            .set_concept_names(["acoustic guitar", "bass guitar", "drums"].map(String::from).into());
        type_text(&mut fixture, "gui");
        fixture.step();
        for key in [Key::ArrowDown, Key::ArrowDown, Key::ArrowDown, Key::ArrowUp, Key::ArrowDown, Key::Enter]
        {
            fixture.key_press(key);
            fixture.step();
        }
        fixture.run_steps(2);
        assert_eq!(fixture.state().edits, [edit(0, "bass guitar")]);
        assert!(fixture.query_by_label("acoustic guitar").is_none(), "the suggestions are gone");
    }

    #[test]
    fn clicked_suggestion_completes_the_edit() {
        let mut fixture = fixture();
        fixture
            .state()
            .queries
            .set_concept_names(["acoustic guitar", "bass guitar", "drums"].map(String::from).into());
        type_text(&mut fixture, "gui");
        fixture.run_steps(2);
        fixture.get_by_label("acoustic guitar").click();
        fixture.run_steps(3);
        assert_eq!(fixture.state().edits.last(), Some(&edit(0, "acoustic guitar")));
        assert_eq!(fixture.state().queries.text(0), "acoustic guitar");
    }

    #[test]
    fn enter_without_selection_keeps_the_typed_text() {
        let mut fixture = fixture();
        fixture.state().queries.set_concept_names(["drums"].map(String::from).into());
        type_text(&mut fixture, "dr");
        fixture.key_press(Key::Enter);
        fixture.run_steps(2);
        assert_eq!(fixture.state().edits, [edit(0, "dr")]);
    }

    #[test]
    fn suggestions_match_the_start_of_a_name_or_word() {
        let known = ["acoustic guitar", "bass guitar", "drums", "guitar"].map(String::from);
        assert_eq!(suggestions(&known, "Gui"), ["guitar", "acoustic guitar", "bass guitar"]);
        assert_eq!(suggestions(&known, "dr"), ["drums"]);
        for unmatched in ["", "  ", "drums", "uitar", "xylophone"] {
            assert!(suggestions(&known, unmatched).is_empty(), "{unmatched}");
        }
    }
}
