//! Pages: limits, cursors, and the one item more that tells whether another page follows.

use super::error::{ApiError, ApiResult};
use std::fmt::Display;
use std::str::FromStr;
use web_api::error::ErrorCode;
use web_api::page::{DEFAULT_LIMIT, MAX_LIMIT, Page, PageQuery};

/// A page that is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<C> {
    /// Begins after this item; nothing for the first page.
    pub after: Option<C>,
    limit: u32,
}

impl<C: FromStr + Display> Wanted<C> {
    /// From the URL's parameters.
    pub fn parse(query: &PageQuery) -> ApiResult<Self> {
        let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(ApiError::new(ErrorCode::BadRequest, format!("limit is {limit}; allowed is 1 to {MAX_LIMIT}")));
        }
        let cursor = |text: &String| {
            text.parse().map_err(|_| {
                ApiError::new(ErrorCode::BadRequest, "the cursor is not one of this list")
                    .next("take it from next_cursor of the page before, or leave it out")
            })
        };
        Ok(Self { after: query.cursor.as_ref().map(cursor).transpose()?, limit })
    }

    /// How many items to fetch.
    pub fn fetch(&self) -> u32 {
        self.limit + 1
    }

    /// The page of what was fetched.
    pub fn page<T>(&self, mut items: Vec<T>, cursor: impl Fn(&T) -> C) -> Page<T> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        let next_cursor = items.last().filter(|_| more).map(|last| cursor(last).to_string());
        Page { items, next_cursor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(limit: Option<u32>, cursor: Option<&str>) -> PageQuery {
        PageQuery { limit, cursor: cursor.map(str::to_owned) }
    }

    #[test]
    fn the_last_page_has_no_cursor() {
        let wanted = Wanted::<u64>::parse(&query(Some(2), None)).unwrap();
        assert_eq!(wanted.fetch(), 3);
        let page = wanted.page(vec![5, 6, 7], |item| *item);
        assert_eq!((page.items, page.next_cursor.as_deref()), (vec![5, 6], Some("6")));
        assert_eq!(wanted.page(vec![7, 8], |item| *item).next_cursor, None);
    }

    #[test]
    fn limits_and_cursors_that_cannot_be_are_refused() {
        for bad in [query(Some(0), None), query(Some(501), None), query(None, Some("x")), query(None, Some(""))] {
            assert_eq!(Wanted::<u64>::parse(&bad).unwrap_err().code(), ErrorCode::BadRequest, "{bad:?}");
        }
        assert_eq!(Wanted::<u64>::parse(&query(None, Some("9"))).unwrap().after, Some(9));
    }
}
