//! The `outflow` binary: arguments, configuration, run, exit code.

fn main() {
    // Leaves without waiting on anything: what had to be waited for has been, within its deadline.
    std::process::exit(outflow::cli::main().code());
}
