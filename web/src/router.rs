//! Every route of the server, each with what it needs and how large and long its requests may be.
//!
//! A route can only be added by [`endpoint`], which asks for its [`Need`]; a test walks every role over every route and holds the
//! outcome against a table of its own (`router/tests.rs`).

mod document;
#[cfg(test)]
mod tests;

pub use document::openapi_json;

use crate::auth::need::Need;
use crate::handlers::{
    account, agent_work, agents, alert_channels, alerts, archives, audit, authority, document as document_handler,
    enrolments, events, files, health, job_days, jobs, keeping, log_in, metrics,
};
use crate::handlers::{
    objects, own_agent, own_token, plans, questions, recovery_kits, recovery_points, repositories, retention, search,
    sessions, settings, tokens, users,
};
use crate::http::limits::Limits;
use crate::http::{ApiError, access, headers, limits, request};
use crate::page;
use crate::state::App;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::UtoipaMethodRouter;
use utoipa_axum::routes;
use web_api::error::ErrorCode;
use web_api::role::Right;

/// One method of one URL, with what goes for it.
pub struct Endpoint {
    need: Need,
    limits: Limits,
    routes: UtoipaMethodRouter<App>,
}

fn endpoint(need: Need, limits: Limits, routes: UtoipaMethodRouter<App>) -> Endpoint {
    Endpoint { need, limits, routes }
}

/// All of them.
#[rustfmt::skip]
fn endpoints() -> Vec<Endpoint> {
    use Limits as L;
    use Need::{Agent, Nothing, Objects, Person, Token};
    const READ: Need = Need::Right(Right::Read);
    const OPERATE: Need = Need::Right(Right::Operate);
    const RESTORE: Need = Need::Right(Right::Restore);
    const AGENTS: Need = Need::Right(Right::Agents);
    const USERS: Need = Need::Right(Right::Users);
    const AUDIT: Need = Need::Right(Right::Audit);
    const SETTINGS: Need = Need::Right(Right::Settings);
    vec![
        // Supervisors, Prometheus, tools.
        endpoint(Nothing,  L::SMALL, routes!(health::alive)),
        endpoint(Nothing,  L::SMALL, routes!(health::ready)),
        endpoint(READ,     L::SMALL, routes!(metrics::metrics)),
        endpoint(READ,     L::SMALL, routes!(health::health)),
        endpoint(Nothing,  L::SMALL, routes!(document_handler::openapi)),
        endpoint(Nothing,  L::SMALL, routes!(authority::read)),
        // Logging in and out.
        endpoint(Nothing,  L::SMALL, routes!(log_in::log_in)),
        endpoint(Nothing,  L::SMALL, routes!(log_in::redeem)),
        endpoint(Person,   L::SMALL, routes!(sessions::current)),
        endpoint(Person,   L::SMALL, routes!(sessions::log_out)),
        endpoint(Person,   L::SMALL, routes!(sessions::list)),
        endpoint(Person,   L::SMALL, routes!(sessions::revoke)),
        // The own account.
        endpoint(Person,   L::SMALL, routes!(account::change_password)),
        endpoint(Person,   L::SMALL, routes!(account::offer_totp)),
        endpoint(Person,   L::SMALL, routes!(account::confirm_totp)),
        endpoint(Person,   L::SMALL, routes!(account::remove_totp)),
        endpoint(Person,   L::SMALL, routes!(tokens::list)),
        endpoint(Person,   L::SMALL, routes!(tokens::create)),
        endpoint(Person,   L::SMALL, routes!(tokens::revoke)),
        endpoint(Token,    L::SMALL, routes!(own_token::read)),
        endpoint(Token,    L::SMALL, routes!(own_token::rotate)),
        endpoint(Token,    L::SMALL, routes!(own_token::revoke)),
        // People.
        endpoint(USERS,    L::SMALL, routes!(users::list)),
        endpoint(USERS,    L::SMALL, routes!(users::create)),
        endpoint(USERS,    L::SMALL, routes!(users::read)),
        endpoint(USERS,    L::SMALL, routes!(users::change)),
        endpoint(USERS,    L::SMALL, routes!(users::remove)),
        endpoint(USERS,    L::SMALL, routes!(users::make_link)),
        endpoint(USERS,    L::SMALL, routes!(users::sessions)),
        endpoint(USERS,    L::SMALL, routes!(users::end_sessions)),
        endpoint(USERS,    L::SMALL, routes!(users::tokens)),
        endpoint(USERS,    L::SMALL, routes!(users::revoke_token)),
        // Repositories and agents.
        endpoint(READ,     L::SMALL, routes!(repositories::list)),
        endpoint(AGENTS,   L::LONG,  routes!(repositories::add)),
        endpoint(READ,     L::SMALL, routes!(repositories::read)),
        endpoint(AGENTS,   L::SMALL, routes!(repositories::change)),
        endpoint(OPERATE,  L::SMALL, routes!(keeping::verify)),
        endpoint(OPERATE,  L::SMALL, routes!(keeping::check)),
        endpoint(OPERATE,  L::SMALL, routes!(keeping::prune)),
        endpoint(OPERATE,  L::SMALL, routes!(keeping::copy_database)),
        endpoint(AGENTS,   L::SMALL, routes!(recovery_kits::confirm)),
        endpoint(READ,     L::SMALL, routes!(agents::list)),
        endpoint(AGENTS,   L::SMALL, routes!(agents::create)),
        endpoint(READ,     L::SMALL, routes!(agents::read)),
        endpoint(AGENTS,   L::SMALL, routes!(agents::change)),
        endpoint(AGENTS,   L::SMALL, routes!(agents::revoke)),
        endpoint(AGENTS,   L::SMALL, routes!(agents::reinstate)),
        endpoint(Agent,    L::SMALL, routes!(own_agent::read)),
        endpoint(Agent,    L::SMALL, routes!(own_agent::rotate)),
        // How machines become agents.
        endpoint(AGENTS,   L::SMALL, routes!(enrolments::list)),
        endpoint(AGENTS,   L::SMALL, routes!(enrolments::create)),
        endpoint(AGENTS,   L::SMALL, routes!(enrolments::read)),
        endpoint(AGENTS,   L::SMALL, routes!(enrolments::revoke)),
        endpoint(AGENTS,   L::LONG,  routes!(enrolments::give_writer_key)),
        endpoint(Nothing,  L::LONG,  routes!(enrolments::redeem)),
        endpoint(READ,     L::SMALL, routes!(agents::devices)),
        // Plans and jobs.
        endpoint(READ,     L::SMALL, routes!(plans::list)),
        endpoint(OPERATE,  L::SMALL, routes!(plans::create)),
        endpoint(READ,     L::SMALL, routes!(plans::read)),
        endpoint(OPERATE,  L::SMALL, routes!(plans::change)),
        endpoint(OPERATE,  L::SMALL, routes!(plans::remove)),
        endpoint(OPERATE,  L::SMALL, routes!(plans::run)),
        endpoint(OPERATE,  L::SMALL, routes!(plans::pause)),
        endpoint(OPERATE,  L::SMALL, routes!(plans::resume)),
        endpoint(READ,     L::SMALL, routes!(retention::decided)),
        endpoint(READ,     L::SMALL, routes!(job_days::days)),
        endpoint(READ,     L::SMALL, routes!(jobs::list)),
        endpoint(READ,     L::SMALL, routes!(jobs::read)),
        endpoint(READ,     L::SMALL, routes!(jobs::log)),
        endpoint(OPERATE,  L::SMALL, routes!(jobs::cancel)),
        endpoint(OPERATE,  L::SMALL, routes!(jobs::retry)),
        endpoint(OPERATE,  L::SMALL, routes!(jobs::pause)),
        endpoint(OPERATE,  L::SMALL, routes!(jobs::resume)),
        // What there is to restore.
        endpoint(READ,     L::SMALL, routes!(recovery_points::list)),
        endpoint(READ,     L::SMALL, routes!(recovery_points::read)),
        endpoint(OPERATE,  L::SMALL, routes!(keeping::forget)),
        endpoint(OPERATE,  L::SMALL, routes!(keeping::undo)),
        endpoint(RESTORE,  L::REPORT, routes!(keeping::restore)),
        endpoint(RESTORE,  L::SMALL, routes!(files::volumes)),
        endpoint(RESTORE,  L::SMALL, routes!(files::list)),
        endpoint(RESTORE,  L::SMALL, routes!(files::content)),
        endpoint(RESTORE,  L::SMALL, routes!(archives::archive)),
        endpoint(RESTORE,  L::SMALL, routes!(search::search)),
        endpoint(RESTORE,  L::SMALL, routes!(search::versions)),
        // What agents are given and report.
        endpoint(Agent,    L::REPORT, routes!(agent_work::heartbeat)),
        endpoint(Agent,    L::SMALL, routes!(agent_work::lease)),
        endpoint(Agent,    L::REPORT, routes!(agent_work::progress)),
        endpoint(Agent,    L::REPORT, routes!(agent_work::finish)),
        endpoint(Agent,    L::REPORT, routes!(agent_work::points)),
        endpoint(Agent,    L::SMALL, routes!(questions::next_question)),
        endpoint(Agent,    L::REPORT, routes!(questions::answer_question)),
        endpoint(Agent,    L::PIECE, routes!(questions::bring_piece)),
        endpoint(Agent,    L::REPORT, routes!(questions::ask_part)),
        // What machines store, and people restore.
        endpoint(Objects,  L::LONG,  routes!(objects::list)),
        endpoint(Objects,  L::OBJECT, routes!(objects::read)),
        endpoint(Objects,  L::QUESTION, routes!(objects::read_several)),
        endpoint(Objects,  L::SMALL, routes!(objects::size)),
        endpoint(Objects,  L::OBJECT, routes!(objects::store)),
        endpoint(Objects,  L::SMALL, routes!(objects::remove)),
        endpoint(Objects,  L::SMALL, routes!(objects::received)),
        endpoint(Objects,  L::QUESTION, routes!(objects::packs_with)),
        endpoint(Objects,  L::QUESTION, routes!(objects::persist)),
        // Alerts.
        endpoint(READ,     L::SMALL, routes!(alerts::list)),
        endpoint(SETTINGS, L::SMALL, routes!(alert_channels::list)),
        endpoint(SETTINGS, L::SMALL, routes!(alert_channels::create)),
        endpoint(SETTINGS, L::SMALL, routes!(alert_channels::read)),
        endpoint(SETTINGS, L::SMALL, routes!(alert_channels::change)),
        endpoint(SETTINGS, L::SMALL, routes!(alert_channels::remove)),
        endpoint(SETTINGS, L::LONG,  routes!(alert_channels::test)),
        // The server.
        endpoint(READ,     L::SMALL, routes!(settings::read)),
        endpoint(SETTINGS, L::SMALL, routes!(settings::change)),
        endpoint(READ,     L::SMALL, routes!(events::follow)),
        endpoint(AUDIT,    L::SMALL, routes!(audit::list)),
        endpoint(AUDIT,    L::LONG,  routes!(audit::verify)),
    ]
}

/// The whole service.
pub fn router(app: &App) -> Router {
    let mut router = Router::new();
    for Endpoint { need, limits, routes: (_, paths, methods) } in endpoints() {
        let guarded = methods
            .route_layer(from_fn_with_state((app.clone(), need), access::guard))
            .route_layer(DefaultBodyLimit::max(limits.body_bytes))
            .route_layer(from_fn_with_state(limits, limits::end_in_time));
        for path in paths.paths.keys() {
            router = router.route(path, guarded.clone());
        }
    }
    router
        .fallback(page::serve)
        .method_not_allowed_fallback(|| async {
            ApiError::new(ErrorCode::MethodNotAllowed, "this URL does not know this method")
        })
        .layer(CatchPanicLayer::custom(request::panicked))
        .layer(from_fn_with_state(app.secure, headers::secure))
        .layer(from_fn_with_state(app.clone(), request::observe))
        .with_state(app.clone())
}
