//! Workload files: TOML, or JSON where the name ends so.

use std::path::Path;

use super::Plan;

/// A file larger than this is no workload file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads a workload file. Paths in it are meant from where the file lies.
///
/// # Errors
/// When it cannot be read or is invalid; with the place in the text if the format has it.
pub fn read(path: &Path) -> Result<Plan, String> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let size = std::fs::metadata(path).map_err(|error| named(&error))?.len();
    if size > FILE_BYTES_MAX {
        return Err(named(&format!("{size} bytes are too many for a workload file")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| named(&error))?;
    let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let mut plan: Plan = if is_json {
        serde_json::from_str(&text).map_err(|error| named(&error))?
    } else {
        toml::from_str(&text).map_err(|error| named(&error))?
    };
    if plan.name.is_empty() {
        plan.name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    for target in &mut plan.targets {
        let input = target.input.as_mut().and_then(|input| input.file.as_mut());
        let files = [target.definition.as_mut(), input, target.http.ca.as_mut()];
        for path in files.into_iter().flatten() {
            *path = folder.join(&*path);
        }
    }
    Ok(plan)
}
