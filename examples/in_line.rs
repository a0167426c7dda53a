//! A transform in a plain loop: no threads, no runtime, no copy but the output's. One driver runs all events.
//!
//! `cargo run --release --example in_line --no-default-features < events.ndjson > outputs.ndjson`

use std::io::{self, BufRead, BufWriter, Write};

use expressway::program::Program;
use expressway::runtime::inline::Driver;

const DEFINITION: &str = r#"{
  "StartAt": "Large?",
  "States": {
    "Large?": {"Type": "Choice", "Default": "Keep",
      "Choices": [{"Variable": "$.total", "NumericGreaterThan": 100, "Next": "Flag"}]},
    "Flag": {"Type": "Pass", "Result": true, "ResultPath": "$.large", "Next": "Keep"},
    "Keep": {"Type": "Succeed"}
  }
}"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let program: Program = DEFINITION.parse()?;
    let mut driver = Driver::new(program.into());

    let (mut stdin, mut stdout) = (io::stdin().lock(), BufWriter::new(io::stdout().lock()));
    let (mut line, mut output) = (Vec::new(), Vec::new());
    while stdin.read_until(b'\n', &mut line)? > 0 {
        if !line.trim_ascii().is_empty() {
            match driver.run(&line) {
                Ok(ended) if ended.succeeded() => {
                    output.clear();
                    ended.write_output(&mut output);
                    output.push(b'\n');
                    stdout.write_all(&output)?;
                }
                Ok(ended) => eprintln!("it failed: {:?}", ended.outcome()),
                Err(error) => eprintln!("it is no event: {error}"),
            }
        }
        line.clear();
    }
    Ok(stdout.flush()?)
}
