//! sled's log as bytes: which messages a segment holds, and where it is damaged. In: bytes of segments, as sled 0.34.7
//! lays them out. Out: messages whose checksums are right, and what they mean. Pure; never panics on what a disk may
//! hold.
//!
//! A segment has a header of 20 bytes and then messages: `crc:4 kind:1 length segment page` and a body; the last
//! three are numbers of one to nine bytes. Each message so tells of which segment of the log it is, and with its place
//! when it was written, wherever that segment lies in the file. A message whose checksum is wrong is *doubtful*, if it
//! has a form and ends where another one begins: most of what it holds may be right.

/// How long a segment is; the store never sets another length.
pub(in crate::store) const SEGMENT_BYTES: usize = 512 * 1024;

/// How long its header is.
pub(in crate::store) const SEGMENT_HEADER_BYTES: usize = 20;

/// No message begins nearer to the end of a segment.
const RED_ZONE_BYTES: usize = 32;

/// `crc:4 kind:1` and three numbers of one byte.
const HEADER_BYTES_MIN: usize = 8;

const CAP: u8 = 2;
const NODE: u8 = 8;
const BLOB_NODE: u8 = 9;
const LINK: u8 = 10;
const BLOB_LINK: u8 = 11;

/// A message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::store) struct Message {
    /// When it was written: places in the whole log.
    pub(super) moment: u64,
    /// The page that it is about.
    pub(super) page: u64,
    pub(super) what: What,
    /// Where its body begins in the segment, and how long that is.
    pub(super) body: (usize, usize),
    /// Whether its checksum is wrong.
    pub(super) is_doubtful: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::store) enum What {
    /// A page as a whole.
    Node,
    /// One change of a page.
    Link,
    /// Something that was put into a file of its own, which the store never has sled do.
    Elsewhere,
    /// What bears on no value.
    Other,
}

/// What a segment holds.
#[derive(Default)]
pub(in crate::store) struct Segment {
    pub(in crate::store) messages: Vec<Message>,
    /// Where nothing can be read though something was written: begin and end.
    pub(in crate::store) damaged: Vec<(usize, usize)>,
    /// Whether nothing more can be written to it.
    pub(in crate::store) is_full: bool,
}

/// A leaf of the tree: its range, and its entries.
pub(super) struct Leaf {
    pub(super) prefix_bytes: usize,
    pub(super) low: Vec<u8>,
    /// Empty: there is no end.
    pub(super) high: Vec<u8>,
    /// Keys without their prefix, and where each value lies in the body.
    pub(super) entries: Vec<(Vec<u8>, (usize, usize))>,
}

/// A change of a leaf: a key without its prefix, and where its value lies in the body; `None` when it was removed.
pub(super) type Link = (Vec<u8>, Option<(usize, usize)>);

/// Reads bytes from the front on.
struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Input { bytes, at: 0 }
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(len)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    /// A number as sled writes them: small ones in one byte.
    fn number(&mut self) -> Option<u64> {
        let first = u64::from(self.byte()?);
        Some(match first {
            0..=240 => first,
            241..=248 => 240 + 256 * (first - 241) + u64::from(self.byte()?),
            249 => {
                let bytes = self.take(2)?;
                2_288 + 256 * u64::from(bytes[0]) + u64::from(bytes[1])
            }
            _ => {
                let bytes = self.take(first as usize - 247)?;
                bytes.iter().rev().fold(0, |number, byte| (number << 8) | u64::from(*byte))
            }
        })
    }

    /// Where the next so many bytes lie, with their number before them.
    fn counted(&mut self) -> Option<(usize, usize)> {
        let len = usize::try_from(self.number()?).ok()?;
        let at = self.at;
        self.take(len)?;
        Some((at, len))
    }

    fn text(&mut self) -> Option<Vec<u8>> {
        let (at, len) = self.counted()?;
        Some(self.bytes[at..at + len].to_vec())
    }
}

/// Reads a segment, or what there is of it at the end of the file.
pub(in crate::store) fn read_segment(bytes: &[u8]) -> Segment {
    let mut segment = Segment::default();
    let mut at = SEGMENT_HEADER_BYTES;
    while at + HEADER_BYTES_MIN <= bytes.len() && at + RED_ZONE_BYTES <= SEGMENT_BYTES {
        if let Some((message, is_last)) = read_message(bytes, at) {
            at = message.body.0 + message.body.1;
            segment.messages.push(message);
            if is_last {
                segment.is_full = true;
                break;
            }
            continue;
        }
        if let Some(message) = doubtful_message(bytes, at, &segment.messages) {
            let end = message.body.0 + message.body.1;
            segment.messages.push(message);
            segment.damaged.push((at, end));
            at = end;
            continue;
        }
        // Behind the newest message there are zeros, or what was there before the segment was used again.
        let Some(written) = bytes[at..].iter().position(|byte| *byte != 0) else { break };
        let from = at + written;
        let next = (at + 1..bytes.len()).find_map(|at| read_message(bytes, at).map(|(next, _)| (at, next)));
        at = next.map_or(bytes.len(), |(at, _)| at);
        // What is older than what stands before it is a rest of what was there before.
        let is_rest =
            next.zip(segment.messages.last()).is_some_and(|((_, next), last)| next.moment < last.moment);
        if !is_rest {
            segment.damaged.push((from.min(at), at));
        }
    }
    segment.is_full |= at + RED_ZONE_BYTES > SEGMENT_BYTES;
    segment
}

/// The moment with which a segment begins, and up to which all was safe then; if its header is whole.
pub(in crate::store) fn read_segment_header(header: &[u8; SEGMENT_HEADER_BYTES]) -> Option<(u64, u64)> {
    let (checksum, rest) = header.split_first_chunk::<4>()?;
    let is_whole = crc32fast::hash(rest) ^ u32::MAX == u32::from_le_bytes(*checksum);
    let (numbers, _) = rest.as_chunks::<8>();
    let number = |bytes: &[u8; 8]| i64::from_le_bytes(*bytes) ^ i64::MAX;
    let (moment, stable) = (number(numbers.first()?), number(numbers.get(1)?));
    // Before anything was safe that is -1.
    u64::try_from(moment).ok().filter(|_| is_whole).map(|moment| (moment, stable.max(0) as u64))
}

/// The header of a segment that begins with a moment, when all is safe up to a place.
pub(in crate::store) fn write_segment_header(moment: u64, stable: u64) -> [u8; SEGMENT_HEADER_BYTES] {
    let mut header = [0; SEGMENT_HEADER_BYTES];
    let (checksum, numbers) = header.split_at_mut(4);
    for (bytes, number) in numbers.chunks_mut(8).zip([moment, stable]) {
        bytes.copy_from_slice(&(number as i64 ^ i64::MAX).to_le_bytes());
    }
    checksum.copy_from_slice(&(crc32fast::hash(numbers) ^ u32::MAX).to_le_bytes());
    header
}

/// The message that begins here, and whether it fills its segment.
fn read_message(bytes: &[u8], at: usize) -> Option<(Message, bool)> {
    let (message, checksum) = read_header(bytes, at)?;
    let (body_at, len) = message.body;
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[body_at..body_at + len]);
    hasher.update(&bytes[at + 4..body_at]);
    (hasher.finalize() ^ u32::MAX == checksum).then(|| (message, bytes[at + 4] == CAP))
}

/// The form of a message, and what its checksum should be.
fn read_header(bytes: &[u8], at: usize) -> Option<(Message, u32)> {
    let mut input = Input::new(bytes.get(at..)?);
    let checksum = u32::from_le_bytes(input.take(4)?.try_into().ok()?);
    let what = match input.byte()? {
        NODE => What::Node,
        LINK => What::Link,
        BLOB_NODE | BLOB_LINK => What::Elsewhere,
        1..=7 => What::Other,
        _ => return None,
    };
    let len = usize::try_from(input.number()?).ok().filter(|len| *len <= SEGMENT_BYTES)?;
    let (segment, page) = (input.number()?, input.number()?);
    let body_at = at + input.at;
    input.take(len)?;
    let moment = segment.checked_mul(SEGMENT_BYTES as u64)?.checked_add(at as u64)?;
    Some((Message { moment, page, what, body: (body_at, len), is_doubtful: false }, checksum))
}

/// A message that has the form of one that may stand here, though its checksum is wrong.
fn doubtful_message(bytes: &[u8], at: usize, before: &[Message]) -> Option<Message> {
    let (message, _) = read_header(bytes, at)?;
    let segment_of = |message: &Message| message.moment / SEGMENT_BYTES as u64;
    let end = message.body.0 + message.body.1;
    let (next, _) = read_message(bytes, end)?;
    let fits = matches!(message.what, What::Node | What::Link)
        && segment_of(&message) == segment_of(&next)
        && before.last().is_none_or(|last| segment_of(last) == segment_of(&message));
    fits.then_some(Message { is_doubtful: true, ..message })
}

/// Reads the body of a page as a whole; `None` for one that is no leaf.
pub(super) fn read_leaf(body: &[u8]) -> Option<Leaf> {
    let mut input = Input::new(body);
    // The next page, one that is being merged, and whether this one is.
    input.number()?;
    input.number()?;
    input.byte()?;
    let prefix_bytes = usize::from(input.byte()?);
    let (low, high) = (input.text()?, input.text()?);
    let is_leaf = input.byte()? == 0;
    let count = usize::try_from(input.number()?).ok()?;
    if !is_leaf || prefix_bytes > low.len() || count > body.len() {
        return None;
    }
    let keys = (0..count).map(|_| input.text()).collect::<Option<Vec<_>>>()?;
    let values = (0..count).map(|_| input.counted()).collect::<Option<Vec<_>>>()?;
    Some(Leaf { prefix_bytes, low, high, entries: keys.into_iter().zip(values).collect() })
}

/// Reads the body of a change; `None` for one that is not about a key.
pub(super) fn read_link(body: &[u8]) -> Option<Link> {
    let mut input = Input::new(body);
    match input.byte()? {
        0 => Some((input.text()?, Some(input.counted()?))),
        1 => Some((input.text()?, None)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::splitmix::SplitMix;

    /// A message as sled writes it, with numbers that take one byte.
    fn message(kind: u8, segment: u8, page: u8, body: &[u8]) -> Vec<u8> {
        let header = [kind, body.len() as u8, segment, page];
        let checksum = crc32fast::hash(&[body, &header].concat()) ^ u32::MAX;
        [&checksum.to_le_bytes()[..], &header, body].concat()
    }

    #[test]
    fn messages_are_found_before_between_and_behind_what_is_damaged() {
        let body = |byte: u8| vec![byte; 100];
        let whole: Vec<Vec<u8>> = (0..5).map(|number| message(LINK, 7, number, &body(number))).collect();
        let start = SEGMENT_HEADER_BYTES;
        let len = whole[0].len();
        let good = [vec![0; start], whole.concat(), vec![0; 500]].concat();
        let pages = |segment: &Segment| -> Vec<(u64, bool)> {
            segment.messages.iter().map(|message| (message.page, message.is_doubtful)).collect()
        };
        let read = read_segment(&good);
        assert_eq!(pages(&read), [0, 1, 2, 3, 4].map(|page| (page, false)));
        assert_eq!((read.damaged.len(), read.is_full), (0, false));
        assert_eq!(read.messages[1].moment, 7 * SEGMENT_BYTES as u64 + (start + len) as u64);
        assert_eq!(read.messages[1].body, (start + len + 8, 100));
        // In a body: it has its form still. In a header: it has none.
        for (at, is_doubtful) in [(50, true), (4, false), (5, false)] {
            let mut bad = good.clone();
            bad[start + 2 * len + at] ^= 0x40;
            let read = read_segment(&bad);
            let mut wanted = vec![(0, false), (1, false), (2, true), (3, false), (4, false)];
            if !is_doubtful {
                wanted.remove(2);
            }
            assert_eq!(pages(&read), wanted, "byte {at}");
            assert_eq!(read.damaged, [(start + 2 * len, start + 3 * len)], "byte {at}");
        }
        // What an earlier use of the segment has left behind the newest message is no damage.
        let rest = [&message(LINK, 3, 9, &body(9))[20..], &message(LINK, 3, 8, &body(8))].concat();
        let used_again = [vec![0; start], whole.concat(), rest].concat();
        let read = read_segment(&used_again);
        assert_eq!((pages(&read).len(), read.damaged.len()), (6, 0));
    }

    #[test]
    fn noise_is_read_without_a_panic() {
        for seed in 0..300 {
            let mut row = SplitMix(seed);
            let noise: Vec<u8> = (0..600).map(|_| row.below(1 << (1 + seed % 8)) as u8).collect();
            read_segment(&noise);
            read_leaf(&noise);
            read_link(&noise);
            noise.windows(SEGMENT_HEADER_BYTES).for_each(|header| {
                read_segment_header(header.try_into().expect("its length"));
            });
        }
    }
}
