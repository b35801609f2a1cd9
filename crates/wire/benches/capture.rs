//! Speed of reading a capture: `bench capture_decode VALUE samples/s`.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use netverdict_types::{
    Cookie, Headers, Input, Key, Origin, Probability, Sample, TcpFlags, Timestamp, ZoneId,
};
use netverdict_wire::capture::{Options, Reader, Record, Writer, Zone};

const SAMPLES: u32 = 2_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let file = write()?;
    let (mut best, mut sum) = (f64::MAX, 0);
    for _ in 0..3 {
        let start = Instant::now();
        let mut count = 0;
        let mut reader = Reader::new(file.as_slice())?;
        while let Some(block) = reader.next_block()? {
            for record in block {
                if let Record::Sample(sample) = record? {
                    count += 1;
                    sum += u64::from(black_box(sample).length);
                }
            }
        }
        assert_eq!(count, SAMPLES, "every sample comes back");
        best = best.min(start.elapsed().as_secs_f64());
    }
    assert!(sum > 0, "the samples were read");
    println!(
        "bench capture_decode {:.0} samples/s",
        f64::from(SAMPLES) / best
    );
    println!(
        "bench capture_size {:.1} bytes/sample",
        file.len() as f64 / f64::from(SAMPLES)
    );
    Ok(())
}

/// TCP packets of many connections and points, with their headers.
fn write() -> Result<Vec<u8>, Box<dyn Error>> {
    let mut writer = Writer::new(Vec::new(), Options::default())?;
    writer.zone(&Zone {
        id: ZoneId(0),
        name: "ovn-worker-1",
        node: "ovn-worker-1",
    })?;
    let mut random = 1_u64;
    let mut data = Vec::new();
    for number in 0..SAMPLES {
        // xorshift64
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let (src, dst) = (
            [10, 244, 1, random as u8],
            [10, 244, 2, (random >> 8) as u8],
        );
        let port = (random >> 16) as u16 | 0x8000;
        let sequence = (random >> 32) as u32;
        data.clear();
        etherparse::PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4(src, dst, 63)
            .tcp(port, 8080, sequence, 1_000)
            .write(&mut data, &[])?;
        writer.sample(&Sample {
            zone: ZoneId(0),
            origin: Origin::Psample,
            time: Timestamp(1_795_421_730_000_000_000 + i64::from(number) * 1_234),
            key: Key::Cookie(Cookie {
                domain: 0x0300_0001,
                point: (random >> 40) as u32 % 10_000,
            }),
            group: Some(10),
            probability: Probability::ALL,
            input: Input::Index(7),
            headers: Headers {
                eth_src: Some([2; 6]),
                eth_dst: Some([4; 6]),
                ethertype: Some(0x0800),
                src: Some(src.into()),
                dst: Some(dst.into()),
                protocol: Some(6),
                ttl: Some(63),
                ip_id: Some(0),
                src_port: Some(port),
                dst_port: Some(8080),
                tcp_flags: Some(TcpFlags(TcpFlags::ACK)),
                tcp_seq: Some(sequence),
                ..Headers::default()
            },
            length: 1_400,
            packets: 1,
            bytes: 1_400,
            data: &data,
        })?;
    }
    Ok(writer.finish()?)
}
