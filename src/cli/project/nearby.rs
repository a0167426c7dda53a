//! What to name instead of a folder that is no project.

use std::fs;
use std::path::{Path, PathBuf};

/// Nesting of folders that are looked through, and entries that are looked at.
const DEPTH_MAX: usize = 3;
const ENTRIES_MAX: usize = 2_000;
/// Bytes of a file that are looked at, and files that are suggested.
const BYTES_MAX: u64 = 1 << 20;
const SUGGESTED_MAX: usize = 3;

const DEFINITIONS: [&str; 3] = [".asl.json", ".asl.yaml", ".asl.yml"];
const TEMPLATES: [&str; 4] = [".json", ".yaml", ".yml", ".template"];

/// What there is in a folder.
#[derive(Default)]
struct Nearby {
    definitions: Vec<PathBuf>,
    templates: Vec<PathBuf>,
    /// Files that are not read, and why.
    others: Vec<(PathBuf, &'static str)>,
}

/// Why a file of a project is not read, by its name.
pub(super) fn not_read(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.to_str()?;
    if name.ends_with(".tf.json") {
        return Some("Terraform in JSON is not read; write it as HCL, or give the definition's own file");
    }
    match name.rsplit_once('.') {
        Some(("serverless", "ts" | "js" | "mjs" | "cjs")) => Some(
            "this is a program; write down what it makes, npx serverless print --format yaml > printed.yml, and give that",
        ),
        _ => None,
    }
}

/// What to name.
pub(super) fn advice(folder: &Path) -> String {
    let mut nearby = Nearby::default();
    look(folder, 0, &mut ENTRIES_MAX.clone(), &mut nearby);
    let Nearby { mut definitions, mut templates, others } = nearby;
    definitions.sort();
    templates.sort();
    let listed = |files: &[PathBuf]| {
        let shown: Vec<_> = files.iter().take(SUGGESTED_MAX).map(|file| file.display().to_string()).collect();
        shown.join(", ")
    };
    match (&definitions[..], &templates[..], &others[..]) {
        ([], [], []) => "name the file of a definition".to_owned(),
        ([], [], [(file, why), ..]) => format!("{}: {why}", file.display()),
        (definitions, [], _) => format!("name one of its definitions, such as {}", listed(&definitions[..1])),
        (_, templates, _) => format!("name what has state machines: {}", listed(templates)),
    }
}

fn look(folder: &Path, depth: usize, left: &mut usize, nearby: &mut Nearby) {
    // A folder that may not be read has nothing to suggest.
    for path in fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())) {
        if *left == 0 {
            return;
        }
        *left -= 1;
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if name.starts_with('.') || ["node_modules", "target", "vendor"].contains(&name) {
            continue;
        }
        if path.is_dir() {
            if depth < DEPTH_MAX {
                look(&path, depth + 1, left, nearby);
            }
        } else if DEFINITIONS.iter().any(|end| name.ends_with(end)) {
            if depth == 0 {
                nearby.definitions.push(path);
            }
        } else if let Some(why) = not_read(&path) {
            nearby.others.push((path, why));
        } else if has_machines(&path, name) {
            nearby.templates.push(path);
        }
    }
}

/// Whether a file looks like one with state machines.
fn has_machines(path: &Path, name: &str) -> bool {
    let is_terraform = name.ends_with(".tf");
    if !is_terraform && !TEMPLATES.iter().any(|end| name.ends_with(end)) {
        return false;
    }
    let is_small = fs::metadata(path).is_ok_and(|file| file.len() <= BYTES_MAX);
    let Some(text) = is_small.then(|| fs::read_to_string(path).ok()).flatten() else { return false };
    if is_terraform {
        return text.contains("aws_sfn_state_machine");
    }
    let is_cloudformation = text.contains("Resources")
        && [
            "AWS::StepFunctions::StateMachine",
            "AWS::Serverless::StateMachine",
            "AWS::CloudFormation::Stack",
        ]
        .iter()
        .any(|kind| text.contains(kind));
    is_cloudformation || text.contains("stepFunctions")
}
