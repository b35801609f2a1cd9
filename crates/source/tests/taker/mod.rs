//! One that takes changes of objects, as the policy compiler does, and holds them to what they
//! promise.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use netverdict_manifest::{FileId, Key, Object, Span};
use netverdict_source::Stop;
use netverdict_source::objects::{Change, Objects};

/// What a taker knows after some changes.
#[derive(Debug, Default)]
pub struct State {
    pub objects: BTreeMap<Key, Arc<Object>>,
    pub texts: BTreeMap<FileId, (String, Arc<str>)>,
    /// `severity code: message`.
    pub said: Vec<String>,
    pub changes: usize,
    /// Each object that was told, each time.
    pub told: Vec<String>,
}

impl State {
    /// Takes a change, and checks what a taker may rely on.
    pub fn take(&mut self, change: Change) {
        let mut gone = Vec::new();
        for (file, text) in change.texts {
            match text {
                Some(text) => drop(self.texts.insert(file, (text.name, text.text))),
                None => gone.push(file),
            }
        }
        for diagnostic in change.diagnostics {
            for label in &diagnostic.labels {
                self.slice(label.span);
            }
            let (severity, code) = (diagnostic.severity, diagnostic.code.0);
            self.said
                .push(format!("{severity} {code}: {}", diagnostic.message));
        }
        for (key, object) in change.objects {
            self.told.push(key.to_string());
            match object {
                Some(object) => {
                    assert_eq!(object.key, key);
                    let before = self.objects.insert(key.clone(), Arc::clone(&object));
                    assert_ne!(before, Some(object), "{key} did not change");
                }
                None => drop(self.objects.remove(&key)),
            }
        }
        for file in gone {
            self.texts.remove(&file);
        }
        for object in self.objects.values() {
            let name = self.slice(object.meta.span).trim_matches('"');
            assert_eq!(name, &*object.key.name);
        }
        self.changes += 1;
    }

    pub fn slice(&self, span: Span) -> &str {
        let (_, text) = &self.texts[&span.file];
        &text[span.start as usize..span.end as usize]
    }

    /// `name: file:line`.
    pub fn objects(&self) -> Vec<String> {
        let tell = |object: &Arc<Object>| {
            let span = object.meta.span;
            let path = Path::new(&self.texts[&span.file].0);
            let file = path.file_name().unwrap().display();
            format!("{}: {file}:{}", object.key.name, span.line)
        };
        self.objects.values().map(tell).collect()
    }
}

/// A watch, and what it has told.
pub struct Running {
    state: Arc<(Mutex<State>, Condvar)>,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Runs what ends by `stop`.
    pub fn start(stop: Stop, objects: impl Objects + 'static) -> Self {
        let state = Arc::<(Mutex<State>, Condvar)>::default();
        let thread = std::thread::spawn({
            let state = Arc::clone(&state);
            move || {
                let outcome = Box::new(objects).run(&mut |change| {
                    assert!(!change.is_empty() || state.0.lock().unwrap().changes == 0);
                    state.0.lock().unwrap().take(change);
                    state.1.notify_all();
                    ControlFlow::Continue(())
                });
                outcome.unwrap();
            }
        });
        Self {
            state,
            stop,
            thread: Some(thread),
        }
    }

    pub fn until(&self, what: &str, is: impl Fn(&State) -> bool) {
        let (state, changed) = &*self.state;
        let (state, late) = changed
            .wait_timeout_while(state.lock().unwrap(), Duration::from_secs(60), |now| {
                !is(now)
            })
            .unwrap();
        assert!(!late.timed_out(), "never: {what}: {state:#?}");
    }

    pub fn said(&self, words: &str) {
        self.until(words, |state| {
            state.said.iter().any(|line| line.contains(words))
        });
    }

    pub fn end(mut self) -> State {
        self.stop.stop();
        self.thread.take().unwrap().join().unwrap();
        std::mem::take(&mut self.state.0.lock().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.stop();
    }
}
