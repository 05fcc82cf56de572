use proptest::prelude::*;

use super::*;

/// What the lines of a page say, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    Sample(Family, [String; 3], Result<u64, BadNumber>, Option<i64>),
    Bad,
}

fn said(line: Line<'_>) -> Said {
    match line {
        Line::Sample { family, names, value, time } => {
            let names = [names.namespace, names.pod, names.container].map(Cow::into_owned);
            Said::Sample(family, names, value, time)
        }
        Line::Bad => Said::Bad,
    }
}

fn read_in(pieces: &[&[u8]]) -> (Vec<Said>, Result<(), Unfinished>) {
    let (mut lines, mut all) = (Lines::default(), Vec::new());
    for piece in pieces {
        lines.feed(piece, &mut |line| all.push(said(line)));
    }
    (all, lines.finish())
}

fn whole(text: &str) -> Vec<Said> {
    let (said, finished) = read_in(&[text.as_bytes()]);
    assert_eq!(finished, Ok(()));
    said
}

fn container(family: Family, value: u64, time: Option<i64>) -> Said {
    Said::Sample(family, ["kube-system", "dns-1", "dns"].map(str::to_owned), Ok(value), time)
}

/// A page as a kubelet writes it, with what we do not ask for.
const PAGE: &str = "\
# HELP container_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the container in core-seconds
# TYPE container_cpu_usage_seconds_total counter
container_cpu_usage_seconds_total{container=\"dns\",namespace=\"kube-system\",pod=\"dns-1\"} 4.710169 1633253812125
# TYPE container_memory_working_set_bytes gauge
container_memory_working_set_bytes{container=\"dns\",namespace=\"kube-system\",pod=\"dns-1\"} 1.253376e+07 1633253812125
# TYPE container_start_time_seconds gauge
container_start_time_seconds{container=\"dns\",namespace=\"kube-system\",pod=\"dns-1\"} 1.63325e+09
# TYPE container_swap_usage_bytes gauge
container_swap_usage_bytes{container=\"dns\",namespace=\"kube-system\",pod=\"dns-1\"} 0 1633253812125
# TYPE node_cpu_usage_seconds_total counter
node_cpu_usage_seconds_total 357.35491 1633253809720
node_memory_working_set_bytes 1.616273408e+09 1633253809720
pod_cpu_usage_seconds_total{namespace=\"kube-system\",pod=\"dns-1\"} 4.8 1633253812125
resource_scrape_error 0
";

/// D1: what a kubelet writes is read to the nanosecond and byte.
#[test]
fn a_page_is_read_as_the_kubelet_means_it() {
    let node = |family, value| Said::Sample(family, Default::default(), Ok(value), Some(1_633_253_809_720));
    let expected = [
        container(Family::ContainerCpu, 4_710_169_000, Some(1_633_253_812_125)),
        container(Family::ContainerMemory, 12_533_760, Some(1_633_253_812_125)),
        container(Family::ContainerStart, 1_633_250_000_000_000_000, None),
        node(Family::NodeCpu, 357_354_910_000),
        node(Family::NodeMemory, 1_616_273_408),
        Said::Sample(Family::ScrapeError, Default::default(), Ok(0), None),
    ];
    assert_eq!(whole(PAGE), expected);
    assert_eq!(whole(&PAGE.replace('\n', "\r\n")), expected, "lines may end as on windows");
    assert_eq!(whole(&format!("{PAGE}# EOF")), expected, "a mark of the end needs no line end");
}

#[test]
fn a_line_is_read_however_it_is_spaced_and_in_whatever_order_its_labels_are() {
    let expected = [container(Family::ContainerMemory, 5, Some(7))];
    for line in [
        "container_memory_working_set_bytes{pod=\"dns-1\",namespace=\"kube-system\",container=\"dns\"} 5 7",
        "  container_memory_working_set_bytes { pod = \"dns-1\" , namespace=\"kube-system\",\tcontainer=\"dns\", }\t5  7 ",
        "container_memory_working_set_bytes{id=\"/x\",pod=\"dns-1\",namespace=\"kube-system\",container=\"dns\"}5 7",
    ] {
        assert_eq!(whole(&format!("{line}\n")), expected, "{line}");
    }
}

#[test]
fn labels_with_escapes_are_read() {
    let line = "container_memory_working_set_bytes{pod=\"a\\\"b\\\\c\\nd\"} 5\n";
    let names = ["", "a\"b\\c\nd", ""].map(str::to_owned);
    assert_eq!(whole(line), [Said::Sample(Family::ContainerMemory, names, Ok(5), None)]);
}

#[test]
fn a_line_that_makes_no_sense_costs_itself_alone() {
    for bad in [
        "node_cpu_usage_seconds_total",
        "node_cpu_usage_seconds_total x",
        "node_cpu_usage_seconds_total 1 soon",
        "node_cpu_usage_seconds_total 1 2 3",
        "node_cpu_usage_seconds_total{ 1",
        "node_cpu_usage_seconds_total{a} 1",
        "node_cpu_usage_seconds_total{a=b} 1",
        "node_cpu_usage_seconds_total{a=\"b} 1",
        "node_cpu_usage_seconds_total{a=\"b\\\"} 1",
        "node_cpu_usage_seconds_total{a=\"\\x\"} 1",
        "node_cpu_usage_seconds_total{a=\"b\" c=\"d\"} 1",
        "node_cpu_usage_seconds_total{pod=\"b\",pod=\"b\"} 1",
        "node_cpu_usage_seconds_total{=\"b\"} 1",
    ] {
        let said = whole(&format!("{bad}\nnode_memory_working_set_bytes 9\n"));
        let good = Said::Sample(Family::NodeMemory, Default::default(), Ok(9), None);
        assert_eq!(said, [Said::Bad, good], "{bad}");
    }
    let (said, finished) = read_in(&[b"container_start_time_seconds{pod=\"\xff\"} 1\n"]);
    assert_eq!((said, finished), (vec![Said::Bad], Ok(())));
}

#[test]
fn values_that_no_counter_has_are_told_apart_from_nonsense() {
    for (value, reason) in
        [("NaN", BadNumber::NotFinite), ("-1", BadNumber::Negative), ("+Inf", BadNumber::NotFinite)]
    {
        let said = whole(&format!("node_cpu_usage_seconds_total {value} 5\n"));
        assert_eq!(said, [Said::Sample(Family::NodeCpu, Default::default(), Err(reason), Some(5))]);
    }
}

#[test]
fn a_line_without_an_end_is_half_a_page() {
    assert_eq!(read_in(&[b"node_cpu_usage_seconds_total 12"]).1, Err(Unfinished));
    assert_eq!(read_in(&[b"other 12\nnode"]).1, Err(Unfinished));
    assert_eq!(read_in(&[]).1, Ok(()));
}

#[test]
fn a_line_that_goes_on_for_ever_is_not_kept() {
    let long = vec![b'x'; MAX_LINE];
    let mut lines = Lines::default();
    for _ in 0..100 {
        lines.feed(&long, &mut |_| panic!("no line has ended"));
        assert!(lines.begun.capacity() <= 2 * MAX_LINE);
    }
    let mut bad = 0;
    lines.feed(b"\nnode_cpu_usage_seconds_total 1\n", &mut |line| bad += u32::from(line == Line::Bad));
    assert_eq!((bad, lines.finish()), (1, Ok(())));
}

proptest! {
    #[test]
    fn a_page_reads_the_same_in_whatever_pieces_it_comes(cuts in proptest::collection::vec(0_usize..PAGE.len(), 0..20)) {
        let mut cuts = cuts;
        cuts.extend([0, PAGE.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &PAGE.as_bytes()[pair[0]..pair[1]]).collect();
        prop_assert_eq!(read_in(&pieces), (whole(PAGE), Ok(())));
    }

    #[test]
    fn any_bytes_are_read_to_their_end(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        name in prop_oneof![Just("node_cpu_usage_seconds_total"), Just("container_start_time_seconds{")],
    ) {
        let text = [name.as_bytes(), &bytes, b"\n"].concat();
        let _ = read_in(&[&text]);
    }

    /// D15: formatted input with times from 1970 on never errs.
    #[test]
    fn whatever_is_well_formed_is_read(
        value in proptest::num::f64::POSITIVE | proptest::num::f64::NORMAL | proptest::num::f64::ZERO,
        time in proptest::option::of(any::<u32>()), pod in "[^\"\\\\\n]{0,40}",
    ) {
        let time = time.map(i64::from);
        let stamp = time.map(|time| time.to_string()).unwrap_or_default();
        let text = format!("container_memory_working_set_bytes{{pod=\"{pod}\"}} {value:e} {stamp}\n");
        let said = whole(&text);
        prop_assert!(
            matches!(&said[..], [Said::Sample(_, [_, read, _], _, at)] if *read == pod && *at == time),
            "{said:?}"
        );
    }
}
