//! Prints how long one psample message and one IPFIX record take to become a sample, headers
//! included: `cargo run --release -p netverdict-wire --example bench_psample`.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Instant;

use netverdict_types::{Timestamp, ZoneId};
use netverdict_wire::headers::parse_frame;
use netverdict_wire::pcap::Reader;
use netverdict_wire::{ipfix, psample};

fn main() {
    let messages = psample_messages();
    let mut decoder = psample::Decoder {
        family: Some(0x22),
        groups: vec![10],
        ..psample::Decoder::default()
    };
    let mut sum = 0u64;
    measure("wire_psample", messages.len(), || {
        for message in &messages {
            decoder.decode(black_box(message), Timestamp(0), ZoneId(0), |sample| {
                sum = sum.wrapping_add(black_box(&sample).bytes);
            });
        }
    });

    let frames: Vec<&[u8]> = messages
        .iter()
        .filter_map(|message| match psample::messages(message, None).next()? {
            Ok(psample::Netlink::Psample(message)) => message.data,
            _ => None,
        })
        .collect();
    measure("wire_headers", frames.len(), || {
        for frame in &frames {
            black_box(&parse_frame(black_box(frame)));
        }
    });
    measure("wire_headers_etherparse", frames.len(), || {
        for frame in &frames {
            black_box(&etherparse::LaxSlicedPacket::from_ethernet(black_box(frame)).unwrap());
        }
    });

    let (templates, data) = ipfix_messages();
    let mut decoder = ipfix::Decoder::default();
    let exporter = SocketAddr::from(([127, 0, 0, 1], 4_739));
    for message in &templates {
        decoder.decode(message, exporter, Timestamp(0), ZoneId(0), |_| {});
    }
    measure("wire_ipfix", data.len(), || {
        for message in &data {
            decoder.decode(
                black_box(message),
                exporter,
                Timestamp(0),
                ZoneId(0),
                |sample| {
                    sum = sum.wrapping_add(black_box(&sample).bytes);
                },
            );
        }
    });
    black_box(sum);
}

/// The best of 20 runs over about 200,000 items, in nanoseconds an item.
fn measure(name: &str, items: usize, mut run: impl FnMut()) {
    let rounds = 200_000 / items;
    let best = (0..20)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..rounds {
                run();
            }
            start.elapsed().as_nanos() as f64 / (rounds * items) as f64
        })
        .fold(f64::INFINITY, f64::min);
    println!("bench {name} {best:.1} ns");
}

fn psample_messages() -> Vec<&'static [u8]> {
    let mut rest: &[u8] = include_bytes!("../tests/data/psample-linux-6.12.bin");
    let mut all = Vec::new();
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let (message, tail) = tail.split_at(u32::from_le_bytes(*length) as usize);
        all.push(message);
        rest = tail;
    }
    all
}

fn ipfix_messages() -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let file: &[u8] = include_bytes!("../tests/data/ipfix-ovs-3.5.pcap");
    let mut reader = Reader::new(file).unwrap();
    let mut all = Vec::new();
    while let Some(packet) = reader.next_packet().unwrap() {
        all.push(packet.data[42..].to_vec());
    }
    all.into_iter().partition(|message| message[16] == 0)
}
