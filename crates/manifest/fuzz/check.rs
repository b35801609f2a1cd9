use netverdict_manifest::{
    AdminPeer, AdminPort, AdminSubject, Block, Diagnostic, EgressTo, Object, Peer, Reading,
    Selector, Sources, Span, Spec, read_bytes,
};

const GOOD: &[u8] = b"apiVersion: v1\nkind: Namespace\nmetadata: {name: good}\n";

/// What must hold for any bytes; the fuzz target and the corpus test share it.
pub fn check(bytes: &[u8]) {
    let mut sources = Sources::default();
    let (file, reading) = sources.read("name", bytes);
    let text = sources.text(file).unwrap();
    for span in spans(&reading) {
        assert_eq!(span.file, file);
        check_span(text, span);
    }
    let told = sources.render(&reading.diagnostics, false);
    for Diagnostic { code, .. } in &reading.diagnostics {
        assert!(told.contains(code.0), "{told}");
    }
    for object in &reading.objects {
        // Between quotes, behind an alias and over several lines the name may look different.
        let written = sources.slice(object.meta.span).unwrap();
        let is_plain = !written.starts_with(['"', '\'', '*']) && !written.contains('\n');
        assert!(!is_plain || written == &*object.key.name, "{written}");
    }
    let again = read_bytes(file, text.as_bytes());
    if text.as_bytes() == bytes {
        assert_eq!(again.1, reading);
    }
    neighbours(bytes, &reading);
}

/// A good document is read whatever stands before or behind it.
fn neighbours(bytes: &[u8], alone: &Reading) {
    let before = [GOOD, b"\n...\n---\n", bytes].concat();
    let behind = [bytes, b"\n...\n---\n", GOOD].concat();
    let is_good = |object: Option<&Object>| object.is_some_and(|found| &*found.key.name == "good");
    let read = |bytes: &[u8]| read_bytes(Default::default(), bytes).1;
    let read_before = read(&before);
    assert!(is_good(read_before.objects.first()), "{read_before:#?}");
    let read_behind = read(&behind);
    assert!(is_good(read_behind.objects.last()), "{read_behind:#?}");
    assert_eq!(read_behind.objects.len(), alone.objects.len() + 1);
}

fn check_span(text: &str, span: Span) {
    let (start, end) = (span.start as usize, span.end as usize);
    let before = text.get(..start).unwrap();
    assert!(text.get(start..end).is_some(), "{span:?}");
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    let line = before.matches('\n').count() as u32 + 1;
    // A carriage return alone ends a line of YAML, too, and a byte order mark has no width where
    // it may stand.
    if !text.contains(['\r', '\u{feff}']) {
        let column = before[line_start..].chars().count() as u32 + 1;
        assert_eq!((span.line, span.column), (line, column), "{span:?}");
    }
}

fn spans(reading: &Reading) -> Vec<Span> {
    let labels = reading.diagnostics.iter().flat_map(|found| &found.labels);
    let mut spans = labels.map(|label| label.span).collect::<Vec<_>>();
    for object in &reading.objects {
        spans.push(object.meta.span);
        spans.extend(object.meta.annotations.values().map(|value| value.span));
        of_spec(&object.spec, &mut spans);
    }
    spans
}

fn of_spec(spec: &Spec, spans: &mut Vec<Span>) {
    let selector = |selector: &Selector| selector.span;
    let block = |block: &Block, spans: &mut Vec<Span>| {
        spans.extend([block.span, block.cidr.span]);
        spans.extend(block.except.iter().map(|except| except.span));
    };
    match spec {
        Spec::Service(service) => spans.extend(service.ports.iter().map(|port| port.span)),
        Spec::NetworkPolicy(policy) => {
            spans.push(policy.pods.span);
            spans.extend(policy.types);
            for rule in policy.ingress.iter().chain(&policy.egress) {
                spans.push(rule.span);
                spans.extend(rule.ports.iter().map(|port| port.span));
                for peer in &rule.peers {
                    match peer {
                        Peer::Pods {
                            namespaces,
                            pods,
                            span,
                        } => {
                            spans.push(*span);
                            spans.extend(namespaces.iter().chain(pods).map(selector));
                        }
                        Peer::Block(found) => block(found, spans),
                    }
                }
            }
        }
        Spec::AdminPolicy(policy) => {
            spans.push(policy.priority.span);
            match &policy.subject {
                AdminSubject::Namespaces(found) => spans.push(found.span),
                AdminSubject::Pods { namespaces, pods } => {
                    spans.extend([namespaces.span, pods.span]);
                }
            }
            for rule in policy.ingress.iter().chain(&policy.egress) {
                spans.push(rule.span);
                spans.extend(rule.ports.iter().map(|port| match port {
                    AdminPort::Numbers { span, .. }
                    | AdminPort::Protocol { span, .. }
                    | AdminPort::Named { span, .. } => *span,
                }));
                for peer in &rule.peers {
                    match peer {
                        AdminPeer::Namespaces(found) | AdminPeer::Nodes(found) => {
                            spans.push(found.span);
                        }
                        AdminPeer::Pods { namespaces, pods } => {
                            spans.extend([namespaces.span, pods.span]);
                        }
                        AdminPeer::Networks(networks) => {
                            spans.extend(networks.iter().map(|network| network.span));
                        }
                        AdminPeer::DomainNames(names) => {
                            spans.extend(names.iter().map(|name| name.span));
                        }
                    }
                }
            }
        }
        Spec::EgressFirewall(firewall) => {
            for rule in &firewall.rules {
                spans.push(rule.span);
                spans.extend(rule.ports.iter().map(|port| port.span));
                spans.push(match &rule.to {
                    EgressTo::Cidr(cidr) => cidr.span,
                    EgressTo::Dns(name) => name.span,
                    EgressTo::Nodes(nodes) => nodes.span,
                });
            }
        }
        Spec::UserNetwork(network) => {
            spans.push(network.network.span);
            spans.extend(network.namespaces.iter().map(selector));
            spans.extend(network.network.subnets.iter().map(|(cidr, _)| cidr.span));
        }
        Spec::Namespace(_)
        | Spec::Node(_)
        | Spec::Pod(_)
        | Spec::EndpointSlice(_)
        | Spec::NetworkAttachment(_) => {}
    }
}
