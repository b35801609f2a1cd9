//! Resolves the samples of a psample recording (each message behind its length, 32 bits, little
//! endian) against a dump of the NB: `resolve nb.json psample.bin`.

use std::error::Error;
use std::fs::{self, File};
use std::io::BufReader;

use netverdict_history::{History, Limits};
use netverdict_ovn::Database;
use netverdict_ovsdb::{Cause, Change, ChangeSet, Replica, Table};
use netverdict_types::Timestamp;
use netverdict_verdict::{Names, Resolver};
use netverdict_wire::psample::Decoder;

#[expect(clippy::print_stdout, reason = "an example")]
fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(dump), Some(recording)) = (arguments.next(), arguments.next()) else {
        return Err("usage: resolve NB-DUMP PSAMPLE-RECORDING".into());
    };
    let rows = Replica::from_dump(BufReader::new(File::open(dump)?))?.replica;
    let changes = rows.tables().flat_map(Table::rows).map(|row| Change {
        table: row.table().into(),
        uuid: row.uuid(),
        old: None,
        new: Some(row.clone()),
    });
    let set = ChangeSet {
        time: 0,
        cause: Cause::Initial,
        transaction: None,
        changes: changes.collect(),
    };
    let (mut history, mut names) = (History::new(Limits::default()), Names::default());
    let zone = history.zone("example");
    names.apply(zone, Database::Northbound, &set);
    history.apply(zone, &set)?;

    let (mut resolver, mut decoder) = (Resolver::default(), Decoder::default());
    let bytes = fs::read(recording)?;
    let mut rest = &bytes[..];
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = u32::from_le_bytes(*length) as usize;
        let (message, after) = after
            .split_at_checked(length)
            .ok_or("the recording is cut")?;
        rest = after;
        decoder.decode(message, Timestamp(0), zone, |sample| {
            println!("{}", resolver.resolve(&history, &names, &sample).message());
        });
    }
    Ok(())
}
