use proptest::prelude::*;

use super::*;

const HOURLY: Cost = Cost(1_000_000);

fn way(route: RouteKind, experience: Experience) -> Way {
    Way {
        cluster: None,
        route,
        per_gigabyte: Cost(0),
        experience,
    }
}

fn order(ways: &[Way], bytes: u64) -> Vec<RouteKind> {
    let planned = plan(ways, bytes, HOURLY);
    planned.iter().map(|planned| ways[planned.index].route).collect()
}

fn untried() -> Vec<Way> {
    [
        RouteKind::Relay,
        RouteKind::ReversePeer,
        RouteKind::Peer,
        RouteKind::Signed,
    ]
    .map(|route| way(route, Experience::None))
    .to_vec()
}

#[test]
fn much_goes_by_the_bucket_and_little_by_the_shortest_way() {
    let large = [
        RouteKind::Signed,
        RouteKind::Peer,
        RouteKind::ReversePeer,
        RouteKind::Relay,
    ];
    assert_eq!(order(&untried(), 5_000_000_000), large);
    let small = [
        RouteKind::Peer,
        RouteKind::Relay,
        RouteKind::Signed,
        RouteKind::ReversePeer,
    ];
    assert_eq!(order(&untried(), 10_000), small);
}

#[test]
fn what_was_measured_counts_more_than_what_is_usual() {
    let mut ways = untried();
    ways[3].experience = Experience::Brought { rate: 2_000_000 };
    assert_eq!(order(&ways, 1_000_000_000)[0], RouteKind::Peer);
    ways[0].experience = Experience::Brought { rate: 900_000_000 };
    assert_eq!(order(&ways, 1_000_000_000)[0], RouteKind::Relay);
}

#[test]
fn money_counts_against_time() {
    let mut ways = vec![
        way(RouteKind::Peer, Experience::Brought { rate: 100_000_000 }),
        way(RouteKind::Relay, Experience::Brought { rate: 10_000_000 }),
    ];
    ways[0].per_gigabyte = Cost(90_000);
    // 10 GB: 0.90 and 100 s, or nothing and 1,000 s.
    let cheaper = |waiting| plan(&ways, 10_000_000_000, Cost(waiting))[0].index;
    assert_eq!(cheaper(1_000_000), 1);
    assert_eq!(cheaper(10_000_000), 0);
    let planned = plan(&ways, 10_000_000_000, Cost(3_600_000));
    assert_eq!(planned[0].price, Cost(900_000 + 100_020));
}

#[test]
fn what_failed_rests_longer_each_time_and_is_never_left_out() {
    let failed = |ago, times| {
        way(
            RouteKind::Peer,
            Experience::Failed {
                ago: Duration::from_secs(ago),
                times,
            },
        )
    };
    let first = |failed| {
        let ways = [failed, way(RouteKind::Relay, Experience::None)];
        let planned = plan(&ways, 1_000_000_000, HOURLY);
        assert_eq!(planned.len(), 2);
        ways[planned[0].index].route
    };
    assert_eq!(first(failed(29, 1)), RouteKind::Relay);
    assert_eq!(first(failed(30, 1)), RouteKind::Peer);
    assert_eq!(first(failed(59, 2)), RouteKind::Relay);
    assert_eq!(first(failed(599, 1000)), RouteKind::Relay);
    assert_eq!(first(failed(600, u32::MAX)), RouteKind::Peer);
}

fn experience() -> impl Strategy<Value = Experience> {
    prop_oneof![
        Just(Experience::None),
        any::<u64>().prop_map(|rate| Experience::Brought { rate }),
        (0..10_000_u64, any::<u32>()).prop_map(|(ago, times)| Experience::Failed {
            ago: Duration::from_secs(ago),
            times
        }),
    ]
}

proptest! {
    #[test]
    fn every_way_is_planned_once_and_what_costs_more_for_the_same_is_never_before(
        ways in prop::collection::vec((0..untried().len(), experience(), any::<u64>()), 0..8),
        bytes: u64,
        hourly: u64,
    ) {
        let ways: Vec<_> = ways.into_iter().map(|(kind, experience, per_gigabyte)| Way {
            per_gigabyte: Cost(per_gigabyte),
            ..way(untried()[kind].route, experience)
        }).collect();
        let planned = plan(&ways, bytes, Cost(hourly));
        let mut indices: Vec<_> = planned.iter().map(|planned| planned.index).collect();
        for pair in planned.windows(2) {
            prop_assert!((pair[0].rests, pair[0].price) <= (pair[1].rests, pair[1].price));
        }
        for (place, one) in indices.iter().enumerate() {
            for other in &indices[..place] {
                let (one, other) = (&ways[*one], &ways[*other]);
                let alike = (one.route, one.experience) == (other.route, other.experience);
                prop_assert!(!alike || other.per_gigabyte <= one.per_gigabyte
                    || one.price(bytes, Cost(hourly)) == other.price(bytes, Cost(hourly)));
            }
        }
        indices.sort_unstable();
        prop_assert_eq!(indices, (0..ways.len()).collect::<Vec<_>>());
    }
}
