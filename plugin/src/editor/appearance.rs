//! The editor's size, theme and spectrogram view. They belong to the machine, not to a project: a new instance opens as the
//! last one was left.

use std::path::PathBuf;

use sift_engine::user::preferences::{Preferences, SpectrogramView, ThemeChoice};

/// Width and height of the first editor, in logical pixels.
pub const DEFAULT_EDITOR_SIZE: (u32, u32) = (760, 620);

/// How the editor of an instance looks.
#[derive(Clone, Debug, PartialEq)]
pub struct Appearance {
    /// Width and height, in logical pixels.
    pub size: (u32, u32),
    /// The size that the preferences have, or that new ones stand for.
    stored_size: (u32, u32),
    pub theme: ThemeChoice,
    pub picture: SpectrogramView,
    /// The preferences, in which it is stored; `None` for nowhere.
    file: Option<PathBuf>,
}

impl Default for Appearance {
    /// The first appearance, which is not stored.
    fn default() -> Self {
        let Preferences { theme, picture, .. } = Preferences::default();
        Self { size: DEFAULT_EDITOR_SIZE, stored_size: DEFAULT_EDITOR_SIZE, theme, picture, file: None }
    }
}

impl Appearance {
    /// The one in which the last editor was left by the preferences in `file`; the first one if they have errors.
    pub fn stored_in(file: Option<PathBuf>) -> Self {
        let read = file.as_deref().and_then(|file| Preferences::read(file).ok()).unwrap_or_default();
        let size = read.window.map_or(DEFAULT_EDITOR_SIZE, |[width, height]| (width, height));
        Self { size, stored_size: size, theme: read.theme, picture: read.picture, file }
    }

    /// Takes the theme that an editor of another instance may have stored.
    ///
    /// # Errors
    /// If the preferences cannot be read, or have errors.
    pub fn update_theme(&mut self) -> Result<(), String> {
        if let Some(file) = &self.file {
            self.theme = Preferences::read(file)?.theme;
        }
        Ok(())
    }

    /// Sets and stores the theme.
    ///
    /// # Errors
    /// If the preferences cannot be changed.
    pub fn set_theme(&mut self, theme: ThemeChoice) -> Result<(), String> {
        self.theme = theme;
        self.change(|preferences| preferences.theme = theme)
    }

    /// Sets and stores the spectrogram view, as [`set_theme`](Self::set_theme).
    pub fn set_picture(&mut self, picture: SpectrogramView) -> Result<(), String> {
        self.picture = picture;
        self.change(|preferences| preferences.picture = picture)
    }

    /// Stores the size if it has changed, as [`set_theme`](Self::set_theme).
    pub fn store_size(&mut self) -> Result<(), String> {
        if self.size == self.stored_size {
            return Ok(());
        }
        let (width, height) = self.size;
        self.stored_size = self.size;
        self.change(|preferences| preferences.window = Some([width, height]))
    }

    /// Changes the preferences only: those of other instances may have changed meanwhile.
    fn change(&self, change: impl FnOnce(&mut Preferences)) -> Result<(), String> {
        self.file.as_deref().map_or(Ok(()), |file| Preferences::change(file, change))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_instance_opens_as_the_last_one_was_left() {
        let folder = tempfile::tempdir().unwrap();
        let file = Some(folder.path().join("preferences.toml"));
        let mut first = Appearance::stored_in(file.clone());
        assert_eq!(first, Appearance { file: file.clone(), ..Appearance::default() });
        first.size = (900, 700);
        first.store_size().unwrap();
        first.set_theme(ThemeChoice::Light).unwrap();
        first.set_picture(SpectrogramView::Output).unwrap();
        assert_eq!(Appearance::stored_in(file), first);
    }

    #[test]
    fn size_that_was_not_changed_is_not_stored() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("preferences.toml");
        let mut first = Appearance::stored_in(Some(file.clone()));
        first.store_size().unwrap();
        assert!(!file.exists());
        Appearance { size: (900, 700), ..first.clone() }.store_size().unwrap();
        first.store_size().unwrap();
        assert_eq!(Appearance::stored_in(Some(file)).size, (900, 700), "by the instance that was resized");
    }

    #[test]
    fn theme_of_another_instance_is_kept_and_taken() {
        let folder = tempfile::tempdir().unwrap();
        let file = Some(folder.path().join("preferences.toml"));
        let mut first = Appearance::stored_in(file.clone());
        let mut other = first.clone();
        other.set_theme(ThemeChoice::Light).unwrap();
        first.size = (900, 700);
        first.store_size().unwrap();
        assert_eq!(Appearance::stored_in(file.clone()).theme, ThemeChoice::Light);
        first.update_theme().unwrap();
        assert_eq!(first.theme, ThemeChoice::Light);
    }

    #[test]
    fn preferences_with_errors_are_told_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("preferences.toml");
        std::fs::write(&file, "window = \"large\"").unwrap();
        let mut appearance = Appearance::stored_in(Some(file.clone()));
        assert_eq!(appearance.size, DEFAULT_EDITOR_SIZE);
        appearance.size = (900, 700);
        assert!(appearance.update_theme().unwrap_err().contains("window"));
        assert!(appearance.store_size().is_err());
        assert_eq!(std::fs::read_to_string(file).unwrap(), "window = \"large\"");
    }
}
