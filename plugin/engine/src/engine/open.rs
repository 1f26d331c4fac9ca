//! From a model package to a running engine.

use std::sync::Arc;

use realfft::num_complex::Complex32;

use crate::dsp::analyzer::Scope;
use crate::dsp::delay_line::Delay;
use crate::dsp::grid::{Audio, Grid};
use crate::dsp::mask_processor::Mask;
use crate::dsp::mixer::Mix;
use crate::dsp::stft::{History, Overlap, Stft};
use crate::engine::channel::{Lane, Voice};
use crate::engine::{Config, Engine, Parcel};
use crate::inference::cancel::Stop;
use crate::inference::library;
use crate::inference::provider::Placement;
use crate::model_service::{Librarian, Loan};
use crate::package::{Kind, Listing, PackageError, SeparatorSection, search};
use crate::query::slots::Queries;
use crate::realtime::mask_queue;
use crate::realtime::offline_detector::Pace;
use crate::realtime::separator_thread::{Build, PATIENCE, Worker};
use crate::realtime::status::Status;
use crate::separator::Separator;
use crate::separator::streaming::StreamingSeparator;
use crate::separator::window::WindowSeparator;
use crate::user::preferences::provider_choice;

/// How long the last mask is held when the next one does not come, in seconds.
const HOLD: f64 = 0.05;

/// Parcels beyond those under way when all goes well: a stall this long loses no recurrent state.
const SPARE_PARCELS: usize = 16;

fn boxed<S: Separator + 'static>((separator, placement): (S, Placement)) -> (Box<dyn Separator>, Placement) {
    (Box::new(separator), placement)
}

impl Engine {
    /// An engine on the installed model package called `model`. Loading goes on in the background.
    /// Without a working package audio passes dry, with the latency it would have, and
    /// [`Status::problem`] says why.
    pub fn open(model: &str, config: Config, queries: Arc<Queries>) -> Self {
        Self::with_listing(search::find(model), config, queries)
    }

    /// As [`open`](Self::open), on a package found already, or on the reason why it was not.
    pub fn with_listing(
        listing: Result<Listing, PackageError>,
        config: Config,
        queries: Arc<Queries>,
    ) -> Self {
        let manifest =
            listing.as_ref().map_or_else(|_| Listing::built_in().manifest, |found| found.manifest.clone());
        let (loan, build): (_, Build) = match listing {
            Ok(listing) => {
                let (loan, opening) = Librarian::shared().open(listing, queries.clone());
                let build = move |stop: &Stop| {
                    let model = opening.wait()?;
                    let environment = library::environment().map_err(|error| error.to_string())?;
                    let choice = provider_choice();
                    let placed = match model.package.manifest.separator.kind {
                        Kind::Streaming => {
                            StreamingSeparator::new(environment, &model, &choice, stop).map(boxed)
                        }
                        Kind::Window => WindowSeparator::new(environment, &model, &choice, stop).map(boxed),
                    };
                    placed.map_err(|error| error.to_string())
                };
                (Some(loan), Box::new(build))
            }
            Err(error) => {
                // The engine before this one has nothing to separate by any more, either.
                queries.connect(None);
                (None, Box::new(move |_| Err(error.to_string())))
            }
        };
        Self::with_separator(&manifest.audio, &manifest.separator, build, loan, config, queries)
    }

    pub(super) fn with_separator(
        audio: &Audio,
        separator: &SeparatorSection,
        build: Build,
        loan: Option<Loan>,
        config: Config,
        queries: Arc<Queries>,
    ) -> Self {
        let Config { sample_rate, max_block, channels, offline } = config;
        let grid = Grid::new(audio, sample_rate);
        let delay = grid.delay_hops(separator.delay_hops(), max_block);
        let latency = grid.latency(separator.delay_hops(), max_block);
        let stft = Stft::new(grid.size, grid.hop, audio.window);
        let model_window_sum: f32 = audio.window.samples(audio.n_fft).iter().sum();
        let spectrum = || vec![Complex32::ZERO; grid.bins()].into_boxed_slice();
        let voice = || Voice {
            history: History::new(grid.size),
            spectra: (0..=delay).map(|_| spectrum()).collect(),
            overlap: Overlap::new(grid.size),
            dry: Delay::new(latency),
        };
        let status = Arc::new(Status::new(separator.advance()));
        let (mut link, separator_end) = mask_queue::line(delay + 1 + SPARE_PARCELS, grid.model_bins);
        let scope = Arc::new(Scope::new(audio));
        let shown = (status.clone(), scope.clone());
        let reader = loan.as_ref().map_or(queries.reader(), Loan::reader);
        let worker = Worker::start(build, separator_end, (queries, reader), shown, grid.hop, sample_rate);
        if let Some(thread) = worker.thread() {
            link.wake_on_send(thread.clone());
        }
        Self {
            behind: separator.behind(),
            delay,
            latency,
            hold: (HOLD / grid.hop_seconds()).round() as usize,
            offline,
            status,
            scope,
            to_model_scale: model_window_sum / stft.window_sum(),
            stft,
            voices: (0..channels).map(|_| voice()).collect(),
            mask: Mask::new(&grid),
            mix: Mix::new(sample_rate),
            weights: Vec::with_capacity(grid.hop),
            lane: Lane::new(grid.hop),
            link,
            parcels: (0..=delay).map(|_| Parcel::None).collect(),
            stream: 0,
            broken: false,
            frame: 0,
            until_hop: grid.hop,
            missed: 0,
            fresh: true,
            pace: Pace::new(sample_rate, max_block + grid.size / 2),
            patience: PATIENCE,
            grid,
            _worker: worker,
            _loan: loan,
        }
    }
}
