//! The editor: opens and closes with the host's window, and applies what the user chooses in it.

mod accessibility;
mod appearance;
mod clipboard;
mod controls;
mod editor_window;
mod fitted_editor;
mod font_fallback;
mod heard_sounds;
mod key_input;
mod keyboard_focus;
mod meters;
#[cfg(test)]
mod mock_host;
mod model_menu;
mod query_box;
mod query_set_menu;
mod resize;
mod size;
mod slider;
mod slot_bar;
#[cfg(test)]
mod snapshot_tests;
mod spectrogram;
mod status_line;
mod text_history;
mod theme;
mod threads;
mod view;
#[cfg(all(unix, not(target_os = "macos")))]
mod x11;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use egui::Ui;
use nice_plug::context::gui::GuiContext;
use nice_plug::editor::ResizeHint;
use nice_plug::editor::dpi::LogicalSize;
use nice_plug_egui::baseview::{HandlerError, WindowSize};
use nice_plug_egui::resizable_window::ResizableWindow;
use nice_plug_egui::{
    EguiEditorState, EguiNiceSettings, Frame, NiceEguiApp, RepaintNotifier, create_egui_editor,
};
use sift_engine::user::preferences::{Preferences, ThemeChoice};
use sift_engine::{Instance, ModelChoice};

use self::accessibility::Accessibility;
pub use self::appearance::Appearance;
use self::fitted_editor::{FittedEditor, SharedWindowSize, fitted_size};
use self::font_fallback::FontFallback;
use self::key_input::{HostKeys, KeyInput};
use self::keyboard_focus::KeyboardFocus;
use self::model_menu::MenuChoice;
use self::resize::ResizeRequest;
use self::size::{MIN_SIZE, is_choice, saved_size};
pub use self::text_history::TextHistory;
pub use self::threads::EditorThreads;
use self::view::{EditorData, EditorView};
use crate::host_link::HostLink;
use crate::params::SiftParams;

/// Time between two repaints while the spectrogram moves.
const ANIMATION_INTERVAL: Duration = Duration::from_micros(16_667);
/// Time between two repaints otherwise: the status line changes without user input.
const IDLE_INTERVAL: Duration = Duration::from_millis(40);

/// The editor as the host sees it.
pub type SiftEditor = FittedEditor<EditorApp>;

/// Creates the editor that the host opens and closes. `threads` records the threads it is drawn on; `link` has the scale
/// that the host tells.
pub fn create(
    params: Arc<SiftParams>,
    instance: Arc<Instance>,
    threads: EditorThreads,
    link: Arc<HostLink>,
) -> Option<SiftEditor> {
    *params.appearance.write() = Appearance::stored_in(Preferences::file());
    let size = saved_size(&params);
    let state = EguiEditorState::from_size(LogicalSize::new(size.x, size.y), 1.0);
    let resizable = ResizeHint::RESIZABLE.with_min_logical_size(LogicalSize::new(MIN_SIZE.x, MIN_SIZE.y));
    let settings = EguiNiceSettings::new().with_tile("Sift").with_resize_hint(resizable);
    let app = EditorApp::new(params.clone(), instance, threads.clone());
    let (window_size, host_keys) = (app.window_size.clone(), app.host_keys.clone());
    let inner = create_egui_editor(state.clone(), RepaintNotifier::new(), settings, app)?;
    Some(FittedEditor { inner, state, params, window_size, host_keys, link, threads })
}

/// The editor as the toolkit runs it.
pub struct EditorApp {
    params: Arc<SiftParams>,
    instance: Arc<Instance>,
    /// `Some` while the editor is open.
    host: Option<GuiContext>,
    view: EditorView,
    fonts: FontFallback,
    keyboard: KeyboardFocus,
    host_keys: Arc<HostKeys>,
    threads: EditorThreads,
    window_size: SharedWindowSize,
    /// The window's scale, which the host may change while the window is open.
    scale: f64,
    /// Pending when the host has not given the window the size that it should have.
    resize: Option<ResizeRequest>,
}

impl EditorApp {
    fn new(params: Arc<SiftParams>, instance: Arc<Instance>, threads: EditorThreads) -> Self {
        Self {
            params,
            instance,
            host: None,
            view: EditorView::default(),
            fonts: FontFallback::default(),
            keyboard: KeyboardFocus::default(),
            host_keys: Arc::default(),
            threads,
            window_size: SharedWindowSize::default(),
            scale: 1.0,
            resize: None,
        }
    }

    /// Applies the chosen theme.
    fn apply_theme(&self, ctx: &egui::Context, frame: &mut Frame) {
        let theme = match self.params.appearance.read().theme {
            ThemeChoice::Dark => egui::Theme::Dark,
            ThemeChoice::Light => egui::Theme::Light,
        };
        if ctx.theme() != theme {
            ctx.set_theme(theme);
        }
        frame.set_clear_color(theme::palette(theme).background.into());
    }

    /// Switches to the model or the largest block that was selected in the last frame.
    fn apply_menu_choice(&mut self) {
        let Some((choice, host)) = self.view.menu_choice.take().zip(self.host.as_ref()) else { return };
        let mut stored = Ok(());
        let started = match choice {
            MenuChoice::Model(model) => {
                let started = self.instance.set_model(ModelChoice::Installed(model));
                self.params.mark_edited(&host.param_setter());
                started
            }
            MenuChoice::BlockLimit(limit) => {
                let change = |preferences: &mut Preferences| {
                    preferences.largest_block = limit.map(|samples| samples as u32);
                };
                stored = Preferences::file().map_or(Ok(()), |file| Preferences::change(&file, change));
                self.instance.set_block_limit(limit)
            }
        };
        let started = started.map_err(|error| {
            format!("The thread that loads the model could not be started: {error}. Restart the host")
        });
        self.view.problem = started.and(stored).err();
    }
}

impl NiceEguiApp for EditorApp {
    fn build(&mut self, ctx: egui::Context, host: GuiContext, frame: &mut Frame) -> Result<(), HandlerError> {
        self.threads.enter();
        theme::apply(&ctx);
        self.fonts.attach(&ctx);
        ctx.add_plugin(KeyInput {
            host_keys: self.host_keys.clone(),
            #[cfg(all(unix, not(target_os = "macos")))]
            keyboard: x11::window_id(frame.baseview_window()).and_then(x11::keyboard::Keyboard::connect),
        });
        ctx.add_plugin(Accessibility::new(frame.baseview_window()));
        let size = frame.baseview_window().size();
        self.window_size.store(size);
        self.scale = size.scale_factor;
        self.resize = Some(ResizeRequest::new(fitted_size(&self.params, self.scale)));
        // Text that was being typed when the editor was closed takes effect now.
        if self.instance.queries().commit_drafts() {
            self.params.mark_edited(&host.param_setter());
        }
        self.host = Some(host);
        self.view = EditorView::default();
        self.keyboard = KeyboardFocus::default();
        #[cfg(all(unix, not(target_os = "macos")))]
        {
            x11::request_first_frame(frame.baseview_window());
            self.view.query_box.lacks_input_method = x11::has_input_method();
        }
        self.view.problem = self.params.appearance.write().update_theme().err();
        self.apply_theme(&ctx, frame);
        Ok(())
    }

    fn ui(&mut self, ui: &mut Ui, frame: &mut Frame) {
        self.apply_theme(ui.ctx(), frame);
        let Some(host) = &self.host else { return };
        self.resize.take_if(|request| !request.update(ui.ctx()));
        self.fonts.update(ui.ctx());
        let model = self.instance.model().to_string();
        let engine = self.instance.snapshot();
        let mut is_moving = false;
        ResizableWindow::new("sift").min_size(MIN_SIZE).show(ui, |ui| {
            let mut data = EditorData::new(&model, engine.as_ref(), self.instance.analyzer().as_deref());
            data.block_limit = self.instance.block_limit();
            is_moving = !data.columns.is_empty();
            self.view.show(ui, self.instance.queries(), &self.params, &host.param_setter(), data);
        });
        self.apply_menu_choice();
        self.keyboard.update(ui.ctx(), frame);
        self.host_keys.set_typing(ui.ctx().text_edit_focused());
        ui.ctx().request_repaint_after(if is_moving { ANIMATION_INTERVAL } else { IDLE_INTERVAL });
    }

    fn resized(&mut self, size: WindowSize) {
        self.window_size.store(size);
        let new = egui::vec2(size.logical.width as f32, size.logical.height as f32);
        // Neither the first size nor a screen that is too small is the user's choice.
        if is_choice(new, fitted_size(&self.params, size.scale_factor)) {
            self.params.appearance.write().size = (new.x.round() as u32, new.y.round() as u32);
        }
        if size.scale_factor != self.scale {
            self.scale = size.scale_factor;
            self.resize = Some(ResizeRequest::new(fitted_size(&self.params, self.scale)));
        }
    }

    fn editor_closed(&mut self) {
        self.host_keys.set_typing(false);
        if self.host.take().is_some() {
            // Without a window, nobody can be told of an error. The next window reads the preferences and shows it.
            let _ = self.params.appearance.write().store_size();
        }
    }
}

/// Creates `folder` if necessary and opens it in the system's file manager. Returns the error message on failure.
fn open_folder(folder: &Path) -> Option<String> {
    let opened = std::fs::create_dir_all(folder).and_then(|()| open::that_detached(folder));
    opened.err().map(|error| format!("{}: {error}. Open the folder in a file manager", folder.display()))
}
