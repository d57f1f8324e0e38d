//! argv -> Config -> Server -> exit code; nothing else.

fn main() -> std::process::ExitCode {
    outflow::cli::main()
}
