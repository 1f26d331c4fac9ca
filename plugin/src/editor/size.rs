//! The editor's size: its limits, the saved one, and what the screen has room for.

use egui::{Vec2, vec2};
use nice_plug::editor::dpi::PhysicalSize;

use crate::params::SiftParams;

/// The smallest size of the editor, in logical pixels.
pub const MIN_SIZE: Vec2 = vec2(560.0, 360.0);
/// The largest size that the preferences may request, in logical pixels.
pub const MAX_SIZE: Vec2 = vec2(4096.0, 4096.0);
/// Height of the title bar around the editor, in logical pixels.
const TITLE_BAR_HEIGHT: f32 = 32.0;

/// The screen that a window is about to open on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Screen {
    /// The part that is free for windows, in physical pixels.
    pub work_area: PhysicalSize<u32>,
    /// Physical pixels per logical pixel, if the user has set it. It takes precedence over the host's.
    pub scale: Option<f64>,
}

/// `size` in logical pixels, or the part of it that `work_area` has room for at `scale`.
pub fn fit(size: Vec2, work_area: PhysicalSize<u32>, scale: f64) -> Vec2 {
    let area = vec2(work_area.width as f32, work_area.height as f32) / scale as f32;
    let room = area - vec2(0.0, TITLE_BAR_HEIGHT);
    size.min(room.floor()).max(Vec2::splat(1.0))
}

/// Whether `size` is another one than the editor gives itself, `fitted`; in logical pixels.
///
/// A size in physical pixels differs from the logical one by up to a pixel.
pub fn is_choice(size: Vec2, fitted: Vec2) -> bool {
    let difference = (size - fitted).abs();
    difference.x > 1.0 || difference.y > 1.0
}

/// The size in which the editor was left, in logical pixels, within its limits.
pub fn saved_size(params: &SiftParams) -> Vec2 {
    let (width, height) = params.appearance.read().size;
    vec2(width as f32, height as f32).clamp(MIN_SIZE, MAX_SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: PhysicalSize<u32> = PhysicalSize::new(1366, 768);

    #[test]
    fn editor_that_fits_keeps_its_size() {
        let size = vec2(720.0, 420.0);
        assert_eq!(fit(size, SMALL, 1.0), size);
        assert_eq!(fit(size, PhysicalSize::new(3840, 2160), 2.0), size);
    }

    #[test]
    fn editor_is_never_larger_than_the_screen() {
        for scale in [1.0, 1.25, 1.5, 1.75, 2.0, 3.0] {
            for size in [vec2(720.0, 420.0), vec2(4096.0, 4096.0), vec2(560.0, 4096.0)] {
                let fitted = fit(size, SMALL, scale);
                let physical = fitted * scale as f32;
                assert!(physical.x <= 1366.0, "{size:?} at {scale}: {physical:?}");
                assert!(
                    physical.y <= 768.0 - TITLE_BAR_HEIGHT * scale as f32,
                    "{size:?} at {scale}: {physical:?}"
                );
                assert!(fitted.x <= size.x && fitted.y <= size.y);
            }
        }
    }

    #[test]
    fn size_that_the_screen_imposes_is_no_choice() {
        let fitted = fit(vec2(720.0, 420.0), PhysicalSize::new(600, 400), 1.25);
        assert!(!is_choice(fitted, fitted));
        assert!(!is_choice(fitted + vec2(0.8, -0.8), fitted), "rounded to physical pixels");
        assert!(is_choice(fitted + vec2(0.0, 2.0), fitted));
    }

    #[test]
    fn editor_on_a_tiny_screen_keeps_a_pixel() {
        assert_eq!(fit(vec2(720.0, 420.0), PhysicalSize::new(0, 0), 2.0), vec2(1.0, 1.0));
    }
}
