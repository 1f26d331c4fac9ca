//! Assistive technology, such as screen readers: hands egui's tree of controls to the system, and actions back to egui.
//!
//! egui-baseview 0.9 does neither.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use egui::accesskit::{
    Action, ActionHandler, ActionRequest, ActivationHandler, DeactivationHandler, Live, Role, TreeUpdate,
};
use egui::{Context, Event, FullOutput, Plugin, RawInput, Response, accesskit_root_id};
use nice_plug_egui::baseview::WindowContext;
use parking_lot::Mutex;

#[cfg(all(unix, not(target_os = "macos")))]
use unix::SystemAdapter;

/// Shortest time between two updates of the tree: meters change in each frame.
const UPDATE_INTERVAL: Duration = Duration::from_millis(50);
/// Name of the window's node.
const WINDOW_NAME: &str = "Sift";

/// What the system's thread tells the window's.
#[derive(Default)]
struct Link {
    /// Assistive technology runs, and reads the tree.
    is_active: AtomicBool,
    requests: Mutex<Vec<ActionRequest>>,
}

/// The system's calls, which come on a thread of its own.
struct Handler(Arc<Link>);

impl ActivationHandler for Handler {
    /// Returns no tree: the next frame builds it.
    fn request_initial_tree(&mut self) -> Option<TreeUpdate> {
        self.0.is_active.store(true, Ordering::Release);
        None
    }
}

impl ActionHandler for Handler {
    fn do_action(&mut self, request: ActionRequest) {
        self.0.requests.lock().push(request);
    }
}

impl DeactivationHandler for Handler {
    fn deactivate_accessibility(&mut self) {
        self.0.is_active.store(false, Ordering::Release);
    }
}

/// The part of egui that reports its controls to assistive technology. Without any, it builds no tree.
pub struct Accessibility {
    link: Arc<Link>,
    /// `None` on other systems, and after an internal error of the adapter.
    adapter: Option<SystemAdapter>,
    last_update: Option<Instant>,
}

impl Accessibility {
    /// Connects `window` to the system, on a thread of the system's connection. Never waits for the system.
    pub fn new(window: &WindowContext) -> Self {
        let link = Arc::<Link>::default();
        Self { adapter: SystemAdapter::new(&link, window), link, last_update: None }
    }

    /// Calls the adapter, which may panic at a tree that it considers invalid: the window then goes on without it.
    fn with_adapter(&mut self, call: impl FnOnce(&mut SystemAdapter)) {
        let Some(adapter) = &mut self.adapter else { return };
        if catch_unwind(AssertUnwindSafe(|| call(adapter))).is_err() {
            self.adapter = None;
            self.link.is_active.store(false, Ordering::Release);
        }
    }
}

impl Plugin for Accessibility {
    fn debug_name(&self) -> &'static str {
        "sift accessibility"
    }

    fn input_hook(&mut self, ctx: &Context, input: &mut RawInput) {
        for event in &input.events {
            if let Event::WindowFocused(is_focused) = *event {
                self.with_adapter(|adapter| adapter.set_focused(is_focused));
            }
        }
        if self.link.is_active.load(Ordering::Acquire) {
            ctx.enable_accesskit();
        } else {
            ctx.disable_accesskit();
            self.last_update = None;
        }
        let requests = std::mem::take(&mut *self.link.requests.lock());
        input.events.extend(requests.into_iter().map(Event::AccessKitActionRequest));
    }

    fn output_hook(&mut self, _: &Context, output: &mut FullOutput) {
        let Some(mut update) = output.platform_output.accesskit_update.take() else { return };
        if self.last_update.is_some_and(|last| last.elapsed() < UPDATE_INTERVAL) {
            return;
        }
        self.last_update = Some(Instant::now());
        tidy(&mut update);
        self.with_adapter(|adapter| adapter.update(update));
    }
}

/// Names the window, to which egui gives no name, and takes the role from what is neither a control nor a text, such as
/// the space around them: a screen reader would read it as an unknown control.
fn tidy(update: &mut TreeUpdate) {
    let root = accesskit_root_id().accesskit_id();
    for (id, node) in &mut update.nodes {
        if *id == root {
            node.set_label(WINDOW_NAME);
        } else if node.role() == Role::Unknown
            && node.label().is_none()
            && !node.supports_action(Action::Click)
        {
            node.set_role(Role::GenericContainer);
        }
    }
}

/// Has assistive technology read the text of `label` whenever it changes.
pub fn announce(label: &Response) {
    label.ctx.accesskit_node_builder(label.id, |node| node.set_live(Live::Polite));
}

/// Linux and other systems with X11: AT-SPI by D-Bus.
#[cfg(all(unix, not(target_os = "macos")))]
mod unix {
    use std::thread;

    use accesskit_unix::Adapter;
    use egui::accesskit::Rect;
    use sift_engine::inference::library;

    use super::*;
    use crate::editor::x11::{self, X11Connection};

    /// Name of the thread that speaks to AT-SPI. Linux cuts names at 15 bytes.
    const THREAD_NAME: &str = "sift a11y";

    pub struct SystemAdapter {
        adapter: Adapter,
        window: Option<u32>,
        x11: X11Connection,
    }

    impl SystemAdapter {
        pub fn new(link: &Arc<Link>, window: &WindowContext) -> Option<Self> {
            // The first adapter starts a thread that runs until the process ends.
            library::prevent_unload();
            let handler = || Handler(link.clone());
            let (activation, action, deactivation) = (handler(), handler(), handler());
            let create = move || Adapter::new(activation, action, deactivation);
            // The thread inherits the name of the one that starts it. No editor waits for one with this name.
            let adapter = thread::Builder::new().name(THREAD_NAME.into()).spawn(create).ok()?.join().ok()?;
            Some(Self { adapter, window: x11::window_id(window), x11: X11Connection::default() })
        }

        pub fn set_focused(&mut self, is_focused: bool) {
            self.adapter.update_window_focus_state(is_focused);
        }

        pub fn update(&mut self, update: TreeUpdate) {
            if let Some(window) = self.window
                && let Some([left, top, right, bottom]) = self.x11.bounds(window)
            {
                let bounds = Rect::new(left.into(), top.into(), right.into(), bottom.into());
                self.adapter.set_root_window_bounds(bounds, bounds);
            }
            self.adapter.update_if_active(|| update);
        }
    }
}

/// Other systems: their adapters (`accesskit_windows`, `accesskit_macos`) are not connected yet.
#[cfg(not(all(unix, not(target_os = "macos"))))]
enum SystemAdapter {}

#[cfg(not(all(unix, not(target_os = "macos"))))]
impl SystemAdapter {
    fn new(_: &Arc<Link>, _: &WindowContext) -> Option<Self> {
        None
    }

    fn set_focused(&mut self, _: bool) {
        match *self {}
    }

    fn update(&mut self, _: TreeUpdate) {
        match *self {}
    }
}

#[cfg(test)]
mod tests {
    use egui::accesskit::TreeId;
    use egui::{Vec2, vec2};
    use egui_kittest::Harness;
    use egui_kittest::kittest::{AccessKitNode, NodeT, Queryable};

    use super::*;
    use crate::editor::appearance::DEFAULT_EDITOR_SIZE;
    use crate::editor::mock_host::{MockHost, editor};

    const SIZE: Vec2 = vec2(DEFAULT_EDITOR_SIZE.0 as f32, DEFAULT_EDITOR_SIZE.1 as f32);

    /// Whether a user operates or reads a value from such a node.
    fn is_control(node: &AccessKitNode<'_>) -> bool {
        let actions = [Action::Click, Action::Focus, Action::SetValue];
        actions.into_iter().any(|action| node.data().supports_action(action)) || node.role() == Role::Meter
    }

    /// What is missing from a control: its role, its name, or its value.
    fn missing(node: &AccessKitNode<'_>) -> Option<&'static str> {
        let has_range = node.min_numeric_value().is_some() && node.max_numeric_value().is_some();
        let has_value = match node.role() {
            Role::Unknown | Role::GenericContainer => return Some("role"),
            Role::Slider => node.numeric_value().is_some() && has_range && node.value().is_some(),
            Role::Meter => node.numeric_value().is_some() && has_range,
            Role::TextInput => node.value().is_some(),
            Role::CheckBox | Role::RadioButton => node.toggled().is_some(),
            _ => true,
        };
        match node.label() {
            Some(name) if !name.trim().is_empty() => (!has_value).then_some("value"),
            _ => Some("name"),
        }
    }

    /// Roles of the controls that are shown; fails if one of them lacks something.
    fn check_controls(editor: &Harness<'_>) -> Vec<Role> {
        let nodes = editor.root().children_recursive().map(|node| node.accesskit_node());
        let controls: Vec<_> = nodes.filter(is_control).collect();
        let faults: Vec<_> = controls
            .iter()
            .filter_map(|node| Some(format!("{} of {:?}", missing(node)?, node.data())))
            .collect();
        assert!(faults.is_empty(), "missing: {faults:#?}");
        controls.iter().map(AccessKitNode::role).collect()
    }

    #[test]
    fn every_control_has_a_role_a_name_and_a_value() {
        let host = MockHost::default();
        let mut editor = editor(&host, SIZE);
        editor.run_steps(3);
        let roles = check_controls(&editor);
        for (role, count) in [(Role::TextInput, 1), (Role::Slider, 6), (Role::Meter, 4), (Role::CheckBox, 2)]
        {
            assert_eq!(roles.iter().filter(|shown| **shown == role).count(), count, "{role:?}");
        }
        for menu in ["Sets", "default"] {
            editor.get_by_label_contains(menu).click();
            editor.run_steps(3);
            assert!(check_controls(&editor).len() > roles.len(), "{menu}: the menu is not open");
            editor.key_press(egui::Key::Escape);
            editor.run_steps(3);
        }
    }

    #[test]
    fn slider_takes_the_value_that_assistive_technology_sets() {
        let host = MockHost::default();
        let mut editor = editor(&host, SIZE);
        editor.get_by_role_and_label(Role::Slider, "Output gain").set_value_accesskit(-6.0);
        editor.run_steps(3);
        assert_eq!(host.params.gain.value(), -6.0);
        assert_eq!(host.gestures(), ["begin gain", "set gain", "end gain"]);
    }

    /// The part of egui, without the system.
    fn unconnected() -> (Context, Accessibility) {
        (Context::default(), Accessibility { link: Arc::default(), adapter: None, last_update: None })
    }

    #[test]
    fn tree_is_built_only_while_assistive_technology_runs() {
        let (ctx, accessibility) = unconnected();
        let link = accessibility.link.clone();
        ctx.add_plugin(accessibility);
        let has_tree = || {
            let mut has_tree = false;
            let mut output = ctx.run_ui(RawInput::default(), |ui| {
                has_tree = ui.ctx().accesskit_node_builder(accesskit_root_id(), |_| ()).is_some();
            });
            output.textures_delta.clear();
            has_tree
        };
        assert!(!has_tree());
        assert!(Handler(link.clone()).request_initial_tree().is_none());
        assert!(has_tree());
        Handler(link).deactivate_accessibility();
        assert!(!has_tree());
    }

    #[test]
    fn actions_reach_egui_once() {
        let (ctx, mut accessibility) = unconnected();
        let request = ActionRequest {
            action: Action::Click,
            target_tree: TreeId::ROOT,
            target_node: accesskit_root_id().accesskit_id(),
            data: None,
        };
        Handler(accessibility.link.clone()).do_action(request.clone());
        for expected in [vec![Event::AccessKitActionRequest(request)], vec![]] {
            let mut input = RawInput::default();
            accessibility.input_hook(&ctx, &mut input);
            assert_eq!(input.events, expected);
        }
    }
}
