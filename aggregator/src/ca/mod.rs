//! The authority that replicas share, and how everybody is told to trust it.
//!
//! In reading order: [`contents`] is the Secret and what it means; [`rotation`] says what to do about it next; [`bundle`]
//! and [`held`] are what to publish; all four are pure. [`store`] and [`shared`] read and write the Secret, [`publish`] the `ConfigMap`
//! for agents and the `APIService`s for API servers; [`keeper`] does all this again and again.
//!
//! There is no leader. Every replica looks at the Secret, every change of it is an optimistic write of the version that was
//! looked at, and whatever has to be remembered stands in the Secret itself: any replica goes on where any other stopped.
//! Serving certificates are made by [`crate::tls`]; agents read their bundle anew for each connection.

pub mod bundle;
pub mod contents;
pub mod held;
pub mod keeper;
pub mod publish;
pub mod rotation;
pub mod shared;
pub mod store;
