//! Keys on their way to egui: commands by what a key means, on X11 all keys by the current layout, and keys that the host
//! passes on.
//!
//! egui-baseview 0.9 takes Ctrl+X, C and V (Cmd+X, C and V) by the place of the key on an American keyboard. [`KeyInput`]
//! replaces what it makes of them. It also stores copied text, which egui-baseview's clipboard loses with the window.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use egui::{Context, Event, FullOutput, Key, OutputCommand, Plugin, RawInput};
use nice_plug::editor::{Modifiers, VirtualKeyCode};
use parking_lot::Mutex;

use super::clipboard;

/// Keys that the host passes on instead of the window's system: VST3's `onKeyDown` and `onKeyUp`.
#[derive(Default)]
pub struct HostKeys {
    is_typing: AtomicBool,
    events: Mutex<Vec<Event>>,
}

impl HostKeys {
    /// Sets whether a text box has the focus. Only then the editor takes keys from the host.
    pub fn set_typing(&self, is_typing: bool) {
        self.is_typing.store(is_typing, Ordering::Release);
    }

    /// Takes a key of the host. Returns whether the editor uses it.
    pub fn take(&self, code: VirtualKeyCode, pressed: bool, modifiers: Modifiers) -> bool {
        let Some(key) = egui_key(code).filter(|_| self.is_typing.load(Ordering::Acquire)) else {
            return false;
        };
        let modifiers = egui_modifiers(modifiers);
        let mut events = self.events.lock();
        events.push(Event::Key { key, physical_key: None, pressed, repeat: false, modifiers });
        if key == Key::Space && pressed && !modifiers.any() {
            events.push(Event::Text(" ".into()));
        }
        true
    }
}

/// The key with which a text is edited; `None` for others.
fn egui_key(code: VirtualKeyCode) -> Option<Key> {
    Some(match code {
        VirtualKeyCode::Backspace => Key::Backspace,
        VirtualKeyCode::Delete => Key::Delete,
        VirtualKeyCode::Return | VirtualKeyCode::NumpadEnter => Key::Enter,
        VirtualKeyCode::Escape => Key::Escape,
        VirtualKeyCode::Tab => Key::Tab,
        VirtualKeyCode::Space => Key::Space,
        VirtualKeyCode::ArrowLeft => Key::ArrowLeft,
        VirtualKeyCode::ArrowRight => Key::ArrowRight,
        VirtualKeyCode::ArrowUp => Key::ArrowUp,
        VirtualKeyCode::ArrowDown => Key::ArrowDown,
        VirtualKeyCode::Home => Key::Home,
        VirtualKeyCode::End => Key::End,
        _ => return None,
    })
}

fn egui_modifiers(modifiers: Modifiers) -> egui::Modifiers {
    let has = |modifier| modifiers.contains(modifier);
    let is_mac = cfg!(target_os = "macos");
    egui::Modifiers {
        alt: has(Modifiers::ALT),
        ctrl: has(if is_mac { Modifiers::CONTROL } else { Modifiers::COMMAND }),
        shift: has(Modifiers::SHIFT),
        mac_cmd: is_mac && has(Modifiers::COMMAND),
        command: has(Modifiers::COMMAND),
    }
}

/// The part of egui that changes its input and output.
pub struct KeyInput {
    pub host_keys: Arc<HostKeys>,
    /// `None` if the X server does not give the keys. Then those of the toolkit remain.
    #[cfg(all(unix, not(target_os = "macos")))]
    pub keyboard: Option<super::x11::keyboard::Keyboard>,
}

impl KeyInput {
    /// Replaces the keys of the toolkit by those of the X server.
    #[cfg(all(unix, not(target_os = "macos")))]
    fn read_keyboard(&mut self, events: &mut Vec<Event>) {
        if let Some(keyboard) = &mut self.keyboard {
            replace_keys(events, keyboard.events());
        }
    }

    /// On these systems the toolkit knows the layout.
    #[cfg(not(all(unix, not(target_os = "macos"))))]
    fn read_keyboard(&mut self, _: &mut Vec<Event>) {}
}

impl Plugin for KeyInput {
    fn debug_name(&self) -> &'static str {
        "sift key input"
    }

    fn input_hook(&mut self, _: &Context, input: &mut RawInput) {
        self.read_keyboard(&mut input.events);
        if input.events.iter().any(|event| matches!(event, Event::Key { .. })) {
            let events = std::mem::take(&mut input.events);
            input.events = commands_by_meaning(events, clipboard::text);
        }
        input.events.append(&mut self.host_keys.events.lock());
    }

    fn output_hook(&mut self, _: &Context, output: &mut FullOutput) {
        output.platform_output.commands.retain(|command| match command {
            OutputCommand::CopyText(text) => !clipboard::set_text(text),
            _ => true,
        });
    }
}

/// Replaces the events that come from keys by `keys`, at the place of the first one.
#[cfg(all(unix, not(target_os = "macos")))]
fn replace_keys(events: &mut Vec<Event>, keys: Vec<Event>) {
    let is_key =
        |event: &Event| matches!(event, Event::Key { .. } | Event::Text(_) | Event::Cut | Event::Copy);
    let place = events.iter().position(is_key).unwrap_or(events.len());
    events.retain(|event| !is_key(event));
    events.splice(place..place, keys);
}

/// Replaces what the toolkit made of the places of commands by cut, copy and paste.
fn commands_by_meaning(events: Vec<Event>, paste: impl Fn() -> Option<String>) -> Vec<Event> {
    let mut changed = Vec::with_capacity(events.len());
    let mut events = events.into_iter().peekable();
    while let Some(event) = events.next() {
        let command = match event {
            Event::Key { key, pressed: true, modifiers, .. } if modifiers.command => Some(key),
            _ => None,
        };
        changed.push(event);
        let Some(key) = command.filter(|key| !matches!(key, Key::Insert | Key::Delete)) else { continue };
        // The toolkit sends it right after the key, and no other text while a command is pressed.
        events.next_if(|event| matches!(event, Event::Cut | Event::Copy | Event::Text(_)));
        changed.extend(match key {
            Key::X => Some(Event::Cut),
            Key::C => Some(Event::Copy),
            Key::V => paste().map(Event::Paste),
            _ => None,
        });
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(key: Key, modifiers: egui::Modifiers) -> Event {
        Event::Key { key, physical_key: None, pressed: true, repeat: false, modifiers }
    }

    #[test]
    fn commands_go_by_the_meaning_of_the_key() {
        let command = egui::Modifiers::COMMAND;
        let pasted = Event::Text("by place".into());
        for (meaning, by_place, expected) in [
            (Key::C, None, vec![key(Key::C, command), Event::Copy]),
            (Key::X, None, vec![key(Key::X, command), Event::Cut]),
            (Key::V, None, vec![key(Key::V, command), Event::Paste("clipboard".into())]),
            (Key::J, Some(Event::Copy), vec![key(Key::J, command)]),
            (Key::Q, Some(Event::Cut), vec![key(Key::Q, command)]),
            (Key::K, Some(pasted), vec![key(Key::K, command)]),
        ] {
            let events = [key(meaning, command)].into_iter().chain(by_place).collect();
            assert_eq!(commands_by_meaning(events, || Some("clipboard".into())), expected, "{meaning:?}");
        }
    }

    #[cfg(all(unix, not(target_os = "macos")))]
    #[test]
    fn keys_of_the_server_come_at_the_place_of_the_toolkits() {
        let none = egui::Modifiers::NONE;
        let (gone, focused) = (Event::PointerGone, Event::WindowFocused(true));
        let text = |text: &str| Event::Text(text.into());
        let mut events = vec![gone.clone(), key(Key::E, none), text("e"), focused.clone(), text("x")];
        replace_keys(&mut events, vec![text("é")]);
        assert_eq!(events, [gone.clone(), text("é"), focused]);
        let mut events = vec![gone.clone()];
        replace_keys(&mut events, vec![text("é")]);
        assert_eq!(events, [gone, text("é")], "they may come after the toolkit's frame");
    }

    #[test]
    fn other_keys_stay_as_they_are() {
        let events = vec![
            key(Key::C, egui::Modifiers::NONE),
            Event::Text("c".into()),
            // Ctrl+Insert on Windows, and Ctrl with a letter that is not Latin.
            key(Key::Insert, egui::Modifiers::COMMAND),
            Event::Copy,
            Event::Copy,
        ];
        assert_eq!(commands_by_meaning(events.clone(), || None), events);
    }

    #[test]
    fn host_keys_are_taken_only_while_a_text_is_typed() {
        let keys = HostKeys::default();
        let press = |code| keys.take(code, true, Modifiers::empty());
        assert!(!press(VirtualKeyCode::Backspace));
        keys.set_typing(true);
        assert!(press(VirtualKeyCode::Space) && press(VirtualKeyCode::ArrowLeft));
        assert!(!press(VirtualKeyCode::F1), "it edits no text");
        let none = egui::Modifiers::NONE;
        let expected = [key(Key::Space, none), Event::Text(" ".into()), key(Key::ArrowLeft, none)];
        assert_eq!(*keys.events.lock(), expected);
        keys.set_typing(false);
        assert!(!press(VirtualKeyCode::Space));
    }

    #[test]
    fn host_keys_reach_egui_once() {
        let ctx = Context::default();
        let host_keys = Arc::<HostKeys>::default();
        let mut input = KeyInput {
            host_keys: host_keys.clone(),
            #[cfg(all(unix, not(target_os = "macos")))]
            keyboard: None,
        };
        host_keys.set_typing(true);
        host_keys.take(VirtualKeyCode::Backspace, true, Modifiers::SHIFT);
        for expected in [vec![key(Key::Backspace, egui::Modifiers::SHIFT)], vec![]] {
            let mut raw = RawInput::default();
            input.input_hook(&ctx, &mut raw);
            assert_eq!(raw.events, expected);
        }
    }
}
