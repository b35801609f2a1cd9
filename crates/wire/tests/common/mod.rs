//! What the test binaries share.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr
)]

use std::path::Path;
use std::process::Command;

use netverdict_types::Timestamp;
use netverdict_wire::pcap::Reader;

/// The packets of a capture file with their times.
pub fn packets(file: &[u8]) -> Vec<(Timestamp, Vec<u8>)> {
    let mut reader = Reader::new(file).unwrap();
    let mut all = Vec::new();
    while let Some(packet) = reader.next_packet().unwrap() {
        all.push((packet.time, packet.data.to_vec()));
    }
    all
}

/// The UDP payloads of an Ethernet and IPv4 capture without options.
pub fn payloads(file: &[u8]) -> Vec<(Timestamp, Vec<u8>)> {
    let mut all = packets(file);
    for (_, frame) in &mut all {
        frame.drain(..42);
    }
    all
}

/// One line per packet that matches, of the named fields with tabs between; `None` without
/// tshark, which NETVERDICT_REQUIRE_TSHARK=1 makes an error.
pub fn tshark(file: &Path, arguments: &[&str], fields: &[&str]) -> Option<Vec<Vec<String>>> {
    let mut command = Command::new("tshark");
    command.arg("-n").arg("-r").arg(file).args(arguments);
    command.args(["-T", "fields", "-E", "separator=/t", "-E", "occurrence=f"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let output = match command.env("TZ", "UTC").output() {
        Ok(output) => output,
        Err(error) => {
            let required = std::env::var_os("NETVERDICT_REQUIRE_TSHARK").is_some_and(|v| v == "1");
            assert!(!required, "tshark does not run: {error}");
            eprintln!("SKIPPED: tshark does not run ({error}); install it to compare with it");
            return None;
        }
    };
    assert!(
        output.status.success(),
        "tshark: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    Some(
        text.lines()
            .map(|line| line.split('\t').map(str::to_owned).collect())
            .collect(),
    )
}

/// An Ethernet, IPv4 and UDP frame around a payload.
pub fn udp_frame(port: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    etherparse::PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([127, 0, 0, 1], [127, 0, 0, 2], 64)
        .udp(49_152, port)
        .write(&mut frame, payload)
        .unwrap();
    frame
}
