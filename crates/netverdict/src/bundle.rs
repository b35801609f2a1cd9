//! `netverdict bundle`: all that a supporter needs, in one file.
//!
//! A bundle is a tar archive compressed by gzip and not a capture alone, so that everyday tools
//! open it, and every command that reads a dump reads the whole databases in it. It holds a
//! capture, which `--source bundle:FILE` replays without unpacking.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write, stdout};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use crossbeam_channel::after;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use netverdict_ovn::Database;
use netverdict_ovsdb::{Cause, Change, ChangeSet, Client, Columns, Replica, Table, Wanted};
use netverdict_types::{Clock, SystemClock, ZoneId};
use serde_json::{Value, json};

use crate::databases::{Databases, Remote};
use crate::doctor::{self, Examination};
use crate::engine::zone_name;
use crate::exit::{Done, tell};
use crate::record::Recorder;
use crate::session::{Inputs, Session};
use crate::sources::Spec;

/// Pack NB, SB, Open vSwitch, samples and doctor's report into one file for a supporter
///
/// The file is a tar archive compressed by gzip. `observe --source bundle:FILE` replays it
/// anywhere, without root. It holds the names, addresses and policies of the cluster, and no keys.
#[derive(Args, Clone, Debug)]
pub(crate) struct Bundle {
    /// The file to write; it must not exist yet
    file: PathBuf,

    /// How long to take samples, in seconds; Ctrl-C ends it earlier
    #[arg(long = "for", value_name = "SECONDS", default_value_t = 10)]
    seconds: u32,

    /// Where samples come from, as for observe [default: where Open vSwitch sends them]
    #[arg(long, value_name = "SOURCE")]
    source: Vec<Spec>,

    /// Keep whole packets instead of their headers
    #[arg(long)]
    full: bool,

    #[command(flatten)]
    databases: Databases,
}

/// The directory in the archive.
const ROOT: &str = "bundle";
const CAPTURE: &str = "capture.nvcap";

/// Opens the capture in a bundle. A bundle that is cut off or damaged gives what comes before,
/// and a warning.
///
/// # Errors
/// If the file is no bundle, or what `read` says.
pub(crate) fn read_capture<T>(
    path: &Path,
    read: impl FnOnce(&mut dyn Read) -> Result<T>,
) -> Result<T> {
    const NO_BUNDLE: &str = "no bundle; give a file that `netverdict bundle` wrote";
    let unpacked = Whole {
        input: GzDecoder::new(BufReader::new(File::open(path)?)),
        started: false,
    };
    let mut archive = tar::Archive::new(unpacked);
    for entry in archive.entries().context(NO_BUNDLE)? {
        let mut entry = entry.context(NO_BUNDLE)?;
        let is_capture = entry.path().is_ok_and(|path| path.ends_with(CAPTURE));
        if is_capture {
            return read(&mut entry);
        }
    }
    bail!(NO_BUNDLE)
}

/// Ends where the input is damaged.
struct Whole<R> {
    input: R,
    started: bool,
}

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.input.read(buffer) {
            Err(error) if self.started && is_damage(&error) => {
                tracing::warn!("the bundle is damaged, what follows is lost: {error}");
                Ok(0)
            }
            other => {
                self.started = true;
                other
            }
        }
    }
}

fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}

impl Bundle {
    /// Runs the command.
    ///
    /// # Errors
    /// If the file exists or cannot be written. A database or source that cannot be read is told
    /// in the bundle and on standard error.
    pub(crate) fn run(&self) -> Result<Done> {
        if self.file.exists() {
            bail!("{} exists already", self.file.display());
        }
        let place = match self.file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let packed = tempfile::NamedTempFile::new_in(place)
            .with_context(|| format!("cannot write into {}", place.display()))?;
        let examination = doctor::examine(&self.databases, None)?;
        let mut problems = Vec::new();
        let dumps = self.dumps(place, &mut problems)?;
        let directory = tempfile::tempdir_in(place)?;
        let (capture, taken) =
            self.capture(&examination, &dumps, directory.path(), &mut problems)?;

        let about = json!({
            "netverdict": env!("CARGO_PKG_VERSION"),
            "time": SystemClock.now(),
            "sources": taken.sources,
            "samples": taken.samples,
            "whole_packets": self.full,
            "databases": dumps.iter().map(Dump::about).collect::<Vec<_>>(),
            "problems": problems,
        });
        let mut archive = Archive::new(packed.as_file());
        archive.text("README.txt", &self.readme(&dumps))?;
        archive.text("bundle.json", &format!("{about:#}\n"))?;
        archive.text("doctor.txt", &examination.report.text(false))?;
        let report = serde_json::to_string(&examination.report)?;
        archive.text("doctor.json", &format!("{report}\n"))?;
        archive.file(CAPTURE, File::open(&capture)?)?;
        for dump in &dumps {
            archive.file(&dump.name, dump.file.try_clone()?)?;
        }
        archive.finish()?;
        packed.as_file().sync_all()?;
        packed
            .persist_noclobber(&self.file)
            .map_err(|error| error.error)
            .with_context(|| self.file.display().to_string())?;
        self.tell(&examination, &dumps, &taken, &problems)?;
        Ok(Done::Ok)
    }

    /// Copies all databases as they are now.
    fn dumps(&self, place: &Path, problems: &mut Vec<String>) -> Result<Vec<Dump>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let mut dumps = Vec::new();
        for (database, short, flag) in [
            (Database::Northbound, "nb", "--nb"),
            (Database::Southbound, "sb", "--sb"),
            (Database::Vswitch, "ovs", "--ovs"),
        ] {
            let remotes = self.databases.remotes(database)?;
            if remotes.is_empty() {
                problems.push(format!(
                    "no {} is known; name one with {flag}",
                    database.name()
                ));
            }
            for (number, remote) in remotes.iter().enumerate() {
                // It has no name, so that nothing of it stays whatever happens.
                let file = tempfile::tempfile_in(place)?;
                let copied = runtime.block_on(self.copy(database, remote, &file));
                match copied {
                    Ok(replica) => dumps.push(Dump {
                        name: format!("{short}{}.json", number + 1),
                        flag,
                        zone: number,
                        database,
                        from: remote.to_string(),
                        replica,
                        file,
                    }),
                    Err(error) => {
                        problems.push(format!("{} at {remote}: {error:#}", database.name()));
                    }
                }
            }
        }
        Ok(dumps)
    }

    async fn copy(&self, database: Database, remote: &Remote, file: &File) -> Result<Replica> {
        let mut out = BufWriter::new(file);
        let replica = match remote {
            Remote::Live(endpoints) => {
                let mut config = self.databases.config(database, endpoints);
                config.wanted = Wanted::everything();
                let mut client = Client::new(config);
                let replica = client.sync().await?;
                write_dump(&mut out, replica)?;
                replica.clone()
            }
            Remote::Dump(path) => {
                io::copy(&mut File::open(path)?, &mut out)?;
                Replica::from_dump(BufReader::new(File::open(path)?))?.replica
            }
        };
        out.flush()?;
        Ok(replica)
    }

    /// Records samples and rows; rows alone where there is no source of samples.
    fn capture(
        &self,
        examination: &Examination,
        dumps: &[Dump],
        directory: &Path,
        problems: &mut Vec<String>,
    ) -> Result<(PathBuf, Taken)> {
        let path = directory.join(CAPTURE);
        let source = match (&self.source[..], &examination.source) {
            ([], Ok(source)) => Spec::from_str(source).map(|spec| vec![spec]),
            ([], Err(reason)) => Err(reason.clone()),
            (given, _) => Ok(given.to_vec()),
        };
        match source {
            Ok(source) => {
                let sources: Vec<_> = match &self.source[..] {
                    [] => examination.source.iter().cloned().collect(),
                    given => given.iter().map(ToString::to_string).collect(),
                };
                match self.record(&path, source, &sources) {
                    Ok(samples) => return Ok((path, Taken { sources, samples })),
                    Err(error) => problems.push(format!("no samples were taken: {error:#}")),
                }
                // What was begun lacks rows that came later.
                std::fs::remove_file(&path).or_else(|error| match error.kind() {
                    io::ErrorKind::NotFound => Ok(()),
                    _ => Err(error),
                })?;
            }
            Err(reason) => problems.push(format!("no samples were taken: {reason}")),
        }
        record_rows(&path, self.full, dumps)?;
        Ok((path, Taken::default()))
    }

    fn record(&self, path: &Path, source: Vec<Spec>, names: &[String]) -> Result<u64> {
        let inputs = Inputs {
            manifests: Vec::new(),
            kubeconfig: None,
            source,
            no_state: true,
            ..Inputs::default()
        };
        let recorder = Recorder::create(path, self.full)?;
        let mut session = Session::new(&inputs, &self.databases, Some(recorder))?;
        let interrupter = session.interrupter();
        let time = Duration::from_secs(self.seconds.into());
        thread::Builder::new()
            .name("timer".to_owned())
            .spawn(move || {
                let _ = after(time).recv();
                // The run may be over, or a signal was faster.
                let _ = interrupter.try_send(());
            })?;
        let (names, seconds) = (names.join(" "), self.seconds);
        tell(format_args!(
            "samples of {names} for {seconds} s; Ctrl-C ends it earlier"
        ));
        session.run(&mut |_| Ok(()))?;
        Ok(session.samples())
    }

    fn readme(&self, dumps: &[Dump]) -> String {
        let file = self.file.file_name().unwrap_or_default().to_string_lossy();
        let flags: String = dumps
            .iter()
            .map(|dump| format!(" {} {}", dump.flag, dump.name))
            .collect();
        let packets = if self.full {
            "whole packets"
        } else {
            "headers of packets"
        };
        format!(
            "A bundle of netverdict {version}: databases, samples and doctor's report of one moment.\n\
             It holds names, addresses, policies and {packets}; no keys.\n\
             \n\
             netverdict observe --source bundle:{file}       shows who decided about each packet\n\
             tar -xf {file}                                  unpacks it into the directory {ROOT}\n\
             \n\
             Unpacked, in that directory:\n\
             \n\
             doctor.txt, doctor.json     what worked there and what did not\n\
             bundle.json                 what is in the bundle, and what could not be taken\n\
             netverdict sampling status{flags}\n\
             netverdict observe --source capture:{CAPTURE}\n",
            version = env!("CARGO_PKG_VERSION"),
        )
    }

    fn tell(
        &self,
        examination: &Examination,
        dumps: &[Dump],
        taken: &Taken,
        problems: &[String],
    ) -> Result<()> {
        let file = self.file.display();
        let size = std::fs::metadata(&self.file)?.len().div_ceil(1024);
        let mut out = stdout().lock();
        writeln!(out, "{file}, {size} KiB:")?;
        for dump in dumps {
            let rows = dump.replica.len();
            writeln!(out, "  {:<14} {rows} rows of {}", dump.name, dump.from)?;
        }
        let sources = taken.sources.join(" ");
        match taken.samples {
            0 if sources.is_empty() => writeln!(out, "  {CAPTURE:<14} rows without samples")?,
            samples => writeln!(out, "  {CAPTURE:<14} {samples} samples from {sources}")?,
        }
        writeln!(
            out,
            "  {:<14} {}",
            "doctor.txt",
            examination.report.counts()
        )?;
        writeln!(out, "replay it: netverdict observe --source bundle:{file}")?;
        out.flush()?;
        for problem in problems {
            tell(format_args!("not in the bundle: {problem}"));
        }
        Ok(())
    }
}

/// What became of the samples.
#[derive(Default)]
struct Taken {
    sources: Vec<String>,
    samples: u64,
}

/// A database as it was.
struct Dump {
    name: String,
    flag: &'static str,
    zone: usize,
    database: Database,
    from: String,
    replica: Replica,
    file: File,
}

impl Dump {
    fn about(&self) -> Value {
        json!({
            "file": self.name,
            "database": self.database.name(),
            "from": self.from,
            "schema": self.replica.schema_version(),
            "rows": self.replica.len(),
        })
    }
}

/// Writes what `ovsdb-client dump -f json` prints: a table a line.
pub(crate) fn write_dump(out: &mut impl Write, replica: &Replica) -> Result<()> {
    for table in replica.tables() {
        let columns: Vec<_> = table.columns().collect();
        let headings: Vec<_> = std::iter::once("_uuid").chain(columns.clone()).collect();
        let caption = format!("{} table", table.name());
        write!(out, r#"{{"caption":{},"data":["#, json!(caption))?;
        for (number, row) in table.rows().enumerate() {
            if number > 0 {
                out.write_all(b",")?;
            }
            write!(out, r#"[["uuid","{}"]"#, row.uuid())?;
            for column in &columns {
                let value = row
                    .column(column)
                    .map_or(Value::Null, |datum| datum.to_json());
                write!(out, ",{value}")?;
            }
            out.write_all(b"]")?;
        }
        writeln!(out, r#"],"headings":{}}}"#, json!(headings))?;
    }
    Ok(())
}

/// A capture with the rows of dumps, and no sample.
fn record_rows(path: &Path, full: bool, dumps: &[Dump]) -> Result<()> {
    let mut recorder = Recorder::create(path, full)?;
    let mut names: Vec<Option<String>> = Vec::new();
    for dump in dumps {
        let replica = dump.replica.clone().restrict(&dump.database.wanted());
        let rows = replica.tables().flat_map(Table::rows);
        let set = ChangeSet {
            time: SystemClock.now().0,
            cause: Cause::Initial,
            transaction: None,
            changes: rows
                .map(|row| Change {
                    table: row.table().into(),
                    uuid: row.uuid(),
                    old: None,
                    new: Some(row.clone()),
                })
                .collect(),
        };
        if names.len() <= dump.zone {
            names.resize(dump.zone + 1, None);
        }
        if dump.database == Database::Northbound {
            names[dump.zone] = zone_name(&set);
        }
        let name = names[dump.zone].as_deref().unwrap_or(crate::engine::GLOBAL);
        let zone = ZoneId(u16::try_from(dump.zone).context("too many zones")?);
        recorder.revision(zone, name, dump.database, &set)?;
    }
    recorder.flush()
}

/// The archive that is being written.
struct Archive<'a>(tar::Builder<GzEncoder<BufWriter<&'a File>>>);

impl<'a> Archive<'a> {
    fn new(file: &'a File) -> Self {
        let packer = GzEncoder::new(BufWriter::new(file), Compression::default());
        Self(tar::Builder::new(packer))
    }

    fn text(&mut self, name: &str, text: &str) -> Result<()> {
        self.put(name, text.len() as u64, text.as_bytes())
    }

    fn file(&mut self, name: &str, mut file: File) -> Result<()> {
        let length = file.seek(SeekFrom::End(0))?;
        file.rewind()?;
        self.put(name, length, BufReader::new(file))
    }

    fn put(&mut self, name: &str, length: u64, content: impl Read) -> Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(length);
        header.set_mode(0o600);
        header.set_mtime(u64::try_from(SystemClock.now().0 / 1_000_000_000).unwrap_or(0));
        let path = format!("{ROOT}/{name}");
        Ok(self.0.append_data(&mut header, path, content)?)
    }

    fn finish(self) -> Result<()> {
        self.0.into_inner()?.finish()?.flush()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_reads_back_as_it_was() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../lab/captures/native/nb1.json"
        );
        let read = |bytes: &[u8]| Replica::from_dump(bytes).unwrap();
        let first = read(&std::fs::read(path).unwrap());
        let mut written = Vec::new();
        write_dump(&mut written, &first.replica).unwrap();
        let second = read(&written);
        assert!(second.problems.is_empty());
        assert!(first.replica.len() > 100);
        let rows = |replica: &Replica| {
            let mut rows: Vec<_> = replica
                .tables()
                .flat_map(Table::rows)
                .map(|row| (row.uuid(), format!("{row:?}")))
                .collect();
            rows.sort();
            rows
        };
        assert_eq!(rows(&first.replica), rows(&second.replica));
    }

    #[test]
    fn the_capture_is_found_and_damage_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("b");
        let file = File::create_new(&path).unwrap();
        let mut archive = Archive::new(&file);
        archive.text("README.txt", "hello").unwrap();
        archive.text(CAPTURE, "the capture").unwrap();
        archive.finish().unwrap();
        let mut text = String::new();
        read_capture(&path, |input| Ok(input.read_to_string(&mut text)?)).unwrap();
        assert_eq!(text, "the capture");

        std::fs::write(&path, b"something else").unwrap();
        let error = read_capture(&path, |_| Ok(())).unwrap_err();
        assert!(
            format!("{error:#}").contains("netverdict bundle"),
            "{error:#}"
        );
    }

    #[test]
    fn what_comes_before_the_damage_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("b");
        let file = File::create_new(&path).unwrap();
        let mut archive = Archive::new(&file);
        let text: String = (0..100_000).map(|number: u64| number.to_string()).collect();
        archive.text(CAPTURE, &text).unwrap();
        archive.finish().unwrap();
        let whole = std::fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 0xff;
        for damaged in [&whole[..whole.len() / 2], &flipped] {
            std::fs::write(&path, damaged).unwrap();
            let mut read = Vec::new();
            read_capture(&path, |input| Ok(input.read_to_end(&mut read)?)).unwrap();
            let same = read.iter().zip(text.as_bytes()).take_while(|(a, b)| a == b);
            assert!(same.count() > 10_000, "{}", read.len());
        }
    }
}
