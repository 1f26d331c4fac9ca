//! Letters that egui's own fonts lack, Hangul first of all, from the fonts of the system.
//!
//! Nothing is looked for until such a letter is to be drawn; then the system's fonts are listed
//! once a process, on a thread of its own, and until that is done the letter is a box.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use egui::epaint::text::{FallbackRequest, FontInsert, FontProvider};
use egui::{Context, FontData};
use parking_lot::Mutex;
use skrifa::MetadataProvider;

/// Families that are asked first, in this order: they are made for reading on a screen, and go
/// with each other.
const PREFERRED: [&str; 12] = [
    "Noto Sans CJK KR",
    "Noto Sans KR",
    "Apple SD Gothic Neo",
    "Malgun Gothic",
    "NanumGothic",
    "Noto Sans CJK JP",
    "Hiragino Sans",
    "Yu Gothic UI",
    "PingFang SC",
    "Microsoft YaHei",
    "Noto Sans",
    "Segoe UI",
];

/// The fonts of one window.
#[derive(Default)]
pub struct Fonts {
    missing: Arc<Missing>,
    listing: Option<JoinHandle<()>>,
}

impl Fonts {
    pub fn attach(&self, ctx: &Context) {
        match SYSTEM.get() {
            Some(_) => ctx.add_font_provider(Arc::new(Installed)),
            None => ctx.add_font_provider(self.missing.clone()),
        }
    }

    /// Lists the system's fonts if a letter was missing. To be called once a frame.
    pub fn update(&mut self, ctx: &Context) {
        if !self.missing.0.swap(false, Ordering::Relaxed) {
            return;
        }
        let ctx = ctx.clone();
        let list = move || {
            SYSTEM.get_or_init(System::list);
            ctx.set_font_providers(vec![Arc::new(Installed)]);
        };
        // Without the thread, letters that are missing stay boxes.
        self.listing = thread::Builder::new().name("sift fonts".into()).spawn(list).ok();
    }
}

/// The plugin's code may be unloaded when the window's owner is gone: no thread may be left in it.
impl Drop for Fonts {
    fn drop(&mut self) {
        if let Some(listing) = self.listing.take() {
            let _ = listing.join();
        }
    }
}

/// Has no fonts, and notes that one was wanted.
#[derive(Default)]
struct Missing(AtomicBool);

impl FontProvider for Missing {
    fn font_for(&self, _: &FallbackRequest<'_>) -> Option<FontInsert> {
        self.0.store(true, Ordering::Relaxed);
        None
    }
}

/// The fonts installed on the system, once [`SYSTEM`] lists them.
struct Installed;

impl FontProvider for Installed {
    fn font_for(&self, request: &FallbackRequest<'_>) -> Option<FontInsert> {
        let (name, data) = SYSTEM.get()?.font_with(request.cluster.chars().next()?)?;
        Some(FontInsert::new(&name, data, Vec::new()))
    }
}

static SYSTEM: OnceLock<System> = OnceLock::new();

struct System {
    database: fontdb::Database,
    /// Files read so far, shared by all windows of the process.
    read: Mutex<HashMap<fontdb::ID, FontData>>,
}

impl System {
    fn list() -> Self {
        let mut database = fontdb::Database::new();
        database.load_system_fonts();
        Self { database, read: Mutex::default() }
    }

    fn font_with(&self, letter: char) -> Option<(String, FontData)> {
        let preferred = PREFERRED.iter().filter_map(|name| {
            let families = &[fontdb::Family::Name(name)];
            self.database.query(&fontdb::Query { families, ..Default::default() })
        });
        let id = preferred.chain(self.upright()).find(|id| self.has(*id, letter))?;
        let face = self.database.face(id)?;
        let data = match self.read.lock().entry(id) {
            Entry::Occupied(read) => read.get().clone(),
            Entry::Vacant(unread) => {
                let bytes = self.database.with_face_data(id, |bytes, _| bytes.to_vec())?;
                let mut data = FontData::from_owned(bytes);
                data.index = face.index;
                unread.insert(data).clone()
            }
        };
        Some((face.post_script_name.clone(), data))
    }

    fn upright(&self) -> impl Iterator<Item = fontdb::ID> {
        let regular = |face: &&fontdb::FaceInfo| {
            face.style == fontdb::Style::Normal && face.weight == fontdb::Weight::NORMAL
        };
        self.database.faces().filter(regular).map(|face| face.id)
    }

    /// Whether the face draws `letter`, and by an outline: pictures in a font are not drawn.
    fn has(&self, id: fontdb::ID, letter: char) -> bool {
        let has_outline = |bytes: &[u8], index| {
            let font = skrifa::FontRef::from_index(bytes, index).ok()?;
            font.outline_glyphs().get(font.charmap().map(letter)?).map(|_| ())
        };
        self.database.with_face_data(id, has_outline).flatten().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_letters_that_egui_lacks_have_the_system_asked() {
        let fonts = Fonts::default();
        let ctx = Context::default();
        fonts.attach(&ctx);
        let asked_for = |text: &str| {
            let mut output = ctx.run_ui(egui::RawInput::default(), |ui| drop(ui.label(text)));
            output.textures_delta.clear();
            fonts.missing.0.load(Ordering::Relaxed)
        };
        assert!(!asked_for("a guitar, Ελληνικά, 🎸"));
        assert!(asked_for("기타 소리"));
    }
}
