//! Listens to a source for some seconds, and prints each sample's key and packet, and at the end
//! what was counted: `listen psample[:GROUP] 10`, `listen ipfix:[::]:4739 10`.
#![allow(clippy::print_stdout)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use netverdict_source::{Counts, Stop, channel, ipfix, psample};
use netverdict_types::{Clock, SystemClock};

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Run = Box<dyn FnOnce(&Stop) -> Result<(), Failure> + Send>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "psample".to_owned());
    let seconds = arguments.next().map_or(Ok(10), |text| text.parse())?;

    let (sender, receiver) = channel(4);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (kind, place) = name.split_once(':').unwrap_or((&name, ""));
    let (run, counters): (Run, Arc<dyn Counts>) = if kind == "ipfix" {
        let counters = Arc::new(ipfix::Counters::default());
        let options = ipfix::Options::new(place.parse()?);
        let source = ipfix::Ipfix::bind(&options, clock, sender, Arc::clone(&counters))?;
        println!("listening with {:?}", source.receive_buffer());
        (Box::new(|stop| Ok(source.run(stop)?)), counters)
    } else {
        let counters = Arc::new(psample::Counters::default());
        let options = psample::Options {
            groups: if place.is_empty() {
                Vec::new()
            } else {
                vec![place.parse()?]
            },
            ..psample::Options::default()
        };
        let source = psample::Psample::open(&options, clock, sender, Arc::clone(&counters))?;
        println!("listening with {:?}", source.receive_buffer());
        (Box::new(|stop| Ok(source.run(stop)?)), counters)
    };

    let stop = Stop::new()?;
    let thread = std::thread::spawn({
        let stop = stop.clone();
        move || run(&stop)
    });
    let end = Instant::now() + Duration::from_secs(seconds);
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        let Some(batch) = receiver.recv_timeout(left) else {
            break;
        };
        for sample in batch.samples() {
            let headers = sample.headers;
            println!(
                "{} {:?} {:?} {:?}:{:?} -> {:?}:{:?} {:?} {}",
                sample.time,
                sample.key,
                sample.input,
                headers.src,
                headers.src_port,
                headers.dst,
                headers.dst_port,
                headers.tcp_flags,
                sample.probability,
            );
        }
        receiver.give_back(batch);
    }
    stop.stop();
    let result = thread
        .join()
        .unwrap_or_else(|_| Err("the source panicked".into()));
    for (name, count) in counters.counts() {
        println!("{name} {count}");
    }
    result
}
