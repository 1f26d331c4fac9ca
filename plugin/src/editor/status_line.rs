//! The editor's status line: model, latency, load and problems of the running engine.

use egui::text::{LayoutJob, TextFormat};
use egui::{Color32, Label, Sense, Ui, vec2};
use sift_engine::inference::provider::Provider;
use sift_engine::package::speed_records::HEAVY_LOAD;
use sift_engine::{Readiness, Snapshot};

use super::accessibility;
use super::theme::{self, Severity};

/// Seconds for which a late mask is shown as a warning.
const WARNING_DURATION: f64 = 5.0;
/// Rows that a problem may fill.
const MAX_PROBLEM_ROWS: usize = 3;

/// Content of the status line.
#[derive(Debug, PartialEq, Eq)]
pub struct StatusText {
    pub severity: Severity,
    /// Error message with the remedy.
    pub problem: Option<String>,
    /// Model, latency, load and late masks.
    pub facts: String,
}

/// Describes the engine, if one runs. `other_problem` is an error of the active query or the editor;
/// `is_overloaded` means that masks came late in the last seconds.
pub fn status_text(
    engine: Option<&Snapshot>,
    other_problem: Option<String>,
    is_overloaded: bool,
    is_bypassed: bool,
) -> StatusText {
    let Some(engine) = engine else {
        let facts = "Not running: the host has not activated Sift".into();
        return StatusText { severity: Severity::Waiting, problem: None, facts };
    };
    let (latency, rate) = (engine.latency_milliseconds(), engine.sample_rate / 1000.0);
    let latency = format!("latency {latency:.1} ms at {rate} kHz");
    let model = &engine.model;
    match engine.readiness {
        Readiness::Loading => StatusText {
            severity: Severity::Waiting,
            problem: None,
            facts: format!("Loading {model}: audio passes unchanged · {latency}"),
        },
        Readiness::Failed => StatusText {
            severity: Severity::Warning,
            problem: Some(engine.problem.clone().unwrap_or_else(|| "The model could not be loaded".into())),
            facts: format!("{model} · audio passes unchanged · {latency}"),
        },
        Readiness::Ready => {
            let load = format!("separator {:.0} %", engine.load() * 100.0);
            let late = match engine.faults.missing() {
                0 => "no late masks".into(),
                1 => "1 late mask".into(),
                late => format!("{late} late masks"),
            };
            let too_slow = (f64::from(engine.load()) >= HEAVY_LOAD || is_overloaded).then(|| {
                "The separator cannot keep up, and the last mask is held. Use a larger block, close other programs, \
                 or render offline"
                    .into()
            });
            let oversized = engine.oversized_block.map(|samples| {
                format!(
                    "The host passes blocks of {samples} samples, more than the latency is for, so that masks are late. \
                     Choose larger blocks in the model menu"
                )
            });
            let invalid = (engine.faults.invalid > 0).then(|| {
                format!(
                    "The model gave {} invalid masks, for which audio passes unchanged. Choose another model, or \
                     install this one again",
                    engine.faults.invalid
                )
            });
            let active_provider = &engine.active_provider;
            let problem = engine
                .problem
                .clone()
                .or(other_problem)
                .or(oversized)
                .or(too_slow)
                .or(invalid)
                .or_else(|| engine.hearing.problem.clone())
                .or_else(|| active_provider.fallback_reason.clone());
            let on = match active_provider.provider {
                Provider::Cpu => String::new(),
                accelerator => format!(" on {accelerator}"),
            };
            let (severity, bypass) = match (&problem, is_bypassed) {
                (Some(_), _) => (Severity::Warning, ""),
                (None, true) => (Severity::Waiting, "Bypassed · "),
                (None, false) => (Severity::Good, ""),
            };
            StatusText {
                severity,
                problem,
                facts: format!("{bypass}{model}{on} · {latency} · {load} · {late}"),
            }
        }
    }
}

/// Detects late masks from their growing number.
#[derive(Default)]
pub struct OverloadIndicator {
    last_count: Option<u64>,
    /// Time of the last increase, in seconds.
    last_increase: Option<f64>,
}

impl OverloadIndicator {
    /// Records the number of `late_masks` at the time `now`, in seconds. Returns whether masks came late in the
    /// last [`WARNING_DURATION`]; those before the first call do not count.
    pub fn update(&mut self, late_masks: u64, now: f64) -> bool {
        if self.last_count.replace(late_masks).is_some_and(|last| late_masks > last) {
            self.last_increase = Some(now);
        }
        self.last_increase.is_some_and(|increase| now - increase < WARNING_DURATION)
    }
}

/// Draws the status line. Text that is cut off appears in full under the pointer.
pub fn show(ui: &mut Ui, status: &StatusText) {
    ui.horizontal_top(|ui| {
        let (dot, _) = ui.allocate_exact_size(vec2(8.0, theme::SMALL + 4.0), Sense::hover());
        ui.painter().circle_filled(dot.center(), 4.0, status.severity.color(theme::of(ui)));
        ui.vertical(|ui| {
            ui.spacing_mut().item_spacing.y = 3.0;
            // Keeps the corner free that the editor is resized with.
            ui.set_max_width(ui.available_width() - 16.0);
            if let Some(problem) = &status.problem {
                accessibility::announce(&ui.add(line(problem, theme::of(ui).warning, MAX_PROBLEM_ROWS)));
            }
            ui.add(line(&status.facts, theme::of(ui).text_weak, 1));
        });
    });
}

fn line(text: &str, color: Color32, rows: usize) -> Label {
    let format = TextFormat::simple(theme::font(theme::SMALL), color);
    let mut job = LayoutJob::single_section(text.to_owned(), format);
    job.wrap.max_rows = rows;
    Label::new(job).sense(Sense::hover())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sift_engine::inference::provider::ActiveProvider;
    use sift_engine::{HearingState, MaskFaults};

    use super::*;

    fn engine(readiness: Readiness) -> Snapshot {
        Snapshot {
            readiness,
            problem: None,
            model: "Sift default".into(),
            active_provider: ActiveProvider::default(),
            sample_rate: 48_000.0,
            latency: 2_304,
            hop: Duration::from_millis(16),
            hop_time: Duration::from_micros(6_144),
            faults: MaskFaults::default(),
            oversized_block: None,
            presence: None,
            hearing: HearingState::default(),
        }
    }

    #[test]
    fn status_without_an_engine_is_not_running() {
        let status = status_text(None, None, false, false);
        assert_eq!(status.severity, Severity::Waiting);
        assert_eq!(status.facts, "Not running: the host has not activated Sift");
    }

    #[test]
    fn status_while_loading_says_audio_passes_unchanged() {
        let status = status_text(Some(&engine(Readiness::Loading)), None, false, false);
        assert_eq!(status.severity, Severity::Waiting);
        assert_eq!(status.facts, "Loading Sift default: audio passes unchanged · latency 48.0 ms at 48 kHz");
    }

    #[test]
    fn status_names_model_latency_load_and_late_masks() {
        let status = status_text(Some(&engine(Readiness::Ready)), None, false, false);
        assert_eq!((status.severity, status.problem), (Severity::Good, None));
        assert_eq!(status.facts, "Sift default · latency 48.0 ms at 48 kHz · separator 38 % · no late masks");
    }

    #[test]
    fn status_names_the_provider_or_the_fallback_reason() {
        let on = |provider, fallback_reason: Option<&str>| {
            let active_provider =
                ActiveProvider { provider, fallback_reason: fallback_reason.map(str::to_owned) };
            let engine = Snapshot { active_provider, ..engine(Readiness::Ready) };
            status_text(Some(&engine), None, false, false)
        };
        let active = on(Provider::Cuda, None);
        assert_eq!((active.severity, active.problem), (Severity::Good, None));
        assert!(active.facts.starts_with("Sift default on CUDA · "), "{}", active.facts);
        let fallback = on(Provider::Cpu, Some("SIFT_PROVIDER selects CUDA"));
        assert_eq!(fallback.severity, Severity::Warning);
        assert_eq!(fallback.problem.as_deref(), Some("SIFT_PROVIDER selects CUDA"));
        assert!(fallback.facts.starts_with("Sift default · "), "{}", fallback.facts);
    }

    #[test]
    fn status_shows_the_bypass() {
        let status = status_text(Some(&engine(Readiness::Ready)), None, false, true);
        assert_eq!(status.severity, Severity::Waiting);
        assert!(status.facts.starts_with("Bypassed · Sift default"));
    }

    #[test]
    fn status_of_a_broken_model_shows_its_problem() {
        let problem = "separator.onnx is missing from the model. Install it again";
        let broken = Snapshot { problem: Some(problem.into()), ..engine(Readiness::Failed) };
        let status = status_text(Some(&broken), None, false, false);
        assert_eq!(status.severity, Severity::Warning);
        assert_eq!(status.problem.as_deref(), Some(problem));
        assert_eq!(status.facts, "Sift default · audio passes unchanged · latency 48.0 ms at 48 kHz");
    }

    #[test]
    fn status_of_a_failed_query_is_a_warning() {
        let status = status_text(
            Some(&engine(Readiness::Ready)),
            Some("tokenizer.json is broken".into()),
            false,
            false,
        );
        assert_eq!(status.severity, Severity::Warning);
        assert_eq!(status.problem.as_deref(), Some("tokenizer.json is broken"));
    }

    #[test]
    fn status_of_an_overloaded_separator_is_a_warning() {
        let overloaded = Snapshot {
            hop_time: Duration::from_micros(20_800),
            faults: MaskFaults { late: 40, dropped: 1, invalid: 0 },
            ..engine(Readiness::Ready)
        };
        let status = status_text(Some(&overloaded), None, false, false);
        assert_eq!(status.severity, Severity::Warning);
        assert!(status.facts.ends_with("separator 130 % · 41 late masks"));
    }

    #[test]
    fn block_larger_than_chosen_is_a_warning_with_the_remedy() {
        let oversized = Snapshot { oversized_block: Some(8_192), ..engine(Readiness::Ready) };
        let status = status_text(Some(&oversized), None, true, false);
        assert_eq!(status.severity, Severity::Warning);
        let problem = status.problem.unwrap();
        assert!(problem.contains("8192 samples") && problem.contains("model menu"), "{problem}");
    }

    #[test]
    fn invalid_masks_are_a_warning_that_blames_the_model() {
        let faults = MaskFaults { invalid: 3, ..MaskFaults::default() };
        let status = status_text(Some(&Snapshot { faults, ..engine(Readiness::Ready) }), None, false, false);
        assert_eq!(status.severity, Severity::Warning);
        let problem = status.problem.unwrap();
        assert!(problem.contains("3 invalid masks") && problem.contains("another model"), "{problem}");
    }

    #[test]
    fn broken_listener_is_a_warning_that_names_it() {
        let problem = "models/mine/listener.onnx: is missing. Install the package again";
        let hearing = HearingState { problem: Some(problem.into()), ..HearingState::default() };
        let status = status_text(Some(&Snapshot { hearing, ..engine(Readiness::Ready) }), None, false, false);
        assert_eq!(status.severity, Severity::Warning);
        assert_eq!(status.problem.as_deref(), Some(problem));
    }

    #[test]
    fn late_masks_are_a_warning_for_five_seconds() {
        let mut overload = OverloadIndicator::default();
        assert!(!overload.update(3, 0.0), "they came before the first update");
        assert!(!overload.update(3, 1.0));
        assert!(overload.update(4, 2.0));
        assert!(overload.update(4, 6.0));
        assert!(!overload.update(4, 7.1));
    }
}
