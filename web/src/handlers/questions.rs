//! What keepers are asked about files: they come for questions and bring answers.

use super::agent_work::Protocol;
use crate::http::body::Path;
use crate::http::{AgentCaller, ApiError, ApiResult, Body as JsonBody};
use crate::questions::Answered;
use crate::state::App;
use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::StatusCode;
use std::time::Duration;
use web_api::agent_work::MAX_WAIT_S;
use web_api::error::ErrorCode;
use web_api::file::{AskQuestion, FileAnswer, GivenQuestion, MAX_FILES, MAX_PIECE_BYTES};
use web_api::id::QuestionId;

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
        FileAnswer::Look(_) | FileAnswer::Refused(_) | FileAnswer::Whole => true,
    };
    if !fits {
        return Err(ApiError::new(
            ErrorCode::Invalid,
            "an answer has at most 500 files and 50 notes, or 256 disks and partitions",
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

/// Who makes an archive of many pieces has to hear that nobody waits for it any more.
fn passed_on(somebody_waits: bool) -> ApiResult<StatusCode> {
    match somebody_waits {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(ApiError::not_found("question that somebody waits for")),
    }
}
