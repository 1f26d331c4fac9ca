//! Loading of a saved state by the plugin.

use std::cell::RefCell;

use clack_host::prelude::PluginEntry;
use sift_engine::MAX_CHARACTERS;
use sift_tests::clap_host::Instance;
use sift_tests::state::State;

struct Plugin {
    instance: Instance,
    /// A state that the plugin saved itself.
    before: Vec<u8>,
}

impl Plugin {
    fn new() -> Self {
        // SAFETY: the entry is our own plugin's.
        let entry = unsafe { PluginEntry::load_from_raw(&sift_plugin::clap_entry, c"Sift.clap") };
        let mut instance =
            Instance::of(&entry.expect("the entry initialises")).expect("the plugin creates an instance");
        instance.set("Mask strength", "33 %").expect("the plugin has the parameter");
        let state = State::from_clap(&instance.save_state().expect("the plugin saves"))
            .expect("the saved state is valid");
        instance
            .load_state(&state.with_query(3, "기타 소리").to_clap())
            .expect("the plugin loads a state that it saved");
        let before = instance.save_state().expect("the plugin saves");
        Self { instance, before }
    }
}

thread_local! {
    static PLUGIN: RefCell<Plugin> = RefCell::new(Plugin::new());
}

/// Loads the state `bytes`: JSON, without the length before it.
///
/// # Panics
/// If a refused state changes something, or a loaded one is not the same after it is saved and loaded again.
pub fn check(bytes: &[u8]) {
    PLUGIN.with_borrow_mut(|Plugin { instance, before }| {
        instance.load_state(before).expect("the plugin loads a state that it saved");
        let state = [&(bytes.len() as u64).to_le_bytes(), bytes].concat();
        let is_loaded = instance.load_state(&state).is_ok();
        let saved = instance.save_state().expect("the plugin saves");
        if !is_loaded {
            assert!(saved == *before, "the refused state changed something");
            return;
        }
        let texts =
            State::from_clap(&saved).and_then(|state| state.queries()).expect("the saved state is valid");
        assert!(texts.iter().all(|text| text.chars().count() <= MAX_CHARACTERS), "{texts:?}");
        instance.load_state(&saved).expect("the plugin loads a state that it saved");
        assert!(
            instance.save_state().expect("the plugin saves") == saved,
            "the state differs after it is saved and loaded"
        );
    });
}
