//! A list, page by page.

use futures_util::{Stream, stream::try_unfold};

use super::{Client, Error};
use crate::wire;

/// The pages of a list. Each is one answer of one moment; together they are in order, but not of one moment.
#[derive(Debug)]
pub struct Pages {
    client: Client,
    /// What is asked next; nothing after the last page.
    request: Option<wire::ListRequest>,
}

impl Pages {
    pub(super) fn new(client: Client, request: wire::ListRequest) -> Self {
        Self { client, request: Some(request) }
    }

    /// The next page; none after the last. After an error the same page can be asked for again. A page may be empty and
    /// not be the last.
    pub async fn next(&mut self) -> Result<Option<wire::ListResponse>, Error> {
        let Some(request) = &self.request else { return Ok(None) };
        let page = self.client.call(request.clone()).await?;
        if !page.next_page_token.is_empty() && page.next_page_token == request.page_token {
            return Err(Error::broken("a page leads to itself"));
        }
        self.request = (!page.next_page_token.is_empty())
            .then(|| wire::ListRequest { page_token: page.next_page_token.clone(), ..request.clone() });
        Ok(Some(page))
    }

    /// The same as a stream, which ends with the first error.
    pub fn into_stream(self) -> impl Stream<Item = Result<wire::ListResponse, Error>> {
        try_unfold(self, async |mut pages| Ok(pages.next().await?.map(|page| (page, pages))))
    }
}
