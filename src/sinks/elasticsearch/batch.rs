//! Batches: the open one that records are encoded into, and the pieces of it that are sent. Pure.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;

use crate::offsets::{Epoch, Range};
use crate::sinks::Slot;

/// A bulk action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Write or overwrite.
    Index,
    /// Write once.
    Create,
    /// Delete.
    Delete,
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Op::Index => "index",
            Op::Create => "create",
            Op::Delete => "delete",
        })
    }
}

/// One record in a bulk body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// Where its lines end in the body; they start where the previous item's end.
    pub end: usize,
    /// Its span in the batch.
    pub span: u32,
    /// Its index in the batch's table of names.
    pub index: u32,
    /// Its action.
    pub op: Op,
    /// Whether an earlier try of ours may have written it.
    pub tried: bool,
    /// Its offset.
    pub offset: i64,
}

/// One partition's part of a batch: its range is acked when the last of its items is final.
#[derive(Debug)]
pub struct Span {
    /// The partition.
    pub slot: Slot,
    /// The assignment.
    pub epoch: Epoch,
    /// Its offsets, holes and rejected records included.
    pub range: Range,
    /// Items that aren't final yet.
    pending: AtomicU32,
}

impl Span {
    /// A span without items.
    pub fn new(slot: Slot, epoch: Epoch, first: i64) -> Self {
        Span {
            slot,
            epoch,
            range: Range::new(first, first),
            pending: AtomicU32::new(0),
        }
    }

    /// Whether no item of it is pending.
    pub fn is_final(&self) -> bool {
        self.pending.load(Ordering::Acquire) == 0
    }

    /// An item was added.
    pub fn add_item(&mut self) {
        *self.pending.get_mut() += 1;
    }

    /// So many of its items are final. True with the last of them, once.
    pub fn finish_items(&self, num: u32) -> bool {
        self.pending.fetch_sub(num, Ordering::AcqRel) == num
    }
}

/// What is open: records are encoded into it until it is sent.
#[derive(Debug, Default)]
pub struct Batch {
    /// The bulk body so far.
    pub body: Vec<u8>,
    /// Its items, in order.
    pub items: Vec<Item>,
    /// Its spans.
    pub spans: Vec<Span>,
    /// Names of its indices; the same name may stand here for several partitions.
    pub indices: Vec<Arc<str>>,
}

impl Batch {
    /// A batch whose body grows into a buffer that was used before.
    pub fn with_buffer(mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Batch {
            body: buffer,
            ..Batch::default()
        }
    }

    /// Whether nothing waits in it: neither documents nor ranges.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Splits it into what doesn't change any more and what is to be sent.
    pub fn seal(self) -> (Job, Piece) {
        let job = Job {
            spans: self.spans,
            indices: self.indices,
        };
        let piece = Piece {
            body: Bytes::from(self.body),
            items: self.items,
        };
        (job, piece)
    }
}

/// A sealed batch's spans and index names, shared by whatever still carries items of it.
#[derive(Debug)]
pub struct Job {
    /// Its spans.
    pub spans: Vec<Span>,
    /// Its index names.
    pub indices: Vec<Arc<str>>,
}

impl Job {
    /// The span of an item.
    pub fn span(&self, item: &Item) -> Option<&Span> {
        self.spans.get(item.span as usize)
    }

    /// The index name of an item.
    pub fn index(&self, item: &Item) -> Option<&Arc<str>> {
        self.indices.get(item.index as usize)
    }
}

/// A bulk body and its items: all of a batch, or what is left of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The body.
    pub body: Bytes,
    /// Its items, in order.
    pub items: Vec<Item>,
}

impl Piece {
    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The items with their lines.
    pub fn lines(&self) -> impl Iterator<Item = (&Item, &[u8])> {
        let starts = std::iter::once(0).chain(self.items.iter().map(|item| item.end));
        starts
            .zip(&self.items)
            .map(|(start, item)| (item, self.body.get(start..item.end).unwrap_or_default()))
    }

    /// Cuts it in two after `count` items, without copying. An empty half is `None`.
    pub fn split_after(mut self, count: usize) -> (Option<Piece>, Option<Piece>) {
        if count == 0 {
            return (None, Some(self));
        }
        if count >= self.items.len() {
            return (Some(self), None);
        }
        let mut rest = self.items.split_off(count);
        let cut = self.items.last().map_or(0, |item| item.end);
        let cut = cut.min(self.body.len());
        let tail = self.body.split_off(cut);
        for item in &mut rest {
            item.end -= cut;
        }
        let tail = Piece {
            body: tail,
            items: rest,
        };
        (Some(self), Some(tail))
    }

    /// Parts it into what `choose` wants and what it doesn't. Copies only if both are there.
    pub fn partition(
        self,
        mut choose: impl FnMut(&Item) -> bool,
    ) -> (Option<Piece>, Option<Piece>) {
        let chosen: Vec<bool> = self.items.iter().map(&mut choose).collect();
        if chosen.iter().all(|yes| *yes) {
            return (Some(self), None);
        }
        if !chosen.iter().any(|yes| *yes) {
            return (None, Some(self));
        }
        let (mut yes, mut no) = (Builder::default(), Builder::default());
        for ((item, lines), chosen) in self.lines().zip(chosen) {
            let side = if chosen { &mut yes } else { &mut no };
            side.push(*item, lines);
        }
        (Some(yes.build()), Some(no.build()))
    }
}

/// Puts a piece together from items of others.
#[derive(Debug, Default)]
pub struct Builder {
    body: Vec<u8>,
    items: Vec<Item>,
}

impl Builder {
    /// Adds an item with its lines.
    pub fn push(&mut self, item: Item, lines: &[u8]) {
        self.body.extend_from_slice(lines);
        self.items.push(Item {
            end: self.body.len(),
            ..item
        });
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The piece.
    pub fn build(self) -> Piece {
        Piece {
            body: self.body.into(),
            items: self.items,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn piece(lines: &[String]) -> Piece {
        let mut builder = Builder::default();
        for (offset, line) in lines.iter().enumerate() {
            let item = Item {
                end: 0,
                span: 0,
                index: 0,
                op: Op::Index,
                tried: false,
                offset: i64::try_from(offset).expect("small"),
            };
            builder.push(item, line.as_bytes());
        }
        builder.build()
    }

    fn contents(piece: Option<&Piece>) -> Vec<(i64, String)> {
        let lines = piece.into_iter().flat_map(Piece::lines);
        lines
            .map(|(item, lines)| (item.offset, String::from_utf8_lossy(lines).into_owned()))
            .collect()
    }

    #[test]
    fn a_span_is_final_once() {
        let mut span = Span::new(Slot(0), Epoch(1), 5);
        assert!(span.is_final());
        span.add_item();
        span.add_item();
        assert!(!span.finish_items(1));
        assert!(!span.is_final());
        assert!(span.finish_items(1));
        assert!(span.is_final());
    }

    proptest! {
        #[test]
        fn splitting_and_parting_lose_nothing_and_keep_the_order(
            lines in proptest::collection::vec("[a-z]{0,9}\n", 0..20), at in 0usize..25, seed: u32
        ) {
            let whole = piece(&lines);
            let all = contents(Some(&whole));
            let (head, tail) = whole.clone().split_after(at);
            let mut again = contents(head.as_ref());
            again.extend(contents(tail.as_ref()));
            prop_assert_eq!(&again, &all);

            let wants = |item: &Item| (seed >> (item.offset % 32)) & 1 == 1;
            let (yes, no) = tail.unwrap_or(whole).partition(wants);
            prop_assert!(contents(yes.as_ref()).iter().all(|(o, _)| (seed >> (o % 32)) & 1 == 1));
            let mut again = contents(yes.as_ref());
            again.extend(contents(no.as_ref()));
            again.sort();
            let skipped = all.len() - again.len();
            prop_assert_eq!(&again[..], &all[skipped..]);
        }
    }
}
