//! A host for the editor's tests: carries out what the editor requests, and records it.

use std::sync::Arc;

use egui::{Ui, Vec2};
use egui_kittest::Harness;
use nice_plug::prelude::*;
use parking_lot::Mutex;
use sift_engine::{Instance, Queries};

use super::theme;
use super::view::{EditorData, EditorView};
use crate::host_link::HostLink;
use crate::params::SiftParams;

/// The whole editor without an engine, in `size` logical pixels.
pub fn editor(host: &MockHost, size: Vec2) -> Harness<'_> {
    scaled_editor(host, size, 1.0)
}

/// The same at a scale of `scale` pixels per point.
pub fn scaled_editor(host: &MockHost, size: Vec2, scale: f32) -> Harness<'_> {
    let mut view = EditorView::default();
    let show =
        move |ui: &mut Ui| view.show(ui, host.queries(), &host.params, &host.setter(), EditorData::default());
    let builder = Harness::builder().with_size(size).with_pixels_per_point(scale);
    builder.with_context_setup(theme::apply).with_step_dt(0.05).build_ui(show)
}

/// A host with the parameters of one plugin instance.
pub struct MockHost {
    instance: Arc<Instance>,
    pub params: SiftParams,
    gestures: Mutex<Vec<String>>,
}

impl Default for MockHost {
    fn default() -> Self {
        let link = Arc::<HostLink>::default();
        Self { params: SiftParams::new(&link), instance: link.instance().clone(), gestures: Mutex::default() }
    }
}

impl MockHost {
    pub fn queries(&self) -> &Arc<Queries> {
        self.instance.queries()
    }

    pub fn setter(&self) -> ParamSetter<'_> {
        ParamSetter::new(self)
    }

    /// The calls of the editor so far: "begin", "set" or "end", and the parameter's id.
    pub fn gestures(&self) -> Vec<String> {
        self.gestures.lock().clone()
    }

    /// Changes a parameter as automation does, without a gesture.
    pub fn automate<P: Param>(&self, param: &P, value: P::Plain) {
        // SAFETY: the parameter is borrowed for as long as the pointer is used.
        unsafe { param.as_ptr()._internal_set_normalized_value(param.preview_normalized(value)) };
    }

    fn record(&self, call: &str, param: ParamPtr) {
        let (id, ..) = self
            .params
            .param_map()
            .into_iter()
            .find(|(_, own, _)| *own == param)
            .expect("the parameter is the plugin's");
        self.gestures.lock().push(format!("{call} {id}"));
    }
}

impl GuiContextInner for MockHost {
    fn plugin_api(&self) -> PluginApi {
        PluginApi::Standalone
    }

    unsafe fn raw_begin_set_parameter(&self, param: ParamPtr) {
        self.record("begin", param);
    }

    unsafe fn raw_set_parameter_normalized(&self, param: ParamPtr, normalized: f32) {
        self.record("set", param);
        // SAFETY: `record` found it among the parameters, which live as long as this host.
        unsafe { param._internal_set_normalized_value(normalized) };
    }

    unsafe fn raw_end_set_parameter(&self, param: ParamPtr) {
        self.record("end", param);
    }

    fn get_state(&self) -> PluginState {
        unreachable!("the editor requests no state")
    }

    fn set_state(&self, _: PluginState) {
        unreachable!("the editor sets no state")
    }

    fn request_restart(&self) {
        unreachable!("the editor requests no restart")
    }
}
