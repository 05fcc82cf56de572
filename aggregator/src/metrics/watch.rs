//! What watches of the query service count.

use std::time::Duration;

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::{ReasonLabel, WhatLabel};

/// Why a watch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// The caller ended it, or its connection is gone.
    Caller,
    /// The caller's own deadline.
    Deadline,
    /// The caller may not watch that any more.
    Denied,
    /// The caller took nothing for too long.
    Stuck,
    /// What is selected has become too much.
    Limit,
    /// The server stops.
    Shutdown,
}

impl End {
    const ALL: [Self; 6] =
        [Self::Caller, Self::Deadline, Self::Denied, Self::Stuck, Self::Limit, Self::Shutdown];

    fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Deadline => "deadline",
            Self::Denied => "denied",
            Self::Stuck => "stuck",
            Self::Limit => "limit",
            Self::Shutdown => "shutdown",
        }
    }
}

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
    /// Open watches.
    pub watches: Gauge,
    /// Different selections that are computed, or kept for whoever comes back.
    pub feeds: Gauge,
    /// Items of all of them.
    pub items: Gauge,
    looks: Histogram,
    /// Messages sent.
    pub messages: Counter,
    /// Size of their items.
    pub bytes: Counter,
    /// Full pictures begun.
    pub full: Counter,
    /// Ticks left out because a reader was slow.
    pub conflated: Counter,
    ended: Family<ReasonLabel, Counter>,
    refused: Family<WhatLabel, Counter>,
}

impl Default for Watch {
    fn default() -> Self {
        let buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];
        let (ended, refused) = (Family::<ReasonLabel, Counter>::default(), Family::<WhatLabel, Counter>::default());
        for reason in End::ALL {
            let _ = ended.get_or_create(&ReasonLabel { reason: reason.as_str() });
        }
        for limit in Limit::ALL {
            let _ = refused.get_or_create(&WhatLabel { what: limit.as_str() });
        }
        Self {
            watches: Gauge::default(),
            feeds: Gauge::default(),
            items: Gauge::default(),
            looks: Histogram::new(buckets),
            messages: Counter::default(),
            bytes: Counter::default(),
            full: Counter::default(),
            conflated: Counter::default(),
            ended,
            refused,
        }
    }
}

impl Watch {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("watches", "Open watches of the query service", self.watches.clone());
        registry.register(
            "watch_feeds",
            "Different selections that are watched, or were until a short time ago",
            self.feeds.clone(),
        );
        registry.register("watch_items", "Nodes, pods and containers of all of them", self.items.clone());
        registry.register_with_unit(
            "watch_look_duration",
            "Time that it took to compute one selection's tick",
            Unit::Seconds,
            self.looks.clone(),
        );
        registry.register("watch_messages", "Messages sent to watchers", self.messages.clone());
        registry.register_with_unit("watch_sent", "Size of these messages", Unit::Bytes, self.bytes.clone());
        registry.register("watch_full_pictures", "Full pictures that watchers were told", self.full.clone());
        registry.register(
            "watch_conflated_ticks",
            "Ticks that watchers were not told on their own because they were slow",
            self.conflated.clone(),
        );
        registry.register("watches_ended", "Watches by how they ended", self.ended.clone());
        registry.register("watches_refused", "Watches that were over a limit", self.refused.clone());
    }

    /// Counts a look of a feed.
    pub fn looked(&self, took: Duration) {
        self.looks.observe(took.as_secs_f64());
    }

    /// Counts the end of a watch.
    pub fn ended(&self, end: End) {
        self.ended.get_or_create(&ReasonLabel { reason: end.as_str() }).inc();
    }

    /// Counts a watch that was over a limit.
    pub fn refused(&self, limit: Limit) {
        self.refused.get_or_create(&WhatLabel { what: limit.as_str() }).inc();
    }
}
