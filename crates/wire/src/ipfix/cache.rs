use std::collections::VecDeque;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};
use netverdict_types::Timestamp;
use std::hash::BuildHasher;

use super::encode::{ACTIVE_TIMEOUT, Counters, Exporter, Record, milliseconds};
use super::template::TemplateKind;

/// An exporter of Open vSwitch as it runs: it adds the packets of a flow up, and sends each flow
/// when its time is over or there are too many; templates and statistics when they are due.
///
/// Time is that of the samples and calls: nothing here waits. Each method calls `send` for each
/// message; it says whether the message could be sent.
#[derive(Clone, Debug)]
pub struct CachingExporter {
    exporter: Exporter,
    options: CacheOptions,
    /// Flows in the order in which they came.
    flows: VecDeque<Flow>,
    /// Flows that were there before the first of `flows`.
    gone: u64,
    /// The number of each flow since the beginning, by its key.
    numbers: HashTable<u64>,
    /// When templates were last sent, by domain.
    templates: HashMap<u32, u32>,
    statistics: u32,
    not_sent: u64,
    /// Memory for the key of the next flow.
    spare: Vec<Vec<u8>>,
    message: Vec<u8>,
}

/// What a row of the table IPFIX says (ovs-vswitchd.conf.db(5)).
#[derive(Clone, Debug)]
pub struct CacheOptions {
    /// `other_config:virtual_obs_id`.
    pub virtual_id: Option<String>,
    /// `cache_active_timeout`: seconds that a flow is kept at most; with 0 none is kept.
    pub active_timeout: u32,
    /// `cache_max_flows`: flows that are kept at most; with 0 none is.
    pub max_flows: u32,
    /// `template_interval`: seconds after which the templates of a domain are sent again.
    pub template_interval: u32,
    /// `stats_interval`: seconds after which the exporter's statistics are sent again.
    pub statistics_interval: u32,
    /// The exporter's number in its statistics.
    pub process: u32,
}

impl Default for CacheOptions {
    /// What Open vSwitch takes where a row says nothing: no cache, templates and statistics every
    /// ten minutes.
    fn default() -> Self {
        Self {
            virtual_id: None,
            active_timeout: 0,
            max_flows: 0,
            template_interval: 600,
            statistics_interval: 600,
            process: 1,
        }
    }
}

impl CachingExporter {
    /// An exporter that has sent nothing yet.
    pub fn new(options: CacheOptions) -> Self {
        Self {
            exporter: Exporter::new(options.virtual_id.clone()),
            options,
            flows: VecDeque::new(),
            gone: 0,
            numbers: HashTable::new(),
            templates: HashMap::new(),
            statistics: 0,
            not_sent: 0,
            spare: Vec::new(),
            message: Vec::new(),
        }
    }

    /// Takes a packet that was sampled at `record.time`.
    pub fn sample(&mut self, record: &Record<'_>, send: impl FnMut(&[u8]) -> bool) {
        let template = record.template();
        let counters = self.exporter.account(record, template);
        let mut key = self.spare.pop().unwrap_or_default();
        key.clear();
        record.put_key(template, &mut key);
        let flow = Flow {
            domain: record.domain,
            template,
            key,
            counters,
        };
        let hash = flow.hash();
        let same = self.numbers.find(hash, |number| {
            let place = (number - self.gone) as usize;
            self.flows.get(place).is_some_and(|known| known.is(&flow))
        });
        if let Some(&number) = same {
            if let Some(known) = self.flows.get_mut((number - self.gone) as usize) {
                known.counters.add(&flow.counters);
            }
            self.spare.push(flow.key);
            return;
        }
        let number = self.gone + self.flows.len() as u64;
        self.flows.push_back(flow);
        let (flows, gone) = (&self.flows, self.gone);
        self.numbers.insert_unique(hash, number, |number| {
            let flow = flows.get((number - gone) as usize);
            flow.map(Flow::hash).unwrap_or_default()
        });
        if self.flows.len() as u64 > u64::from(self.options.max_flows) {
            self.export(record.time, false, send);
        }
    }

    /// Sends the flows whose time is over at `now`. To be called at [`CachingExporter::next`], or
    /// from time to time.
    pub fn expire(&mut self, now: Timestamp, send: impl FnMut(&[u8]) -> bool) {
        self.export(now, false, send);
    }

    /// Sends all flows, as when the exporter is taken away.
    pub fn finish(&mut self, now: Timestamp, send: impl FnMut(&[u8]) -> bool) {
        self.export(now, true, send);
    }

    /// When the time of the oldest flow is over.
    pub fn next(&self) -> Option<Timestamp> {
        let oldest = self.flows.front()?.counters.start;
        Some(Timestamp((oldest + self.kept()).saturating_mul(1_000)))
    }

    /// Flows that it holds now.
    pub fn flows(&self) -> usize {
        self.flows.len()
    }

    /// Messages that `send` could not send.
    pub fn not_sent(&self) -> u64 {
        self.not_sent
    }

    fn export(&mut self, now: Timestamp, all: bool, mut send: impl FnMut(&[u8]) -> bool) {
        let now = milliseconds(now);
        let export_time = now.div_euclid(1_000_000) + i64::from(now.rem_euclid(1_000_000) > 0);
        let export_time = export_time as u32;
        while let Some(oldest) = self.flows.front() {
            let reason = if all {
                FORCED_END
            } else if oldest.counters.start <= now - self.kept() {
                ACTIVE_TIMEOUT
            } else if self.flows.len() as u64 > u64::from(self.options.max_flows) {
                LACK_OF_RESOURCES
            } else {
                return;
            };
            let domain = oldest.domain;
            self.announce(domain, export_time, &mut send);
            let Some(flow) = self.flows.pop_front() else {
                return;
            };
            let gone = self.gone;
            if let Ok(entry) = self
                .numbers
                .find_entry(flow.hash(), |&number| number == gone)
            {
                entry.remove();
            }
            self.gone += 1;
            self.message.clear();
            self.exporter.flow(
                export_time,
                (domain, flow.template, &flow.key),
                &flow.counters,
                reason,
                &mut self.message,
            );
            self.not_sent += u64::from(!send(&self.message));
            if self.spare.len() < MOST_SPARE {
                self.spare.push(flow.key);
            }
        }
    }

    /// Sends statistics and templates that are due before a message of `domain`.
    fn announce(&mut self, domain: u32, export_time: u32, send: &mut impl FnMut(&[u8]) -> bool) {
        let due = |last: u32, interval: u32| u64::from(last) + u64::from(interval);
        if due(self.statistics, self.options.statistics_interval) <= u64::from(export_time) {
            self.statistics = export_time;
            self.message.clear();
            let (process, not_sent) = (self.options.process, self.not_sent);
            self.exporter
                .statistics(export_time, process, not_sent, &mut self.message);
            self.not_sent += u64::from(!send(&self.message));
        }
        let sent = self.templates.entry(domain).or_default();
        if due(*sent, self.options.template_interval) <= u64::from(export_time) {
            *sent = export_time;
            let not_sent = &mut self.not_sent;
            self.exporter.templates(domain, export_time, |message| {
                *not_sent += u64::from(!send(message));
            });
        }
    }

    /// How long a flow is kept, in microseconds.
    fn kept(&self) -> i64 {
        i64::from(self.options.active_timeout) * 1_000_000
    }
}

#[derive(Clone, Debug)]
struct Flow {
    domain: u32,
    template: TemplateKind,
    key: Vec<u8>,
    counters: Counters,
}

impl Flow {
    fn hash(&self) -> u64 {
        FixedState::default().hash_one((self.domain, self.template.id(), &self.key))
    }

    fn is(&self, other: &Self) -> bool {
        self.domain == other.domain && self.template == other.template && self.key == other.key
    }
}

/// Values of `flowEndReason` (IANA).
const FORCED_END: u8 = 4;
const LACK_OF_RESOURCES: u8 = 5;
/// Keys whose memory is kept for later flows.
const MOST_SPARE: usize = 1_024;
