//! Which part of a list is wanted.

/// Entries of a page unless asked otherwise.
const USUAL: usize = 1024;
/// Entries of a page at most, whatever is asked for: the connections that are allowed by default.
const MOST: usize = 65_536;

/// A part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) offset: usize,
    pub(crate) limit: usize,
}

impl Page {
    /// As asked for; what is not positive means the usual.
    pub(crate) fn new(offset: i64, limit: i64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(0);
        Page {
            offset: usize::try_from(offset).unwrap_or(0),
            limit: if limit == 0 { USUAL } else { limit.min(MOST) },
        }
    }

    /// Cuts the page out of the whole list.
    pub(crate) fn of<T>(self, mut list: Vec<T>) -> Vec<T> {
        list.drain(..self.offset.min(list.len()));
        list.truncate(self.limit);
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_bounded_at_both_ends() {
        assert_eq!(
            Page::new(-1, -1),
            Page {
                offset: 0,
                limit: USUAL
            }
        );
        assert_eq!(Page::new(2, i64::MAX).limit, MOST);
        assert_eq!(Page::new(1, 2).of(vec![1, 2, 3, 4]), [2, 3]);
        assert_eq!(Page::new(3, 2).of(vec![1, 2, 3, 4]), [4]);
        assert_eq!(Page::new(i64::MAX, 2).of(vec![1, 2]), [0; 0]);
    }
}
