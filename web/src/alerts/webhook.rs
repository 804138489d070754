//! Webhooks: one signed `POST` a message. Redirects are not followed, and of the answer only the status counts.

use aws_lc_rs::hmac;
use reqwest::redirect::Policy;
use std::fmt::Write as _;
use std::time::Duration;
use web_api::alert::AlertMessage;

const CONNECT: Duration = Duration::from_secs(10);
/// Where the signature stands.
const HEADER: &str = "icecore-signature";

/// Sends a message. An error is in words for people.
pub async fn send(url: &str, secret: &str, message: &AlertMessage) -> Result<(), String> {
    let body = serde_json::to_vec(message).map_err(|error| error.to_string())?;
    let client = reqwest::Client::builder()
        .redirect(Policy::none())
        .connect_timeout(CONNECT)
        .user_agent(concat!("icecore-server/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| words(&error))?;
    let request = client
        .post(url)
        .header("content-type", "application/json")
        .header(HEADER, signature(secret, message.sent_at.unix_s(), &body))
        .body(body);
    let answer = request.send().await.map_err(|error| words(&error.without_url()))?;
    match answer.status() {
        status if status.is_success() => Ok(()),
        status => Err(format!("it answered {status}")),
    }
}

/// `t=SECONDS,v1=HEX`.
fn signature(secret: &str, at_s: u64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let mut context = hmac::Context::with_key(&key);
    context.update(at_s.to_string().as_bytes());
    context.update(b".");
    context.update(body);
    let mut text = format!("t={at_s},v1=");
    for byte in context.sign().as_ref() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// An error with its causes.
fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let _ = write!(text, ": {inner}");
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_hmac_sha256_over_time_and_body() {
        // Made with: printf '1790000000.{}' | openssl dgst -sha256 -hmac icw_test
        let expected = "t=1790000000,v1=72852f6ef372ba1268093d5a73be80b3386918f1f02643c176447fde6cc2841f";
        assert_eq!(signature("icw_test", 1_790_000_000, b"{}"), expected);
    }
}
