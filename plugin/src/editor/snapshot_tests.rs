//! Compares the editor in each of its states, in both themes, with the images in `tests/snapshots`.
//!
//! `UPDATE_SNAPSHOTS=1` replaces the images. Look at them before you commit them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use egui::accesskit::Role;
use egui::{Event, Ui, Vec2, vec2};
use egui_kittest::kittest::Queryable;
use egui_kittest::{Harness, SnapshotOptions, SnapshotResults};
use sift_engine::dsp::analyzer::{PeakLevels, ROWS, SpectrumColumn};
use sift_engine::inference::provider::ActiveProvider;
use sift_engine::package::PackageInfo;
use sift_engine::{HeardSound, HearingState, MaskFaults, Readiness, RestSound, Snapshot};

use super::mock_host::MockHost;
use super::model_menu::{MenuEntry, ModelMenu};
use super::query_set_menu::QuerySetMenu;
use super::size::MIN_SIZE;
use super::theme;
use super::view::{EditorData, EditorView};
use crate::editor::appearance::DEFAULT_EDITOR_SIZE;
use crate::params::ModeParam;

/// Folder of the images, relative to this package.
const FOLDER: &str = "../tests/snapshots";

/// Width and height that the harness's margins take.
const HARNESS_MARGINS: Vec2 = vec2(16.0, 16.0);

/// A running engine with the default model.
pub fn running(readiness: Readiness) -> Snapshot {
    Snapshot {
        readiness,
        problem: None,
        model: "Sift default".into(),
        active_provider: ActiveProvider::default(),
        sample_rate: 48_000.0,
        latency: 2_304,
        hop: Duration::from_millis(16),
        hop_time: Duration::from_micros(1_600),
        faults: MaskFaults::default(),
        oversized_block: None,
        presence: Some(0.8),
        hearing: HearingState::default(),
    }
}

/// Sounds that are heard, by their names.
pub fn heard(names: &[&str]) -> Arc<[HeardSound]> {
    names.iter().map(|&name| HeardSound { name: name.into(), probability: 0.9 }).collect()
}

/// Columns of a falling harmonic sound, of which the mask keeps one band.
pub fn sound() -> Vec<SpectrumColumn> {
    let column = |at: usize| {
        let mut column = SpectrumColumn { level: [0; ROWS], mask: [0; ROWS] };
        for row in 0..ROWS {
            let partial = (row + at / 4) % 40;
            column.level[row] = (230_usize.saturating_sub(partial * 8)) as u8;
            column.mask[row] = if (60..120).contains(&row) && at % 128 < 96 { 255 } else { 10 };
        }
        column
    };
    (0..512).map(column).collect()
}

/// The built-in package and a broken one.
fn installed() -> Vec<MenuEntry> {
    MenuEntry::list(vec![Ok(PackageInfo::built_in()), PackageInfo::read(Path::new("models/mine"))], None)
}

/// Draws the editor in its default size. As [`compare_in`].
fn compare(
    name: &str,
    engine: Option<Snapshot>,
    prepare: impl Fn(&MockHost),
    act: impl Fn(&mut Harness<'_>),
) {
    let size = vec2(DEFAULT_EDITOR_SIZE.0 as f32, DEFAULT_EDITOR_SIZE.1 as f32);
    compare_in(size, name, engine, prepare, act);
}

/// Draws the editor of `size` points in both themes and compares it with the images called `name`. `prepare` sets the
/// host's parameters, and `act` operates the editor.
fn compare_in(
    size: Vec2,
    name: &str,
    engine: Option<Snapshot>,
    prepare: impl Fn(&MockHost),
    act: impl Fn(&mut Harness<'_>),
) {
    let mut results = SnapshotResults::new();
    for theme in [egui::Theme::Dark, egui::Theme::Light] {
        let host = MockHost::default();
        prepare(&host);
        let mut view = EditorView::default();
        view.model_menu = ModelMenu::new(installed);
        view.slot_bar.menu = QuerySetMenu::with_folder(std::env::temp_dir().join("sift-without-sets"));
        let mut frame = 0;
        let show = |ui: &mut Ui| {
            frame += 1;
            // The first frames measure the height that is free for the spectrogram.
            let columns = if engine.is_some() && frame == 3 { sound() } else { Vec::new() };
            let peaks = PeakLevels { input: 0.5, output: 0.25, removed: 0.4 };
            let peaks = if engine.is_some() { peaks } else { PeakLevels::default() };
            let data = EditorData { engine: engine.as_ref(), columns, peaks, ..EditorData::default() };
            view.show(ui, host.queries(), &host.params, &host.setter(), data);
        };
        let builder = Harness::builder().with_size(size).with_context_setup(theme::apply).with_theme(theme);
        let mut editor = builder.with_step_dt(0.05).build_ui(show);
        editor.run_steps(4);
        act(&mut editor);
        editor.run_steps(4);
        let options = SnapshotOptions::new().output_path(FOLDER);
        editor.snapshot_options(format!("{name}-{theme:?}").to_lowercase(), &options);
        results.extend_harness(&mut editor);
    }
}

#[test]
fn not_running() {
    compare("not-running", None, |_| (), |_| ());
}

#[test]
fn running_with_sound() {
    compare("running", Some(running(Readiness::Ready)), |_| (), |_| ());
}

/// An engine that hears three sounds.
fn hearing(hearing: HearingState) -> Option<Snapshot> {
    let sounds = heard(&["speech", "drums", "bass guitar"]);
    Some(Snapshot { hearing: HearingState { sounds, ..hearing }, ..running(Readiness::Ready) })
}

#[test]
fn sounds_heard_with_a_rest() {
    let rest = Some(RestSound { name: Some("music".into()), weight: 0.7 });
    compare("hearing", hearing(HearingState { rest, ..HearingState::default() }), |_| (), |_| ());
}

#[test]
fn six_sounds_heard_in_the_smallest_window() {
    let rest = Some(RestSound { name: Some("acoustic guitar".into()), weight: 0.3 });
    let names = ["speech", "drums", "bass guitar", "crowd chatter", "saxophone", "rain"];
    let hearing = HearingState { sounds: heard(&names), rest, ..HearingState::default() };
    let engine = Snapshot { hearing, ..running(Readiness::Ready) };
    compare_in(MIN_SIZE + HARNESS_MARGINS, "smallest", Some(engine), |_| (), |_| ());
}

#[test]
fn sound_dragged_to_slot_3_while_the_rest_is_paused() {
    let paused = hearing(HearingState { is_rest_paused: true, ..HearingState::default() });
    compare(
        "dragging",
        paused,
        |_| (),
        |editor| {
            let from = editor.get_by_label("Heard: drums").rect().center();
            let to = editor.get_by_label("Slot 3: piano").rect().center();
            editor.drag_at(from);
            editor.run_steps(1);
            editor.hover_at(from + vec2(0.0, 20.0));
            editor.run_steps(1);
            editor.hover_at(to);
        },
    );
}

#[test]
fn typing_with_suggestions() {
    let prepare = |host: &MockHost| {
        host.queries()
            .set_concept_names(["acoustic guitar", "bass guitar", "drums"].map(String::from).into());
    };
    compare("typing", Some(running(Readiness::Ready)), prepare, |editor| {
        editor.get_by_role(Role::TextInput).click();
        editor.run_steps(2);
        editor.event(Event::Text("guit".into()));
    });
}

#[test]
fn bypassed_in_remove_mode_with_slot_2() {
    let prepare = |host: &MockHost| {
        host.automate(&host.params.mode, ModeParam::Remove);
        host.automate(&host.params.query, 2);
        host.automate(&host.params.strength, 0.4);
        host.automate(&host.params.bypass, true);
    };
    compare("bypassed", Some(running(Readiness::Ready)), prepare, |_| ());
}

#[test]
fn model_loading() {
    compare("loading", Some(running(Readiness::Loading)), |_| (), |_| ());
}

#[test]
fn model_broken() {
    let problem = "models/mine/separator.onnx: has the SHA-256 12ab…, but `separator.sha256` says 34cd…. The file is \
                   damaged or was changed: install the package again";
    let broken = Snapshot { problem: Some(problem.into()), ..running(Readiness::Failed) };
    compare("broken", Some(broken), |_| (), |_| ());
}

#[test]
fn machine_too_slow() {
    let slow = Snapshot {
        hop_time: Duration::from_micros(20_800),
        faults: MaskFaults { late: 41, ..MaskFaults::default() },
        ..running(Readiness::Ready)
    };
    compare("too-slow", Some(slow), |_| (), |_| ());
}

#[test]
fn model_menu_open() {
    compare(
        "models",
        Some(running(Readiness::Ready)),
        |_| (),
        |editor| {
            editor.get_by_label_contains("⏷").click();
        },
    );
}

#[test]
fn query_set_menu_open() {
    compare(
        "sets",
        Some(running(Readiness::Ready)),
        |_| (),
        |editor| {
            editor.get_by_label("Sets").click();
        },
    );
}

#[test]
fn slot_menu_open() {
    compare(
        "slot",
        Some(running(Readiness::Ready)),
        |_| (),
        |editor| {
            editor.get_by_label("Slot 3: piano").click_secondary();
        },
    );
}
