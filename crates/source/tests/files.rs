//! Objects from files, read once or watched.
#![allow(clippy::unwrap_used)]

mod taker;

use std::collections::BTreeSet;
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use netverdict_manifest::{Key, Kind, Severity};
use netverdict_source::Stop;
use netverdict_source::manifests::Files;
use netverdict_source::objects::Objects;
use proptest::prelude::*;

use crate::taker::{Running, State};

fn read(files: Files) -> State {
    let mut state = State::default();
    state.take(files.read().unwrap());
    state
}

fn follow(files: Files) -> Running {
    let stop = Stop::new().unwrap();
    let running = Running::start(stop.clone(), files.watch(stop));
    running.until("the first state", |state| state.changes > 0);
    running
}

fn holds(watch: &Running, objects: &[&str]) {
    watch.until(&format!("{objects:?}"), |state| state.objects() == objects);
}

fn namespaces(names: &[&str]) -> String {
    let one =
        |name: &&str| format!("---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n");
    names.iter().map(one).collect()
}

const BROKEN: &str = "---\nkind: Namespace\nmetadata: {name: [\n";

struct Directory(tempfile::TempDir);

impl Directory {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// As careful editors do.
    fn replace(&self, name: &str, text: &str) {
        self.write(".new", text);
        fs::rename(self.path(".new"), self.path(name)).unwrap();
    }

    fn files(&self) -> Files {
        Files::new([self.0.path()])
    }
}

#[test]
fn paths_are_read_in_order_and_the_last_of_two_counts() {
    let at = Directory::new();
    at.write("b/1.yaml", &namespaces(&["one", "two"]));
    at.write(
        "a.json",
        r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"one"}}"#,
    );
    at.write("c.yml", &namespaces(&["three", "two", "two"]));
    at.write("c.txt", &namespaces(&["four"]));
    at.write(".hidden/a.yaml", &namespaces(&["five"]));
    at.write(".a.yaml", &namespaces(&["six"]));
    symlink(at.0.path(), at.path("d")).unwrap();
    symlink(at.path("c.txt"), at.path("e.yaml")).unwrap();

    let state = read(at.files());
    let all = [
        "four: e.yaml:5",
        "one: 1.yaml:5",
        "three: c.yml:5",
        "two: c.yml:15",
    ];
    assert_eq!(state.objects(), all);
    let twice =
        |of: &str| format!("warning twice: Namespace {of} is there twice; the last one counts");
    assert_eq!(state.said, [twice("one"), twice("two"), twice("two")]);

    // A file of any name, when it is given by name; and none is read twice.
    let paths = [
        at.path("c.txt"),
        at.path("./b/1.yaml"),
        at.path("b/1.yaml"),
        at.path("b"),
    ];
    let state = read(Files::new(paths));
    assert_eq!(
        state.objects(),
        ["four: c.txt:5", "one: 1.yaml:5", "two: 1.yaml:10"]
    );
    assert!(state.said.is_empty(), "{:?}", state.said);

    let missing = at.path("missing.yaml");
    let error = Files::new([at.path("b"), missing]).read().unwrap_err();
    assert!(
        error.to_string().contains("missing.yaml cannot be read"),
        "{error}"
    );
}

#[test]
fn what_makes_no_sense_is_told_and_costs_nothing_else() {
    let at = Directory::new();
    at.write(
        "a.yaml",
        &[&namespaces(&["one"]), BROKEN, &namespaces(&["two"])].concat(),
    );
    fs::write(
        at.path("b.yaml"),
        [namespaces(&["three"]).as_bytes(), b"---\na: \xe4\n"].concat(),
    )
    .unwrap();
    fs::create_dir(at.path("empty")).unwrap();
    let state = read(Files::new([
        at.path("a.yaml"),
        at.path("b.yaml"),
        at.path("empty"),
    ]));
    assert_eq!(
        state.objects(),
        ["one: a.yaml:5", "three: b.yaml:5", "two: a.yaml:13"]
    );
    assert_eq!(state.said.len(), 3, "{:?}", state.said);
    assert!(
        state.said[2].starts_with("warning no-manifest: "),
        "{:?}",
        state.said
    );
}

#[test]
fn a_first_state_comes_even_where_there_is_nothing() {
    let at = Directory::new();
    let watch = follow(at.files());
    watch.said("holds no manifest");
    at.write("a.yaml", &namespaces(&["one"]));
    holds(&watch, &["one: a.yaml:5"]);
    watch.end();
}

#[test]
fn what_happens_in_a_directory_is_followed() {
    let at = Directory::new();
    at.write("a.yaml", &namespaces(&["one", "two"]));
    let watch = follow(at.files());
    holds(&watch, &["one: a.yaml:5", "two: a.yaml:10"]);

    at.write("a.yaml", &namespaces(&["one", "three"]));
    holds(&watch, &["one: a.yaml:5", "three: a.yaml:10"]);
    at.replace("a.yaml", &namespaces(&["three"]));
    holds(&watch, &["three: a.yaml:5"]);
    // A new directory with one more within.
    at.write("b/c/d.yml", &namespaces(&["four"]));
    holds(&watch, &["four: d.yml:5", "three: a.yaml:5"]);
    at.write("b/c/e.yml", &namespaces(&["five"]));
    holds(
        &watch,
        &["five: e.yml:5", "four: d.yml:5", "three: a.yaml:5"],
    );
    // What was hidden comes forth.
    at.write("b/f.yaml", &namespaces(&["four"]));
    holds(
        &watch,
        &["five: e.yml:5", "four: f.yaml:5", "three: a.yaml:5"],
    );
    watch.said("Namespace four is there twice");
    fs::remove_file(at.path("b/f.yaml")).unwrap();
    holds(
        &watch,
        &["five: e.yml:5", "four: d.yml:5", "three: a.yaml:5"],
    );
    fs::rename(at.path("b"), at.path("z")).unwrap();
    at.write("z/c/e.yml", &namespaces(&["six"]));
    holds(
        &watch,
        &["four: d.yml:5", "six: e.yml:5", "three: a.yaml:5"],
    );
    fs::remove_dir_all(at.path("z")).unwrap();
    holds(&watch, &["three: a.yaml:5"]);
    let state = watch.end();
    assert_eq!(state.texts.len(), 1);
}

#[test]
fn a_file_given_by_name_is_followed_through_what_editors_do() {
    let at = Directory::new();
    at.write("there/a.yaml", &namespaces(&["one"]));
    symlink("there", at.path("way")).unwrap();
    fs::create_dir(at.path("links")).unwrap();
    symlink("../way/a.yaml", at.path("links/link")).unwrap();
    let watch = follow(Files::new([at.path("links/link")]));
    holds(&watch, &["one: link:5"]);
    at.write("there/a.yaml", &namespaces(&["two"]));
    holds(&watch, &["two: link:5"]);
    at.replace("there/a.yaml", &namespaces(&["three"]));
    holds(&watch, &["three: link:5"]);
    // A volume of Kubernetes turns a link to another directory.
    at.write("then/a.yaml", &namespaces(&["four"]));
    symlink("then", at.path("way.new")).unwrap();
    fs::rename(at.path("way.new"), at.path("way")).unwrap();
    holds(&watch, &["four: link:5"]);
    at.write("then/a.yaml", &namespaces(&["five"]));
    holds(&watch, &["five: link:5"]);
    // Gone for a while.
    fs::remove_dir_all(at.path("then")).unwrap();
    watch.said("link cannot be read");
    holds(&watch, &["five: link:5"]);
    at.write("then/a.yaml", &namespaces(&["six"]));
    holds(&watch, &["six: link:5"]);
    watch.end();
}

#[test]
fn a_file_is_followed_where_links_lead_to_its_directory() {
    let at = Directory::new();
    at.write("1/deep/a.yaml", &namespaces(&["one"]));
    at.write("2/deep/a.yaml", &namespaces(&["two"]));
    symlink("1", at.path("now")).unwrap();
    let watch = follow(Files::new([at.path("now/deep/a.yaml")]));
    holds(&watch, &["one: a.yaml:5"]);
    symlink("2", at.path("next")).unwrap();
    fs::rename(at.path("next"), at.path("now")).unwrap();
    holds(&watch, &["two: a.yaml:5"]);
    at.replace("2/deep/a.yaml", &namespaces(&["three"]));
    holds(&watch, &["three: a.yaml:5"]);
    watch.end();
}

#[test]
fn a_file_that_becomes_broken_stays_as_it_was() {
    let at = Directory::new();
    at.write("a.yaml", &namespaces(&["one", "two"]));
    at.write("b.yaml", &[BROKEN, &namespaces(&["three"])].concat());
    let watch = follow(at.files());
    let before = ["one: a.yaml:5", "three: b.yaml:8", "two: a.yaml:10"];
    holds(&watch, &before);
    at.replace("a.yaml", &[&namespaces(&["four"]), BROKEN].concat());
    watch.said("a.yaml has become broken and stays as it was");
    holds(&watch, &before);
    // It was broken from the start: what is right in it is taken.
    at.replace(
        "b.yaml",
        &[BROKEN, &namespaces(&["three", "five"])].concat(),
    );
    holds(
        &watch,
        &[
            "five: b.yaml:13",
            "one: a.yaml:5",
            "three: b.yaml:8",
            "two: a.yaml:10",
        ],
    );
    at.replace("a.yaml", &namespaces(&["four"]));
    holds(
        &watch,
        &["five: b.yaml:13", "four: a.yaml:5", "three: b.yaml:8"],
    );
    let state = watch.end();
    assert_eq!(state.texts.len(), 2);
    let stays = state
        .said
        .iter()
        .filter(|line| line.contains("stays as it was"));
    assert_eq!(stays.count(), 1, "{:?}", state.said);
}

#[test]
fn changes_that_come_together_are_told_together() {
    let at = Directory::new();
    let watch = follow(at.files());
    let names: Vec<String> = (0..200).map(|number| format!("n{number:03}")).collect();
    for name in &names {
        at.replace(&format!("{name}.yaml"), &namespaces(&[name]));
    }
    watch.until("all", |state| state.objects.len() == names.len());
    // Far fewer than files; a machine that stalls may need some.
    let changes = watch.end().changes;
    assert!(changes < 50, "{changes}");
}

#[test]
fn a_text_of_50_mib_is_refused_and_costs_no_other() {
    let at = Directory::new();
    at.write("a.yaml", &namespaces(&["one"]));
    fs::File::create(at.path("b.yaml"))
        .unwrap()
        .set_len(50 << 20)
        .unwrap();
    let state = read(at.files());
    assert_eq!(state.objects(), ["one: a.yaml:5"]);
    assert_eq!(state.said.len(), 1, "{:?}", state.said);
    assert!(state.said[0].contains("50 MiB"), "{:?}", state.said);
}

#[test]
fn one_that_wants_no_more_ends_it() {
    let at = Directory::new();
    let files = at.files().watch(Stop::new().unwrap());
    let mut told = 0;
    Box::new(files)
        .run(&mut |_| {
            told += 1;
            ControlFlow::Break(())
        })
        .unwrap();
    assert_eq!(told, 1);
}

#[derive(Clone, Debug)]
enum Step {
    Write {
        file: u8,
        names: BTreeSet<u8>,
        replace: bool,
    },
    Break(u8),
    Remove(u8),
    Move(u8, u8),
    MoveDirectory,
}

fn step() -> impl Strategy<Value = Step> {
    let file = 0..4_u8;
    prop_oneof![
        4 => (file.clone(), prop::collection::btree_set(0..5_u8, 0..4), any::<bool>())
            .prop_map(|(file, names, replace)| Step::Write { file, names, replace }),
        1 => file.clone().prop_map(Step::Break),
        2 => file.clone().prop_map(Step::Remove),
        2 => (file.clone(), file).prop_map(|(from, to)| Step::Move(from, to)),
        1 => Just(Step::MoveDirectory),
    ]
}

fn path(file: u8) -> String {
    let directory = ["", "", "sub/", "sub/deep/"][usize::from(file)];
    format!("{directory}f{file}.yaml")
}

fn play(at: &Directory, step: &Step) {
    match step {
        Step::Write {
            file,
            names,
            replace,
        } => {
            let names: Vec<String> = names.iter().map(|name| format!("n{name}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let text = namespaces(&names);
            at.write(&path(*file), &text);
            if *replace {
                at.replace(&path(*file), &text);
            }
        }
        Step::Break(file) => at.write(&path(*file), BROKEN),
        Step::Remove(file) => drop(fs::remove_file(at.path(&path(*file)))),
        Step::Move(from, to) => {
            drop(fs::rename(at.path(&path(*from)), at.path(&path(*to))));
        }
        Step::MoveDirectory => drop(fs::rename(at.path("sub"), at.path("other"))),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    /// Whatever happens to files, in the end the watch says what one reading says.
    #[test]
    fn a_watch_ends_where_a_reading_begins(
        before in prop::collection::vec(step(), 0..10),
        after in prop::collection::vec((step(), prop::bool::weighted(0.3)), 1..20),
    ) {
        let at = Directory::new();
        before.iter().for_each(|step| play(&at, step));
        let watch = follow(at.files());
        for (number, (step, is_apart)) in after.iter().enumerate() {
            play(&at, step);
            // Else it is told together with the next ones.
            if *is_apart {
                let mark = format!("mark{number}");
                at.write("mark.yaml", &namespaces(&[&mark]));
                let key = Key::new(Kind::Namespace, "", &mark);
                watch.until(&mark, |state| state.objects.contains_key(&key));
            }
        }
        // What is broken is mended, so that nothing stays as it was.
        for file in ["f0", "f1", "sub/f2", "sub/deep/f3", "other/f2", "other/deep/f3"] {
            let name = format!("{file}.yaml");
            if fs::read(at.path(&name)).is_ok_and(|text| text == BROKEN.as_bytes()) {
                at.replace(&name, "");
            }
        }
        at.write("end.yaml", &namespaces(&["end"]));
        let read = read(at.files()).objects();
        watch.until("what a reading says", |state| state.objects() == read);
        let state = watch.end();
        prop_assert_eq!(state.objects(), read);
        let texts: BTreeSet<&String> = state.texts.values().map(|(name, _)| name).collect();
        prop_assert_eq!(texts.len(), state.texts.len());
        prop_assert!(!state.said.iter().any(|line| line.starts_with(&Severity::Note.to_string())));
        prop_assert!(state.objects.keys().all(|key| key.kind == Kind::Namespace));
    }
}
