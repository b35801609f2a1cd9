//! What was acknowledged is there once, whatever ended the process, and damage is told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Helpers of tests.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use netverdict_query::ask::{Ask, Want};
use netverdict_store::{Batch, State, Store};
use netverdict_store_parquet::{Options, ParquetStore};
use netverdict_types::{
    Connection, ConnectionId, Counts, Probability, Socket, Tally, TcpFlags, Timestamp, Verdict,
};

const WRITERS: u64 = 3;
const DIRECTORY: &str = "NETVERDICT_CRASH_DIRECTORY";
const SEAL: &str = "NETVERDICT_CRASH_SEAL_ROWS";

/// N times (200) under ingestion, at a random moment.
#[test]
fn killed_it_keeps_what_it_acknowledged_once() {
    let directory = tempfile::tempdir().unwrap();
    let kills = std::env::var("N")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(200);
    let mut acknowledged: HashMap<u64, u64> = HashMap::new();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for kill in 1..=kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "appends_until_it_is_killed",
                "--ignored",
                "--nocapture",
            ])
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut note = |line: Option<std::io::Result<String>>| {
            let line = line?.ok()?;
            if let Some((writer, number)) =
                line.strip_prefix("kept ").and_then(|it| it.split_once(' '))
            {
                acknowledged.insert(writer.parse().unwrap(), number.parse().unwrap());
            }
            Some(())
        };
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        for _ in 0..random % 8 {
            note(lines.next()).expect("the child ended by itself");
        }
        // A moment of no special kind: no event is waited for.
        _ = crossbeam_channel::after(Duration::from_micros(random % 60_000)).recv();
        child.kill().unwrap();
        while note(lines.next()).is_some() {}
        child.wait().unwrap();
        if kill % 20 == 0 || kill == kills {
            let lost = check(directory.path(), &acknowledged);
            assert_eq!(lost, Vec::new(), "after {kill} kills");
        }
    }
    let batches: u64 = acknowledged.values().sum();
    println!("{kills} kills, {batches} batches acknowledged");
    assert!(batches > kills);
}

#[test]
#[ignore = "it is what is killed"]
fn appends_until_it_is_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let mut options = options(Path::new(&directory));
    if let Some(rows) = std::env::var(SEAL).ok().and_then(|rows| rows.parse().ok()) {
        options.seal_rows = rows;
    }
    let store = Arc::new(ParquetStore::open(options).unwrap());
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = store.clone();
            std::thread::spawn(move || {
                wait(async {
                    let name = writer.to_string();
                    let mut number = store.last(&name).await.unwrap().unwrap_or_default();
                    loop {
                        number += 1;
                        store.append(batch(writer, number)).await.unwrap();
                        println!("kept {writer} {number}");
                    }
                })
            })
        })
        .collect();
    let mut blocked = false;
    while !writers.iter().any(|writer| writer.is_finished()) {
        let now = wait(store.state()).unwrap().blocked.is_some();
        if now != blocked {
            println!("{}", if now { "blocked" } else { "free" });
            blocked = now;
        }
        _ = crossbeam_channel::after(Duration::from_millis(20)).recv();
    }
    panic!("a writer failed");
}

#[test]
fn a_torn_end_of_a_log_was_acknowledged_to_nobody() {
    for cut in [1, 7, 100, 1000] {
        let directory = tempfile::tempdir().unwrap();
        let kept = fill(directory.path(), 5);
        let log = only(&directory.path().join("log"), "log");
        let content = std::fs::read(&log).unwrap();
        let mut torn = content.clone();
        torn.extend_from_slice(&content[8..8 + cut]);
        std::fs::write(&log, &torn).unwrap();
        assert_eq!(check(directory.path(), &kept), Vec::new(), "{cut}");
    }
}

#[test]
fn damage_within_a_log_is_set_aside_and_told() {
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path(), 5);
    let log = only(&directory.path().join("log"), "log");
    let mut content = std::fs::read(&log).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 0xff;
    std::fs::write(&log, &content).unwrap();
    let store = open(directory.path());
    let state = wait(store.state()).unwrap();
    assert_eq!(state.losses, [("torn_logs", 1)]);
    let torn = only(&directory.path().join("log"), "torn");
    assert_eq!(std::fs::read(torn).unwrap(), content);
    // What stands before the damage is there, and it goes on.
    let last = wait(store.last("0")).unwrap().unwrap_or_default();
    assert!(last < 5);
    wait(store.append(batch(0, last + 1))).unwrap();
    assert_eq!(wait(store.last("0")).unwrap(), Some(last + 1));
}

#[test]
fn a_torn_segment_is_set_aside_and_told() {
    for (name, found_by_question) in [
        ("rows.parquet", false),
        ("names.zst", false),
        ("rows.parquet", true),
    ] {
        let directory = tempfile::tempdir().unwrap();
        fill(directory.path(), 5);
        let store = open(directory.path());
        wait(store.settle()).unwrap();
        let rows = wait(store.state()).unwrap().rows;
        let file = find(&directory.path().join("segments"), name).unwrap();
        let content = std::fs::read(&file).unwrap();
        let told = |state: State| {
            assert_eq!(state.losses, [("torn_segments", 1), ("torn_rows", rows)]);
            assert_eq!(state.rows, 0);
        };
        let store = if found_by_question {
            // The pages, not the end that was read when it was opened.
            let mut damaged = content.clone();
            damaged[4..content.len() / 2].fill(0x55);
            std::fs::write(&file, damaged).unwrap();
            store
        } else {
            drop(store);
            std::fs::write(&file, &content[..content.len() / 2]).unwrap();
            open(directory.path())
        };
        let all = Ask::all(Want::Rows {
            limit: usize::MAX,
            after: None,
        });
        assert_eq!(wait(store.connections(&all)).unwrap(), Vec::new());
        told(wait(store.state()).unwrap());
        assert!(
            find(&directory.path().join("segments"), name)
                .unwrap()
                .parent()
                .unwrap()
                .extension()
                .unwrap()
                == "torn"
        );
        drop(store);
        told(wait(open(directory.path()).state()).unwrap());
    }
}

#[test]
fn on_a_full_disk_appends_wait_and_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let own = std::env::current_exe().unwrap();
    // No file may grow beyond 200 KB, until it is allowed again.
    let mut child = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -S -f 400; exec \"$@\"", "sh"])
        .arg(own)
        .args([
            "--exact",
            "appends_until_it_is_killed",
            "--ignored",
            "--nocapture",
        ])
        .env(DIRECTORY, directory.path())
        .env(SEAL, "1000000")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged: HashMap<u64, u64> = HashMap::new();
    let mut note = |line: String| {
        if let Some((writer, number)) = line.strip_prefix("kept ").and_then(|it| it.split_once(' '))
        {
            acknowledged.insert(writer.parse().unwrap(), number.parse().unwrap());
        }
    };
    loop {
        let line = lines.next().expect("the child ended by itself").unwrap();
        if line == "blocked" {
            break;
        }
        note(line);
    }
    let raised = Command::new("prlimit")
        .args(["--fsize=unlimited", "--pid", &child.id().to_string()])
        .status();
    assert!(raised.unwrap().success());
    loop {
        let line = lines.next().expect("the child ended by itself").unwrap();
        if line == "free" {
            break;
        }
        note(line);
    }
    for _ in 0..9 {
        note(lines.next().unwrap().unwrap());
    }
    child.kill().unwrap();
    lines.map_while(Result::ok).for_each(note);
    child.wait().unwrap();
    assert_eq!(check(directory.path(), &acknowledged), Vec::new());
}

#[test]
fn one_process_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(directory.path());
    let error = ParquetStore::open(options(directory.path())).err().unwrap();
    assert!(
        error.to_string().contains("another process uses it"),
        "{error}"
    );
    drop(first);
    open(directory.path());
}

/// Appends some batches and closes; tells the last of each writer.
fn fill(directory: &Path, batches: u64) -> HashMap<u64, u64> {
    let mut options = options(directory);
    options.seal_rows = 1 << 20;
    let store = ParquetStore::open(options).unwrap();
    for number in 1..=batches {
        wait(store.append(batch(0, number))).unwrap();
    }
    HashMap::from([(0, batches)])
}

/// Opens the store and sees that it holds the batches of each writer up to its last, each once;
/// tells what it says it lost.
fn check(directory: &Path, acknowledged: &HashMap<u64, u64>) -> Vec<(&'static str, u64)> {
    let store = open(directory);
    let mut expected: HashMap<ConnectionId, Connection> = HashMap::new();
    for writer in 0..WRITERS {
        let last = wait(store.last(&writer.to_string()))
            .unwrap()
            .unwrap_or_default();
        let acknowledged = acknowledged.get(&writer).copied().unwrap_or_default();
        assert!(
            last >= acknowledged,
            "writer {writer}: {acknowledged} acknowledged, {last} there"
        );
        for number in 1..=last {
            for row in batch(writer, number).rows {
                match expected.get_mut(&row.id) {
                    Some(known) => known.fold(&row),
                    None => drop(expected.insert(row.id, row)),
                }
            }
        }
    }
    let all = Ask::all(Want::Rows {
        limit: usize::MAX,
        after: None,
    });
    let found = wait(store.connections(&all)).unwrap();
    assert_eq!(found.len(), expected.len());
    for connection in found {
        assert_eq!(Some(&connection), expected.get(&connection.id));
    }
    wait(store.state()).unwrap().losses
}

/// The same batch each time: new connections, and updates of those of the batches before.
fn batch(writer: u64, number: u64) -> Batch {
    const NEW: u64 = 12;
    let new = (0..NEW).map(|place| update(writer, number, place, 0));
    let old = (1..4_u32)
        .filter(|seq| number > u64::from(*seq))
        .map(|seq| update(writer, number - u64::from(seq), u64::from(seq), seq));
    Batch {
        writer: writer.to_string(),
        number,
        rows: new.chain(old).collect(),
    }
}

fn update(writer: u64, number: u64, place: u64, seq: u32) -> Connection {
    let minute = 60_000_000_000;
    let start = Timestamp(1_795_000_000_000_000_000 + number as i64 * minute);
    Connection {
        id: ConnectionId(
            u128::from(writer << 32 | number << 8 | place)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835),
        ),
        seq,
        network: None,
        protocol: 6,
        client: Socket {
            ip: IpAddr::V4(Ipv4Addr::from(number as u32)),
            port: Some(place as u16),
        },
        server: Socket {
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: Some(80),
        },
        icmp: None,
        src: None,
        dst: None,
        service: None,
        start,
        end: start.after(i64::from(seq) * minute),
        verdict: Verdict::Allowed,
        egress: None,
        ingress: None,
        tcp_flags: TcpFlags(TcpFlags::SYN),
        counts: vec![Counts {
            probability: Probability::ALL,
            original: Tally {
                packets: 1 << (8 * seq),
                bytes: 100,
            },
            reply: Tally::default(),
            dropped: Tally::default(),
        }],
        changes: Vec::new(),
    }
}

fn options(directory: &Path) -> Options {
    let mut options = Options::new(directory);
    options.seal_rows = 200;
    options
}

fn open(directory: &Path) -> ParquetStore {
    ParquetStore::open(options(directory)).unwrap()
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

/// The only file of a directory that ends so.
fn only(directory: &Path, extension: &str) -> std::path::PathBuf {
    let files = std::fs::read_dir(directory).unwrap();
    let mut files: Vec<_> = files
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == extension))
        .filter(|path| std::fs::metadata(path).unwrap().len() > 8)
        .collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

fn find(directory: &Path, name: &str) -> Option<std::path::PathBuf> {
    std::fs::read_dir(directory).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => find(&path, name),
            false => (path.file_name().unwrap() == name).then_some(path),
        }
    })
}
