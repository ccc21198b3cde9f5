//! A stream that reads ahead and gathers what is written, without holding memory while it is idle.
//!
//! tungstenite reads in steps as small as its buffer and writes each message by itself. Between it and
//! the socket this reads as much as there is in one call, and writes all that has gathered in one call;
//! both buffers exist only while there is something in them.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What one read takes from the socket at most. The buffer is one for each thread.
const READ_BYTES_MAX: usize = 64 * 1024;

/// What gathers before it is written without being asked to.
const GATHERED_BYTES_MAX: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES_MAX]);
}

/// See the module.
pub(super) struct Gathering<S> {
    stream: S,
    ahead: Vec<u8>,
    ahead_used: usize,
    gathered: Vec<u8>,
    written: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Gathering<S> {
    /// Wraps a stream of which `ahead` was already read.
    pub(super) fn new(stream: S, ahead: Vec<u8>) -> Self {
        Gathering { stream, ahead, ahead_used: 0, gathered: Vec::new(), written: 0 }
    }

    fn poll_write_gathered(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.gathered.len() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.gathered[self.written..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
        }
        self.gathered = Vec::new();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gathering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead_used == self.ahead.len() {
            let this = &mut *self;
            return SCRATCH.with_borrow_mut(|scratch| {
                let mut read = ReadBuf::new(scratch);
                ready!(Pin::new(&mut this.stream).poll_read(cx, &mut read))?;
                let (now, later) = read.filled().split_at(read.filled().len().min(out.remaining()));
                out.put_slice(now);
                this.ahead = later.to_vec();
                this.ahead_used = 0;
                Poll::Ready(Ok(()))
            });
        }
        let end = self.ahead.len().min(self.ahead_used + out.remaining());
        out.put_slice(&self.ahead[self.ahead_used..end]);
        self.ahead_used = end;
        if end == self.ahead.len() {
            self.ahead = Vec::new();
            self.ahead_used = 0;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Gathering<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.gathered.len() >= GATHERED_BYTES_MAX {
            ready!(self.poll_write_gathered(cx))?;
        }
        self.gathered.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_gathered(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_gathered(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
