//! The OpenAPI document, from the same list of routes that is served.

use super::{Endpoint, endpoints};
use crate::auth::need::Need;
use serde_json::json;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{Components, ContentBuilder, Info, License, OpenApi, OpenApiBuilder, Ref, ResponseBuilder};
use utoipa::{PartialSchema as _, ToSchema};
use web_api::error::{ErrorCode, ErrorDetail, ErrorEnvelope};

const BY_SESSION: &str = "session";
const BY_TOKEN: &str = "token";

/// The document as it is committed in `web/openapi.json`.
pub fn openapi_json() -> String {
    let mut text = document().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

fn document() -> OpenApi {
    let mut info = Info::new("Icecore server", "1");
    info.description = Some("Conventions are in web/API.md.".into());
    info.license = Some(License::new("Apache-2.0 OR MIT"));
    let mut document = OpenApiBuilder::new().info(info).build();
    let mut components = Components::new();
    for Endpoint { need, routes: (schemas, paths, _), .. } in endpoints() {
        components.schemas.extend(schemas);
        for (path, mut item) in paths.paths {
            operations(&mut item).for_each(|operation| annotate(operation, need));
            match document.paths.paths.get_mut(&path) {
                Some(known) => known.merge_operations(item),
                None => drop(document.paths.paths.insert(path, item)),
            }
        }
    }
    components.schemas.extend([
        (ErrorEnvelope::name().into_owned(), ErrorEnvelope::schema()),
        (ErrorDetail::name().into_owned(), ErrorDetail::schema()),
        (<ErrorCode as ToSchema>::name().into_owned(), ErrorCode::schema()),
    ]);
    let cookie = SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new("__Host-icecore-session")));
    let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    components.add_security_scheme(BY_SESSION, cookie);
    components.add_security_scheme(BY_TOKEN, bearer);
    document.components = Some(components);
    document
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch, &mut item.head]
        .into_iter()
        .flatten()
}

/// Every operation says what it needs and that its errors come in the envelope.
fn annotate(operation: &mut Operation, need: Need) {
    let schemes: &[&str] = match need {
        Need::Nothing => &[],
        Need::Person => &[BY_SESSION],
        Need::Agent | Need::Token => &[BY_TOKEN],
        Need::Right(_) | Need::Objects => &[BY_SESSION, BY_TOKEN],
    };
    let requirement = |scheme: &&str| SecurityRequirement::new::<_, [String; 0], String>(*scheme, []);
    // Handlers of different nouns share names; generated clients need unique ones.
    if let (Some(tag), Some(name)) = (operation.tags.iter().flatten().next(), &operation.operation_id) {
        operation.operation_id = Some(format!("{tag}_{name}"));
    }
    operation.security = Some(schemes.iter().map(requirement).collect());
    let extensions = operation.extensions.get_or_insert_default();
    extensions.insert("x-icecore-need".into(), json!(need.name()));
    let envelope = Ref::from_schema_name(ErrorEnvelope::name());
    let content = ContentBuilder::new().schema(Some(envelope)).build();
    let error = ResponseBuilder::new().description("what went wrong").content("application/json", content).build();
    operation.responses.responses.insert("default".into(), error.into());
}
