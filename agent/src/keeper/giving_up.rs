//! Which of the points that the server wants given up may go. Pure.
//!
//! The server decides by its rules, and it faces the network. So what may never happen is looked at here once more, by what the repository
//! itself says, signed by the operator: the last points of a series stay, and a point goes only while a later one of its series stays that
//! was read as a whole. A server that lies cannot empty a repository this way.

use repo_format::id::{ManifestId, NameId};
use repo_format::manifest::PointKey;
use std::collections::{HashMap, HashSet};

/// A point that the server wants given up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// The point.
    pub manifest: ManifestId,
    /// How many points of its series have to stay.
    pub minimum: u32,
}

/// What the repository says.
pub struct Known<'k> {
    /// Points that are there and were not given up.
    pub live: &'k [PointKey],
    /// Those of which all was read and found right.
    pub is_proved: &'k dyn Fn(&ManifestId) -> bool,
    /// Those that may lack changes.
    pub suspects: &'k HashSet<ManifestId>,
}

/// Splits what is wanted into what may go, the oldest of each series first, and what stays, with the reason.
pub fn judge(wanted: &[Wanted], known: &Known<'_>) -> (Vec<PointKey>, Vec<(ManifestId, &'static str)>) {
    let mut series: HashMap<NameId, Vec<PointKey>> = HashMap::new();
    for at in known.live {
        series.entry(at.name).or_default().push(*at);
    }
    let minimum: HashMap<ManifestId, u32> = wanted.iter().map(|point| (point.manifest, point.minimum.max(1))).collect();
    let (mut going, mut staying) = (Vec::new(), Vec::new());
    for points in series.values_mut() {
        points.sort_unstable_by_key(|at| (at.sequence, at.manifest));
        // The newest point that stays and is proved: what comes before it may go.
        let anchor = points.iter().rev().find(|at| {
            !minimum.contains_key(&at.manifest)
                && (known.is_proved)(&at.manifest)
                && !known.suspects.contains(&at.manifest)
        });
        let anchor = anchor.map(|at| at.sequence);
        let mut left = points.len();
        for at in points.iter() {
            let Some(minimum) = minimum.get(&at.manifest) else { continue };
            if anchor.is_none_or(|anchor| anchor <= at.sequence) {
                staying.push((at.manifest, "no later point of its series that stays was verified by this keeper"));
            } else if left <= *minimum as usize {
                staying.push((at.manifest, "no more points than the least that have to stay are left of its series"));
            } else {
                going.push(*at);
                left -= 1;
            }
        }
    }
    let live: HashSet<ManifestId> = known.live.iter().map(|at| at.manifest).collect();
    let gone = wanted.iter().filter(|point| !live.contains(&point.manifest));
    staying.extend(gone.map(|point| (point.manifest, "it is not there any more, or was given up already")));
    going.sort_unstable();
    staying.sort_unstable();
    (going, staying)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn point(series: u8, sequence: u64) -> PointKey {
        let mut manifest = [series; 32];
        manifest[..8].copy_from_slice(&sequence.to_be_bytes());
        PointKey { name: NameId([series; 16]), sequence, manifest: ManifestId(manifest) }
    }

    /// Judges about points of series 1, by their sequence numbers.
    fn judged(live: &[u64], proved: &[u64], suspect: &[u64], wanted: &[u64], minimum: u32) -> Vec<u64> {
        let live: Vec<PointKey> = live.iter().map(|sequence| point(1, *sequence)).collect();
        let ids = |list: &[u64]| list.iter().map(|sequence| point(1, *sequence).manifest).collect::<HashSet<_>>();
        let (proved, suspects) = (ids(proved), ids(suspect));
        let wanted: Vec<Wanted> =
            wanted.iter().map(|sequence| Wanted { manifest: point(1, *sequence).manifest, minimum }).collect();
        let known = Known { live: &live, is_proved: &|id| proved.contains(id), suspects: &suspects };
        let (going, staying) = judge(&wanted, &known);
        assert_eq!(going.len() + staying.len(), wanted.len());
        going.into_iter().map(|at| at.sequence).collect()
    }

    #[test]
    fn what_lies_before_a_proved_point_that_stays_may_go() {
        assert_eq!(judged(&[1, 2, 3, 4], &[3], &[], &[1, 2], 0), [1, 2]);
        assert_eq!(judged(&[1, 2, 3, 4], &[3], &[], &[1, 2, 4], 0), [1, 2], "4 has nothing proved behind it");
        assert!(judged(&[1, 2, 3, 4], &[], &[], &[1, 2], 0).is_empty(), "nothing is proved");
        assert!(judged(&[1, 2, 3, 4], &[3], &[3], &[1, 2], 0).is_empty(), "what may lack changes anchors nothing");
    }

    #[test]
    fn a_server_that_wants_everything_gone_gets_nothing() {
        assert!(judged(&[1, 2, 3, 4], &[1, 2, 3, 4], &[], &[1, 2, 3, 4], 0).is_empty());
    }

    #[test]
    fn the_least_number_of_points_stays_the_newest_ones() {
        assert_eq!(judged(&[1, 2, 3, 4, 5], &[5], &[], &[1, 2, 3, 4], 3), [1, 2]);
        assert_eq!(judged(&[1, 2], &[2], &[], &[1], 2), Vec::<u64>::new());
    }

    #[test]
    fn what_is_not_there_and_other_series_change_nothing() {
        assert!(judged(&[4], &[4], &[], &[1], 0).is_empty());
        let live = [point(1, 1), point(2, 9)];
        let wanted = [Wanted { manifest: point(1, 1).manifest, minimum: 0 }];
        let known = Known { live: &live, is_proved: &|id| *id == point(2, 9).manifest, suspects: &HashSet::new() };
        assert!(judge(&wanted, &known).0.is_empty(), "a proved point of another series says nothing of this one");
    }

    proptest! {
        #[test]
        fn whatever_is_wanted_a_proved_point_stays_behind_what_goes(
            live in prop::collection::btree_set(1_u64..30, 1..20),
            proved in prop::collection::btree_set(1_u64..30, 0..10),
            wanted in prop::collection::btree_set(1_u64..30, 0..20),
            minimum in 0_u32..5,
        ) {
            let list = |set: &std::collections::BTreeSet<u64>| set.iter().copied().collect::<Vec<_>>();
            let going = judged(&list(&live), &list(&proved), &[], &list(&wanted), minimum);
            let left: Vec<u64> = live.iter().copied().filter(|sequence| !going.contains(sequence)).collect();
            prop_assert!(going.is_empty() || left.len() >= minimum.max(1) as usize);
            for gone in going {
                prop_assert!(left.iter().any(|stays| *stays > gone && proved.contains(stays)));
            }
        }
    }
}
