//! The system's clipboard.

use copypasta::ClipboardProvider;

/// The clipboard's text, unless it is blank or unavailable.
///
/// The toolkit's own clipboard does not suffice: egui-baseview reads it only when Ctrl+V (Cmd+V) is pressed.
pub fn text() -> Option<String> {
    let text = copypasta::ClipboardContext::new().ok()?.get_contents().ok()?;
    (!text.trim().is_empty()).then_some(text)
}
