//! What `netverdict explain` says of rows of databases, alone and with the manifests that they were made from.
#![allow(clippy::unwrap_used, clippy::panic)] // Of helpers; tests may anyway.

use std::fs;
use std::path::Path;
use std::process::Command;

/// The demo's cluster, as dumps and as manifests.
fn shop() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let demo = Command::new(env!("CARGO_BIN_EXE_netverdict"))
        .args(["demo", "--for", "1", "--directory"])
        .arg(directory.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&demo.stderr);
    assert!(demo.status.success(), "{told}");
    directory
}

const DUMPS: &str = "--nb worker-1/nb.json --nb worker-2/nb.json --nb worker-3/nb.json";

/// A question as people write it, and what comes.
fn asked(directory: &Path, question: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_netverdict"))
        .arg("explain")
        .args(question.split(' '))
        .args(DUMPS.split(' '))
        .current_dir(directory)
        .env("COLUMNS", "100")
        .output()
        .unwrap();
    let code = output.status.code().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    format!(
        "explain {question}\nexit status {code}\n\n{}{}",
        text(&output.stdout),
        text(&output.stderr)
    )
}

#[test]
fn rows_and_manifests_answer_together() {
    let shop = shop();
    let shop = shop.path();

    // By rows alone the ACLs that came closest are told, with the selectors that their address sets stand for.
    let rows = [
        "--from shop/web-0 --to shop/catalog-0 --port 9999",
        "--from blue/iperf-client-0 --to data/redis-0 --port 6379",
    ]
    .map(|question| asked(shop, question));
    insta::assert_snapshot!("rows_alone", rows.join("\n\n"));

    // With manifests rules have lines, and a fix is looked for.
    let question = "--from shop/web-0 --to shop/catalog-0 --port 9999 --manifests manifests";
    insta::assert_snapshot!("rows_with_manifests", asked(shop, question));

    // Manifests that are ahead of the rows are found out.
    let policies = shop.join("manifests/4-policies.yaml");
    let text = fs::read_to_string(&policies).unwrap();
    let ahead = text.replace("name: allow-within", "name: allow-more");
    let ahead = ahead.replace("port: 8080", "port: 9999");
    fs::write(&policies, ahead).unwrap();
    let told = asked(shop, question);
    assert!(
        told.contains("these rows are not, or not yet, made of them"),
        "{told}"
    );

    // Policies alone say where rules are, and the rows what came closest.
    for other in ["1-nodes", "2-namespaces", "3-workloads"] {
        fs::remove_file(shop.join(format!("manifests/{other}.yaml"))).unwrap();
    }
    fs::write(&policies, text).unwrap();
    insta::assert_snapshot!("rows_with_policies_alone", asked(shop, question));

    // The same database by another name.
    fs::copy(shop.join("worker-1/nb.json"), shop.join("copy.json")).unwrap();
    let twice = asked(shop, "--from a/b --to c/d --port 1 --nb copy.json");
    assert!(twice.contains("exit status 2"), "{twice}");
    assert!(
        twice.contains("copy.json and worker-1/nb.json are the same NB"),
        "{twice}"
    );

    // A match that OVN refuses is named, with OVN's words.
    let dump = shop.join("worker-2/nb.json");
    let text = fs::read_to_string(&dump).unwrap();
    let wrong = text.replace("tcp.dst==8080", "tcp.dst==http");
    assert_ne!(text, wrong);
    fs::write(&dump, wrong).unwrap();
    let question = "--from shop/web-0 --to shop/catalog-0 --port 8080";
    insta::assert_snapshot!("a_match_that_is_refused", asked(shop, question));
}
