//! What watches of the query service count.

use std::time::Duration;

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::WhatLabel;
use crate::query::watch::message::Outgoing;

/// A limit that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit {
    /// On watches.
    Watches,
    /// On watches of one caller.
    WatchesOfOne,
    /// On different selections.
    Feeds,
    /// On items.
    Items,
    /// On items of one caller.
    ItemsOfOne,
}

impl Limit {
    const ALL: [Self; 5] = [Self::Watches, Self::WatchesOfOne, Self::Feeds, Self::Items, Self::ItemsOfOne];

    fn as_str(self) -> &'static str {
        match self {
            Self::Watches => "watches",
            Self::WatchesOfOne => "watches_of_one",
            Self::Feeds => "feeds",
            Self::Items => "items",
            Self::ItemsOfOne => "items_of_one",
        }
    }

    /// For people.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Watches => "watches",
            Self::WatchesOfOne => "watches of one caller",
            Self::Feeds => "different selections that are watched",
            Self::Items => "watched items",
            Self::ItemsOfOne => "watched items of one caller",
        }
    }
}

/// What watches count.
#[derive(Debug, Clone)]
pub struct Watch {
    /// Different selections that are computed, or kept for whoever comes back.
    pub feeds: Gauge,
    /// Items of all of them.
    pub items: Gauge,
    looks: Histogram,
    messages: Counter,
    bytes: Counter,
    full: Counter,
    /// Ticks left out because a reader was slow.
    pub conflated: Counter,
    /// Watches that took nothing for so long that they were ended.
    pub cut_off: Counter,
    refused: Family<WhatLabel, Counter>,
}

impl Default for Watch {
    fn default() -> Self {
        let buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];
        let refused = Family::<WhatLabel, Counter>::default();
        for limit in Limit::ALL {
            let _ = refused.get_or_create(&WhatLabel { what: limit.as_str() });
        }
        Self {
            feeds: Gauge::default(),
            items: Gauge::default(),
            looks: Histogram::new(buckets),
            messages: Counter::default(),
            bytes: Counter::default(),
            full: Counter::default(),
            conflated: Counter::default(),
            cut_off: Counter::default(),
            refused,
        }
    }
}

impl Watch {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "query_watch_feeds",
            "Different selections that are watched, or were until a short time ago",
            self.feeds.clone(),
        );
        registry.register(
            "query_watch_items",
            "Nodes, pods and containers of all of them",
            self.items.clone(),
        );
        registry.register_with_unit(
            "query_watch_look_duration",
            "Time that it took to compute one selection's tick",
            Unit::Seconds,
            self.looks.clone(),
        );
        registry.register("query_watch_messages", "Messages sent to watchers", self.messages.clone());
        registry.register_with_unit(
            "query_watch_sent",
            "Size of these messages",
            Unit::Bytes,
            self.bytes.clone(),
        );
        registry.register(
            "query_watch_full_pictures",
            "Full pictures that watchers were told",
            self.full.clone(),
        );
        registry.register(
            "query_watch_conflated_ticks",
            "Ticks that watchers were not told on their own because they were slow",
            self.conflated.clone(),
        );
        registry.register(
            "query_watch_cut_off",
            "Watches that took nothing for so long that they were ended",
            self.cut_off.clone(),
        );
        registry.register("query_watch_refused", "Watches that were over a limit", self.refused.clone());
    }

    /// Counts a look of a feed.
    pub fn looked(&self, took: Duration) {
        self.looks.observe(took.as_secs_f64());
    }

    /// Counts a message.
    pub fn told(&self, message: &Outgoing) {
        self.messages.inc();
        self.bytes.inc_by(message.size() as u64);
        self.full.inc_by((message.own.full && !message.own.more).into());
        self.conflated.inc_by(message.own.conflated);
    }

    /// Counts a watch that was over a limit.
    pub fn refused(&self, limit: Limit) {
        self.refused.get_or_create(&WhatLabel { what: limit.as_str() }).inc();
    }
}
