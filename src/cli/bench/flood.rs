//! Clients that send far more than a relay takes, whatever it answers, and read what it says. In: messages, whose
//! they are, and a rate. Out: how many were offered, taken and refused. What the relay leaves in its sockets is not
//! sent later.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::time::{Duration, Instant};

use super::Failure;
use super::client::{Client, Frame, Frames, frame};

/// Threads that flood, each with its part of the connections: few, since they share the machine with the relay.
const THREADS: usize = 2;

/// How long a thread rests after a round over its connections.
const REST: Duration = Duration::from_millis(2);

/// Reads from one connection in one round.
const READS_AT_ONCE: usize = 8;

/// Messages that one connection sends again and again.
#[derive(Default)]
pub(super) struct Messages {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Messages {
    /// Frames of these texts.
    pub(super) fn of(texts: impl IntoIterator<Item = Vec<u8>>) -> Messages {
        let mut messages = Messages::default();
        for text in texts {
            frame(&text, &mut messages.bytes);
            messages.ends.push(messages.bytes.len());
        }
        messages
    }
}

/// What became of a flood.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Flooded {
    /// Messages that it wanted to send.
    pub(super) offered: u64,
    /// Of those, messages that the relay has answered.
    pub(super) answered: u64,
    /// Of those, answers with `rate-limited:`.
    pub(super) rate_limited: u64,
}

/// One connection that floods.
pub(super) struct Flooder {
    stream: TcpStream,
    frames: Frames,
    messages: Messages,
    /// How many bytes of the messages were sent in this round of them.
    sent_bytes: usize,
    /// The message that comes next, or is half sent.
    next: usize,
    /// Messages that were sent, or would have been if the relay had read.
    due: u64,
    flooded: Flooded,
}

fn is_answer(message: &[u8]) -> bool {
    [&b"[\"OK\""[..], b"[\"CLOSED\"", b"[\"COUNT\""].iter().any(|verb| message.starts_with(verb))
}

impl Flooder {
    /// Connects for a client of this address.
    pub(super) fn connect(relay: &str, address: IpAddr, messages: Messages) -> Result<Flooder, Failure> {
        let (stream, frames) = Client::connect_for(relay, address)?.into_parts();
        stream.set_nonblocking(true)?;
        let flooded = Flooded::default();
        Ok(Flooder { stream, frames, messages, sent_bytes: 0, next: 0, due: 0, flooded })
    }

    /// Sends what is due by now, as far as the relay reads.
    fn send(&mut self, due: u64) -> Result<(), Failure> {
        let mut wanted = usize::try_from(due - self.due)?;
        self.flooded.offered += wanted as u64;
        self.due = due;
        let begin = if self.next == 0 { 0 } else { self.messages.ends[self.next - 1] };
        if self.sent_bytes > begin {
            // The rest of one that is half sent.
            wanted = wanted.max(1);
        }
        while wanted > 0 {
            let until = self.messages.ends.len().min(self.next + wanted);
            let part = &self.messages.bytes[self.sent_bytes..self.messages.ends[until - 1]];
            match self.stream.write(part) {
                Ok(bytes) => self.sent_bytes += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            while self.messages.ends.get(self.next).is_some_and(|end| *end <= self.sent_bytes) {
                self.next += 1;
                wanted -= 1;
            }
            if self.next == self.messages.ends.len() {
                (self.next, self.sent_bytes) = (0, 0);
            }
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<(), Failure> {
        for _ in 0..READS_AT_ONCE {
            match self.stream.read(self.frames.space()) {
                Ok(0) => return Err("the relay closed a connection that floods it".into()),
                Ok(bytes) => self.frames.filled(bytes),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            while let Some(frame) = self.frames.next()? {
                // Pings need no answer: who floods is alive.
                let Frame::Message(range) = frame else { continue };
                let message = self.frames.bytes(range);
                if is_answer(message) {
                    self.flooded.answered += 1;
                    let is_limited = message.windows(13).any(|words| words == b"rate-limited:");
                    self.flooded.rate_limited += u64::from(is_limited);
                }
            }
        }
        Ok(())
    }
}

fn flood(flooders: &mut [Flooder], each_per_second: f64, until: Instant) -> Result<(), Failure> {
    let began = Instant::now();
    loop {
        let now = Instant::now();
        if now >= until {
            return Ok(());
        }
        let due = (now.duration_since(began).as_secs_f64() * each_per_second) as u64;
        for flooder in &mut *flooders {
            flooder.send(due)?;
            flooder.receive()?;
        }
        std::thread::sleep(REST);
    }
}

/// Floods until a moment, at so many messages a second over all connections.
pub(super) fn all(mut flooders: Vec<Flooder>, per_second: f64, until: Instant) -> Result<Flooded, Failure> {
    if flooders.is_empty() {
        return Ok(Flooded::default());
    }
    let each_per_second = per_second / flooders.len() as f64;
    let share = flooders.len().div_ceil(THREADS);
    std::thread::scope(|scope| {
        let threads: Vec<_> = flooders
            .chunks_mut(share)
            .map(|part| {
                scope
                    .spawn(move || flood(part, each_per_second, until).map_err(|failure| failure.to_string()))
            })
            .collect();
        let joined =
            threads.into_iter().map(|thread| thread.join().map_err(|_| "a client panicked".to_owned())?);
        joined.collect::<Result<Vec<()>, String>>()
    })?;
    let mut all = Flooded::default();
    for Flooder { flooded, .. } in flooders {
        all.offered += flooded.offered;
        all.answered += flooded.answered;
        all.rate_limited += flooded.rate_limited;
    }
    Ok(all)
}
