//! The system's clipboard.

use std::thread;

use copypasta::{ClipboardContext, ClipboardProvider};
use parking_lot::Mutex;
use sift_engine::inference::library;

/// Name of the thread that answers for the copied text on X11. Linux cuts names at 15 bytes.
const THREAD_NAME: &str = "sift clipboard";

/// What holds the copied text, from the first copy until the process ends: on X11 it lives only as long as its owner.
static OWNER: Mutex<Option<ClipboardContext>> = Mutex::new(None);

/// The clipboard's text, unless it is blank or unavailable.
///
/// The toolkit's own clipboard does not suffice: egui-baseview reads it only when Ctrl+V (Cmd+V) is pressed.
pub fn text() -> Option<String> {
    let text = ClipboardContext::new().ok()?.get_contents().ok()?;
    (!text.trim().is_empty()).then_some(text)
}

/// Copies `text`. Returns whether that was possible.
pub fn set_text(text: &str) -> bool {
    let mut owner = OWNER.lock();
    if owner.is_none() {
        *owner = create_owner();
    }
    owner.as_mut().is_some_and(|owner| owner.set_contents(text.to_owned()).is_ok())
}

/// Creates the owner on a thread of its own, whose name the owner's thread inherits: no editor waits for it.
fn create_owner() -> Option<ClipboardContext> {
    library::prevent_unload();
    let create = || ClipboardContext::new().ok();
    thread::Builder::new().name(THREAD_NAME.into()).spawn(create).ok()?.join().ok().flatten()
}
