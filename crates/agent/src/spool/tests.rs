#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const LIMIT: u64 = 64 << 10;

#[derive(Clone, Debug)]
enum Step {
    Push(usize),
    /// All up to so many of those that are there.
    Kept(usize),
    /// The process ends, and so many bytes of the last file are not there.
    Restart(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (0..3_000_usize).prop_map(Step::Push),
        3 => (0..20_usize).prop_map(Step::Kept),
        1 => prop_oneof![Just(0), 1..4_000_usize].prop_map(Step::Restart),
    ]
}

fn all(spool: &mut Spool) -> Vec<Report> {
    let mut at = Position::default();
    std::iter::from_fn(|| {
        let report = spool.after(at)?;
        at = report.position;
        Some(report)
    })
    .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_there_is_what_was_not_kept_dropped_or_torn(steps in vec(step(), 1..120)) {
        let directory = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(directory.path(), LIMIT, 1).unwrap();
        let mut model: VecDeque<Report> = VecDeque::new();
        let mut last = Position::default();
        for step in steps {
            match step {
                Step::Push(length) => {
                    let position = spool.next();
                    prop_assert!(position > last);
                    last = position;
                    let bytes = vec![position.number as u8; length];
                    let before = spool.counts().dropped_reports;
                    spool.push(&bytes, 1).unwrap();
                    model.push_back(Report { position, bytes });
                    let dropped = spool.counts().dropped_reports - before;
                    // The oldest, and as many as are counted.
                    model.drain(..usize::try_from(dropped).unwrap());
                    prop_assert!(spool.bytes() <= LIMIT + 8_192);
                    prop_assert_eq!(spool.counts().dropped_decisions, spool.counts().dropped_reports);
                }
                Step::Kept(count) => {
                    let Some(report) = model.get(count.min(model.len().saturating_sub(1))) else {
                        continue;
                    };
                    // Of this incarnation; those before are kept on their own.
                    let up_to = report.position;
                    spool.kept(up_to);
                    model.retain(|it| {
                        it.position.incarnation != up_to.incarnation || it.position > up_to
                    });
                }
                Step::Restart(torn) => {
                    let newest = spool.segments.back().map(|it| (it.path.clone(), it.bytes));
                    let was_open = spool.segments.back().is_some_and(|it| it.incarnation == spool.incarnation);
                    drop(spool);
                    if let Some((path, bytes)) = newest.filter(|_| was_open && torn > 0) {
                        let file = OpenOptions::new().write(true).open(path).unwrap();
                        file.set_len(bytes.saturating_sub(torn as u64)).unwrap();
                    }
                    spool = Spool::open(directory.path(), LIMIT, last.incarnation + 1).unwrap();
                    let there = all(&mut spool);
                    if torn == 0 {
                        // What was kept of a file may be there again: the server says that it has it.
                        prop_assert_eq!(spool.counts().torn_bytes, 0);
                    }
                    let known: Vec<_> = there.iter().filter(|it| model.contains(it)).cloned().collect();
                    // Only the end may be gone.
                    prop_assert_eq!(&known[..], &model.iter().take(known.len()).cloned().collect::<Vec<_>>()[..]);
                    if torn == 0 {
                        prop_assert_eq!(known.len(), model.len());
                    }
                    model = there.into();
                    prop_assert!(spool.next().incarnation > last.incarnation);
                    last = Position { incarnation: spool.next().incarnation, number: 0 };
                }
            }
            prop_assert_eq!(all(&mut spool), model.iter().cloned().collect::<Vec<_>>());
            prop_assert_eq!(spool.len(), model.len());
        }
    }

    #[test]
    fn no_file_is_too_odd_to_open(bytes in vec(any::<u8>(), 0..600), flip in any::<usize>()) {
        let directory = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(directory.path(), LIMIT, 1).unwrap();
        for _ in 0..5 {
            spool.push(&bytes, 7).unwrap();
        }
        let path = spool.segments.back().unwrap().path.clone();
        drop(spool);
        let mut whole = fs::read(&path).unwrap();
        let place = flip % whole.len();
        whole[place] ^= 0x40;
        fs::write(&path, &whole).unwrap();
        let mut spool = Spool::open(directory.path(), LIMIT, 1).unwrap();
        let there = all(&mut spool);
        prop_assert_eq!(there.len(), place / (HEADER + bytes.len()));
        prop_assert!(there.iter().all(|it| it.bytes == bytes));
        prop_assert!(spool.counts().torn_bytes > 0);
        fs::write(directory.path().join("0000000000000009-00000000000000000001.reports"), &bytes).unwrap();
        drop(spool);
        prop_assert!(Spool::open(directory.path(), LIMIT, 1).unwrap().next().incarnation > 9);
    }
}

#[test]
fn two_agents_do_not_share_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let _spool = Spool::open(directory.path(), LIMIT, 1).unwrap();
    let error = Spool::open(directory.path(), LIMIT, 1).unwrap_err();
    assert!(error.to_string().contains("another agent"), "{error}");
}
