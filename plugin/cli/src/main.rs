//! The program `sift`.

fn main() -> std::process::ExitCode {
    sift_cli::main()
}
