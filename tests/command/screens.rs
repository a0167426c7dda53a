//! What terminals of 80 and 120 columns show.

/// The screen after everything that was written: its lines, as far as something stands in them.
fn screen(written: &str, columns: u16) -> String {
    let size = |n: u16| std::num::NonZeroU16::new(n).expect("terminals have some");
    let mut parser = vt100::Parser::new(size(ROWS), size(columns), 0);
    parser.process(written.as_bytes());
    let lines = parser.screen().rows(0, columns).map(|line| format!("{}\n", line.trim_end()));
    format!("{}\n", lines.collect::<String>().trim_end())
}

/// Rows of the terminals whose screens are kept.
const ROWS: u16 = 400;

/// Compares with a file in `tests/golden/screens`; `EXPRESSWAY_WRITE=1` writes it.
fn is_as_kept(name: &str, columns: u16, shown: &str) -> Result<(), String> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/screens");
    let file = folder.join(format!("{name}-{columns}.txt"));
    if std::env::var_os("EXPRESSWAY_WRITE").is_some() {
        std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&file, shown)).expect("the file");
        return Ok(());
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    if kept == shown { Ok(()) } else { Err(format!("{} is\n{kept}\nand should be\n{shown}", file.display())) }
}

/// A definition with three mistakes, one of them in a line that is too long to show.
const MISTAKES: &str = r#"{
  "StartAt": "Hello",
  "States": {
    "Hello": {"Type": "Pass", "Next": "Good bye"},
    "Goodbye": {"Type": "Succed", "Comment": "a long comment that goes on and on, so that this line is longer than terminals are wide, and longer than what is shown of one", "Nxet": "Hello"}
  }
}"#;

#[test]
fn screens_of_80_and_120_columns_are_as_kept() {
    let folder = crate::serving::Folder::new("screens");
    folder.write("mistakes.asl.json", MISTAKES);
    folder.write("hello.asl.json", r#"{"StartAt": "Hello", "States": {"Hello": {"Type": "Pass", "Result": {"greeting": "hi", "to": ["Ada", "Bob"]}, "End": true}}}"#);
    let mut wrong = Vec::new();
    for (name, arguments) in [
        ("help", &["--help"][..]),
        ("run-help", &["run", "--help"]),
        ("validate-help", &["validate", "--help"]),
        ("graph-help", &["graph", "--help"]),
        ("test-state-help", &["test-state", "--help"]),
        ("serve-help", &["serve", "--help"]),
        ("pipe-help", &["pipe", "--help"]),
        ("redrive-help", &["redrive", "--help"]),
        ("top-help", &["top", "--help"]),
        ("soak-help", &["soak", "--help"]),
        ("validate", &["validate", "mistakes.asl.json"]),
        ("run", &["run", "hello.asl.json", "--quiet", "--input", "{}"]),
        ("test-state", &["test-state", "hello.asl.json", "--state", "Hello"]),
    ] {
        for columns in [80, 120] {
            let mut command = crate::serving::expressway();
            command.args(arguments).current_dir(&folder.0).env("TERM", "xterm-256color");
            let (written, _) = crate::terminal::begin(command, columns).finish();
            let shown = screen(&written, columns);
            wrong.extend(is_as_kept(name, columns, &shown).err());
            let cut = shown.lines().any(|line| line.chars().count() > usize::from(columns));
            assert!(!cut, "{name} at {columns} columns");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
