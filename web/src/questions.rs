//! Questions about files that wait for the keeper of their repository, and its answers on their way back to who asked.
//!
//! In memory only: a question lives as long as the request that asks it, and never longer than [`ANSWER_WITHIN`]. The server opens no
//! file system and holds no key; it knows what was asked, and passes the answer on without looking into it.

use crate::http::{ApiError, ApiResult};
use axum::body::Bytes;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use web_api::error::ErrorCode;
use web_api::file::{AskedQuestion, FileAnswer, FileQuestion};
use web_api::id::{QuestionId, RepositoryId};

/// Who asks waits no longer.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(25);
/// Who asked for many pieces and takes none for so long is not there. Less than the keeper waits for the answer to its request.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);
/// A keeper that has not asked for so long is not there.
const KEEPER_ASKS_WITHIN: Duration = Duration::from_secs(60);
/// Questions of one repository that wait or are being answered; more are refused.
const MAX_OPEN: usize = 16;

/// What came back.
#[derive(Debug)]
pub enum Answered {
    /// In words.
    Said(FileAnswer),
    /// A piece of a file.
    Piece(Bytes),
}

struct Open {
    repository: RepositoryId,
    question: AskedQuestion,
    waits: Waits,
}

/// Who waits, and for what.
enum Waits {
    /// For one answer.
    Once(oneshot::Sender<Answered>),
    /// For one after the other.
    Stream(mpsc::Sender<Answered>),
}

#[derive(Default)]
struct State {
    /// Everything that somebody waits for.
    open: HashMap<QuestionId, Open>,
    /// Of that what no keeper has taken yet, the oldest first.
    queue: VecDeque<QuestionId>,
    /// When each repository's keeper asked last.
    asked: HashMap<RepositoryId, Instant>,
}

/// The questions of all repositories.
pub struct Questions {
    state: Mutex<State>,
    rings: watch::Sender<u64>,
    answer_within: Duration,
    taken_within: Duration,
    keeper_asks_within: Duration,
}

impl Default for Questions {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            rings: watch::Sender::new(0),
            answer_within: ANSWER_WITHIN,
            taken_within: TAKEN_WITHIN,
            keeper_asks_within: KEEPER_ASKS_WITHIN,
        }
    }
}

impl Questions {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks, and waits for the answer. Who stops waiting takes the question back.
    pub async fn ask(&self, repository: RepositoryId, point: &str, question: FileQuestion) -> ApiResult<Answered> {
        let (answer, answered) = oneshot::channel();
        let _taken_back_at_the_end = self.put(repository, point, question, Waits::Once(answer))?;
        match tokio::time::timeout(self.answer_within, answered).await {
            Ok(Ok(answered)) => Ok(answered),
            // The sender is dropped only with the question.
            Ok(Err(_)) | Err(_) => Err(self.too_late(self.answer_within)),
        }
    }

    /// Asks for what is answered in many pieces, which come one at a time.
    pub fn ask_for_many(&self, repository: RepositoryId, point: &str, question: FileQuestion) -> ApiResult<Many<'_>> {
        let (answer, answers) = mpsc::channel(1);
        Ok(Many { answers, question: self.put(repository, point, question, Waits::Stream(answer))? })
    }

    fn too_late(&self, within: Duration) -> ApiError {
        ApiError::new(ErrorCode::TimedOut, "the keeper did not answer in time")
            .why(format!("an answer takes {} seconds at most", within.as_secs()))
            .next("try again; what is large is faster with `icecore mount`, beside the repository")
    }

    fn put(
        &self,
        repository: RepositoryId,
        point: &str,
        question: FileQuestion,
        waits: Waits,
    ) -> ApiResult<TakeBack<'_>> {
        let id = QuestionId::generate();
        {
            let mut state = self.state();
            let is_there = state.asked.get(&repository).is_some_and(|asked| asked.elapsed() < self.keeper_asks_within);
            if !is_there {
                return Err(ApiError::new(ErrorCode::Unavailable, "the keeper of the repository shows no files")
                    .why("files and disks are read by it, where its own command line allows that: it has the key, and this server does not")
                    .next("run the keeper with `icecore agent run --show-files`, or with `--pass-to` for restores onto other machines, in the same version as this server"));
            }
            if state.open.values().filter(|open| open.repository == repository).count() >= MAX_OPEN {
                return Err(ApiError::new(ErrorCode::Unavailable, "too many people look at files at the moment")
                    .next("try again in a few seconds"));
            }
            let question = AskedQuestion { id, point: point.to_owned(), question };
            state.open.insert(id, Open { repository, question, waits });
            state.queue.push_back(id);
        }
        self.rings.send_modify(|rings| *rings = rings.wrapping_add(1));
        Ok(TakeBack { questions: self, id })
    }

    /// The oldest question of a repository that nobody has taken, for an archive or for something else; waits for one.
    pub async fn next(&self, repository: RepositoryId, archives: bool, wait: Duration) -> Option<AskedQuestion> {
        let until = Instant::now() + wait;
        let mut rings = self.rings.subscribe();
        loop {
            if let Some(question) = self.take(repository, archives) {
                return Some(question);
            }
            tokio::select! {
                rung = rings.changed() => rung.ok()?,
                () = tokio::time::sleep_until(until) => return None,
            }
        }
    }

    fn take(&self, repository: RepositoryId, archives: bool) -> Option<AskedQuestion> {
        let mut state = self.state();
        state.asked.insert(repository, Instant::now());
        let State { open, queue, .. } = &mut *state;
        let is_wanted = |open: &Open| {
            let is_archive = matches!(open.question.question, FileQuestion::Archive { .. });
            open.repository == repository && is_archive == archives
        };
        let is_its = |id: &QuestionId| open.get(id).is_some_and(is_wanted);
        let at = queue.iter().position(is_its)?;
        let id = queue.remove(at)?;
        open.get(&id).map(|open| open.question.clone())
    }

    /// Passes an answer on; false when nobody waits for it any more. One of many is passed on when there is room for it, which is when
    /// who asked has taken the one before; who takes nothing for long is not waited for.
    pub async fn answer(&self, repository: RepositoryId, id: QuestionId, answered: Answered) -> bool {
        let many = {
            let mut state = self.state();
            match state.open.get(&id).filter(|open| open.repository == repository).map(|open| &open.waits) {
                None => return false,
                Some(Waits::Stream(many)) => many.clone(),
                Some(Waits::Once(_)) => {
                    return match state.open.remove(&id).map(|open| open.waits) {
                        Some(Waits::Once(answer)) => answer.send(answered).is_ok(),
                        _ => false,
                    };
                }
            }
        };
        let is_passed_on = matches!(tokio::time::timeout(self.taken_within, many.send(answered)).await, Ok(Ok(())));
        if !is_passed_on {
            // Who asked sees that no more comes.
            self.state().open.remove(&id);
        }
        is_passed_on
    }
}

/// The answers to one question; who drops it takes the question back.
pub struct Many<'q> {
    answers: mpsc::Receiver<Answered>,
    question: TakeBack<'q>,
}

impl Many<'_> {
    /// The next answer, which must come within this time.
    pub async fn next(&mut self, within: Duration) -> ApiResult<Answered> {
        match tokio::time::timeout(within, self.answers.recv()).await {
            Ok(Some(answered)) => Ok(answered),
            Ok(None) => Err(ApiError::new(ErrorCode::TimedOut, "nobody took the answer for too long")),
            Err(_) => Err(self.question.questions.too_late(within)),
        }
    }
}

/// Forgets a question when nobody waits for it any more.
struct TakeBack<'q> {
    questions: &'q Questions,
    id: QuestionId,
}

impl Drop for TakeBack<'_> {
    fn drop(&mut self) {
        let mut state = self.questions.state();
        state.open.remove(&self.id);
        state.queue.retain(|id| *id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use web_api::file::FileRefusal;

    const NOW: Duration = Duration::ZERO;

    fn refused() -> Answered {
        Answered::Said(FileAnswer::Refused(FileRefusal { is_missing: true, what: "no".into() }))
    }

    fn asks(questions: &Arc<Questions>, of: RepositoryId) -> tokio::task::JoinHandle<ApiResult<Answered>> {
        let questions = Arc::clone(questions);
        tokio::spawn(async move { questions.ask(of, "ab", FileQuestion::Volumes).await })
    }

    #[tokio::test]
    async fn a_question_reaches_its_keeper_and_the_answer_who_asked() {
        let (questions, main, other) =
            (Arc::new(Questions::default()), RepositoryId::generate(), RepositoryId::generate());
        assert!(questions.next(main, false, NOW).await.is_none() && questions.next(other, false, NOW).await.is_none());
        let asked = asks(&questions, main);
        assert!(questions.next(other, false, Duration::from_millis(30)).await.is_none(), "it is another repository's");
        let given = questions.next(main, false, Duration::from_secs(5)).await.unwrap();
        assert!(questions.next(main, false, NOW).await.is_none(), "it is given once");
        assert!(!questions.answer(other, given.id, refused()).await, "another's keeper answers nothing");
        assert!(questions.answer(main, given.id, refused()).await);
        assert!(matches!(asked.await.unwrap().unwrap(), Answered::Said(FileAnswer::Refused(_))));
        assert!(!questions.answer(main, given.id, refused()).await, "nobody waits any more");
    }

    #[tokio::test]
    async fn without_a_keeper_nobody_waits_and_with_a_silent_one_not_for_ever() {
        let short = Duration::from_millis(40);
        let questions = Arc::new(Questions { answer_within: short, ..Questions::default() });
        let main = RepositoryId::generate();
        let began = Instant::now();
        assert!(asks(&questions, main).await.unwrap().is_err() && began.elapsed() < ANSWER_WITHIN);
        questions.next(main, false, NOW).await;
        let began = Instant::now();
        assert!(asks(&questions, main).await.unwrap().is_err());
        assert!(began.elapsed() >= short);
        assert!(questions.next(main, false, NOW).await.is_none(), "nothing is left of it");
        let gone = Arc::new(Questions { keeper_asks_within: NOW, ..Questions::default() });
        gone.next(main, false, NOW).await;
        assert!(asks(&gone, main).await.unwrap().is_err(), "a keeper that has not asked for long is not there");
    }

    #[tokio::test]
    async fn more_than_a_few_at_once_are_refused_and_who_goes_away_makes_room() {
        let (questions, main) = (Arc::new(Questions::default()), RepositoryId::generate());
        questions.next(main, false, NOW).await;
        let waiting: Vec<_> = (0..MAX_OPEN).map(|_| asks(&questions, main)).collect();
        tokio::task::yield_now().await;
        assert!(asks(&questions, main).await.unwrap().is_err());
        for one in &waiting {
            one.abort();
        }
        for one in waiting {
            assert!(one.await.is_err());
        }
        assert!(questions.state().open.is_empty() && questions.state().queue.is_empty());
    }

    fn archive() -> FileQuestion {
        let format = web_api::file::ArchiveFormat::Tar;
        FileQuestion::Archive { disk: None, partition: None, path: "/".into(), format }
    }

    fn piece(of: &'static [u8]) -> Answered {
        Answered::Piece(Bytes::from_static(of))
    }

    #[tokio::test]
    async fn archives_are_for_their_own_desks_and_their_pieces_come_one_after_the_other() {
        let (questions, main) = (Questions::default(), RepositoryId::generate());
        questions.next(main, false, NOW).await;
        let mut many = questions.ask_for_many(main, "ab", archive()).unwrap();
        assert!(questions.next(main, false, NOW).await.is_none(), "who looks at directories is not kept from it");
        let given = questions.next(main, true, NOW).await.unwrap();
        assert!(questions.answer(main, given.id, piece(b"one")).await);
        let second = questions.answer(main, given.id, piece(b"two"));
        let taken = many.next(Duration::from_secs(5));
        let (second, first) = tokio::join!(second, taken);
        assert!(second && matches!(first.unwrap(), Answered::Piece(bytes) if &bytes[..] == b"one"));
        assert!(matches!(many.next(NOW).await.unwrap(), Answered::Piece(bytes) if &bytes[..] == b"two"));
        drop(many);
        assert!(!questions.answer(main, given.id, piece(b"three")).await, "nobody waits any more");
    }

    #[tokio::test]
    async fn who_takes_no_piece_and_a_keeper_that_brings_none_are_not_waited_for() {
        let questions = Questions { taken_within: Duration::from_millis(30), ..Questions::default() };
        let main = RepositoryId::generate();
        questions.next(main, true, NOW).await;
        let mut many = questions.ask_for_many(main, "ab", archive()).unwrap();
        let given = questions.next(main, true, NOW).await.unwrap();
        assert!(many.next(Duration::from_millis(10)).await.is_err(), "the keeper brings nothing");
        assert!(questions.answer(main, given.id, piece(b"one")).await);
        assert!(!questions.answer(main, given.id, piece(b"two")).await, "nobody took the first");
        assert!(matches!(many.next(NOW).await, Ok(Answered::Piece(_))));
        assert!(many.next(Duration::from_secs(5)).await.is_err(), "it is cut, and no end");
    }
}
