//! zlib at work: one compressor and one decompressor for each thread, made anew for each message by a reset, so that
//! connections hold none. A context is the end of what was said before, which is shown to them again. In: bytes. Out:
//! bytes as RFC 7692 has them, without the four that end each flush.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::incoming::too_long;
use super::offers::BITS_MAX;
use crate::memory::COMPRESSION_THREAD_BYTES;
use crate::net::socket::Unreadable;

/// What each flush ends with, and messages are sent without (RFC 7692, section 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// Blocks of one message that say they are the last; each has the decompressor begin anew, and no client needs more.
const LAST_BLOCKS_MAX: usize = 8;

/// What a thread keeps of events that it compressed for the next one who is sent them, in bytes of both forms.
const KEPT_BYTES_MAX: usize = 512 * 1024;

/// A longer event is not kept.
const KEPT_EACH_BYTES_MAX: usize = KEPT_BYTES_MAX / 4;

/// What an event that is kept takes besides.
const KEPT_OVERHEAD_BYTES: usize = 128;

/// A buffer of at most this size is kept for the thread's next message.
const SPARE_BYTES_MAX: usize = 256 * 1024;

// All of it fits what the bound on memory has for a thread: compressors and decompressor take less than 1 MiB.
const _: () =
    assert!((KEPT_BYTES_MAX + 2 * SPARE_BYTES_MAX) as u64 + 1024 * 1024 <= COMPRESSION_THREAD_BYTES);

thread_local! {
    static MACHINE: RefCell<Machine> = RefCell::new(Machine::default());
}

/// Which state of which connection's context a compressor is in: the connection's number, and messages up to now.
pub(super) type Moment = (u64, u64);

/// What a thread has.
#[derive(Default)]
struct Machine {
    deflater: Option<Deflater>,
    /// The same for connections with a context, with the state it is in.
    in_context: Option<(Deflater, Option<Moment>)>,
    inflater: Option<Decompress>,
    kept: Kept,
    plain: Vec<u8>,
    packed: Vec<u8>,
}

struct Deflater {
    level: u8,
    bits: u8,
    zlib: Compress,
}

impl Deflater {
    fn new(level: u8, bits: u8) -> Deflater {
        let zlib = Compress::new_with_window_bits(Compression::new(u32::from(level)), false, bits);
        Deflater { level, bits, zlib }
    }

    /// The one in place, if it is of this kind, or a new one.
    fn of(place: &mut Option<Deflater>, level: u8) -> &mut Deflater {
        let is_fit = place.as_ref().is_some_and(|deflater| deflater.level == level);
        if !is_fit {
            *place = None;
        }
        place.get_or_insert_with(|| Deflater::new(level, BITS_MAX))
    }

    /// Appends these bytes compressed, up to the end of a flush.
    fn add(&mut self, bytes: &[u8], flush: FlushCompress, out: &mut Vec<u8>) -> bool {
        let began = self.zlib.total_in();
        let mut used = 0;
        loop {
            out.reserve((bytes.len() - used) / 2 + 64);
            if self.zlib.compress_vec(&bytes[used..], out, flush).is_err() {
                return false;
            }
            used = usize::try_from(self.zlib.total_in() - began).unwrap_or(bytes.len());
            // Room that is left says that the flush is at its end.
            if used == bytes.len() && out.len() < out.capacity() {
                return true;
            }
        }
    }

    /// A message that refers to nothing before it, and to nothing within it that is farther away than a window.
    fn message(&mut self, bytes: &[u8], bits: u8, out: &mut Vec<u8>) -> bool {
        self.zlib.reset();
        let window = 1 << bits;
        let mut parts = bytes.chunks(window).peekable();
        while let Some(part) = parts.next() {
            // After a full flush nothing refers to what was before it.
            let flush = if parts.peek().is_some() && bits < BITS_MAX {
                FlushCompress::Full
            } else if parts.peek().is_some() {
                FlushCompress::None
            } else {
                FlushCompress::Sync
            };
            if !self.add(part, flush, out) {
                return false;
            }
        }
        cut_tail(out)
    }
}

fn cut_tail(out: &mut Vec<u8>) -> bool {
    let is_whole = out.ends_with(&TAIL);
    if is_whole {
        out.truncate(out.len() - TAIL.len());
    }
    is_whole
}

/// Where an event's JSON lies in memory, and how long it is.
type Place = (usize, usize);

/// An event's JSON, and the same compressed.
type Both = (Bytes, Box<[u8]>);

/// Events as they were compressed, by where they lie in memory: all who are sent one share it.
#[derive(Default)]
struct Kept {
    by_place: HashMap<Place, Both>,
    in_order: VecDeque<Place>,
    bytes: usize,
}

fn place(body: &Bytes) -> Place {
    (body.as_ptr() as usize, body.len())
}

impl Kept {
    fn put(&mut self, body: &Bytes, packed: &[u8]) {
        let bytes = |body: &Bytes, packed: &[u8]| body.len() + packed.len() + KEPT_OVERHEAD_BYTES;
        if bytes(body, packed) > KEPT_EACH_BYTES_MAX {
            return;
        }
        self.bytes += bytes(body, packed);
        self.by_place.insert(place(body), (body.clone(), packed.into()));
        self.in_order.push_back(place(body));
        while self.bytes > KEPT_BYTES_MAX
            && let Some((body, packed)) =
                self.in_order.pop_front().and_then(|oldest| self.by_place.remove(&oldest))
        {
            self.bytes -= bytes(&body, &packed);
        }
    }
}

/// Hands over an event's JSON, and the bracket that ends its message, compressed by themselves; `then` says whether that
/// was sent.
pub(super) fn event(body: &Bytes, level: u8, then: impl FnOnce(&[u8]) -> bool) -> bool {
    MACHINE.with_borrow_mut(|machine| {
        let Machine { deflater, kept, plain, packed, .. } = machine;
        // What is kept holds the event, so nothing else can lie at its place.
        if let Some((_, packed)) = kept.by_place.get(&place(body)) {
            return then(packed);
        }
        gather(&[body, b"]"], plain, packed);
        let is_done = Deflater::of(deflater, level).message(plain, BITS_MAX, packed);
        if is_done {
            kept.put(body, packed);
        }
        let is_sent = is_done && then(packed);
        trim(plain);
        trim(packed);
        is_sent
    })
}

/// Hands over a message of these pieces compressed, within a window of `bits`.
pub(super) fn message<T>(pieces: &[&[u8]], level: u8, bits: u8, then: impl FnOnce(&[u8]) -> T) -> Option<T> {
    MACHINE.with_borrow_mut(|machine| {
        let Machine { deflater, plain, packed, .. } = machine;
        gather(pieces, plain, packed);
        let is_done = Deflater::of(deflater, level).message(plain, bits, packed);
        let done = is_done.then(|| then(packed));
        trim(plain);
        trim(packed);
        done
    })
}

/// The same where it may refer to `window`, what was said before. The compressor goes on where it is at this moment of
/// the connection already. `then` says whether it was sent.
pub(super) fn message_in_context(
    pieces: &[&[u8]],
    (level, bits): (u8, u8),
    window: &[u8],
    (number, messages): Moment,
    then: impl FnOnce(&[u8]) -> bool,
) -> bool {
    MACHINE.with_borrow_mut(|machine| {
        let Machine { in_context, plain, packed, .. } = machine;
        gather(pieces, plain, packed);
        let is_fit = in_context.as_ref().is_some_and(|(it, _)| it.level == level && it.bits == bits);
        if !is_fit {
            *in_context = None;
        }
        let (deflater, moment) = in_context.get_or_insert_with(|| (Deflater::new(level, bits), None));
        let mut is_ready = true;
        if *moment != Some((number, messages)) {
            deflater.zlib.reset();
            is_ready = window.is_empty() || deflater.zlib.set_dictionary(window).is_ok();
        }
        *moment = None;
        let is_done = is_ready && deflater.add(plain, FlushCompress::Sync, packed) && cut_tail(packed);
        let is_sent = is_done && then(packed);
        if is_sent {
            *moment = Some((number, messages + 1));
        }
        trim(plain);
        trim(packed);
        is_sent
    })
}

fn gather(pieces: &[&[u8]], plain: &mut Vec<u8>, packed: &mut Vec<u8>) {
    plain.clear();
    packed.clear();
    pieces.iter().for_each(|piece| plain.extend_from_slice(piece));
}

fn trim(buffer: &mut Vec<u8>) {
    if buffer.capacity() > SPARE_BYTES_MAX {
        *buffer = Vec::new();
    }
}

/// What a client compressed, as it was; `window` is what it may refer to. However little it came as, it is given up at
/// `bytes_max`.
///
/// # Errors
/// When it is longer, or no deflate (RFC 1951).
pub(super) fn inflate(mut packed: Vec<u8>, window: &[u8], bytes_max: usize) -> Result<Vec<u8>, Unreadable> {
    packed.extend_from_slice(&TAIL);
    MACHINE.with_borrow_mut(|machine| {
        let zlib = machine.inflater.get_or_insert_with(|| Decompress::new(false));
        let mut out = Vec::new();
        begin(zlib, window, &out)?;
        let (mut used, mut last_blocks) = (0, 0);
        loop {
            // One byte of room beyond shows that it is longer.
            let room = (2 * out.len()).max(4 * packed.len()).max(64).min(bytes_max + 1 - out.len());
            out.reserve_exact(room);
            let (in_before, out_before) = (zlib.total_in(), out.len());
            let status = zlib
                .decompress_vec(&packed[used..], &mut out, FlushDecompress::Sync)
                .map_err(|_| Unreadable::Deflate)?;
            let taken = usize::try_from(zlib.total_in() - in_before).unwrap_or(0);
            used += taken;
            if out.len() > bytes_max {
                return Err(too_long(out.len(), bytes_max).into());
            }
            if status == Status::StreamEnd {
                last_blocks += 1;
                // What follows a last block may be the flush's end alone.
                if packed.len() - used <= TAIL.len() {
                    return Ok(out);
                }
                if last_blocks == LAST_BLOCKS_MAX {
                    return Err(Unreadable::Deflate);
                }
                begin(zlib, window, &out)?;
            } else if out.len() < out.capacity() && (used == packed.len() || taken == 0) {
                return Ok(out);
            } else if taken == 0 && out.len() == out_before {
                return Err(Unreadable::Deflate);
            }
        }
    })
}

/// Makes the decompressor ready for what refers to a window and what was read since.
fn begin(zlib: &mut Decompress, window: &[u8], read: &[u8]) -> Result<(), Unreadable> {
    zlib.reset(false);
    let size = 1 << BITS_MAX;
    let read = &read[read.len().saturating_sub(size)..];
    let window = &window[window.len().saturating_sub(size - read.len())..];
    for part in [window, read] {
        if !part.is_empty() {
            zlib.set_dictionary(part).map_err(|_| Unreadable::Deflate)?;
        }
    }
    Ok(())
}
