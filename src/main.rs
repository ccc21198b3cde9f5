//! The `plaza` program: arguments → `cli`, and one exit.

use std::process::ExitCode;

fn main() -> ExitCode {
    plaza::cli::main()
}
