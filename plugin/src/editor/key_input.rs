//! Keys on their way to egui: commands by what a key means, and keys that the host passes on.
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
    #[cfg(all(unix, not(target_os = "macos")))]
    pub x11: super::x11::X11Connection,
}

impl KeyInput {
    /// What `key` means, which the toolkit took by its place on an American keyboard.
    #[cfg(all(unix, not(target_os = "macos")))]
    fn meaning(&mut self, key: Key) -> Key {
        self.x11.meaning(key)
    }

    /// What `key` means. On these systems the toolkit knows.
    #[cfg(not(all(unix, not(target_os = "macos"))))]
    fn meaning(&mut self, key: Key) -> Key {
        key
    }
}

impl Plugin for KeyInput {
    fn debug_name(&self) -> &'static str {
        "sift key input"
    }

    fn input_hook(&mut self, _: &Context, input: &mut RawInput) {
        if input.events.iter().any(|event| matches!(event, Event::Key { .. })) {
            let events = std::mem::take(&mut input.events);
            input.events = commands_by_meaning(events, |key| self.meaning(key), clipboard::text);
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

/// Replaces the keys of commands by their `meaning`, and what the toolkit made of their places by cut, copy and paste.
fn commands_by_meaning(
    events: Vec<Event>,
    mut meaning: impl FnMut(Key) -> Key,
    paste: impl Fn() -> Option<String>,
) -> Vec<Event> {
    let mut changed = Vec::with_capacity(events.len());
    let mut events = events.into_iter().peekable();
    while let Some(mut event) = events.next() {
        let mut command = None;
        if let Event::Key { key, pressed, modifiers, .. } = &mut event
            && modifiers.command
            && !matches!(key, Key::Insert | Key::Delete)
        {
            *key = meaning(*key);
            command = pressed.then_some(*key);
        }
        changed.push(event);
        let Some(key) = command else { continue };
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

    /// The letters of a Dvorak keyboard at the places of some American keys.
    fn dvorak(place: Key) -> Key {
        match place {
            Key::X => Key::Q,
            Key::C => Key::J,
            Key::V => Key::K,
            Key::I => Key::C,
            Key::B => Key::X,
            Key::Period => Key::V,
            other => other,
        }
    }

    #[test]
    fn commands_go_by_the_meaning_of_the_key() {
        let command = egui::Modifiers::COMMAND;
        let pasted = Event::Text("by place".into());
        for (place, by_place, expected) in [
            (Key::I, None, vec![key(Key::C, command), Event::Copy]),
            (Key::B, None, vec![key(Key::X, command), Event::Cut]),
            (Key::Period, None, vec![key(Key::V, command), Event::Paste("clipboard".into())]),
            (Key::C, Some(Event::Copy), vec![key(Key::J, command)]),
            (Key::X, Some(Event::Cut), vec![key(Key::Q, command)]),
            (Key::V, Some(pasted), vec![key(Key::K, command)]),
        ] {
            let events = [key(place, command)].into_iter().chain(by_place).collect();
            let paste = || Some("clipboard".into());
            assert_eq!(commands_by_meaning(events, dvorak, paste), expected, "{place:?}");
        }
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
        assert_eq!(commands_by_meaning(events.clone(), dvorak, || None), events);
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
            x11: Default::default(),
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
