//! Following the events: from now on, after a while away, too slowly, and to the end.

use crate::db::{Error, event};
use crate::events::RING;
use crate::test_app::{Login, TestApp};
use axum::body::BodyDataStream;
use futures_core::Stream as _;
use std::pin::pin;
use web_api::role::{Right, Role};

struct Follower {
    stream: BodyDataStream,
    text: String,
}

impl Follower {
    async fn new(app: &TestApp, login: &Login, last_event_id: Option<u64>) -> Self {
        let mut ask = app.get("/api/v1/events").by(login);
        if let Some(number) = last_event_id {
            ask = ask.header("last-event-id", &number.to_string());
        }
        let response = ask.stream().await;
        assert_eq!(response.status(), 200);
        Self { stream: response.into_body().into_data_stream(), text: String::new() }
    }

    /// The next event as (id, kind); `None` at the end of the stream.
    async fn next(&mut self) -> Option<(u64, String)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field =
                    |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
                let found = (field("id:").parse().unwrap_or(0), field("event:").to_owned());
                self.text = rest.to_owned();
                return Some(found);
            }
            let mut stream = pin!(&mut self.stream);
            let bytes = std::future::poll_fn(|context| stream.as_mut().poll_next(context)).await?.ok()?;
            self.text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }
}

async fn reader(app: &TestApp) -> Login {
    let ada = app.user("ada", Role::Viewer).await;
    app.token(ada, &[Right::Read]).await
}

async fn tell(app: &TestApp, kind: &'static str, times: usize) {
    let now = app.app.now();
    let told = app.app.database.write(move |write| {
        for _ in 0..times {
            event::append(write, now, kind, "x")?;
        }
        Ok::<_, Error>(())
    });
    told.await.unwrap();
}

#[tokio::test]
async fn events_come_in_order_from_now_on() {
    let app = TestApp::new();
    let login = reader(&app).await;
    tell(&app, "before", 1).await;
    let mut follower = Follower::new(&app, &login, None).await;
    tell(&app, "first", 1).await;
    tell(&app, "second", 1).await;
    assert_eq!(follower.next().await, Some((2, "first".into())));
    assert_eq!(follower.next().await, Some((3, "second".into())));
}

#[tokio::test]
async fn who_comes_back_gets_what_was_missed_once() {
    let app = TestApp::new();
    let login = reader(&app).await;
    tell(&app, "missed", 700).await;
    let mut follower = Follower::new(&app, &login, Some(1)).await;
    tell(&app, "new", 1).await;
    for number in 2..=700 {
        assert_eq!(follower.next().await, Some((number, "missed".into())));
    }
    assert_eq!(follower.next().await, Some((701, "new".into())));
}

#[tokio::test]
async fn a_gap_is_told_when_events_are_gone_or_were_never_there() {
    let app = TestApp::new();
    let login = reader(&app).await;
    tell(&app, "old", 5).await;
    app.app
        .database
        .write(|write| Ok::<_, Error>(write.execute("DELETE FROM events WHERE number < 4", [])?))
        .await
        .unwrap();
    for last_seen in [1, 99] {
        let mut follower = Follower::new(&app, &login, Some(last_seen)).await;
        assert_eq!(follower.next().await, Some((0, "gap".into())), "{last_seen}");
        assert_eq!(follower.next().await, Some((4, "old".into())), "{last_seen}");
    }
    let mut follower = Follower::new(&app, &login, Some(3)).await;
    assert_eq!(follower.next().await, Some((4, "old".into())));
    let refused = app.get("/api/v1/events").by(&login).header("last-event-id", "x").send().await;
    assert_eq!(refused.code(), "bad_request");
}

#[tokio::test]
async fn who_is_too_slow_is_cut_off_and_can_come_back() {
    let app = TestApp::new();
    let login = reader(&app).await;
    let mut slow = Follower::new(&app, &login, None).await;
    let total = RING * 2;
    tell(&app, "flood", total).await;
    let mut last = 0;
    while let Some((number, _)) = slow.next().await {
        assert_eq!(number, last + 1, "nothing is left out before the end");
        last = number;
    }
    assert!(last < total as u64);
    let mut again = Follower::new(&app, &login, Some(last)).await;
    assert_eq!(again.next().await.map(|(number, _)| number), Some(last + 1));
}

#[tokio::test]
async fn streams_end_when_the_server_stops() {
    let app = TestApp::new();
    let login = reader(&app).await;
    let mut follower = Follower::new(&app, &login, None).await;
    app.stop.send_replace(true);
    assert_eq!(follower.next().await, None);
}
