//! The answer to a bulk request in which all went well, recognised by its bytes. Pure.
//!
//! Nearly every answer is this one, and says the same thing as often as there were records. Whatever differs in a
//! single byte (another version's order of keys, a deletion of what wasn't there) is for [`super::answer`] to read.

use super::batch::Op;

/// Whether `body` says of each of `ops`, in order, that it was done, and nothing else.
pub fn is_all_done(body: &[u8], ops: impl Iterator<Item = Op>) -> bool {
    let Some(mut rest) = body.strip_prefix(br#"{"errors":false,"items":["#) else {
        return false;
    };
    for (nth, op) in ops.enumerate() {
        let comma: &[u8] = if nth == 0 { b"" } else { b"," };
        let head: &[u8] = match op {
            Op::Index => br#"{"index":{"status":20"#,
            Op::Create => br#"{"create":{"status":20"#,
            Op::Delete => br#"{"delete":{"status":20"#,
        };
        let after = rest.strip_prefix(comma).and_then(|r| r.strip_prefix(head));
        // 200: it replaced something; 201: it is new.
        let Some([b'0' | b'1', b'}', b'}', after @ ..]) = after else {
            return false;
        };
        rest = after;
    }
    rest == b"]}"
}

#[cfg(test)]
mod tests {
    use super::super::answer::{self, Naming, Outcome};
    use super::*;
    use proptest::prelude::*;

    fn op() -> impl Strategy<Value = Op> {
        proptest::sample::select(vec![Op::Index, Op::Create, Op::Delete])
    }

    fn answer(ops: &[Op]) -> String {
        let item = |(nth, op): (usize, &Op)| format!(r#"{{"{op}":{{"status":20{}}}}}"#, nth % 2);
        let items: Vec<String> = ops.iter().enumerate().map(item).collect();
        format!(r#"{{"errors":false,"items":[{}]}}"#, items.join(","))
    }

    /// What reading the answer in full says.
    fn read(body: &[u8], ops: &[Op]) -> bool {
        let naming = Naming {
            names_vary: true,
            ids_are_ours: true,
        };
        answer::parse(body, ops.iter().copied()).is_ok_and(|items| {
            let mut judged = ops.iter().zip(&items);
            judged.all(|(op, item)| answer::judge(*op, false, naming, item) == Outcome::Done)
        })
    }

    proptest! {
        #[test]
        fn it_is_recognised_and_a_changed_byte_is_never_taken_for_it(
            ops in proptest::collection::vec(op(), 1..8), at in any::<proptest::sample::Index>(), byte in any::<u8>()
        ) {
            let mut body = answer(&ops).into_bytes();
            prop_assert!(is_all_done(&body, ops.iter().copied()));
            prop_assert!(read(&body, &ops));
            let place = at.index(body.len());
            body[place] = byte;
            prop_assert!(!is_all_done(&body, ops.iter().copied()) || read(&body, &ops));
        }

        #[test]
        fn one_more_or_less_or_another_action_is_not_it(
            sent in proptest::collection::vec(op(), 1..6), answered in proptest::collection::vec(op(), 1..6)
        ) {
            let all_done = is_all_done(answer(&answered).as_bytes(), sent.iter().copied());
            prop_assert_eq!(all_done, sent == answered);
        }
    }
}
