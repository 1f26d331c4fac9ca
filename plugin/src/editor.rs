//! The window: lays out its parts, and keeps its size.

mod controls;
mod fonts;
mod keyboard;
mod meters;
mod models;
mod query_box;
mod slider;
mod slots;
#[cfg(test)]
mod snapshots;
mod spectrogram;
mod status;
#[cfg(test)]
mod testing;
mod theme;
mod threads;
#[cfg(all(unix, not(target_os = "macos")))]
mod x11;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use egui::{
    Align, Frame as Panelling, Layout, Margin, Panel, Rangef, RichText, ScrollArea, Ui, Vec2,
    ViewportCommand, vec2,
};
use nice_plug::context::gui::GuiContext;
use nice_plug::editor::ResizeHint;
use nice_plug::editor::dpi::LogicalSize;
use nice_plug::prelude::*;
use nice_plug_egui::baseview::{HandlerError, WindowSize};
use nice_plug_egui::resizable_window::ResizableWindow;
use nice_plug_egui::{
    EguiEditor, EguiEditorState, EguiNiceSettings, Frame, NiceEguiApp, RepaintNotifier, create_egui_editor,
};
use sift_engine::Stage;
use sift_engine::dsp::analyzer::{Column, Peaks, Scale, Scope};
use sift_engine::user::preferences::{Preferences, ThemeChoice};

use self::fonts::Fonts;
use self::keyboard::Keyboard;
use self::meters::Meters;
use self::models::Models;
use self::query_box::QueryBox;
use self::slots::Slots;
use self::spectrogram::{Force, Spectrogram};
use self::status::Lateness;
pub use self::threads::WindowThreads;
use crate::live::Snapshot;
use crate::params::SiftParams;

/// The smallest window, in logical pixels.
const SMALLEST: Vec2 = vec2(560.0, 360.0);
/// The largest that a state may ask for.
const LARGEST: Vec2 = vec2(4096.0, 4096.0);
/// Space left and right of the parts, and least space above and below them.
const MARGIN: Margin = Margin::symmetric(20, 4);
/// Space between the parts, as far as the window's height allows.
const GAPS: Rangef = Rangef { min: 4.0, max: 56.0 };
/// The same, where there is a picture.
const PICTURE_GAP: f32 = 10.0;
/// A picture that were lower is left out.
const LEAST_PICTURE: f32 = 70.0;
const HEADER_HEIGHT: f32 = 30.0;
/// Between two frames while the picture moves.
const MOVING: Duration = Duration::from_micros(16_667);
/// The status changes without anybody touching the window: how often it is looked at.
const RESTING: Duration = Duration::from_millis(40);

/// The editor that a host opens and closes. Nothing of it runs while it is closed; what ran is in `threads`.
pub fn create(params: Arc<SiftParams>, threads: WindowThreads) -> Option<EguiEditor<Window>> {
    let size = wanted_size(&params);
    let state = EguiEditorState::from_size(LogicalSize::new(size.x, size.y), 1.0);
    let resizable = ResizeHint::RESIZABLE.with_min_logical_size(LogicalSize::new(SMALLEST.x, SMALLEST.y));
    let settings = EguiNiceSettings::new().with_tile("Sift").with_resize_hint(resizable);
    create_egui_editor(state, RepaintNotifier::new(), settings, Window::new(params, threads))
}

/// The size that the state wants for the window, in logical pixels.
fn wanted_size(params: &SiftParams) -> Vec2 {
    let (width, height) = *params.window.read();
    vec2(width as f32, height as f32).clamp(SMALLEST, LARGEST)
}

pub struct Window {
    params: Arc<SiftParams>,
    /// There is one while the window is open.
    host: Option<GuiContext>,
    view: View,
    fonts: Fonts,
    keyboard: Keyboard,
    threads: WindowThreads,
    /// State may be loaded after the host learnt the editor's size.
    wish: Option<SizeWish>,
    /// Of projects that have chosen none.
    theme: ThemeChoice,
}

/// The size that the host is to be asked for. While a window opens, hosts do not hear: they are
/// asked again for a while.
struct SizeWish {
    size: Vec2,
    asks_left: u32,
    /// When to ask next, in seconds.
    next: f64,
}

impl SizeWish {
    const ASKS: u32 = 10;
    /// Seconds between two.
    const INTERVAL: f64 = 0.2;

    fn new(size: Vec2) -> Self {
        Self { size, asks_left: Self::ASKS, next: 0.0 }
    }

    /// Asks for the size when it is time to; whether there is anything left to wish.
    fn ask(&mut self, ctx: &egui::Context) -> bool {
        let now = ctx.input(|input| input.time);
        let off = (self.size - ctx.content_rect().size()).abs().max_elem();
        if off < 1.0 || self.asks_left == 0 {
            return false;
        }
        if now >= self.next {
            self.next = now + Self::INTERVAL;
            self.asks_left -= 1;
            ctx.send_viewport_cmd(ViewportCommand::InnerSize(self.size));
        }
        true
    }
}

impl Window {
    fn new(params: Arc<SiftParams>, threads: WindowThreads) -> Self {
        Self {
            params,
            host: None,
            view: View::default(),
            fonts: Fonts::default(),
            keyboard: Keyboard::default(),
            threads,
            wish: None,
            theme: ThemeChoice::default(),
        }
    }
}

impl Window {
    /// Brings the project's theme into force, or the person's.
    fn use_theme(&self, ctx: &egui::Context, frame: &mut Frame) {
        let theme = match self.params.theme.read().unwrap_or(self.theme) {
            ThemeChoice::Dark => egui::Theme::Dark,
            ThemeChoice::Light => egui::Theme::Light,
        };
        if ctx.theme() != theme {
            ctx.set_theme(theme);
        }
        frame.set_clear_color(theme::palette(theme).background.into());
    }
}

impl NiceEguiApp for Window {
    fn build(&mut self, ctx: egui::Context, host: GuiContext, frame: &mut Frame) -> Result<(), HandlerError> {
        self.threads.enter();
        theme::apply(&ctx);
        self.fonts.attach(&ctx);
        self.wish = Some(SizeWish::new(wanted_size(&self.params)));
        // What was being typed when the window was closed.
        if self.params.queries.0.settle() {
            self.params.mark_edited(&host.param_setter());
        }
        self.host = Some(host);
        self.view = View::default();
        self.keyboard = Keyboard::default();
        #[cfg(all(unix, not(target_os = "macos")))]
        x11::ask_for_first_frame(frame.baseview_window());
        let read = Preferences::file().map_or(Ok(Preferences::default()), |file| Preferences::read(&file));
        match read {
            Ok(preferences) => self.theme = preferences.theme,
            Err(problem) => self.view.problem = Some(problem),
        }
        self.use_theme(&ctx, frame);
        Ok(())
    }

    fn ui(&mut self, ui: &mut Ui, frame: &mut Frame) {
        self.use_theme(ui.ctx(), frame);
        let Some(host) = &self.host else { return };
        self.wish.take_if(|wish| !wish.ask(ui.ctx()));
        self.fonts.update(ui.ctx());
        let live = self.params.model.0.live();
        let snapshot = live.snapshot();
        let mut moving = false;
        ResizableWindow::new("sift").min_size(SMALLEST).show(ui, |ui| {
            let sight = Sight::of(snapshot.as_ref(), live.scope().as_deref());
            moving = !sight.columns.is_empty();
            self.view.show(ui, &self.params, &host.param_setter(), sight);
        });
        if let Some(theme) = self.view.chosen_theme.take() {
            self.theme = theme;
            let saved = Preferences::file()
                .map_or(Ok(()), |file| Preferences::change(&file, |preferences| preferences.theme = theme));
            self.view.problem = saved.err();
        }
        self.keyboard.hand_over(ui.ctx(), frame);
        ui.ctx().request_repaint_after(if moving { MOVING } else { RESTING });
    }

    fn resized(&mut self, size: WindowSize) {
        *self.params.window.write() = (size.logical.width.round() as u32, size.logical.height.round() as u32);
    }

    fn editor_closed(&mut self) {
        self.host = None;
    }
}

/// Shows a folder of the person's, made if it is not there; what is wrong, if it cannot be shown.
fn open_folder(folder: &Path) -> Option<String> {
    let opened = std::fs::create_dir_all(folder).and_then(|()| open::that_detached(folder));
    opened.err().map(|error| format!("{}: {error}. Open it by hand", folder.display()))
}

/// What there is to see of the running engine, and of the sound since the last frame.
#[derive(Default)]
struct Sight<'a> {
    engine: Option<&'a Snapshot>,
    columns: Vec<Column>,
    peaks: Peaks,
    scale: Scale,
}

impl<'a> Sight<'a> {
    fn of(engine: Option<&'a Snapshot>, scope: Option<&Scope>) -> Self {
        let Some(scope) = scope else { return Self { engine, ..Self::default() } };
        Self { engine, columns: scope.columns().collect(), peaks: scope.peaks(), scale: scope.scale() }
    }
}

/// What the window shows, and what it remembers from frame to frame. It needs no host.
#[derive(Default)]
struct View {
    query_box: QueryBox,
    spectrogram: Spectrogram,
    meters: Meters,
    slots: Slots,
    models: Models,
    lateness: Lateness,
    /// The theme that was chosen in this frame.
    chosen_theme: Option<ThemeChoice>,
    /// What is wrong with the person's preferences.
    problem: Option<String>,
    /// Height of all parts in the last frame, without the gaps between them.
    parts: Option<f32>,
}

impl View {
    fn show(&mut self, ui: &mut Ui, params: &SiftParams, setter: &ParamSetter<'_>, sight: Sight<'_>) {
        let engine = sight.engine;
        let margin = Margin { top: 9, bottom: 9, ..MARGIN };
        let footer = Panelling::NONE.fill(theme::of(ui).footer).inner_margin(margin);
        let footer = Panel::bottom("status").frame(footer).show_separator_line(false).resizable(false);
        footer.show(ui, |ui| self.footer(ui, params, engine));

        // The picture takes the room that the other parts leave. Gaps are between the parts, and half
        // a one above and below them.
        let room = ui.available_height() - MARGIN.sum().y - self.parts.unwrap_or(f32::INFINITY);
        let picture = Some((room - 6.0 * PICTURE_GAP).floor()).filter(|height| *height >= LEAST_PICTURE);
        let gap = match picture {
            Some(_) => PICTURE_GAP,
            None => GAPS.clamp(room / 5.0).floor(),
        };
        let body = Panelling::NONE.inner_margin(MARGIN + Margin::symmetric(0, (gap / 2.0) as i8));
        egui::CentralPanel::no_frame().frame(body).show(ui, |ui| {
            let content = ScrollArea::vertical().show(ui, |ui| {
                ui.spacing_mut().item_spacing.y = 0.0;
                self.header(ui, params, setter, engine);
                ui.add_space(gap);
                self.query(ui, params, setter, engine);
                ui.add_space(gap);
                if let Some(height) = picture {
                    self.picture(ui, height, params, setter, sight);
                    ui.add_space(gap);
                }
                if self.slots.show(ui, params, setter) {
                    self.query_box.begin();
                }
                ui.add_space(gap);
                controls::strength_and_mode(ui, params, setter);
                ui.add_space(gap);
                controls::shape(ui, params, setter);
            });
            let picture = picture.map_or(0.0, |height| height + gap);
            self.parts = Some(content.content_size.y - 4.0 * gap - picture);
        });
    }

    /// The spectrogram with the meters beside it.
    fn picture(
        &mut self,
        ui: &mut Ui,
        height: f32,
        params: &SiftParams,
        setter: &ParamSetter<'_>,
        sight: Sight<'_>,
    ) {
        let strength = if params.bypass.value() { 0.0 } else { params.strength.value() };
        let force = Force { mode: params.mode.value().into(), strength };
        let size = vec2(ui.available_width(), height);
        ui.allocate_ui_with_layout(size, Layout::right_to_left(Align::Min), |ui| {
            self.meters.show(ui, sight.peaks, sight.engine.and_then(|engine| engine.presence));
            ui.add_space(theme::GAP);
            let look = (*params.picture.read(), force);
            if let Some(chosen) = self.spectrogram.show(ui, sight.columns, look, sight.scale) {
                *params.picture.write() = chosen;
                params.mark_edited(setter);
            }
        });
    }

    fn query(
        &mut self,
        ui: &mut Ui,
        params: &SiftParams,
        setter: &ParamSetter<'_>,
        engine: Option<&Snapshot>,
    ) {
        let queries = &params.queries.0;
        let readiness = engine.map(|engine| engine.readiness);
        if let Some(edit) = self.query_box.show(ui, queries, params.active_slot(), readiness) {
            let changed = queries.text(edit.slot) != edit.text;
            queries.set_text(edit.slot, &edit.text);
            if changed {
                params.mark_edited(setter);
            }
        }
    }

    fn footer(&mut self, ui: &mut Ui, params: &SiftParams, engine: Option<&Snapshot>) {
        let queries = &params.queries.0;
        let failed = queries.stage(params.active_slot()) == Stage::Failed;
        let query_problem = queries.problem().filter(|_| failed).or_else(|| self.problem.clone());
        let now = ui.input(|input| input.time);
        let falling_behind = engine.is_some_and(|engine| self.lateness.is_fresh(engine.late, now));
        let report = status::report(engine, query_problem, falling_behind, params.bypass.value());
        status::status(ui, &report);
    }

    fn header(
        &mut self,
        ui: &mut Ui,
        params: &SiftParams,
        setter: &ParamSetter<'_>,
        engine: Option<&Snapshot>,
    ) {
        let model = engine.map_or_else(|| params.model.0.model(), |engine| engine.model.clone());
        let size = vec2(ui.available_width(), HEADER_HEIGHT);
        ui.allocate_ui_with_layout(size, Layout::left_to_right(Align::Center), |ui| {
            let words = vec2(size.x - controls::HEADER_WIDTH - theme::GAP, HEADER_HEIGHT);
            ui.allocate_ui_with_layout(words, Layout::left_to_right(Align::Center), |ui| {
                ui.set_width(words.x);
                ui.label(RichText::new("Sift").font(theme::font(26.0)).color(theme::of(ui).accent));
                if let Some(chosen) = self.models.show(ui, &model) {
                    let started = params.model.0.set_model(&chosen);
                    self.problem = started.err().map(|error| {
                        format!(
                            "The thread that loads a model could not be started: {error}. Restart the host"
                        )
                    });
                    params.mark_edited(setter);
                }
            });
            if let Some(theme) = controls::listen_bypass_and_theme(ui, params, setter) {
                *params.theme.write() = Some(theme);
                params.mark_edited(setter);
                self.chosen_theme = Some(theme);
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
    use sift_engine::Readiness;

    use super::testing::{Host, scaled_window, window};
    use super::*;
    use crate::params::{DEFAULT_WINDOW, Picture};

    /// Shows frames in a window of `size` by which `wish` asks for its size; how often it asked, and
    /// whether it still would.
    fn asks(wish: &mut SizeWish, size: Vec2, frames: u32) -> (usize, bool) {
        let ctx = egui::Context::default();
        let mut asked = 0;
        let mut more = true;
        for frame in 0..frames {
            let screen_rect = Some(egui::Rect::from_min_size(egui::Pos2::ZERO, size));
            let time = Some(7.0 + f64::from(frame) * RESTING.as_secs_f64());
            let input = egui::RawInput { screen_rect, time, ..Default::default() };
            let mut output = ctx.run_ui(input, |ui| more = more && wish.ask(ui.ctx()));
            output.textures_delta.clear();
            let commands = &output.viewport_output[&egui::ViewportId::ROOT].commands;
            asked += commands.iter().filter(|asked| matches!(asked, ViewportCommand::InnerSize(_))).count();
        }
        (asked, more)
    }

    #[test]
    fn a_host_that_gives_the_size_of_the_state_is_asked_no_more() {
        let mut wish = SizeWish::new(vec2(900.0, 500.0));
        assert_eq!(asks(&mut wish, vec2(720.0, 420.0), 2), (1, true));
        assert_eq!(asks(&mut wish, vec2(900.0, 500.0), 2), (0, false));
    }

    #[test]
    fn a_host_that_does_not_give_the_size_of_the_state_is_left_alone_in_the_end() {
        let mut wish = SizeWish::new(vec2(900.0, 500.0));
        assert_eq!(asks(&mut wish, vec2(720.0, 420.0), 1_000), (SizeWish::ASKS as usize, false));
    }

    #[test]
    fn an_edited_text_reaches_its_slot_and_marks_the_project_changed_once() {
        let host = Host::default();
        let mut window = window(&host, SMALLEST);
        window.get_by_role(Role::TextInput).click();
        window.run_steps(2);
        window.event(egui::Event::Text("a violin".into()));
        window.key_press(egui::Key::Enter);
        window.run_steps(20);
        assert_eq!(host.params.queries.0.text(0), "a violin", "what was there is replaced");
        assert_eq!(host.gestures(), ["begin revision", "set revision", "end revision"]);
    }

    #[test]
    fn choosing_a_slot_while_typing_puts_the_text_where_it_was_typed() {
        let host = Host::default();
        let mut window = window(&host, SMALLEST);
        window.get_by_role(Role::TextInput).click();
        window.run_steps(2);
        window.event(egui::Event::Text("a violin".into()));
        window.run_steps(1);
        window.get_by_label("Slot 2: drums").click();
        window.run_steps(4);
        assert_eq!(host.params.queries.0.text(0), "a violin");
        assert_eq!(host.params.queries.0.text(1), "drums");
        assert_eq!(window.get_by_role(Role::TextInput).value().as_deref(), Some("drums"));
    }

    #[test]
    fn the_picture_takes_the_room_that_is_left_and_is_left_out_where_there_is_none() {
        let host = Host::default();
        let default = vec2(DEFAULT_WINDOW.0 as f32, DEFAULT_WINDOW.1 as f32);
        let mut heights = Vec::new();
        for size in [default, default + vec2(200.0, 200.0)] {
            let mut window = window(&host, size);
            window.run_steps(4);
            heights.push(window.get_by_role(Role::Image).rect().height());
            let status = window.get_by_label_contains("Not running").rect();
            assert!(window.get_by_label("Output gain").rect().bottom() < status.top());
        }
        assert!(heights[0] > 150.0 && (heights[1] - heights[0] - 200.0).abs() < 40.0, "{heights:?}");
        let mut smallest = window(&host, SMALLEST);
        smallest.run_steps(4);
        assert!(smallest.query_by_role(Role::Image).is_none());
    }

    #[test]
    fn what_the_picture_shows_is_the_projects() {
        let host = Host::default();
        let mut window = window(&host, vec2(DEFAULT_WINDOW.0 as f32, DEFAULT_WINDOW.1 as f32));
        window.run_steps(3);
        window.get_by_label("Show Removed").click();
        window.run_steps(3);
        assert_eq!(*host.params.picture.read(), Picture::Removed);
        assert_eq!(host.gestures(), ["begin revision", "set revision", "end revision"]);
    }

    #[test]
    fn a_click_turns_the_theme_over_and_the_project_remembers_it() {
        let host = Host::default();
        let mut window = window(&host, SMALLEST);
        window.get_by_label("Light theme").click();
        window.run_steps(3);
        assert_eq!(*host.params.theme.read(), Some(ThemeChoice::Light));
        assert_eq!(host.gestures(), ["begin revision", "set revision", "end revision"]);
    }

    /// What a frame may take of the time until the next one.
    const AFFORDABLE: f32 = 0.05;

    #[test]
    fn a_frame_while_sound_plays_takes_a_twentieth_of_its_time_without_the_drawing() {
        let host = Host::default();
        let engine = snapshots::running(Readiness::Ready);
        let mut view = View::default();
        let ctx = egui::Context::default();
        theme::apply(&ctx);
        let size = vec2(DEFAULT_WINDOW.0 as f32, DEFAULT_WINDOW.1 as f32);
        let mut columns = snapshots::sound().into_iter().cycle();
        let mut times: Vec<_> = (0..300)
            .map(|frame| {
                let screen_rect = Some(egui::Rect::from_min_size(egui::Pos2::ZERO, size));
                let time = Some(f64::from(frame) * MOVING.as_secs_f64());
                let input = egui::RawInput { screen_rect, time, ..Default::default() };
                let columns: Vec<_> = columns.by_ref().take(1).collect();
                let peaks = Peaks { input: 0.5, output: 0.25, removed: 0.4 };
                let begin = Instant::now();
                let mut sight = Some(Sight { engine: Some(&engine), columns, peaks, ..Sight::default() });
                let mut output = ctx.run_ui(input, |ui| {
                    let sight = sight.take().unwrap_or_default();
                    view.show(ui, &host.params, &host.setter(), sight);
                });
                output.textures_delta.clear();
                let triangles = ctx.tessellate(output.shapes, output.pixels_per_point);
                assert!(!triangles.is_empty());
                begin.elapsed()
            })
            .collect();
        times.sort();
        let share = times[times.len() / 2].as_secs_f32() / MOVING.as_secs_f32();
        println!("measured: layout and triangles of a frame take {:.1} % of its time, median", 100.0 * share);
        assert!(share < AFFORDABLE, "{share}");
    }

    /// What the keyboard has reached.
    fn focused(window: &Harness<'_>) -> Option<String> {
        let node = window.query_by(|node| node.is_focused() && node.role() != Role::Window)?;
        node.accesskit_node().label().or(node.accesskit_node().value())
    }

    #[test]
    fn tab_goes_through_everything_in_reading_order() {
        let host = Host::default();
        let mut window = window(&host, SMALLEST);
        let mut reached = Vec::new();
        for _ in 0..40 {
            window.key_press(egui::Key::Tab);
            window.run_steps(2);
            let next = focused(&window).unwrap_or_default();
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
            "a person speaking",
            "Paste",
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
            "Output gain",
            "Output gain: 0.0 dB",
        ];
        assert_eq!(reached, expected);
    }

    #[test]
    fn everything_fits_whatever_the_size_and_the_scale() {
        let host = Host::default();
        for (size, scale) in
            [(SMALLEST, 1.0), (SMALLEST, 1.5), (SMALLEST, 3.0), (vec2(3840.0, 2160.0), 1.0), (LARGEST, 2.0)]
        {
            let mut window = scaled_window(&host, size, scale);
            window.run_steps(4);
            let screen = egui::Rect::from_min_size(egui::Pos2::ZERO, size);
            let status = window.get_by_label_contains("Not running").rect();
            for slider in ["Mask strength", "Sharpness", "Floor", "Smoothing", "Output gain"] {
                let rect = window.get_by_role_and_label(Role::Slider, slider).rect();
                assert!(screen.contains_rect(rect), "{slider} at {rect} is outside of {size}");
                assert!(rect.bottom() < status.top(), "{slider} at {rect} is under the status at {status}");
            }
            let picture = window.query_by_role(Role::Image).map_or(0.0, |picture| picture.rect().height());
            assert!(size == SMALLEST || picture > 0.7 * size.y, "in {size} the picture is {picture} high");
        }
    }
}
