//! Rules of the repository: imports, file lengths, names, and no traces of a particular machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The ladder: a module imports only from lower rungs. The architecture map is in `src/lib.rs`.
const RUNGS: [(u32, &[&str]); 10] = [
    (
        0,
        &[
            "json", "fatal", "fault", "fuel", "hosts", "limits", "memory", "models", "index", "clock", "arn",
            "os", "random", "uuid",
        ],
    ),
    (1, &["query"]),
    (2, &["asl"]),
    (3, &["compile", "misspelt", "picture", "program"]),
    (4, &["engine"]),
    (5, &["task", "observe", "journal"]),
    (6, &["runtime"]),
    (7, &["draft", "pipe", "service"]),
    (8, &["api", "server"]),
    (9, &["main", "cli"]),
];

/// Imports within a rung, and the few upwards that are meant.
const ALLOWED: [(&str, &str); 9] = [
    // The server carries what the API reads and writes.
    ("server", "api"),
    // `compile` makes programs; a program does not know where it came from.
    ("compile", "program"),
    // The leaves of rung 0.
    ("json", "limits"),
    ("json", "fault"),
    ("json", "index"),
    ("fatal", "limits"),
    ("clock", "json"),
    ("arn", "limits"),
    ("models", "json"),
];

/// Forbidden imports of lower modules: a program does not know definitions.
const FORBIDDEN: [(&str, &str); 3] = [("program", "asl"), ("engine", "asl"), ("engine", "compile")];

const LINES_MAX: usize = 700;
const BAD_NAMES: [&str; 7] = ["utils", "util", "common", "helpers", "types", "manager", "impl"];
/// Files that may hold `unsafe`, each with a bench that shows the win.
const UNSAFE: [&str; 0] = [];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a folder, build products and hidden folders but `.ci` left out.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.map(|entry| entry.expect("an entry").path()) {
        let name = entry.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let hidden = name.starts_with('.') && name != ".ci";
        if hidden || name.starts_with("target") || name == "node_modules" {
            continue;
        }
        if entry.is_dir() { files(&entry, found) } else { found.push(entry) }
    }
}

pub(crate) fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    files(&root().join(folder), &mut found);
    let mut sources: Vec<(PathBuf, String)> = (found.into_iter())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a source file");
            (path.strip_prefix(root()).expect("below the root").to_owned(), text)
        })
        .collect();
    sources.sort();
    sources
}

fn rung(module: &str) -> Option<u32> {
    RUNGS.iter().find(|(_, modules)| modules.contains(&module)).map(|&(rung, _)| rung)
}

/// The module of the crate that a file belongs to.
fn module(path: &Path) -> String {
    let inside = path.strip_prefix("src").expect("below src");
    let first = inside.components().next().expect("a name").as_os_str().to_str().expect("a name in UTF-8");
    first.trim_end_matches(".rs").to_owned()
}

/// The modules that a text names behind `crate::`, those in braces included; comments are left out.
fn imports(text: &str, crate_name: &str) -> BTreeSet<String> {
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| [line, "\n"])
        .collect();
    let mut found = BTreeSet::new();
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    for (at, _) in code.match_indices(&format!("{crate_name}::")) {
        if code[..at].ends_with(|c: char| is_name(c) || c == ':') {
            continue;
        }
        let rest = code[at + crate_name.len() + 2..].trim_start();
        if !rest.starts_with('{') {
            found.insert(rest.chars().take_while(|&c| is_name(c)).collect());
            continue;
        }
        // `use crate::{a::b, c::{d, e}}`: names at the first level of braces.
        let (mut depth, mut name, mut at_start) = (0, String::new(), false);
        for c in rest.chars() {
            match c {
                '{' => {
                    depth += 1;
                    at_start = depth == 1;
                }
                '}' => depth -= 1,
                ',' => at_start = depth == 1,
                c if is_name(c) && depth == 1 && at_start => name.push(c),
                c if !c.is_whitespace() => at_start = false,
                _ => {}
            }
            let in_name = is_name(c) && depth == 1 && at_start;
            if !in_name && !name.is_empty() {
                found.insert(std::mem::take(&mut name));
            }
            if depth == 0 {
                break;
            }
        }
    }
    found
}

#[test]
fn modules_import_from_lower_rungs_only() {
    let mut wrong = Vec::new();
    let sources = sources("src");
    assert!(sources.len() > 50, "the sources were not found");
    for (path, text) in &sources {
        let from = module(path);
        if from == "lib" {
            continue;
        }
        let Some(from_rung) = rung(&from) else {
            wrong.push(format!("{}: {from} stands on no rung", path.display()));
            continue;
        };
        // The binary is a separate crate: it imports from the library by the library's name.
        let name = if from_rung == 9 { "expressway" } else { "crate" };
        for to in imports(text, name) {
            let Some(to_rung) = rung(&to) else { continue };
            let allowed = to == from || to_rung < from_rung || ALLOWED.contains(&(&*from, &*to));
            if !allowed || FORBIDDEN.contains(&(&*from, &*to)) {
                wrong.push(format!("{}: {from} must not import {to}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_import_reader_sees_all_forms() {
    let text = "use crate::json::{Arena, Value};\nuse crate::{asl, program::{self, Map}, engine::Event};\n\
                // use crate::server;\nfn f() { crate::fault::Fault::new(); super::crate_name::x(); }\n";
    let found: Vec<String> = imports(text, "crate").into_iter().collect();
    assert_eq!(found, ["asl", "engine", "fault", "json", "program"]);
}

#[test]
fn every_module_of_the_library_stands_on_a_rung() {
    let library = fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs");
    let modules = library.lines().filter_map(|line| {
        line.trim_start_matches("pub ").strip_prefix("mod ").map(|rest| rest.trim_end_matches(';'))
    });
    let strangers: Vec<&str> = modules.filter(|module| rung(module).is_none()).collect();
    assert!(strangers.is_empty(), "on no rung: {strangers:?}");
}

#[test]
fn files_are_short_and_their_names_say_something() {
    let mut wrong = Vec::new();
    for folder in ["src", "tests", "benches", "examples"] {
        for (path, text) in sources(folder) {
            let lines = text.lines().count();
            if lines > LINES_MAX {
                wrong.push(format!("{}: {lines} lines, more than {LINES_MAX}", path.display()));
            }
            for part in path.iter().filter_map(|part| part.to_str()) {
                if BAD_NAMES.contains(&part.trim_end_matches(".rs")) {
                    wrong.push(format!("{}: {part} says nothing", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_code_stands_in_named_places_only() {
    let word = concat!("unsa", "fe");
    let wrong: Vec<String> = sources("src")
        .into_iter()
        .filter(|(path, _)| !UNSAFE.iter().any(|allowed| path == Path::new(allowed)))
        .flat_map(|(path, text)| {
            let code = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
            code.filter(|(_, line)| {
                // The browser's term for styles in a page.
                line.replace(concat!("'unsa", "fe-inline'"), "")
                    .split(|c: char| !c.is_alphanumeric() && c != '_')
                    .any(|it| it == word)
            })
            .map(|(n, _)| format!("{}:{}", path.display(), n + 1))
            .collect::<Vec<_>>()
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Silent defaults for missing values. Below: their numbers, in the core (queries, compiler, engine, runtime) and in
/// all. They may only decrease; impossible cases are asserted instead.
const SILENT: [(&str, usize, usize); 3] =
    [(".unwrap_or_default()", 29, 190), ("else { return };", 16, 55), ("else { return None };", 2, 10)];
/// Assertions with a reason: what a user can bring about is no reason for one.
const EXPECT_MAX: usize = 60;
const CORE: [&str; 6] = ["compile", "engine", "json", "program", "query", "runtime"];

#[test]
fn what_cannot_happen_is_asserted() {
    let code = |text: &str| {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        lines.flat_map(|line| [line, "\n"]).collect::<String>()
    };
    let sources: Vec<(String, String)> =
        sources("src").iter().map(|(path, text)| (module(path), code(text))).collect();
    let count = |needle: &str, core: bool| -> usize {
        let counted = sources.iter().filter(|(module, _)| !core || CORE.contains(&&**module));
        counted.map(|(_, text)| text.matches(needle).count()).sum()
    };
    let mut wrong = Vec::new();
    for (needle, core_max, max) in SILENT {
        for (core, max) in [(true, core_max), (false, max)] {
            let found = count(needle, core);
            if found > max {
                let place = if core { "the core" } else { "src" };
                wrong.push(format!("{found} times `{needle}` in {place}, more than {max}"));
            }
        }
    }
    let asserted = count(".expect(\"", false);
    if asserted > EXPECT_MAX {
        wrong.push(format!("{asserted} times `expect`, more than {EXPECT_MAX}: can no user bring it about?"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_path_of_one_machine_is_in_the_tree() {
    let roots = ["home", "Users", "work", "root", "mnt"];
    let mut found = Vec::new();
    files(root(), &mut found);
    let mut wrong = Vec::new();
    for path in found {
        let named = path.strip_prefix(root()).expect("below the root").display().to_string();
        let Ok(text) = fs::read_to_string(&path) else { continue };
        if named.ends_with(".lock") || named.starts_with("fuzz/corpus") || named.starts_with("fuzz/target") {
            continue;
        }
        for folder in roots {
            let needle = format!("/{folder}/");
            for (at, _) in text.match_indices(&needle) {
                // A path of a file system begins there; the middle of an address or of another path does not count.
                let before = text[..at].chars().next_back();
                if before.is_none_or(|c| c.is_whitespace() || "\"'`=(".contains(c)) {
                    let line = text[..at].matches('\n').count() + 1;
                    wrong.push(format!("{named}:{line}: {needle}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Pages for maintainers name files; a file that was moved takes its mention with it.
#[test]
fn files_that_pages_name_are_there() {
    for page in ["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md", "SECURITY.md"] {
        let text = fs::read_to_string(root().join(page)).expect("a page");
        let quoted = text.split('`').skip(1).step_by(2);
        let names = quoted.filter(|name| name.contains('/') && name.ends_with(".rs") && !name.contains(' '));
        for name in names {
            let there = root().join(name).exists() || root().join("src").join(name).exists();
            assert!(there, "{page} names {name}, which is not there");
        }
    }
}

/// Code of the README that is not compiled there is part of a file that is.
#[test]
fn code_that_is_not_compiled_in_the_readme_is_in_a_test() {
    let readme = fs::read_to_string(root().join("README.md")).expect("a page");
    let session = fs::read_to_string(root().join("tests/sdk/tests/session.rs")).expect("a test");
    let blocks: Vec<&str> = readme.split("```rust,ignore\n").skip(1).collect();
    assert_eq!(blocks.len(), 1, "the one block that takes the AWS SDK");
    for block in blocks {
        let (code, _) = block.split_once("```").expect("it ends");
        assert!(session.contains(code), "tests/sdk/tests/session.rs lacks:\n{code}");
    }
}
