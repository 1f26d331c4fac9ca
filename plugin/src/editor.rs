//! The window.

use std::sync::Arc;

use nice_plug_egui::{EguiEditor, EguiEditorState, EguiNiceSettings, Frame, NiceEguiApp, RepaintNotifier, create_egui_editor};

use crate::live::Live;
use crate::params::SiftParams;

pub struct Window {
    params: Arc<SiftParams>,
    live: Live,
}

impl NiceEguiApp for Window {
    fn ui(&mut self, _ui: &mut egui::Ui, _frame: &mut Frame) {}
}

pub fn create(params: Arc<SiftParams>, live: Live) -> Option<EguiEditor<Window>> {
    let (width, height) = *params.window.read();
    let state = EguiEditorState::from_size(nice_plug::editor::dpi::LogicalSize::new(width, height), 1.0);
    create_egui_editor(state, RepaintNotifier::new(), EguiNiceSettings::new(), Window { params, live })
}
