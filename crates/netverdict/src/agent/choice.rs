//! Which source an agent reads where nobody says so.

use std::net::SocketAddr;
use std::sync::Arc;

use netverdict_ebpf::Probe;
use netverdict_source::psample;
use netverdict_types::{SystemClock, causes};

use crate::exit::tell;
use crate::sources::{Kind, Live, Spec};

/// The best source that works here: eBPF, else psample, else IPFIX at this address; says why not
/// a better one.
pub(crate) fn choose(ipfix: SocketAddr) -> Spec {
    let tries = [
        (Live::Ebpf(Vec::new()), try_ebpf as Try),
        (Live::Psample(Vec::new()), try_psample),
    ];
    let (live, why_not) = first(tries, Live::Ipfix(ipfix));
    for line in why_not {
        tell(line);
    }
    spec(live)
}

/// Opens a source and closes it again; tells why it does not work.
type Try = fn() -> Result<(), String>;

/// The first that works, and why those before it do not.
fn first(tries: impl IntoIterator<Item = (Live, Try)>, last: Live) -> (Live, Vec<String>) {
    let mut why_not = Vec::new();
    for (live, open) in tries {
        match open() {
            Ok(()) => return (live, why_not),
            Err(why) => why_not.push(format!("{} does not work here: {why}", spec(live))),
        }
    }
    (last, why_not)
}

fn spec(live: Live) -> Spec {
    Spec {
        kind: Kind::Live(live),
        zone: None,
    }
}

fn try_ebpf() -> Result<(), String> {
    let probe = Probe::attach(&netverdict_ebpf::Options::default());
    probe.map(drop).map_err(|error| causes(&error))
}

fn try_psample() -> Result<(), String> {
    let (sender, _batches) = netverdict_source::channel(1);
    let options = psample::Options::default();
    let counters = Arc::new(psample::Counters::default());
    let opened = psample::Psample::open(&options, Arc::new(SystemClock), sender, counters);
    opened.map(drop).map_err(|error| causes(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_works_is_read_and_the_others_are_explained() {
        let tries = |ebpf: Try, psample: Try| {
            let last = Live::Ipfix("127.0.0.1:4739".parse().unwrap());
            let tries = [
                (Live::Ebpf(Vec::new()), ebpf),
                (Live::Psample(Vec::new()), psample),
            ];
            let (live, why_not) = first(tries, last);
            (spec(live).to_string(), why_not.join("\n"))
        };
        let works: Try = || Ok(());
        let fails: Try = || Err("no such thing".to_owned());
        assert_eq!(tries(works, fails), ("ebpf".to_owned(), String::new()));
        let ebpf = "ebpf does not work here: no such thing";
        assert_eq!(tries(fails, works), ("psample".to_owned(), ebpf.to_owned()));
        let both = format!("{ebpf}\npsample does not work here: no such thing");
        assert_eq!(
            tries(fails, fails),
            ("ipfix:127.0.0.1:4739".to_owned(), both)
        );
    }
}
