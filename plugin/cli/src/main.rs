//! The command-line program `sift`.

fn main() -> std::process::ExitCode {
    sift_cli::main()
}
