//! Evaluation allocates nothing.
#![allow(unsafe_code)] // A counting allocator cannot be had without.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use netverdict_query::live::Live;
use netverdict_query::{Field, Question, Record, Value, parse};
use netverdict_types::{TcpFlags, Timestamp};
use uuid::Uuid;

#[path = "common/connection.rs"]
mod connection;

struct Counting;

thread_local! {
    /// Of this thread: what others allocate meanwhile is not its doing.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

struct Row;

impl Record for Row {
    fn value(&self, field: Field) -> Value<'_> {
        match field {
            Field::DstIp => Value::Ip([10, 0, 0, 1].into()),
            Field::TcpFlags => Value::Flags(TcpFlags(2)),
            Field::AclUuid => Value::Uuid(Uuid::from_u128(5)),
            Field::Message => Value::Text("Allowed by network policy a in namespace b"),
            Field::DstPort => Value::Number(80),
            _ => Value::Missing,
        }
    }
}

#[test]
fn evaluation_allocates_nothing() {
    let query = parse(
        "ip in 10.0.0.0/8 and tcp_flags=syn and acl.uuid~*-*5 and message~*policy*b \
         and dst.port in (1..10, 80) and not (pod=a/b or time>-5m)",
    )
    .unwrap();
    let plan = query.plan(Timestamp(0));
    let before = ALLOCATIONS.get();
    let mut matched = 0;
    for _ in 0..1_000 {
        matched += usize::from(plan.matches(&Row));
    }
    let after = ALLOCATIONS.get();
    assert_eq!((matched, after - before), (1_000, 0));
}

#[test]
fn questions_on_connections_allocate_for_new_groups_only() {
    let question = Question::parse(
        "verdict=dropped and policy=blue/guard and not egress.policy~blue/* and duration>1s \
         | count, sum(bytes), max(end) by policy, src.pod every 5m",
    );
    let ask = question
        .unwrap()
        .ask(Timestamp(0), Timestamp::MIN, Timestamp::MAX);
    let mut live = Live::new(ask, 100).unwrap();
    let record = connection::connection(Timestamp(1_795_421_730_500_000_000));
    live.add(&record);
    let before = ALLOCATIONS.get();
    for _ in 0..1_000 {
        live.add(&record);
    }
    let after = ALLOCATIONS.get();
    let answer = live.answer();
    assert_eq!((answer.lines.len(), after - before), (2, 0));
}
