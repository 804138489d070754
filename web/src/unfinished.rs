//! Packs whose line broke: what came of them is kept for a while, for the machine that sends the rest.
//!
//! Without it a line that breaks more often than a pack takes would never bring one over. Kept parts are temporary files and no objects:
//! a server that ends forgets them, and a pack is looked at as a whole before it gets its name, however many requests brought it.

use crate::http::{AgentCaller, ApiError, ApiResult};
use crate::quota::Room;
use repo_format::gate::StagedBytes as _;
use repo_format::id::PackId;
use repo_format::pack::PackKind;
use repo_format::store::staged::Staged;
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use web_api::error::ErrorCode;
use web_api::id::{AgentId, RepositoryId};

/// A part that nobody goes on with for so long is not kept.
const KEPT_FOR: Duration = Duration::from_secs(900);
/// Parts that are kept of one machine: it sends fewer packs at the same time.
const MOST_OF_AN_AGENT: usize = 4;
/// Bytes that are kept in all; the oldest parts make room.
const MOST_BYTES: u64 = 4 << 30;
/// How long an older request with the same pack is waited for after it was told to stop.
const STOPS_WITHIN: Duration = Duration::from_secs(10);

/// Which pack of whom: nobody goes on with what another sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Upload {
    agent: AgentId,
    repository: RepositoryId,
    kind: PackKind,
    pack: PackId,
}

impl Upload {
    /// Of this machine, into its repository.
    pub fn new(agent: &AgentCaller, (kind, pack): (PackKind, PackId)) -> Self {
        Self { agent: agent.id, repository: agent.repository_id, kind, pack }
    }
}

/// What came of a pack, and the room that is held for all of it.
pub struct Part {
    /// Its bytes so far.
    pub staged: Staged,
    room: Room,
}

impl Part {
    /// Nothing yet.
    pub fn new(staged: Staged, room: Room) -> Self {
        Self { staged, room }
    }
}

enum State {
    /// A request brings it; it can be told to stop.
    Arriving(Arc<Notify>),
    Kept {
        part: Box<Part>,
        since: Instant,
    },
}

/// All packs that arrive, and those of which a part is kept.
#[derive(Default)]
pub struct Unfinished {
    uploads: Mutex<HashMap<Upload, State>>,
    /// A request that brought a pack ended.
    ended: Notify,
}

impl Unfinished {
    fn lock(&self) -> MutexGuard<'_, HashMap<Upload, State>> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much of a pack is kept. Who asks has no line any more on which it still comes, so a request that waits for more of it ends.
    pub async fn received(&self, upload: Upload) -> ApiResult<u64> {
        self.stop(upload).await?;
        self.forget_old();
        Ok(match self.lock().get(&upload) {
            Some(State::Kept { part, .. }) => part.staged.size_bytes(),
            _ => 0,
        })
    }

    /// Begins to receive a pack behind the bytes that are kept of it. Without any, `anew` says where it goes; what is kept is given up.
    pub async fn begin<F: Future<Output = ApiResult<Part>>>(
        self: &Arc<Self>,
        upload: Upload,
        offset_bytes: u64,
        anew: impl FnOnce() -> F,
    ) -> ApiResult<Arriving> {
        self.stop(upload).await?;
        let stop = Arc::<Notify>::default();
        let kept = {
            let mut uploads = self.lock();
            let kept = match uploads.remove(&upload) {
                Some(State::Arriving(other)) => {
                    uploads.insert(upload, State::Arriving(other));
                    return Err(is_brought());
                }
                Some(State::Kept { part, since }) if offset_bytes > 0 && part.staged.size_bytes() != offset_bytes => {
                    uploads.insert(upload, State::Kept { part, since });
                    return Err(is_not_kept());
                }
                Some(State::Kept { part, .. }) => Some(part),
                None if offset_bytes > 0 => return Err(is_not_kept()),
                None => None,
            };
            uploads.insert(upload, State::Arriving(stop.clone()));
            kept
        };
        let part = kept.filter(|_| offset_bytes > 0);
        let mut arriving = Arriving { unfinished: self.clone(), upload, stop, part };
        if arriving.part.is_none() {
            arriving.part = Some(Box::new(anew().await?));
        }
        Ok(arriving)
    }

    /// Ends a request that brings this pack, and waits until it has.
    async fn stop(&self, upload: Upload) -> ApiResult<()> {
        let until = tokio::time::Instant::now() + STOPS_WITHIN;
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            // From here on no end is missed.
            ended.as_mut().enable();
            match self.lock().get(&upload) {
                Some(State::Arriving(stop)) => stop.notify_one(),
                _ => return Ok(()),
            }
            tokio::time::timeout_at(until, ended).await.map_err(|_| is_brought())?;
        }
    }

    /// Takes back what was received, or forgets the pack.
    fn end(&self, upload: Upload, part: Option<Box<Part>>) {
        let mut uploads = self.lock();
        uploads.remove(&upload);
        if let Some(part) = part.filter(|part| part.staged.size_bytes() > 0) {
            uploads.insert(upload, State::Kept { part, since: Instant::now() });
            make_room(&mut uploads, upload.agent);
        }
        drop(uploads);
        self.ended.notify_waiters();
    }

    /// Gives up parts that nobody goes on with.
    pub fn forget_old(&self) {
        self.keep_only(|since| since.elapsed() < KEPT_FOR);
    }

    /// Gives up what is kept of a machine, whose quota it holds.
    pub fn forget_of(&self, agent: AgentId) {
        self.lock().retain(|upload, state| upload.agent != agent || matches!(state, State::Arriving(_)));
    }

    /// Gives up all that is kept, such as where there is no room left.
    pub fn forget_all(&self) {
        self.keep_only(|_| false);
    }

    fn keep_only(&self, is_kept: impl Fn(Instant) -> bool) {
        self.lock().retain(|_, state| match state {
            State::Arriving(_) => true,
            State::Kept { since, .. } => is_kept(*since),
        });
    }
}

/// The oldest parts go where a machine, or all together, have too much.
fn make_room(uploads: &mut HashMap<Upload, State>, agent: AgentId) {
    let mut kept: Vec<(Instant, Upload, u64)> = Vec::new();
    for (upload, state) in uploads.iter() {
        if let State::Kept { part, since } = state {
            kept.push((*since, *upload, part.staged.size_bytes()));
        }
    }
    kept.sort_unstable_by_key(|(since, ..)| *since);
    let mut of_agent = kept.iter().filter(|(_, upload, _)| upload.agent == agent).count();
    let mut bytes: u64 = kept.iter().map(|(.., size_bytes)| size_bytes).sum();
    for (_, upload, size_bytes) in kept {
        if bytes > MOST_BYTES || (of_agent > MOST_OF_AN_AGENT && upload.agent == agent) {
            uploads.remove(&upload);
            of_agent -= usize::from(upload.agent == agent);
            bytes -= size_bytes;
        }
    }
}

/// A pack that a request brings. However that ends, what came is kept, unless it was taken or given up.
pub struct Arriving {
    unfinished: Arc<Unfinished>,
    upload: Upload,
    stop: Arc<Notify>,
    part: Option<Box<Part>>,
}

impl Arriving {
    /// Ends when another request goes on with this pack.
    pub async fn stopped(stop: &Notify) -> ApiError {
        stop.notified().await;
        is_brought()
    }

    /// What tells it to stop.
    pub fn stop(&self) -> Arc<Notify> {
        self.stop.clone()
    }

    /// Makes room for a pack of so many bytes: who goes on may send more than was said at first.
    pub fn make_room(&mut self, bytes: u64, quota_bytes: Option<u64>) -> Result<(), u64> {
        self.part.as_mut().map_or(Ok(()), |part| part.room.grow(bytes, quota_bytes))
    }

    /// Adds the next piece. Blocks. What is in the file after a failure is not known, so nothing is kept then.
    pub fn push(&mut self, pieces: &[impl AsRef<[u8]>]) -> ApiResult<()> {
        let pushed = match &mut self.part {
            Some(part) => pieces.iter().try_for_each(|piece| part.staged.push(piece.as_ref())),
            None => return Err(is_not_kept()),
        };
        if pushed.is_err() {
            self.give_up();
            self.unfinished.forget_all();
        }
        Ok(pushed?)
    }

    /// What came is of no use.
    pub fn give_up(&mut self) {
        self.part = None;
    }

    /// All that came, to be looked at and stored; nothing of it is kept. The room is held until the second is dropped.
    pub fn take(&mut self) -> ApiResult<(Staged, Room)> {
        self.part.take().map(|part| (part.staged, part.room)).ok_or_else(is_not_kept)
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.unfinished.end(self.upload, self.part.take());
    }
}

fn is_brought() -> ApiError {
    ApiError::new(ErrorCode::TimedOut, "another request brings the same pack")
        .next("ask how much of it came, and send the rest")
}

fn is_not_kept() -> ApiError {
    ApiError::new(ErrorCode::TimedOut, "what was sent of this pack before is not kept, or not in this length")
        .next("ask how much of it came, and send the rest")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quota::Usage;
    use repo_format::id::WriterId;
    use repo_format::store::dir::DirStore;
    use tempfile::TempDir;

    struct Scene {
        dir: TempDir,
        store: Arc<DirStore>,
        usage: Arc<Usage>,
        unfinished: Arc<Unfinished>,
        agent: AgentId,
        repository: RepositoryId,
    }

    const WRITER: WriterId = WriterId([1; 16]);

    impl Scene {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let store = Arc::new(DirStore::open(dir.path()));
            let (agent, repository) = (AgentId::generate(), RepositoryId::generate());
            Self { dir, store, usage: Arc::default(), unfinished: Arc::default(), agent, repository }
        }

        fn upload(&self, pack: u8) -> Upload {
            let (agent, repository) = (self.agent, self.repository);
            Upload { agent, repository, kind: PackKind::Data, pack: PackId([pack; 32]) }
        }

        async fn begin(&self, upload: Upload, offset_bytes: u64) -> ApiResult<Arriving> {
            let part = || async {
                let room = self.usage.room(WRITER, 100, None).ok().unwrap();
                Ok(Part::new(Staged::begin(&self.store)?, room))
            };
            self.unfinished.begin(upload, offset_bytes, part).await
        }

        async fn send(&self, upload: Upload, bytes: &[u8]) {
            self.begin(upload, 0).await.unwrap().push(&[bytes]).unwrap();
        }

        fn temporaries(&self) -> usize {
            std::fs::read_dir(self.dir.path().join("tmp")).unwrap().count()
        }
    }

    #[tokio::test]
    async fn whoever_asks_how_far_a_pack_got_ends_the_request_that_still_waits_for_more() {
        let scene = Scene::new();
        let upload = scene.upload(1);
        let mut older = scene.begin(upload, 0).await.unwrap();
        older.push(&[b"abc"]).unwrap();
        let waiting = async move {
            Arriving::stopped(&older.stop()).await;
            older.push(&[b"de"]).unwrap();
        };
        let (received, ()) = tokio::join!(scene.unfinished.received(upload), waiting);
        assert_eq!(received.unwrap(), 5);
        let mut rest = scene.begin(upload, 5).await.unwrap();
        rest.push(&[b"fg"]).unwrap();
        let (staged, room) = rest.take().unwrap();
        assert_eq!((staged.size_bytes(), staged.hash()), (7, *blake3::hash(b"abcdefg").as_bytes()));
        assert_eq!(scene.usage.of(WRITER), 100, "one room for all its requests");
        drop((staged, room, rest));
        assert_eq!((scene.usage.of(WRITER), scene.temporaries()), (0, 0));
    }

    #[tokio::test]
    async fn nobody_goes_on_at_another_place_or_with_what_another_machine_sent() {
        let scene = Scene::new();
        let upload = scene.upload(1);
        scene.send(upload, b"abc").await;
        assert!(scene.begin(upload, 2).await.is_err() && scene.begin(upload, 4).await.is_err());
        let other = Upload { agent: AgentId::generate(), ..upload };
        let tree = Upload { kind: PackKind::Tree, ..upload };
        for stranger in [other, tree] {
            assert_eq!(scene.unfinished.received(stranger).await.unwrap(), 0);
            assert!(scene.begin(stranger, 3).await.is_err());
        }
        assert_eq!(scene.unfinished.received(upload).await.unwrap(), 3, "and it is still there");
        drop(scene.begin(upload, 0).await.unwrap());
        assert_eq!((scene.unfinished.received(upload).await.unwrap(), scene.temporaries()), (0, 0), "sent anew");
    }

    #[tokio::test]
    async fn of_one_machine_only_the_last_few_parts_are_kept_and_of_another_all_the_same() {
        let scene = Scene::new();
        let other = Upload { agent: AgentId::generate(), ..scene.upload(1) };
        scene.send(other, b"x").await;
        for pack in 0..6 {
            scene.send(scene.upload(pack), b"abc").await;
        }
        let mut kept = Vec::new();
        for pack in 0..6 {
            kept.push(scene.unfinished.received(scene.upload(pack)).await.unwrap());
        }
        assert_eq!(kept, [0, 0, 3, 3, 3, 3]);
        assert_eq!((scene.unfinished.received(other).await.unwrap(), scene.temporaries()), (1, 5));
    }

    #[tokio::test]
    async fn old_parts_go_and_give_their_room_back() {
        let scene = Scene::new();
        scene.send(scene.upload(1), b"abc").await;
        scene.unfinished.forget_old();
        assert_eq!((scene.temporaries(), scene.usage.of(WRITER)), (1, 100));
        let Some(State::Kept { part, .. }) = scene.unfinished.lock().remove(&scene.upload(1)) else { panic!("kept") };
        let since = Instant::now().checked_sub(KEPT_FOR).unwrap();
        scene.unfinished.lock().insert(scene.upload(1), State::Kept { part, since });
        scene.unfinished.forget_old();
        assert_eq!((scene.temporaries(), scene.usage.of(WRITER)), (0, 0));
    }

    #[tokio::test]
    async fn after_a_failed_write_nothing_is_kept() {
        let scene = Scene::new();
        scene.send(scene.upload(2), b"abc").await;
        let mut arriving = scene.begin(scene.upload(1), 0).await.unwrap();
        arriving.push(&[b"abc"]).unwrap();
        std::fs::remove_dir_all(scene.dir.path().join("tmp")).unwrap();
        assert!(arriving.push(&[b"def"]).is_err());
        assert!(arriving.take().is_err());
        drop(arriving);
        assert_eq!(scene.unfinished.received(scene.upload(1)).await.unwrap(), 0);
        assert_eq!(scene.unfinished.received(scene.upload(2)).await.unwrap(), 0, "what others sent makes room");
    }
}
