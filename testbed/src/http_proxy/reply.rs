//! The body of an answer: whole, or cut off after some bytes although its length says otherwise.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use crate::error::Error;

/// A body.
#[derive(Debug)]
pub(super) struct Reply {
    data: Option<Bytes>,
    announced: u64,
    cut: bool,
    flushed: bool,
}

impl Reply {
    /// All of it.
    pub(super) fn whole(data: impl Into<Bytes>) -> Self {
        let data = data.into();
        Self {
            announced: data.len() as u64,
            data: Some(data).filter(|data| !data.is_empty()),
            cut: false,
            flushed: false,
        }
    }

    /// At most `len` bytes of it, and always less than is announced.
    pub(super) fn cut(data: Bytes, len: usize) -> Self {
        let kept = data.slice(..len.min(data.len()));
        Self {
            announced: data.len().max(len + 1) as u64,
            data: Some(kept).filter(|kept| !kept.is_empty()),
            cut: true,
            flushed: false,
        }
    }

    /// The bytes that are left.
    pub(super) fn into_bytes(self) -> Bytes {
        self.data.unwrap_or_default()
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Some(data) = self.data.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if !self.cut {
            return Poll::Ready(None);
        }
        if !self.flushed {
            // What came before goes out only if the next piece isn't there yet.
            self.flushed = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(Error::new("cut off on purpose"))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && !self.cut
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.announced)
    }
}
