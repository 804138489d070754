//! As much HTTP/1.1 as tests of the server need: one request a connection, and the connection in the test's hands.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// A test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    head: String,
    body: Vec<u8>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
    /// `Null` where it is no JSON.
    pub body: Value,
    /// The same as it came.
    pub text: String,
    /// The same as bytes, for what is no text.
    pub bytes: Vec<u8>,
}

impl Request {
    /// A request without a body.
    pub fn new(method: &str, path: &str) -> Self {
        let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
        Self { head, body: Vec::new() }
    }

    /// With another header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        // Writing to a String cannot fail.
        let _ = write!(self.head, "{name}: {value}\r\n");
        self
    }

    /// With a JSON body.
    #[must_use]
    pub fn json(mut self, body: &Value) -> Self {
        self.body = body.to_string().into_bytes();
        self.header("content-type", "application/json")
    }

    /// With bytes as they are.
    #[must_use]
    pub fn body(mut self, body: Vec<u8>) -> Self {
        self.body = body;
        self.header("content-type", "application/octet-stream")
    }

    /// With an API token.
    #[must_use]
    pub fn token(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// As it travels: head and body.
    pub fn bytes(&self) -> (Vec<u8>, Vec<u8>) {
        let head = format!("{}content-length: {}\r\n\r\n", self.head, self.body.len());
        (head.into_bytes(), self.body.clone())
    }

    /// Sends it to `address` and reads the answer.
    pub fn send(&self, address: &str) -> Result<Response> {
        self.send_over(connect(address)?)
    }

    /// The same over a connection that is there, such as one with TLS.
    pub fn send_over(&self, mut connection: impl Read + Write) -> Result<Response> {
        let (head, body) = self.bytes();
        connection.write_all(&[head, body].concat())?;
        Response::read(connection)
    }
}

/// A connection that does not wait for ever.
pub fn connect(address: &str) -> Result<TcpStream> {
    let connection = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    Ok(connection)
}

impl Response {
    /// Reads an answer to the end of its connection. One that is cut off is an error.
    pub fn read(mut connection: impl Read) -> Result<Self> {
        let mut bytes = Vec::new();
        connection.read_to_end(&mut bytes)?;
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").context("the answer has no whole head")?;
        let body = bytes.split_off(end + 4);
        let head = String::from_utf8(bytes).context("the answer's head is not UTF-8")?;
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("the answer has no status")?;
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect();
        let length = headers.iter().find(|(name, _)| name == "content-length").map(|(_, value)| value.parse::<usize>());
        if length.transpose()?.is_some_and(|length| length != body.len()) {
            bail!("the answer was cut off: {head}");
        }
        let is_chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
        let body = if is_chunked { unchunked(&body)? } else { body };
        let (text, json) =
            (String::from_utf8_lossy(&body).into_owned(), serde_json::from_slice(&body).unwrap_or_default());
        Ok(Self { status: status.parse()?, headers, body: json, text, bytes: body })
    }

    /// The answer if it has this status, else an error that shows it.
    pub fn expect(self, status: u16) -> Result<Self> {
        if self.status != status {
            bail!("expected status {status}, got {}: {}", self.status, self.body);
        }
        Ok(self)
    }

    /// Value of a header; empty when there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// Code of an error; empty when it is none.
    pub fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }
}

/// A body of unknown length, which tells its end itself.
fn unchunked(mut rest: &[u8]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end =
            rest.windows(2).position(|window| window == b"\r\n").context("the answer was cut off between pieces")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end])?, 16)?;
        rest = &rest[end + 2..];
        if length == 0 {
            return Ok(body);
        }
        body.extend(rest.get(..length).context("the answer was cut off in a piece")?);
        rest = rest.get(length + 2..).context("the answer was cut off behind a piece")?;
    }
}
