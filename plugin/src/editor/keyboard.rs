//! Whose the keyboard is: the window's while something in it has the focus, else the host's, whose
//! shortcuts then work with the pointer on the window, too.

use egui::Context;
use nice_plug_egui::{Frame, KeyCapture};

/// Hands the keyboard over at the end of every frame.
pub struct Keyboard {
    /// The window was used since the host last had the keyboard.
    owed: bool,
    #[cfg(all(unix, not(target_os = "macos")))]
    display: super::x11::Display,
}

impl Default for Keyboard {
    fn default() -> Self {
        Self {
            // A host may give the keyboard to a window that it opens.
            owed: true,
            #[cfg(all(unix, not(target_os = "macos")))]
            display: super::x11::Display::default(),
        }
    }
}

impl Keyboard {
    pub fn hand_over(&mut self, ctx: &Context, frame: &mut Frame) {
        let ours = ours(ctx);
        frame.set_key_capture(if ours { KeyCapture::CaptureAll } else { KeyCapture::IgnoreAll });
        // The toolkit takes the keyboard at a press, and again at the click that the release makes of it.
        if ours || ctx.input(|input| input.pointer.any_down() || input.pointer.any_released()) {
            self.owed = true;
        } else if self.owed && frame.baseview_window().has_focus() {
            // Once: some hosts give it back to the window at once, and are to be left alone then.
            self.owed = false;
            #[cfg(all(unix, not(target_os = "macos")))]
            self.display.give_to_host(frame.baseview_window());
        }
    }
}

/// Whether keys mean something in the window: for what has the focus, or for what is open.
fn ours(ctx: &Context) -> bool {
    ctx.egui_wants_keyboard_input()
        || ctx.any_popup_open()
        || ctx.memory(|memory| memory.top_modal_layer().is_some())
}

#[cfg(test)]
mod tests {
    use egui::Key;
    use egui::accesskit::Role;
    use egui_kittest::kittest::Queryable;

    use super::*;
    use crate::editor::SMALLEST;
    use crate::editor::testing::{Host, window};

    #[test]
    fn keys_are_the_windows_while_a_text_is_typed_and_the_hosts_before_and_after() {
        let host = Host::default();
        let mut window = window(&host, SMALLEST);
        assert!(!ours(&window.ctx));
        window.get_by_role(Role::TextInput).click();
        window.run_steps(2);
        assert!(ours(&window.ctx));
        window.key_press(Key::Escape);
        window.run_steps(2);
        assert!(!ours(&window.ctx), "Escape gives them back");
    }

    #[test]
    fn a_click_on_a_control_leaves_the_keys_to_the_host() {
        let host = Host::default();
        let mut window = window(&host, SMALLEST);
        window.get_by_label("Remove").click();
        window.run_steps(2);
        window.get_by_role_and_label(Role::Slider, "Output gain").click();
        window.run_steps(2);
        assert!(!ours(&window.ctx));
    }

    #[test]
    fn an_open_menu_is_closed_by_a_key() {
        let host = Host::default();
        let mut window = window(&host, SMALLEST);
        window.get_by_label("Sets").click();
        window.run_steps(3);
        assert!(ours(&window.ctx));
        window.key_press(Key::Escape);
        window.run_steps(3);
        assert!(!ours(&window.ctx));
    }
}
