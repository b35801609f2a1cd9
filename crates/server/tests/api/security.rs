//! Who may ask what: TLS, tokens, roles, and what tenants are shown.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use netverdict_server::{Access, AccessFiles, Limits, Security, ServeError, Server, Tls, TlsFiles};
use netverdict_store::Batch;
use netverdict_store::judge::{Random, connections};
use netverdict_types::{Connection, Endpoint, EndpointKind, Half};
use serde_json::Value;
use tempfile::TempDir;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

use crate::support::{Got, Running, agent, escaped, got};

const ADMIN: &str = "admin-token-0123456789";
const TENANT: &str = "tenant-token-0123456789";
const NOBODY: &str = "nobody-token-0123456789";
/// Stands in all that a tenant must not see.
const FOREIGN: &str = "hidden-from-tenants";

fn tokens(dir: &Path) -> AccessFiles {
    let files = AccessFiles {
        tokens: Some(dir.join("tokens.toml")),
        roles: Some(dir.join("roles.toml")),
        audit: Some(dir.join("audit.jsonl")),
    };
    let entries = [
        (ADMIN, "anna", "[\"admins\"]"),
        (TENANT, "bert", "[]"),
        (NOBODY, "carl", "[\"guests\"]"),
    ];
    let entries = entries.map(|(token, subject, groups)| {
        format!("[[token]]\ntoken = \"{token}\"\nsubject = \"{subject}\"\ngroups = {groups}\n")
    });
    std::fs::write(files.tokens.as_ref().unwrap(), entries.concat()).unwrap();
    let roles = "[[role]]\ngroups = [\"admins\"]\nnamespaces = [\"*\"]\n\
                 [[role]]\nsubjects = [\"bert\"]\nnamespaces = [\"own\", \"empty\"]\n";
    std::fs::write(files.roles.as_ref().unwrap(), roles).unwrap();
    files
}

fn get(server: &Running, path: &str, token: &str) -> Got {
    let request = agent().get(server.url(path));
    let request = request.header("authorization", format!("Bearer {token}"));
    got(request.call().unwrap())
}

fn post(server: &Running, path: &str, token: &str, body: &str) -> Got {
    let request = agent().post(server.url(path));
    let request = request.header("authorization", format!("Bearer {token}"));
    got(request
        .header("content-type", "application/json")
        .send(body)
        .unwrap())
}

/// Connections of which every third begins, and every fourth ends, in the tenant's namespace.
fn marked() -> Vec<Connection> {
    let mut all = connections(&mut Random::new(11), 200);
    for (number, connection) in all.iter_mut().enumerate() {
        let (src, dst) = (number % 3 == 0, number % 4 == 0);
        let name = |own: bool| if own { "own" } else { FOREIGN };
        let endpoint = |own: bool| {
            Some(Arc::new(Endpoint {
                kind: EndpointKind::Pod,
                namespace: Some(name(own).to_owned()),
                name: Some(name(own).to_owned()),
                node: Some(name(own).to_owned()),
            }))
        };
        let half = |half: &mut Half, own: bool| {
            half.zone = name(own).into();
            half.node = Some(name(own).into());
            let ruling = Arc::make_mut(&mut half.ruling);
            if let Some(fact) = &mut ruling.fact {
                let fact = Arc::make_mut(fact);
                fact.message = name(own).into();
                fact.acl.owner.namespace = Some(name(own).to_owned());
                fact.acl.owner.name = Some(name(own).to_owned());
            }
        };
        connection.src = endpoint(src);
        connection.dst = endpoint(dst);
        if let Some(service) = &mut connection.service {
            let service = Arc::make_mut(service);
            service.namespace = Some(name(number % 5 == 0).to_owned());
            service.name = name(number % 5 == 0).to_owned();
        }
        if let Some(egress) = &mut connection.egress {
            half(egress, src);
        }
        if let Some(ingress) = &mut connection.ingress {
            half(ingress, dst);
        }
        for change in &mut connection.changes {
            let own = match change.direction {
                netverdict_types::Direction::Egress => src,
                netverdict_types::Direction::Ingress => dst,
            };
            half(&mut change.half, own);
        }
    }
    all
}

fn is_theirs(connection: &Connection) -> bool {
    let own = |end: &Option<Arc<Endpoint>>| {
        end.as_ref().and_then(|it| it.namespace.as_deref()) == Some("own")
    };
    own(&connection.src) || own(&connection.dst)
}

fn tenants() -> (TempDir, Running) {
    let dir = tempfile::tempdir().unwrap();
    let security = Security {
        tls: None,
        access: Access::new(tokens(dir.path()), None, None).unwrap(),
    };
    let server = Running::secured(Limits::default(), 1_000, security);
    server.store.keep(&Batch {
        writer: "w".to_owned(),
        number: 1,
        rows: marked(),
    });
    (dir, server)
}

#[test]
fn no_answer_tells_a_tenant_of_others() {
    let (_dir, server) = tenants();
    let by = "by src.namespace, dst.namespace, src.node, dst.pod, owner.name, message, egress.zone, ingress.node, service.name";
    let groups = [
        format!("| count {by} top 10000"),
        "| count, distinct(dst.pod), max(end) by owner.namespace, zone every 1h top 1000"
            .to_owned(),
        format!("namespace=own | count {by} top 10000"),
    ];
    let groups = groups.map(|q| format!("aggregates?since=-390d&q={}", escaped(&q)));
    let paths = [
        "connections?since=-390d&limit=1000",
        "export?since=-390d&format=csv",
        "export?since=-390d&format=jsonl",
        "policies?since=-390d",
        "rules?since=-390d",
        "namespaces?since=-390d",
        "workloads?since=-390d",
        "topology?since=-390d",
        "topology?since=-390d&by=namespace",
    ];
    for path in paths.into_iter().chain(groups.iter().map(String::as_str)) {
        let path = format!("/api/v1/{path}");
        let all = get(&server, &path, ADMIN);
        assert_eq!(all.status, 200, "{path}: {}", all.text());
        assert!(all.text().contains(FOREIGN), "{path}");
        let theirs = get(&server, &path, TENANT);
        assert_eq!(theirs.status, 200, "{path}: {}", theirs.text());
        assert!(
            !theirs.text().contains(FOREIGN),
            "{path}: {}",
            theirs.text()
        );
        assert!(theirs.text().contains("own"), "{path}");
    }
    // What is known of the cluster, beside its connections, is in the namespace `idle`.
    for path in [
        "complete?q=namespace%3D",
        "complete?q=policy%3D",
        "workloads",
        "rules",
    ] {
        let path = format!("/api/v1/{path}");
        assert!(get(&server, &path, ADMIN).text().contains("idle"), "{path}");
        assert!(
            !get(&server, &path, TENANT).text().contains("idle"),
            "{path}"
        );
    }
}

#[test]
fn policies_and_pods_are_told_to_their_tenants() {
    let (_dir, server) = tenants();
    for path in [
        "policy?kind=NetworkPolicy&namespace=idle&name=nobody",
        "policy?kind=AdminNetworkPolicy&name=all",
        "isolation?pod=idle/sleeper",
        "isolation?pod=sleeper",
    ] {
        let path = format!("/api/v1/{path}");
        assert_eq!(get(&server, &path, TENANT).status, 403, "{path}");
        assert_ne!(get(&server, &path, ADMIN).status, 403, "{path}");
    }
    let path = "/api/v1/isolation?pod=own/pod";
    let asked = |token| get(&server, path, token).json()["ingress"]["asked"].clone();
    assert_eq!(asked(ADMIN).as_array().unwrap().len(), 2);
    // Policies of others, and those of no namespace, are not named.
    assert_eq!(asked(TENANT), serde_json::json!([]));
}

#[test]
fn a_tenant_cannot_ask_for_what_is_hidden() {
    let (_dir, server) = tenants();
    let count = |q: &str| {
        let path = format!(
            "/api/v1/connections?since=-390d&limit=1000&q={}",
            escaped(q)
        );
        let got = get(&server, &path, TENANT);
        assert_eq!(got.status, 200, "{q}: {}", got.text());
        got.json()["items"].as_array().unwrap().len()
    };
    let all = marked();
    let theirs = all.iter().filter(|it| is_theirs(it)).count();
    assert!(theirs > 50 && theirs < all.len());
    assert_eq!(count(""), theirs);
    for hidden in [
        "namespace",
        "pod",
        "name",
        "zone",
        "node",
        "owner.name",
        "message",
        "service.name",
    ] {
        assert_eq!(count(&format!("{hidden}={FOREIGN}")), 0, "{hidden}");
        assert_eq!(
            count(&format!("not {hidden}={FOREIGN}")),
            theirs,
            "{hidden}"
        );
        assert_eq!(count(&format!("{hidden}~hidden*")), 0, "{hidden}");
    }
    for connection in &all {
        let id = serde_json::to_value(connection).unwrap()["id"]
            .as_str()
            .unwrap()
            .to_owned();
        let got = get(&server, &format!("/api/v1/connections/{id}"), TENANT);
        let expected = if is_theirs(connection) { 200 } else { 404 };
        assert_eq!(got.status, expected, "{id}");
        assert!(!got.text().contains(FOREIGN));
    }
}

#[test]
fn the_stream_tells_a_tenant_of_theirs_only() {
    let (_dir, server) = tenants();
    let filter = escaped(&format!("not namespace={FOREIGN}"));
    for (path, token) in [
        ("/api/v1/live".to_owned(), TENANT),
        (format!("/api/v1/live?q={filter}"), TENANT),
    ] {
        let request = agent().get(server.url(&path));
        let request = request.header("authorization", format!("Bearer {token}"));
        let response = request.call().unwrap();
        let stream = BufReader::new(response.into_body().into_reader());
        server.live.publish(marked().into_iter().map(Arc::new));
        let theirs = marked().iter().filter(|it| is_theirs(it)).count();
        let lines = stream.lines().map(Result::unwrap);
        let data = lines.filter(|line| line.starts_with("data: "));
        for line in data.take(theirs) {
            assert!(!line.contains(FOREIGN), "{line}");
        }
    }
}

#[test]
fn what_tells_of_all_is_for_those_who_see_all() {
    let (_dir, server) = tenants();
    let end = |from: &str, to: &str| format!(r#"{{"from":"{from}","to":"{to}"}}"#);
    for (body, status) in [
        (end("own/a", "svc/own/b"), 200),
        (end("own/a", "empty/b"), 200),
        (end("own/a", "other/b"), 403),
        (end("10.0.0.1", "own/b"), 403),
        (end("node/own", "own/b"), 403),
    ] {
        assert_eq!(
            post(&server, "/api/v1/explain", TENANT, &body).status,
            status,
            "{body}"
        );
        assert_eq!(
            post(&server, "/api/v1/explain", ADMIN, &body).status,
            200,
            "{body}"
        );
    }
    let rows = |token| {
        let got = post(&server, "/api/v1/whatif", token, r#"{"policies":""}"#);
        assert_eq!(got.status, 200);
        (
            got.json().as_array().unwrap().len(),
            got.text().contains(FOREIGN),
        )
    };
    let theirs = marked().iter().filter(|it| is_theirs(it)).count();
    assert_eq!(rows(ADMIN), (marked().len(), true));
    assert_eq!(rows(TENANT), (theirs, false));
    for path in ["/api/v1/sources", "/api/v1/health", "/metrics"] {
        assert_eq!(get(&server, path, TENANT).status, 403, "{path}");
        assert_ne!(get(&server, path, ADMIN).status, 403, "{path}");
    }
}

#[test]
fn who_is_not_known_gets_nothing_and_is_written_down() {
    let (dir, server) = tenants();
    assert_eq!(get(&server, "/api/v1/fields", ADMIN).status, 200);
    for (token, status) in [(NOBODY, 403), ("wrong-token-0123456789", 401), ("", 401)] {
        let got = get(&server, "/api/v1/fields?x=1", token);
        assert_eq!(got.status, status, "{token}");
        assert_eq!(got.kind, "application/problem+json");
    }
    assert_eq!(server.get("/api/v1/fields").status, 401);
    assert_eq!(server.get("/api/nowhere").status, 401);
    assert_eq!(server.get("/healthz").status, 200);
    let audit = std::fs::read_to_string(dir.path().join("audit.jsonl")).unwrap();
    assert!(!audit.contains("token"), "{audit}");
    let lines: Vec<Value> = audit
        .lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    let told: Vec<_> = lines
        .iter()
        .map(|it| {
            (
                it["subject"].as_str().unwrap(),
                it["status"].as_u64().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("anna", 200),
        ("carl", 403),
        ("", 401),
        ("", 401),
        ("", 401),
        ("", 401),
    ];
    assert_eq!(told, expected);
    assert_eq!(lines[1]["query"], "x=1");
    assert_eq!(lines[1]["address"], "127.0.0.1");
}

#[test]
fn tokens_and_roles_change_while_the_server_runs() {
    let dir = tempfile::tempdir().unwrap();
    let files = tokens(dir.path());
    let access = Access::new(files.clone(), None, None).unwrap();
    let security = Security {
        tls: None,
        access: access.clone(),
    };
    let server = Running::secured(Limits::default(), 10, security);
    assert_eq!(get(&server, "/api/v1/sources", TENANT).status, 403);
    let roles = files.roles.unwrap();
    std::fs::write(
        &roles,
        "[[role]]\nsubjects = [\"bert\"]\nnamespaces = [\"*\"]\n",
    )
    .unwrap();
    access.reload().unwrap();
    assert_eq!(get(&server, "/api/v1/sources", TENANT).status, 200);
    assert_eq!(get(&server, "/api/v1/sources", ADMIN).status, 403);
    std::fs::write(&roles, "[[role]]\nnonsense").unwrap();
    assert!(access.reload().is_err());
    assert_eq!(get(&server, "/api/v1/sources", TENANT).status, 200);
}

#[test]
fn who_asks_too_often_is_told() {
    let security = Security {
        tls: None,
        access: Access::new(AccessFiles::default(), None, Some(1)).unwrap(),
    };
    let server = Running::secured(Limits::default(), 10, security);
    let statuses: Vec<u16> = (0..50)
        .map(|_| server.get("/api/v1/fields").status)
        .collect();
    assert_eq!(statuses[..2], [200, 200]);
    assert!(statuses.contains(&429), "{statuses:?}");
    assert_eq!(server.get("/healthz").status, 200);
}

/// A CA, and files that it signed.
struct Ca(TempDir);

impl Ca {
    fn new() -> Self {
        let ca = Self(tempfile::tempdir().unwrap());
        ca.openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.crt -subj /CN=ca -days 2");
        ca
    }

    /// A certificate for 127.0.0.1, and its key.
    fn sign(&self, name: &str) {
        self.sign_as(name, &format!("/CN={name}"));
    }

    fn sign_as(&self, name: &str, subject: &str) {
        std::fs::write(self.path("ext"), "subjectAltName=IP:127.0.0.1\n").unwrap();
        self.openssl(&format!("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out csr -subj {subject}"));
        self.openssl(&format!("x509 -req -in csr -CA ca.crt -CAkey ca.key -CAcreateserial -out {name}.crt -days 1 -extfile ext"));
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn openssl(&self, arguments: &str) {
        let mut command = Command::new("openssl");
        let run = command
            .args(arguments.split(' '))
            .current_dir(self.0.path())
            .output()
            .unwrap();
        assert!(
            run.status.success(),
            "{}",
            String::from_utf8_lossy(&run.stderr)
        );
    }

    fn files(&self, name: &str, clients: bool) -> TlsFiles {
        TlsFiles {
            certificate: self.path(&format!("{name}.crt")),
            private_key: self.path(&format!("{name}.key")),
            client_ca: clients.then(|| self.path("ca.crt")),
        }
    }

    /// Status of a request of one who trusts this CA; `None` where there is no connection.
    fn ask(&self, server: &Running, client: Option<&str>) -> Option<u16> {
        let agent = self.agent(client);
        let response = agent.get(server.url("/api/v1/fields")).call().ok()?;
        Some(response.status().as_u16())
    }

    /// One who trusts this CA.
    fn agent(&self, client: Option<&str>) -> ureq::Agent {
        let read = |name: &str| std::fs::read(self.path(name)).unwrap();
        let root = Certificate::from_pem(&read("ca.crt")).unwrap();
        let client = client.map(|name| {
            let certificate = Certificate::from_pem(&read(&format!("{name}.crt"))).unwrap();
            let key = PrivateKey::from_pem(&read(&format!("{name}.key"))).unwrap();
            ClientCert::new_with_certs(&[certificate], key)
        });
        let roots = RootCerts::from(vec![root]);
        let tls = TlsConfig::builder()
            .root_certs(roots)
            .client_cert(client)
            .build();
        let config = ureq::Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false);
        config.build().into()
    }
}

fn secured(tls: Tls) -> Running {
    let security = Security {
        tls: Some(tls),
        access: Access::default(),
    };
    Running::secured(Limits::default(), 10, security)
}

#[test]
fn certificates_change_while_the_server_runs() {
    let (one, two) = (Ca::new(), Ca::new());
    one.sign("server");
    two.sign("server");
    let files = one.files("server", false);
    let tls = Tls::new(files.clone()).unwrap();
    let server = secured(tls.clone());
    assert_eq!(
        (one.ask(&server, None), two.ask(&server, None)),
        (Some(200), None)
    );
    assert!(!tls.reload().unwrap());
    // Half of a change is none.
    std::fs::copy(two.path("server.crt"), &files.certificate).unwrap();
    assert!(tls.reload().is_err());
    assert_eq!(
        (one.ask(&server, None), two.ask(&server, None)),
        (Some(200), None)
    );
    std::fs::copy(two.path("server.key"), &files.private_key).unwrap();
    assert!(tls.reload().unwrap());
    assert_eq!(
        (one.ask(&server, None), two.ask(&server, None)),
        (None, Some(200))
    );
}

#[test]
fn only_clients_of_the_ca_are_answered() {
    let (ours, other) = (Ca::new(), Ca::new());
    ours.sign("server");
    ours.sign("client");
    other.sign("client");
    let server = secured(Tls::new(ours.files("server", true)).unwrap());
    assert_eq!(ours.ask(&server, Some("client")), Some(200));
    assert_eq!(ours.ask(&server, None), None);
    std::fs::copy(other.path("client.crt"), ours.path("client.crt")).unwrap();
    std::fs::copy(other.path("client.key"), ours.path("client.key")).unwrap();
    assert_eq!(ours.ask(&server, Some("client")), None);
}

#[test]
fn a_certificate_tells_who_asks() {
    let ca = Ca::new();
    ca.sign("server");
    for (name, subject) in [
        ("anna", "/O=guests/O=admins/CN=anna"),
        ("bert", "/CN=bert"),
        ("carl", "/O=guests/CN=carl"),
        ("none", "/O=admins"),
        ("two", "/CN=bert/CN=anna"),
    ] {
        ca.sign_as(name, subject);
    }
    let dir = tempfile::tempdir().unwrap();
    let mut files = tokens(dir.path());
    files.tokens = None;
    let security = |files| Security {
        tls: Some(Tls::new(ca.files("server", true)).unwrap()),
        access: Access::new(files, None, None).unwrap(),
    };
    let server = Running::secured(Limits::default(), 10, security(files.clone()));
    let ask = |server: &Running, name: &str, token: Option<&str>| {
        let mut request = ca.agent(Some(name)).get(server.url("/api/v1/sources"));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let got = got(request.call().unwrap());
        let words = ["namespace", "role", "common name", "token", ""];
        let said = words.into_iter().find(|it| got.text().contains(it));
        (got.status, said.unwrap_or_default())
    };
    // What is known of all: those who see all may have it.
    for (name, status) in [
        ("anna", 200),
        ("bert", 403),
        ("carl", 403),
        ("none", 401),
        ("two", 401),
    ] {
        assert_eq!(ask(&server, name, None).0, status, "{name}");
    }
    // A token goes first, where there are tokens.
    assert_eq!(ask(&server, "bert", Some(ADMIN)).0, 403);
    let both = AccessFiles {
        tokens: Some(dir.path().join("tokens.toml")),
        ..files.clone()
    };
    let server = Running::secured(Limits::default(), 10, security(both));
    assert_eq!(ask(&server, "bert", Some(ADMIN)).0, 200);
    assert_eq!(ask(&server, "anna", Some(TENANT)).0, 403);
    assert_eq!(ask(&server, "anna", Some("wrong-token-0123456789")).0, 401);
    assert_eq!(ask(&server, "anna", None).0, 200);
    // Without roles, tokens are asked for beside certificates.
    let plain = AccessFiles {
        tokens: Some(dir.path().join("tokens.toml")),
        ..AccessFiles::default()
    };
    let server = Running::secured(Limits::default(), 10, security(plain));
    assert_eq!(ask(&server, "anna", None).0, 401);
    assert_eq!(ask(&server, "carl", Some(TENANT)).0, 200);
    let audit = std::fs::read_to_string(dir.path().join("audit.jsonl")).unwrap();
    assert!(audit.contains("\"subject\":\"anna\""), "{audit}");
}

#[test]
fn a_connection_does_not_outlive_its_ca() {
    let (old, new) = (Ca::new(), Ca::new());
    old.sign("server");
    old.sign("client");
    let files = old.files("server", true);
    let tls = Tls::new(files.clone()).unwrap();
    let server = secured(tls.clone());
    let agent = old.agent(Some("client"));
    let status = |agent: &ureq::Agent| {
        let response = agent.get(server.url("/api/v1/fields")).call().unwrap();
        got(response).status
    };
    assert_eq!(status(&agent), 200);
    let both = [
        std::fs::read(new.path("ca.crt")).unwrap(),
        std::fs::read(old.path("ca.crt")).unwrap(),
    ];
    std::fs::write(files.client_ca.as_ref().unwrap(), both.concat()).unwrap();
    assert!(tls.reload().unwrap());
    assert_eq!(status(&agent), 200);
    std::fs::write(files.client_ca.as_ref().unwrap(), &both[0]).unwrap();
    assert!(tls.reload().unwrap());
    // The same connection, as the other side has not closed it.
    assert_eq!(status(&agent), 401);
}

/// Reads the stream of a tenant until it ends, while `change` happens in the middle.
fn streamed(change: impl FnOnce(&Path, &Access)) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let access = Access::new(tokens(dir.path()), None, None).unwrap();
    let security = Security {
        tls: None,
        access: access.clone(),
    };
    let server = Running::secured(Limits::default(), 1_000, security);
    let request = agent().get(server.url("/api/v1/live"));
    let request = request.header("authorization", format!("Bearer {TENANT}"));
    let stream = BufReader::new(request.call().unwrap().into_body().into_reader());
    let mut data = stream
        .lines()
        .map_while(Result::ok)
        .filter(|line| line.starts_with("data: "));
    let theirs = marked().into_iter().filter(is_theirs).map(Arc::new);
    let theirs: Vec<_> = theirs.collect();
    server.live.publish(theirs[..1].iter().cloned());
    let mut lines = vec![data.next().unwrap()];
    change(dir.path(), &access);
    server.live.publish(theirs[1..].iter().cloned());
    server.live.close();
    lines.extend(data);
    lines
}

#[test]
fn a_stream_ends_with_the_right_to_it() {
    assert!(streamed(|_, _| {}).len() > 50);
    let without_token = streamed(|dir, access| {
        std::fs::write(dir.join("tokens.toml"), "").unwrap();
        access.reload().unwrap();
    });
    assert_eq!(without_token.len(), 1);
    let without_role = streamed(|dir, access| {
        std::fs::write(dir.join("roles.toml"), "").unwrap();
        access.reload().unwrap();
    });
    assert_eq!(without_role.len(), 1);
    let of_others = streamed(|dir, access| {
        let role = "[[role]]\nsubjects = [\"bert\"]\nnamespaces = [\"empty\"]\n";
        std::fs::write(dir.join("roles.toml"), role).unwrap();
        access.reload().unwrap();
    });
    assert_eq!(of_others.len(), 1);
}

#[test]
fn no_other_way_leads_to_what_is_for_few() {
    let (_dir, server) = tenants();
    let raw = |method: &str, path: &str, token: &str| {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(server.url(path));
        let request = request.header("authorization", format!("Bearer {token}"));
        got(agent().run(request.body(()).unwrap()).unwrap())
    };
    for path in ["/metrics", "/api/v1/sources"] {
        assert_eq!(raw("HEAD", path, TENANT).status, 403, "{path}");
        assert_eq!(
            raw("HEAD", path, "wrong-token-0123456789").status,
            401,
            "{path}"
        );
        assert_eq!(raw("HEAD", path, ADMIN).status, 200, "{path}");
    }
    // Those that are not the API's are the console's, for everybody, or nobody's.
    for path in [
        "/metrics/",
        "//metrics",
        "/./metrics",
        "/healthz/../metrics",
        "/%6detrics",
        "/METRICS",
        "/metrics%00",
        "/metrics;x=1",
        "/healthz/",
        "/api/v1/../../metrics",
        "//api/v1/sources",
        "/%61pi/v1/sources",
        "/API/v1/sources",
        "/api/v1//sources",
        "/api/v1/connections/../sources",
        "/api/v1/sources/",
    ] {
        for token in [TENANT, "wrong-token-0123456789"] {
            let got = raw("GET", path, token);
            let text = String::from_utf8_lossy(&got.body);
            assert!([200, 401, 403, 404].contains(&got.status), "{path}: {text}");
            assert!(
                !text.contains("netverdict_") && !text.contains("psample"),
                "{path}: {text}"
            );
            assert!(
                got.status != 200 || got.kind.starts_with("text/html"),
                "{path}: {text}"
            );
        }
    }
    for method in ["OPTIONS", "TRACE", "PUT", "DELETE"] {
        assert_eq!(
            raw(method, "/metrics", "wrong-token-0123456789").status,
            401,
            "{method}"
        );
        assert_eq!(raw(method, "/metrics", TENANT).status, 405, "{method}");
    }
}

#[test]
fn pages_of_others_do_not_ask_by_their_own_names() {
    let server = Running::new(Limits::default(), 10);
    let port = server.url("").rsplit_once(':').unwrap().1.to_owned();
    let ask = |host: &str| {
        let request = agent()
            .get(server.url("/api/v1/fields"))
            .header("host", host);
        got(request.call().unwrap()).status
    };
    for host in [
        "localhost",
        "127.0.0.1",
        "[::1]",
        "LOCALHOST",
        "10.1.2.3",
        "netverdict.localhost",
    ] {
        assert_eq!(ask(&format!("{host}:{port}")), 200, "{host}");
        assert_eq!(ask(host), 200, "{host}");
    }
    for host in [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "",
    ] {
        assert_eq!(ask(&format!("{host}:{port}")), 403, "{host}");
    }
    // Who has a token is no page of somebody else's.
    let (_dir, server) = tenants();
    let request = agent().get(server.url("/api/v1/fields"));
    let request = request.header("host", "verdicts.example");
    let request = request.header("authorization", format!("Bearer {TENANT}"));
    assert_eq!(got(request.call().unwrap()).status, 200);
}

#[test]
fn roles_need_somebody_to_have_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = tokens(dir.path());
    files.tokens = None;
    let access = Access::new(files, None, None).unwrap();
    let security = Security { tls: None, access };
    let listening = Server::listen("127.0.0.1:0".parse().unwrap(), security);
    assert!(matches!(listening.map(drop), Err(ServeError::Nobody)));
}

#[test]
fn encryption_alone_does_not_open_a_server() {
    let ca = Ca::new();
    ca.sign("server");
    let listen = |clients, access| {
        let tls = Some(Tls::new(ca.files("server", clients)).unwrap());
        Server::listen("0.0.0.0:0".parse().unwrap(), Security { tls, access }).map(drop)
    };
    assert!(matches!(
        listen(false, Access::default()),
        Err(ServeError::Open(_))
    ));
    assert!(listen(true, Access::default()).is_ok());
    let dir = tempfile::tempdir().unwrap();
    let access = Access::new(tokens(dir.path()), None, None).unwrap();
    assert!(listen(false, access).is_ok());
}
