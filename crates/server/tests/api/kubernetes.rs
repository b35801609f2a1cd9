//! Tokens and rights of a Kubernetes cluster, told by a scripted API server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use netverdict_server::{Access, AccessFiles, Kubernetes, Limits, Security};
use netverdict_store::Batch;
use netverdict_store::judge::{Random, connections};
use netverdict_types::{Endpoint, EndpointKind};
use serde_json::{Value, json};

use crate::api_server::{Resource, Server};
use crate::support::{Running, agent, got};

const TOKENS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
const RIGHTS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

/// Namespaces that somebody may see; the empty one is all.
type Rights = BTreeMap<&'static str, Vec<&'static str>>;

/// An API server whose tokens are the names of those who have them.
struct Scripted {
    api: Server,
    /// It answers nothing but failures.
    broken: Arc<AtomicBool>,
}

impl Scripted {
    fn new(rights: Rights) -> Self {
        let api = Server::start();
        for namespace in ["blue", "red", "green"] {
            let metadata = json!({"name": namespace});
            api.put(Resource::Namespaces, json!({"metadata": metadata}));
        }
        let broken = Arc::new(AtomicBool::new(false));
        let is_broken = broken.clone();
        api.script(move |path, body| {
            if is_broken.load(Ordering::Relaxed) {
                return (
                    500,
                    json!({"kind": "Status", "status": "Failure", "code": 500}),
                );
            }
            let mut said = body.clone();
            let spec = &body["spec"];
            match path {
                TOKENS => {
                    let name = spec["token"].as_str().unwrap();
                    let is_known = rights.contains_key(name);
                    said["status"] = json!({"authenticated": is_known});
                    if is_known {
                        said["status"]["user"] = json!({"username": name, "uid": "7",
                            "groups": ["all"], "extra": {"scopes": ["few"]}});
                        said["status"]["audiences"] = match name {
                            "foreign" => json!(["elsewhere"]),
                            _ => spec["audiences"].clone(),
                        };
                    }
                }
                RIGHTS => {
                    let attributes = &spec["resourceAttributes"];
                    let namespace = attributes["namespace"].as_str().unwrap_or_default();
                    let own = &rights[spec["user"].as_str().unwrap()];
                    let is_ours = attributes["group"] == "netverdict.io"
                        && attributes["resource"] == "connections"
                        && attributes["verb"] == "get";
                    let allowed = is_ours && own.contains(&namespace);
                    said["status"] = json!({"allowed": allowed});
                }
                other => panic!("{other}"),
            }
            (201, said)
        });
        Self { api, broken }
    }

    fn serve(&self, files: AccessFiles, audiences: &[&str], per_second: Option<u32>) -> Running {
        let audiences = audiences.iter().map(|it| (*it).to_owned()).collect();
        let config = kube::Config::new(self.api.url().parse().unwrap());
        let server = Running::with(Limits::default(), 1_000, || {
            let client = kube::Client::try_from(config).unwrap();
            let kubernetes = Kubernetes::new(client, audiences);
            Security {
                tls: None,
                access: Access::new(files, Some(kubernetes), per_second).unwrap(),
            }
        });
        let mut rows = connections(&mut Random::new(5), 60);
        for (number, row) in rows.iter_mut().enumerate() {
            let namespace = ["blue", "red", "green"][number % 3];
            let end = Some(Arc::new(Endpoint {
                kind: EndpointKind::Pod,
                namespace: Some(namespace.to_owned()),
                name: Some("pod".to_owned()),
                node: None,
            }));
            (row.src, row.dst) = (end.clone(), end);
        }
        server.store.keep(&Batch {
            writer: "w".to_owned(),
            number: 1,
            rows,
        });
        server
    }

    fn tokens(&self) -> usize {
        self.api.posted(TOKENS).len()
    }

    fn rights(&self) -> usize {
        self.api.posted(RIGHTS).len()
    }
}

fn rights() -> Rights {
    BTreeMap::from([
        ("admin", vec!["", "blue", "red", "green"]),
        ("tenant", vec!["blue"]),
        ("both", vec!["blue", "red"]),
        ("nothing", vec![]),
        ("foreign", vec![""]),
    ])
}

fn ask(server: &Running, path: &str, token: &str) -> (u16, Value) {
    let request = agent().get(server.url(path));
    let request = request.header("authorization", format!("Bearer {token}"));
    let got = got(request.call().unwrap());
    let said = serde_json::from_slice(&got.body).unwrap_or_default();
    (got.status, said)
}

fn rows(server: &Running, token: &str) -> usize {
    let path = "/api/v1/connections?since=-390d&limit=1000";
    let (status, page) = ask(server, path, token);
    assert_eq!(status, 200, "{page}");
    page["items"].as_array().unwrap().len()
}

#[test]
fn everybody_sees_the_namespaces_where_they_may_get_connections() {
    let scripted = Scripted::new(rights());
    let server = scripted.serve(AccessFiles::default(), &[], None);
    for (token, expected) in [("admin", 60), ("tenant", 20), ("both", 40)] {
        assert_eq!(rows(&server, token), expected, "{token}");
    }
    assert_eq!(ask(&server, "/metrics", "tenant").0, 403);
    assert_eq!(ask(&server, "/metrics", "admin").0, 200);
    let (status, problem) = ask(&server, "/api/v1/fields", "nothing");
    assert_eq!(status, 403);
    assert!(problem["detail"].as_str().unwrap().contains("nothing"));
    assert_eq!(ask(&server, "/api/v1/fields", "nobody").0, 401);
    assert_eq!(server.get("/api/v1/fields").status, 401);
    // All that tells somebody from others goes with the question.
    let posted = scripted.api.posted(RIGHTS);
    assert!(
        posted
            .iter()
            .all(|it| it["spec"]["extra"]["scopes"] == json!(["few"]))
    );
    assert!(
        posted
            .iter()
            .all(|it| it["spec"]["groups"] == json!(["all"]))
    );
    assert!(posted.iter().all(|it| it["spec"]["uid"] == "7"));
}

#[test]
fn answers_are_used_again() {
    let scripted = Scripted::new(rights());
    let server = scripted.serve(AccessFiles::default(), &[], None);
    for _ in 0..5 {
        assert_eq!(rows(&server, "tenant"), 20);
        assert_eq!(ask(&server, "/api/v1/fields", "nobody").0, 401);
    }
    // All namespaces at once, and each.
    assert_eq!((scripted.tokens(), scripted.rights()), (2, 4));
    // What is known goes on while nobody can be asked; what is not known is refused.
    scripted.broken.store(true, Ordering::Relaxed);
    assert_eq!(rows(&server, "tenant"), 20);
    let (status, problem) = ask(&server, "/api/v1/fields", "admin");
    assert_eq!(status, 503);
    assert_eq!(problem["type"], "urn:netverdict:problem:unreviewed");
    scripted.broken.store(false, Ordering::Relaxed);
    assert_eq!(rows(&server, "admin"), 60);
}

#[test]
fn without_the_api_server_nobody_gets_an_answer() {
    let scripted = Scripted::new(rights());
    let server = scripted.serve(AccessFiles::default(), &[], None);
    scripted.api.refuse(Resource::Namespaces, 403);
    // The list of namespaces is not needed for those who see all.
    assert_eq!(rows(&server, "admin"), 60);
    assert_eq!(ask(&server, "/api/v1/fields", "tenant").0, 503);
    scripted.api.allow(Resource::Namespaces);
    assert_eq!(rows(&server, "tenant"), 20);
    drop(scripted);
    assert_eq!(ask(&server, "/api/v1/fields", "both").0, 503);
    assert_eq!(server.get("/healthz").status, 200);
    let metrics = ask(&server, "/metrics", "admin");
    assert_eq!(metrics.0, 200);
}

#[test]
fn a_token_for_others_is_none() {
    let scripted = Scripted::new(rights());
    let server = scripted.serve(AccessFiles::default(), &["netverdict"], None);
    assert_eq!(rows(&server, "admin"), 60);
    assert_eq!(ask(&server, "/api/v1/fields", "foreign").0, 401);
    let posted = scripted.api.posted(TOKENS);
    assert!(
        posted
            .iter()
            .all(|it| it["spec"]["audiences"] == json!(["netverdict"]))
    );
}

#[test]
fn who_guesses_tokens_does_not_ask_the_api_server_without_end() {
    let scripted = Scripted::new(rights());
    let server = scripted.serve(AccessFiles::default(), &[], Some(5));
    let statuses: Vec<u16> = (0..60)
        .map(|number| ask(&server, "/api/v1/fields", &format!("guess-{number}")).0)
        .collect();
    assert!(
        statuses.contains(&401) && statuses.contains(&429),
        "{statuses:?}"
    );
    assert!(scripted.tokens() < 60, "{}", scripted.tokens());
}

#[test]
fn roles_and_tokens_of_files_go_first() {
    let dir = tempfile::tempdir().unwrap();
    let files = AccessFiles {
        tokens: Some(dir.path().join("tokens.toml")),
        roles: Some(dir.path().join("roles.toml")),
        audit: None,
    };
    let write = |path: &Option<std::path::PathBuf>, text: &str| {
        std::fs::write(path.as_ref().unwrap(), text).unwrap();
    };
    let token = "scraper-0123456789";
    write(
        &files.tokens,
        &format!("[[token]]\ntoken = \"{token}\"\nsubject = \"scraper\"\n"),
    );
    write(
        &files.roles,
        "[[role]]\nsubjects = [\"scraper\"]\nnamespaces = [\"*\"]\n\
         [[role]]\ngroups = [\"all\"]\nnamespaces = [\"green\"]\n",
    );
    let scripted = Scripted::new(rights());
    let server = scripted.serve(files, &[], None);
    assert_eq!(rows(&server, token), 60);
    assert_eq!(scripted.tokens(), 0);
    assert_eq!(rows(&server, "admin"), 20);
    assert_eq!(scripted.rights(), 0);
}
