//! What became of each machine's backups, day by day: the picture of the last month.

use crate::db;
use crate::http::body::Query;
use crate::http::{ApiError, ApiResult};
use crate::scheduler::calendar::zone;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use jiff::{Timestamp, ToSpan as _};
use web_api::error::ErrorCode;
use web_api::job_day::{AskJobDays, JobDays, MAX_DAYS};
use web_api::unit::Time;

const DAYS: u32 = 30;

/// How the backups of each machine ended on each of the last days.
#[utoipa::path(get, path = "/api/v1/job-days", tag = "jobs", params(AskJobDays),
    responses((status = 200, body = JobDays)))]
pub async fn days(State(app): State<App>, Query(query): Query<AskJobDays>) -> ApiResult<Json<JobDays>> {
    let count = query.days.unwrap_or(DAYS);
    if !(1..=MAX_DAYS).contains(&count) {
        return Err(ApiError::new(ErrorCode::BadRequest, format!("days is 1 to {MAX_DAYS}")));
    }
    let days = last_days(count, query.zone.as_deref().unwrap_or("UTC"), app.now())?;
    let names = days.iter().map(|day| day.name.clone()).collect();
    let read = move |connection: &rusqlite::Connection| {
        let mut items = Vec::new();
        for day in &days {
            items.extend(db::job_day::between(connection, &day.name, day.begins_at, day.ends_at)?);
        }
        Ok::<_, db::Error>(items)
    };
    let items = app.database.read(read).await?;
    Ok(Json(JobDays { days: names, items }))
}

struct Day {
    name: String,
    begins_at: Time,
    ends_at: Time,
}

/// The last days up to today, the oldest first. A day on which the clocks change has 23 or 25 hours.
fn last_days(count: u32, zone_name: &str, now: Time) -> ApiResult<Vec<Day>> {
    let wrong = |why: String| ApiError::new(ErrorCode::BadRequest, "the days cannot be told").why(why);
    let zone = zone(zone_name).map_err(|error| wrong(error.0))?;
    let today =
        Timestamp::from_millisecond(now.ms()).map_err(|error| wrong(error.to_string()))?.to_zoned(zone.clone()).date();
    let begin = |days_ago: i64| {
        let date = today.checked_sub(days_ago.days())?;
        let at = date.to_zoned(zone.clone())?.timestamp();
        Ok::<_, jiff::Error>((date, Time::from(at)))
    };
    let day = |ago: u32| {
        let (date, begins_at) = begin(i64::from(ago))?;
        Ok::<_, jiff::Error>(Day { name: date.to_string(), begins_at, ends_at: begin(i64::from(ago) - 1)?.1 })
    };
    (0..count).rev().map(day).collect::<Result<_, jiff::Error>>().map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::last_days;
    use web_api::unit::Time;

    const HOUR_MS: i64 = 3_600_000;

    #[test]
    fn days_follow_each_other_without_a_gap_also_where_the_clocks_change() {
        // 2026-10-26 12:00 in Berlin, the day after summer time ended.
        let now = Time::from_ms(1_793_012_400_000);
        let days = last_days(3, "Europe/Berlin", now).unwrap();
        let names: Vec<_> = days.iter().map(|day| day.name.as_str()).collect();
        assert_eq!(names, ["2026-10-24", "2026-10-25", "2026-10-26"]);
        let hours: Vec<_> = days.iter().map(|day| (day.ends_at.ms() - day.begins_at.ms()) / HOUR_MS).collect();
        assert_eq!(hours, [24, 25, 24]);
        assert!(days.windows(2).all(|pair| pair[0].ends_at == pair[1].begins_at));
        assert!(days[2].begins_at <= now && now < days[2].ends_at);
    }

    #[test]
    fn an_unknown_zone_is_refused() {
        assert!(last_days(3, "Europe/Nowhere", Time::from_ms(0)).is_err());
    }
}
