//! The editor's content: lays out its parts and passes edits on.

use std::sync::Arc;

use egui::{Align, Frame, Key, Layout, Margin, Modifiers, Panel, Rangef, RichText, ScrollArea, Ui, vec2};
use nice_plug::prelude::*;
use sift_engine::dsp::analyzer::{Analyzer, FrequencyScale, PeakLevels, SpectrumColumn};
use sift_engine::{Queries, SlotState, Snapshot, package};

use super::heard_sounds::HeardSounds;
use super::meters::Meters;
use super::model_menu::{MenuChoice, ModelMenu};
use super::query_box::QueryBox;
use super::slot_bar::{self, SlotBar};
use super::spectrogram::{MaskDisplay, Spectrogram};
use super::status_line::{self, OverloadIndicator};
use super::{controls, theme};
use crate::params::SiftParams;

/// Space at the sides, and the least space above and below the parts.
const MARGIN: Margin = Margin::symmetric(20, 4);
/// Space between the parts without a spectrogram: as much as the height allows.
const GAPS: Rangef = Rangef { min: 4.0, max: 56.0 };
/// Space between the parts with a spectrogram.
const SPECTROGRAM_GAP: f32 = 10.0;
/// Height below which the spectrogram is left out.
const MIN_SPECTROGRAM_HEIGHT: f32 = 70.0;
const HEADER_HEIGHT: f32 = 30.0;
/// Space between the feedback on the text and the sounds that are heard.
const HEARD_GAP: f32 = 2.0;

/// Data that one frame of the editor shows.
pub struct EditorData<'a> {
    /// Name of the model package.
    pub model: &'a str,
    /// Size in samples of the largest block for which the latency is set; `None` for that of the host.
    pub block_limit: Option<usize>,
    /// State of the running engine, if one runs.
    pub engine: Option<&'a Snapshot>,
    /// Spectra since the last frame.
    pub columns: Vec<SpectrumColumn>,
    pub peaks: PeakLevels,
    pub scale: FrequencyScale,
}

impl Default for EditorData<'_> {
    fn default() -> Self {
        let (peaks, scale) = (PeakLevels::default(), FrequencyScale::default());
        Self {
            model: package::DEFAULT_PACKAGE,
            block_limit: None,
            engine: None,
            columns: Vec::new(),
            peaks,
            scale,
        }
    }
}

impl<'a> EditorData<'a> {
    /// Reads the spectra and levels of `analyzer`. `model` is the selected model; a running engine's own takes precedence.
    pub fn new(model: &'a str, engine: Option<&'a Snapshot>, analyzer: Option<&Analyzer>) -> Self {
        let model = engine.map_or(model, |engine| &engine.model);
        let Some(analyzer) = analyzer else { return Self { model, engine, ..Self::default() } };
        let columns = analyzer.take_columns().collect();
        let (peaks, scale) = (analyzer.take_peaks(), analyzer.scale());
        Self { model, engine, columns, peaks, scale, ..Self::default() }
    }
}

/// The parts of the editor with their state between frames. Independent of host and toolkit window.
#[derive(Default)]
pub struct EditorView {
    pub query_box: QueryBox,
    heard_sounds: HeardSounds,
    spectrogram: Spectrogram,
    meters: Meters,
    pub slot_bar: SlotBar,
    pub model_menu: ModelMenu,
    overload: OverloadIndicator,
    /// What was selected in the model menu in this frame.
    pub menu_choice: Option<MenuChoice>,
    /// Error message about the preferences, the model's thread, or a folder.
    pub problem: Option<String>,
    /// Height of all parts in the last frame, without spectrogram and gaps.
    parts_height: Option<f32>,
}

impl EditorView {
    /// Draws everything into `ui` and applies edits to `queries` and `params`.
    pub fn show(
        &mut self,
        ui: &mut Ui,
        queries: &Arc<Queries>,
        params: &SiftParams,
        setter: &ParamSetter<'_>,
        data: EditorData<'_>,
    ) {
        self.undo_by_keys(ui, queries, params, setter);
        let engine = data.engine;
        let margin = Margin { top: 9, bottom: 9, ..MARGIN };
        let footer = Frame::NONE.fill(theme::of(ui).footer).inner_margin(margin);
        let footer = Panel::bottom("status").frame(footer).show_separator_line(false).resizable(false);
        footer.show(ui, |ui| self.show_footer(ui, queries, params, engine));

        // The spectrogram fills the height that the other parts leave. There is a gap between any two
        // parts, and half a gap above the first and below the last.
        let free_height = ui.available_height() - MARGIN.sum().y - self.parts_height.unwrap_or(f32::INFINITY);
        let spectrogram_height = Some((free_height - 6.0 * SPECTROGRAM_GAP).floor())
            .filter(|height| *height >= MIN_SPECTROGRAM_HEIGHT);
        let gap = match spectrogram_height {
            Some(_) => SPECTROGRAM_GAP,
            None => GAPS.clamp(free_height / 5.0).floor(),
        };
        let body = Frame::NONE.inner_margin(MARGIN + Margin::symmetric(0, (gap / 2.0) as i8));
        egui::CentralPanel::no_frame().frame(body).show(ui, |ui| {
            let content = ScrollArea::vertical().show(ui, |ui| {
                ui.spacing_mut().item_spacing.y = 0.0;
                self.show_header(ui, params, setter, (data.model, data.block_limit));
                ui.add_space(gap);
                self.show_query(ui, queries, params, setter, engine);
                ui.add_space(gap);
                if let Some(height) = spectrogram_height {
                    self.show_spectrogram(ui, height, params, data);
                    ui.add_space(gap);
                }
                if self.slot_bar.show(ui, queries, params, setter) {
                    self.query_box.request_focus();
                }
                ui.add_space(gap);
                controls::strength_and_mode(ui, params, setter);
                ui.add_space(gap);
                controls::mask_shape_and_gain(ui, params, setter);
            });
            let spectrogram = spectrogram_height.map_or(0.0, |height| height + gap);
            self.parts_height = Some(content.content_size.y - 4.0 * gap - spectrogram);
        });
    }

    /// Undoes and redoes edits of texts by the usual keys, unless a text is being typed: then they are the text box's.
    fn undo_by_keys(&self, ui: &Ui, queries: &Arc<Queries>, params: &SiftParams, setter: &ParamSetter<'_>) {
        if ui.ctx().text_edit_focused() && !self.query_box.is_complete() {
            return;
        }
        let pressed = |modifiers, key| ui.input_mut(|input| input.consume_key(modifiers, key));
        // `consume_key` ignores Shift where it is not asked for.
        let redo =
            pressed(Modifiers::COMMAND | Modifiers::SHIFT, Key::Z) || pressed(Modifiers::COMMAND, Key::Y);
        if redo || pressed(Modifiers::COMMAND, Key::Z) {
            slot_bar::undo(queries, redo, params, setter);
        }
    }

    /// Draws the spectrogram with the meters to its right.
    fn show_spectrogram(&mut self, ui: &mut Ui, height: f32, params: &SiftParams, data: EditorData<'_>) {
        let strength = if params.bypass.value() { 0.0 } else { params.strength.value() };
        let mask = MaskDisplay { mode: params.mode.value().into(), strength };
        let size = vec2(ui.available_width(), height);
        ui.allocate_ui_with_layout(size, Layout::right_to_left(Align::Min), |ui| {
            self.meters.show(ui, data.peaks, data.engine.and_then(|engine| engine.presence));
            ui.add_space(theme::GAP);
            let shown = (params.appearance.read().picture, mask);
            if let Some(selected) = self.spectrogram.show(ui, data.columns, shown, data.scale) {
                self.problem = params.appearance.write().set_picture(selected).err();
            }
        });
    }

    fn show_query(
        &mut self,
        ui: &mut Ui,
        queries: &Arc<Queries>,
        params: &SiftParams,
        setter: &ParamSetter<'_>,
        engine: Option<&Snapshot>,
    ) {
        if let Some(edit) = self.query_box.show(ui, queries, params.active_slot(), engine) {
            slot_bar::set_text(queries, edit.slot, &edit.text, params, setter);
        }
        ui.add_space(HEARD_GAP);
        let heard = engine.map_or(&[][..], |engine| &engine.hearing.sounds);
        if let Some(name) = self.heard_sounds.show(ui, heard, params, setter) {
            slot_bar::set_text(queries, params.active_slot(), &name, params, setter);
        }
    }

    fn show_footer(
        &mut self,
        ui: &mut Ui,
        queries: &Queries,
        params: &SiftParams,
        engine: Option<&Snapshot>,
    ) {
        let has_failed = queries.slot_state(params.active_slot()) == SlotState::Failed;
        let problem = queries
            .problem()
            .filter(|_| has_failed)
            .or_else(|| self.problem.clone())
            .or_else(|| params.state.load_problem.message());
        let now = ui.input(|input| input.time);
        let is_overloaded = engine.is_some_and(|engine| self.overload.update(engine.faults.missing(), now));
        let status = status_line::status_text(engine, problem, is_overloaded, params.bypass.value());
        status_line::show(ui, &status);
    }

    fn show_header(
        &mut self,
        ui: &mut Ui,
        params: &SiftParams,
        setter: &ParamSetter<'_>,
        (model, block_limit): (&str, Option<usize>),
    ) {
        let size = vec2(ui.available_width(), HEADER_HEIGHT);
        ui.allocate_ui_with_layout(size, Layout::left_to_right(Align::Center), |ui| {
            let names = vec2(size.x - controls::HEADER_WIDTH - theme::GAP, HEADER_HEIGHT);
            ui.allocate_ui_with_layout(names, Layout::left_to_right(Align::Center), |ui| {
                ui.set_width(names.x);
                ui.label(RichText::new("Sift").font(theme::font(26.0)).color(theme::of(ui).accent));
                self.menu_choice = self.model_menu.show(ui, model, block_limit);
            });
            if let Some(theme) = controls::listen_bypass_and_theme(ui, params, setter) {
                self.problem = params.appearance.write().set_theme(theme).err();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use egui::accesskit::Role;
    use egui_kittest::Harness;
    use egui_kittest::kittest::{NodeT, Queryable};
    use sift_engine::user::preferences::{SpectrogramView, ThemeChoice};
    use sift_engine::{HearingState, Readiness, RestSound};

    use super::*;
    use crate::editor::appearance::DEFAULT_EDITOR_SIZE;
    use crate::editor::mock_host::{MockHost, editor, scaled_editor};
    use crate::editor::size::{MAX_SIZE, MIN_SIZE};
    use crate::editor::{ANIMATION_INTERVAL, snapshot_tests};

    #[test]
    fn edited_text_is_stored_and_marks_the_project_changed_once() {
        let host = MockHost::default();
        let mut editor = editor(&host, MIN_SIZE);
        editor.get_by_role(Role::TextInput).click();
        editor.run_steps(2);
        editor.event(egui::Event::Text("a violin".into()));
        editor.key_press(Key::Enter);
        editor.run_steps(20);
        assert_eq!(host.queries().text(0), "a violin", "the old text is replaced");
        assert_eq!(host.gestures(), ["begin revision", "set revision", "end revision"]);
    }

    #[test]
    fn text_typed_before_a_slot_change_stays_in_its_slot() {
        let host = MockHost::default();
        let mut editor = editor(&host, MIN_SIZE);
        editor.get_by_role(Role::TextInput).click();
        editor.run_steps(2);
        editor.event(egui::Event::Text("a violin".into()));
        editor.run_steps(1);
        editor.get_by_label("Slot 2: drums").click();
        editor.run_steps(4);
        assert_eq!(host.queries().text(0), "a violin");
        assert_eq!(host.queries().text(1), "drums");
        assert_eq!(editor.get_by_role(Role::TextInput).value().as_deref(), Some("drums"));
    }

    /// Presses `key` with Ctrl or Cmd and, if `shift`, with Shift.
    fn press_command(editor: &mut Harness<'_>, key: Key, shift: bool) {
        let shift = if shift { Modifiers::SHIFT } else { Modifiers::NONE };
        editor.key_press_modifiers(Modifiers::COMMAND | shift, key);
        editor.run_steps(3);
    }

    #[test]
    fn text_that_took_effect_is_undone_in_the_text_box() {
        let host = MockHost::default();
        let mut editor = editor(&host, MIN_SIZE);
        editor.get_by_role(Role::TextInput).click();
        editor.run_steps(2);
        for text in ["a violin", " or a cello"] {
            editor.event(egui::Event::Text(text.into()));
            editor.run_steps(20);
        }
        assert_eq!(host.queries().text(0), "a violin or a cello");
        let shown = |editor: &Harness<'_>| editor.get_by_role(Role::TextInput).value().unwrap();
        for (key, shift, expected) in [
            (Key::Z, false, "a violin"),
            (Key::Z, false, "a person speaking"),
            (Key::Z, true, "a violin"),
            (Key::Y, false, "a violin or a cello"),
            (Key::Z, false, "a violin"),
        ] {
            press_command(&mut editor, key, shift);
            assert_eq!((&*host.queries().text(0), &*shown(&editor)), (expected, expected));
        }
        assert!(editor.get_by_role(Role::TextInput).is_focused());
    }

    #[test]
    fn undo_of_typing_never_brings_the_text_of_another_slot() {
        let host = MockHost::default();
        let mut editor = editor(&host, MIN_SIZE);
        editor.get_by_role(Role::TextInput).click();
        editor.run_steps(20);
        editor.get_by_label("Slot 2: drums").click();
        editor.run_steps(4);
        editor.get_by_role(Role::TextInput).click();
        editor.run_steps(2);
        editor.event(egui::Event::Text("x".into()));
        editor.run_steps(1);
        for _ in 0..3 {
            editor.key_press_modifiers(Modifiers::COMMAND, Key::Z);
            editor.run_steps(1);
        }
        editor.run_steps(20);
        assert_eq!(host.queries().texts()[..2], ["a person speaking", "drums"]);
    }

    #[test]
    fn keys_undo_a_set_while_no_text_is_typed() {
        let host = MockHost::default();
        let before = host.queries().texts();
        let mut editor = editor(&host, MIN_SIZE);
        editor.get_by_label("Sets").click();
        editor.run_steps(3);
        editor.get_by_label("Band").click();
        editor.run_steps(3);
        assert_ne!(host.queries().texts(), before);
        press_command(&mut editor, Key::Z, false);
        assert_eq!(host.queries().texts(), before);
    }

    #[test]
    fn spectrogram_fills_the_free_height_or_is_left_out() {
        let host = MockHost::default();
        let default = vec2(DEFAULT_EDITOR_SIZE.0 as f32, DEFAULT_EDITOR_SIZE.1 as f32);
        let mut heights = Vec::new();
        for size in [default, default + vec2(200.0, 200.0)] {
            let mut editor = editor(&host, size);
            editor.run_steps(4);
            heights.push(editor.get_by_role(Role::Image).rect().height());
            let status = editor.get_by_label_contains("Not running").rect();
            assert!(editor.get_by_label("Output gain").rect().bottom() < status.top());
        }
        assert!(heights[0] > 150.0 && (heights[1] - heights[0] - 200.0).abs() < 40.0, "{heights:?}");
        let mut smallest = editor(&host, MIN_SIZE);
        smallest.run_steps(4);
        assert!(smallest.query_by_role(Role::Image).is_none());
    }

    #[test]
    fn spectrogram_view_is_not_of_the_project() {
        let host = MockHost::default();
        let mut editor = editor(&host, vec2(DEFAULT_EDITOR_SIZE.0 as f32, DEFAULT_EDITOR_SIZE.1 as f32));
        editor.run_steps(3);
        editor.get_by_label("Show Removed").click();
        editor.run_steps(3);
        assert_eq!(host.params.appearance.read().picture, SpectrogramView::Removed);
        assert!(host.gestures().is_empty());
    }

    #[test]
    fn theme_button_switches_the_theme_and_not_the_project() {
        let host = MockHost::default();
        let mut editor = editor(&host, MIN_SIZE);
        editor.get_by_label("Light theme").click();
        editor.run_steps(3);
        assert_eq!(host.params.appearance.read().theme, ThemeChoice::Light);
        assert!(host.gestures().is_empty());
    }

    /// Largest share of a frame's interval that its layout may take.
    const MAX_FRAME_SHARE: f32 = 0.05;

    #[test]
    fn layout_of_a_frame_takes_a_twentieth_of_its_time() {
        let host = MockHost::default();
        let names = ["speech", "drums", "bass guitar", "crowd chatter", "saxophone", "rain"];
        let rest = Some(RestSound { name: Some("music".into()), weight: 0.7 });
        let hearing = HearingState { sounds: snapshot_tests::heard(&names), rest, ..Default::default() };
        let engine = Snapshot { hearing, ..snapshot_tests::running(Readiness::Ready) };
        let mut view = EditorView::default();
        let ctx = egui::Context::default();
        theme::apply(&ctx);
        let size = vec2(DEFAULT_EDITOR_SIZE.0 as f32, DEFAULT_EDITOR_SIZE.1 as f32);
        let mut columns = snapshot_tests::sound().into_iter().cycle();
        let mut times: Vec<_> = (0..300)
            .map(|frame| {
                let screen_rect = Some(egui::Rect::from_min_size(egui::Pos2::ZERO, size));
                let time = Some(f64::from(frame) * ANIMATION_INTERVAL.as_secs_f64());
                let input = egui::RawInput { screen_rect, time, ..Default::default() };
                let columns: Vec<_> = columns.by_ref().take(1).collect();
                let peaks = PeakLevels { input: 0.5, output: 0.25, removed: 0.4 };
                let begin = Instant::now();
                let mut data =
                    Some(EditorData { engine: Some(&engine), columns, peaks, ..EditorData::default() });
                let mut output = ctx.run_ui(input, |ui| {
                    let data = data.take().unwrap_or_default();
                    view.show(ui, host.queries(), &host.params, &host.setter(), data);
                });
                output.textures_delta.clear();
                let triangles = ctx.tessellate(output.shapes, output.pixels_per_point);
                assert!(!triangles.is_empty());
                begin.elapsed()
            })
            .collect();
        times.sort();
        let share = times[times.len() / 2].as_secs_f32() / ANIMATION_INTERVAL.as_secs_f32();
        println!(
            "measured: layout and tessellation of a frame take {:.1} % of its interval (median)",
            100.0 * share
        );
        assert!(share < MAX_FRAME_SHARE, "{share}");
    }

    /// Label of the control that has the keyboard focus.
    fn focused(editor: &Harness<'_>) -> Option<String> {
        let node = editor.query_by(|node| node.is_focused() && node.role() != Role::Window)?;
        node.accesskit_node().label().or(node.accesskit_node().value())
    }

    #[test]
    fn tab_moves_through_all_controls_in_reading_order() {
        let host = MockHost::default();
        let mut editor = editor(&host, MIN_SIZE);
        let mut reached = Vec::new();
        for _ in 0..40 {
            editor.key_press(Key::Tab);
            editor.run_steps(2);
            let next = focused(&editor).unwrap_or_default();
            if reached.first() == Some(&next) {
                break;
            }
            reached.push(next);
        }
        let expected = [
            "Sift default ⏷",
            "Output",
            "What was taken away",
            "Bypass",
            "Light theme",
            "Sound to separate, slot 1",
            "Paste",
            "Listen to the rest",
            "Slot 1: a person speaking",
            "Slot 2: drums",
            "Slot 3: piano",
            "Slot 4: guitar",
            "Slot 5: rain",
            "Slot 6: wind",
            "Slot 7: a dog barking",
            "Slot 8: crowd chatter",
            "Sets",
            "Mask strength",
            "Mask strength: 100.0 %",
            "Isolate",
            "Remove",
            "Sharpness",
            "Sharpness: 1.00",
            "Floor",
            "Floor: -80.0 dB",
            "Smoothing",
            "Smoothing: 0.0 ms",
            "Stereo",
            "Stereo: 100.0 %",
            "Output gain",
            "Output gain: 0.0 dB",
        ];
        assert_eq!(reached, expected);
    }

    #[test]
    fn controls_fit_at_every_size_and_scale() {
        let host = MockHost::default();
        for (size, scale) in
            [(MIN_SIZE, 1.0), (MIN_SIZE, 1.5), (MIN_SIZE, 3.0), (vec2(3840.0, 2160.0), 1.0), (MAX_SIZE, 2.0)]
        {
            let mut editor = scaled_editor(&host, size, scale);
            editor.run_steps(4);
            let screen = egui::Rect::from_min_size(egui::Pos2::ZERO, size);
            let status = editor.get_by_label_contains("Not running").rect();
            for slider in ["Mask strength", "Sharpness", "Floor", "Smoothing", "Stereo", "Output gain"] {
                let rect = editor.get_by_role_and_label(Role::Slider, slider).rect();
                assert!(screen.contains_rect(rect), "{slider} at {rect} is outside of {size}");
                assert!(rect.bottom() < status.top(), "{slider} at {rect} is under the status at {status}");
            }
            let switch = editor.get_by_role_and_label(Role::CheckBox, "Listen to the rest").rect();
            assert!(screen.contains_rect(switch), "the switch at {switch} is outside of {size}");
            let spectrogram = editor.query_by_role(Role::Image).map_or(0.0, |image| image.rect().height());
            assert!(size == MIN_SIZE || spectrogram > 0.7 * size.y, "{size}: spectrogram {spectrogram}");
        }
    }
}
