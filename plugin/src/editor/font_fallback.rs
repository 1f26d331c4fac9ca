//! Characters that egui's own fonts lack, such as Hangul, from the system's fonts.
//!
//! The first such character starts a thread that lists the system's fonts, once per process. Until the list is
//! complete, the character is drawn as a box.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use egui::epaint::text::{FallbackRequest, FontInsert, FontProvider};
use egui::{Context, FontData};
use parking_lot::Mutex;
use skrifa::MetadataProvider;

/// Font families to try first, in this order: made for screens, and similar in style.
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

/// The fallback fonts of one editor.
#[derive(Default)]
pub struct FontFallback {
    missing: Arc<MissingDetector>,
    listing: Option<JoinHandle<()>>,
}

impl FontFallback {
    /// Registers the fallback with `ctx`.
    pub fn attach(&self, ctx: &Context) {
        match SYSTEM_FONTS.get() {
            Some(_) => ctx.add_font_provider(Arc::new(InstalledFonts)),
            None => ctx.add_font_provider(self.missing.clone()),
        }
    }

    /// Lists the system's fonts if a character was missing. Called once per frame.
    pub fn update(&mut self, ctx: &Context) {
        if !self.missing.0.swap(false, Ordering::Relaxed) {
            return;
        }
        let ctx = ctx.clone();
        let list = move || {
            SYSTEM_FONTS.get_or_init(SystemFonts::list);
            ctx.set_font_providers(vec![Arc::new(InstalledFonts)]);
        };
        // Without the thread, missing characters stay boxes.
        self.listing = thread::Builder::new().name("sift fonts".into()).spawn(list).ok();
    }
}

/// Waits for the thread, because the host may unload the plugin's code after the editor is gone.
impl Drop for FontFallback {
    fn drop(&mut self) {
        if let Some(listing) = self.listing.take() {
            let _ = listing.join();
        }
    }
}

/// A provider without fonts that records whether a character was missing.
#[derive(Default)]
struct MissingDetector(AtomicBool);

impl FontProvider for MissingDetector {
    fn font_for(&self, _: &FallbackRequest<'_>) -> Option<FontInsert> {
        self.0.store(true, Ordering::Relaxed);
        None
    }
}

/// A provider of the fonts in [`SYSTEM_FONTS`].
struct InstalledFonts;

impl FontProvider for InstalledFonts {
    fn font_for(&self, request: &FallbackRequest<'_>) -> Option<FontInsert> {
        let (name, data) = SYSTEM_FONTS.get()?.font_with(request.cluster.chars().next()?)?;
        Some(FontInsert::new(&name, data, Vec::new()))
    }
}

static SYSTEM_FONTS: OnceLock<SystemFonts> = OnceLock::new();

/// The fonts of the system.
struct SystemFonts {
    database: fontdb::Database,
    /// Font files read so far, shared by all editors of the process.
    loaded: Mutex<HashMap<fontdb::ID, FontData>>,
}

impl SystemFonts {
    fn list() -> Self {
        let mut database = fontdb::Database::new();
        database.load_system_fonts();
        Self { database, loaded: Mutex::default() }
    }

    /// Name and data of a font that can draw `character`.
    fn font_with(&self, character: char) -> Option<(String, FontData)> {
        let preferred = PREFERRED.iter().filter_map(|name| {
            let families = &[fontdb::Family::Name(name)];
            self.database.query(&fontdb::Query { families, ..Default::default() })
        });
        let id = preferred.chain(self.regular()).find(|id| self.has(*id, character))?;
        let face = self.database.face(id)?;
        let data = match self.loaded.lock().entry(id) {
            Entry::Occupied(loaded) => loaded.get().clone(),
            Entry::Vacant(entry) => {
                let bytes = self.database.with_face_data(id, |bytes, _| bytes.to_vec())?;
                let mut data = FontData::from_owned(bytes);
                data.index = face.index;
                entry.insert(data).clone()
            }
        };
        Some((face.post_script_name.clone(), data))
    }

    /// All upright faces of normal weight.
    fn regular(&self) -> impl Iterator<Item = fontdb::ID> {
        let regular = |face: &&fontdb::FaceInfo| {
            face.style == fontdb::Style::Normal && face.weight == fontdb::Weight::NORMAL
        };
        self.database.faces().filter(regular).map(|face| face.id)
    }

    /// Whether the face has an outline for `character`; egui does not draw bitmap glyphs.
    fn has(&self, id: fontdb::ID, character: char) -> bool {
        let has_outline = |bytes: &[u8], index| {
            let font = skrifa::FontRef::from_index(bytes, index).ok()?;
            font.outline_glyphs().get(font.charmap().map(character)?).map(|_| ())
        };
        self.database.with_face_data(id, has_outline).flatten().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fallback_is_used_only_for_characters_egui_lacks() {
        let fonts = FontFallback::default();
        let ctx = Context::default();
        fonts.attach(&ctx);
        let is_missing = |text: &str| {
            let mut output = ctx.run_ui(egui::RawInput::default(), |ui| drop(ui.label(text)));
            output.textures_delta.clear();
            fonts.missing.0.load(Ordering::Relaxed)
        };
        assert!(!is_missing("a guitar, Ελληνικά, 🎸"));
        assert!(is_missing("기타 소리"));
    }
}
