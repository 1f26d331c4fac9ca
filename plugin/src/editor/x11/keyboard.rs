//! Keys from the X server, in the current layout, with dead keys and the Compose key.
//!
//! baseview 0.4.2 reads the layout once, when the window opens, and composes nothing. The window's keys also come on the
//! connection of [`Keyboard`], which replaces what the toolkit makes of them.

use egui::{Event, Key, Modifiers};
use kbvm::lookup::LookupTable;
use kbvm::xkb::Context;
use kbvm::xkb::compose::{ComposeTable, FeedResult, State};
use kbvm::xkb::x11::KbvmX11Ext;
use kbvm::{GroupIndex, Keycode, Keysym, ModifierMask, syms};
use x11rb::connection::Connection as _;
use x11rb::protocol::Event as ServerEvent;
use x11rb::protocol::xkb::{ConnectionExt as _, EventType, ID, MapPart, SelectEventsAux};
use x11rb::protocol::xproto::{
    ChangeWindowAttributesAux, ConnectionExt as _, EventMask, KeyButMask, KeyPressEvent, Window,
};
use x11rb::rust_connection::RustConnection;

/// Locale of the compose sequences where the process has no locale with UTF-8, or an unknown one.
const COMPOSE_LOCALE: &str = "en_US.UTF-8";

/// The keys of one window.
pub struct Keyboard {
    connection: RustConnection,
    layout: LookupTable,
    has_layout_changed: bool,
    /// `None` before the first key.
    composer: Option<Composer>,
}

impl Keyboard {
    /// Listens for the keys of `window`. `None` without the X Keyboard Extension, or if the layout cannot be read.
    pub fn connect(window: Window) -> Option<Self> {
        let (connection, _) = x11rb::connect(None).ok()?;
        connection.setup_xkb_extension().ok()?;
        let changes = EventType::NEW_KEYBOARD_NOTIFY | EventType::MAP_NOTIFY;
        let parts = MapPart::from(u16::MAX >> 8);
        let none = EventType::from(0_u16);
        let device = u16::from(ID::USE_CORE_KBD);
        let selected =
            connection.xkb_select_events(device, none, changes, parts, parts, &SelectEventsAux::new());
        selected.ok()?.check().ok()?;
        // Any number of clients may select the keys of a window (X Window System Protocol, CreateWindow).
        let keys = ChangeWindowAttributesAux::new().event_mask(EventMask::KEY_PRESS | EventMask::KEY_RELEASE);
        connection.change_window_attributes(window, &keys).ok()?.check().ok()?;
        let layout = read_layout(&connection)?;
        Some(Self { connection, layout, has_layout_changed: false, composer: None })
    }

    /// The keys since the last call.
    pub fn events(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        // Without a connection, the toolkit has none either.
        while let Ok(Some(event)) = self.connection.poll_for_event() {
            match event {
                ServerEvent::KeyPress(key) => self.translate(&key, true, &mut events),
                ServerEvent::KeyRelease(key) => self.translate(&key, false, &mut events),
                ServerEvent::XkbMapNotify(_)
                | ServerEvent::XkbNewKeyboardNotify(_)
                | ServerEvent::MappingNotify(_) => self.has_layout_changed = true,
                _ => {}
            }
        }
        events
    }

    fn translate(&mut self, key: &KeyPressEvent, is_pressed: bool, events: &mut Vec<Event>) {
        if std::mem::take(&mut self.has_layout_changed)
            && let Some(layout) = read_layout(&self.connection)
        {
            self.layout = layout;
        }
        let composer = self.composer.get_or_insert_with(Composer::of_the_user);
        let press = Press { keycode: key.detail.into(), state: key.state, is_pressed };
        events.extend(press.events(&self.layout, composer));
    }
}

fn read_layout(connection: &RustConnection) -> Option<LookupTable> {
    let device = connection.get_xkb_core_device_id().ok()?;
    Some(connection.get_xkb_keymap(device).ok()?.to_builder().build_lookup_table())
}

/// Composes characters of several keys.
struct Composer {
    /// `None` if the system has no compose sequences.
    table: Option<(ComposeTable, State)>,
}

impl Composer {
    /// The sequences of the user's locale, or of the user's own file (Compose(5)).
    fn of_the_user() -> Self {
        let context = Context::default();
        let is_utf8 = context.locale().to_ascii_lowercase().replace('-', "").ends_with("utf8");
        let table = is_utf8.then(|| context.compose_table_builder().build(Vec::new()));
        Self::new(table.flatten().or_else(|| {
            let mut builder = context.compose_table_builder();
            builder.locale(COMPOSE_LOCALE);
            builder.build(Vec::new())
        }))
    }

    fn new(table: Option<ComposeTable>) -> Self {
        Self {
            table: table.map(|table| {
                let state = table.create_state();
                (table, state)
            }),
        }
    }

    /// The text that `symbol` completes, empty while a sequence goes on or where it fails; `None` if it is in no sequence.
    fn feed(&mut self, symbol: Keysym) -> Option<String> {
        let (table, state) = self.table.as_mut()?;
        Some(match table.feed(state, symbol)? {
            FeedResult::Pending | FeedResult::Aborted => String::new(),
            FeedResult::Composed { string, keysym } => {
                let character = || keysym.and_then(Keysym::char).map(String::from);
                string.map(str::to_owned).or_else(character).unwrap_or_default()
            }
        })
    }
}

/// A key that is pressed or released.
#[derive(Clone, Copy)]
struct Press {
    keycode: u32,
    /// Modifiers and layout just before.
    state: KeyButMask,
    is_pressed: bool,
}

impl Press {
    fn events(self, layout: &LookupTable, composer: &mut Composer) -> Vec<Event> {
        let state = u16::from(self.state);
        // The X Keyboard Extension puts the number of the layout into these bits (XKBproto, 2.2.2).
        let group = GroupIndex(u32::from((state >> 13) & 3));
        let mask = ModifierMask(u32::from(state & 0xff));
        // With Ctrl, this finds the Latin letter of another layout, if this one has none.
        let looked_up = layout.lookup(group, mask, Keycode::from_x11(self.keycode));
        // Modifiers that select a character, such as AltGr, do not make it a command.
        let remaining = looked_up.remaining_mods().0 as u16;
        let has = |mask: KeyButMask| remaining & u16::from(mask) != 0;
        let is_command = has(KeyButMask::CONTROL) || has(KeyButMask::MOD1) || has(KeyButMask::MOD4);
        let modifiers = egui_modifiers(self.state);
        let mut events = Vec::new();
        for properties in looked_up {
            let composed =
                if self.is_pressed && !is_command { composer.feed(properties.keysym()) } else { None };
            let is_composing = composed.is_some();
            if !is_composing && let Some(key) = egui_key(properties.keysym()) {
                let pressed = self.is_pressed;
                events.push(Event::Key { key, physical_key: None, pressed, repeat: false, modifiers });
            }
            let plain = || properties.char().filter(|_| self.is_pressed && !is_command).map(String::from);
            let text = composed.or_else(plain).unwrap_or_default();
            if !text.is_empty() && !text.contains(char::is_control) {
                events.push(Event::Text(text));
            }
        }
        events
    }
}

fn egui_modifiers(state: KeyButMask) -> Modifiers {
    let has = |mask| state.contains(mask);
    Modifiers {
        alt: has(KeyButMask::MOD1),
        ctrl: has(KeyButMask::CONTROL),
        shift: has(KeyButMask::SHIFT),
        mac_cmd: false,
        command: has(KeyButMask::CONTROL),
    }
}

/// egui's name for the key of `symbol`; `None` for others, such as letters that are not Latin.
fn egui_key(symbol: Keysym) -> Option<Key> {
    Some(match symbol {
        syms::Return | syms::KP_Enter => Key::Enter,
        syms::Escape => Key::Escape,
        syms::BackSpace => Key::Backspace,
        syms::Tab | syms::ISO_Left_Tab => Key::Tab,
        syms::Insert | syms::KP_Insert => Key::Insert,
        syms::Delete | syms::KP_Delete => Key::Delete,
        syms::Home | syms::KP_Home => Key::Home,
        syms::End | syms::KP_End => Key::End,
        syms::Page_Up | syms::KP_Page_Up => Key::PageUp,
        syms::Page_Down | syms::KP_Page_Down => Key::PageDown,
        syms::Left | syms::KP_Left => Key::ArrowLeft,
        syms::Right | syms::KP_Right => Key::ArrowRight,
        syms::Up | syms::KP_Up => Key::ArrowUp,
        syms::Down | syms::KP_Down => Key::ArrowDown,
        syms::space => Key::Space,
        other => {
            let character = other.char().filter(char::is_ascii_graphic)?.to_ascii_uppercase();
            return Key::from_name(character.encode_utf8(&mut [0; 4]));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two layouts, an American and a Russian one, with dead keys.
    const LAYOUT: &str = r#"xkb_keymap {
        xkb_keycodes { <A> = 38; <C> = 54; <Q> = 48; <Y> = 29; <RET> = 36; <BKSP> = 22; };
        xkb_types {
            virtual_modifiers LevelThree = Mod5;
            type "LEVELS" {
                modifiers = Shift+LevelThree;
                map[Shift] = Level2;
                map[LevelThree] = Level3;
            };
            type "ONE_LEVEL" { modifiers = none; };
        };
        xkb_compat { };
        xkb_symbols {
            key <A> { type = "LEVELS", symbols[Group1] = [ a, A, adiaeresis ], symbols[Group2] = [ Cyrillic_ef, Cyrillic_EF, NoSymbol ] };
            key <C> { type = "LEVELS", symbols[Group1] = [ c, C, NoSymbol ], symbols[Group2] = [ Cyrillic_es, Cyrillic_ES, NoSymbol ] };
            key <Y> { type = "LEVELS", symbols[Group1] = [ z, Z, NoSymbol ] };
            key <Q> { type = "LEVELS", symbols[Group1] = [ dead_acute, dead_diaeresis, NoSymbol ] };
            key <RET> { type = "ONE_LEVEL", symbols[Group1] = [ Return ] };
            key <BKSP> { type = "ONE_LEVEL", symbols[Group1] = [ BackSpace ] };
        };
    };"#;
    const SEQUENCES: &str = "<dead_acute> <a> : \"á\" aacute\n<dead_diaeresis> <A> : \"Ä\" Adiaeresis\n";

    const A: u32 = 38;
    const C: u32 = 54;
    const DEAD: u32 = 48;
    const Y: u32 = 29;
    const ENTER: u32 = 36;
    const BACKSPACE: u32 = 22;

    struct Fixture {
        layout: LookupTable,
        composer: Composer,
    }

    fn fixture() -> Fixture {
        let context = Context::default();
        let keymap = context.keymap_from_bytes(Vec::new(), None, LAYOUT).unwrap();
        let mut sequences = context.compose_table_builder();
        sequences.buffer(SEQUENCES);
        let composer = Composer::new(sequences.build(Vec::new()));
        Fixture { layout: keymap.to_builder().build_lookup_table(), composer }
    }

    impl Fixture {
        fn press(&mut self, keycode: u32, state: u16) -> Vec<Event> {
            let press = Press { keycode, state: state.into(), is_pressed: true };
            press.events(&self.layout, &mut self.composer)
        }

        /// The text of keys that are pressed one after another, with their modifiers and layout.
        fn text(&mut self, keys: &[(u32, u16)]) -> String {
            let events = keys.iter().flat_map(|(keycode, state)| self.press(*keycode, *state));
            events.filter_map(|event| if let Event::Text(text) = event { Some(text) } else { None }).collect()
        }
    }

    const SHIFT: u16 = 1;
    const CONTROL: u16 = 4;
    const ALT: u16 = 8;
    /// AltGr, the modifier of the third level.
    const LEVEL_3: u16 = 128;
    const RUSSIAN: u16 = 1 << 13;

    fn key(key: Key, state: u16) -> Event {
        let modifiers = egui_modifiers(state.into());
        Event::Key { key, physical_key: None, pressed: true, repeat: false, modifiers }
    }

    #[test]
    fn dead_key_and_letter_are_composed() {
        let mut keys = fixture();
        assert_eq!(keys.text(&[(DEAD, 0), (A, 0), (C, 0)]), "ác");
        assert_eq!(keys.text(&[(DEAD, SHIFT), (A, SHIFT)]), "Ä");
    }

    #[test]
    fn sequence_that_fails_types_nothing() {
        let mut keys = fixture();
        assert_eq!(keys.text(&[(DEAD, 0), (C, 0), (C, 0)]), "c");
        assert!(keys.press(DEAD, 0).is_empty());
        assert!(keys.press(BACKSPACE, 0).is_empty(), "it takes the dead key back, not the letter before it");
        assert_eq!(keys.press(BACKSPACE, 0), [key(Key::Backspace, 0)]);
    }

    #[test]
    fn layout_and_third_level_select_the_character() {
        let mut keys = fixture();
        assert_eq!(keys.text(&[(A, 0), (A, RUSSIAN), (A, RUSSIAN | SHIFT), (A, LEVEL_3)]), "aфФä");
    }

    #[test]
    fn command_goes_by_the_letter_and_types_nothing() {
        let mut keys = fixture();
        assert_eq!(keys.press(Y, CONTROL), [key(Key::Z, CONTROL)], "by its meaning, not by its place");
        assert_eq!(
            keys.press(C, CONTROL | RUSSIAN),
            [key(Key::C, CONTROL)],
            "by the layout with Latin letters"
        );
        assert_eq!(keys.press(A, ALT), [key(Key::A, ALT)]);
        assert_eq!(keys.press(ENTER, 0), [key(Key::Enter, 0)]);
    }

    #[test]
    fn release_types_nothing() {
        let mut keys = fixture();
        let release = Press { keycode: A, state: 0_u16.into(), is_pressed: false };
        let events = release.events(&keys.layout, &mut keys.composer);
        assert!(matches!(events[..], [Event::Key { key: Key::A, pressed: false, .. }]));
    }

    #[test]
    fn without_compose_sequences_letters_are_typed() {
        let mut keys = Fixture { composer: Composer::new(None), ..fixture() };
        assert_eq!(keys.text(&[(A, 0), (C, SHIFT)]), "aC");
    }
}
