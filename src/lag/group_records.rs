//! The records of `__consumer_offsets`: what groups committed, and who their members are.
//!
//! The layouts are those of Kafka's `group-coordinator/src/main/resources/common/message`. A key begins with the record's
//! type; older brokers called it a version.

use super::wire::{Cursor, WireError};

type Result<T> = std::result::Result<T, WireError>;

/// A record, as far as it concerns lag. A value of `None` is a tombstone: it is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupRecord<'a> {
    /// A commit, or its expiry.
    Offset {
        /// The group.
        group: &'a str,
        /// The topic.
        topic: &'a str,
        /// The partition.
        partition: i32,
        /// What was committed.
        value: Option<CommittedOffset>,
    },
    /// A group of the classic protocol, with all of its members.
    Classic {
        /// The group.
        group: &'a str,
        /// Its members, and what each has.
        value: Option<Vec<ClassicMember<'a>>>,
    },
    /// A member of a group of the consumer protocol (KIP-848).
    Member {
        /// The group.
        group: &'a str,
        /// The member's id.
        member: &'a str,
        /// Who it is.
        value: Option<Owner<'a>>,
    },
    /// What such a member has.
    Assignment {
        /// The group.
        group: &'a str,
        /// The member's id.
        member: &'a str,
        /// Topics, by id, and partitions.
        value: Option<Vec<([u8; 16], Vec<i32>)>>,
    },
    /// Something else, by its type: share groups, streams groups, group metadata.
    Other(i16),
}

/// What was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to be read.
    pub offset: i64,
    /// When, by the broker's clock (Unix milliseconds).
    pub timestamp_ms: i64,
}

/// Who a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner<'a> {
    /// `client.id`.
    pub client_id: &'a str,
    /// Its address, such as `/10.0.0.1`.
    pub client_host: &'a str,
}

/// A member of a classic group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassicMember<'a> {
    /// Who it is.
    pub owner: Owner<'a>,
    /// Topics, by name, and partitions. Empty if its protocol isn't a consumer's, or the assignment can't be read.
    pub assigned: Vec<(&'a str, Vec<i32>)>,
}

/// Reads a record of `__consumer_offsets`.
///
/// # Errors
/// The bytes are cut short, or of a version that isn't known. A *type* that isn't known is no error.
pub fn parse<'a>(key: &'a [u8], value: Option<&'a [u8]>) -> Result<GroupRecord<'a>> {
    let mut cursor = Cursor::new(key);
    match cursor.int16()? {
        0 | 1 => Ok(GroupRecord::Offset {
            group: cursor.string()?,
            topic: cursor.string()?,
            partition: cursor.int32()?,
            value: value.map(committed_offset).transpose()?,
        }),
        2 => Ok(GroupRecord::Classic {
            group: cursor.string()?,
            value: value.map(classic_members).transpose()?,
        }),
        5 => Ok(GroupRecord::Member {
            group: cursor.string()?,
            member: cursor.string()?,
            value: value.map(member).transpose()?,
        }),
        8 => Ok(GroupRecord::Assignment {
            group: cursor.string()?,
            member: cursor.string()?,
            value: value.map(assignment).transpose()?,
        }),
        other => Ok(GroupRecord::Other(other)),
    }
}

/// A value's version, which must be one of these; those from `flexible` on are.
fn version(cursor: &mut Cursor<'_>, newest: i16, flexible: i16) -> Result<i16> {
    let version = cursor.int16()?;
    if !(0..=newest).contains(&version) {
        return Err(WireError::Version(version));
    }
    cursor.set_flexible(version >= flexible);
    Ok(version)
}

fn committed_offset(value: &[u8]) -> Result<CommittedOffset> {
    let mut cursor = Cursor::new(value);
    let version = version(&mut cursor, 4, 4)?;
    let offset = cursor.int64()?;
    if version >= 3 {
        cursor.int32()?; // leaderEpoch
    }
    cursor.nullable_string()?; // metadata
    let timestamp_ms = cursor.int64()?;
    Ok(CommittedOffset {
        offset,
        timestamp_ms,
    })
}

fn classic_members(value: &[u8]) -> Result<Vec<ClassicMember<'_>>> {
    let mut cursor = Cursor::new(value);
    let version = version(&mut cursor, 4, 4)?;
    let is_consumers = cursor.string()? == "consumer";
    cursor.int32()?; // generation
    cursor.nullable_string()?; // protocol
    cursor.nullable_string()?; // leader
    if version >= 2 {
        cursor.int64()?; // currentStateTimestamp
    }
    cursor.list(|cursor| {
        cursor.string()?; // memberId
        if version >= 3 {
            cursor.nullable_string()?; // groupInstanceId
        }
        let owner = Owner {
            client_id: cursor.string()?,
            client_host: cursor.string()?,
        };
        if version >= 1 {
            cursor.int32()?; // rebalanceTimeout
        }
        cursor.int32()?; // sessionTimeout
        cursor.bytes()?; // subscription
        let assigned = cursor.bytes()?;
        cursor.skip_tags()?;
        // Not the coordinator's own format: what a client wrote there is its own business.
        let assigned = match is_consumers {
            true => consumer_assignment(assigned).unwrap_or_default(),
            false => Vec::new(),
        };
        Ok(ClassicMember { owner, assigned })
    })
}

/// `ConsumerProtocolAssignment`, which the group's leader wrote.
fn consumer_assignment(bytes: &[u8]) -> Result<Vec<(&str, Vec<i32>)>> {
    let mut cursor = Cursor::new(bytes);
    cursor.int16()?; // version: later ones only append
    cursor.list(|cursor| Ok((cursor.string()?, cursor.list(Cursor::int32)?)))
}

fn member(value: &[u8]) -> Result<Owner<'_>> {
    let mut cursor = Cursor::new(value);
    version(&mut cursor, 0, 0)?;
    cursor.nullable_string()?; // InstanceId
    cursor.nullable_string()?; // RackId
    Ok(Owner {
        client_id: cursor.string()?,
        client_host: cursor.string()?,
    })
}

fn assignment(value: &[u8]) -> Result<Vec<([u8; 16], Vec<i32>)>> {
    let mut cursor = Cursor::new(value);
    version(&mut cursor, 0, 0)?;
    cursor.int32()?; // MemberEpoch
    cursor.int32()?; // PreviousMemberEpoch
    cursor.int8()?; // State
    cursor.list(|cursor| {
        let topic = cursor.array()?;
        let partitions = cursor.list(Cursor::int32)?;
        cursor.skip_tags()?;
        Ok((topic, partitions))
    })
}

#[cfg(test)]
#[path = "group_records_tests.rs"]
mod tests;
