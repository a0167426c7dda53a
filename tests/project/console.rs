//! The console's built page belongs to its sources.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the console") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { walk(&path, found) } else { found.push(path) }
    }
}

/// As `console/scripts/sources.js` writes it when the page is built.
#[test]
fn the_console_is_built_from_its_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("console");
    let mut files: Vec<PathBuf> =
        ["index.html", "package-lock.json", "package.json", "tsconfig.json", "vite.config.ts"]
            .map(|name| root.join(name))
            .to_vec();
    for folder in ["public", "scripts", "src"] {
        walk(&root.join(folder), &mut files);
    }
    let mut named: Vec<(String, PathBuf)> = (files.into_iter())
        .map(|path| {
            let inside = path.strip_prefix(&root).expect("below the console");
            let parts: Vec<&str> = inside.iter().map(|part| part.to_str().expect("UTF-8")).collect();
            (parts.join("/"), path)
        })
        .collect();
    named.sort();
    let mut hash = Sha256::new();
    for (name, path) in named {
        let bytes = fs::read(path).expect("a source of the console");
        hash.update(format!("{name}\n{}\n", bytes.len()));
        hash.update(bytes);
    }
    let hash: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let built = fs::read_to_string(root.join("dist/SOURCES.sha256")).expect("the built console");
    assert_eq!(built.trim(), hash, "the console is not built from these sources: npm run build in console/");
}
