//! Sets of ports and addresses, as sorted ranges that neither touch nor overlap.

/// A number that ranges are made of: a port, an IPv4 or an IPv6 address.
pub trait Point: Copy + Ord + Into<u128> + TryFrom<u128> {}

impl Point for u16 {}
impl Point for u32 {}
impl Point for u128 {}

/// An inclusive range; the first number is not greater than the second.
pub type Range<T> = (T, T);

/// A set of numbers that answers "is it in there" by binary search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeSet<T>(Box<[Range<T>]>);

impl<T: Point> RangeSet<T> {
    /// Everything in `included` that is not in `excluded`; both in any order.
    pub fn new(included: Vec<Range<T>>, excluded: Vec<Range<T>>) -> Self {
        let widen = |ranges: Vec<Range<T>>| {
            ranges
                .into_iter()
                .map(|(low, high)| (low.into(), high.into()))
                .collect()
        };
        let narrow = |(low, high): Range<u128>| Some((T::try_from(low).ok()?, T::try_from(high).ok()?));
        Self(
            subtract(widen(included), widen(excluded))
                .into_iter()
                .filter_map(narrow)
                .collect(),
        )
    }

    /// Whether the set holds the number.
    pub fn contains(&self, number: T) -> bool {
        let following = self.0.partition_point(|&(low, _)| low <= number);
        following
            .checked_sub(1)
            .and_then(|at| self.0.get(at))
            .is_some_and(|&(_, high)| number <= high)
    }

    /// Whether every number of the other set is in this one.
    pub fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|&(low, high)| {
            let following = self.0.partition_point(|&(from, _)| from <= low);
            let holder = following.checked_sub(1).and_then(|at| self.0.get(at));
            holder.is_some_and(|&(_, until)| high <= until)
        })
    }

    /// Whether the two sets share a number.
    pub fn meets(&self, other: &Self) -> bool {
        self.0
            .iter()
            .any(|&(low, high)| other.0.iter().any(|&(from, until)| low <= until && from <= high))
    }

    /// The ranges in ascending order.
    pub fn ranges(&self) -> &[Range<T>] {
        &self.0
    }

    /// Whether the set holds nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The smallest range that holds the whole set.
    pub fn hull(&self) -> Option<Range<T>> {
        Some((self.0.first()?.0, self.0.last()?.1))
    }
}

/// One function for all kinds of numbers, because a sort alone is several kilobytes of code in the guest.
fn subtract(included: Vec<Range<u128>>, excluded: Vec<Range<u128>>) -> Vec<Range<u128>> {
    let excluded = merge(excluded);
    let mut kept = Vec::new();
    for (low, high) in merge(included) {
        let mut next = Some(low);
        for &(hole_low, hole_high) in &excluded {
            let Some(from) = next else { break };
            if hole_high < from || hole_low > high {
                continue;
            }
            if hole_low > from {
                kept.push((from, hole_low - 1));
            }
            next = hole_high.checked_add(1).filter(|&from| from <= high);
        }
        if let Some(from) = next {
            kept.push((from, high));
        }
    }
    kept
}

fn merge(mut ranges: Vec<Range<u128>>) -> Vec<Range<u128>> {
    ranges.sort_unstable();
    let mut merged: Vec<Range<u128>> = Vec::with_capacity(ranges.len());
    for (low, high) in ranges {
        match merged.last_mut() {
            Some(last) if low <= last.1.saturating_add(1) => last.1 = last.1.max(high),
            _ => merged.push((low, high)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_holds_what_is_included_and_not_excluded() {
        type Ranges = &'static [Range<u16>];
        let table: &[(Ranges, Ranges, Ranges)] = &[
            (&[(5, 9)], &[], &[(5, 9)]),
            (&[(5, 9), (10, 12)], &[], &[(5, 12)]),
            (&[(8, 12), (5, 9), (20, 20)], &[], &[(5, 12), (20, 20)]),
            (&[(5, 9)], &[(7, 7)], &[(5, 6), (8, 9)]),
            (&[(5, 9)], &[(5, 5), (9, 9)], &[(6, 8)]),
            (&[(5, 9)], &[(0, 65535)], &[]),
            (&[(0, 65535)], &[(65535, 65535), (0, 0)], &[(1, 65534)]),
            (&[(0, 65535), (3, 4)], &[(10, 20), (15, 30)], &[(0, 9), (31, 65535)]),
            (&[(5, 9), (20, 30)], &[(8, 22)], &[(5, 7), (23, 30)]),
        ];
        for (included, excluded, expected) in table {
            let set = RangeSet::new(included.to_vec(), excluded.to_vec());
            assert_eq!(set.ranges(), *expected, "{included:?} without {excluded:?}");
            for number in 0..=65535 {
                let inside = |ranges: &[Range<u16>]| ranges.iter().any(|&(low, high)| (low..=high).contains(&number));
                assert_eq!(set.contains(number), inside(included) && !inside(excluded), "{number}");
            }
        }
    }
}
