//! What `/metrics` says.

use std::time::Duration;

use netverdict_server::Limits;
use netverdict_store::judge::{Random, batches};

use crate::support::{Running, agent};

#[test]
fn both_formats_tell_the_same_numbers() {
    let server = Running::random(7);
    for batch in batches(&mut Random::new(7), 300) {
        server.metrics.count(&batch.rows);
        server
            .metrics
            .appended(batch.rows.len(), Duration::from_millis(3));
    }
    server.get("/metrics");
    server.get("/api/nowhere/42");
    let classic = server.get("/metrics");
    assert_eq!(classic.kind, "text/plain; version=0.0.4; charset=utf-8");
    let accepted = "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;q=0.5";
    let request = agent()
        .get(server.url("/metrics"))
        .header("accept", accepted);
    let response = request.call().unwrap();
    let kind = response.headers()["content-type"].to_str().unwrap();
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"));
    let open = response.into_body().read_to_string().unwrap();
    assert!(open.ends_with("\n# EOF\n"));
    let samples = |text: &str| {
        let lines = text.lines();
        // Asking is counted itself.
        let lines = lines.filter(|it| !it.starts_with('#') && !it.contains("_http_"));
        let mut lines: Vec<_> = lines.map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    assert_eq!(samples(classic.text()), samples(&open));
    for told in [
        "netverdict_http_requests_total{method=\"GET\",path=\"other\",code=\"404\"} 1\n",
        "netverdict_http_requests_total{method=\"GET\",path=\"/metrics\",code=\"200\"} 1\n",
        "# TYPE netverdict_rule_connections_total counter\n",
        "netverdict_store_up 1\n",
    ] {
        assert!(classic.text().contains(told), "{told}{}", classic.text());
    }
}

#[test]
fn no_series_is_told_twice() {
    let server = Running::new(Limits::default(), 10);
    for seed in 0..20 {
        for batch in batches(&mut Random::new(seed), 100) {
            server.metrics.count(&batch.rows);
        }
    }
    let got = server.get("/metrics");
    let names = got.text().lines().filter(|line| !line.starts_with('#'));
    let mut names: Vec<_> = names.filter_map(|line| line.rsplit_once(' ')).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup_by_key(|(name, _)| *name);
    assert_eq!(names.len(), count);
    let rules = names
        .iter()
        .filter(|(name, _)| name.starts_with("netverdict_rule_packets"));
    assert!(rules.count() > 10);
}
