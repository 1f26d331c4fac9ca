//! The size that the editor requests from the host.

use egui::{Vec2, ViewportCommand};

/// A request for a size, repeated because hosts ignore it while the editor opens.
pub struct ResizeRequest {
    /// Logical pixels.
    size: Vec2,
    attempts_left: u32,
    /// Time of the next attempt, in seconds.
    next_attempt: f64,
}

impl ResizeRequest {
    const MAX_ATTEMPTS: u32 = 10;
    /// Seconds between two attempts.
    const ATTEMPT_INTERVAL: f64 = 0.2;

    pub fn new(size: Vec2) -> Self {
        Self { size, attempts_left: Self::MAX_ATTEMPTS, next_attempt: 0.0 }
    }

    /// Sends the request to the host when an attempt is due. Returns whether the request is still pending.
    pub fn update(&mut self, ctx: &egui::Context) -> bool {
        let now = ctx.input(|input| input.time);
        let difference = (self.size - ctx.content_rect().size()).abs().max_elem();
        if difference < 1.0 || self.attempts_left == 0 {
            return false;
        }
        if now >= self.next_attempt {
            self.next_attempt = now + Self::ATTEMPT_INTERVAL;
            self.attempts_left -= 1;
            ctx.send_viewport_cmd(ViewportCommand::InnerSize(self.size));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use egui::vec2;

    use super::*;
    use crate::editor::IDLE_INTERVAL;

    /// Shows `frames` frames in a window of `size`. Returns how often `request` was sent, and whether
    /// it is still pending.
    fn attempts(request: &mut ResizeRequest, size: Vec2, frames: u32) -> (usize, bool) {
        let ctx = egui::Context::default();
        let mut sent = 0;
        let mut is_pending = true;
        for frame in 0..frames {
            let screen_rect = Some(egui::Rect::from_min_size(egui::Pos2::ZERO, size));
            let time = Some(7.0 + f64::from(frame) * IDLE_INTERVAL.as_secs_f64());
            let input = egui::RawInput { screen_rect, time, ..Default::default() };
            let mut output = ctx.run_ui(input, |ui| is_pending = is_pending && request.update(ui.ctx()));
            output.textures_delta.clear();
            let commands = &output.viewport_output[&egui::ViewportId::ROOT].commands;
            sent += commands.iter().filter(|sent| matches!(sent, ViewportCommand::InnerSize(_))).count();
        }
        (sent, is_pending)
    }

    #[test]
    fn resize_request_ends_when_the_host_has_resized() {
        let mut request = ResizeRequest::new(vec2(900.0, 500.0));
        assert_eq!(attempts(&mut request, vec2(720.0, 420.0), 2), (1, true));
        assert_eq!(attempts(&mut request, vec2(900.0, 500.0), 2), (0, false));
    }

    #[test]
    fn resize_request_ends_after_its_last_attempt() {
        let mut request = ResizeRequest::new(vec2(900.0, 500.0));
        let max = ResizeRequest::MAX_ATTEMPTS as usize;
        assert_eq!(attempts(&mut request, vec2(720.0, 420.0), 1_000), (max, false));
    }
}
