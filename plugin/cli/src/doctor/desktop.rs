//! What the plugin's window needs of a Linux desktop. The command line itself needs none of it.

use std::path::Path;

/// Libraries that the window opens, and the packages that have them, by Debian's names.
const WINDOW_LIBRARIES: [(&str, &str); 6] = [
    ("libGL.so.1", "libgl1"),
    ("libX11.so.6", "libx11-6"),
    ("libX11-xcb.so.1", "libx11-xcb1"),
    ("libxcb.so.1", "libxcb1"),
    ("libxkbcommon.so.0", "libxkbcommon0"),
    ("libxkbcommon-x11.so.0", "libxkbcommon-x11-0"),
];

/// Tells whether the window can open.
pub fn describe_window() -> String {
    // SAFETY: these are libraries of the system, whose initialisers only prepare their own state.
    describe_libraries(|name| unsafe { libloading::Library::new(name) }.is_ok())
}

/// Tells whether a screen reader reaches the window, which is by the session bus.
pub fn describe_screen_readers() -> &'static str {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let has_socket =
        || variable("XDG_RUNTIME_DIR").is_some_and(|folder| Path::new(&folder).join("bus").exists());
    describe_session_bus(variable("DBUS_SESSION_BUS_ADDRESS").is_some() || has_socket())
}

fn describe_libraries(is_there: impl Fn(&str) -> bool) -> String {
    let missing: Vec<_> = WINDOW_LIBRARIES.into_iter().filter(|(library, _)| !is_there(library)).collect();
    if missing.is_empty() {
        return "the libraries of the plugin's window are there".into();
    }
    let (libraries, packages): (Vec<_>, Vec<_>) = missing.into_iter().unzip();
    format!(
        "the plugin's window cannot open, as {} cannot be loaded; the sound does not depend on it. Install {} (the names \
         are Debian's)",
        libraries.join(", "),
        packages.join(", ")
    )
}

fn describe_session_bus(is_there: bool) -> &'static str {
    if is_there {
        "can reach the plugin's window by the session bus"
    } else {
        "cannot reach the plugin's window, as there is no session bus. Log in to a desktop, or run the host by dbus-run-session"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_libraries_of_the_window_are_told_with_packages() {
        assert!(!describe_libraries(|_| true).contains("cannot"));
        let text = describe_libraries(|name| name != "libGL.so.1" && name != "libxkbcommon.so.0");
        assert!(text.contains("libGL.so.1, libxkbcommon.so.0 cannot be loaded"), "{text}");
        assert!(text.contains("Install libgl1, libxkbcommon0"), "{text}");
    }

    #[test]
    fn missing_session_bus_is_told_with_a_remedy() {
        assert!(describe_session_bus(true).starts_with("can reach"));
        assert!(describe_session_bus(false).contains("dbus-run-session"));
    }
}
