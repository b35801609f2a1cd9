//! Datapath flows and conntrack entries from a running ovs-vswitchd, by the socket that
//! `ovs-appctl` uses (JSON-RPC 1.0, Open vSwitch `lib/unixctl.c`), or from text that was saved.

use std::fs;
use std::io::{self, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use netverdict_types::{Timestamp, ZoneId};
use netverdict_wire::dpflows::{self, Flow};
use serde::Deserialize;

use crate::{Count, Counts, Sender};

/// Where ovs-vswitchd keeps its pid file and its control socket.
pub const RUN_DIRECTORY: &str = "/run/openvswitch";

/// A connection to the control socket of ovs-vswitchd.
///
/// ```no_run
/// use netverdict_source::datapath::{self, Counters, Vswitchd};
/// use netverdict_wire::dpflows::Totals;
///
/// let text = Vswitchd::find(datapath::RUN_DIRECTORY.as_ref())?.dump_flows(None)?;
/// let counters = Counters::default();
/// let mut totals = Totals::default();
/// for flow in datapath::flows(&text, &counters) {
///     if totals.add(&flow).is_err() {
///         counters.malformed.one();
///     }
/// }
/// # Ok::<(), datapath::Error>(())
/// ```
#[derive(Debug)]
pub struct Vswitchd {
    stream: UnixStream,
    path: PathBuf,
    next: u64,
}

impl Vswitchd {
    /// Connects to the ovs-vswitchd whose pid file lies in a directory ([`RUN_DIRECTORY`]).
    ///
    /// # Errors
    /// [`Error::NotRunning`] without a pid file, or as [`Vswitchd::connect`].
    pub fn find(directory: &Path) -> Result<Self, Error> {
        let file = directory.join("ovs-vswitchd.pid");
        let pid: u32 = fs::read_to_string(&file)
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .ok_or(Error::NotRunning(file))?;
        Self::connect(&directory.join(format!("ovs-vswitchd.{pid}.ctl")))
    }

    /// Connects to a control socket.
    ///
    /// # Errors
    /// [`Error::Connect`].
    pub fn connect(path: &Path) -> Result<Self, Error> {
        let open = || {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        Ok(Self {
            stream: open().map_err(|error| Error::Connect {
                path: path.to_owned(),
                error,
            })?,
            path: path.to_owned(),
            next: 0,
        })
    }

    /// All flows of a datapath (`system@ovs-system` and the like), or of the only one, as
    /// [`flows`] reads them.
    ///
    /// # Errors
    /// As [`Vswitchd::call`].
    pub fn dump_flows(&mut self, datapath: Option<&str>) -> Result<String, Error> {
        self.dump("dpctl/dump-flows", &["-m", "--names"], datapath)
    }

    /// All conntrack entries of a datapath, or of the only one, a line each, as
    /// `netverdict_wire::conntrack::parse_line` reads them. For the userspace datapath it is the
    /// only way to them.
    ///
    /// # Errors
    /// As [`Vswitchd::call`].
    pub fn dump_conntrack(&mut self, datapath: Option<&str>) -> Result<String, Error> {
        self.dump("dpctl/dump-conntrack", &["-m", "-s"], datapath)
    }

    /// Runs a command as `ovs-appctl` does and gives what it prints.
    ///
    /// # Errors
    /// [`Error::Refused`] with ovs-vswitchd's own words, or [`Error::Talk`].
    pub fn call(&mut self, method: &str, arguments: &[&str]) -> Result<String, Error> {
        let id = self.next;
        self.next += 1;
        let request = serde_json::json!({"id": id, "method": method, "params": arguments});
        let answer = self.exchange(&request.to_string(), id).map_err(|error| {
            let (path, method) = (self.path.clone(), method.to_owned());
            Error::Talk {
                path,
                method,
                error,
            }
        })?;
        match (answer.result, answer.error) {
            (_, Some(words)) => Err(Error::Refused {
                method: method.to_owned(),
                words: words.trim_end().to_owned(),
            }),
            (text, None) => Ok(text.unwrap_or_default()),
        }
    }

    fn dump(
        &mut self,
        method: &str,
        options: &[&str],
        datapath: Option<&str>,
    ) -> Result<String, Error> {
        let arguments: Vec<_> = options.iter().copied().chain(datapath).collect();
        self.call(method, &arguments)
    }

    fn exchange(&mut self, request: &str, id: u64) -> io::Result<Answer> {
        self.stream.write_all(request.as_bytes())?;
        let mut answers = serde_json::Deserializer::from_reader(BufReader::new(&self.stream))
            .into_iter::<Answer>();
        loop {
            match answers.next() {
                Some(Ok(answer)) if answer.id == Some(id) => return Ok(answer),
                // An answer to an earlier call that timed out.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Err(ErrorKind::UnexpectedEof.into()),
            }
        }
    }
}

/// The flows in the text of a dump, from [`Vswitchd::dump_flows`] or from a file. Lines that do
/// not read are counted and left out.
pub fn flows<'a>(text: &'a str, counters: &Counters) -> impl Iterator<Item = Flow<'a>> {
    text.lines()
        .filter_map(|line| match dpflows::parse_line(line) {
            Ok(Some(flow)) => {
                counters.flows.one();
                Some(flow)
            }
            Ok(None) => None,
            Err(_) => {
                counters.malformed.one();
                None
            }
        })
}

/// Sends one sample for each flow and each of its cookies, with the flow's exact counts. Returns
/// early when the reader of the channel is gone.
pub fn send(text: &str, zone: ZoneId, seen: Timestamp, sender: &Sender, counters: &Counters) {
    let Some(mut batch) = sender.batch() else {
        return;
    };
    for flow in flows(text, counters) {
        let Ok(cookies) = flow.cookies() else {
            counters.malformed.one();
            continue;
        };
        for (action, times) in cookies {
            counters.samples.one();
            let doubles = flow.packets.saturating_mul(u64::from(times) - 1);
            counters.doubles.add(doubles);
            batch.push(&flow.sample(zone, seen, &action));
            if batch.is_full() && !sender.exchange(&mut batch) {
                return;
            }
        }
    }
    // Also when it is empty: it goes back to the others.
    let _ = sender.send(batch);
}

/// What this source counts.
#[derive(Debug, Default)]
pub struct Counters {
    /// Flows.
    pub flows: Count,
    /// Samples sent: one for each flow and cookie.
    pub samples: Count,
    /// Samples beyond the first that packets gave with the same cookie; they are in no count.
    pub doubles: Count,
    /// Lines that did not read: lost.
    pub malformed: Count,
}

impl Counts for Counters {
    fn counts(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("datapath_flows", self.flows.read()),
            ("datapath_samples", self.samples.read()),
            ("datapath_doubles", self.doubles.read()),
            ("datapath_malformed", self.malformed.read()),
        ]
    }
}

/// Why ovs-vswitchd cannot be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no pid file.
    #[error(
        "ovs-vswitchd does not seem to run: {0} cannot be read; \
         run on its host as root, or name its run directory"
    )]
    NotRunning(PathBuf),
    /// The socket cannot be opened.
    #[error("the control socket {path} of ovs-vswitchd cannot be opened: {error}")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// It did not answer as it should.
    #[error("ovs-vswitchd at {path} did not answer {method}: {error}")]
    Talk {
        /// The socket.
        path: PathBuf,
        /// What it was asked.
        method: String,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// It answered with an error.
    #[error("ovs-vswitchd refuses {method}: {words}")]
    Refused {
        /// What it was asked.
        method: String,
        /// Its own words.
        words: String,
    },
}

/// A dump of a large table takes ovs-vswitchd some seconds, in which it answers nobody.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct Answer {
    id: Option<u64>,
    result: Option<String>,
    error: Option<String>,
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixListener;
    use std::thread::JoinHandle;

    use netverdict_types::{Cookie, Key};

    use super::*;
    use crate::channel;

    const FLOW: &str = "ufid:8e69e90c-ed1f-40a4-90c7-2f3cffab255d, recirc_id(0x7),in_port(p2),\
        eth_type(0x0800),ipv4(frag=no), packets:4, bytes:392, used:8.032s, dp:ovs, actions:\
        psample(group=10,cookie=0x3000001000003ea),psample(group=10,cookie=0x3000001000003ea),p1";

    /// A server that gives its answers in pieces, one after each request.
    fn server(answers: Vec<String>) -> (tempfile::TempDir, JoinHandle<Vec<String>>) {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("ovs-vswitchd.pid"), "77\n").unwrap();
        let listener = UnixListener::bind(directory.path().join("ovs-vswitchd.77.ctl")).unwrap();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut requests = Vec::new();
            for answer in answers {
                let mut request = [0; 1_000];
                let length = stream.read(&mut request).unwrap();
                requests.push(String::from_utf8(request[..length].to_vec()).unwrap());
                for piece in answer.as_bytes().chunks(50) {
                    stream.write_all(piece).unwrap();
                }
            }
            requests
        });
        (directory, thread)
    }

    #[test]
    fn flows_come_from_the_control_socket() {
        let text = format!("flow-dump from the main thread:\n{FLOW}\nbroken\n");
        let late = r#"{"id":99,"result":"late","error":null}"#;
        let flows_answer = serde_json::json!({"id": 0, "result": text, "error": null});
        let refusal = r#"{"id":1,"result":null,"error":"unknown datapath\n"}"#;
        let (directory, thread) = server(vec![format!("{late}{flows_answer}"), refusal.to_owned()]);
        let mut vswitchd = Vswitchd::find(directory.path()).unwrap();
        let dump = vswitchd.dump_flows(None).unwrap();
        assert_eq!(dump, text);
        let error = vswitchd.dump_conntrack(Some("netdev@x")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "ovs-vswitchd refuses dpctl/dump-conntrack: unknown datapath"
        );
        let requests = thread.join().unwrap();
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&requests[0]).unwrap(),
            serde_json::json!({"id": 0, "method": "dpctl/dump-flows", "params": ["-m", "--names"]})
        );
        assert!(requests[1].contains("netdev@x"));

        let (sender, receiver) = channel(2);
        let counters = Counters::default();
        send(&dump, ZoneId(1), Timestamp(5), &sender, &counters);
        drop(sender);
        let batch = receiver.recv().unwrap();
        let samples: Vec<_> = batch.samples().collect();
        assert_eq!(samples.len(), 1);
        let cookie = Cookie {
            domain: 0x0300_0001,
            point: 1002,
        };
        assert_eq!(samples[0].key, Key::Cookie(cookie));
        assert_eq!((samples[0].packets, samples[0].bytes), (4, 392));
        let counts: Vec<_> = counters.counts().into_iter().map(|(_, n)| n).collect();
        assert_eq!(counts, [1, 1, 4, 1]);
    }

    #[test]
    fn a_server_that_leaves_is_an_error() {
        let (directory, thread) = server(vec![r#"{"id":0,"res"#.to_owned()]);
        let mut vswitchd = Vswitchd::find(directory.path()).unwrap();
        let error = vswitchd.dump_flows(None).unwrap_err();
        assert!(matches!(error, Error::Talk { .. }), "{error}");
        thread.join().unwrap();
    }

    #[test]
    fn a_host_without_it_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let error = Vswitchd::find(directory.path()).unwrap_err();
        assert!(matches!(error, Error::NotRunning(_)));
        fs::write(directory.path().join("ovs-vswitchd.pid"), "1\n").unwrap();
        let error = Vswitchd::find(directory.path()).unwrap_err();
        assert!(matches!(error, Error::Connect { .. }));
    }
}
