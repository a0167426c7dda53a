//! Dependencies come from crates.io, under licences that `deny.toml` allows.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

fn file(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect(name)
}

/// Whether a licence expression can be met. Old manifests write `/` for `OR`, and some `or`.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let plain = expression.replace(['(', ')'], " ").replace('/', " OR ").replace(" or ", " OR ");
    let one = |licence: &str| allowed.iter().any(|it| it == licence.trim());
    plain.split(" AND ").all(|choices| choices.split(" OR ").any(one))
}

#[test]
fn licences_are_allowed() {
    let deny = file("deny.toml");
    let (_, list) = deny.split_once("allow = [").expect("the list");
    let (list, _) = list.split_once(']').expect("its end");
    let allowed: Vec<String> = list.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    assert!(allowed.contains(&"MIT".to_owned()), "{allowed:?}");
    // What this test was built from is there, so no network is needed; a feature that was not built may not be.
    let mut command = Command::new(env!("CARGO"));
    command.args([
        "tree",
        "--offline",
        "--locked",
        "--prefix",
        "none",
        "--format",
        "{p}|{l}",
        "--edges",
        "all",
    ]);
    match (cfg!(feature = "kafka"), cfg!(feature = "full")) {
        (true, _) => command.args(["--workspace", "--all-features"]),
        (_, true) => command.args(["--features", "full"]),
        _ => &mut command,
    };
    let tree = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo tree");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).expect("UTF-8");
    let packages = tree.lines().filter(|line| line.contains('|')).map(|line| line.trim_end_matches(" (*)"));
    let packages: BTreeSet<&str> = packages.collect();
    assert!(packages.len() > 20, "hardly any package");
    let wrong: Vec<&str> = (packages.into_iter())
        .filter(|package| {
            let (_, licence) = package.rsplit_once('|').expect("a package and its licence");
            !is_allowed(licence, &allowed)
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn licence_expressions_are_read() {
    let allowed = ["MIT".to_owned(), "Unicode-3.0".to_owned()];
    for (expression, expected) in [
        ("MIT", true),
        ("Apache-2.0/MIT", true),
        ("MIT or Apache-2.0", true),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("GPL-3.0", false),
        ("MIT AND GPL-3.0", false),
        ("", false),
    ] {
        assert_eq!(is_allowed(expression, &allowed), expected, "{expression}");
    }
}

#[test]
fn sources_are_crates_io() {
    let lock = file("Cargo.lock");
    let strangers: Vec<&str> = lock
        .lines()
        .filter(|line| line.starts_with("source = "))
        .filter(|line| !line.contains("registry+https://github.com/rust-lang/crates.io-index"))
        .collect();
    assert!(strangers.is_empty(), "{strangers:?}");
}
