//! Benchmarks of the components of the real-time path, at 48 kHz with the default model.
//!
//! `cargo xtask bench` runs them.

use std::hint::{black_box, spin_loop};
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use realfft::RealFftPlanner;
use realfft::num_complex::Complex32;
use sift_engine::inference::library;
use sift_engine::package::PackageInfo;
use sift_engine::separator::Separator;
use sift_engine::separator::network::LoadedModel;
use sift_engine::separator::streaming::StreamingSeparator;
use sift_engine::user::preferences::provider_choice;
use sift_engine::{
    AnalysisBuffer, CancelToken, Grid, MaskProcessor, MaskShaping, OverlapAdd, QueryTokenizer, Stft,
};

const RATE: f64 = 48_000.0;

fn grid() -> Grid {
    Grid::new(&PackageInfo::built_in().manifest.audio, RATE)
}

/// Returns a signal that is not periodic.
fn signal(samples: usize) -> Vec<f32> {
    (0..samples).map(|at| (at as f32 * 0.37).sin() * (at as f32 * 0.011).cos()).collect()
}

/// Benchmarks STFT and overlap-add of one frame of one channel, against the bare Fourier transforms.
fn transforms(criterion: &mut Criterion) {
    let grid = grid();
    let mut stft = Stft::new(grid.size, grid.hop, PackageInfo::built_in().manifest.audio.window);
    let (mut history, mut overlap) = (AnalysisBuffer::new(grid.size), OverlapAdd::new(grid.size));
    history.extend(&signal(grid.size));
    let mut spectrum = vec![Complex32::ZERO; grid.bins()];
    let gain = vec![Complex32::new(0.5, 0.0); grid.bins()];
    let mut output = vec![0.0; grid.hop];

    let mut planner = RealFftPlanner::<f32>::new();
    let (forward, inverse) = (planner.plan_fft_forward(grid.size), planner.plan_fft_inverse(grid.size));
    let mut scratch = vec![Complex32::ZERO; forward.get_scratch_len().max(inverse.get_scratch_len())];
    let samples = signal(grid.size);

    let mut group = criterion.benchmark_group("transforms per channel");
    group.bench_function("Fourier transforms only", |bencher| {
        let mut bins = spectrum.clone();
        bencher.iter_batched_ref(
            || samples.clone(),
            |frame| {
                forward.process_with_scratch(frame, &mut bins, &mut scratch).unwrap();
                inverse.process_with_scratch(&mut bins, frame, &mut scratch).unwrap();
            },
            BatchSize::SmallInput,
        );
    });
    group.bench_function("analysis, gain and synthesis", |bencher| {
        bencher.iter(|| {
            stft.analyse(black_box(&history), &mut spectrum);
            stft.synthesise(&spectrum, black_box(&gain), &mut overlap);
            overlap.take(&mut output);
        });
    });
    group.finish();
}

/// Benchmarks the step from the separator's mask to the gain of each host bin.
fn mask(criterion: &mut Criterion) {
    let grid = grid();
    let mut processor = MaskProcessor::new(&grid);
    let mask: Vec<_> =
        (0..grid.model_bins).map(|bin| Complex32::new((bin % 97) as f32 / 97.0, 0.0)).collect();
    let mut group = criterion.benchmark_group("mask per hop");
    for (name, shape) in [
        ("default", MaskShaping::default()),
        ("sharpened and smoothed", MaskShaping { sharpness: 2.0, floor: 0.01, smoothing: 0.05 }),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                processor.update(black_box(&mask), &shape);
                black_box(processor.gain(&shape));
            });
        });
    }
    group.finish();
}

/// Benchmarks the separator network and the tokenizer. ONNX Runtime is found by `ORT_DYLIB_PATH`.
fn model(criterion: &mut Criterion) {
    let model = LoadedModel::new(PackageInfo::built_in().load().expect("the built-in package loads"));
    let package = &model.package;
    let environment = library::environment().expect("`cargo xtask bench` sets ORT_DYLIB_PATH");
    let (mut separator, _) =
        StreamingSeparator::new(environment, &model, &provider_choice(), &CancelToken::default())
            .expect("the built-in network loads");
    let bins = package.manifest.audio.bins();
    let magnitude: Vec<_> = signal(bins).into_iter().map(f32::abs).collect();
    let mut mask = vec![Complex32::ZERO; bins];
    let embedding = vec![0.1; separator.embedding_size()];
    let mut run = || separator.run(black_box(&magnitude), &embedding, &mut mask).unwrap();
    let mut group = criterion.benchmark_group("separator per hop");
    group.bench_function("without pause", |bencher| bencher.iter(&mut run));
    // In real time there is a hop between runs, in which the caches may be overwritten.
    let hop = Duration::from_secs_f64(grid().hop_seconds());
    group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(500));
    group.bench_function("after a pause of one hop", |bencher| {
        bencher.iter_custom(|runs| {
            let run_after_hop = |_| {
                let start = Instant::now();
                while start.elapsed() < hop {
                    spin_loop();
                }
                let start = Instant::now();
                run();
                start.elapsed()
            };
            (0..runs).map(run_after_hop).sum()
        });
    });
    group.finish();

    let query = &package.manifest.query;
    let tokenizer = QueryTokenizer::new(&package.tokenizer, query.max_tokens, &query.prefix).unwrap();
    criterion.bench_function("tokens of a text", |bencher| {
        bencher.iter(|| tokenizer.encode(black_box("a dog barking in the street, far away")).unwrap());
    });
}

criterion_group!(components, transforms, mask, model);
criterion_main!(components);
