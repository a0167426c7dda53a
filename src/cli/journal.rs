//! `journal`: what is in a journal's folder, and whether it is whole.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use expressway::journal::{Block, Folder, JournalError, Report, SyncMode, scan};
use serde_json::json;

use super::{Stop, Went, print, say};

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Read every block, and say whether the journal is whole
    Verify(Of),
    /// Print every block and record that is not given up, one JSON object a line
    Dump(Of),
    /// Print numbers, sizes and segments as one JSON object
    Stat(Of),
    /// Copy a journal that is not in use into a new folder, and read the copy back
    Backup(Copied),
    /// Copy a backup into a new folder, for `serve --state` to go on with: once only, for what ran twice would be done twice
    Restore(Copied),
}

#[derive(Debug, clap::Args)]
struct Copied {
    /// The folder of the journal
    #[arg(value_name = "FROM")]
    from: PathBuf,
    /// A folder that is new or empty
    #[arg(value_name = "TO")]
    to: PathBuf,
}

#[derive(Debug, clap::Args)]
struct Of {
    /// The journal's folder
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

const AFTER_HELP: &str = "\
verify, dump and stat write nothing and take no lock: of a journal that is in use, the last block may look torn. backup and
restore refuse one that is in use.

Exit codes: 0 the journal is whole, a torn block at its end included; 1 it is damaged, or in a newer format; 2 it cannot be \
read.";

pub(super) fn journal(arguments: &Arguments) -> Result<Went, Stop> {
    let of = match &arguments.what {
        What::Verify(of) | What::Dump(of) | What::Stat(of) => of,
        What::Backup(copied) | What::Restore(copied) => return copy(copied),
    };
    let disk = Folder::at(&of.folder, SyncMode::Data);
    let report = match scan(&disk) {
        Ok(report) => report,
        Err(error @ (JournalError::Damaged { .. } | JournalError::Newer { .. })) => {
            say(&format!("expressway: {error}"));
            return Ok(Went::PartlyWrong);
        }
        Err(error) => return Err(Stop::failed(error.to_string())),
    };
    if report.segments.is_empty() {
        return Err(Stop::failed(format!("{}: there is no journal", of.folder.display())));
    }
    match &arguments.what {
        What::Verify(_) => print(verified(&of.folder, &report).as_bytes())?,
        What::Stat(_) => print(format!("{}\n", stat(&report)).as_bytes())?,
        What::Dump(_) => dump(&disk, &report)?,
        What::Backup(_) | What::Restore(_) => unreachable!("they were done above"),
    }
    Ok(Went::Well)
}

fn copy(Copied { from, to }: &Copied) -> Result<Went, Stop> {
    match expressway::journal::copy(from, to) {
        Ok(report) => {
            print(verified(to, &report).as_bytes())?;
            Ok(Went::Well)
        }
        Err(error @ (JournalError::Damaged { .. } | JournalError::Newer { .. })) => {
            say(&format!("expressway: {error}"));
            Ok(Went::PartlyWrong)
        }
        Err(error) => Err(Stop::failed(format!("{}: {error}", from.display()))),
    }
}

fn verified(folder: &Path, report: &Report) -> String {
    let mut text = format!(
        "{}: whole: blocks {} to {}, {} records, epoch {}\n",
        folder.display(),
        report.first,
        report.last,
        report.records,
        report.epoch
    );
    if let Some((file, offset)) = &report.torn {
        writeln!(text, "{file}, offset {offset}: an incomplete block").expect("a string");
    }
    text
}

fn stat(report: &Report) -> serde_json::Value {
    let segments: Vec<_> = (report.segments.iter())
        .map(|it| {
            json!({
                "name": it.name,
                "bytes": it.bytes,
                "isLive": it.is_live,
                "first": it.run.map(|run| run.first.lsn.0),
                "last": it.run.map(|run| run.last.lsn.0),
                "generation": it.run.map(|run| run.last.generation),
                "used": it.run.map(|run| run.end),
            })
        })
        .collect();
    json!({
        "journal": report.journal.map(|it| format!("{it:016x}")),
        "first": report.first.0,
        "last": report.last.0,
        "trimmed": report.trimmed.0,
        "epoch": report.epoch,
        "generation": report.generation,
        "isSealed": report.is_sealed,
        "torn": report.torn.as_ref().map(|(file, offset)| json!({"file": file, "offset": offset})),
        "blocks": report.blocks,
        "records": report.records,
        "bytes": report.bytes,
        "segments": segments,
    })
}

fn dump(disk: &Folder, report: &Report) -> Result<(), Stop> {
    // After standard output is closed, the remaining blocks are still read, but not printed.
    let mut went = Ok(());
    let mut show = |block: &Block<'_>| {
        if went.is_ok() {
            went = print(lines(block).as_bytes());
        }
    };
    report.read(disk, &mut show).map_err(|error| Stop::failed(error.to_string()))?;
    went
}

/// A block and its records, one a line.
fn lines(block: &Block<'_>) -> String {
    let it = &block.header;
    let head = json!({
        "lsn": it.lsn.0,
        "kind": format!("{:?}", it.kind),
        "generation": it.generation,
        "epoch": it.epoch,
        "trimmed": it.trimmed.0,
        "records": it.records,
        "bytes": it.body_bytes,
        "crc": format!("{:08x}", it.crc),
    });
    let mut lines = format!("{head}\n");
    for (n, record) in block.records().enumerate() {
        let mut hex = String::with_capacity(record.bytes.len() * 2);
        for byte in record.bytes {
            write!(hex, "{byte:02x}").expect("a string");
        }
        let line = json!({
            "lsn": it.lsn.0,
            "record": n,
            "kind": record.kind,
            "partition": record.partition,
            "bytes": record.bytes.len(),
            "hex": hex,
        });
        writeln!(lines, "{line}").expect("a string");
    }
    lines
}
