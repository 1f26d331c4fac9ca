#![no_main]

libfuzzer_sys::fuzz_target!(
    // A panic of a decoder is caught, and must not end this program before: only what escapes does.
    init: drop(std::panic::take_hook()),
    |bytes: &[u8]| sift_fuzz::decoding::check(bytes)
);
