//! The ten things a shape can do.

use std::{fmt, str::FromStr};

/// What the shape does, as someone watching the screen would say it. The order is the class order of the checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Label {
    /// It crosses the picture towards the left edge.
    Left,
    /// It crosses the picture towards the right edge.
    Right,
    /// It crosses the picture towards the top edge.
    Up,
    /// It crosses the picture towards the bottom edge.
    Down,
    /// It travels round a circle the way a clock's hand does.
    Clockwise,
    /// It travels round a circle against a clock's hand.
    Anticlockwise,
    /// It stays in place and becomes larger.
    Grow,
    /// It stays in place and becomes smaller.
    Shrink,
    /// It falls and leaps up again, several times, like a ball on a floor.
    Bounce,
    /// It does nothing.
    Still,
}

impl Label {
    /// All labels in class order: `Label::ALL[label.index()] == label`.
    pub const ALL: [Label; 10] = [
        Label::Left,
        Label::Right,
        Label::Up,
        Label::Down,
        Label::Clockwise,
        Label::Anticlockwise,
        Label::Grow,
        Label::Shrink,
        Label::Bounce,
        Label::Still,
    ];

    /// The class index, 0 to 9.
    pub fn index(self) -> usize {
        self as usize
    }

    /// The lower-case name, as in the checkpoint's `id2label`.
    pub fn name(self) -> &'static str {
        match self {
            Label::Left => "left",
            Label::Right => "right",
            Label::Up => "up",
            Label::Down => "down",
            Label::Clockwise => "clockwise",
            Label::Anticlockwise => "anticlockwise",
            Label::Grow => "grow",
            Label::Shrink => "shrink",
            Label::Bounce => "bounce",
            Label::Still => "still",
        }
    }

    /// What the same clip shows when played backwards. A bounce loses no height and so stays a bounce.
    pub fn reversed(self) -> Label {
        match self {
            Label::Left => Label::Right,
            Label::Right => Label::Left,
            Label::Up => Label::Down,
            Label::Down => Label::Up,
            Label::Clockwise => Label::Anticlockwise,
            Label::Anticlockwise => Label::Clockwise,
            Label::Grow => Label::Shrink,
            Label::Shrink => Label::Grow,
            Label::Bounce | Label::Still => self,
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Label {
    type Err = UnknownLabel;

    fn from_str(name: &str) -> Result<Self, UnknownLabel> {
        Self::ALL.into_iter().find(|label| label.name() == name).ok_or_else(|| UnknownLabel(name.to_owned()))
    }
}

/// The error of parsing a name that is no [`Label`]'s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownLabel(String);

impl fmt::Display for UnknownLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Label::ALL.map(Label::name).join(", ");
        write!(f, "unknown label {:?}, expected one of {names}", self.0)
    }
}

impl std::error::Error for UnknownLabel {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_is_the_place_in_all() {
        for (index, label) in Label::ALL.into_iter().enumerate() {
            assert_eq!(label.index(), index);
        }
    }

    #[test]
    fn names_parse_back_and_others_do_not() {
        for label in Label::ALL {
            assert_eq!(label.to_string().parse(), Ok(label));
        }
        let error = "Left".parse::<Label>().unwrap_err().to_string();
        assert!(error.starts_with("unknown label \"Left\", expected one of left, right, up"), "{error}");
    }

    #[test]
    fn reversing_twice_changes_nothing() {
        for label in Label::ALL {
            assert_eq!(label.reversed().reversed(), label);
        }
    }
}
