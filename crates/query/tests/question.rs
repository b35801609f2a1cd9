//! What stands behind `|`: reading, printing, mistakes, completion.
#![allow(clippy::unwrap_used, clippy::panic)] // Of helpers; tests may anyway.

mod common;

use common::{NOW, Style, model};
use netverdict_query::ask::{Ask, Cursor, Groups, Measure, Order, Want};
use netverdict_query::{
    Field, Grammar, HalfField, MAX_ITEMS, Name, Question, complete_with, parse,
};
use netverdict_types::Timestamp;
use proptest::prelude::*;
use proptest::sample::{Index, select};

const UNTIL: Timestamp = Timestamp(5);

fn ask(text: &str) -> Ask {
    let question = Question::parse(text).unwrap_or_else(|error| panic!("{}", error.report()));
    let again = Question::parse(&question.to_string()).unwrap();
    assert_eq!(again, question, "{text} printed {question}");
    question.ask(NOW, Timestamp::MIN, UNTIL)
}

fn groups(text: &str) -> Groups {
    match ask(text).want {
        Want::Groups(groups) => groups,
        rows => panic!("{text} asks for {rows:?}"),
    }
}

#[test]
fn known_questions() {
    let rows = |limit, after| Want::Rows { limit, after };
    assert_eq!(ask("").want, rows(100, None));
    assert_eq!(ask("zone=a").want, rows(100, None));
    assert_eq!(ask("zone=a | limit 7").want, rows(7, None));
    let cursor = Cursor {
        end: NOW,
        id: 77 << 90,
    };
    assert_eq!(
        ask(&format!("|after {cursor}")).want,
        rows(100, Some(cursor))
    );
    let asked = ask("zone=a and verdict=dropped | by policy top 5");
    assert_eq!((asked.since, asked.until), (Timestamp::MIN, UNTIL));
    assert_eq!(
        asked.filter,
        parse("zone=a and verdict=dropped").unwrap().plan(NOW)
    );
    let counted = |by| Groups {
        by,
        every: None,
        measures: vec![Measure::Count],
        order: Some((0, Order::Descending)),
        top: 100,
    };
    assert_eq!(
        asked.want,
        Want::Groups(Groups {
            top: 5,
            ..counted(vec![Field::OwnerNamespace, Field::OwnerName])
        })
    );
    assert_eq!(groups("|count"), counted(vec![]));
    assert_eq!(
        groups("| by src.pod, src.namespace, egress.policy"),
        counted(vec![
            Field::SrcNamespace,
            Field::SrcPod,
            Field::Egress(HalfField::OwnerNamespace),
            Field::Egress(HalfField::OwnerName),
        ])
    );
    assert_eq!(
        groups("| every 1h30m order values").every,
        Some(5_400_000_000_000)
    );
    assert_eq!(groups("| every 1m order values").order, None);
    let ordered = groups("| by zone order sum(bytes) asc");
    assert_eq!(
        ordered.measures,
        [Measure::Count, Measure::Sum(Field::Bytes)]
    );
    assert_eq!(ordered.order, Some((1, Order::Ascending)));
    let all = groups(
        "| top 20 order max(end) asc by dst.port count, sum(bytes), min(start), max(end), \
         distinct(src.pod), distinct(service.name)",
    );
    assert_eq!(
        all,
        Groups {
            by: vec![Field::DstPort],
            every: None,
            measures: vec![
                Measure::Count,
                Measure::Sum(Field::Bytes),
                Measure::Min(Field::Start),
                Measure::Max(Field::End),
                Measure::Distinct(Some(Field::SrcNamespace), Field::SrcPod),
                Measure::Distinct(None, Field::ServiceName),
            ],
            order: Some((3, Order::Ascending)),
            top: 20,
        }
    );
}

#[test]
fn print_is_short() {
    for (text, printed) in [
        ("", ""),
        ("zone=a|by verdict", "zone=a | by verdict"),
        ("|top 3 by verdict", "| by verdict top 3"),
        ("| every 60m count", "| count every 1h"),
        (
            "zone = 'a|b' | order  sum( bytes ) by policy.kind  sum(bytes),count",
            "zone=\"a|b\" | sum(bytes), count by owner.kind order sum(bytes) desc",
        ),
    ] {
        assert_eq!(Question::parse(text).unwrap().to_string(), printed);
    }
}

#[test]
fn messages_and_carets() {
    for (text, message, carets) in [
        (
            "zone=a |",
            "expected `count` `sum(` `min(` `max(` `distinct(` `by` `every` `order` `top` `limit` `after`, found the end",
            "        ^",
        ),
        (
            "zone=a | group by zone",
            "expected `count` `sum(` `min(` `max(` `distinct(` `by` `every` `order` `top` `limit` `after`, found `group`",
            "         ^^^^^",
        ),
        (
            "| by zone by node",
            "expected `count` `sum(` `min(` `max(` `distinct(` `every` `order` `top` or the end, found `by`",
            "          ^^",
        ),
        (
            "| limit 5 by zone",
            "expected `after` or the end, found `by`",
            "          ^^",
        ),
        (
            "zone=a zone=b | count",
            "expected `and`, `or`, `|` or the end, found `zone`",
            "       ^^^^",
        ),
        (
            "(zone=a | count",
            "expected `and`, `or` or `)`, found `|`",
            "        ^",
        ),
        (
            "| count | count",
            "expected `by` `every` `order` `top` or the end, found `|`",
            "        ^",
        ),
        (
            "| by namespace",
            "`namespace` is of either end: write `src.namespace` or `dst.namespace`",
            "     ^^^^^^^^^",
        ),
        (
            "| distinct(pod)",
            "`pod` is of either end: write `src.pod` or `dst.pod`",
            "           ^^^",
        ),
        (
            "| by polcy",
            "there is no field `polcy`; did you mean `policy`?",
            "     ^^^^^",
        ),
        (
            "| sum(zone)",
            "`sum(zone)` cannot be told: only numbers and durations add up",
            "      ^^^^",
        ),
        (
            "| max(verdict)",
            "`max(verdict)` cannot be told: only numbers, durations, shares and times have an order",
            "      ^^^^^^^",
        ),
        (
            "| distinct(policy)",
            "`distinct(policy)` could be of either half: write egress. or ingress. before the field",
            "           ^^^^^^",
        ),
        (
            "| sum bytes",
            "expected `(` and a field, found `bytes`",
            "      ^^^^^",
        ),
        ("| sum(bytes", "expected `)`, found the end", "           ^"),
        (
            "| count, by zone",
            "expected `count` `sum(` `min(` `max(` `distinct(`, found `by`",
            "         ^^",
        ),
        (
            "| by zone top 0",
            "`top` cannot be `0`: it is a whole number from 1 to 1000000",
            "              ^",
        ),
        (
            "| limit many",
            "`limit` cannot be `many`: it is a whole number from 1 to 1000000",
            "        ^^^^",
        ),
        (
            "| count every 5",
            "`every` cannot be `5`: it is a length of time, such as 1m, 5m or 1h30m",
            "              ^",
        ),
        (
            "| count every 0s",
            "`every` cannot be `0s`: it is a length of time, such as 1m, 5m or 1h30m",
            "              ^^",
        ),
        (
            "| count every",
            "expected a length of time after `every`, found the end",
            "             ^",
        ),
        (
            "| after abc",
            "`after` cannot be `abc`: it is what an earlier answer gave, whole",
            "        ^^^",
        ),
    ] {
        let error = Question::parse(text).unwrap_err();
        assert_eq!(error.to_string(), message, "{text}");
        let report = error.report().to_string();
        let lines: Vec<_> = report.lines().collect();
        assert_eq!(lines[2], format!("  {carets}"), "{text}");
    }
    let many = format!("| by {}", vec!["zone"; MAX_ITEMS + 1].join(", "));
    let error = Question::parse(&many).unwrap_err();
    assert_eq!(error.to_string(), "at most 16 may stand here");
}

#[test]
fn known_completions() {
    let known = |name: &Name, _: &str| {
        let words: &[&str] = match name.name {
            "namespace" => &["blue", "black", "red", "a b"],
            "policy" => &["blue/web", "red/db", "/"],
            _ => &[],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    };
    const FIRST: &str = "count sum( min( max( distinct( by  every  order  top  limit  after ";
    const MORE: &str = "count sum( min( max( distinct( every  order  top ";
    for (text, expected) in [
        ("zone=a ^", "and  or  | "),
        ("(zone=a ^", "and  or  )"),
        ("zone=a^", ""),
        ("zone=a | ^", FIRST),
        ("zone=a |^", FIRST),
        ("| co^", "count"),
        ("| count ^", ",  by  every  order  top "),
        ("| count^", ", "),
        ("| sum^", "sum( ("),
        ("| sum(rep^", "reply.bytes reply.packets"),
        (
            "| distinct(src.^",
            "src.ip src.kind src.name src.namespace src.node src.pod src.port",
        ),
        ("| sum(bytes^", ")"),
        ("| sum(bytes), ^", "count sum( min( max( distinct("),
        ("| by polic^", "policy"),
        ("| by namesp^", ""),
        ("| by policy ^", &format!(",  {MORE}")),
        ("| by policy^", ", "),
        ("| by policy, verd^", "verdict"),
        ("| by policy every ^", "1m 5m 1h 1d"),
        (
            "| by policy order ^",
            "count sum( min( max( distinct( values",
        ),
        (
            "| by policy order count ^",
            "asc desc count sum( min( max( distinct( every  top ",
        ),
        ("| by policy top ^", "5 10 20 100"),
        ("| limit 5 ^", "after "),
        ("| after ^", ""),
        ("| by policy top 5 lim^", ""),
        ("namespace=^", "blue black red \"a b\""),
        ("namespace=bl^", "blue black"),
        ("namespace in (blue, r^", "red ,  )"),
        ("namespace~b^", ""),
        ("policy=^", "blue/web red/db"),
        ("verdict=dr^", "dropped"),
    ] {
        let cursor = text.find('^').unwrap();
        let found = complete_with(&text.replace('^', ""), cursor, Grammar::Question, known);
        let texts: Vec<_> = found.iter().map(|one| one.text.as_str()).collect();
        assert_eq!(texts.join(" "), expected, "{text}");
    }
}

fn question() -> impl Strategy<Value = String> {
    let single: Vec<_> = Name::all()
        .iter()
        .filter(|it| it.targets.len() == 1)
        .collect();
    let measures: Vec<String> = ["sum", "min", "max", "distinct"]
        .iter()
        .flat_map(|function| {
            single
                .iter()
                .map(move |it| format!("{function}({})", it.name))
        })
        .filter(|it| Question::parse(&format!("|{it}")).is_ok())
        .chain(["count".to_owned()])
        .collect();
    let by = proptest::collection::vec(select(single), 0..4);
    let told = proptest::collection::vec(select(measures), 0..4);
    let every = select(vec![
        "",
        "every 5m",
        "every 1h30m",
        "every 1ns",
        "every 2w1d",
    ]);
    let top = select(vec!["", "top 1", "top 1000000"]);
    let order = (
        any::<Index>(),
        select(vec!["", "no", "asc", "desc", "values"]),
    );
    let groups = (by, told, every, top, order).prop_flat_map(|(by, told, every, top, order)| {
        let by: Vec<_> = by.iter().map(|it| it.name).collect();
        let by = match by.is_empty() {
            true => String::new(),
            false => format!("by {}", by.join(", ")),
        };
        let measure = match told.is_empty() {
            true => "sum(bytes)",
            false => order.0.get(&told),
        };
        let order = match order.1 {
            "no" => String::new(),
            "values" => "order values".to_owned(),
            direction => format!("order {measure} {direction}"),
        };
        let clauses = vec![
            told.join(" , "),
            by,
            every.to_owned(),
            top.to_owned(),
            order,
        ];
        Just(clauses).prop_shuffle().prop_map(|clauses| {
            let clauses: Vec<_> = clauses.into_iter().filter(|it| !it.is_empty()).collect();
            match clauses.is_empty() {
                true => "count".to_owned(),
                false => clauses.join("  "),
            }
        })
    });
    let rows =
        (any::<i64>(), any::<u128>(), 1..1_000_000_usize).prop_flat_map(|(end, id, limit)| {
            let cursor = Cursor {
                end: Timestamp(end),
                id,
            };
            select(vec![
                format!("limit {limit}"),
                format!("after {cursor}"),
                format!("after {cursor} limit {limit}"),
                format!("limit {limit} after {cursor}"),
            ])
        });
    let filter = prop_oneof![Just(None), model().prop_map(Some)];
    (filter, prop_oneof![3 => groups, 1 => rows], 1..u64::MAX).prop_map(|(filter, shape, style)| {
        let filter = filter.map_or(String::new(), |model| model.text(&mut Style(style)));
        format!("{filter} | {shape}")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn printing_and_reading_give_the_same_question(text in question()) {
        let question = Question::parse(&text)
            .map_err(|error| TestCaseError::fail(format!("{}", error.report())))?;
        let printed = question.to_string();
        let again = Question::parse(&printed)
            .map_err(|error| TestCaseError::fail(format!("{}", error.report())))?;
        prop_assert_eq!(&again, &question, "{} printed {}", text, printed);
        prop_assert_eq!(again.to_string(), printed);
        let ask = question.ask(NOW, Timestamp::MIN, UNTIL);
        prop_assert_eq!(ask.check(), Ok(()));
        let both = question.clone().and(parse("zone=a or zone=b").unwrap());
        prop_assert_eq!(Question::parse(&both.to_string()).unwrap(), both);
    }

    #[test]
    fn cursors_come_back(end: i64, id: u128) {
        let cursor = Cursor { end: Timestamp(end), id };
        let text = cursor.to_string();
        prop_assert_eq!(text.len(), 32);
        prop_assert_eq!(text.parse(), Ok(cursor));
    }

    #[test]
    fn any_text_is_a_cursor_or_not(text in "[A-Za-z0-9_=+/ü-]{30,34}") {
        if let Ok(cursor) = text.parse::<Cursor>() {
            prop_assert_eq!(cursor.to_string(), text);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn completions_keep_the_text_right(text in question()) {
        let known = |_: &Name, _: &str| {
            ["a", "blue/web", "10.0.0.1", "5", "a b|", "not", "\\"].map(str::to_owned).to_vec()
        };
        for cursor in (0..=text.len()).filter(|it| text.is_char_boundary(*it)) {
            for found in complete_with(&text, cursor, Grammar::Question, known) {
                prop_assert_eq!(found.range.end, cursor);
                let completed = format!("{}{}", &text[..found.range.start], found.text);
                if let Err(error) = Question::parse(&completed) {
                    prop_assert!(error.is_incomplete(), "{}", error.report());
                }
            }
        }
    }
}
