//! A decision as JSON, written directly: what [`serde::Serialize`] gives, several times as fast.

use std::io::Write as _;
use std::net::IpAddr;

use crate::{
    AclRow, Decision, DropFlow, End, EndpointKind, Owner, Rule, Service, TcpFlags, protocol_name,
};

impl Decision<'_> {
    /// Appends the decision as JSON: the same bytes as `serde_json::to_vec` gives.
    ///
    /// A program that shows each sample spends most of its time here, and serde asks for each
    /// byte of a text whether it must be escaped.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        let mut line = Line(out);
        line.raw("{\"time\":\"");
        line.raw(self.time.to_rfc3339().as_str());
        line.raw("\",\"zone\":");
        line.text(self.zone);
        line.optional(",\"network\":", self.network);
        line.optional(",\"node\":", self.node);
        line.word(",\"verdict\":", self.verdict.as_str());
        if let Some(row) = self.acl {
            let acl = row.acl();
            line.word(",\"action\":", acl.action.as_str());
            if let Some(direction) = acl.owner.direction {
                line.word(",\"direction\":", direction.as_str());
            }
            line.word(",\"pipeline\":", acl.pipeline.as_str());
            line.number(",\"tier\":", acl.tier);
        }
        if let Some(app) = self.app {
            line.word(",\"app\":", app.as_str());
        }
        line.raw(match self.reply {
            Some(true) => ",\"reply\":true",
            Some(false) => ",\"reply\":false",
            None => ",\"reply\":null",
        });
        if let Some(row) = self.acl {
            line.raw(",\"owner\":");
            line.owner(&row.acl().owner);
            line.acl(row, self.deleted);
            line.number(",\"revision\":", row.revision);
        }
        line.raw(",\"src\":");
        line.end(&self.src);
        line.raw(",\"dst\":");
        line.end(&self.dst);
        if let Some(service) = self.service {
            line.service(service);
        }
        if let Some(protocol) = self.headers.protocol {
            match protocol_name(protocol) {
                Some(name) => line.word(",\"protocol\":", name),
                None => line.number(",\"protocol\":", protocol),
            }
        }
        if let Some(flags) = self.headers.tcp_flags {
            line.raw(",\"tcp_flags\":\"");
            line.flags(flags);
            line.raw("\"");
        }
        if let Some(icmp) = self.headers.icmp {
            line.number(",\"icmp\":{\"type\":", icmp.kind);
            line.number(",\"code\":", icmp.code);
            line.raw("}");
        }
        line.number(",\"length\":", self.length);
        line.number(",\"packets\":", self.packets);
        line.number(",\"bytes\":", self.bytes);
        if let Some(cookie) = self.cookie {
            line.number(",\"point\":", cookie.point);
            line.number(",\"domain\":", cookie.domain);
        }
        line.optional(",\"datapath\":", self.datapath);
        if let Some(group) = self.group {
            line.number(",\"group\":", group);
        }
        line.raw(",\"probability\":");
        line.share(self.probability.rounded());
        line.word(",\"source\":", self.origin.as_str());
        if self.double {
            line.raw(",\"double\":true");
        }
        if !self.candidates.is_empty() {
            line.raw(match self.is_ambiguous() {
                true => ",\"ambiguous\":true,\"candidates\":[",
                false => ",\"ambiguous\":false,\"candidates\":[",
            });
            for (number, candidate) in self.candidates.iter().enumerate() {
                line.raw(if number == 0 { "" } else { "," });
                line.candidate(candidate);
            }
            line.raw("]");
        }
        if let Some(flow) = self.flow {
            line.flow(flow);
        }
        if let Some(reason) = self.unresolved {
            line.word(",\"unresolved\":", reason.as_str());
        }
        line.word(",\"evidence\":", self.evidence.as_str());
        line.raw(",\"message\":");
        line.text(self.message());
        line.raw("}");
    }
}

struct Line<'o>(&'o mut Vec<u8>);

impl Line<'_> {
    fn raw(&mut self, json: &str) {
        self.0.extend_from_slice(json.as_bytes());
    }

    /// A key, and a word in which nothing is to be escaped.
    fn word(&mut self, key: &str, word: &str) {
        self.raw(key);
        self.raw("\"");
        self.raw(word);
        self.raw("\"");
    }

    fn optional(&mut self, key: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.raw(key);
            self.text(text);
        }
    }

    fn number(&mut self, key: &str, number: impl Into<u64>) {
        self.raw(key);
        self.decimal(number.into());
    }

    fn decimal(&mut self, mut number: u64) {
        let mut digits = [0; 20];
        let mut start = digits.len();
        loop {
            start -= 1;
            digits[start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.0.extend_from_slice(&digits[start..]);
    }

    fn text(&mut self, text: &str) {
        self.raw("\"");
        if is_plain(text.as_bytes()) {
            self.raw(text);
        } else {
            self.escaped(text);
        }
        self.raw("\"");
    }

    fn escaped(&mut self, text: &str) {
        for &byte in text.as_bytes() {
            let short = match byte {
                b'"' | b'\\' => byte,
                0x08 => b'b',
                b'\t' => b't',
                b'\n' => b'n',
                0x0c => b'f',
                b'\r' => b'r',
                0..0x20 => {
                    let hex = |digit: u8| b"0123456789abcdef"[usize::from(digit)];
                    self.raw("\\u00");
                    self.0.extend([hex(byte >> 4), hex(byte & 15)]);
                    continue;
                }
                _ => {
                    self.0.push(byte);
                    continue;
                }
            };
            self.0.extend([b'\\', short]);
        }
    }

    fn ip(&mut self, ip: IpAddr) {
        self.raw("\"");
        match ip {
            IpAddr::V4(ip) => {
                for (number, octet) in ip.octets().into_iter().enumerate() {
                    self.raw(if number == 0 { "" } else { "." });
                    self.decimal(octet.into());
                }
            }
            IpAddr::V6(ip) => {
                // A Vec takes everything.
                let _ = write!(self.0, "{ip}");
            }
        }
        self.raw("\"");
    }

    fn uuid(&mut self, uuid: uuid::Uuid) {
        let mut buffer = uuid::Uuid::encode_buffer();
        self.raw(uuid.hyphenated().encode_lower(&mut buffer));
    }

    fn owner(&mut self, owner: &Owner) {
        self.raw("{\"kind\":");
        self.text(owner.kind.as_str());
        self.optional(",\"namespace\":", owner.namespace.as_deref());
        self.optional(",\"name\":", owner.name.as_deref());
        if let Some(direction) = owner.direction {
            self.word(",\"direction\":", direction.as_str());
        }
        let Rule {
            index,
            protocol,
            ip_block,
            kind,
        } = &owner.rule;
        let mut open = ",\"rule\":{";
        let mut key = |line: &mut Self, key: &str| {
            line.raw(std::mem::replace(&mut open, ","));
            line.raw(key);
        };
        if let Some(index) = index {
            key(self, "\"index\":");
            self.decimal(u64::from(*index));
        }
        if let Some(protocol) = protocol {
            key(self, "\"protocol\":");
            self.text(protocol);
        }
        if let Some(block) = ip_block {
            key(self, "\"ip_block\":");
            self.raw(if *block < 0 { "-" } else { "" });
            self.decimal(u64::from(block.unsigned_abs()));
        }
        if let Some(kind) = kind {
            key(self, "\"type\":");
            self.text(kind);
        }
        if open == "," {
            self.raw("}");
        }
        self.optional(",\"network\":", owner.network.as_deref());
        self.raw("}");
    }

    fn acl(&mut self, row: &AclRow, deleted: bool) {
        let acl = row.acl();
        self.raw(",\"acl\":{\"uuid\":\"");
        self.uuid(row.uuid);
        self.raw("\"");
        self.optional(",\"name\":", acl.name.as_deref());
        self.number(",\"priority\":", acl.priority);
        self.raw(",\"match\":");
        self.text(&acl.matches);
        self.raw(if deleted { ",\"deleted\":true}" } else { "}" });
    }

    fn candidate(&mut self, row: &AclRow) {
        self.raw("{\"uuid\":\"");
        self.uuid(row.uuid);
        self.raw("\",\"owner\":");
        self.owner(&row.acl().owner);
        self.raw(",\"message\":");
        self.text(row.message());
        self.raw("}");
    }

    fn end(&mut self, end: &End<'_>) {
        let mut open = "{";
        let mut key = |line: &mut Self, key: &str| {
            line.raw(std::mem::replace(&mut open, ","));
            line.raw(key);
        };
        if let Some(ip) = end.ip {
            key(self, "\"ip\":");
            self.ip(ip);
        }
        if let Some(port) = end.port {
            key(self, "\"port\":");
            self.decimal(u64::from(port));
        }
        if let Some(endpoint) = end.endpoint {
            if let Some(namespace) = &endpoint.namespace {
                key(self, "\"namespace\":");
                self.text(namespace);
            }
            if let Some(name) = &endpoint.name {
                key(
                    self,
                    match endpoint.kind {
                        EndpointKind::Pod => "\"pod\":",
                        _ => "\"name\":",
                    },
                );
                self.text(name);
            }
            key(self, "\"kind\":");
            self.word("", endpoint.kind.as_str());
            if let Some(node) = &endpoint.node {
                key(self, "\"node\":");
                self.text(node);
            }
        }
        self.raw(if open == "{" { "{}" } else { "}" });
    }

    fn service(&mut self, service: &Service) {
        self.raw(",\"service\":{");
        if let Some(namespace) = &service.namespace {
            self.raw("\"namespace\":");
            self.text(namespace);
            self.raw(",");
        }
        self.raw("\"name\":");
        self.text(&service.name);
        self.raw(",\"ip\":");
        self.ip(service.ip);
        if let Some(port) = service.port {
            self.number(",\"port\":", port);
        }
        self.raw("}");
    }

    fn flags(&mut self, flags: TcpFlags) {
        match flags.0 {
            TcpFlags::SYN => self.raw("SYN"),
            TcpFlags::ACK => self.raw("ACK"),
            _ => {
                let _ = write!(self.0, "{flags}");
            }
        }
    }

    fn flow(&mut self, flow: &DropFlow) {
        self.raw(",\"flow\":{\"stage\":");
        self.text(&flow.stage);
        self.number(",\"priority\":", flow.priority);
        self.raw(",\"match\":");
        self.text(&flow.matches);
        self.raw("}");
    }

    /// A share of 1 with at most six decimal places, as serde_json writes a float.
    fn share(&mut self, share: f64) {
        let _ = match share {
            0.0 => return self.raw("0.0"),
            1.0 => return self.raw("1.0"),
            // Small ones are written with an exponent.
            0.0..0.000_01 => write!(self.0, "{share:e}"),
            _ => write!(self.0, "{share}"),
        };
    }
}

/// True where JSON needs no escape: no control character, quote or backslash.
fn is_plain(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    let special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    let clean = words.iter().all(|word| {
        // The highest bit of a byte of `below` says that the byte is less than the bound, as in
        // "Determine if a word has a byte less than n", Bit Twiddling Hacks. A borrow can only
        // mark too many.
        let word = u64::from_ne_bytes(*word);
        let below = |word: u64, bound: u64| word.wrapping_sub(ONES * bound) & !word;
        let quote = below(word ^ (ONES * u64::from(b'"')), 1);
        let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
        (below(word, 0x20) | quote | backslash) & HIGHEST == 0
    });
    clean && !rest.iter().copied().any(special)
}

const ONES: u64 = u64::MAX / 255;
const HIGHEST: u64 = ONES << 7;
