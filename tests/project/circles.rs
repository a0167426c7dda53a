//! Files that import each other in a circle: which there are, so that there never are more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::tidy::sources;

/// Modules whose files form no circle.
const FREE: [&str; 12] = [
    "api", "arn", "clock", "compile", "engine", "index", "journal", "memory", "misspelt", "models", "pipe",
    "program",
];
/// In these folders of them there still are some.
const EXCEPT: [&str; 1] = ["src/journal/cluster"];
/// Files in circles, in all. Take the number down when one is broken.
const FILES_MAX: usize = 120;

/// A path of names, from the root of the crate.
type Names = Vec<String>;

/// One source file: what it defines, and the names it brings into scope.
#[derive(Default)]
struct File {
    defined: BTreeSet<String>,
    imported: BTreeMap<String, Names>,
    /// Every path that its code names.
    named: Vec<Names>,
}

struct Crate {
    files: Vec<(PathBuf, File)>,
    /// The file of each module.
    modules: BTreeMap<Names, usize>,
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn names(path: &str) -> Names {
    path.split("::").map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

/// The module that a file is.
fn module(path: &Path) -> Names {
    let inside = path.strip_prefix("src").expect("below src").with_extension("");
    let mut names: Names = inside.iter().map(|name| name.to_str().expect("UTF-8").to_owned()).collect();
    if names.last().is_some_and(|last| ["mod", "lib", "main"].contains(&&**last)) {
        names.pop();
    }
    names
}

/// The code without its comments and its unit tests.
fn code(text: &str) -> String {
    let text = text.split("\nmod tests {").next().expect("the part before them");
    text.lines()
        .map(|line| line.split("//").next().expect("the part before it"))
        .flat_map(|line| [line, "\n"])
        .collect()
}

/// The paths of a `use`, with the name that each brings into scope: `a::{b, c as d}` are `a::b` and `a::c`.
fn expanded(tree: &str, found: &mut Vec<(String, Names)>) {
    let Some((before, rest)) = tree.split_once('{') else {
        let (path, name) = tree.split_once(" as ").map_or((tree, None), |(path, name)| (path, Some(name)));
        let mut path = names(path);
        path.pop_if(|last| last == "self");
        if let Some(last) = name.map(|name| name.trim().to_owned()).or_else(|| path.last().cloned()) {
            found.push((last, path));
        }
        return;
    };
    let inner = &rest[..rest.rfind('}').unwrap_or(rest.len())];
    let (mut depth, mut part) = (0, String::new());
    for c in inner.chars().chain([',']) {
        match c {
            ',' if depth == 0 => expanded(&format!("{before}{}", std::mem::take(&mut part).trim()), found),
            c => {
                depth += i32::from(c == '{') - i32::from(c == '}');
                part.push(c);
            }
        }
    }
}

/// A path from the root of the crate; `None` for one that leads to another crate.
fn absolute(path: &Names, here: &Names, modules: &BTreeMap<Names, usize>) -> Option<Names> {
    let first = path.first()?;
    let mut names = match &**first {
        "crate" => Vec::new(),
        "self" => here.clone(),
        "super" => {
            here[..here.len().checked_sub(path.iter().take_while(|name| *name == "super").count())?].to_vec()
        }
        child => {
            let names: Names = here.iter().cloned().chain([child.to_owned()]).collect();
            return modules
                .contains_key(&names)
                .then(|| names.into_iter().chain(path[1..].iter().cloned()).collect());
        }
    };
    names.extend(path.iter().skip_while(|name| ["crate", "self", "super"].contains(&&***name)).cloned());
    Some(names)
}

fn read() -> Crate {
    let texts: Vec<(PathBuf, String)> =
        sources("src").into_iter().map(|(path, text)| (path, code(&text))).collect();
    let modules: BTreeMap<Names, usize> =
        texts.iter().enumerate().map(|(n, (path, _))| (module(path), n)).collect();
    let files = texts.into_iter().map(|(path, text)| {
        let (here, mut file, mut rest) = (module(&path), File::default(), String::new());
        for statement in text.split_inclusive(';') {
            let begin = statement.rfind("use ").filter(|&at| {
                let before = statement[..at].rsplit('\n').next().expect("a line").trim();
                before.is_empty() || before.starts_with("pub")
            });
            let Some(at) = begin.filter(|_| statement.ends_with(';')) else {
                rest.push_str(statement);
                continue;
            };
            rest.push_str(&statement[..at]);
            let mut found = Vec::new();
            expanded(&statement[at + 4..statement.len() - 1], &mut found);
            for (name, path) in found {
                if let Some(path) = absolute(&path, &here, &modules) {
                    file.named.push(path.clone());
                    file.imported.insert(name, path);
                }
            }
        }
        for line in rest.lines() {
            let mut words = line.split(|c| !is_name(c)).filter(|word| !word.is_empty());
            let keywords = ["fn", "struct", "enum", "trait", "type", "const", "static", "mod"];
            if words.any(|word| keywords.contains(&word))
                && let Some(name) = words.find(|word| !keywords.contains(word))
            {
                file.defined.insert(name.to_owned());
            }
        }
        for (at, _) in rest.match_indices("::") {
            let before = rest[..at].rfind(|c| !is_name(c)).map_or(0, |end| end + 1);
            let path: String = rest[before..].chars().take_while(|&c| is_name(c) || c == ':').collect();
            let path = names(&path);
            // Through a module that was imported, or from this one.
            let path = match path.first().and_then(|first| file.imported.get(first)) {
                Some(module) => Some(module.iter().chain(&path[1..]).cloned().collect()),
                None if rest[..before].ends_with("::") => None,
                None => absolute(&path, &here, &modules),
            };
            file.named.extend(path);
        }
        (path, file)
    });
    Crate { files: files.collect(), modules }
}

impl Crate {
    /// The file that defines what a path names; re-exports are followed.
    fn file(&self, path: &Names, depth: usize) -> Option<usize> {
        let (module, file) =
            (0..=path.len()).rev().find_map(|n| Some((n, *self.modules.get(&path[..n])?)))?;
        let name = path.get(module)?;
        let (_, found) = &self.files[file];
        match found.imported.get(name) {
            Some(other) if !found.defined.contains(name) && depth < 8 => {
                let path: Names = other.iter().chain(&path[module + 1..]).cloned().collect();
                self.file(&path, depth + 1)
            }
            _ => Some(file),
        }
    }

    /// The files that each one imports from.
    fn imports(&self) -> Vec<BTreeSet<usize>> {
        let of = |(n, (_, file)): (usize, &(PathBuf, File))| {
            file.named.iter().filter_map(|path| self.file(path, 0)).filter(|&other| other != n).collect()
        };
        self.files.iter().enumerate().map(of).collect()
    }

    /// The files from which a way of imports leads back to themselves.
    fn in_circles(&self) -> Vec<&Path> {
        let imports = self.imports();
        let leads_back = |from: usize| {
            let (mut seen, mut pending) = (BTreeSet::new(), vec![from]);
            while let Some(file) = pending.pop() {
                pending.extend(imports[file].iter().filter(|&&next| seen.insert(next)));
            }
            seen.contains(&from)
        };
        (0..self.files.len()).filter(|&n| leads_back(n)).map(|n| &*self.files[n].0).collect()
    }
}

#[test]
fn files_do_not_import_each_other_in_circles() {
    let read = read();
    let found = read.in_circles();
    for path in &found {
        let names = module(path);
        let is_free = names.first().is_some_and(|first| FREE.contains(&&**first));
        let is_except = EXCEPT.iter().any(|folder| path.starts_with(folder));
        assert!(!is_free || is_except, "{} is in a circle of imports", path.display());
    }
    assert!(found.len() <= FILES_MAX, "{} files in circles of imports: {found:?}", found.len());
    assert!(found.len() + 10 > FILES_MAX, "only {} files are in circles: take FILES_MAX down", found.len());
}

#[test]
fn uses_are_expanded() {
    let mut found = Vec::new();
    expanded("super::{a::B, c::{self, D as E}}", &mut found);
    let found: Vec<(String, String)> =
        found.into_iter().map(|(name, path)| (name, path.join("::"))).collect();
    let expected = [("B", "super::a::B"), ("c", "super::c"), ("E", "super::c::D")];
    assert_eq!(found, expected.map(|(name, path)| (name.to_owned(), path.to_owned())));
}
