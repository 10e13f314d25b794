//! One bulk request: its query, and what the answer as a whole means.

use std::time::Duration;

use super::answer::{self, Naming, Outcome};
use super::batch::Piece;
use super::success;
use super::transport::{Client, Method, Reply, Request};
use crate::error::{Error, Kind};
use crate::sinks::Rejection;

/// Keeps the answer small and the positions of items: a status is always there.
pub const FILTER: &str = "errors,items.*.status,items.*.error.type,items.*.error.reason,\
                      items.*.error.index,items.*.failure_store,error,status";

/// What came of one bulk request.
#[derive(Debug)]
pub enum Verdict {
    /// Every item was done.
    AllDone,
    /// Understood in full: one outcome per item.
    Answered(Vec<Outcome>),
    /// 413: less at once, or never.
    TooLarge,
    /// The server can't read the body: one of the records is to blame.
    Unreadable(Rejection),
    /// Nothing came of it; the same items are sent again.
    Failed {
        /// What happened.
        error: Error,
        /// The server has too much to do.
        overload: bool,
        /// The items may have been written all the same.
        maybe_written: bool,
    },
}

/// Sends `piece` and reads what came of it.
pub async fn send(client: &Client, piece: &Piece, naming: Naming, timeout: Duration) -> Verdict {
    // The server's own wait for a shard must end well before ours, or every answer would be an unknown one.
    let server = (timeout / 4).clamp(Duration::from_millis(100), Duration::from_secs(10));
    let server = format!("{}ms", server.as_millis());
    let request = Request {
        method: Method::Post,
        path: "/_bulk",
        query: &[("filter_path", FILTER), ("timeout", &server)],
        body: Some(piece.body.clone()),
        timeout,
    };
    match client.send(request).await {
        Ok(reply) => judge(&reply, piece, naming),
        Err(error) => Verdict::Failed {
            error,
            overload: false,
            maybe_written: true,
        },
    }
}

/// What a reply means. Pure.
fn judge(reply: &Reply, piece: &Piece, naming: Naming) -> Verdict {
    let status = reply.status;
    match status {
        200 => understand(reply, piece, naming),
        400 => match answer::whole_error(&reply.body) {
            Some(error) if is_about_the_body(&error) => Verdict::Unreadable(Rejection {
                status: Some(400),
                ..error
            }),
            _ => failed(reply, Kind::Misconfigured),
        },
        413 => Verdict::TooLarge,
        408 | 429 | 500..=599 => failed(reply, Kind::Unavailable),
        _ => failed(reply, Kind::Misconfigured),
    }
}

fn understand(reply: &Reply, piece: &Piece, naming: Naming) -> Verdict {
    let ops = piece.items.iter().map(|item| item.op);
    if success::is_all_done(&reply.body, ops.clone()) {
        return Verdict::AllDone;
    }
    match answer::parse(&reply.body, ops) {
        Ok(answers) => {
            let judged = piece.items.iter().zip(&answers);
            let outcome = judged.map(|(item, a)| answer::judge(item.op, item.tried, naming, a));
            Verdict::Answered(outcome.collect())
        }
        Err(why) => Verdict::Failed {
            error: Error::unavailable(format!("{}: {why}", reply.node)),
            overload: false,
            maybe_written: true,
        },
    }
}

/// A 400 about the request itself, which no record can cause, is the configuration's or a proxy's.
fn is_about_the_body(error: &Rejection) -> bool {
    !error.detail.contains("unrecognized parameter")
        // Our bodies are never empty: something on the way took it.
        && !error.detail.contains("request body is required")
        && !error.detail.contains("Content-Type header")
        && error.reason != "security_exception"
}

fn failed(reply: &Reply, kind: Kind) -> Verdict {
    let (node, status) = (&reply.node, reply.status);
    let words = answer::whole_error(&reply.body)
        .map(|e| format!(", {}: {}", e.reason, e.detail))
        .unwrap_or_default();
    let hint = match status {
        401 => "; check user, password or API key",
        403 => "; the user may not write there: grant the privileges, or unblock the index",
        404 | 405 => "; is this Elasticsearch, and is the path of the URL right?",
        300..=399 => "; put the address it redirects to into urls",
        _ => "",
    };
    let error = Error::new(kind, format!("{node}: HTTP {status}{words}{hint}"));
    Verdict::Failed {
        error: error.with_retry_after(reply.retry_after),
        overload: matches!(status, 408 | 429 | 503 | 504),
        maybe_written: matches!(status, 408 | 500..=599),
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::{Builder, Item, Op};
    use super::*;

    fn judge_status(status: u16, body: &'static str) -> Verdict {
        let mut piece = Builder::default();
        let item = Item {
            end: 0,
            span: 0,
            index: 0,
            op: Op::Index,
            tried: false,
            offset: 0,
        };
        piece.push(item, b"{}\n{}\n");
        let reply = Reply {
            status,
            retry_after: Some(Duration::from_secs(7)),
            body: body.into(),
            node: "a:9200".into(),
        };
        let naming = Naming {
            names_vary: false,
            ids_are_ours: true,
        };
        judge(&reply, &piece.build(), naming)
    }

    #[test]
    fn a_whole_requests_status() {
        for status in [408, 429, 500, 502, 503, 504] {
            let Verdict::Failed { error, .. } = judge_status(status, "<html>") else {
                panic!("{status}")
            };
            assert_eq!(error.kind, Kind::Unavailable, "{status}");
            assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
        }
        for status in [201, 301, 307, 400, 401, 403, 404, 405, 406, 410, 418] {
            let Verdict::Failed { error, .. } = judge_status(status, "<html>") else {
                panic!("{status}")
            };
            assert_eq!(error.kind, Kind::Misconfigured, "{status}");
        }
        assert!(matches!(judge_status(413, ""), Verdict::TooLarge));
    }

    #[test]
    fn a_400_is_a_records_fault_only_if_elasticsearch_says_so_of_the_body() {
        let body =
            r#"{"error":{"type":"x_content_parse_exception","reason":"[1:3] bad"},"status":400}"#;
        assert!(matches!(judge_status(400, body), Verdict::Unreadable(r) if r.status == Some(400)));
        let query = r#"{"error":{"type":"illegal_argument_exception",
            "reason":"request [/_bulk] contains unrecognized parameter: [x]"},"status":400}"#;
        assert!(matches!(judge_status(400, query), Verdict::Failed { .. }));
        let lost = r#"{"error":{"type":"parse_exception","reason":"request body is required"},"status":400}"#;
        let Verdict::Failed { error, .. } = judge_status(400, lost) else {
            panic!("a record was blamed for a body that got lost")
        };
        assert_eq!(error.kind, Kind::Misconfigured);
    }

    #[test]
    fn an_answer_that_is_not_understood_leaves_everything_open() {
        for body in ["", "{}", r#"{"errors":false,"items":[]}"#] {
            let Verdict::Failed {
                error,
                maybe_written,
                ..
            } = judge_status(200, body)
            else {
                panic!("{body}")
            };
            assert!(maybe_written && error.kind == Kind::Unavailable);
        }
        let good = r#"{"errors":false,"items":[{"index":{"status":201}}]}"#;
        assert!(matches!(judge_status(200, good), Verdict::AllDone));
        let spaced = good.replace(':', ": ");
        let spaced: &'static str = spaced.leak();
        assert!(matches!(judge_status(200, spaced), Verdict::Answered(o) if o == [Outcome::Done]));
    }
}
