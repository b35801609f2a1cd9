//! What doctor says, for those who ask the server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use netverdict_control::Sampled;
use netverdict_server::{Health, HealthFinding, Refusal, SampledAcls, ZoneHealth};
use serde::Serialize;

use crate::databases::Databases;
use crate::doctor::{Examination, Finding, Zone, examine};

/// Examines this machine and the databases when somebody asks.
pub(crate) struct Checkup {
    databases: Databases,
    last: tokio::sync::Mutex<Option<(Instant, Health)>>,
}

/// Databases are not asked more often: each time all their rows are on their way.
const PAUSE: Duration = Duration::from_secs(60);

impl Checkup {
    pub(crate) fn new(databases: Databases) -> Self {
        Self {
            databases,
            last: tokio::sync::Mutex::default(),
        }
    }

    /// How it stands now, or did a short while ago.
    ///
    /// # Errors
    /// If the environment names something that is no endpoint.
    pub(crate) async fn health(self: Arc<Self>) -> Result<Health, Refusal> {
        let asking = tokio::spawn(async move {
            let mut last = self.last.lock().await;
            if let Some((at, health)) = &*last
                && at.elapsed() < PAUSE
            {
                return Ok(health.clone());
            }
            let databases = self.databases.clone();
            let examined = tokio::task::spawn_blocking(move || examine(&databases, None)).await;
            let examined = examined.map_err(|error| Refusal::Fault(error.to_string()))?;
            let examined = examined.map_err(|error| Refusal::Fault(format!("{error:#}")))?;
            let health = told(examined);
            *last = Some((Instant::now(), health.clone()));
            Ok(health)
        });
        // Whoever asked may go; the next one finds what came of it.
        asking
            .await
            .unwrap_or_else(|error| Err(Refusal::Fault(error.to_string())))
    }
}

fn told(examined: Examination) -> Health {
    let Examination { report, zones, .. } = examined;
    Health {
        netverdict: report.netverdict.to_owned(),
        time: report.time,
        zones: zones.into_iter().map(zone).collect(),
        findings: report.findings.into_iter().map(finding).collect(),
    }
}

fn zone(Zone { status, ovs }: Zone) -> ZoneHealth {
    let policies = &status.policies;
    ZoneHealth {
        acls: policies.iter().map(|policy| policy.acls as u64).sum(),
        unsampled: policies.iter().map(|policy| policy.unsampled as u64).sum(),
        new: sampled(policies.iter().flat_map(|policy| &policy.new)),
        est: sampled(policies.iter().flat_map(|policy| &policy.est)),
        name: status.zone,
        ovn: status.ovn,
        ovs,
    }
}

/// By rate, the highest first.
fn sampled<'a>(all: impl Iterator<Item = &'a Sampled>) -> Vec<SampledAcls> {
    let mut by_rate = std::collections::BTreeMap::<u16, u64>::new();
    for one in all {
        *by_rate.entry(one.probability.probability()).or_default() += one.acls as u64;
    }
    let by_rate = by_rate.into_iter().rev();
    by_rate
        .map(|(rate, acls)| SampledAcls {
            share: f64::from(rate) / f64::from(u16::MAX),
            acls,
        })
        .collect()
}

fn finding(finding: Finding) -> HealthFinding {
    HealthFinding {
        area: word(finding.area),
        check: finding.check.to_owned(),
        zone: finding.zone,
        state: word(finding.state),
        seen: finding.seen,
        why: finding.why,
        mend: finding.mend,
    }
}

/// As doctor's JSON has it.
fn word(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}
