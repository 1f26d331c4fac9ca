//! A state that a host hands to the plugin.

use std::cell::RefCell;

use clack_host::prelude::PluginEntry;
use sift_engine::MAX_CHARACTERS;
use sift_tests::clap_host::Instance;
use sift_tests::state::State;

struct Plugin {
    instance: Instance,
    /// A state of its own.
    before: Vec<u8>,
}

impl Plugin {
    fn new() -> Self {
        // SAFETY: it is our own entry.
        let entry = unsafe { PluginEntry::load_from_raw(&sift_plugin::clap_entry, c"Sift.clap") };
        let mut instance = Instance::of(&entry.expect("the entry begins")).expect("an instance is made");
        instance.set("Mask strength", "33 %").expect("it has a strength");
        let state = State::from_clap(&instance.save_state().expect("it saves")).expect("it is a state");
        instance.load_state(&state.with_query(3, "기타 소리").to_clap()).expect("it loads its own state");
        let before = instance.save_state().expect("it saves");
        Self { instance, before }
    }
}

thread_local! {
    static PLUGIN: RefCell<Plugin> = RefCell::new(Plugin::new());
}

/// # Panics
/// If the state that is `bytes` (JSON, without the length before it) is refused and changes something, or
/// taken and not saved and loaded again the same.
pub fn check(bytes: &[u8]) {
    PLUGIN.with_borrow_mut(|Plugin { instance, before }| {
        instance.load_state(before).expect("it loads its own state");
        let state = [&(bytes.len() as u64).to_le_bytes(), bytes].concat();
        let taken = instance.load_state(&state).is_ok();
        let saved = instance.save_state().expect("it saves");
        if !taken {
            assert!(saved == *before, "refused, and yet something changed");
            return;
        }
        let texts = State::from_clap(&saved).and_then(|state| state.queries()).expect("it saves a state");
        assert!(texts.iter().all(|text| text.chars().count() <= MAX_CHARACTERS), "{texts:?}");
        instance.load_state(&saved).expect("it loads what it saved");
        assert!(instance.save_state().expect("it saves") == saved, "it is not the same again");
    });
}
