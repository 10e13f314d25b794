//! Writes outflow's man pages and its completions for bash, zsh and fish into a folder: `cargo run --example pages -- FOLDER`.

use std::io;
use std::path::PathBuf;

use clap_complete::Shell;

fn main() -> io::Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from);
    let folder = folder.ok_or_else(|| io::Error::other("name the folder to write into"))?;
    std::fs::create_dir_all(&folder)?;
    clap_mangen::generate_to(outflow::cli::command(), &folder)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut outflow::cli::command(), "outflow", &folder)?;
    }
    Ok(())
}
