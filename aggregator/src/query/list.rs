//! `List`: what is selected, with its numbers as they are now, page by page.
//!
//! A page ends with its items or its bytes, never within a container. It is made step by step and gives way between two
//! steps, so that a long look delays nobody, and ends where its caller stops waiting.

use std::sync::Arc;

use kubevitals::wire;
use prost::Message as _;
use tonic::{Request, Response, Status};

use super::{
    Query,
    access::Verb,
    faults::Faults,
    item::{Item, Message, Subject, Wanted, items},
    selection::{Level, Selection},
    token::Token,
    walk::{self, Found, Place},
};
use crate::view::{Moment, View};

/// Items of a page when the caller does not say, and most of them.
const USUAL: usize = 1000;
const MOST: usize = 5000;

/// Largest page, bytes. Clients take 4 MiB unless they are told otherwise.
const LARGEST: usize = 3 << 20;

/// What is asked for, checked.
struct Asked {
    selection: Selection,
    wanted: Wanted,
    most: usize,
    from: Option<Token>,
}

/// Answers `request`.
pub(super) async fn list(
    query: &Query,
    mut request: Request<wire::ListRequest>,
) -> Result<Response<wire::ListResponse>, Status> {
    let caller = query.access.caller(&mut request).await?;
    let asked = Asked::read(request.into_inner(), query)?;
    caller.may(Verb::List, &asked.selection).await?;
    let page = Page::make(&query.view, &asked).await;
    query.metrics.told("list", page.response.usages.len(), page.response.absent.len());
    Ok(Response::new(page.response))
}

impl Asked {
    fn read(request: wire::ListRequest, query: &Query) -> Result<Self, Status> {
        let mut faults = Faults::default();
        let selection = Selection::read(request.selection, &mut faults);
        let (without_details, without_distribution) = (request.without_details, request.without_distribution);
        let kept = query.view.store.kept();
        let wanted = Wanted::read(request.window, without_details, without_distribution, kept, &mut faults);
        let most = match usize::try_from(request.page_size) {
            Ok(0) => USUAL,
            Ok(size) if size <= MOST => size,
            _ => {
                faults.add("page_size", format_args!("more than {MOST}"));
                0
            }
        };
        let from = Some(request.page_token.as_str()).filter(|text| !text.is_empty());
        let level = selection.as_ref().map(Selection::level);
        let token =
            from.and_then(Token::decode).filter(|token| level.is_none_or(|level| level == token.level));
        if from.is_some() && token.is_none() {
            faults.add("page_token", "no next_page_token of a list of this selection");
        }
        faults.check()?;
        // Without a fault both are there.
        let missing = || Status::internal("a selection without faults was not read");
        let (selection, wanted) = (selection.ok_or_else(missing)?, wanted.ok_or_else(missing)?);
        Ok(Self { selection, wanted, most, from: token })
    }
}

/// A page while it is made.
struct Page {
    response: wire::ListResponse,
    bytes: usize,
    most: usize,
    last: Option<Token>,
}

impl Page {
    async fn make(view: &View, asked: &Asked) -> Self {
        let mut page =
            Self { response: wire::ListResponse::default(), bytes: 0, most: asked.most, last: None };
        let mut after: Option<Place> = asked.from.as_ref().map(|token| token.place.clone());
        if let Some(rest) = asked.from.as_ref().and_then(|token| rest_of_pod(view, asked, token))
            && !page.take(rest, asked.selection.level())
        {
            return page.unfinished();
        }
        loop {
            let step = walk::step(&view.directory, &asked.selection, after.as_ref());
            let now = Moment::now();
            for found in &step.found {
                if !page.take(said(view, found, asked, now), asked.selection.level()) {
                    return page.unfinished();
                }
            }
            after = step.next;
            if after.is_none() {
                return page;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Adds items as long as there is room; whether there was for all.
    fn take(&mut self, items: Vec<Item>, level: Level) -> bool {
        items.into_iter().all(|item| self.add(&item, level))
    }

    fn add(&mut self, item: &Item, level: Level) -> bool {
        let count = self.response.usages.len() + self.response.absent.len();
        let message = item.message();
        let length = match &message {
            Message::Usage(usage) => usage.encoded_len(),
            Message::Absent(absent) => absent.encoded_len(),
        };
        // Key and length of the field take up to four bytes each.
        let bytes = self.bytes.saturating_add(length).saturating_add(8);
        if count >= self.most || bytes > LARGEST && count > 0 {
            return false;
        }
        self.bytes = bytes;
        match message {
            Message::Usage(usage) => self.response.usages.push(*usage),
            Message::Absent(absent) => self.response.absent.push(absent),
        }
        self.last = Some(token_of(&item.subject, level));
        true
    }

    /// There is more.
    fn unfinished(mut self) -> Self {
        self.response.next_page_token = self.last.as_ref().map(Token::encode).unwrap_or_default();
        self
    }
}

fn said(view: &View, found: &Found, asked: &Asked, now: Moment) -> Vec<Item> {
    let mut all = Vec::new();
    items(view, found, &asked.selection, &asked.wanted, now, &mut |item| all.push(item));
    all
}

/// The containers of a pod after the one that the page before ended with; all of them when that is gone.
fn rest_of_pod(view: &View, asked: &Asked, token: &Token) -> Option<Vec<Item>> {
    let last = token.container.as_deref()?;
    let pod = view.directory.pod(&token.place.namespace, &token.place.name)?;
    if !asked.selection.has_pod(&pod) {
        return None;
    }
    let all = said(view, &Found::Pod(pod), asked, Moment::now());
    let is_last = |item: &Item| match &item.subject {
        Subject::Container(_, container) => container.name.as_ref() == last,
        Subject::Pod(_) | Subject::Node(_) => false,
    };
    let told = all.iter().position(is_last).map_or(0, |place| place + 1);
    Some(all.into_iter().skip(told).collect())
}

fn token_of(subject: &Subject, level: Level) -> Token {
    let (found, container) = match subject {
        Subject::Node(node) => (Found::Node(Arc::clone(node)), None),
        Subject::Pod(pod) => (Found::Pod(Arc::clone(pod)), None),
        Subject::Container(pod, container) => (Found::Pod(Arc::clone(pod)), Some(container.name.to_string())),
    };
    Token { level, place: found.place(), container }
}
