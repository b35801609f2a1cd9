//! Sends recorded psample messages to a socket, as a datapath in user space would: `replay_psample FILE SOCKET [TIMES]`.
//!
//! FILE is one that `lab-listen psample FILE` wrote: each netlink message behind its length (32 bits, little endian).
//! On the other side: `netverdict observe --source psample-unix:SOCKET`.
#![allow(clippy::print_stdout)]

use std::env;
use std::error::Error;
use std::fs;

use netverdict_source::psample_unix::Output;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [file, socket, times @ ..] = arguments.as_slice() else {
        return Err("usage: replay_psample FILE SOCKET [TIMES]".into());
    };
    let times: u64 = times.first().map_or(Ok(1), |times| times.parse())?;
    let bytes = fs::read(file)?;
    let mut output = Output::new(socket)?;
    for _ in 0..times {
        let mut rest = bytes.as_slice();
        while let Some((length, after)) = rest.split_first_chunk() {
            let length = u32::from_le_bytes(*length) as usize;
            let (message, after) = after
                .split_at_checked(length)
                .ok_or("the last message is cut off")?;
            output.push(&mut message.to_vec());
            rest = after;
        }
        output.flush();
    }
    println!(
        "{} sent, {} lost, {} unheard",
        output.sent, output.lost, output.unheard
    );
    Ok(())
}
