//! HTTP over connections that are kept, with bodies of bytes; repeated while the server is away, and timed.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(120);
/// How long a request is repeated.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(30);

/// How long answers took, by kind of request.
#[derive(Default)]
pub struct Times(Mutex<BTreeMap<&'static str, Vec<Duration>>>);

impl Times {
    fn add(&self, kind: &'static str, took: Duration) {
        self.0.lock().expect("no panic while held").entry(kind).or_default().push(took);
    }

    /// A line for each kind: how many, and within which time half and 99 of 100 were answered.
    pub fn table(&self) -> String {
        let mut table = String::from("request            count      p50 ms      p99 ms      max ms\n");
        for (kind, times) in &*self.0.lock().expect("no panic while held") {
            let mut times = times.clone();
            times.sort_unstable();
            let ms = |percent| percentile(&times, percent).as_secs_f64() * 1000.0;
            table += &format!("{kind:<16} {:>7} {:>11.1} {:>11.1} {:>11.1}\n", times.len(), ms(50), ms(99), ms(100));
        }
        table
    }
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let count = (sorted.len() * percent).div_ceil(100);
    sorted.get(count.saturating_sub(1)).copied().unwrap_or_default()
}

/// What came back.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Code of an error; empty when it is none.
    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// One who asks a server; connections are kept and shared by its threads.
pub struct Wire {
    address: String,
    token: String,
    idle: Mutex<Vec<BufReader<TcpStream>>>,
    times: Arc<Times>,
}

impl Wire {
    pub fn new(address: &str, token: &str, times: &Arc<Times>) -> Self {
        Self { address: address.into(), token: token.into(), idle: Mutex::default(), times: times.clone() }
    }

    /// Asks until there is an answer that is one: a server that is away or has no room at the moment is asked again.
    pub fn ask(
        &self,
        kind: &'static str,
        (method, path): (&str, &str),
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Answer> {
        let began = Instant::now();
        loop {
            let asked = Instant::now();
            let answer = self.once((method, path), headers, body);
            match answer {
                Ok(answer) if ![408, 429, 503].contains(&answer.status) => {
                    self.times.add(kind, asked.elapsed());
                    return Ok(answer);
                }
                other if began.elapsed() > PATIENCE => return other,
                _ => std::thread::sleep(PAUSE),
            }
        }
    }

    /// The same with JSON.
    pub fn post(&self, kind: &'static str, path: &str, body: &serde_json::Value) -> io::Result<Answer> {
        let headers = [("content-type", "application/json"), ("icecore-agent-protocol", "1")];
        self.ask(kind, ("POST", path), &headers, body.to_string().as_bytes())
    }

    pub fn get(&self, kind: &'static str, path: &str) -> io::Result<Answer> {
        self.ask(kind, ("GET", path), &[], b"")
    }

    /// One try.
    fn once(&self, (method, path): (&str, &str), headers: &[(&str, &str)], body: &[u8]) -> io::Result<Answer> {
        let kept = self.idle.lock().expect("no panic while held").pop();
        let mut connection = match kept {
            Some(connection) => connection,
            None => {
                let stream = TcpStream::connect(&self.address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(ANSWER))?;
                BufReader::new(stream)
            }
        };
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n",
            self.token,
            body.len()
        );
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        connection.get_mut().write_all(head.as_bytes())?;
        connection.get_mut().write_all(body)?;
        let answer = read(&mut connection, method)?;
        if answer.header("connection") != Some("close") {
            self.idle.lock().expect("no panic while held").push(connection);
        }
        Ok(answer)
    }
}

fn read(connection: &mut BufReader<TcpStream>, method: &str) -> io::Result<Answer> {
    let mut line = String::new();
    let mut next = |connection: &mut BufReader<TcpStream>| -> io::Result<String> {
        line.clear();
        match connection.read_line(&mut line)? {
            // A line that was cut is none: its half may look like an end of the headers, or like a shorter length.
            _ if !line.ends_with('\n') => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    };
    let status = next(connection)?.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or(io::ErrorKind::InvalidData)?;
    let mut headers = Vec::new();
    loop {
        let line = next(connection)?;
        match line.split_once(':') {
            Some((name, value)) => headers.push((name.to_lowercase(), value.trim().to_owned())),
            None if line.is_empty() => break,
            None => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
    let mut answer = Answer { status, headers, body: Vec::new() };
    let has_body = method != "HEAD" && ![204, 304].contains(&status);
    if has_body {
        let length = answer.header("content-length").and_then(|length| length.parse().ok());
        answer.body = vec![0; length.ok_or(io::ErrorKind::InvalidData)?];
        connection.read_exact(&mut answer.body)?;
    }
    Ok(answer)
}
