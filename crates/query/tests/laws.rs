//! What holds for all queries and records.
#![allow(clippy::unwrap_used, clippy::panic)] // Of helpers; tests may anyway.

mod common;

use std::collections::BTreeSet;

use common::{Model, NOW, Owned, Style, model, record, term};
use netverdict_query::flags::{Argument, Flag};
use netverdict_query::{Kind, Name, complete, parse};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

proptest! {
    #![proptest_config(Config { cases: 512, failure_persistence: None, ..Config::default() })]

    #[test]
    fn printing_and_reading_give_the_same_query(model in model(), style in 1..u64::MAX) {
        let text = model.text(&mut Style(style));
        let query = parse(&text).map_err(|error| TestCaseError::fail(format!("{}", error.report())))?;
        let printed = query.to_string();
        let again = parse(&printed).map_err(|error| TestCaseError::fail(format!("{}", error.report())))?;
        prop_assert_eq!(&again, &query, "{} printed {}", text, printed);
        prop_assert_eq!(again.to_string(), printed);
    }

    #[test]
    fn evaluation_equals_the_obvious_one(model in model(), style in 1..u64::MAX, record in record()) {
        let text = model.text(&mut Style(style));
        let plan = parse(&text).unwrap().plan(NOW);
        prop_assert_eq!(plan.matches(&record), model.holds(&record), "{}\n{:#?}", text, plan);
    }

    #[test]
    fn de_morgan(a in model(), b in model(), style in 1..u64::MAX, record in record()) {
        let mut style = Style(style);
        let (a, b) = (a.text(&mut style), b.text(&mut style));
        let ask = |text: String| parse(&text).unwrap().plan(NOW).matches(&record);
        prop_assert_eq!(
            ask(format!("not (({a}) and ({b}))")),
            ask(format!("not ({a}) or not ({b})"))
        );
        prop_assert_eq!(
            ask(format!("not (({a}) or ({b}))")),
            ask(format!("not ({a}) and not ({b})"))
        );
        prop_assert_eq!(ask(format!("not not ({a})")), ask(a.clone()));
        let both = parse(&a).unwrap().and(parse(&b).unwrap());
        prop_assert_eq!(both.plan(NOW).matches(&record), ask(format!("({a}) and ({b})")));
        prop_assert_eq!(parse(&both.to_string()).unwrap(), both);
    }

    #[test]
    fn flags_print_a_query_that_reads_back(
        lines in proptest::collection::vec((select(&Flag::ALL[..]), 0..4_usize, any::<bool>()), 0..8),
        record in record(),
    ) {
        let mut arguments = Vec::new();
        for (flag, index, turned) in lines {
            if turned {
                arguments.push(Argument::Not);
            }
            let values = match flag.as_str().rsplit('-').next() {
                Some("ip") => ["10.0.0.1", "10.0.0.0/8", "fd00::/16", "192.0.2.1"],
                Some("port") => ["1", "2", "0..3", "65535"],
                Some("protocol") => ["tcp", "17", "icmp", "1"],
                Some("verdict") => ["allowed", "dropped", "d*", "Delegated"],
                Some("direction") => ["ingress", "Egress", "*gress", "In*"],
                _ => ["a", "web-?", "blue/web-0", "not"],
            };
            arguments.push(Argument::Filter(flag, values[index].to_owned()));
        }
        let query = netverdict_query::flags::query(&arguments).unwrap();
        let again = parse(&query.to_string()).unwrap();
        prop_assert_eq!(again.plan(NOW), query.plan(NOW));
        prop_assert_eq!(query.plan(NOW).matches(&record), obvious(&arguments, &record));
        prop_assert_eq!(again, query);
    }

    #[test]
    fn any_text_is_a_query_or_an_error_with_its_place(text in "[a-z.=!~<>()\"'\\\\, 0-9*/üAND]{0,40}") {
        match parse(&text) {
            Ok(query) => prop_assert_eq!(parse(&query.to_string()).unwrap(), query),
            Err(error) => {
                prop_assert!(text.get(error.span()).is_some());
                prop_assert!(error.report().to_string().contains('^'));
            }
        }
        for cursor in 0..=text.len() + 1 {
            complete(&text, cursor);
        }
    }
}

proptest! {
    // Each of them completes at each place.
    #![proptest_config(Config { cases: 64, failure_persistence: None, ..Config::default() })]

    #[test]
    fn completions_keep_the_text_right(model in model(), style in 1..u64::MAX) {
        let text = model.text(&mut Style(style));
        for cursor in 0..=text.len() {
            for found in complete(&text, cursor) {
                prop_assert_eq!(found.range.end, cursor);
                let completed = format!("{}{}", &text[..found.range.start], found.text);
                if let Err(error) = parse(&completed) {
                    prop_assert!(error.is_incomplete(), "{}", error.report());
                }
            }
        }
    }
}

/// Each type meets each of its operators, is found true and false, known and missing.
#[test]
fn the_random_queries_reach_everything() {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut seen = BTreeSet::new();
    let mut names = BTreeSet::new();
    let (terms, records) = (term(), record());
    for _ in 0..10_000 {
        let model = terms.new_tree(&mut runner).unwrap().current();
        let record = records.new_tree(&mut runner).unwrap().current();
        let holds = model.holds(&record);
        let Model::Term(name, operator, values) = &model else {
            continue;
        };
        let text = model.text(&mut Style(1 + seen.len() as u64));
        assert_eq!(
            parse(&text).unwrap().plan(NOW).matches(&record),
            holds,
            "{text}"
        );
        let missing = name
            .targets
            .iter()
            .all(|(_, field)| !record.0.contains_key(field));
        seen.insert((kind_word(name.kind), operator.as_str(), holds, missing));
        names.insert((name.name, operator.as_str()));
        if missing {
            let negative = ["!=", "!~"].contains(&operator.as_str());
            assert_eq!(holds, negative, "{name} {operator} {values:?}");
        }
    }
    for name in Name::all() {
        for operator in name.kind.operators() {
            let (kind, operator) = (kind_word(name.kind), operator.as_str());
            assert!(names.contains(&(name.name, operator)), "{name} {operator}");
            for holds in [true, false] {
                assert!(
                    seen.contains(&(kind, operator, holds, false)),
                    "{kind} {operator} {holds}"
                );
            }
        }
    }
    println!(
        "{} cells of type, operator, outcome and absence",
        seen.len()
    );
}

/// The rule of the flags, flag by flag: of each sign, one value at least, or none.
fn obvious(arguments: &[Argument], record: &Owned) -> bool {
    let mut turned = false;
    let mut groups = Vec::new();
    for argument in arguments {
        match argument {
            Argument::Not => turned = true,
            Argument::Filter(flag, value) => {
                let alone =
                    netverdict_query::flags::query(&[Argument::Filter(*flag, value.clone())]);
                let holds = alone.unwrap().plan(NOW).matches(record);
                groups.push((*flag, turned, holds));
                turned = false;
            }
        }
    }
    groups.iter().all(|(flag, turned, _)| {
        let of_group =
            |(other, sign, holds): &(Flag, bool, bool)| other == flag && sign == turned && *holds;
        groups.iter().any(of_group) != *turned
    })
}

fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::Named => "named",
        Kind::Word(_) => "word",
        Kind::Number { .. } => "number",
        Kind::Time => "time",
        Kind::Duration => "duration",
        Kind::Fraction => "fraction",
        Kind::Ip => "ip",
        Kind::Bool => "bool",
        Kind::TcpFlags => "flags",
        Kind::Protocol => "protocol",
        Kind::Uuid => "uuid",
    }
}
