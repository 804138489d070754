//! Pages of long lists. A cursor is opaque to clients and stays valid when items come or go.

use serde::{Deserialize, Serialize};

/// Most items in a page.
pub const MAX_LIMIT: u32 = 500;
/// Items in a page when none is asked for.
pub const DEFAULT_LIMIT: u32 = 100;

/// Which page of a list is wanted.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    /// Most items wanted, 1 to 500.
    #[cfg_attr(feature = "openapi", param(minimum = 1, maximum = 500, default = 100))]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before; nothing for the first page.
    pub cursor: Option<String>,
}

/// A part of a list.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Page<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// Where the next page begins; missing on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}
