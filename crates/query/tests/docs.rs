//! The table of fields in the documents is the one of the code.

use std::fmt::Write;

use netverdict_query::{Kind, Name, Question, parse};

const DOCUMENT: &str = include_str!("../../../docs/query-language.md");

#[test]
fn the_document_lists_the_fields() {
    let mut table = String::from("| field | type | what it is |\n|---|---|---|\n");
    for name in Name::all().iter().filter(|name| name.half().is_none()) {
        let mut kind = match name.kind {
            Kind::Text => "text".to_owned(),
            Kind::Named => "name".to_owned(),
            Kind::Word(words) => format!("`{}`", words.all().join("` `")),
            Kind::Number { max: i64::MAX, .. } => "number".to_owned(),
            Kind::Number { min, max } => format!("number, {min} to {max}"),
            Kind::Time => "time".to_owned(),
            Kind::Duration => "duration".to_owned(),
            Kind::Fraction => "share".to_owned(),
            Kind::Ip => "address".to_owned(),
            Kind::Bool => "truth".to_owned(),
            Kind::TcpFlags => "TCP flags".to_owned(),
            Kind::Protocol => "protocol".to_owned(),
            Kind::Uuid => "UUID".to_owned(),
        };
        if let (Kind::Word(_), Some(ends)) = (name.kind, name.name.strip_suffix(".kind"))
            && ends != "owner"
        {
            kind = "as `kind`".to_owned();
        }
        let also = match name.aliases {
            [] => String::new(),
            aliases => format!("; also `{}`", aliases.join("`, `")),
        };
        writeln!(table, "| `{}` | {kind} | {}{also} |", name.name, name.about).unwrap();
    }
    assert!(
        DOCUMENT.contains(&table),
        "put this into docs/query-language.md:\n{table}"
    );
}

#[test]
fn the_document_lists_the_fields_of_a_half() {
    for half in ["egress.", "ingress."] {
        let names = Name::all()
            .iter()
            .filter_map(|name| name.name.strip_prefix(half));
        let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
        let list = names.join(", ");
        assert!(
            DOCUMENT.contains(&list),
            "put this into docs/query-language.md:\n{list}"
        );
    }
}

#[test]
fn the_examples_of_the_document_are_queries() {
    let block = DOCUMENT.split("```").nth(1).unwrap();
    assert_eq!(block.trim().lines().count(), 4);
    for line in block.trim().lines() {
        parse(line).unwrap();
    }
    let questions = DOCUMENT.split("## Questions").nth(1).unwrap();
    let block = questions.split("```").nth(1).unwrap();
    assert_eq!(block.trim().lines().count(), 4);
    for line in block.trim().lines() {
        let question = Question::parse(line).unwrap();
        assert_eq!(question.to_string(), line);
    }
    let inline = DOCUMENT
        .split('`')
        .filter(|text| text.contains(['=', '~', '<', '>']) && text.starts_with(char::is_lowercase));
    let mut read = 0;
    for text in inline.filter(|text| !text.contains('\n')) {
        parse(text).unwrap_or_else(|error| panic!("{}", error.report()));
        read += 1;
    }
    assert!(read > 10, "{read}");
}
