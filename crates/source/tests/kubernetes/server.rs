//! As much of an API server as a watch can tell: lists in pages, watches by version, bookmarks,
//! versions that are forgotten, connections that break, and answers that make no sense. What is
//! posted to it (reviews) is answered by a script. Tests of other crates have it by its path.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Resource {
    Namespaces,
    Nodes,
    Pods,
    Services,
    Slices,
    Policies,
    AdminPolicies,
    BaselinePolicies,
    ClusterPolicies,
    Firewalls,
    Networks,
    ClusterNetworks,
    Attachments,
}

const PATHS: [(Resource, &str); 13] = [
    (Resource::Namespaces, "/api/v1/namespaces"),
    (Resource::Nodes, "/api/v1/nodes"),
    (Resource::Pods, "/api/v1/pods"),
    (Resource::Services, "/api/v1/services"),
    (Resource::Slices, "/apis/discovery.k8s.io/v1/endpointslices"),
    (
        Resource::Policies,
        "/apis/networking.k8s.io/v1/networkpolicies",
    ),
    (
        Resource::AdminPolicies,
        "/apis/policy.networking.k8s.io/v1alpha1/adminnetworkpolicies",
    ),
    (
        Resource::BaselinePolicies,
        "/apis/policy.networking.k8s.io/v1alpha1/baselineadminnetworkpolicies",
    ),
    (
        Resource::ClusterPolicies,
        "/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies",
    ),
    (Resource::Firewalls, "/apis/k8s.ovn.org/v1/egressfirewalls"),
    (
        Resource::Networks,
        "/apis/k8s.ovn.org/v1/userdefinednetworks",
    ),
    (
        Resource::ClusterNetworks,
        "/apis/k8s.ovn.org/v1/clusteruserdefinednetworks",
    ),
    (
        Resource::Attachments,
        "/apis/k8s.cni.cncf.io/v1/network-attachment-definitions",
    ),
];

pub struct Server {
    shared: Arc<Shared>,
    port: u16,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    version: u64,
    resources: BTreeMap<Resource, Kept>,
    /// Raised to break all connections.
    cuts: u64,
    cut_in_next_line: bool,
    /// The connection breaks in the next page that is not the first.
    cut_in_next_page: bool,
    /// Goes when that happens.
    delete_at_cut: Option<(Resource, String)>,
    /// Objects in a page, where fewer than asked for.
    page: Option<usize>,
    paused: bool,
    closed: bool,
    gone_by_status: bool,
    requests: Vec<String>,
    connections: Vec<TcpStream>,
    script: Option<Script>,
    posted: Vec<(String, Value)>,
}

/// What is answered to what was posted to a path: a status and a body.
type Script = Box<dyn FnMut(&str, &Value) -> (u16, Value) + Send>;

#[derive(Default)]
struct Kept {
    objects: BTreeMap<String, Value>,
    /// Lines of a watch, by version.
    log: Vec<(u64, String)>,
    /// The oldest version that a watch may begin from.
    oldest: u64,
    refused: Option<u16>,
    failures: u32,
}

pub fn kubeconfig(url: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
         clusters: [{{name: test, cluster: {{server: '{url}'}}}}]\n\
         contexts: [{{name: test, context: {{cluster: test, user: test}}}}]\n\
         users: [{{name: test, user: {{}}}}]\n"
    )
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::<Shared>::default();
        shared.state.lock().unwrap().version = 100;
        std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for connection in listener.incoming() {
                    let connection = connection.unwrap();
                    let mut state = shared.state.lock().unwrap();
                    if state.closed {
                        return;
                    }
                    state.connections.push(connection.try_clone().unwrap());
                    let shared = Arc::clone(&shared);
                    // A connection that breaks is no fault of the server.
                    std::thread::spawn(move || drop(shared.serve(connection)));
                }
            }
        });
        Self { shared, port }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn kubeconfig(&self) -> String {
        kubeconfig(&self.url())
    }

    /// Says how to answer what is posted.
    pub fn script(&self, script: impl FnMut(&str, &Value) -> (u16, Value) + Send + 'static) {
        self.change(|state| state.script = Some(Box::new(script)));
    }

    /// What was posted to a path so far.
    pub fn posted(&self, path: &str) -> Vec<Value> {
        let state = self.shared.state.lock().unwrap();
        let posted = state.posted.iter().filter(|(to, _)| to == path);
        posted.map(|(_, body)| body.clone()).collect()
    }

    pub fn put(&self, resource: Resource, object: Value) {
        let text = |key| object["metadata"][key].as_str();
        let name = text("name").unwrap();
        let key = text("namespace").map_or(name.to_owned(), |of| format!("{of}/{name}"));
        self.put_as(resource, &key, object);
    }

    pub fn put_as(&self, resource: Resource, key: &str, mut object: Value) {
        self.change(|state| {
            let version = state.next_version();
            if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
                metadata.insert("resourceVersion".to_owned(), json!(version.to_string()));
            }
            let kept = state.resources.entry(resource).or_default();
            let line = |word| json!({"type": word, "object": object}).to_string();
            let known = kept.objects.insert(key.to_owned(), object.clone());
            let line = line(if known.is_some() { "MODIFIED" } else { "ADDED" });
            kept.log.push((version, line));
        });
    }

    pub fn delete(&self, resource: Resource, key: &str) {
        self.shared.delete(resource, key);
    }

    /// The names of objects.
    pub fn named(&self, resource: Resource, which: impl Fn(&Value) -> bool) -> Vec<String> {
        let state = self.shared.state.lock().unwrap();
        let kept = state.resources.get(&resource);
        let objects = kept.into_iter().flat_map(|kept| kept.objects.values());
        let chosen = objects.filter(|object| which(object));
        chosen
            .map(|object| object["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    }

    pub fn bookmark(&self, resource: Resource) {
        self.change(|state| {
            let version = state.next_version();
            let object =
                json!({"kind": "Bookmark", "metadata": {"resourceVersion": version.to_string()}});
            let line = json!({"type": "BOOKMARK", "object": object}).to_string();
            state
                .resources
                .entry(resource)
                .or_default()
                .log
                .push((version, line));
        });
    }

    /// Sends a line that no real server sends.
    pub fn line(&self, resource: Resource, line: &str) {
        self.change(|state| {
            let version = state.next_version();
            let kept = state.resources.entry(resource).or_default();
            kept.log.push((version, line.to_owned()));
        });
    }

    /// No watch can begin before now any more.
    pub fn forget_past(&self, resource: Resource) {
        self.change(|state| {
            let version = state.version;
            let kept = state.resources.entry(resource).or_default();
            // The last change is remembered, so that a watch that has seen it can go on.
            kept.oldest = kept.log.last().map_or(version, |(version, _)| *version);
        });
    }

    /// Breaks all connections.
    pub fn cut(&self) {
        self.change(|state| state.cut());
    }

    /// Breaks the next watch that has something to tell, in the middle of it.
    pub fn cut_in_next_line(&self) {
        self.change(|state| state.cut_in_next_line = true);
    }

    /// Breaks the next list that has more than one page, in the middle of a later one.
    pub fn cut_in_next_page(&self) {
        self.change(|state| state.cut_in_next_page = true);
    }

    /// The same, and an object goes in that moment.
    pub fn delete_and_cut_in_next_page(&self, resource: Resource, key: &str) {
        self.change(|state| {
            state.cut_in_next_page = true;
            state.delete_at_cut = Some((resource, key.to_owned()));
        });
    }

    /// True if [`Self::cut_in_next_page`] still waits for such a list.
    pub fn is_to_cut_a_page(&self) -> bool {
        self.shared.state.lock().unwrap().cut_in_next_page
    }

    /// Gives so many objects in a page at most.
    pub fn page(&self, objects: usize) {
        self.change(|state| state.page = Some(objects));
    }

    /// Answers nothing while `during` runs.
    pub fn paused(&self, during: impl FnOnce(&Self)) {
        self.change(|state| state.paused = true);
        during(self);
        self.change(|state| state.paused = false);
    }

    pub fn refuse(&self, resource: Resource, code: u16) {
        self.change(|state| state.resources.entry(resource).or_default().refused = Some(code));
    }

    pub fn allow(&self, resource: Resource) {
        self.change(|state| state.resources.entry(resource).or_default().refused = None);
    }

    /// Fails the next requests.
    pub fn fail(&self, resource: Resource, times: u32) {
        self.change(|state| state.resources.entry(resource).or_default().failures += times);
    }

    pub fn heal(&self) {
        self.change(|state| {
            state.cut_in_next_line = false;
            state.cut_in_next_page = false;
            for kept in state.resources.values_mut() {
                kept.failures = 0;
            }
        });
    }

    /// Whether to answer 410 at once, or in the stream.
    pub fn answer_gone_by_status(&self, by_status: bool) {
        self.change(|state| state.gone_by_status = by_status);
    }

    /// How many requests for a resource had this in them.
    pub fn requests(&self, resource: Resource, part: &str) -> usize {
        let state = self.shared.state.lock().unwrap();
        let fits =
            |target: &&String| Resource::of(target) == Some(resource) && target.contains(part);
        state.requests.iter().filter(fits).count()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.shared.state.lock().unwrap());
        self.shared.changed.notify_all();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.change(|state| {
            state.closed = true;
            state.cut();
        });
        // Wakes the listener.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Resource {
    fn of(target: &str) -> Option<Self> {
        let path = target.split('?').next()?;
        let (resource, _) = PATHS.into_iter().find(|(_, of)| *of == path)?;
        Some(resource)
    }
}

impl State {
    fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    fn cut(&mut self) {
        self.cuts += 1;
        for connection in self.connections.drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

fn parameter<'a>(target: &'a str, name: &str) -> Option<&'a str> {
    let query = target.split_once('?')?.1;
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn status(code: u16, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": "Test", "code": code})
}

impl Shared {
    fn delete(&self, resource: Resource, key: &str) {
        let mut state = self.state.lock().unwrap();
        let version = state.next_version();
        let kept = state.resources.entry(resource).or_default();
        if let Some(mut object) = kept.objects.remove(key) {
            object["metadata"]["resourceVersion"] = json!(version.to_string());
            let line = json!({"type": "DELETED", "object": object}).to_string();
            kept.log.push((version, line));
        }
        self.changed.notify_all();
    }

    fn serve(&self, connection: TcpStream) -> std::io::Result<()> {
        let mut writer = connection.try_clone()?;
        let mut reader = BufReader::new(connection);
        loop {
            let (mut target, mut length) = (None, 0);
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line)? == 0 {
                    return Ok(());
                }
                if line.trim().is_empty() {
                    break;
                }
                target = target.or_else(|| line.split(' ').nth(1).map(str::to_owned));
                if let Some((name, value)) = line.split_once(':')
                    && name.eq_ignore_ascii_case("content-length")
                {
                    length = value.trim().parse().unwrap();
                }
            }
            let target = target.unwrap();
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            let mut state = self.ready();
            if length > 0 {
                let path = target.split('?').next().unwrap();
                let body: Value = serde_json::from_slice(&body).unwrap();
                let script = state.script.as_mut();
                let (code, said) = script.map_or((404, status(404, "no such page")), |script| {
                    script(path, &body)
                });
                state.posted.push((path.to_owned(), body));
                drop(state);
                answer(&mut writer, code, &said)?;
                continue;
            }
            state.requests.push(target.clone());
            let Some(resource) = Resource::of(&target) else {
                drop(state);
                answer(&mut writer, 404, &status(404, "no such page"))?;
                continue;
            };
            let kept = state.resources.entry(resource).or_default();
            if let Some(code) = kept.refused {
                drop(state);
                let word = format!("{resource:?} is forbidden").to_lowercase();
                answer(&mut writer, code, &status(code, &word))?;
                continue;
            }
            if kept.failures > 0 {
                kept.failures -= 1;
                drop(state);
                answer(&mut writer, 500, &status(500, "in trouble"))?;
                continue;
            }
            if parameter(&target, "watch").is_some() {
                let from = parameter(&target, "resourceVersion")
                    .unwrap()
                    .parse()
                    .unwrap();
                self.watch(state, &mut writer, resource, from)?;
                continue;
            }
            let list = list(&state, resource, &target);
            let is_later = parameter(&target, "continue").is_some();
            if is_later && std::mem::take(&mut state.cut_in_next_page) {
                let delete = state.delete_at_cut.take();
                drop(state);
                if let Some((resource, key)) = delete {
                    self.delete(resource, &key);
                }
                let body = list.to_string();
                write!(
                    writer,
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                )?;
                write!(writer, "Content-Length: {}\r\n\r\n", body.len())?;
                writer.write_all(&body.as_bytes()[..body.len() / 2])?;
                return writer.shutdown(Shutdown::Both);
            }
            drop(state);
            answer(&mut writer, 200, &list)?;
        }
    }

    fn ready(&self) -> MutexGuard<'_, State> {
        let state = self.state.lock().unwrap();
        self.changed
            .wait_while(state, |state| state.paused)
            .unwrap()
    }

    fn watch<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        writer: &mut TcpStream,
        resource: Resource,
        mut from: u64,
    ) -> std::io::Result<()> {
        let cuts = state.cuts;
        let kept = state.resources.entry(resource).or_default();
        let gone = from < kept.oldest;
        if gone && state.gone_by_status {
            drop(state);
            return answer(writer, 410, &status(410, "too old resource version"));
        }
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
        writer.write_all(head.as_bytes())?;
        if gone {
            drop(state);
            let line = json!({"type": "ERROR", "object": status(410, "too old resource version")});
            chunk(writer, &format!("{line}\n"))?;
            return writer.write_all(b"0\r\n\r\n");
        }
        loop {
            if state.cuts != cuts {
                return Err(std::io::Error::other("cut"));
            }
            let kept = state.resources.entry(resource).or_default();
            let next = kept
                .log
                .iter()
                .find(|(version, _)| *version > from)
                .cloned();
            let Some((version, line)) = next else {
                state = self.changed.wait(state).unwrap();
                continue;
            };
            from = version;
            if std::mem::take(&mut state.cut_in_next_line) {
                chunk(writer, &line[..line.len() / 2])?;
                // In good order or not.
                if version % 2 == 0 {
                    return writer.write_all(b"0\r\n\r\n");
                }
                writer.shutdown(Shutdown::Both)?;
                return Err(std::io::Error::other("cut in a line"));
            }
            drop(state);
            // Chunks need not be lines.
            let (first, second) = line.split_at(line.len() / 3);
            chunk(writer, first)?;
            chunk(writer, &format!("{second}\n"))?;
            state = self.state.lock().unwrap();
        }
    }
}

fn list(state: &State, resource: Resource, target: &str) -> Value {
    let limit: usize = parameter(target, "limit").unwrap().parse().unwrap();
    let limit = state.page.map_or(limit, |page| page.min(limit));
    let skip: usize = parameter(target, "continue").map_or(0, |rest| rest.parse().unwrap());
    let objects = &state.resources[&resource].objects;
    let items: Vec<&Value> = objects.values().skip(skip).take(limit).collect();
    let rest = if skip + items.len() < objects.len() {
        (skip + items.len()).to_string()
    } else {
        String::new()
    };
    json!({"kind": "List", "apiVersion": "v1", "items": items,
        "metadata": {"resourceVersion": state.version.to_string(), "continue": rest}})
}

fn answer(writer: &mut TcpStream, code: u16, body: &Value) -> std::io::Result<()> {
    let body = body.to_string();
    let length = body.len();
    write!(
        writer,
        "HTTP/1.1 {code} Word\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

fn chunk(writer: &mut TcpStream, text: &str) -> std::io::Result<()> {
    write!(writer, "{:x}\r\n{text}\r\n", text.len())
}
