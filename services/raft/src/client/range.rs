//! Keys in order, page by page.

use bytes::Bytes;
use proto::ensemble::raft::v1 as pb;

use super::Client;
use super::error::Error;
use super::types::{Freshness, Item};

/// The most items of one page that a node gives.
const PAGE_LIMIT: u32 = 10_000;

/// The keys that begin with a prefix. Each page is as fresh as was asked; pages are not of one
/// moment.
#[derive(Clone, Debug)]
pub struct Range {
    client: Client,
    prefix: Bytes,
    after: Option<Bytes>,
    freshness: Freshness,
    /// How many more are wanted, if that was said.
    left: Option<u64>,
    ended: bool,
}

impl Range {
    pub(crate) fn new(client: Client, prefix: Bytes) -> Self {
        let freshness = Freshness::default();
        Self { client, prefix, after: None, freshness, left: None, ended: false }
    }

    /// Where it is read.
    #[must_use]
    pub fn fresh(mut self, freshness: Freshness) -> Self {
        self.freshness = freshness;
        self
    }

    /// Only keys after this one.
    #[must_use]
    pub fn after(mut self, key: impl Into<Bytes>) -> Self {
        self.after = Some(key.into());
        self
    }

    /// No more than so many.
    #[must_use]
    pub fn limit(mut self, limit: u64) -> Self {
        self.left = Some(limit);
        self
    }

    /// The next items; nothing when there are no more.
    ///
    /// # Errors
    ///
    /// No node could answer before the deadline; asking again goes on after the last page.
    pub async fn next_page(&mut self) -> Result<Option<Vec<Item>>, Error> {
        if self.ended || self.left == Some(0) {
            return Ok(None);
        }
        let limit = self.left.map_or(0, |left| u32::try_from(left).unwrap_or(u32::MAX));
        let request = pb::RangeRequest {
            prefix: self.prefix.clone(),
            after: self.after.clone(),
            limit: limit.min(PAGE_LIMIT),
            stale: self.freshness == Freshness::Stale,
            route: 0,
        };
        let deadline = self.client.until();
        let answer = self.client.call(request, self.freshness.whom(), deadline).await?;
        self.ended = !answer.more || answer.items.is_empty();
        self.after = answer.items.last().map(|item| item.key.clone()).or(self.after.take());
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(answer.items.len() as u64);
        }
        if answer.items.is_empty() {
            return Ok(None);
        }
        Ok(Some(answer.items.into_iter().map(Item::from).collect()))
    }

    /// All the items that are left.
    ///
    /// # Errors
    ///
    /// No node could answer before the deadline of a page.
    pub async fn all(mut self) -> Result<Vec<Item>, Error> {
        let mut items = Vec::new();
        while let Some(page) = self.next_page().await? {
            items.extend(page);
        }
        Ok(items)
    }
}
