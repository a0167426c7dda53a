//! The allocator's setting, which it takes from the environment of the process when that starts.

/// Has freed memory returned to the system after ten milliseconds instead of a second. In a second, executions free and
/// take several times what they may have: with a budget of 256 MiB the process took 490 MiB, and takes 220.
///
/// The process is started anew for that, as itself. Does nothing if the variable is set already; if the system refuses, the
/// process may take more memory than it should.
#[cfg(all(feature = "mimalloc", target_os = "linux"))]
pub(super) fn give_back_soon() {
    use std::env;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    const VARIABLE: &str = "MIMALLOC_PURGE_DELAY";
    if let (None, Ok(program)) = (env::var_os(VARIABLE), env::current_exe()) {
        let mut arguments = env::args_os();
        let mut again = Command::new(program);
        if let Some(name) = arguments.next() {
            again.arg0(name);
        }
        // It returns only if it fails.
        let _ = again.args(arguments).env(VARIABLE, "10").exec();
    }
}

#[cfg(not(all(feature = "mimalloc", target_os = "linux")))]
pub(super) fn give_back_soon() {}
