//! What keepers are asked about files and disks: they come for questions and bring answers.

use super::agent_work::Protocol;
use crate::db::lease::Work;
use crate::http::body::Path;
use crate::http::{AgentCaller, ApiError, ApiResult, Body as JsonBody};
use crate::jobs;
use crate::questions::Answered;
use crate::state::App;
use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use std::time::Duration;
use web_api::agent_work::MAX_WAIT_S;
use web_api::error::ErrorCode;
use web_api::file::{
    AskPart, AskQuestion, FileAnswer, FileQuestion, FileRefusal, GivenQuestion, MAX_ASK_DIGITS, MAX_FILES, MAX_FOUND,
    MAX_ORDER_DIGITS, MAX_PIECE_BYTES, MAX_VERSIONS, PassDisk, PassFiles,
};
use web_api::id::{JobId, QuestionId};
use web_api::job::JobState;
use web_api::keeping::{KeeperWork, RestoreWork};

/// Most disks and partitions of an answer.
const MAX_VOLUMES: usize = 256;

fn check_keeps(agent: &AgentCaller) -> ApiResult<()> {
    match agent.keeper {
        true => Ok(()),
        false => Err(ApiError::new(ErrorCode::Forbidden, "only the keeper of a repository is asked about files")),
    }
}

/// A question about files, or nothing after a while.
#[utoipa::path(post, path = "/api/v1/agent/questions/next", tag = "agent", request_body = AskQuestion,
    params(("icecore-agent-protocol" = u32, Header, description = "version of the conversation")),
    responses((status = 200, body = GivenQuestion)))]
pub async fn next_question(
    State(app): State<App>,
    agent: AgentCaller,
    _: Protocol,
    JsonBody(asked): JsonBody<AskQuestion>,
) -> ApiResult<Json<GivenQuestion>> {
    check_keeps(&agent)?;
    let wait = Duration::from_secs(asked.wait_s.min(MAX_WAIT_S).into());
    let mut stopping = app.stopping.clone();
    let question = tokio::select! {
        question = app.questions.next(agent.repository_id, asked.archives, wait) => question,
        _ = stopping.wait_for(|stopping| *stopping) => None,
    };
    Ok(Json(GivenQuestion { question }))
}

/// An answer in words.
#[utoipa::path(post, path = "/api/v1/agent/questions/{id}/answer", tag = "agent", request_body = FileAnswer,
    params(("id" = QuestionId, Path, description = "question"),
        ("icecore-agent-protocol" = u32, Header, description = "version of the conversation")),
    responses((status = 204)))]
pub async fn answer_question(
    State(app): State<App>,
    agent: AgentCaller,
    _: Protocol,
    Path(id): Path<QuestionId>,
    JsonBody(answer): JsonBody<FileAnswer>,
) -> ApiResult<StatusCode> {
    check_keeps(&agent)?;
    let fits = match &answer {
        FileAnswer::List(page) => page.items.len() <= MAX_FILES as usize && page.notes.len() <= 50,
        FileAnswer::Volumes(disks) => disks.iter().map(|disk| disk.volumes.len() + 1).sum::<usize>() <= MAX_VOLUMES,
        FileAnswer::Found(page) => page.items.len() <= MAX_FOUND as usize,
        FileAnswer::Versions(versions) => versions.items.len() <= MAX_VERSIONS,
        FileAnswer::Look(_) | FileAnswer::Refused(_) | FileAnswer::Whole => true,
    };
    if !fits {
        return Err(ApiError::new(
            ErrorCode::Invalid,
            "an answer has at most 500 files and 50 notes, 256 disks and partitions, 200 files that were found, or 500 versions",
        ));
    }
    passed_on(app.questions.answer(agent.repository_id, id, Answered::Said(answer)).await)
}

/// A piece of a file or of an archive, at most 1 MiB; an empty one of an archive says that it goes on.
#[utoipa::path(post, path = "/api/v1/agent/questions/{id}/piece", tag = "agent",
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    params(("id" = QuestionId, Path, description = "question"),
        ("icecore-agent-protocol" = u32, Header, description = "version of the conversation")),
    responses((status = 204)))]
pub async fn bring_piece(
    State(app): State<App>,
    agent: AgentCaller,
    _: Protocol,
    Path(id): Path<QuestionId>,
    body: Body,
) -> ApiResult<StatusCode> {
    check_keeps(&agent)?;
    let piece = to_bytes(body, MAX_PIECE_BYTES as usize).await;
    let piece = piece.map_err(|_| ApiError::new(ErrorCode::TooLarge, "a piece of a file has at most 1 MiB"))?;
    passed_on(app.questions.answer(agent.repository_id, id, Answered::Piece(piece)).await)
}

/// A part of the disk that a restore job of this machine writes: asked of the keeper, and sealed by it to this machine.
#[utoipa::path(post, path = "/api/v1/agent/jobs/{id}/part", tag = "agent", request_body = AskPart,
    params(("id" = JobId, Path, description = "job"),
        ("icecore-agent-protocol" = u32, Header, description = "version of the conversation")),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream")))]
pub async fn ask_part(
    State(app): State<App>,
    agent: AgentCaller,
    _: Protocol,
    Path(id): Path<JobId>,
    JsonBody(asked): JsonBody<AskPart>,
) -> ApiResult<Response> {
    if asked.part.order.len() > MAX_ORDER_DIGITS {
        return Err(ApiError::new(ErrorCode::Invalid, format!("an order has at most {MAX_ORDER_DIGITS} digits")));
    }
    if asked.part.ask.as_ref().is_some_and(|ask| ask.len() > MAX_ASK_DIGITS) {
        return Err(ApiError::new(ErrorCode::Invalid, format!("a question has at most {MAX_ASK_DIGITS} digits")));
    }
    let lease = asked.lease;
    let (repository, point, question) = app
        .database
        .read(move |connection| {
            let job = jobs::in_hand(connection, agent.id, id, lease)?;
            match (job.state, job.work, job.repository) {
                (JobState::Running, Work::Keeper(work), Some((repository, _))) => match *work {
                    KeeperWork::Restore(work) if !agent.keeper => {
                        let question = question_of(asked.part, &work)?;
                        ApiResult::Ok((repository, work.point, question))
                    }
                    _ => Err(not_passed()),
                },
                _ => Err(not_passed()),
            }
        })
        .await?;
    match app.questions.ask(repository, &point, question).await? {
        Answered::Piece(bytes) => Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response()),
        Answered::Said(FileAnswer::Refused(FileRefusal { is_missing, what })) => {
            Err(ApiError::new(if is_missing { ErrorCode::NotFound } else { ErrorCode::Conflict }, what))
        }
        Answered::Said(_) => {
            Err(ApiError::new(ErrorCode::Unavailable, "the keeper gave an answer to another question")
                .next("look whether keeper and server are of the same version"))
        }
    }
}

/// What the keeper is asked: of a job of files nothing but about these files.
fn question_of(part: PassDisk, work: &RestoreWork) -> ApiResult<FileQuestion> {
    match (part, work.files.is_empty()) {
        (part @ PassDisk { ask: None, .. }, true) => Ok(FileQuestion::Pass(part)),
        (PassDisk { order, ask: Some(ask), .. }, false) => Ok(FileQuestion::PassFiles(PassFiles {
            order,
            ask,
            disk: work.disk.clone(),
            partition: work.partition,
            files: work.files.clone(),
        })),
        _ => Err(ApiError::new(ErrorCode::Conflict, "the job is about something else than what is asked for")),
    }
}

fn not_passed() -> ApiError {
    ApiError::new(ErrorCode::Conflict, "disks are passed to a machine for a restore job that it has in hand")
}

/// Who makes an archive of many pieces has to hear that nobody waits for it any more.
fn passed_on(somebody_waits: bool) -> ApiResult<StatusCode> {
    match somebody_waits {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(ApiError::not_found("question that somebody waits for")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_asked_for_nothing_but_what_its_job_is_about() {
        let work = |files: &[&str]| -> RestoreWork {
            serde_json::from_value(serde_json::json!({
                "point": "ab", "target": "/srv", "disk": "sda", "partition": 2, "files": files
            }))
            .unwrap()
        };
        let part = |ask: Option<&str>| PassDisk { order: "0d".into(), offset_bytes: None, ask: ask.map(str::to_owned) };
        assert!(matches!(question_of(part(None), &work(&[])), Ok(FileQuestion::Pass(_))));
        let asked = question_of(part(Some("a5")), &work(&["/etc"])).unwrap();
        let FileQuestion::PassFiles(asked) = asked else { panic!("{asked:?}") };
        assert_eq!(
            (asked.disk.as_deref(), asked.partition, asked.files),
            (Some("sda"), Some(2), vec!["/etc".to_owned()])
        );
        assert!(question_of(part(None), &work(&["/etc"])).is_err(), "the whole disk for a file");
        assert!(question_of(part(Some("a5")), &work(&[])).is_err(), "files where a disk was meant");
    }
}
