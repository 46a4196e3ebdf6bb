//! Much more than fits, against a plain map and against the limits.

use std::collections::BTreeSet;

use super::*;
use crate::traces::Filter;

#[test]
fn the_store_holds_what_a_plain_map_holds() {
    for seed in 0..20 {
        let mut random = Random(seed);
        let mut traces = Traces::default();
        let mut plain = BTreeMap::new();
        for _ in 0..30 {
            let spans: Vec<_> = (0..random.below(40)).map(|_| random.span(9, 30)).collect();
            for span in &spans {
                plain.insert((span.trace_id.clone(), span.span_id.clone()), span.clone());
            }
            assert_eq!(0, add(&mut traces, spans).refused());
        }
        let stats = check(&traces);
        assert_eq!(plain.len() as u64, stats.kept, "seed {seed}");
        for ((trace, id), span) in &plain {
            let trace = TraceId::from_bytes(trace).expect("it makes sense");
            let held = traces.find(trace).expect("nothing is forgotten");
            let kept = held.spans.iter().find(|kept| kept.id.to_string() == hexadecimal(id));
            let kept = kept.expect("nothing is forgotten");
            assert_eq!(span.start_time_unix_nano, kept.start);
            let record = Record::read(&kept.record, kept.start);
            assert_eq!(span.attributes.len(), record.attributes.kept.len());
            assert_eq!(span.events.len(), record.events.len());
            assert_eq!(span.flags, record.flags);
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_limits_hold_under_a_flood_and_every_byte_is_accounted_for() {
    for seed in 0..6 {
        let mut random = Random(seed);
        let limits = Limits {
            bytes: 200_000 + random.below(200_000),
            traces: 200,
            spans: 1_000,
            trace_spans: 100,
            trace_bytes: 20_000,
            per_second: u64::MAX,
        };
        let mut traces = Traces::new(limits.clone());
        for round in 0..60 {
            let spans: Vec<_> = (0..100)
                .map(|_| {
                    let mut span = random.span(if round % 2 == 0 { 2 } else { 10_000 }, 150);
                    match random.below(10) {
                        0 => span.name = format!("unique {}", random.next()),
                        1 => span.attributes.push(attribute(&random.text(200), text("x"))),
                        2 => span.trace_id.truncate(random.below(17) as usize),
                        _ => (),
                    }
                    span
                })
                .collect();
            let service = format!("service {}", random.below(30));
            traces.add(NOW, &[of_service(&service, spans)]);
            let stats = check(&traces);
            assert!(stats.bytes <= limits.bytes, "seed {seed}: {stats:?}");
            assert!(stats.kept <= 1_000 && stats.traces <= 200, "seed {seed}: {stats:?}");
            let most = limits.trace_bytes + 5_000;
            assert!(traces.held.iter().all(|held| held.bytes() <= most && held.spans.len() <= 100));
        }
        assert!(traces.stats(NOW).dropped > 1_000);
    }
}

#[test]
fn names_that_never_repeat_stay_within_the_limit_and_leave_room_afterwards() {
    let limits = Limits { bytes: 1 << 20, ..Limits::default() };
    let mut traces = Traces::new(limits.clone());
    for trace in 1..10_000 {
        let name = format!("{trace} {}", "n".repeat(100));
        add(&mut traces, vec![Span { name, ..span(trace, 1, 0, 0, 1) }]);
        assert!(traces.all_bytes() <= 1 << 20);
    }
    let later = NOW + Duration::from_secs(1);
    let mut fresh = Traces::new(limits);
    for traces in [&mut traces, &mut fresh] {
        for trace in 10_000..20_000 {
            let plain = Span { name: "plain".to_owned(), ..span(trace, 1, 0, 0, 1) };
            traces.add(later, &[of_service("raft-node", vec![plain])]);
        }
    }
    let words: Vec<_> = traces.words.iter().map(|(_, word)| word).collect();
    assert_eq!(vec!["plain", "service.name"], words);
    let (kept, usual) = (check(&traces).kept, check(&fresh).kept);
    // Slots that were needed once stay.
    assert!(kept > usual * 7 / 10, "{kept} of {usual}");
}

#[test]
fn whatever_is_listed_is_found_and_in_order() {
    let mut random = Random(11);
    let mut traces = Traces::default();
    add(&mut traces, (0..3_000).map(|_| random.span(700, 12)).collect());
    let all = traces.list(&Filter { limit: usize::MAX, ..Filter::default() });
    assert_eq!(check(&traces).traces, all.len() as u64);
    assert!(all.is_sorted_by(|one, other| one.start >= other.start));
    let ids: BTreeSet<_> = all.iter().map(|one| one.trace_id).collect();
    assert_eq!(all.len(), ids.len());
    for one in &all {
        let trace = traces.trace(one.trace_id).expect("it is listed");
        assert_eq!((one.spans, one.complete), (trace.spans.len() as u64, trace.complete));
        let errors = trace.spans.iter().filter(|span| span.error.is_some()).count();
        assert_eq!(one.errors, errors as u64);
        assert_eq!(one.start.to_bits(), trace.spans[0].start.to_bits());
    }
}
