//! Printed programs, compared with golden files. `UPDATE_GOLDEN=1` writes them anew; read the difference.

use std::fs;
use std::path::{Path, PathBuf};

use expressway::{asl, compile};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn dump(file: &Path) -> String {
    let text = fs::read(file).expect("a definition");
    let (definition, problems) = asl::read(&text, &asl::Options::default());
    let definition = definition.unwrap_or_else(|| panic!("{}: {problems:?}", file.display()));
    compile::compile(&definition).expect("it compiles").dump()
}

#[test]
fn programs_print_as_they_did() {
    let mut definitions: Vec<PathBuf> = fs::read_dir(folder())
        .expect("the golden files")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.to_string_lossy().ends_with(".asl.json"))
        .collect();
    definitions.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/orders.asl.json"));
    assert!(definitions.len() > 1, "golden definitions are missing");
    for definition in definitions {
        let name = definition.file_name().and_then(|name| name.to_str()).expect("a name");
        let golden = folder().join(name.replace(".asl.json", ".dump.txt"));
        let printed = dump(&definition);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &printed).expect("the golden file can be written");
        }
        let kept = fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(printed, kept, "{} (UPDATE_GOLDEN=1 writes it anew)", golden.display());
    }
}
