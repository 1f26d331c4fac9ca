//! The window in tests, and a host that does what it asks and remembers it.

use egui::{Ui, Vec2};
use egui_kittest::Harness;
use nice_plug::prelude::*;
use parking_lot::Mutex;

use super::{Sight, View, theme};
use crate::params::SiftParams;

/// The whole window without an engine, in `size` logical pixels.
pub fn window(host: &Host, size: Vec2) -> Harness<'_> {
    scaled_window(host, size, 1.0)
}

/// The same with so many pixels a point.
pub fn scaled_window(host: &Host, size: Vec2, scale: f32) -> Harness<'_> {
    let mut view = View::default();
    let show = move |ui: &mut Ui| view.show(ui, &host.params, &host.setter(), Sight::default());
    let builder = Harness::builder().with_size(size).with_pixels_per_point(scale);
    builder.with_context_setup(theme::apply).with_step_dt(0.05).build_ui(show)
}

#[derive(Default)]
pub struct Host {
    pub params: SiftParams,
    gestures: Mutex<Vec<String>>,
}

impl Host {
    pub fn setter(&self) -> ParamSetter<'_> {
        ParamSetter::new(self)
    }

    /// What the window told the host: "begin", "set" or "end", and the parameter's id.
    pub fn gestures(&self) -> Vec<String> {
        self.gestures.lock().clone()
    }

    /// Changes a parameter as automation does.
    pub fn automate<P: Param>(&self, param: &P, value: P::Plain) {
        // SAFETY: the parameter is borrowed for as long as the pointer is used.
        unsafe { param.as_ptr()._internal_set_normalized_value(param.preview_normalized(value)) };
    }

    fn note(&self, what: &str, param: ParamPtr) {
        let (id, ..) =
            self.params.param_map().into_iter().find(|(_, of, _)| *of == param).expect("a parameter of ours");
        self.gestures.lock().push(format!("{what} {id}"));
    }
}

impl GuiContextInner for Host {
    fn plugin_api(&self) -> PluginApi {
        PluginApi::Standalone
    }

    unsafe fn raw_begin_set_parameter(&self, param: ParamPtr) {
        self.note("begin", param);
    }

    unsafe fn raw_set_parameter_normalized(&self, param: ParamPtr, normalized: f32) {
        self.note("set", param);
        // SAFETY: `note` found it among the parameters that live as long as this host.
        unsafe { param._internal_set_normalized_value(normalized) };
    }

    unsafe fn raw_end_set_parameter(&self, param: ParamPtr) {
        self.note("end", param);
    }

    fn get_state(&self) -> PluginState {
        unreachable!("the window asks for no state")
    }

    fn set_state(&self, _: PluginState) {
        unreachable!("the window sets no state")
    }

    fn request_restart(&self) {
        unreachable!("the window asks for no restart")
    }
}
