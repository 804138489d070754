//! One look at the repository that everything after it goes by: leases, then points, then what they need.
//!
//! Points go on coming meanwhile. One whose packs the index has not seen is no damage: the look begins anew, with all packs.

use super::chain::refuse_gaps;
use super::mark::Mark;
use super::pins::Pins;
use super::{Run, Step};
use crate::error::{Error, Result};
use crate::id::{ManifestId, WriterId};
use crate::lease::LeaseBody;
use crate::manifest::PointKey;
use crate::reader::Reader;
use crate::writers;
use std::collections::HashSet;

/// Looks that one run takes; each but the first is for points that came within the one before.
const MAX_LOOKS: usize = 8;

/// What a look found.
pub(super) struct Marked<'r> {
    /// Through which it was marked.
    pub(super) reader: Reader<'r>,
    /// What is needed.
    pub(super) mark: Mark,
    /// What came of the pins.
    pub(super) pins: Pins,
    /// The others' leases, listed before the points.
    pub(super) leases: Vec<LeaseBody>,
}

impl<'a> Run<'a> {
    /// Marks what every manifest needs and what leases pin; the manifests are listed after the leases. The index was reconciled before.
    ///
    /// A point that was listed before the store's packs were, and that lacks something all the same, is damaged: that stops the run.
    pub(super) fn mark(&self, without: &HashSet<ManifestId>) -> Result<Marked<'a>> {
        let mut older = HashSet::new();
        for _ in 0..MAX_LOOKS {
            // Mark and reader begin anew each time: a tree that was marked by half would count as marked, and packs have other numbers.
            let reader = Reader::new(self.repo, self.index);
            let leases = self.other_leases()?;
            let points = self.repo.points()?;
            refuse_gaps(self.repo, &points)?;
            let mut mark = Mark::new(&reader)?;
            let mut under_way = None;
            match self.mark_points(&reader, &mut mark, &points, (without, &mut under_way)) {
                Ok(()) => {
                    let pins = self.mark_pins(&reader, &mut mark, &leases)?;
                    return Ok(Marked { reader, mark, pins, leases });
                }
                Err(Error::Missing { .. }) if !self.is_damaged(under_way, &older)? => {
                    older.extend(points);
                    self.reconcile()?;
                }
                Err(Error::UnknownSigner { writer, .. }) if self.is_new(writer)? => {
                    return Err(Error::Refused(format!(
                        "the writer {writer} was added after this run had read who may write; nothing was deleted. Run prune again"
                    )));
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::Refused(
            "recovery points came faster than they could be looked at; nothing was deleted. Run prune again when fewer backups run".into(),
        ))
    }

    /// Whether the point that lacks something was there before the packs were listed. One whose manifest went is not damaged either: a server
    /// withdraws it when its lease is gone, and a run that only counts may have another one beside it.
    fn is_damaged(&self, point: Option<PointKey>, older: &HashSet<PointKey>) -> Result<bool> {
        let Some(at) = point else { return Ok(true) };
        Ok(older.contains(&at) && self.repo.store().exists(&at.key())?)
    }

    /// Whether a writer came after the repository was opened: it has a record now. The records that were there were all sound.
    fn is_new(&self, writer: WriterId) -> Result<bool> {
        let is_known = self.repo.signers().writers.contains_key(&writer);
        Ok(!is_known && writers::is_recorded(self.repo.store(), writer)?)
    }

    /// Marks points one after the other, and says which one is under way.
    fn mark_points(
        &self,
        reader: &Reader<'_>,
        mark: &mut Mark,
        points: &[PointKey],
        (without, under_way): (&HashSet<ManifestId>, &mut Option<PointKey>),
    ) -> Result<()> {
        for (done, at) in points.iter().enumerate().filter(|(_, at)| !without.contains(&at.manifest)) {
            self.go_on()?;
            (self.options.progress)(Step::Marking(done as u64, points.len() as u64));
            *under_way = Some(*at);
            mark.point(reader, *at, &|| self.go_on())?;
        }
        Ok(())
    }
}
