//! Reads a query from the command line and asks it of two records:
//! `cargo run -p netverdict-query --example match -- 'dst.port=8080 and not verdict=allowed'`.

use std::process::ExitCode;

use netverdict_query::{Field, Record, Value, parse};
use netverdict_types::{Clock, SystemClock};

struct Row {
    text: &'static str,
    pod: &'static str,
    port: i64,
    verdict: &'static str,
}

impl Record for Row {
    fn value(&self, field: Field) -> Value<'_> {
        match field {
            Field::DstNamespace => Value::Text("blue"),
            Field::DstPod => Value::Text(self.pod),
            Field::DstPort => Value::Number(self.port),
            Field::Verdict => Value::Text(self.verdict),
            _ => Value::Missing,
        }
    }
}

#[allow(clippy::print_stdout, clippy::print_stderr)]
fn main() -> ExitCode {
    let text: Vec<_> = std::env::args().skip(1).collect();
    let query = match parse(&text.join(" ")) {
        Ok(query) => query,
        Err(error) => {
            eprintln!("{}", error.report());
            return ExitCode::from(2);
        }
    };
    let plan = query.plan(SystemClock.now());
    println!("query: {query}\nplan: {plan:#?}");
    for row in [
        Row {
            text: "blue/web-0:8080 dropped",
            pod: "web-0",
            port: 8080,
            verdict: "dropped",
        },
        Row {
            text: "blue/db-0:5432 allowed",
            pod: "db-0",
            port: 5432,
            verdict: "allowed",
        },
    ] {
        println!("{}: {}", row.text, plan.matches(&row));
    }
    ExitCode::SUCCESS
}
