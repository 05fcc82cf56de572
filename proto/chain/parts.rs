//! Where the parts of an encoded batch are.
//!
//! Columns are read where they lie: an aggregator takes a thousand batches a second and more, and a message in between
//! would be written and read once for nothing.

use prost::{Message as _, encoding::WireType};

use super::{
    ChainError, detail_from_wire,
    numbers::{Numbers, low},
    size::{self, Field, Limits, undecodable, walk},
};
use crate::{
    sample::{DETAILS, Detail},
    wire,
};

/// The highest field number of a batch that this version knows.
const FIELDS: u32 = 11;

/// A batch in its encoded form; the names are those of [`wire::Batch`].
#[derive(Debug, Default)]
pub(super) struct Parts<'a> {
    encoded: &'a [u8],
    pub(super) sequence: u64,
    pub(super) time_us: u64,
    pub(super) wall_us: u64,
    pub(super) skipped: Numbers<'a>,
    pub(super) time_gap_us: Numbers<'a>,
    pub(super) cpu_delta_ns: Numbers<'a>,
    pub(super) working_set_delta_4k: Numbers<'a>,
    details: [Option<DetailPart<'a>>; DETAILS],
    /// How many of them are there.
    columns: usize,
    /// A known detail has more than one column; only the first is here.
    pub(super) is_repeated: bool,
    /// Fields of a newer peer.
    pub(super) unknown_fields: u64,
    /// Detail columns of a newer peer.
    pub(super) unknown_details: u64,
    /// Announcements, farewells or omissions.
    has_lists: bool,
    /// It is well-formed perhaps, but not as encoders write it.
    is_odd: bool,
}

/// A column of a known detail; the names are those of [`wire::DetailColumn`].
#[derive(Debug, Clone)]
pub(super) struct DetailPart<'a> {
    pub(super) detail: Detail,
    pub(super) series_gap: Numbers<'a>,
    pub(super) delta: Numbers<'a>,
    pub(super) absent_gap: Numbers<'a>,
}

impl<'a> Parts<'a> {
    /// The parts of a batch. One that is not as encoders write it (numbers one by one, or in several pieces) is written
    /// anew first, to `usual`.
    pub(super) fn of(encoded: &'a [u8], usual: &'a mut Vec<u8>) -> Result<Self, ChainError> {
        let parts = Self::found(encoded, size::BATCH)?;
        if !parts.is_odd {
            return Ok(parts);
        }
        *usual = wire::Batch::decode(encoded).map_err(undecodable)?.encode_to_vec();
        let unknown_fields = parts.unknown_fields;
        Ok(Self { unknown_fields, ..Self::found(usual, size::NONE)? })
    }

    fn found(encoded: &'a [u8], limits: Limits) -> Result<Self, ChainError> {
        let mut parts = Self { encoded, ..Self::default() };
        walk(encoded, limits, |field| parts.take(&field))?;
        Ok(parts)
    }

    fn take(&mut self, field: &Field<'a>) -> Result<(), ChainError> {
        let is_usual = match field.tag {
            1 => number(&mut self.sequence, field),
            2 => number(&mut self.time_us, field),
            3 => number(&mut self.wall_us, field),
            6 => numbers(&mut self.skipped, field),
            7 => numbers(&mut self.time_gap_us, field),
            8 => numbers(&mut self.cpu_delta_ns, field),
            9 => numbers(&mut self.working_set_delta_4k, field),
            10 => self.take_details(field)?,
            4 | 5 | 11 => {
                self.has_lists = true;
                field.kind == WireType::LengthDelimited
            }
            _ => {
                self.unknown_fields += u64::from(field.tag > FIELDS);
                true
            }
        };
        self.is_odd |= !is_usual;
        Ok(())
    }

    fn take_details(&mut self, field: &Field<'a>) -> Result<bool, ChainError> {
        if field.kind != WireType::LengthDelimited {
            return Ok(false);
        }
        let (mut name, mut is_usual) = (0, true);
        let [mut series_gap, mut delta, mut absent_gap] = <[Numbers<'_>; 3]>::default();
        walk(field.content, size::NONE, |field| {
            is_usual &= match field.tag {
                1 => number(&mut name, &field),
                2 => numbers(&mut series_gap, &field),
                3 => numbers(&mut delta, &field),
                4 => numbers(&mut absent_gap, &field),
                // How deep groups may go is counted from the batch.
                _ => field.kind != WireType::StartGroup,
            };
            Ok(())
        })?;
        if !is_usual {
            return Ok(false);
        }
        if let Some(detail) = detail_from_wire(low(name).cast_signed()) {
            self.add(DetailPart { detail, series_gap, delta, absent_gap });
        } else {
            // A field of a newer peer is left unread.
            self.unknown_details += 1;
            [series_gap, delta, absent_gap].into_iter().try_for_each(|all| all.checked().map(drop))?;
        }
        Ok(true)
    }

    fn add(&mut self, column: DetailPart<'a>) {
        let is_there = self.details().any(|known| known.detail == column.detail);
        match self.details.get_mut(self.columns) {
            Some(place) if !is_there => {
                *place = Some(column);
                self.columns += 1;
            }
            _ => self.is_repeated = true,
        }
    }

    /// That no number is broken. Who reads them all finds it out by the way.
    pub(super) fn checked(&self) -> Result<(), ChainError> {
        let columns = [&self.skipped, &self.time_gap_us, &self.cpu_delta_ns, &self.working_set_delta_4k];
        let details = self.details().flat_map(|part| [&part.series_gap, &part.delta, &part.absent_gap]);
        columns.into_iter().chain(details).try_for_each(|numbers| numbers.clone().checked().map(drop))
    }

    /// The columns of known details, as they come, each detail once.
    pub(super) fn details(&self) -> impl Iterator<Item = &DetailPart<'a>> {
        self.details.iter().take(self.columns).flatten()
    }

    /// Decodes what most batches have none of: announcements, farewells and omissions.
    pub(super) fn lists(&self, lists: &mut wire::Batch) -> Result<(), ChainError> {
        lists.clear();
        if !self.has_lists {
            return Ok(());
        }
        walk(self.encoded, size::NONE, |field| match field.tag {
            4 | 5 | 11 => lists.merge(field.whole).map_err(undecodable),
            _ => Ok(()),
        })
    }
}

/// Takes a number, the last of which counts. False when the field has something else.
fn number(place: &mut u64, field: &Field<'_>) -> bool {
    let number = Numbers::new(field.content).next().filter(|_| field.kind == WireType::Varint);
    *place = number.unwrap_or(*place);
    number.is_some()
}

/// Takes packed numbers. False when there are some already, or the field has something else.
fn numbers<'a>(place: &mut Numbers<'a>, field: &Field<'a>) -> bool {
    let is_first = field.kind == WireType::LengthDelimited && place.is_empty();
    if is_first {
        *place = Numbers::new(field.content);
    }
    is_first
}

#[cfg(test)]
mod tests;
