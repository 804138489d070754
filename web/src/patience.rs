//! How long a connection may keep the server waiting: bytes that it does not take, and a beginning that does not come.
//!
//! Once it is known that somebody speaks HTTP, hyper looks after heads. Before that nobody would: a client that sends nothing at all, or the
//! beginning of what might become HTTP/2, would hold its place for ever.

use axum_server::accept::Accept;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_io_timeout::TimeoutStream;

/// With so many bytes it is decided which HTTP somebody speaks: those with which HTTP/2 begins.
const BEGINNING_BYTES: usize = 24;

/// Accepts connections and gives each a limit on how long it may take no byte.
#[derive(Clone, Copy)]
pub struct Patience {
    /// That limit.
    pub stalled_after: Duration,
}

impl<S: Send + 'static> Accept<TcpStream, S> for Patience {
    type Stream = Pin<Box<TimeoutStream<TcpStream>>>;
    type Service = S;
    type Future = std::future::Ready<io::Result<(Self::Stream, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let stalled_after = self.stalled_after;
        let patient = stream.set_nodelay(true).map(|()| {
            let mut stream = TimeoutStream::new(stream);
            stream.set_write_timeout(Some(stalled_after));
            (Box::pin(stream), service)
        });
        std::future::ready(patient)
    }
}

/// Accepts as `inner` does, TLS included, and gives what comes out of it a limit on how long its beginning may take.
#[derive(Clone)]
pub struct Punctual<A> {
    /// Accepts.
    pub inner: A,
    /// That limit.
    pub begins_within: Duration,
}

/// What accepting has become once it is done.
type Accepting<S, V> = Pin<Box<dyn Future<Output = io::Result<(Beginning<S>, V)>> + Send>>;

impl<A, S> Accept<TcpStream, S> for Punctual<A>
where
    A: Accept<TcpStream, S> + 'static,
    A::Future: Send + 'static,
    S: 'static,
{
    type Stream = Beginning<A::Stream>;
    type Service = A::Service;
    type Future = Accepting<A::Stream, A::Service>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let (accepting, within) = (self.inner.accept(stream, service), self.begins_within);
        Box::pin(async move {
            let (stream, service) = accepting.await?;
            let limit = Some(Box::pin(tokio::time::sleep(within)));
            Ok((Beginning { stream, missing_bytes: BEGINNING_BYTES, limit }, service))
        })
    }
}

/// A connection that fails when its first bytes do not come in time.
pub struct Beginning<S> {
    stream: S,
    missing_bytes: usize,
    limit: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Beginning<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buf);
        self.missing_bytes = self.missing_bytes.saturating_sub(buf.filled().len() - before);
        if self.missing_bytes == 0 {
            self.limit = None;
        }
        let is_late = self.limit.as_mut().is_some_and(|limit| limit.as_mut().poll(context).is_ready());
        if is_late { Poll::Ready(Err(io::ErrorKind::TimedOut.into())) } else { read }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Beginning<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
