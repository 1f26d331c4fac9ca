//! Keyboard focus: the editor's while one of its parts uses keys, otherwise the host's, so that the host's
//! shortcuts work while the pointer is on the editor.

use egui::Context;
use nice_plug_egui::{Frame, KeyCapture};

/// Passes the keyboard focus between editor and host at the end of every frame.
pub struct KeyboardFocus {
    /// The editor was used since the host last got the focus.
    must_return: bool,
    #[cfg(all(unix, not(target_os = "macos")))]
    x11: super::x11::X11Connection,
}

impl Default for KeyboardFocus {
    fn default() -> Self {
        Self {
            // A host may give the focus to a window that it opens.
            must_return: true,
            #[cfg(all(unix, not(target_os = "macos")))]
            x11: super::x11::X11Connection::default(),
        }
    }
}

impl KeyboardFocus {
    /// Passes the focus to the host when the editor no longer needs it.
    pub fn update(&mut self, ctx: &Context, frame: &mut Frame) {
        let needs_keys = needs_keys(ctx);
        frame.set_key_capture(if needs_keys { KeyCapture::CaptureAll } else { KeyCapture::IgnoreAll });
        // The toolkit takes the focus when a button is pressed, and again when the release makes it a click.
        if needs_keys || ctx.input(|input| input.pointer.any_down() || input.pointer.any_released()) {
            self.must_return = true;
        } else if self.must_return && frame.baseview_window().has_focus() {
            // Only once: some hosts return the focus to the editor immediately, and would do so forever.
            self.must_return = false;
            #[cfg(all(unix, not(target_os = "macos")))]
            self.x11.focus_host(frame.baseview_window());
        }
    }
}

/// Whether the focused part or an open menu of the editor uses keys.
fn needs_keys(ctx: &Context) -> bool {
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
    use crate::editor::mock_host::{MockHost, editor};
    use crate::editor::size::MIN_SIZE;

    #[test]
    fn text_field_uses_keys_until_escape() {
        let host = MockHost::default();
        let mut editor = editor(&host, MIN_SIZE);
        assert!(!needs_keys(&editor.ctx));
        editor.get_by_role(Role::TextInput).click();
        editor.run_steps(2);
        assert!(needs_keys(&editor.ctx));
        editor.key_press(Key::Escape);
        editor.run_steps(2);
        assert!(!needs_keys(&editor.ctx), "Escape ends the typing");
    }

    #[test]
    fn clicked_controls_leave_keys_to_the_host() {
        let host = MockHost::default();
        let mut editor = editor(&host, MIN_SIZE);
        editor.get_by_label("Remove").click();
        editor.run_steps(2);
        editor.get_by_role_and_label(Role::Slider, "Output gain").click();
        editor.run_steps(2);
        assert!(!needs_keys(&editor.ctx));
    }

    #[test]
    fn open_menu_uses_keys_and_closes_on_escape() {
        let host = MockHost::default();
        let mut editor = editor(&host, MIN_SIZE);
        editor.get_by_label("Sets").click();
        editor.run_steps(3);
        assert!(needs_keys(&editor.ctx));
        editor.key_press(Key::Escape);
        editor.run_steps(3);
        assert!(!needs_keys(&editor.ctx));
    }
}
