//! The text format that Prometheus had before OpenMetrics, for those who do not ask for that.

/// Writes OpenMetrics as version 0.0.4 of Prometheus' text format: there, counters have `_total`
/// in the name of the family too, what is an info is a gauge, and there are no units.
pub(super) fn classic(openmetrics: &str) -> String {
    let mut classic = String::with_capacity(openmetrics.len());
    let mut help = None;
    for line in openmetrics.lines() {
        if line.starts_with("# HELP ") {
            help = Some(line);
        } else if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, kind) = family.rsplit_once(' ').unwrap_or((family, "untyped"));
            let (suffix, kind) = match kind {
                "counter" => ("_total", kind),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                _ => ("", kind),
            };
            let text = help.take().and_then(|help| help.strip_prefix("# HELP "));
            if let Some(text) = text.and_then(|text| text.strip_prefix(name)) {
                classic.push_str(&format!("# HELP {name}{suffix}{text}\n"));
            }
            classic.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
        } else if !line.starts_with('#') {
            classic.push_str(line);
            classic.push('\n');
        }
    }
    classic
}

#[cfg(test)]
mod tests {
    #[test]
    fn families_are_named_as_before() {
        let openmetrics = "# HELP a_seconds It.\n# TYPE a_seconds histogram\n# UNIT a_seconds seconds\na_seconds_sum 1\n\
            # HELP b Those.\n# TYPE b counter\nb_total{c=\"# d\"} 1\n# HELP e This.\n# TYPE e info\ne_info{v=\"1\"} 1\n# EOF\n";
        let classic = "# HELP a_seconds It.\n# TYPE a_seconds histogram\na_seconds_sum 1\n\
            # HELP b_total Those.\n# TYPE b_total counter\nb_total{c=\"# d\"} 1\n# HELP e_info This.\n# TYPE e_info gauge\ne_info{v=\"1\"} 1\n";
        assert_eq!(super::classic(openmetrics), classic);
    }
}
