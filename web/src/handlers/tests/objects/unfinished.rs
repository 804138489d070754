//! Packs whose line breaks: what came is kept for the machine that sends the rest, and is a pack only as a whole.

use super::{OBJECTS, Scene, machine};
use crate::test_app::{Answer, Login};
use axum::body::{Body, Bytes};
use axum::http::Method;
use futures_core::Stream;
use http_body_util::Limited;
use repo_format::pack::{FinishedPack, MAX_PACK_BYTES, PackKind};
use serde_json::json;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use web_api::object::to_url;

/// Sends some bytes, and breaks.
struct Breaks(Option<Bytes>);

impl Stream for Breaks {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(Some(self.0.take().ok_or_else(|| io::ErrorKind::ConnectionReset.into())))
    }
}

impl Scene {
    async fn break_off(&self, pack: &FinishedPack, bytes: &[u8]) {
        let body = Body::from_stream(Breaks(Some(Bytes::copy_from_slice(bytes))));
        let answer = self.put(&PackKind::Data.key(&pack.id), body).send().await;
        assert_eq!(answer.code(), "timed_out", "{}", answer.body);
    }

    /// The same, of a body that says how long it will be.
    async fn break_off_saying(&self, pack: &FinishedPack, bytes: &[u8], length: usize) {
        let body = Body::from_stream(Breaks(Some(Bytes::copy_from_slice(bytes))));
        let body = Body::new(Limited::new(body, length));
        let answer = self.put(&PackKind::Data.key(&pack.id), body).send().await;
        assert_eq!(answer.code(), "timed_out", "{}", answer.body);
    }

    async fn send_rest(&self, pack: &FinishedPack, offset: usize, bytes: &[u8]) -> Answer {
        let put = self.put(&PackKind::Data.key(&pack.id), bytes.to_vec());
        put.header("upload-offset", &offset.to_string()).send().await
    }

    async fn received(&self, pack: &FinishedPack, by: &Login) -> Answer {
        let path = OBJECTS.replace("objects", "uploads");
        self.app.get(&format!("{path}/{}", to_url(&PackKind::Data.key(&pack.id)))).by(by).send().await
    }
}

#[tokio::test]
async fn the_rest_of_a_pack_whose_line_broke_makes_it_whole() {
    let scene = Scene::new().await;
    let pack = scene.pack(1);
    // Twice, and less than is gathered before it is written.
    scene.break_off(&pack, &pack.bytes[..1000]).await;
    assert_eq!(scene.received(&pack, &scene.machine).await.body["received_bytes"], 1000);
    let body = Body::from_stream(Breaks(Some(Bytes::copy_from_slice(&pack.bytes[1000..40_000]))));
    let more = scene.put(&PackKind::Data.key(&pack.id), body).header("upload-offset", "1000").send().await;
    assert_eq!(more.code(), "timed_out", "{}", more.body);
    assert_eq!(scene.received(&pack, &scene.machine).await.body["received_bytes"], 40_000);
    assert!(scene.repo.store().keys("data/").unwrap().is_empty(), "a part is no object");
    assert_eq!(scene.send_rest(&pack, 40_000, &pack.bytes[40_000..]).await.status, 204);
    assert_eq!(scene.repo.store().get(&PackKind::Data.key(&pack.id)).unwrap(), pack.bytes);
    assert_eq!(scene.received(&pack, &scene.machine).await.body["received_bytes"], 0);
}

#[tokio::test]
async fn a_rest_that_does_not_fit_is_refused_and_nothing_of_the_pack_is_kept() {
    let scene = Scene::new().await;
    let (pack, other) = (scene.pack(1), scene.pack(2));
    scene.break_off(&pack, &pack.bytes[..1000]).await;
    let answer = scene.send_rest(&pack, 1000, &other.bytes[1000..]).await;
    assert_eq!(answer.code(), "invalid", "{}", answer.body);
    assert_eq!(scene.received(&pack, &scene.machine).await.body["received_bytes"], 0);
    let left = std::fs::read_dir(scene.dir.path().join("main/tmp")).unwrap().count();
    assert_eq!(left, 0, "its file is gone");
    assert_eq!(scene.put_pack(&pack).await.status, 204);
}

#[tokio::test]
async fn what_is_kept_is_for_the_machine_that_sent_it_and_at_its_end_alone() {
    let scene = Scene::new().await;
    let pack = scene.pack(1);
    scene.break_off(&pack, &pack.bytes[..1000]).await;
    let (other, _) = machine(&scene.app, &scene.keys).await;
    assert_eq!(scene.received(&pack, &other).await.body["received_bytes"], 0);
    assert_eq!(scene.received(&pack, &scene.admin).await.code(), "forbidden");
    for offset in [999, 1001] {
        assert_eq!(scene.send_rest(&pack, offset, &pack.bytes[offset..]).await.code(), "timed_out");
    }
    for nonsense in ["-1", "x", "99999999999"] {
        let put = scene.put(&PackKind::Data.key(&pack.id), pack.bytes.clone()).header("upload-offset", nonsense);
        assert_eq!(put.send().await.code(), "invalid");
    }
    let path = format!("{}/leases.aa", OBJECTS.replace("objects", "uploads"));
    let lease = scene.app.ask(Method::GET, &path).by(&scene.machine).send().await;
    assert_eq!(lease.code(), "not_found", "records come as a whole");
    assert_eq!(scene.send_rest(&pack, 1000, &pack.bytes[1000..]).await.status, 204);
}

#[tokio::test]
async fn who_says_little_at_first_gets_no_room_above_the_quota_by_going_on() {
    let scene = Scene::new().await;
    assert_eq!(scene.limit(json!({"quota_bytes": 1 << 20})).await.status, 200);
    let pack = scene.pack(1);
    scene.break_off_saying(&pack, &pack.bytes[..1], 2).await;
    let rest = vec![0; 2 << 20];
    assert_eq!(scene.send_rest(&pack, 1, &rest).await.code(), "quota_exceeded");
    assert_eq!(scene.put_pack(&pack).await.status, 204, "within it all is as before");
}

#[tokio::test]
async fn a_part_counts_to_the_quota_until_it_is_given_up_for_another_pack() {
    let scene = Scene::new().await;
    assert_eq!(scene.limit(json!({"quota_bytes": MAX_PACK_BYTES})).await.status, 200);
    let (first, second) = (scene.pack(1), scene.pack(2));
    // It does not say how long it will be.
    scene.break_off(&first, &first.bytes[..1000]).await;
    assert_eq!(scene.received(&first, &scene.machine).await.body["received_bytes"], 1000);
    assert_eq!(
        scene.put_pack(&second).await.status,
        204,
        "a session that begins anew is not kept out by what the last one left"
    );
    assert_eq!(scene.received(&first, &scene.machine).await.body["received_bytes"], 0);
}
