//! Prints each change of a database:
//! `cargo run --example watch -- unix:/run/openvswitch/db.sock Open_vSwitch [TABLE…]`
#![allow(clippy::print_stdout)]

use std::error::Error;

use netverdict_ovsdb::{Change, Client, Config, Event, Row, Wanted};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(endpoints), Some(database)) = (arguments.next(), arguments.next()) else {
        return Err("usage: watch ENDPOINT[,ENDPOINT…] DATABASE [TABLE…]".into());
    };
    let tables: Vec<_> = arguments.collect();
    let wanted = if tables.is_empty() {
        Wanted::everything()
    } else {
        let wanted = Wanted::new();
        tables
            .iter()
            .fold(wanted, |wanted, table| wanted.whole_table(table))
    };
    let mut client = Client::new(Config::new(endpoints.parse()?, &database, wanted));
    loop {
        match client.next_event().await {
            Event::Connected(to) => {
                println!("connected to {} by {}", to.endpoint, to.method);
                println!("schema {}, missing: {}", to.schema_version, to.missing);
            }
            Event::Changes(set) => {
                println!(
                    "{:?} at {}: {} rows",
                    set.cause,
                    set.time,
                    set.changes.len()
                );
                set.changes.iter().for_each(print);
            }
            Event::Disconnected(from) => {
                println!("{}: {}", from.endpoint, from.error);
            }
            Event::NotLoaded(error) => println!("{error}"),
            Event::NotSaved(error) => println!("{error}"),
        }
    }
}

fn print(change: &Change) {
    match (&change.old, &change.new) {
        (None, Some(new)) => println!("+ {new:?}"),
        (Some(old), None) => println!("- {old:?}"),
        (Some(old), Some(new)) => {
            println!("~ {} {}: {}", change.table, change.uuid, differ(old, new))
        }
        (None, None) => {}
    }
}

fn differ(old: &Row, new: &Row) -> String {
    old.columns()
        .zip(new.columns())
        .filter(|(before, after)| before.1 != after.1)
        .map(|((column, before), (_, after))| format!("{column} {before:?} -> {after:?}"))
        .collect::<Vec<_>>()
        .join(", ")
}
