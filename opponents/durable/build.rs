//! The version of DBOS, as the lock file has it.

fn main() {
    println!("cargo::rerun-if-changed=Cargo.lock");
    let lock = std::fs::read_to_string("Cargo.lock").expect("the lock file");
    let version = lock
        .split("[[package]]")
        .find_map(|package| package.trim().strip_prefix("name = \"dbos\"\nversion = \"")?.split('"').next())
        .expect("it is locked");
    println!("cargo::rustc-env=DBOS_VERSION={version}");
}
