//! What a filter lets pass.

use std::collections::BTreeSet;

use super::*;
use crate::traces::{Filter, LIST_LIMIT};

fn listed(traces: &Traces, filter: &Filter) -> Vec<u128> {
    let list = traces.list(filter);
    let number = |id: TraceId| u128::from_str_radix(&id.to_string(), 16).expect("an id");
    list.iter().map(|one| number(one.trace_id)).collect()
}

fn some() -> Traces {
    let mut traces = Traces::default();
    let put = with(
        Span { name: "Put".to_owned(), ..span(0xaaa1, 0xbeef, 0, 10, 40) },
        vec![attribute("key", text("Größe")), attribute("Ticket", Value::IntValue(4711))],
    );
    let find = Span { name: "Find".to_owned(), ..span(0xaaa2, 0xfade, 0, 20, 30) };
    let forward = failed(span(0xaaa3, 3, 0xfeed, 5, 500), "Deadline passed");
    traces.add(NOW, &[of_service("raft-node", vec![put])]);
    let chord = vec![
        attribute("service.name", text("chord-node")),
        attribute("ensemble.node", text("n24")),
    ];
    traces.add(NOW, &[from(chord, vec![find])]);
    traces.add(NOW, &[of_service("overlay-leader", vec![forward])]);
    traces
}

fn searched(text: &str) -> Vec<u128> {
    listed(&some(), &Filter { text: text.to_owned(), ..Filter::default() })
}

#[test]
fn the_newest_comes_first() {
    assert_eq!(vec![0xaaa2, 0xaaa1, 0xaaa3], listed(&some(), &Filter::default()));
}

#[test]
fn text_is_found_in_names_attributes_ids_and_errors_in_any_case() {
    assert_eq!(vec![0xaaa1], searched("pUT"));
    assert_eq!(vec![0xaaa1], searched("GRÖSSE".replace("SS", "ß").as_str()));
    assert_eq!(vec![0xaaa1], searched("ticket"));
    assert_eq!(vec![0xaaa1], searched("471"));
    assert_eq!(vec![0xaaa1], searched("BEEF"));
    assert_eq!(vec![0xaaa2], searched("000aaA2"));
    assert_eq!(vec![0xaaa2], searched("N24"));
    assert_eq!(vec![0xaaa2], searched("chord"));
    assert_eq!(vec![0xaaa3], searched("deadline P"));
    assert_eq!(Vec::<u128>::new(), searched("nowhere"));
    assert_eq!(Vec::<u128>::new(), searched(&"long".repeat(100_000)));
    assert_eq!(3, searched("").len());
}

#[test]
fn services_durations_and_errors_filter() {
    let traces = some();
    let usual = Filter::default;
    let service = |service: &str| Filter { service: service.to_owned(), ..usual() };
    assert_eq!(vec![0xaaa1], listed(&traces, &service("raft-node")));
    assert!(listed(&traces, &service("raft")).is_empty());
    let least = Filter { least: Duration::from_millis(30), ..usual() };
    assert_eq!(vec![0xaaa1, 0xaaa3], listed(&traces, &least));
    assert_eq!(vec![0xaaa3], listed(&traces, &Filter { errors: true, ..usual() }));
    assert_eq!(vec![0xaaa2], listed(&traces, &Filter { limit: 1, ..usual() }));
    let both = Filter { errors: true, ..service("raft-node") };
    assert!(listed(&traces, &both).is_empty());
}

#[test]
fn a_node_is_found_by_what_a_span_says_or_else_by_where_it_came_from() {
    let mut traces = some();
    let of = |node: &str, spans| {
        let resource = [("service.name", "raft-node"), ("service.instance.id", node)];
        from(resource.map(|(key, value)| attribute(key, text(value))).into(), spans)
    };
    let says =
        |id, node: &str| with(span(id, 1, 0, 50, 55), vec![attribute("ensemble.node", text(node))]);
    traces.add(NOW, &[of("1", vec![span(0xaaa4, 1, 0, 60, 61), says(0xaaa5, "2")])]);
    traces.add(NOW, &[of("2", vec![span(0xaaa5, 2, 1, 51, 52), says(0xaaa6, "n24")])]);
    let node = |service: &str, node: &str| {
        let [service, node] = [service, node].map(str::to_owned);
        listed(&traces, &Filter { service, node, ..Filter::default() })
    };
    assert_eq!(vec![0xaaa4], node("raft-node", "1"));
    assert_eq!(vec![0xaaa5], node("raft-node", "2"));
    assert_eq!(vec![0xaaa5], node("", "2"));
    assert_eq!(BTreeSet::from([0xaaa2, 0xaaa6]), node("", "n24").into_iter().collect());
    assert_eq!(vec![0xaaa2], node("chord-node", "n24"));
    assert!(node("chord-node", "1").is_empty());
    assert!(node("", "n2").is_empty());
}

#[test]
fn a_list_has_at_most_a_thousand_traces() {
    let traces = holding((1..=1_500).map(|trace| span(trace, 1, 0, 0, 1)).collect());
    let all = Filter { limit: usize::MAX, ..Filter::default() };
    assert_eq!(LIST_LIMIT, traces.list(&all).len());
    assert_eq!(100, traces.list(&Filter::default()).len());
}

#[test]
fn a_query_sets_a_filter_or_is_told_what_is_wrong() {
    let set = |pairs: &[(&str, &str)]| {
        let mut filter = Filter::default();
        for (name, value) in pairs {
            filter.set(name, value)?;
        }
        Ok::<_, String>(filter)
    };
    let empty = ["service", "node", "text", "least_ms", "errors", "limit"].map(|name| (name, ""));
    assert_eq!(Ok(Filter::default()), set(&empty));
    let expected = Filter {
        service: "raft-node".to_owned(),
        node: "1".to_owned(),
        text: "put".to_owned(),
        least: Duration::from_micros(1_500),
        errors: true,
        limit: 7,
    };
    let full = [("service", "raft-node"), ("text", "put"), ("least_ms", "1.5"), ("errors", "1")];
    assert_eq!(Ok(expected), set(&[&full[..], &[("limit", "7"), ("node", "1")]].concat()));
    for wrong in ["-1", "NaN", "inf", "1e300", "x"] {
        assert!(set(&[("least_ms", wrong)]).is_err(), "{wrong}");
    }
    for wrong in ["0", "1001", "-1", "1.5"] {
        assert!(set(&[("limit", wrong)]).is_err(), "{wrong}");
    }
    assert!(set(&[("errors", "yes")]).is_err());
    assert!(set(&[("sort", "up")]).is_err_and(|error| error.contains("sort=up")));
}

#[test]
fn only_thirty_two_digits_are_a_trace_id() {
    let id = "00000000000000000000000000000007";
    assert_eq!(Ok(trace_id(7)), id.parse());
    assert_eq!(Ok(trace_id(0xab)), "000000000000000000000000000000AB".parse());
    let zero = "0".repeat(32);
    for wrong in ["", "7", &id[1..], &format!("+{}", &id[1..]), &zero, &format!("{id}0"), "中"] {
        assert!(wrong.parse::<TraceId>().is_err(), "{wrong}");
    }
}
