//! The `icecore` program: parses arguments and hands over to the library. All verbs are in `cli`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
