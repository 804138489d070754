//! What `/metrics` shows, in the OpenMetrics text format.

use crate::db::Batch;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use std::time::Duration;
use web_api::unit::Time;

/// A kind of request. Routes are patterns, so their number is bounded.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct Route {
    method: String,
    route: String,
}

/// A kind of answer.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct Answer {
    method: String,
    route: String,
    status: u16,
}

/// How a log-in ended.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct LogInOutcome {
    outcome: &'static str,
}

/// A plan.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct PlanLabel {
    plan: String,
}

/// A state of jobs.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct StateLabel {
    state: &'static str,
}

/// All metrics with their registry.
pub struct Metrics {
    registry: Registry,
    requests: Family<Answer, Counter>,
    request_seconds: Family<Route, Histogram, fn() -> Histogram>,
    log_ins: Family<LogInOutcome, Counter>,
    event_listeners: Gauge,
    database_writes: Counter,
    database_write_seconds: Histogram,
    plan_last_good_seconds: Family<PlanLabel, Gauge>,
    jobs: Family<StateLabel, Gauge>,
}

/// 0.5 ms to 32 s.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.0005, 2.0, 17))
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("icecore"),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(seconds),
            log_ins: Family::default(),
            event_listeners: Gauge::default(),
            database_writes: Counter::default(),
            database_write_seconds: seconds(),
            plan_last_good_seconds: Family::default(),
            jobs: Family::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("http_requests", "Answered requests", metrics.requests.clone());
        let help = "Time to the head of the answer";
        registry.register_with_unit("http_request", help, Unit::Seconds, metrics.request_seconds.clone());
        registry.register("log_ins", "Log-ins by outcome", metrics.log_ins.clone());
        registry.register("event_listeners", "Open streams of events", metrics.event_listeners.clone());
        registry.register("database_writes", "Writes to the database", metrics.database_writes.clone());
        let help = "Time of a transaction with its sync; writes that wait together share one";
        let unit = Unit::Seconds;
        registry.register_with_unit("database_transaction", help, unit, metrics.database_write_seconds.clone());
        let help = "When a plan's last success ended, in seconds since 1970; 0 while it never had one";
        registry.register("plan_last_good_timestamp_seconds", help, metrics.plan_last_good_seconds.clone());
        registry.register("jobs", "Jobs that are not over, by state", metrics.jobs.clone());
        metrics
    }
}

impl Metrics {
    /// Takes over how plans and jobs are now. Plans that are gone are not shown any more.
    pub fn plans_and_jobs(&self, plans: Vec<(String, Option<Time>)>, (queued, running): (u64, u64)) {
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.plan_last_good_seconds.clear();
        for (plan, last_good_at) in plans {
            let seconds = last_good_at.map_or(0, |at| number(at.unix_s()));
            self.plan_last_good_seconds.get_or_create(&PlanLabel { plan }).set(seconds);
        }
        for (state, count) in [("queued", queued), ("running", running)] {
            self.jobs.get_or_create(&StateLabel { state }).set(number(count));
        }
    }

    /// Counts an answered request.
    pub fn request(&self, method: &str, route: &str, status: u16, took: Duration) {
        let (method, route) = (method.to_owned(), route.to_owned());
        let key = Route { method: method.clone(), route: route.clone() };
        self.request_seconds.get_or_create(&key).observe(took.as_secs_f64());
        self.requests.get_or_create(&Answer { method, route, status }).inc();
    }

    /// Counts a log-in.
    pub fn log_in(&self, done: bool) {
        let outcome = if done { "done" } else { "refused" };
        self.log_ins.get_or_create(&LogInOutcome { outcome }).inc();
    }

    /// Counts a transaction.
    pub fn batch(&self, batch: Batch) {
        self.database_writes.inc_by(batch.writes as u64);
        self.database_write_seconds.observe(batch.took.as_secs_f64());
    }

    /// The text.
    pub fn render(&self, event_listeners: usize) -> Result<String, std::fmt::Error> {
        self.event_listeners.set(i64::try_from(event_listeners).unwrap_or(i64::MAX));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_shown() {
        let metrics = Metrics::default();
        metrics.request("GET", "/api/v1/users/{id}", 200, Duration::from_millis(3));
        metrics.log_in(false);
        metrics.batch(Batch { writes: 3, took: Duration::from_millis(2) });
        metrics.plans_and_jobs(vec![("gone".into(), None)], (0, 0));
        metrics.plans_and_jobs(vec![("web".into(), Some(Time::from_ms(5000))), ("new".into(), None)], (2, 1));
        let text = metrics.render(2).unwrap();
        assert!(!text.contains("gone"));
        for line in [
            r#"icecore_http_requests_total{method="GET",route="/api/v1/users/{id}",status="200"} 1"#,
            r#"icecore_log_ins_total{outcome="refused"} 1"#,
            "icecore_database_writes_total 3",
            "icecore_event_listeners 2",
            r#"icecore_plan_last_good_timestamp_seconds{plan="web"} 5"#,
            r#"icecore_plan_last_good_timestamp_seconds{plan="new"} 0"#,
            r#"icecore_jobs{state="queued"} 2"#,
            "# EOF",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
