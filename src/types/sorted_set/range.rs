//! Ranges of scores and of members, as commands specify them.

/// Scores between two bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreRange {
    /// The lower bound.
    pub min: f64,
    /// Whether the lower bound itself is excluded.
    pub min_open: bool,
    /// The upper bound.
    pub max: f64,
    /// Whether the upper bound itself is excluded.
    pub max_open: bool,
}

impl ScoreRange {
    /// Whether the score lies below the range.
    #[inline(always)]
    pub fn is_above(&self, score: f64) -> bool {
        if self.min_open { score <= self.min } else { score < self.min }
    }

    /// Whether the score lies below the upper bound.
    #[inline(always)]
    pub fn reaches(&self, score: f64) -> bool {
        if self.max_open { score < self.max } else { score <= self.max }
    }

    /// Whether the range contains no score.
    pub fn is_empty(&self) -> bool {
        self.min > self.max || (self.min == self.max && (self.min_open || self.max_open))
    }
}

/// An end of a range of members.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LexBound<'a> {
    /// Before all members: `-`.
    Lowest,
    /// After all members: `+`.
    Highest,
    /// This member, included: `[member`.
    Closed(&'a [u8]),
    /// This member, excluded: `(member`.
    Open(&'a [u8]),
}

impl<'a> LexBound<'a> {
    /// The bound in a command's argument.
    pub fn parse(text: &'a [u8]) -> Option<LexBound<'a>> {
        match text {
            b"-" => Some(LexBound::Lowest),
            b"+" => Some(LexBound::Highest),
            [b'[', member @ ..] => Some(LexBound::Closed(member)),
            [b'(', member @ ..] => Some(LexBound::Open(member)),
            _ => None,
        }
    }
}

/// Members between two bounds, in the order of their bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LexRange<'a> {
    /// The lower bound.
    pub min: LexBound<'a>,
    /// The upper bound.
    pub max: LexBound<'a>,
}

impl LexRange<'_> {
    /// Whether the member lies below the range.
    #[inline]
    pub fn is_above(&self, member: &[u8]) -> bool {
        match self.min {
            LexBound::Lowest => false,
            LexBound::Highest => true,
            LexBound::Closed(min) => member < min,
            LexBound::Open(min) => member <= min,
        }
    }

    /// Whether the member lies below the upper bound.
    #[inline]
    pub fn reaches(&self, member: &[u8]) -> bool {
        match self.max {
            LexBound::Lowest => false,
            LexBound::Highest => true,
            LexBound::Closed(max) => member <= max,
            LexBound::Open(max) => member < max,
        }
    }

    /// Whether the range contains no member.
    pub fn is_empty(&self) -> bool {
        use LexBound::{Closed, Highest, Lowest, Open};
        match (self.min, self.max) {
            (Lowest, Lowest) | (Highest, _) => true,
            (Lowest, _) | (_, Highest) => false,
            (_, Lowest) => true,
            (Closed(min), Closed(max)) => min > max,
            (Closed(min) | Open(min), Closed(max) | Open(max)) => min >= max,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_scores_knows_what_lies_in_it() {
        let range = |min, min_open, max, max_open| ScoreRange { min, min_open, max, max_open };
        for (range, inside, empty) in [
            (range(1.0, false, 3.0, false), &[1.0, 2.0, 3.0][..], false),
            (range(1.0, true, 3.0, true), &[2.0], false),
            (range(1.0, false, 1.0, false), &[1.0], false),
            (range(1.0, true, 1.0, false), &[], true),
            (range(3.0, false, 1.0, false), &[], true),
            (range(f64::NEG_INFINITY, false, f64::INFINITY, true), &[0.0, 1.0, 2.0, 3.0, 4.0], false),
        ] {
            let found: Vec<f64> = [0.0, 1.0, 2.0, 3.0, 4.0, f64::INFINITY]
                .into_iter()
                .filter(|&score| !range.is_above(score) && range.reaches(score))
                .collect();
            assert_eq!(found, inside, "{range:?}");
            assert_eq!(range.is_empty(), empty, "{range:?}");
        }
    }

    #[test]
    fn a_range_of_members_knows_what_lies_in_it() {
        let inside = |min: &str, max: &str| {
            let bound = |text: &'static str| LexBound::parse(text.as_bytes()).unwrap();
            let (min, max): (&'static str, &'static str) =
                (Box::leak(min.to_string().into_boxed_str()), Box::leak(max.to_string().into_boxed_str()));
            let range = LexRange { min: bound(min), max: bound(max) };
            let found: String = ["a", "b", "c"]
                .into_iter()
                .filter(|m| !range.is_above(m.as_bytes()) && range.reaches(m.as_bytes()))
                .collect();
            assert!(found.is_empty() || !range.is_empty());
            (found, range.is_empty())
        };
        assert_eq!(inside("-", "+"), ("abc".into(), false));
        assert_eq!(inside("[b", "+"), ("bc".into(), false));
        assert_eq!(inside("(b", "+"), ("c".into(), false));
        assert_eq!(inside("-", "(b"), ("a".into(), false));
        assert_eq!(inside("[b", "[b"), ("b".into(), false));
        for (min, max) in
            [("[b", "(b"), ("(b", "(b"), ("+", "-"), ("-", "-"), ("+", "+"), ("[c", "[a"), ("[a", "-")]
        {
            assert_eq!(inside(min, max), (String::new(), true), "{min} {max}");
        }
        for text in ["", "a", "--", "+a", "{a"] {
            assert_eq!(LexBound::parse(text.as_bytes()), None);
        }
    }
}
