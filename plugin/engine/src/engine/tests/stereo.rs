//! Two channels: what places change, and what they do not.

use super::*;

const RATE: f64 = 48_000.0;

/// Keeps the bins in which the mean of both channels is loud.
fn loud_bins() -> SeparatorFactory {
    fake(|magnitude, _, mask| {
        let mean = magnitude.iter().sum::<f32>() / magnitude.len() as f32;
        for (gain, magnitude) in mask.iter_mut().zip(magnitude) {
            *gain = Complex32::from((magnitude / (2.0 * mean + 1e-9)).clamp(0.05, 0.95));
        }
    })
}

fn stereo_engine() -> Engine {
    engine(loud_bins(), Config { channels: 2, ..config(RATE, 2048) })
}

/// Plays both channels with `stereo` for each block, whose sizes `block` returns.
fn play_stereo(
    engine: &mut Engine,
    input: [&[f32]; 2],
    (stereo, strength): (impl Fn(usize) -> f32, f32),
    mut block: impl FnMut() -> usize,
) -> [Vec<f32>; 2] {
    let mut output = input.map(<[f32]>::to_vec);
    let mut done = 0;
    while done < input[0].len() {
        let range = done..(done + block()).min(input[0].len());
        let (strength, gain) = (vec![strength; range.len()], vec![1.0; range.len()]);
        let controls = Controls { stereo: stereo(done), ..Controls::new(&strength, &gain) };
        let [left, right] = &mut output;
        let channels = &mut [&mut left[range.clone()], &mut right[range.clone()]];
        engine.process(channels, &mut AuxOutputs::default(), &controls);
        done = range.end;
    }
    output
}

/// A sine on the left and noise on the right, with a little of each on the other side.
fn wide_input(samples: usize) -> [Vec<f32>; 2] {
    let (sine, noise) = (sine(samples, 1000.0, RATE), noise(samples));
    let mix = |a: f32, b: f32| sine.iter().zip(&noise).map(|(x, y)| a * x + b * y).collect();
    [mix(0.9, 0.1), mix(0.1, 0.9)]
}

fn render(input: [&[f32]; 2], stereo: f32, block: impl FnMut() -> usize) -> [Vec<f32>; 2] {
    play_stereo(&mut stereo_engine(), input, (|_| stereo, 1.0), block)
}

#[test]
fn places_change_a_wide_mixture_only() {
    let [left, right] = wide_input(60_000);
    for (is_wide, input) in [(true, [&*left, &*right]), (false, [&*left, &*left])] {
        let (off, on) = (render(input, 0.0, || 512), render(input, 1.0, || 512));
        assert_eq!(off != on, is_wide);
    }
    let silence = vec![0.0; left.len()];
    let off = render([&left, &silence], 0.0, || 512);
    assert_eq!(off, render([&left, &silence], 1.0, || 512), "one channel is silent");
}

#[test]
fn places_do_not_depend_on_block_sizes() {
    let [left, right] = wide_input(60_000);
    let whole = render([&left, &right], 1.0, || 2048);
    assert_eq!(render([&left, &right], 1.0, random_blocks(2048)), whole);
}

#[test]
fn strength_zero_returns_both_channels_bit_for_bit() {
    let [left, right] = wide_input(30_000);
    let mut engine = stereo_engine();
    let output = play_stereo(&mut engine, [&left, &right], (|_| 1.0, 0.0), random_blocks(2048));
    assert_same(&output[0], &delayed(&left, engine.latency()));
    assert_same(&output[1], &delayed(&right, engine.latency()));
}

#[test]
fn amount_changes_without_click() {
    let left = sine(96_000, 300.0, RATE);
    let right: Vec<_> = sine(96_000, 200.0, RATE).iter().map(|sample| 0.5 * sample).collect();
    let output = play_stereo(
        &mut stereo_engine(),
        [&left, &right],
        (|sample| f32::from(u8::from(sample / 16_384 % 2 == 1)), 1.0),
        || 512,
    );
    for (output, input) in output.iter().zip([&left, &right]) {
        assert!(largest_jump(output) < largest_jump(input) + 0.02, "{}", largest_jump(output));
    }
}
