//! The stamp test: snapshots under a storm, and the proof that each image is one instant and stays it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::filter::Tracked;
use crate::oracle::{self, Picture, Taken};
use crate::snapshot::{AMPLE_SECTORS, Snapshot};
use crate::storm::{Area, Force, Journal, Storm};

/// Sectors of an area that fills quickly and still has many chunks.
pub const AREA_SECTORS: u64 = 32 << 11;

/// Where else an area is seen: LVM shows the sectors of a volume on its disk too.
#[derive(Clone)]
pub struct View {
    /// Number in [`Trial::areas`].
    pub area: usize,
    /// Number in [`Trial::tracked`].
    pub tracked: usize,
    /// Where the area begins there.
    pub first_sector: u64,
}

/// A stamp test.
pub struct Trial<'a> {
    /// All devices of the snapshot; an area's `disk` is a number in it.
    pub tracked: Vec<&'a Tracked>,
    /// What is written.
    pub areas: Vec<Area>,
    /// More places to look at than each area in the image of its disk.
    pub views: Vec<View>,
    /// Where the difference storage lies.
    pub store: PathBuf,
    /// How far it may grow.
    pub limit_sectors: u64,
    /// How it is written.
    pub force: Force,
    /// Writes of each writer before and after every step.
    pub writes_between: u64,
    /// Snapshots, one after the other.
    pub rounds: usize,
}

/// What was seen of one snapshot.
struct Round {
    taken: Taken,
    pictures: Vec<Picture>,
}

impl<'a> Trial<'a> {
    /// Two snapshots with the difference storage in memory.
    pub fn new(tracked: Vec<&'a Tracked>, areas: Vec<Area>) -> Self {
        let store = PathBuf::from("/tmp");
        Self {
            tracked,
            areas,
            views: Vec::new(),
            store,
            limit_sectors: AMPLE_SECTORS,
            force: Force::default(),
            writes_between: 15,
            rounds: 2,
        }
    }

    /// The same with the difference storage elsewhere.
    pub fn with_store(mut self, store: &Path) -> Self {
        store.clone_into(&mut self.store);
        self
    }

    /// Runs it; the journals are for further questions.
    pub fn run(&self) -> Result<Vec<Journal>> {
        self.areas.iter().try_for_each(Area::fill)?;
        let storm = Storm::start(&self.areas, self.force, 5)?;
        let mut rounds = Vec::new();
        for number in 1..=self.rounds {
            rounds.push(self.round(&storm).with_context(|| format!("snapshot {number}"))?);
        }
        let journals = storm.stop()?;
        for (number, round) in (1..).zip(&rounds) {
            oracle::ensure_instant(&round.pictures, &journals, round.taken)
                .with_context(|| format!("snapshot {number}"))?;
        }
        Ok(journals)
    }

    fn round(&self, storm: &Storm) -> Result<Round> {
        storm.wait_for(self.writes_between)?;
        let snapshot = Snapshot::create(&self.store, self.limit_sectors)?;
        for tracked in &self.tracked {
            tracked.add_to(snapshot.id()).with_context(|| format!("cannot add {}", tracked.path().display()))?;
        }
        let taken = Taken::around(|| snapshot.take().context("TAKE"))?;
        storm.wait_for(self.writes_between)?;
        let pictures = self.pictures()?;
        storm.wait_for(self.writes_between)?;
        for (before, after) in pictures.iter().zip(self.pictures()?) {
            before.ensure_same(&after)?;
        }
        snapshot.destroy()?;
        Ok(Round { taken, pictures })
    }

    fn pictures(&self) -> Result<Vec<Picture>> {
        let own = self.areas.iter().map(|area| Picture::of(&self.tracked[area.disk].image()?, area));
        let others = self
            .views
            .iter()
            .map(|view| Picture::at(&self.tracked[view.tracked].image()?, &self.areas[view.area], view.first_sector));
        own.chain(others).collect()
    }
}
