//! A proxy that passes each request on, or does to it what a bad day does.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// One request as the proxy sees it.
pub struct Seen {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub headers: Vec<(String, String)>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// What becomes of a request.
pub enum Fate {
    /// It is passed on, and its answer back.
    Pass,
    /// It does not arrive; this is the answer: number, code of S3, more headers.
    Answer(u16, &'static str, &'static str),
    /// It does not arrive; a page of some other service is the answer.
    Page(u16),
    /// It is passed on, and the line is cut after so many bytes of the answer's body.
    CutAnswer(usize),
    /// It is passed on, and the line is cut before the answer.
    LoseAnswer,
    /// The line is cut in the middle of its body; it does not arrive.
    CutRequest,
    /// The answer is what it was when the same was asked before.
    OneLate,
}

type Decide = dyn Fn(&Seen) -> Fate + Send + Sync;

/// The proxy. Its threads end with the process.
pub struct Proxy {
    pub endpoint: String,
    shared: Arc<Shared>,
}

struct Shared {
    behind: String,
    decide: Mutex<Arc<Decide>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    seen: usize,
    /// The last true answers to listings, by target.
    listings: HashMap<String, Vec<u8>>,
}

impl Proxy {
    /// In front of an engine; passes everything on at first.
    pub fn before(endpoint: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = Arc::new(Shared {
            behind: endpoint.trim_start_matches("http://").to_owned(),
            decide: Mutex::new(Arc::new(|_: &Seen| Fate::Pass)),
            state: Mutex::default(),
        });
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let of_threads = shared.clone();
        thread::spawn(move || {
            for line in listener.incoming().flatten() {
                let shared = of_threads.clone();
                // One request a line: the proxy says so. A line that breaks is what it is there for.
                thread::spawn(move || drop(shared.serve(line)));
            }
        });
        Self { endpoint, shared }
    }

    /// What becomes of the requests from now on; they are numbered anew.
    pub fn decide(&self, decide: impl Fn(&Seen) -> Fate + Send + Sync + 'static) {
        self.shared.state.lock().unwrap().seen = 0;
        *self.shared.decide.lock().unwrap() = Arc::new(decide);
    }

    /// Requests since the last decision.
    pub fn seen(&self) -> usize {
        self.shared.state.lock().unwrap().seen
    }
}

impl Shared {
    fn serve(&self, line: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(line.try_clone()?);
        let Some((seen, head, length)) = self.read_head(&mut reader)? else { return Ok(()) };
        let decide = self.decide.lock().unwrap().clone();
        let fate = decide(&seen);
        let mut body = vec![0; if matches!(fate, Fate::CutRequest) { length / 2 } else { length }];
        if seen.header("expect").is_some() {
            (&line).write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        reader.read_exact(&mut body)?;
        match fate {
            Fate::CutRequest => line.shutdown(Shutdown::Both),
            Fate::Answer(status, code, headers) => {
                let xml =
                    format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>by the proxy</Message></Error>");
                answer(&line, status, headers, if seen.method == "HEAD" { "" } else { &xml })
            }
            Fate::Page(status) => answer(&line, status, "", "<html>some other service</html>"),
            Fate::LoseAnswer => {
                self.ask(&head, &body)?;
                line.shutdown(Shutdown::Both)
            }
            Fate::CutAnswer(bytes) => {
                let whole = self.ask(&head, &body)?;
                let body_at = whole.windows(4).position(|four| four == b"\r\n\r\n").map_or(whole.len(), |at| at + 4);
                (&line).write_all(&whole[..whole.len().min(body_at + bytes)])?;
                line.shutdown(Shutdown::Both)
            }
            Fate::OneLate => {
                let now = self.ask(&head, &body)?;
                let before = self.state.lock().unwrap().listings.insert(seen.target.clone(), now.clone());
                (&line).write_all(&before.unwrap_or(now))
            }
            Fate::Pass => (&line).write_all(&self.ask(&head, &body)?),
        }
    }

    /// The request's head as it is passed on: for one request a line.
    fn read_head(&self, reader: &mut impl BufRead) -> std::io::Result<Option<(Seen, String, usize)>> {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(None);
        }
        let mut words = first.split_whitespace();
        let (method, target) =
            (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
        let (mut head, mut headers, mut length) = (first.clone(), Vec::new(), 0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().unwrap_or_default();
            }
            if !name.eq_ignore_ascii_case("connection") && !name.eq_ignore_ascii_case("expect") {
                head += &line;
            }
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        head += "Connection: close\r\n\r\n";
        let mut state = self.state.lock().unwrap();
        state.seen += 1;
        Ok(Some((Seen { method, target, headers }, head, length)))
    }

    fn ask(&self, head: &str, body: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut behind = TcpStream::connect(&self.behind)?;
        behind.write_all(head.as_bytes())?;
        behind.write_all(body)?;
        let mut whole = Vec::new();
        behind.read_to_end(&mut whole)?;
        Ok(whole)
    }
}

fn answer(mut line: &TcpStream, status: u16, headers: &str, body: &str) -> std::io::Result<()> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} Proxy\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n");
    line.write_all(head.as_bytes())?;
    line.write_all(body.as_bytes())
}
