//! What is wrong with a request, before it is known which request that is.

use std::borrow::Cow;

use super::{ErrorCode, RequestError};

/// A [`RequestError`] without the id of its request.
#[derive(Debug)]
pub(super) struct Fault {
    code: ErrorCode,
    message: Cow<'static, str>,
}

impl Fault {
    pub(super) fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }

    /// The error that answers the request of that id.
    pub(super) fn answering(self, request_id: Option<&str>) -> RequestError<'_> {
        RequestError { code: self.code, request_id, message: self.message }
    }
}
