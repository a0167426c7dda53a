//! `journal`: the content of a journal, and whether it is intact.

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
    #[command(after_help = VERIFY_HELP)]
    Verify(Of),
    /// Print every block and record that is not given up, one JSON object a line
    #[command(after_help = DUMP_HELP)]
    Dump(Of),
    /// Print numbers, sizes and segments as one JSON object
    #[command(after_help = STAT_HELP)]
    Stat(Of),
    /// Copy a journal that is not in use into a new folder, and read the copy back
    #[command(after_help = BACKUP_HELP)]
    Backup(Copied),
    /// Copy the state of a server that does not run from its folder to a cluster, back, or to another cluster, and read it back
    #[command(after_help = COPY_HELP)]
    Copy(Moved),
    /// Copy a backup into a new folder, for `serve --state` to go on with: once only, for what ran twice would be done twice
    #[command(after_help = RESTORE_HELP)]
    Restore(Copied),
}

const VERIFY_HELP: &str = "\
Nothing is written, and no lock is taken: of a journal that is in use, the last block may look torn.

Examples:
  expressway journal verify data/journal
  expressway journal verify postgres://USER@HOST/DATABASE --cluster orders

Exit codes: 0 it is whole, a torn block at its end included; 1 it is damaged, or in a newer format; 2 it cannot be read.";

const DUMP_HELP: &str = "\
Examples:
  expressway journal dump data/journal | head
  expressway journal dump nats://HOST:4222 --cluster orders > orders.ndjson";

const STAT_HELP: &str = "\
Examples:
  expressway journal stat data/journal
  expressway journal stat postgres://USER@HOST/DATABASE";

const BACKUP_HELP: &str = "\
Examples:
  expressway journal backup data/journal backup/

Exit codes: 0 it is copied, and the copy is whole; 1 it is damaged; 2 it cannot be read, or is in use.";

const COPY_HELP: &str = "\
Examples:
  expressway journal copy data/ postgres://USER@HOST/DATABASE
  expressway journal copy data/ nats://HOST:4222 --cluster orders
  expressway journal copy postgres://USER@HOST/DATABASE data/
  expressway journal copy nats://HOST:4222 postgres://USER@HOST/DATABASE --cluster orders
  expressway journal copy postgres://USER@HOST/DATABASE postgres://USER@HOST/DATABASE --to-cluster orders";

const RESTORE_HELP: &str = "\
Examples:
  expressway journal restore backup/ data/journal
  expressway serve --state data/";

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
struct Moved {
    /// The folder that `serve --state` has, or the URL of a cluster
    #[arg(value_name = "FROM")]
    from: String,
    /// The URL of a cluster that has no journal yet, or a folder that is new or empty
    #[arg(value_name = "TO")]
    to: String,
    /// The name of the cluster
    #[arg(long, value_name = "NAME", default_value = "expressway")]
    cluster: String,
    /// The name of the cluster to copy to, if FROM is a cluster of another name
    #[arg(long, value_name = "NAME")]
    to_cluster: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Of {
    /// The journal's folder, or the URL of the cluster that it is in (postgres://…, nats://…)
    #[arg(value_name = "PLACE")]
    place: String,
    /// The name of the cluster
    #[arg(long, value_name = "NAME", default_value = "expressway")]
    cluster: String,
}

impl Of {
    fn is_url(&self) -> bool {
        is_url(&self.place)
    }

    /// For display: without a password.
    fn shown(&self) -> &str {
        if self.is_url() { &self.cluster } else { &self.place }
    }

    /// Visits every block that is in use; `None` when there is no journal.
    fn read(&self, visit: &mut dyn FnMut(&Block<'_>)) -> Result<Option<Report>, JournalFailure> {
        if self.is_url() {
            return read_cluster(self, visit);
        }
        let disk = Folder::at(&self.place, SyncMode::Data);
        let report = scan(&disk)?;
        if report.segments.is_empty() {
            return Ok(None);
        }
        report.read(&disk, visit)?;
        Ok(Some(report))
    }
}

/// Why a journal cannot be read.
enum JournalFailure {
    Journal(JournalError),
    Stop(Stop),
}

impl From<JournalError> for JournalFailure {
    fn from(error: JournalError) -> JournalFailure {
        JournalFailure::Journal(error)
    }
}

impl From<Stop> for JournalFailure {
    fn from(stop: Stop) -> JournalFailure {
        JournalFailure::Stop(stop)
    }
}

fn is_url(text: &str) -> bool {
    let schemes = ["postgres", "postgresql", "nats", "tls"];
    text.split_once("://").is_some_and(|(scheme, _)| schemes.contains(&scheme))
}

#[cfg(feature = "cli-cluster")]
fn read_cluster(of: &Of, visit: &mut dyn FnMut(&Block<'_>)) -> Result<Option<Report>, JournalFailure> {
    let cluster = super::cluster::named(&of.place, &of.cluster)?;
    let report = cluster.scan(visit).map_err(|error| away(&of.place, error))?;
    Ok((report.blocks > 0).then_some(report))
}

/// The failure of a cluster's server: where it is, and what to try.
#[cfg(feature = "cli-cluster")]
fn away(url: &str, error: JournalError) -> JournalFailure {
    match error {
        JournalError::Io { .. } => Stop::failed(super::advice::journal_away(url, error)).into(),
        error => error.into(),
    }
}

#[cfg(not(feature = "cli-cluster"))]
fn read_cluster(_: &Of, _: &mut dyn FnMut(&Block<'_>)) -> Result<Option<Report>, JournalFailure> {
    Err(Stop::failed(super::features::left_out("a cluster", "cli-cluster")).into())
}

#[cfg(feature = "cli-cluster")]
fn moved(Moved { from, to, cluster, to_cluster }: &Moved) -> Result<Went, Stop> {
    use super::cluster::named;
    use expressway::service::{StatePlace, copy_state};
    if !is_url(from) && !Path::new(from).join("journal").is_dir() {
        return Err(Stop::failed(format!(
            "{from}: there is no journal; name the folder that `serve --state` has"
        )));
    }
    let to_cluster = to_cluster.as_ref().unwrap_or(cluster);
    match (is_url(from), is_url(to)) {
        (false, false) => {
            return Err(Stop::failed(
                "one of FROM and TO is the URL of a cluster; `journal backup` copies folders",
            ));
        }
        (true, true) if from == to && cluster == to_cluster => {
            return Err(Stop::failed(
                "FROM and TO are the same cluster; --to-cluster names another one there",
            ));
        }
        _ => {}
    }
    let place = |at: &String, cluster: &str| {
        let place =
            if is_url(at) { StatePlace::Cluster(named(at, cluster)?) } else { StatePlace::Folder(at.into()) };
        Ok::<_, Stop>(place)
    };
    match copy_state(&place(from, cluster)?, &place(to, to_cluster)?) {
        Ok(copied) => {
            let name = if is_url(to) { to_cluster } else { to };
            let text = format!(
                "{name}: whole: executions {}, state machines {}, activities {}\n",
                copied.executions, copied.machines, copied.activities
            );
            print(text.as_bytes())?;
            Ok(Went::Well)
        }
        // The files of the folder fail as I/O, too.
        Err(JournalError::Io { what, source }) if what == "the cluster's database" => {
            let url = if is_url(to) { to } else { from };
            Err(Stop::failed(super::advice::journal_away(url, format!("{what}: {source}"))))
        }
        Err(error) => unread(&error),
    }
}

#[cfg(not(feature = "cli-cluster"))]
fn moved(_: &Moved) -> Result<Went, Stop> {
    Err(Stop::failed(super::features::left_out("a cluster", "cli-cluster")))
}

const AFTER_HELP: &str = "\
verify, dump and stat write nothing and take no lock: of a journal that is in use, the last block may look torn. backup \
and restore refuse one that is in use.

Examples:
  expressway journal verify data/journal
  expressway journal stat data/journal
  expressway journal dump data/journal | head
  expressway journal backup data/journal backup/
  expressway journal copy data/ postgres://USER@HOST/DATABASE

Exit codes: 0 the journal is whole, a torn block at its end included; 1 it is damaged, or in a newer format; 2 it cannot be \
read.";

pub(super) fn journal(arguments: &Arguments) -> Result<Went, Stop> {
    let of = match &arguments.what {
        What::Verify(of) | What::Dump(of) | What::Stat(of) => of,
        What::Backup(copied) | What::Restore(copied) => return copy(copied),
        What::Copy(wanted) => return moved(wanted),
    };
    // After standard output is closed, the remaining blocks are still read, but not printed.
    let mut went = Ok(());
    let mut show = |block: &Block<'_>| {
        if went.is_ok() && matches!(arguments.what, What::Dump(_)) {
            went = print(lines(block).as_bytes());
        }
    };
    let report = match of.read(&mut show) {
        Ok(Some(report)) => report,
        Ok(None) => return Err(no_journal(of.shown())),
        Err(JournalFailure::Journal(JournalError::Io { .. }))
            if !of.is_url() && !Path::new(&of.place).is_dir() =>
        {
            return Err(no_journal(&of.place));
        }
        Err(JournalFailure::Journal(error)) => return unread(&error),
        Err(JournalFailure::Stop(stop)) => return Err(stop),
    };
    went?;
    match &arguments.what {
        What::Verify(_) => print(verified(Path::new(of.shown()), &report).as_bytes())?,
        What::Stat(_) => print(format!("{}\n", stat(&report)).as_bytes())?,
        _ => {}
    }
    Ok(Went::Well)
}

/// The error for a place without a journal: it suggests where the journal may be.
fn no_journal(place: &str) -> Stop {
    let inside = Path::new(place).join("journal");
    let advice = if place.contains("://") && !is_url(place) {
        "the URL of a cluster begins with postgres:// or nats://".to_owned()
    } else if inside.is_dir() {
        format!("it is in {}", inside.display())
    } else if Path::new(place).is_file() {
        "that is a file; name the folder".to_owned()
    } else {
        "with `serve --state FOLDER` it is FOLDER/journal".to_owned()
    };
    Stop::failed(format!("{place}: there is no journal; {advice}"))
}

fn unread(error: &JournalError) -> Result<Went, Stop> {
    match error {
        JournalError::Damaged { .. } | JournalError::Newer { .. } => {
            say(&format!("expressway: {error}"));
            Ok(Went::PartlyWrong)
        }
        error => Err(Stop::failed(error.to_string())),
    }
}

fn copy(Copied { from, to }: &Copied) -> Result<Went, Stop> {
    if !from.is_dir() {
        return Err(no_journal(&from.display().to_string()));
    }
    match expressway::journal::copy(from, to) {
        Err(error @ (JournalError::Held(_) | JournalError::Options(_) | JournalError::Io { .. })) => {
            Err(Stop::failed(format!("{}: {error}", from.display())))
        }
        copied => copied_to(to, copied),
    }
}

fn copied_to(place: &Path, copied: Result<Report, JournalError>) -> Result<Went, Stop> {
    match copied {
        Ok(report) => {
            print(verified(place, &report).as_bytes())?;
            Ok(Went::Well)
        }
        Err(error) => unread(&error),
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

/// A block and its records, one per line.
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
