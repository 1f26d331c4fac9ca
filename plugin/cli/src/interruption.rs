//! Deletes unfinished files when a signal ends the program.

use std::fs;
use std::io;
use std::path::PathBuf;

use parking_lot::Mutex;
use tempfile::NamedTempFile;

/// The paths of all files that are being written.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Lists a file as unfinished until it is dropped.
pub struct UnfinishedEntry(PathBuf);

/// Creates a file by `create`. A signal that ends the program deletes it, as long as the entry exists.
pub fn create_unfinished(
    create: impl FnOnce() -> io::Result<NamedTempFile>,
) -> io::Result<(NamedTempFile, UnfinishedEntry)> {
    // Locked meanwhile: no signal comes between the creation and the entry.
    let mut unfinished = UNFINISHED.lock();
    let file = create()?;
    unfinished.push(file.path().to_owned());
    let entry = UnfinishedEntry(file.path().to_owned());
    Ok((file, entry))
}

impl Drop for UnfinishedEntry {
    fn drop(&mut self) {
        UNFINISHED.lock().retain(|path| *path != self.0);
    }
}

/// Deletes the unfinished files, then calls `end`, which ends the program. No file is created meanwhile.
fn delete_unfinished_then(end: impl FnOnce()) {
    let unfinished = UNFINISHED.lock();
    for path in unfinished.iter() {
        // A file may have been moved to its target just now.
        let _ = fs::remove_file(path);
    }
    end();
}

/// Makes signals that end the program delete unfinished files first. Signals that are ignored, as under `nohup`, stay
/// ignored.
///
/// A write beyond the limit for the size of files (`ulimit -f`) becomes an error instead of a signal.
///
/// # Errors
/// If the system does not allow it.
#[cfg(unix)]
pub fn delete_unfinished_on_signals() -> io::Result<()> {
    use std::sync::Arc;

    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGXCPU, SIGXFSZ};
    use signal_hook::iterator::Signals;
    use signal_hook::low_level::emulate_default_handler;

    let ending = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGXCPU];
    let mut signals = Signals::new(ending.into_iter().filter(|&signal| !is_ignored(signal)))?;
    signal_hook::flag::register(SIGXFSZ, Arc::default())?;
    std::thread::Builder::new().name("sift signals".into()).spawn(move || {
        for signal in signals.forever() {
            delete_unfinished_then(|| {
                // Ends the program with the exit status of the signal.
                let _ = emulate_default_handler(signal);
            });
        }
    })?;
    Ok(())
}

#[cfg(unix)]
fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: all zero bytes are a valid `sigaction`. Without a new action, the call only writes the present one.
    unsafe {
        let mut present: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &mut present) == 0 && present.sa_sigaction == libc::SIG_IGN
    }
}

/// Makes Ctrl-C delete unfinished files before it ends the program.
///
/// # Errors
/// If the system does not allow it.
#[cfg(windows)]
pub fn delete_unfinished_on_signals() -> io::Result<()> {
    /// Exit status of a program that Ctrl-C ended (STATUS_CONTROL_C_EXIT).
    const CONTROL_C_EXIT: i32 = 0xC000_013A_u32 as i32;
    ctrlc::set_handler(|| delete_unfinished_then(|| std::process::exit(CONTROL_C_EXIT)))
        .map_err(io::Error::other)
}
