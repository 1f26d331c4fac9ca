//! The line at the bottom, which always tells the truth.

use egui::text::{LayoutJob, TextFormat};
use egui::{Color32, Label, Sense, Ui, vec2};
use sift_engine::Readiness;
use sift_engine::inference::provider::Provider;
use sift_engine::package::speed_records::HEAVY_LOAD;

use super::theme::{self, Tone};
use crate::live::Snapshot;

/// Seconds that a late parcel stays a warning.
const FRESH: f64 = 5.0;
const MOST_ROWS: usize = 3;

/// What the line says.
#[derive(Debug, PartialEq, Eq)]
pub struct Report {
    pub tone: Tone,
    /// What is wrong, with the remedy.
    pub problem: Option<String>,
    pub facts: String,
}

/// The report on the engine, if one runs. `query_problem` is why the active query could not be
/// encoded; `falling_behind` says that parcels came late in the last seconds.
pub fn report(
    engine: Option<&Snapshot>,
    query_problem: Option<String>,
    falling_behind: bool,
    bypassed: bool,
) -> Report {
    let Some(engine) = engine else {
        let facts = "Not running: the host has not activated Sift".into();
        return Report { tone: Tone::Waiting, problem: None, facts };
    };
    let (latency, rate) = (engine.latency_milliseconds(), engine.sample_rate / 1000.0);
    let latency = format!("latency {latency:.1} ms at {rate} kHz");
    let model = &engine.model;
    match engine.readiness {
        Readiness::Loading => Report {
            tone: Tone::Waiting,
            problem: None,
            facts: format!("Loading the model {model}: sound passes unchanged · {latency}"),
        },
        Readiness::Failed => Report {
            tone: Tone::Warning,
            problem: Some(engine.problem.clone().unwrap_or_else(|| "The model could not be loaded".into())),
            facts: format!("{model} · sound passes unchanged · {latency}"),
        },
        Readiness::Ready => {
            let load = format!("separator {:.0} %", engine.load * 100.0);
            let late = match engine.late {
                0 => "no late parcels".into(),
                1 => "1 late parcel".into(),
                late => format!("{late} late parcels"),
            };
            let too_slow = (f64::from(engine.load) >= HEAVY_LOAD || falling_behind).then(|| {
                "The separator does not keep up, and its mask is held. Use a larger block, free this computer's \
                 processor, or render offline"
                    .into()
            });
            let placement = &engine.placement;
            let problem =
                engine.problem.clone().or(query_problem).or(too_slow).or_else(|| placement.remark.clone());
            let on = match placement.provider {
                Provider::Cpu => String::new(),
                accelerator => format!(" on {accelerator}"),
            };
            let (tone, bypass) = match (&problem, bypassed) {
                (Some(_), _) => (Tone::Warning, ""),
                (None, true) => (Tone::Waiting, "Bypassed · "),
                (None, false) => (Tone::Good, ""),
            };
            Report { tone, problem, facts: format!("{bypass}{model}{on} · {latency} · {load} · {late}") }
        }
    }
}

/// Remembers when parcels came late.
#[derive(Default)]
pub struct Lateness {
    seen: Option<u64>,
    /// When the number grew last, in seconds.
    grew: Option<f64>,
}

impl Lateness {
    /// Whether parcels came late in the seconds before `now`. What came late before the first
    /// look is past.
    pub fn is_fresh(&mut self, late: u64, now: f64) -> bool {
        if self.seen.replace(late).is_some_and(|seen| late > seen) {
            self.grew = Some(now);
        }
        self.grew.is_some_and(|grew| now - grew < FRESH)
    }
}

/// Draws the report; what is too long for its rows shows whole under the pointer.
pub fn status(ui: &mut Ui, report: &Report) {
    ui.horizontal_top(|ui| {
        let (dot, _) = ui.allocate_exact_size(vec2(8.0, theme::SMALL + 4.0), Sense::hover());
        ui.painter().circle_filled(dot.center(), 4.0, report.tone.color(theme::of(ui)));
        ui.vertical(|ui| {
            ui.spacing_mut().item_spacing.y = 3.0;
            // The window's corner, by which it is resized, stays free.
            ui.set_max_width(ui.available_width() - 16.0);
            if let Some(problem) = &report.problem {
                ui.add(line(problem, theme::of(ui).warning, MOST_ROWS));
            }
            ui.add(line(&report.facts, theme::of(ui).text_weak, 1));
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
    use sift_engine::inference::provider::Placement;

    use super::*;

    fn engine(readiness: Readiness) -> Snapshot {
        Snapshot {
            readiness,
            problem: None,
            model: "Sift default".into(),
            placement: Placement::default(),
            sample_rate: 48_000.0,
            latency: 2_304,
            load: 0.384,
            late: 0,
            presence: None,
        }
    }

    #[test]
    fn without_an_engine_nothing_runs() {
        let report = report(None, None, false, false);
        assert_eq!(report.tone, Tone::Waiting);
        assert_eq!(report.facts, "Not running: the host has not activated Sift");
    }

    #[test]
    fn a_model_being_loaded_lets_the_sound_pass() {
        let report = report(Some(&engine(Readiness::Loading)), None, false, false);
        assert_eq!(report.tone, Tone::Waiting);
        assert_eq!(
            report.facts,
            "Loading the model Sift default: sound passes unchanged · latency 48.0 ms at 48 kHz"
        );
    }

    #[test]
    fn a_running_engine_names_model_latency_load_and_late_parcels() {
        let report = report(Some(&engine(Readiness::Ready)), None, false, false);
        assert_eq!((report.tone, report.problem), (Tone::Good, None));
        assert_eq!(
            report.facts,
            "Sift default · latency 48.0 ms at 48 kHz · separator 38 % · no late parcels"
        );
    }

    #[test]
    fn a_provider_that_was_chosen_is_named_or_missed() {
        let on = |provider, remark: Option<&str>| {
            let placement = Placement { provider, remark: remark.map(str::to_owned) };
            let engine = Snapshot { placement, ..engine(Readiness::Ready) };
            report(Some(&engine), None, false, false)
        };
        let found = on(Provider::Cuda, None);
        assert_eq!((found.tone, found.problem), (Tone::Good, None));
        assert!(found.facts.starts_with("Sift default on CUDA · "), "{}", found.facts);
        let missed = on(Provider::Cpu, Some("SIFT_PROVIDER asks for CUDA"));
        assert_eq!(missed.tone, Tone::Warning);
        assert_eq!(missed.problem.as_deref(), Some("SIFT_PROVIDER asks for CUDA"));
        assert!(missed.facts.starts_with("Sift default · "), "{}", missed.facts);
    }

    #[test]
    fn a_bypass_is_not_passed_over() {
        let report = report(Some(&engine(Readiness::Ready)), None, false, true);
        assert_eq!(report.tone, Tone::Waiting);
        assert!(report.facts.starts_with("Bypassed · Sift default"));
    }

    #[test]
    fn a_broken_model_is_named_with_its_remedy() {
        let problem = "separator.onnx is missing from the model. Install it again";
        let broken = Snapshot { problem: Some(problem.into()), ..engine(Readiness::Failed) };
        let report = report(Some(&broken), None, false, false);
        assert_eq!(report.tone, Tone::Warning);
        assert_eq!(report.problem.as_deref(), Some(problem));
        assert_eq!(report.facts, "Sift default · sound passes unchanged · latency 48.0 ms at 48 kHz");
    }

    #[test]
    fn words_that_could_not_be_encoded_are_a_warning() {
        let report =
            report(Some(&engine(Readiness::Ready)), Some("tokenizer.json is broken".into()), false, false);
        assert_eq!(report.tone, Tone::Warning);
        assert_eq!(report.problem.as_deref(), Some("tokenizer.json is broken"));
    }

    #[test]
    fn a_separator_that_does_not_keep_up_is_a_warning() {
        let overloaded = Snapshot { load: 1.3, late: 41, ..engine(Readiness::Ready) };
        let report = report(Some(&overloaded), None, false, false);
        assert_eq!(report.tone, Tone::Warning);
        assert!(report.facts.ends_with("separator 130 % · 41 late parcels"));
    }

    #[test]
    fn late_parcels_are_a_warning_while_they_are_fresh() {
        let mut lateness = Lateness::default();
        assert!(!lateness.is_fresh(3, 0.0), "they came before anyone looked");
        assert!(!lateness.is_fresh(3, 1.0));
        assert!(lateness.is_fresh(4, 2.0));
        assert!(lateness.is_fresh(4, 6.0));
        assert!(!lateness.is_fresh(4, 7.1));
    }
}
