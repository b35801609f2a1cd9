//! `netverdict server` over TLS with tokens, certificates and roles: the command line as its
//! client, and what tenants are told by explanations and what-if.
#![allow(clippy::unwrap_used, clippy::panic)] // Of helpers; tests may anyway.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

const ADMIN: &str = "admin-token-0123456789";
const WRONG: &str = "wrong-token-0123456789";

/// The namespaces of the demo's cluster.
const NAMESPACES: [&str; 9] = [
    "blue",
    "data",
    "edge",
    "inventory",
    "kube-system",
    "monitoring",
    "payments",
    "refunds",
    "shop",
];

/// Those whose tenants ask, for as long as that takes.
const TENANTS: [&str; 4] = ["blue", "data", "inventory", "shop"];

fn token(namespace: &str) -> String {
    format!("{namespace}-token-0123456789")
}

/// A server of the demo's cluster.
struct Server {
    dir: TempDir,
    url: String,
    process: Child,
    agent: ureq::Agent,
}

impl Server {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let openssl = |arguments: &str| {
            let mut command = Command::new("openssl");
            command.args(arguments.split(' ')).current_dir(dir.path());
            let run = command.output().unwrap();
            let told = String::from_utf8_lossy(&run.stderr);
            assert!(run.status.success(), "{told}");
        };
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        openssl(&format!(
            "req -x509 {key} -keyout ca.key -out ca.crt -subj /CN=ca -days 2"
        ));
        fs::write(path("ext"), "subjectAltName=IP:127.0.0.1\n").unwrap();
        for (name, subject) in [("server", "/CN=server"), ("blue", "/O=blue-team/CN=bo")] {
            openssl(&format!(
                "req {key} -keyout {name}.key -out csr -subj {subject}"
            ));
            openssl(&format!(
                "x509 -req -in csr -CA ca.crt -CAkey ca.key -CAcreateserial -out {name}.crt -days 1 -extfile ext"
            ));
        }
        let mut tokens = format!("[[token]]\ntoken = \"{ADMIN}\"\nsubject = \"admin\"\n");
        let mut roles = "[[role]]\nsubjects = [\"admin\"]\nnamespaces = [\"*\"]\n\
             [[role]]\ngroups = [\"blue-team\"]\nnamespaces = [\"blue\"]\n"
            .to_owned();
        for namespace in NAMESPACES {
            let token = token(namespace);
            tokens += &format!("[[token]]\ntoken = \"{token}\"\nsubject = \"of-{namespace}\"\n");
            roles += &format!(
                "[[role]]\nsubjects = [\"of-{namespace}\"]\nnamespaces = [\"{namespace}\"]\n"
            );
        }
        fs::write(path("tokens.toml"), tokens).unwrap();
        fs::write(path("roles.toml"), roles).unwrap();
        let of = |name: &str| path(name).display().to_string();
        let config = format!(
            "[tls]\ncertificate = {:?}\nprivate_key = {:?}\nclient_ca = {:?}\n[access]\ntokens = {:?}\nroles = {:?}\nrequests_per_second = 100000\n",
            of("server.crt"),
            of("server.key"),
            of("ca.crt"),
            of("tokens.toml"),
            of("roles.toml"),
        );
        fs::write(path("server.toml"), config).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_netverdict"))
            .args(["server", "--demo", "--listen", "127.0.0.1:0", "--config"])
            .arg(path("server.toml"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut said = lines.by_ref().map(Result::unwrap);
        let url = said.find_map(|line| {
            let rest = line.split("answering at ").nth(1)?;
            Some(rest.strip_suffix("/api/v1")?.to_owned())
        });
        // What it says else is not read, and must not fill a pipe.
        thread::spawn(move || lines.count());
        let read = |name: &str| fs::read(path(name)).unwrap();
        let root = Certificate::from_pem(&read("ca.crt")).unwrap();
        let own = Certificate::from_pem(&read("blue.crt")).unwrap();
        let key = PrivateKey::from_pem(&read("blue.key")).unwrap();
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::from(vec![root]))
            .client_cert(Some(ClientCert::new_with_certs(&[own], key)));
        let agent = ureq::Agent::config_builder()
            .tls_config(tls.build())
            .http_status_as_error(false);
        let server = Self {
            agent: agent.build().into(),
            url: url.unwrap(),
            process,
            dir,
        };
        server.wait();
        server
    }

    /// Waits until every namespace was seen at work.
    fn wait(&self) {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let (status, told) = self.get("namespaces", ADMIN);
            let active = told["items"].as_array().map_or(0, |all| {
                let count = |it: &Value, way: &str| it[way]["connections"].as_u64().unwrap();
                let is_active = |it: &&Value| count(it, "in") + count(it, "out") > 0;
                all.iter().filter(is_active).count()
            });
            if status == 200 && active >= NAMESPACES.len() {
                return;
            }
            assert!(Instant::now() < until, "{status}: {told}");
        }
    }

    fn get(&self, path: &str, token: &str) -> (u16, Value) {
        let request = self.agent.get(format!("{}/api/v1/{path}", self.url));
        let request = request.header("authorization", format!("Bearer {token}"));
        Self::said(request.call().unwrap())
    }

    fn post(&self, path: &str, token: &str, body: &Value) -> (u16, Value) {
        let request = self.agent.post(format!("{}/api/v1/{path}", self.url));
        let request = request.header("authorization", format!("Bearer {token}"));
        let request = request.header("content-type", "application/json");
        Self::said(request.send(body.to_string()).unwrap())
    }

    fn said(response: ureq::http::Response<ureq::Body>) -> (u16, Value) {
        let status = response.status().as_u16();
        let body = response.into_body().into_reader();
        (status, serde_json::from_reader(body).unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `netverdict observe` of all that is recorded.
    fn observe(&self, token: Option<&str>, ca: &str, certificate: Option<&str>) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_netverdict"));
        command
            .args(["observe", "--since", "-1h", "--source"])
            .arg(format!("server:{}", self.url))
            .arg("--server-ca")
            .arg(self.path(ca));
        command.env_remove("NETVERDICT_TOKEN");
        if let Some(token) = token {
            command.env("NETVERDICT_TOKEN", token);
        }
        if let Some(name) = certificate {
            command
                .arg("--server-certificate")
                .arg(self.path(&format!("{name}.crt")))
                .arg("--server-key")
                .arg(self.path(&format!("{name}.key")));
        }
        command.output().unwrap()
    }

    /// Names of pods and services, by namespace.
    fn names(&self) -> BTreeMap<String, BTreeSet<String>> {
        let (status, told) = self.get("workloads", ADMIN);
        assert_eq!(status, 200, "{told}");
        let mut names = BTreeMap::<_, BTreeSet<String>>::new();
        for item in told["items"].as_array().unwrap() {
            if let (Some(namespace), Some(name)) =
                (item["namespace"].as_str(), item["name"].as_str())
            {
                let all = names.entry(namespace.to_owned()).or_default();
                all.insert(name.to_owned());
            }
        }
        names
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn the_command_line_shows_who_asks() {
    let server = Server::start();
    let fine = server.observe(Some(ADMIN), "ca.crt", Some("blue"));
    assert_eq!(fine.status.code(), Some(0), "{}", text(&fine.stderr));
    assert!(text(&fine.stdout).contains("shop/"));
    let tenant = server.observe(Some(&token("shop")), "ca.crt", Some("blue"));
    assert!(text(&tenant.stdout).contains("shop/") && !text(&tenant.stdout).contains("blue/"));
    // The certificate alone says who asks.
    let named = server.observe(None, "ca.crt", Some("blue"));
    assert_eq!(named.status.code(), Some(0), "{}", text(&named.stderr));
    assert!(text(&named.stdout).contains("blue/") && !text(&named.stdout).contains("shop/"));

    let wrong = server.observe(Some(WRONG), "ca.crt", Some("blue"));
    assert_eq!(wrong.status.code(), Some(1));
    let told = text(&wrong.stderr);
    assert!(
        told.contains("does not take this token") && !told.contains(WRONG),
        "{told}"
    );
    // A server that wants a certificate, one that nobody trusts, and what is no certificate.
    for (ca, certificate, word) in [
        ("ca.crt", None, "ertificate"),
        ("blue.crt", Some("blue"), "ertificate"),
        ("server.toml", Some("blue"), "server.toml"),
        ("none.crt", Some("blue"), "none.crt"),
    ] {
        let output = server.observe(Some(ADMIN), ca, certificate);
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{ca}: {told}");
        assert!(told.contains(word) && !told.contains(ADMIN), "{ca}: {told}");
    }
    // Nobody listens there, and nobody would see the token.
    let mut command = Command::new(env!("CARGO_BIN_EXE_netverdict"));
    command.args(["observe", "--source", "server:http://192.0.2.1:1"]);
    let output = command.env("NETVERDICT_TOKEN", ADMIN).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("https"),
        "{}",
        text(&output.stderr)
    );
    // From a file, as Kubernetes gives it.
    fs::write(server.path("token"), format!("{ADMIN}\n")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_netverdict"));
    command.args(["observe", "--since", "-1h", "--last", "1", "--source"]);
    command.arg(format!("server:{}", server.url));
    for (option, name) in [
        ("--server-token-file", "token"),
        ("--server-ca", "ca.crt"),
        ("--server-certificate", "blue.crt"),
        ("--server-key", "blue.key"),
    ] {
        command.arg(option).arg(server.path(name));
    }
    let output = command.env("NETVERDICT_TOKEN", WRONG).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(!output.stdout.is_empty());
}

/// A network policy.
fn policy(namespace: &str, spec: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{namespace: {namespace}, name: tried}}\nspec: {spec}\n"
    )
}

const DENY: &str = "{podSelector: {}, policyTypes: [Ingress, Egress]}";
const ALLOW: &str =
    "{podSelector: {}, ingress: [{}], egress: [{}], policyTypes: [Ingress, Egress]}";

#[test]
fn no_explanation_and_no_trial_tells_a_tenant_of_others() {
    let server = Server::start();
    let names = server.names();
    let (mut explained, mut dropped, mut changes) = (0, 0, 0);
    for own in TENANTS {
        let token = token(own);
        // What only others have.
        let mut foreign = BTreeSet::new();
        for (namespace, all) in names.iter().filter(|(namespace, _)| *namespace != own) {
            foreign.extend([
                format!("{namespace}/"),
                format!("\"{namespace}\""),
                format!("namespace {namespace}"),
                format!("{namespace}_"),
            ]);
            let only = all.difference(&names[own]).filter(|it| it.contains('-'));
            foreign.extend(only.cloned());
        }
        let check = |what: &str, said: &Value| {
            let said = said.to_string();
            let found = foreign.iter().find(|word| said.contains(*word));
            assert_eq!(found, None, "{own}: {what}: {said}");
        };
        let ends = |namespace: &str| -> Vec<String> {
            let all = names[namespace]
                .iter()
                .map(|name| format!("{namespace}/{name}"));
            all.collect()
        };
        for from in ends(own) {
            for to in names.keys().flat_map(|namespace| ends(namespace)) {
                for to in [to.clone(), format!("svc/{to}")] {
                    let body = json!({"from": from, "to": to, "port": "5432/tcp"});
                    let (status, said) = server.post("explain", &token, &body);
                    if to.contains(&format!("{own}/")) {
                        assert!([200, 403, 422].contains(&status), "{body}: {said}");
                        check(&body.to_string(), &said);
                        explained += usize::from(status == 200);
                        dropped += usize::from(said["verdict"] == "dropped");
                    } else {
                        assert_eq!(status, 403, "{body}: {said}");
                    }
                }
            }
        }
        for spec in [DENY, ALLOW] {
            let body = json!({"policies": policy(own, spec), "since": "-1h"});
            let (status, said) = server.post("whatif", &token, &body);
            assert_eq!(status, 200, "{own}: {said}");
            check("whatif", &said);
            for change in said["changes"].as_array().unwrap() {
                let ends = ["from", "to"].map(|end| &change["pair"][end]["endpoint"]["namespace"]);
                assert!(ends.into_iter().any(|it| it == own), "{own}: {change}");
                changes += 1;
            }
        }
        let other = NAMESPACES.iter().find(|it| **it != own).unwrap();
        let namespace = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {own}}}\n");
        let pod = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{namespace: {own}, name: a}}\nstatus: {{podIP: 10.0.0.1}}\n"
        );
        let admin = "apiVersion: policy.networking.k8s.io/v1alpha1\nkind: AdminNetworkPolicy\nmetadata: {name: a}\nspec: {priority: 1, subject: {namespaces: {}}}\n";
        for (policies, expected) in [
            (policy(other, DENY), 403),
            (policy(own, DENY) + "---\n" + &policy(other, DENY), 403),
            (namespace, 403),
            (pod, 403),
            (admin.to_owned(), 403),
            (
                policy(own, "{podSelector: {}, ingress: [{from: nobody}]}"),
                400,
            ),
            ("kind: [".to_owned(), 400),
        ] {
            let body = json!({"policies": policies});
            let (status, said) = server.post("whatif", &token, &body);
            assert_eq!(status, expected, "{own}: {policies}: {said}");
            assert!(expected == 403 || !said.to_string().contains(&format!("{other}/")));
        }
    }
    assert!(
        explained > 20 && dropped > 0 && changes > 20,
        "{explained} {dropped} {changes}"
    );
    // The same of what goes: first there must be such a policy.
    for (object, of_tenant, of_all) in [
        ("NetworkPolicy/data/allow-catalog", 200, 200),
        ("NetworkPolicy/shop/allow-catalog", 403, 422),
        ("NetworkPolicy/data/nobody", 422, 422),
        ("Policy/data/allow-catalog", 400, 400),
        ("AdminNetworkPolicy/a", 403, 422),
    ] {
        let body = json!({"remove": [object], "since": "-1h"});
        for (token, expected) in [(token("data"), of_tenant), (ADMIN.to_owned(), of_all)] {
            let (status, said) = server.post("whatif", &token, &body);
            assert_eq!(status, expected, "{object}: {said}");
        }
    }
    // Who sees all asks about all.
    let body = json!({"policies": policy("shop", DENY), "since": "-1h"});
    let judged = |token: &str| {
        let (status, said) = server.post("whatif", token, &body);
        assert_eq!(status, 200, "{said}");
        said["summary"]["judged"]["pairs"].as_u64().unwrap()
    };
    assert!(judged(&token("shop")) < judged(ADMIN));
}
