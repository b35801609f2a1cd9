//! What must hold for any input. The fuzz target and the test over its corpus (`crates/pipeline/tests/corpus.rs`) share it.

use netverdict_pipeline::Packet;

/// A frame: what is written of what was read is read again. In place of headers that were cut off the payload may be taken for some; after that
/// it stays the same.
pub fn packet(data: &[u8]) {
    let Ok(packet) = Packet::parse(data) else {
        assert!(data.len() < 14, "an Ethernet header is a packet");
        return;
    };
    let again = |packet: &Packet| {
        let mut frame = Vec::new();
        packet.write(&mut frame);
        Packet::parse(&frame)
    };
    let settled = again(&packet).and_then(|packet| again(&packet));
    assert_eq!(settled.and_then(|packet| again(&packet)), settled);
    let reply = packet.reply();
    assert!(packet.tuple().is_none() || reply.tuple().is_some());
    if let Some(answer) = packet.reset_or_unreachable() {
        assert_eq!(
            answer.reset_or_unreachable(),
            None,
            "no answer to an answer"
        );
    }
}
