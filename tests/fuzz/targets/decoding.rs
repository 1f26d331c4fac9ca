#![no_main]

libfuzzer_sys::fuzz_target!(
    // The plugin catches a decoder's panic, so libFuzzer's hook must not abort before it.
    init: drop(std::panic::take_hook()),
    |bytes: &[u8]| sift_fuzz::decoding::check(bytes)
);
