use proptest::prelude::*;

use super::*;

const MI: u64 = 1 << 20;

/// When everything begins, in seconds.
const T0: u64 = 1_000_000;

/// Births as with a resolution of 60 s, at 5 s.
fn births(now: u64) -> Births {
    Births { least: Duration::from_secs(5), after: seconds(T0 + now - 60.min(T0 + now)) }
}

fn seconds(seconds: u64) -> WallTime {
    WallTime(seconds * 1_000_000)
}

/// At seconds after [`T0`]: CPU seconds, Mi; with a start at seconds after it.
fn reading(at: u64, cpu: u64, mi: u64, start: Option<u64>) -> Reading {
    let point = Point { time: seconds(T0 + at), cpu: CpuTime(cpu * 1_000_000_000), memory_bytes: mi * MI };
    Reading { point, start: start.map(|start| seconds(T0 + start)) }
}

/// Takes readings in order, and says at which second after [`T0`] the rate ends, over how many seconds, thousandths
/// of a core, and Mi.
fn served(readings: &[Reading]) -> Option<(u64, u64, u64, u64)> {
    let mut history = History::default();
    for reading in readings {
        history.take(reading, &births(reading.point.time.0 / 1_000_000 - T0));
    }
    rate(&history)
}

fn rate(history: &History) -> Option<(u64, u64, u64, u64)> {
    let rate = history.rate()?;
    let window = span(rate.begin, rate.end.time)?.as_secs();
    let at = rate.end.time.0 / 1_000_000 - T0;
    Some((at, window, rate.cpu_nanocores / 1_000_000, rate.end.memory_bytes / MI))
}

/// The cases of metrics-server's own tests (facts 2.2 and 2.3), and what we serve.
#[test]
fn the_acceptance_table() {
    let none = None;
    let r = reading;
    for (case, readings, expected) in [
        ("N1", vec![r(10, 10, 2, none), r(20, 20, 3, none)], Some((20, 10, 1000, 3))),
        ("N2", vec![r(10, 10, 2, none), r(10, 10, 2, none)], None),
        ("N4", vec![r(10, 10, 2, Some(0)), r(20, 5, 2, Some(15))], Some((20, 5, 1000, 2))),
        ("N5", vec![r(15, 50, 3, none), r(25, 10, 5, none)], None),
        ("N6", vec![r(15, 10, 1, none), r(35, 50, 1, none), r(5, 6, 1, none)], Some((35, 20, 2000, 1))),
        (
            "N7, but time does not go back",
            vec![r(15, 10, 1, none), r(35, 50, 4, none), r(25, 35, 2, none)],
            Some((35, 20, 2000, 4)),
        ),
        ("P1", vec![r(120, 1, 4, Some(0)), r(125, 6, 5, Some(0))], Some((125, 5, 1000, 5))),
        ("P5", vec![r(10, 1, 4, Some(0)), r(25, 5, 5, Some(15))], Some((25, 10, 500, 5))),
        ("P6", vec![r(110, 20, 1, Some(0)), r(120, 10, 1, Some(0))], None),
        (
            "P7, but what is served stays",
            vec![r(1115, 20, 1, Some(0)), r(1125, 40, 1, Some(0)), r(115, 10, 1, Some(0))],
            Some((1125, 10, 2000, 1)),
        ),
        ("P9", vec![r(120, 10, 4, Some(0))], None),
        ("P10", vec![r(10, 10, 4, Some(0))], Some((10, 10, 1000, 4))),
        ("P11", vec![r(10, 10, 4, Some(20))], None),
        ("P12, but from 5 s on", vec![r(4, 4, 4, Some(0))], None),
        ("P13", vec![r(120, 1, 4, none), r(125, 6, 5, none)], Some((125, 5, 1000, 5))),
        ("zero is a rate", vec![r(120, 1, 0, none), r(125, 1, 0, none)], Some((125, 5, 0, 0))),
        (
            "a missed page makes the window longer",
            vec![r(120, 0, 1, none), r(150, 15, 1, none)],
            Some((150, 30, 500, 1)),
        ),
    ] {
        assert_eq!(served(&readings), expected, "{case}");
    }
}

#[test]
fn readings_less_than_a_second_apart_make_no_rate() {
    let mut history = History::default();
    let at = |micros: u64, cpu: u64| Reading {
        point: Point { time: WallTime(micros), cpu: CpuTime(cpu), memory_bytes: 1 },
        start: None,
    };
    history.take(&at(1_000_000, 0), &births(0));
    history.take(&at(1_900_000, 9), &births(0));
    assert_eq!(history.rate(), None);
    history.take(&at(2_000_000, 10), &births(0));
    let rate = history.rate().unwrap();
    assert_eq!((rate.begin.0, rate.cpu_nanocores), (1_000_000, 10));
    history.take(&at(2_500_000, 15), &births(0));
    let rate = history.rate().unwrap();
    assert_eq!((rate.begin.0, rate.end.time.0, rate.cpu_nanocores), (1_000_000, 2_500_000, 10));
}

fn witness(at: u64, cpu: u64) -> Witness {
    let newest = reading(at, cpu, 1, None).point;
    Witness { newest, before: None, after: None, cpus: 2 }
}

fn cpu(seconds: u64) -> CpuTime {
    CpuTime(seconds * 1_000_000_000)
}

#[test]
fn a_reading_between_an_agents_samples_is_of_the_same_counter() {
    let witness = |before, after| Witness { before, after, ..witness(100, 50) };
    let reading = reading(90, 45, 1, Some(0));
    assert!(is_same_counter(&reading, &witness(Some(cpu(44)), Some(cpu(46)))));
    assert!(!is_same_counter(&reading, &witness(Some(cpu(46)), Some(cpu(47)))));
    assert!(!is_same_counter(&reading, &witness(Some(cpu(40)), Some(cpu(44)))));
    assert!(!is_same_counter(&reading, &witness(None, None)), "nothing is known");
    assert!(is_same_counter(&reading, &witness(Some(cpu(44)), None)));
    assert!(!is_same_counter(
        &Reading { start: Some(seconds(T0 + 101)), ..reading },
        &witness(Some(cpu(44)), Some(cpu(46)))
    ));
}

#[test]
fn a_reading_after_an_agents_last_sample_is_no_further_than_cpus_can_count() {
    let witness = witness(100, 50);
    assert!(is_same_counter(&reading(110, 60, 1, None), &witness));
    assert!(is_same_counter(&reading(110, 72, 1, None), &witness));
    assert!(!is_same_counter(&reading(110, 73, 1, None), &witness), "two cpus in eleven seconds");
    assert!(!is_same_counter(&reading(110, 49, 1, None), &witness));
    assert!(!is_same_counter(&reading(110, 60, 1, Some(105)), &witness), "it restarted");
}

#[test]
fn the_first_page_after_an_agent_makes_a_rate_with_its_last_sample() {
    let mut history = History::default();
    history.take_agents(witness(100, 50).newest, true);
    assert_eq!(history.rate(), None, "the agent's own numbers are the agent's to serve");
    history.take(&reading(95, 48, 1, Some(0)), &births(95));
    assert_eq!(history.rate(), None);
    history.take(&reading(110, 60, 7, Some(0)), &births(110));
    assert_eq!(rate(&history), Some((110, 10, 1000, 7)));
}

#[test]
fn a_counter_of_another_kind_begins_anew_and_does_not_go_back_in_time() {
    let mut history = History::default();
    history.take_agents(witness(100, 5000).newest, false);
    history.take(&reading(85, 45, 1, Some(0)), &births(85));
    history.take(&reading(99, 46, 1, Some(0)), &births(99));
    assert_eq!(history.rate(), None, "the agent has served later");
    history.take(&reading(109, 47, 1, Some(0)), &births(109));
    assert_eq!(rate(&history), Some((109, 10, 100, 1)));
}

proptest! {
    #[test]
    fn what_is_served_never_goes_back_and_no_rate_spans_two_containers(
        readings in proptest::collection::vec((0_u64..40, 0_u64..4, any::<bool>()), 1..60),
    ) {
        // Each container has its own constant rate: 1, 2, 3, ... cores times 100.
        let (mut history, mut last, mut started, mut container) = (History::default(), None, 100_u64, 1_u64);
        let mut now = 100;
        for (later, lag, restart) in readings {
            now += later;
            if restart && later > 20 {
                container += 1;
                started = now - 10;
            }
            let at = (now - lag).max(started);
            let reading = reading(at, (at - started) * container, 1, Some(started));
            history.take(&reading, &births(now));
            if let Some(rate) = history.rate() {
                prop_assert!(last <= Some(rate.end.time));
                last = Some(rate.end.time);
                prop_assert_eq!(rate.cpu_nanocores % 1_000_000_000, 0);
                prop_assert!(rate.cpu_nanocores / 1_000_000_000 <= container);
                if rate.end.time == reading.point.time {
                    prop_assert_eq!(rate.cpu_nanocores / 1_000_000_000, container);
                }
            }
        }
    }
}
