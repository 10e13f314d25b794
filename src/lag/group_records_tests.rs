use proptest::prelude::*;

use super::*;

/// Bytes put together field by field.
#[derive(Default, Clone)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn int8(mut self, v: i8) -> Self {
        self.0.extend(v.to_be_bytes());
        self
    }
    fn int16(mut self, v: i16) -> Self {
        self.0.extend(v.to_be_bytes());
        self
    }
    fn int32(mut self, v: i32) -> Self {
        self.0.extend(v.to_be_bytes());
        self
    }
    fn int64(mut self, v: i64) -> Self {
        self.0.extend(v.to_be_bytes());
        self
    }
    fn string(self, v: &str) -> Self {
        let mut next = self.int16(i16::try_from(v.len()).unwrap());
        next.0.extend(v.as_bytes());
        next
    }
    fn null(self) -> Self {
        self.int16(-1)
    }
    fn compact(mut self, v: &str) -> Self {
        self.0.push(u8::try_from(v.len() + 1).unwrap());
        self.0.extend(v.as_bytes());
        self
    }
    fn raw(mut self, v: &[u8]) -> Self {
        self.0.extend(v);
        self
    }
    fn bytes(self, v: &[u8]) -> Self {
        self.int32(i32::try_from(v.len()).unwrap()).raw(v)
    }
}

fn b() -> Bytes {
    Bytes::default()
}

fn offset_key() -> Bytes {
    b().int16(1).string("g").string("t").int32(3)
}

fn offset_of(value: &Bytes) -> Result<Option<CommittedOffset>> {
    let key = offset_key();
    match parse(&key.0, Some(&value.0))? {
        GroupRecord::Offset {
            group: "g",
            topic: "t",
            partition: 3,
            value,
        } => Ok(value),
        other => panic!("{other:?}"),
    }
}

#[test]
fn commits_of_every_version_are_read() {
    let expected = Ok(Some(CommittedOffset {
        offset: 42,
        timestamp_ms: 1_000,
    }));
    let v0 = b().int16(0).int64(42).string("note").int64(1_000);
    let v1 = b().int16(1).int64(42).string("").int64(1_000).int64(-1);
    let v2 = b().int16(2).int64(42).string("note").int64(1_000);
    let v3 = b().int16(3).int64(42).int32(7).string("note").int64(1_000);
    // With a tagged field of the future behind it.
    let v4 = b()
        .int16(4)
        .int64(42)
        .int32(7)
        .compact("note")
        .int64(1_000)
        .raw(&[1, 0, 2, 9, 9]);
    for value in [v0, v1, v2, v3, v4] {
        assert_eq!(offset_of(&value), expected);
    }
    assert_eq!(
        offset_of(&b().int16(5).int64(42)),
        Err(WireError::Version(5))
    );
}

#[test]
fn a_tombstone_is_an_expired_commit() {
    let key = b().int16(0).string("g").string("t").int32(0);
    let record = parse(&key.0, None);
    assert!(matches!(
        record,
        Ok(GroupRecord::Offset { value: None, .. })
    ));
}

fn assigned() -> Bytes {
    b().int16(1)
        .int32(2)
        .string("a")
        .int32(2)
        .int32(0)
        .int32(4)
        .string("b")
        .int32(0)
        .int32(-1)
}

#[test]
fn members_of_a_classic_group_and_what_they_have_are_read_in_every_version() {
    let key = b().int16(2).string("g");
    let v3 = b()
        .int16(3)
        .string("consumer")
        .int32(5)
        .string("range")
        .null()
        .int64(1)
        .int32(1)
        .string("id")
        .string("instance")
        .string("client")
        .string("/10.0.0.1")
        .int32(1)
        .int32(2)
        .bytes(b"subscription")
        .bytes(&assigned().0);
    let v0 = b()
        .int16(0)
        .string("consumer")
        .int32(5)
        .null()
        .null()
        .int32(1)
        .string("id")
        .string("client")
        .string("/10.0.0.1")
        .int32(2)
        .bytes(b"")
        .bytes(&assigned().0);
    let length = u8::try_from(assigned().0.len() + 1).unwrap();
    let v4 = b()
        .int16(4)
        .compact("consumer")
        .int32(5)
        .compact("range")
        .raw(&[0])
        .int64(1)
        .raw(&[2])
        .compact("id")
        .raw(&[0])
        .compact("client")
        .compact("/10.0.0.1")
        .int32(1)
        .int32(2)
        .raw(&[1, length])
        .raw(&assigned().0)
        .raw(&[0, 0]);
    for value in [v0, v3, v4] {
        let Ok(GroupRecord::Classic {
            group: "g",
            value: Some(members),
        }) = parse(&key.0, Some(&value.0))
        else {
            panic!("{:?}", parse(&key.0, Some(&value.0)));
        };
        let owner = Owner {
            client_id: "client",
            client_host: "/10.0.0.1",
        };
        let assigned = vec![("a", vec![0, 4]), ("b", vec![])];
        assert_eq!(members, [ClassicMember { owner, assigned }]);
    }
}

#[test]
fn a_connect_clusters_own_assignments_are_left_alone() {
    let key = b().int16(2).string("connect");
    let value = b()
        .int16(0)
        .string("connect")
        .int32(1)
        .null()
        .null()
        .int32(1)
        .string("id")
        .string("client")
        .string("/h")
        .int32(2)
        .bytes(b"")
        .bytes(b"\xff\xff\xff\xff\xff\xff");
    let Ok(GroupRecord::Classic {
        value: Some(members),
        ..
    }) = parse(&key.0, Some(&value.0))
    else {
        panic!("unreadable");
    };
    assert!(members[0].assigned.is_empty());
}

#[test]
fn members_of_the_consumer_protocol_are_read() {
    let key = b().int16(5).string("g").string("m");
    let value = b()
        .int16(0)
        .raw(&[0, 0])
        .compact("client")
        .compact("/10.0.0.2")
        .raw(&[2])
        .compact("t")
        .raw(&[0])
        .int32(1)
        .raw(&[0, 0]);
    let record = parse(&key.0, Some(&value.0)).unwrap();
    let owner = Owner {
        client_id: "client",
        client_host: "/10.0.0.2",
    };
    let expected = GroupRecord::Member {
        group: "g",
        member: "m",
        value: Some(owner),
    };
    assert_eq!(record, expected);

    let key = b().int16(8).string("g").string("m");
    let value = b()
        .int16(0)
        .int32(9)
        .int32(8)
        .int8(0)
        .raw(&[2])
        .raw(&[7; 16])
        .raw(&[3])
        .int32(1)
        .int32(2)
        // The assignment epochs of newer brokers.
        .raw(&[1, 0, 1, 0])
        .raw(&[1, 0]);
    let record = parse(&key.0, Some(&value.0)).unwrap();
    let expected = GroupRecord::Assignment {
        group: "g",
        member: "m",
        value: Some(vec![([7; 16], vec![1, 2])]),
    };
    assert_eq!(record, expected);
}

#[test]
fn records_of_other_kinds_are_passed_over() {
    assert_eq!(
        parse(&b().int16(11).0, Some(b"whatever")),
        Ok(GroupRecord::Other(11))
    );
}

#[test]
fn a_length_that_points_beyond_the_end_takes_no_memory() {
    let key = b().int16(2).string("g");
    let value = b()
        .int16(0)
        .string("consumer")
        .int32(1)
        .null()
        .null()
        .int32(i32::MAX);
    assert!(matches!(
        parse(&key.0, Some(&value.0)),
        Err(WireError::Short(_))
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn whatever_the_bytes_are_there_is_no_panic(
        kind in 0_i16..12, key in prop::collection::vec(any::<u8>(), 0..40),
        version in -1_i16..6, value in prop::collection::vec(any::<u8>(), 0..120), is_named in any::<bool>(),
    ) {
        let key = match is_named {
            true => b().int16(kind).string("g").string("t").int32(1),
            false => b().int16(kind).raw(&key),
        };
        let value = b().int16(version).raw(&value);
        let _ = parse(&key.0, Some(&value.0));
    }

    #[test]
    fn a_commit_that_is_cut_anywhere_is_never_another_commit(cut in 0_usize..40) {
        let value = b().int16(3).int64(42).int32(7).string("note").int64(1_000);
        if cut < value.0.len() {
            let cut = Bytes(value.0[..cut].to_vec());
            prop_assert!(offset_of(&cut).is_err());
        }
    }
}
