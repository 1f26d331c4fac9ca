//! Linker arguments of the standalone program.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // The system's ALSA needs the system's glibc, also where a release is linked with an older one.
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux") {
        println!("cargo::rustc-link-arg-bin=sift-standalone=-Wl,--allow-shlib-undefined");
    }
}
