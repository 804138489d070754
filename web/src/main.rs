//! The `icecore-server` program: parses arguments and hands over to the library.

fn main() -> std::process::ExitCode {
    web::cli::main()
}
