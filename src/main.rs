//! The `expressway` command: runs, checks, prints and draws workflows. It uses the library's public API only.

mod cli;

#[cfg(feature = "full")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
