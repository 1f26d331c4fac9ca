//! What the window looks like in each of its states, in both themes: drawn, and compared with the
//! pictures in `tests/snapshots`. `UPDATE_SNAPSHOTS=1` draws them anew, to be looked at before they
//! are kept.

use std::path::Path;

use egui::accesskit::Role;
use egui::{Event, Ui, vec2};
use egui_kittest::kittest::Queryable;
use egui_kittest::{Harness, SnapshotOptions, SnapshotResults};
use sift_engine::Readiness;
use sift_engine::dsp::analyzer::{Column, Peaks, ROWS};
use sift_engine::inference::provider::Placement;
use sift_engine::package::Listing;

use super::models::{Listed, Models};
use super::slots::Slots;
use super::testing::Host;
use super::{Sight, View, theme};
use crate::live::Snapshot;
use crate::params::{DEFAULT_WINDOW, ModeParam};

/// Where the pictures lie, seen from this package.
const FOLDER: &str = "../tests/snapshots";

pub fn running(readiness: Readiness) -> Snapshot {
    Snapshot {
        readiness,
        problem: None,
        model: "Sift default".into(),
        placement: Placement::default(),
        sample_rate: 48_000.0,
        latency: 2_304,
        load: 0.1,
        late: 0,
        presence: Some(0.8),
    }
}

/// A sound that falls, of which a band is kept.
pub fn sound() -> Vec<Column> {
    let column = |at: usize| {
        let mut column = Column { level: [0; ROWS], mask: [0; ROWS] };
        for row in 0..ROWS {
            let partial = (row + at / 4) % 40;
            column.level[row] = (230_usize.saturating_sub(partial * 8)) as u8;
            column.mask[row] = if (60..120).contains(&row) && at % 128 < 96 { 255 } else { 10 };
        }
        column
    };
    (0..512).map(column).collect()
}

/// What comes with Sift, and a package that is broken.
fn installed() -> Vec<Listed> {
    Listed::all(vec![Ok(Listing::built_in()), Listing::read(Path::new("models/mine"))], None)
}

/// Draws the window in both themes, after `act` has done something with it, and compares.
fn compare(name: &str, engine: Option<Snapshot>, prepare: impl Fn(&Host), act: impl Fn(&mut Harness<'_>)) {
    let mut results = SnapshotResults::new();
    for theme in [egui::Theme::Dark, egui::Theme::Light] {
        let host = Host::default();
        prepare(&host);
        let mut view = View {
            models: Models::finding(installed),
            slots: Slots::with_sets(std::env::temp_dir().join("sift-without-sets")),
            ..View::default()
        };
        let mut frame = 0;
        let show = |ui: &mut Ui| {
            frame += 1;
            // The first frames find out how much room there is for the picture.
            let columns = if engine.is_some() && frame == 3 { sound() } else { Vec::new() };
            let peaks = Peaks { input: 0.5, output: 0.25, removed: 0.4 };
            let peaks = if engine.is_some() { peaks } else { Peaks::default() };
            let sight = Sight { engine: engine.as_ref(), columns, peaks, ..Sight::default() };
            view.show(ui, &host.params, &host.setter(), sight);
        };
        let size = vec2(DEFAULT_WINDOW.0 as f32, DEFAULT_WINDOW.1 as f32);
        let builder = Harness::builder().with_size(size).with_context_setup(theme::apply).with_theme(theme);
        let mut window = builder.with_step_dt(0.05).build_ui(show);
        window.run_steps(4);
        act(&mut window);
        window.run_steps(4);
        let options = SnapshotOptions::new().output_path(FOLDER);
        window.snapshot_options(format!("{name}-{theme:?}").to_lowercase(), &options);
        results.extend_harness(&mut window);
    }
}

#[test]
fn not_running() {
    compare("not-running", None, |_| (), |_| ());
}

#[test]
fn running_on_a_sound() {
    compare("running", Some(running(Readiness::Ready)), |_| (), |_| ());
}

#[test]
fn typing_with_completions() {
    let prepare = |host: &Host| {
        host.params.queries.0.set_known(["acoustic guitar", "bass guitar", "drums"].map(String::from).into());
    };
    compare("typing", Some(running(Readiness::Ready)), prepare, |window| {
        window.get_by_role(Role::TextInput).click();
        window.run_steps(2);
        window.event(Event::Text("guit".into()));
    });
}

#[test]
fn removing_in_another_slot_with_bypass() {
    let prepare = |host: &Host| {
        host.automate(&host.params.mode, ModeParam::Remove);
        host.automate(&host.params.query, 2);
        host.automate(&host.params.strength, 0.4);
        host.automate(&host.params.bypass, true);
    };
    compare("bypassed", Some(running(Readiness::Ready)), prepare, |_| ());
}

#[test]
fn a_model_that_is_being_loaded() {
    compare("loading", Some(running(Readiness::Loading)), |_| (), |_| ());
}

#[test]
fn a_model_that_is_broken() {
    let problem = "models/mine/separator.onnx: has the SHA-256 12ab…, but `separator.sha256` says 34cd…. The file is \
                   damaged or was changed: install the package again";
    let broken = Snapshot { problem: Some(problem.into()), ..running(Readiness::Failed) };
    compare("broken", Some(broken), |_| (), |_| ());
}

#[test]
fn a_machine_that_is_too_slow() {
    let slow = Snapshot { load: 1.3, late: 41, ..running(Readiness::Ready) };
    compare("too-slow", Some(slow), |_| (), |_| ());
}

#[test]
fn the_menu_of_models() {
    compare(
        "models",
        Some(running(Readiness::Ready)),
        |_| (),
        |window| {
            window.get_by_label_contains("⏷").click();
        },
    );
}

#[test]
fn the_menu_of_sets() {
    compare(
        "sets",
        Some(running(Readiness::Ready)),
        |_| (),
        |window| {
            window.get_by_label("Sets").click();
        },
    );
}

#[test]
fn the_menu_of_a_slot() {
    compare(
        "slot",
        Some(running(Readiness::Ready)),
        |_| (),
        |window| {
            window.get_by_label("Slot 3: piano").click_secondary();
        },
    );
}
