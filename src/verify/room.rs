//! What verifying may hold in memory (pure). It often runs beside the sink, in the container that was made for the sink
//! alone: so it goes by the sink's own `memory`, and takes a small part of it.

/// This part of the sink's `memory`: the container has more than that beside the budget.
const SHARE: u64 = 8;
/// The least: below, every fetch and every search would be for a handful of records.
const LEAST_BYTES: u64 = 2 << 20;

/// What a record takes on its way through a search: its id, in several shapes, and what is answered.
const RECORD_BYTES: u64 = 1 << 10;
/// A document is held as it was sent, as it was answered, and as it was read.
const COPIES: u64 = 3;
/// Windows that are looked up at once, and the one that is being filled.
const WINDOWS: u64 = super::MOST_AHEAD as u64 + 1;

/// The most records that are looked up by one search.
const MOST_RECORDS: u64 = 2_000;
/// What a document that is only named by its id takes on a page of a walk.
const NAMED_BYTES: u64 = 512;
const PAGE: (u64, u64) = (500, 10_000);

/// The memory of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    bytes: u64,
}

impl Room {
    /// Beside a sink of this `memory`.
    pub fn beside(memory_bytes: u64) -> Self {
        Room {
            bytes: (memory_bytes / SHARE).max(LEAST_BYTES),
        }
    }

    /// What fetched records may take.
    pub fn fetch_bytes(self) -> u64 {
        self.bytes / 2
    }

    /// Whether so many records, with so many bytes of documents to compare, are enough for one search.
    pub fn is_window(self, records: usize, bytes: usize) -> bool {
        let (records, bytes) = (records as u64, bytes as u64);
        let held = records * RECORD_BYTES + bytes * COPIES;
        records >= MOST_RECORDS || held >= self.bytes / 2 / WINDOWS
    }

    /// How many documents are named on one page.
    pub fn page(self) -> usize {
        let documents = (self.bytes / 2 / NAMED_BYTES).clamp(PAGE.0, PAGE.1);
        usize::try_from(documents).unwrap_or(500)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// How many records of this document size a window has.
    fn window(room: Room, size: usize) -> usize {
        (1..)
            .find(|records| room.is_window(*records, records * size))
            .unwrap()
    }

    #[test]
    fn it_grows_with_the_sinks_memory_and_has_bounds() {
        let rooms = [1, 35, 70, 256, 1 << 20].map(|mib| Room::beside(mib * MIB));
        let windows = rooms.map(|room| window(room, 0));
        assert_eq!(windows, [205, 448, 896, 2_000, 2_000]);
        assert_eq!(rooms.map(Room::page), [2_048, 4_480, 8_960, 10_000, 10_000]);
    }

    #[test]
    fn windows_hold_no_more_than_their_half_whatever_the_documents_size() {
        for mib in [1, 35, 256] {
            let room = Room::beside(mib * MIB);
            for size in [0, 300, 4_000, 30_000] {
                let records = window(room, size) as u64;
                let each = RECORD_BYTES + COPIES * size as u64;
                let held = WINDOWS * (records - 1) * each;
                assert!(held <= room.bytes / 2, "{mib} MiB, {size} bytes: {held}");
            }
        }
    }
}
